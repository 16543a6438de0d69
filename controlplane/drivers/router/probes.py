"""Asking processes whether they still answer, without killing those that only wait for a processor.

A process that hangs is silent; so is a healthy one while the machine is busy starting others. The kernel tells them
apart: a process that has run or waited for a processor during most of the time in which it owed the answer is busy and
gets more time; one that was stopped, or slept although it had something to do, hangs. What a question passes through
on its way counts as well: while the node's controller is busy or stopped itself, the silence of a worker says little,
and when we were late to look, it says nothing.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from autobahn.wamp.exception import ApplicationError
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.logger import Logger

from controlplane.clock import Clock, sleep
from controlplane.drivers.processes import Glance, State, glance
from controlplane.errors import NoAnswer

PERIOD_S = 1.0
ANSWER_LIMIT_S = 1.0
MISSES_MAX = 2
"""Silences in a row of a process that had nothing else to do."""

BUSY_MISSES_MAX = 10
"""Silences in a row of a process that was busy all the time; it may be in an endless loop."""

BUSY_SHARE = 0.5
LATE_S = 0.5
NANOSECONDS = 1_000_000_000

log = Logger()


def guilt(before: Glance, after: Glance, seconds: float) -> float:
    """Return how much one silence of so many seconds says against a process; at 1 it hangs."""
    if after.state is State.HELD:
        return 1 / MISSES_MAX
    if _is_busy(before, after, seconds):
        return 1 / BUSY_MISSES_MAX
    return 1 / MISSES_MAX


def guilt_through(path: tuple[Glance, Glance] | None, before: Glance, after: Glance, seconds: float) -> float:
    """Return the same for a process that is asked through another one, of which two glances are given."""
    if seconds > ANSWER_LIMIT_S + LATE_S:
        return 0.0
    if path is not None:
        if path[1].state is not State.OTHER:
            return 0.0
        if _is_busy(*path, seconds):
            return min(guilt(before, after, seconds), 1 / BUSY_MISSES_MAX)
    return guilt(before, after, seconds)


class Probe:
    """Asks one process every second and says when it hangs; `hung` is called once, with the reason."""

    def __init__(
        self,
        clock: Clock,
        pid: int,
        ask: Callable[[], Coroutine[Deferred[Any], Any, Any]],
        hung: Callable[[str], None],
        path: Callable[[], int | None] = lambda: None,
    ) -> None:
        """Begin to ask; `path()` is the pid of the process through which the questions go."""
        self._clock = clock
        self._pid = pid
        self._ask = ask
        self._hung = hung
        self._path = path
        self._running: Deferred[None] = ensureDeferred(self._run())
        self._running.addErrback(self._ended)

    def close(self) -> None:
        """Ask no more."""
        self._running.cancel()

    async def _run(self) -> None:
        found = 0.0
        silent_since = self._clock.seconds()
        while found < 1 - 1e-9:
            await sleep(self._clock, PERIOD_S if found == 0 else 0)
            if found == 0:
                silent_since = self._clock.seconds()
            found = await self._try(found)
        self._hung(f"did not answer for {self._clock.seconds() - silent_since:.0f} s and was killed")

    async def _try(self, found: float) -> float:
        path = self._path()
        began = self._clock.seconds()
        before, path_before = glance(self._pid), glance(path) if path else None
        try:
            await self._ask()
        except NoAnswer:
            after = glance(self._pid)
            through = (path_before, glance(path)) if path and path_before else None
            return found + guilt_through(through, before, after, self._clock.seconds() - began)
        except ApplicationError:
            # The link to the node is just being made again, and says nothing about the process.
            await sleep(self._clock, PERIOD_S)
        return 0.0

    def _ended(self, failure: Any) -> None:
        if not failure.check(CancelledError):
            log.failure("asking process {pid} came to an end", failure, pid=self._pid)


def _is_busy(before: Glance, after: Glance, seconds: float) -> bool:
    return after.busy_ns - before.busy_ns >= BUSY_SHARE * seconds * NANOSECONDS
