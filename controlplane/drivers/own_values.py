"""Values of its own that a worker writes into a file, for policies that scale by them."""

import json
import math
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.logger import Logger

from controlplane.records.metrics import OWN_VALUES_MAX

FILE_BYTES_MAX = 65_536
NAME_LENGTH_MAX = 64

log = Logger()


def own_values(directory: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a worker's own values under the name `values`, or nothing when its profile names no file for them.

    The file is the worker's: it may be missing, nonsense, endless or no file at all, and then there are no values.
    """
    name = config.get("properties", {}).get("metrics")
    if name is None:
        return {}
    try:
        found = json.loads(_read(directory / name))
    except (OSError, ValueError, RecursionError) as problem:
        log.debug("no values from {file}: {problem}", file=name, problem=str(problem))
        return {"values": {}}
    values = (
        {key: float(value) for key, value in found.items() if _is_fit(key, value)} if isinstance(found, dict) else {}
    )
    return {"values": dict(list(values.items())[:OWN_VALUES_MAX])}


def _read(file: Path) -> bytes:
    """Return what is in a plain file; neither waits nor follows a link that somebody laid."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("it is no plain file")
        return os.read(descriptor, FILE_BYTES_MAX)
    finally:
        os.close(descriptor)


def _is_fit(key: str, value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and len(key) <= NAME_LENGTH_MAX and abs(value) < 10**15 and math.isfinite(value)
