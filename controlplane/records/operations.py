"""What can be done to a running worker besides starting and stopping it, by its driver."""

from collections.abc import Mapping
from typing import Annotated, NamedTuple

import msgspec

from controlplane.records import patterns
from controlplane.records.profiles import Command, Part, Signal
from controlplane.records.types import Natural, Record


class SendSignal(Part, frozen=True, kw_only=True):
    """Parameters of `signal`."""

    signal: Signal
    """For the process itself; its children are left alone."""


class NoParameters(Part, frozen=True, kw_only=True):
    """Of operations that have none."""


class Execute(Part, frozen=True, kw_only=True):
    """Parameters of `exec`."""

    command: Command
    """Run inside; no shell takes part."""

    user: Annotated[str, msgspec.Meta(pattern=patterns.CONTAINER_USER)] | None = None
    """Who runs it; None for the container's user."""

    timeout: Annotated[float, msgspec.Meta(ge=0.1, le=600)] = 10.0
    """Seconds after which no more is waited for it."""


class Executed(Record, frozen=True, kw_only=True):
    """What came of `exec`."""

    code: int
    output: str
    """The end of it, if it is long."""

    length: Natural
    """Bytes in all."""


class Operation(NamedTuple):
    """Something that can be done to a running worker besides starting and stopping it."""

    description: str
    parameters: type[Part]


PROCESS_OPERATIONS: Mapping[str, Operation] = {
    "signal": Operation("Send the process a signal.", SendSignal),
    "restart": Operation("Replace the process by a new one with the same configuration.", NoParameters),
}
CONTAINER_OPERATIONS: Mapping[str, Operation] = {
    "signal": Operation("Send the first process of the container a signal.", SendSignal),
    "restart": Operation("Replace the container by a new one with the same configuration.", NoParameters),
    "pause": Operation("Hold all processes of the container, until it is resumed.", NoParameters),
    "resume": Operation("Let the processes of a paused container go on.", NoParameters),
    "exec": Operation("Run a command inside the container and return what it says.", Execute),
}
OPERATIONS: Mapping[str, Mapping[str, Operation]] = {"process": PROCESS_OPERATIONS, "container": CONTAINER_OPERATIONS}
"""By driver."""
