"""The convergence loop: keys are woken, and each has one pass at a time until there is nothing left to do.

An event can only wake a key; what is to be done is found out by the pass itself, from the state as it is then. A key
that is woken during its pass gets another one. A pass says when to look again. A pass that raises is logged and tried
again after a growing pause: no exception ends the loop, and none is lost.
"""

import enum
from collections import deque
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred, DeferredList, ensureDeferred
from twisted.logger import Logger

from controlplane.clock import Clock, DelayedCall
from controlplane.records.types import Seconds

RETRY_PAUSE_MIN_S = 0.1
RETRY_PAUSE_MAX_S = 30.0
FAILURES_COUNTED_MAX = 20
PASSES_PER_TURN_MAX = 50
"""Passes begun in one turn of the reactor, so that a thousand woken keys do not hold up a call."""

K = TypeVar("K", bound=Hashable)

log = Logger()


class _Phase(enum.Enum):
    IDLE = "idle"
    READY = "ready"
    RUNNING = "running"
    RUNNING_AGAIN = "running, and to run again"


class _Key:
    """What is known of one key between two passes."""

    __slots__ = ("due", "failures", "phase", "running", "timer")

    def __init__(self) -> None:
        self.phase = _Phase.IDLE
        self.running: Deferred[Any] | None = None
        self.timer: DelayedCall | None = None
        self.due = 0.0
        self.failures = 0


class Loop(Generic[K]):
    """Runs `work(key)` for every woken key; `work` returns after how many seconds to look again, or None."""

    def __init__(
        self,
        name: str,
        clock: Clock,
        work: Callable[[K], Coroutine[Deferred[Any], Any, Seconds | None]],
        *,
        parallel_max: int | None = None,
    ) -> None:
        self._name = name
        self._clock = clock
        self._work = work
        self._parallel_max = parallel_max
        self._keys: dict[K, _Key] = {}
        self._ready: deque[K] = deque()
        self._running = 0
        self._drain: DelayedCall | None = None
        self._closed = False

    def wake(self, key: K) -> None:
        """Have a pass for this key soon."""
        if self._closed:
            return
        state = self._state_of(key)
        match state.phase:
            case _Phase.IDLE:
                self._stop_timer(state)
                self._enqueue(key, state)
            case _Phase.RUNNING:
                state.phase = _Phase.RUNNING_AGAIN
            case _Phase.READY | _Phase.RUNNING_AGAIN:
                pass

    def wake_after(self, key: K, seconds: Seconds) -> None:
        """Have a pass for this key in so many seconds at the latest."""
        if self._closed:
            return
        state = self._state_of(key)
        if state.phase is _Phase.IDLE:
            if state.timer is None or state.due > self._clock.seconds() + seconds:
                self._start_timer(key, state, seconds)
        else:
            # The pass that is due or under way finds out itself when to look again.
            self.wake(key)

    def busy(self) -> bool:
        """Say whether a pass is under way or due at once."""
        return self._running > 0 or bool(self._ready)

    async def close(self) -> None:
        """Begin no more passes, and return when those under way have ended."""
        self._closed = True
        if self._drain is not None and self._drain.active():
            self._drain.cancel()
        for state in self._keys.values():
            self._stop_timer(state)
        under_way = [state.running for state in self._keys.values() if state.running is not None]
        for running in under_way:
            running.cancel()
        await DeferredList(under_way, consumeErrors=True)
        self._keys.clear()
        self._ready.clear()

    def _state_of(self, key: K) -> _Key:
        state = self._keys.get(key)
        if state is None:
            state = self._keys[key] = _Key()
        return state

    def _due(self, key: K) -> None:
        self._keys[key].timer = None
        self.wake(key)

    def _start_timer(self, key: K, state: _Key, seconds: Seconds) -> None:
        self._stop_timer(state)
        state.due = self._clock.seconds() + seconds
        state.timer = self._clock.callLater(seconds, self._due, key)

    def _stop_timer(self, state: _Key) -> None:
        if state.timer is not None:
            state.timer.cancel()
            state.timer = None

    def _enqueue(self, key: K, state: _Key) -> None:
        state.phase = _Phase.READY
        self._ready.append(key)
        self._schedule()

    def _schedule(self) -> None:
        if not self._closed and self._ready and self._drain is None:
            self._drain = self._clock.callLater(0, self._begin_passes)

    def _begin_passes(self) -> None:
        self._drain = None
        for _ in range(PASSES_PER_TURN_MAX):
            if not self._ready or self._is_full():
                break
            key = self._ready.popleft()
            state = self._keys[key]
            state.phase = _Phase.RUNNING
            self._running += 1
            running = ensureDeferred(self._pass(key, state))
            if not running.called:
                state.running = running
        if not self._is_full():
            self._schedule()

    def _is_full(self) -> bool:
        return self._parallel_max is not None and self._running >= self._parallel_max

    async def _pass(self, key: K, state: _Key) -> None:
        look_again: Seconds | None = None
        try:
            look_again = await self._work(key)
            state.failures = 0
        except Exception:
            look_again = min(RETRY_PAUSE_MAX_S, RETRY_PAUSE_MIN_S * 2**state.failures)
            state.failures = min(state.failures + 1, FAILURES_COUNTED_MAX)
            if not self._closed:
                log.failure(
                    "{name}: a pass for {key} failed; again in {pause} s", name=self._name, key=key, pause=look_again
                )
        finally:
            state.running = None
            self._running -= 1
            self._settle(key, state, look_again)

    def _settle(self, key: K, state: _Key, look_again: Seconds | None) -> None:
        again = state.phase is _Phase.RUNNING_AGAIN
        state.phase = _Phase.IDLE
        if self._closed:
            return
        if again:
            self._enqueue(key, state)
        elif look_again is not None:
            self._start_timer(key, state, look_again)
        else:
            del self._keys[key]
        self._schedule()
