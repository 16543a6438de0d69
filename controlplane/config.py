"""Settings of the processes: built-in defaults, then a TOML file, then environment variables, then flags.

A setting `url` in section `agent` is `url` under `[agent]` in the file, `CONTROLPLANE_AGENT_URL` in the environment and
`--url` on the command line.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from controlplane.errors import InvalidConfiguration, Problem

ENVIRONMENT_PREFIX = "CONTROLPLANE"
S = TypeVar("S", bound=msgspec.Struct)

LogFormat = Annotated[str, msgspec.Meta(pattern="^(text|json)$")]
LogLevel = Annotated[str, msgspec.Meta(pattern="^(debug|info|warn|error)$")]
PortNumber = Annotated[int, msgspec.Meta(ge=1, le=65535)]


def default_state_dir() -> str:
    """Return where state is kept unless something else is said."""
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(home, "controlplane")


class MasterSettings(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Settings of the master."""

    state_dir: str = msgspec.field(default_factory=default_state_dir)
    url: str = ""
    """Of the router; empty for the unix socket of the router in the state directory."""

    events_kept: Annotated[int, msgspec.Meta(ge=1)] = 100_000
    edge_first_port: PortNumber = 11000
    """First port for workers on nodes of Crossbar.io that have no agent."""

    edge_last_port: PortNumber = 11999
    watch_to_pair: str = msgspec.field(default_factory=lambda: os.environ.get("CROSSBAR_WATCH_TO_PAIR", ""))
    """Folder in which nodes of Crossbar.io are found and paired; empty for none."""

    fabric_url: str = msgspec.field(default_factory=lambda: os.environ.get("CROSSBAR_FABRIC_URL", ""))
    """What nodes that are found there are told to connect to; empty for the router on this machine."""

    webhook_port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 0
    """Port on loopback for the webhooks of receivers; 0 for none."""

    outgoing: str = ""
    """Addresses that the master may call for hooks and the like, with commas between: what begins like one of them.
    Empty for none, * for any."""

    balancer_dir: str = ""
    """Directory for the files of load balancers, and for nothing else; empty for none."""

    balancer_reload: str = ""
    """Commands that have a balancer read its file, as NAME=COMMAND, with semicolons between; no shell takes part."""

    superuser: str = msgspec.field(default_factory=lambda: os.environ.get("CROSSBAR_FABRIC_SUPERUSER", ""))
    """File of Crossbar.io's shell with the public key of an owner called superuser; empty for none."""
    log_format: LogFormat = "text"
    log_level: LogLevel = "info"


class AgentSettings(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Settings of an agent."""

    state_dir: str = msgspec.field(default_factory=lambda: os.path.join(default_state_dir(), "node"))
    url: str = ""
    """Of the router, wss:// unless it is on this machine; empty for the one that was joined, or ws://127.0.0.1:8080/ws."""

    ca_file: str | None = None
    """Authority that the router's certificate is verified against."""

    server_keys: Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{64}(,[0-9a-f]{64})*)?$")] = ""
    """Fingerprints of keys, with commas between, one of which the router must have."""

    join: str = ""
    """Token to join a master with; it counts once."""

    name: str = ""
    """What the node is to be called when the token does not say; empty for the machine's name."""

    address: str = "127.0.0.1"
    """What workers listen on and what clients are told."""

    first_port: PortNumber = 10000
    last_port: PortNumber = 10999
    capacity: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """Most workers that this node takes; empty for no limit."""

    drivers: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_]+(,[a-z0-9_]+)*$")] = "router"
    """Names of the drivers to use, with commas between."""

    engine: Annotated[str, msgspec.Meta(pattern=r"^((unix|tcp|http|https|ssh)://[^\s]+)?$")] = ""
    """URL of the container engine, as in DOCKER_HOST; empty for that, or unix:///var/run/docker.sock."""

    keep_workers: bool = False
    """Whether workers go on when the agent is stopped by SIGTERM; they always do when it is killed."""

    log_format: LogFormat = "text"
    log_level: LogLevel = "info"


def load_settings(kind: type[S], section: str, file: str | None, flags: Mapping[str, Any]) -> S:
    """Return the settings of a process; raises `InvalidConfiguration` that lists everything that is wrong."""
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, value in _from_file(file, section).items():
        if name in fields:
            values[name] = value
        else:
            problems.append(Problem(f"[{section}] {name}", f"is no setting; there are {', '.join(fields)}"))
    for name in fields:
        text = os.environ.get(f"{ENVIRONMENT_PREFIX}_{section}_{name}".upper())
        if text is not None:
            values[name] = text
    for name, value in flags.items():
        if name not in fields:
            problems.append(Problem(f"[{section}] {name}", f"is no setting; there are {', '.join(fields)}"))
        elif value is not None:
            values[name] = value
    read: dict[str, Any] = {}
    for name, value in values.items():
        try:
            # From the environment everything comes as text, hence not strict.
            read[name] = msgspec.convert(
                value if value != "" or name in ("url", "join", "name", "engine") else None,
                fields[name].type,
                strict=False,
            )
        except msgspec.ValidationError as problem:
            problems.append(Problem(f"[{section}] {name}", str(problem)))
    if problems:
        raise InvalidConfiguration(
            f"{problems[0].path}: {problems[0].message}",
            problems=problems,
            next_step="see --help for the settings and their defaults",
        )
    return kind(**read)


def _from_file(file: str | None, section: str) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        content = tomllib.loads(Path(file).read_text())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise InvalidConfiguration(
            f"the configuration file {file} cannot be read: {problem}", next_step="mend it, or name another one"
        ) from problem
    found = content.get(section, {})
    if not isinstance(found, dict):
        raise InvalidConfiguration(f"[{section}] in {file} is no table", next_step=f"write settings under [{section}]")
    return found
