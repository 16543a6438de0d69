"""What serves of each worker, one process or one container, and how another one takes its place.

A worker that has to be started anew gets its next process or container beside the one that serves, on the other one of
its two sets of ports, unless they cannot both be there; what served is ended when the new one is ready.
"""

import enum
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred, DeferredSemaphore

from controlplane.drivers.driver import Unit
from controlplane.drivers.endings import Endings
from controlplane.drivers.operations import NOT_RUNNING, is_kill
from controlplane.errors import WorkerFailed
from controlplane.records.profiles import ContainerProperties, ProcessProperties, WorkerConfig
from controlplane.records.types import Oid

STARTS_PER_CORE = 8
"""Most of the time of a start is spent waiting until the worker is ready."""

End = Callable[[], Coroutine[Deferred[Any], Any, None]]


class Phase(enum.Enum):
    """How far a process or a container has come; it only ever moves forward."""

    STARTING = "starting"
    SERVING = "serving"
    STOPPING = "stopping"
    ENDED = "ended"


class Noted(Protocol):
    """What is written down of a worker that serves."""

    @property
    def config(self) -> Mapping[str, Any]:
        """What it was started as."""
        ...


N = TypeVar("N", bound=Noted, covariant=True)


class Runs(Protocol[N]):
    """One process or container of a worker."""

    oid: Oid
    phase: Phase

    @property
    def note(self) -> N | None:
        """What is written down of it; None before it serves."""
        ...

    def unit(self) -> Unit | None:
        """Return what the agent is told, or None before it serves."""
        ...

    async def stop(self) -> None:
        """End it in order."""
        ...

    async def discard(self) -> None:
        """End it at once."""
        ...

    def let_go(self) -> None:
        """Leave it as it is."""
        ...


R = TypeVar("R", bound=Runs[Any])


class Serving(Generic[R]):
    """What serves of the workers of one driver, and what is being ended of them."""

    def __init__(
        self,
        cores: int,
        over: Callable[[R, End], Coroutine[Deferred[Any], Any, None]],
        cross_out: Callable[[Oid], None],
        lost: Callable[[Oid, str], None],
    ) -> None:
        """`over` ends one and gives back what it had of the machine; `lost` is told what it died of."""
        self.running: dict[Oid, R] = {}
        self.endings = Endings()
        self.starts = DeferredSemaphore(max(1, cores) * STARTS_PER_CORE)
        """Turns of those that are being started."""

        self._slots_of: dict[Oid, int] = {}
        """Which of its two sets of ports a worker had last."""

        self._over = over
        self._cross_out = cross_out
        self._lost = lost

    def unit(self, oid: Oid) -> Unit | None:
        """Return what serves of a worker."""
        running = self.running.get(oid)
        return None if running is None else running.unit()

    def units(self) -> dict[Oid, Unit]:
        """Return all that serves."""
        units = {oid: running.unit() for oid, running in self.running.items()}
        return {oid: unit for oid, unit in units.items() if unit is not None}

    async def make_room(
        self, oid: Oid, config: WorkerConfig, properties: ProcessProperties | ContainerProperties
    ) -> int:
        """Return the set of ports of the next one, once what serves has ended if that has to go first."""
        slot = self._slots_of.get(oid, 0)
        if not properties.overlap or any(port.number is not None for port in properties.ports.values()):
            # Two cannot have the same port, or whatever else it is that they do not share.
            self.replace(oid, config)
            await self.endings.over(oid)
        elif oid in self.running:
            slot = 1 - slot
        return slot

    def serve(self, new: R, slot: int) -> None:
        """Take note of what serves from now on, with which set of ports."""
        self.running[new.oid] = new
        self._slots_of[new.oid] = slot

    def replace(self, oid: Oid, config: WorkerConfig) -> None:
        """End what serves, because it is to be as this configuration says."""
        running = self.running.get(oid)
        if running is not None:
            self.retire(oid, hard=running.note is not None and is_kill(running.note.config, config))

    def retire(self, oid: Oid, *, hard: bool = False) -> None:
        """End what serves of a worker, and count on it no more."""
        running = self.running.pop(oid, None)
        if running is not None:
            self._cross_out(oid)
            self.endings.begin(oid, self._over(running, running.discard if hard else running.stop))

    async def undo(self, new: R) -> None:
        """End what never served."""
        self.endings.begin(new.oid, self._over(new, new.discard))
        await self.endings.over(new.oid)

    async def stop(self, oid: Oid, *, hard: bool = False) -> None:
        """Return when nothing runs of a worker any more."""
        self.retire(oid, hard=hard)
        await self.endings.over(oid)

    def forget(self, oid: Oid) -> None:
        """Forget which ports a worker had."""
        self._slots_of.pop(oid, None)

    def ended(self, running: R, reason: str) -> None:
        """Take note that one has ended, whatever was wanted of it."""
        if self.running.get(running.oid) is not running:
            return
        del self.running[running.oid]
        self._cross_out(running.oid)
        served = running.phase is Phase.SERVING
        # What it may have left is ended before it is started anew.
        self.endings.begin(running.oid, self._over(running, running.discard))
        if served:
            self._lost(running.oid, reason)

    def require(self, oid: Oid) -> R:
        """Return what serves of a worker; raises `WorkerFailed` when nothing does."""
        running = self.running.get(oid)
        if running is None or running.note is None:
            raise WorkerFailed(NOT_RUNNING)
        return running

    async def close(self, keep: bool) -> None:
        """Let go of all that serves; without `keep`, end it."""
        if not keep:
            for oid in list(self.running):
                self.retire(oid)
        await self.endings.all_over()
        kept, self.running = self.running, {}
        for running in kept.values():
            running.let_go()
