"""What drivers that can be worked on have in common: reading orders, and the end of what a worker has written."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from controlplane.core.profile_checks import read_properties
from controlplane.errors import InvalidArgument, Problem, WorkerFailed
from controlplane.records.operations import OPERATIONS
from controlplane.records.profiles import ContainerProperties, Part, ProcessProperties, WorkerConfig
from controlplane.records.workers import WorkerSpec

NOT_RUNNING = "the worker does not run"


def read_order(driver: str, operation: str, parameters: Mapping[str, Any]) -> Part:
    """Return the typed parameters of an operation; raises `InvalidArgument`."""
    known = OPERATIONS[driver]
    if operation not in known:
        raise InvalidArgument(
            f"workers of the driver {driver} have no operation {operation!r}; there are {', '.join(known)}",
            problems=[Problem("$.operation", f"has to be one of {', '.join(known)}")],
            next_step="use one of these",
        )
    found, problems = read_properties(dict(parameters), known[operation].parameters, "$.parameters")
    if found is None:
        raise InvalidArgument(
            f"{operation}: {problems[0].path}: {problems[0].message}",
            problems=problems,
            next_step="mend what is listed and call again",
        )
    return found


def read_config(
    spec: WorkerSpec, kind: type[ProcessProperties] | type[ContainerProperties]
) -> tuple[WorkerConfig, Any]:
    """Return what a worker is to be; raises `WorkerFailed` that names everything that is wrong."""
    try:
        config = msgspec.convert(spec.config, WorkerConfig)
    except msgspec.ValidationError as problem:
        raise WorkerFailed(f"the worker's configuration cannot be used: {problem}") from None
    properties, problems = read_properties(config.properties, kind, "$.properties")
    if properties is None:
        listed = "; ".join(f"{problem.path}: {problem.message}" for problem in problems)
        raise WorkerFailed(
            f"the worker's configuration has {len(problems)} problem{'s' if len(problems) > 1 else ''}: {listed}",
            problems=problems,
            next_step="mend the profile",
        )
    return config, properties


def tail(files: Sequence[Path], lines: int, length: int) -> str:
    """Return the last lines of what was written to files, the newest first in the list, and no more than that long."""
    found = b""
    for file in files:
        if len(found) >= length or found.count(b"\n") > lines:
            break
        try:
            with file.open("rb") as opened:
                opened.seek(max(0, opened.seek(0, 2) - (length - len(found))))
                found = opened.read() + found
        except FileNotFoundError:
            continue
    text = found[-length:].decode(errors="replace") if length > 0 else ""
    return "\n".join(text.split("\n")[-(lines + 1) :] if text.endswith("\n") else text.split("\n")[-lines:])


def is_kill(runs: Mapping[str, Any], wanted: WorkerConfig) -> bool:
    """Say whether what runs of a worker is to be killed instead of ended in order."""
    return bool(runs.get("kills", 0) != wanted.kills)
