"""The interface between an agent and the code that runs workers of one kind.

A driver owns no decision. The agent says start and stop; the driver does it on this machine and says what it sees.
Every coroutine runs on the agent's reactor, may be cancelled, and must leave things so that the same call can be made
again. At most one call for one worker is under way at a time; calls for different workers overlap.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from controlplane.records.types import Instant, Oid, Record, Seconds
from controlplane.records.workers import Address, Findings, WorkerSpec


class Unavailable(Exception):
    """A driver cannot work on this machine for the time being, in one sentence; it is tried again later."""


class Surroundings(NamedTuple):
    """What a driver may use on this machine."""

    directory: Path
    """For the driver alone; kept over restarts."""

    sockets: Path
    """Short path, mode 0700, for unix sockets that other workers of this machine connect to."""

    address: str
    """IP address or host name that workers listen on and that clients are told."""

    ports: tuple[int, int]
    """First and last port that workers may listen on."""

    cores: int
    """How many workers may be started at a time."""

    engine: str = ""
    """URL of the container engine; empty for the usual one."""


class Unit(Record, frozen=True, kw_only=True):
    """A worker that runs and serves."""

    oid: Oid
    digest: str
    started: Instant
    pid: int | None = None
    realms: tuple[str, ...] = ()
    addresses: tuple[Address, ...] = ()
    paused: bool = False
    """Whether it is held, and is so because somebody wanted it."""


class Driver(Protocol):
    """Runs workers of one kind on this machine."""

    name: str

    async def open(self, lost: Callable[[Oid, str], None]) -> Mapping[Oid, Unit]:
        """Make ready and return the workers that run already and were found complete: they are adopted, not restarted.

        What runs but is incomplete or unknown to the driver's own notes is stopped. `lost(oid, reason)` is called
        whenever a running worker is found dead or hanging (a hanging one has been killed by then). A driver that knows
        how workers ended while nobody looked may return those as well, and call `lost` for them afterwards.
        Raises `Unavailable` when what it needs is missing; it may be opened again then.
        """
        ...

    async def start(self, spec: WorkerSpec) -> Unit:
        """Make the worker run with this configuration and return when it serves.

        When the worker runs already with another digest it is replaced: where the new one can listen beside the old
        one it is started first and the old one stopped only then; when the new one fails the old one is left running.
        Raises `WorkerFailed` with a reason that a user understands; what was begun is undone by then. A new one that
        dies while the old one is ended is reported lost; `find` says of it, afterwards, that nothing runs.
        """
        ...

    def find(self, oid: Oid) -> Unit | None:
        """Return what runs of a worker now; asked after a start, whether it failed or not."""
        ...

    async def stop(self, oid: Oid) -> None:
        """Stop the worker and return when nothing of it is left; a worker that does not run is no error."""
        ...

    async def statistics(self, oid: Oid) -> dict[str, Any]:
        """Return figures of a running worker for `stat_*` procedures, within two seconds."""
        ...

    async def close(self, keep: bool) -> None:
        """Let go of everything; with `keep`, workers stay and can be adopted later, else they are stopped first."""
        ...


@runtime_checkable
class LooksThrough(Protocol):
    """A driver through which the management procedures of a Crossbar.io node can be called."""

    async def forward(self, procedure: str, args: Sequence[Any], kwargs: Mapping[str, Any], timeout: float) -> Any:
        """Return the node's answer; raises autobahn's `ApplicationError` with its error, or `NoAnswer`."""
        ...


@runtime_checkable
class Operates(Protocol):
    """A driver whose workers can be looked into and worked on while they run; `records.profiles` lists how."""

    async def logs(self, oid: Oid, lines: int, length: int) -> str:
        """Return the last lines of what a worker has written, at most that long; nothing when nothing is kept of it."""
        ...

    async def operate(self, oid: Oid, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out an operation and return what came of it; under way alone, like start and stop of this worker.

        Raises `InvalidArgument` when there is no such operation or its parameters are wrong, and `WorkerFailed` when
        the worker does not run or the operation did not succeed. What runs afterwards is found with `find`.
        """
        ...


@runtime_checkable
class Updates(Protocol):
    """A driver that can change some things of a worker while it runs; `core.updating.UPDATABLE` says which."""

    async def update(self, spec: WorkerSpec) -> Unit | None:
        """Give a running worker another configuration without another start of it, and return what runs then.

        None when that is not possible: then it runs on as it was, and `start` replaces it. Raises `WorkerFailed` when
        it is possible and did not succeed.
        """
        ...


@runtime_checkable
class Checks(Protocol):
    """A driver that can look whether a worker is well when somebody wants to know."""

    async def check(self, oid: Oid) -> None:
        """Look at a worker that runs, and return when it is well; may be cancelled.

        It is looked at whether what runs of it still does, and is not held, and what its configuration says about when
        it is ready is looked at once more. Raises `WorkerFailed` with what is wrong.
        """
        ...


@runtime_checkable
class Adopts(Protocol):
    """A driver that can take over what runs already and was not started by it.

    The configuration of such a worker names it under `adopts`: `start` takes it over as long as it runs, and starts a
    worker as any other when it does not run any more.
    """

    async def inspect(self, identity: str, snapshot: bool) -> Findings:
        """Return what profile it could have, and how it is told from others; it is not touched.

        With `snapshot` it is kept as it is, as far as there is a way, and the profile is of that. Raises `CannotAdopt`.
        """
        ...


@runtime_checkable
class Kills(Protocol):
    """A driver that can end a worker at once, because it must not run any longer."""

    async def kill(self, oid: Oid) -> None:
        """Kill what runs of a worker and return when nothing of that is left; what it has kept stays."""
        ...


@runtime_checkable
class Guards(Protocol):
    """A driver whose workers end in time although the agent was killed, or is held, and nobody calls any more.

    Time is that since the machine was started, sleep included. What is guarded ends at once when it is over, and is
    not started afterwards; it may be told while the driver is not open. Nothing is raised: what could not be kept is
    tried again with the next call.
    """

    def guard(self, fences: Mapping[Oid, Seconds]) -> None:
        """Take over which workers may run for how long without a renewal; all others may for ever.

        There may be workers of other drivers among them.
        """
        ...

    def renew(self, contact: Seconds) -> None:
        """Count from this moment, which is in the past."""
        ...
