"""Where to log in and as whom, as `controlplane init` and `scripts/dev` save it."""

import json
import os
from pathlib import Path
from typing import Any

from controlplane.errors import InvalidConfiguration
from controlplane.keys import read_key
from controlplane.transports import Login, require_protected


def connection_path(file: str | None) -> Path:
    """Return where a connection is saved."""
    from controlplane.config import default_state_dir

    return Path(file or os.path.join(default_state_dir(), "connection.json"))


def read_connection(file: str | None) -> tuple[Login, Any]:
    """Return a saved connection and its key."""
    path = connection_path(file)
    try:
        saved = json.loads(path.read_text())
        login = Login(
            url=saved["url"],
            realm=saved["realm"],
            authid=saved.get("authid"),
            authrole=saved.get("authrole"),
            ca_file=str(path.parent / saved["ca_file"]) if saved.get("ca_file") else None,
            server_keys=tuple(saved.get("server_keys", ())),
        )
        key = path.parent / saved["privkey_file"]
    except OSError as problem:
        raise InvalidConfiguration(
            f"there is no usable connection in {path}: {problem.strerror}",
            next_step="run 'controlplane init' or 'scripts/dev', or name the file with --connection",
        ) from problem
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise InvalidConfiguration(
            f"{path} is no saved connection: a JSON object with url, realm and privkey_file",
            next_step="run 'controlplane init' or 'scripts/dev', or name the file with --connection",
        ) from problem
    require_protected(login)
    return login, read_key(key)
