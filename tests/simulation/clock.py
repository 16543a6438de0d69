"""Time as the simulation turns it: one clock for the world, and a view of it for every process.

A clock of our own instead of Twisted's: that one sorts every timer whenever one is added, which is most of the cost of
a simulated second.
"""

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from twisted.internet.error import AlreadyCalled, AlreadyCancelled

from controlplane.records.types import NANOSECONDS

START_OF_TIME_NS = 1_700_000_000 * NANOSECONDS


class Killed(BaseException):
    """A process was killed while it ran: nothing of what it would have done next happens.

    No `Exception`, because the product catches those to go on, and a killed process cannot.
    """


class Planned:
    """A call at an instant, by a process or by the world itself."""

    __slots__ = ("args", "call", "cancelled", "instant", "over", "process")

    def __init__(
        self, instant: float, call: Callable[..., Any], args: tuple[Any, ...], process: "ProcessClock | None" = None
    ) -> None:
        self.instant = instant
        self.call = call
        self.args = args
        self.process = process
        self.over = False
        self.cancelled = False

    def cancel(self) -> None:
        if self.cancelled:
            raise AlreadyCancelled
        if self.over:
            raise AlreadyCalled
        self.over = self.cancelled = True
        self.args = ()
        self.call = _nothing  # It stays among those to come until its time, and need not keep alive what it was about.

    def active(self) -> bool:
        return not self.over

    def getTime(self) -> float:  # noqa: N802
        return self.instant


def _nothing() -> None:
    """Do what is left of a call that was cancelled."""


class WorldClock:
    """Instants in order; what is planned for the same instant happens in the order in which it was planned."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Planned]] = []
        self._count = 0

    def seconds(self) -> float:
        return self.now

    def callLater(self, delay: float, call: Callable[..., Any], *args: Any) -> Planned:  # noqa: N802
        planned = Planned(self.now + delay, call, args)
        self._count += 1
        heappush(self._heap, (planned.instant, self._count, planned))
        return planned

    def plan(self, planned: Planned) -> Planned:
        """Plan a call, or one that was due already anew."""
        planned.over = False
        self._count += 1
        heappush(self._heap, (planned.instant, self._count, planned))
        return planned

    def step(self, end: float) -> bool:
        """Turn the clock to the next call and make it; False when there is none until then."""
        heap = self._heap
        while heap and heap[0][2].over:
            heappop(heap)
        if not heap or heap[0][0] > end:
            return False
        instant, _, planned = heappop(heap)
        planned.over = True
        if instant > self.now:
            self.now = instant
        process = planned.process
        if process is not None:
            if process.dead:
                return True
            if self.now < process.frozen_until:
                planned.instant = process.frozen_until
                self.plan(planned)
                return True
        try:
            planned.call(*planned.args)
        except Killed:
            pass  # It was planned by a process that ended in the middle of it.
        return True

    def pending(self) -> list[Planned]:
        """Return what is planned, for messages about clocks that stand still."""
        return [planned for _, _, planned in self._heap if not planned.over]


class ProcessClock:
    """The clock as one process sees it.

    When the process is killed, nothing that it had planned happens any more. When it is frozen, as by a disk that does
    not answer, what is due meanwhile happens afterwards. Its wall clock is read once, when it starts, as in
    `controlplane.process.real_chance`: jumps of it are seen by the next process.
    """

    def __init__(self, clock: WorldClock, wall_offset_ns: int = 0) -> None:
        self._clock = clock
        self._wall_ns = START_OF_TIME_NS + wall_offset_ns
        self.frozen_until = 0.0
        self._handed: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        """What came while the process was frozen, in the order in which it came: a reactor keeps to that."""

        self.dead = False

    def seconds(self) -> float:
        return self._clock.now

    def now(self) -> int:
        return self._wall_ns + int(self._clock.now * NANOSECONDS)

    def callLater(self, delay: float, call: Callable[..., Any], *args: Any) -> Planned:  # noqa: N802
        planned = Planned(self._clock.now + delay, call, args, self)
        if not self.dead:
            self._clock.plan(planned)
        return planned

    def hand(self, call: Callable[..., Any], *args: Any) -> None:
        """Have the process do something as soon as it is able to."""
        if self.dead:
            return
        if self.frozen_until <= self._clock.now and not self._handed:
            call(*args)
            return
        self._handed.append((call, args))
        if len(self._handed) == 1:
            self.callLater(self.lag(), self._take)

    def freeze(self, seconds: float) -> None:
        """Do nothing for a while."""
        self.frozen_until = max(self.frozen_until, self._clock.now + seconds)

    def thaw(self) -> None:
        """Go on at once, with what came meanwhile."""
        self.frozen_until = 0.0
        if self._handed:
            self.callLater(0.0, self._take)

    def lag(self) -> float:
        """Return how many seconds the process is behind: what it says now leaves it only then."""
        late = self.frozen_until - self._clock.now
        return late if late > 0.0 else 0.0

    def kill(self) -> None:
        self.dead = True

    def die(self) -> None:
        """Be killed by what the process itself is just doing."""
        self.dead = True
        raise Killed

    def _take(self) -> None:
        while self._handed and not self.lag() and not self.dead:
            call, args = self._handed.popleft()
            call(*args)
        if self._handed:
            self.callLater(self.lag(), self._take)
