"""Forgets events in the background: what is too old, and what is too many since the setting was lowered.

A new event takes the place of the oldest one in its own transaction (`services/ledger.py`); this is for the rest.
"""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from controlplane.clock import Clock
from controlplane.loop import Loop
from controlplane.records.types import Instant, Seconds
from controlplane.services.ledger import Ledger
from controlplane.services.retention import forget_surplus, next_surplus, surplus
from controlplane.store.database import Store

EVENTS = "events"
STEP_PAUSE_S = 0.05
"""Between two steps, for calls that wait."""

LOOK_AGAIN_MIN_S = 1.0
LOOK_AGAIN_MAX_S = 3_600.0


class Retention:
    """Events that are kept no longer."""

    def __init__(
        self,
        clock: Clock,
        store: Store,
        now: Callable[[], Instant],
        change: Callable[[Callable[[Ledger], Any]], Deferred[Any]],
        kept: int,
        kept_s: Seconds,
    ) -> None:
        """`kept` is how many events may stay, `kept_s` for how many seconds, 0 for ever."""
        self._store = store
        self._now = now
        self._change = change
        self._kept = kept
        self._kept_s = kept_s
        self._loop: Loop[str] = Loop("retention", clock, self._pass)

    def start(self) -> None:
        """Begin."""
        self._loop.wake(EVENTS)

    async def close(self) -> None:
        """Forget no more."""
        await self._loop.close()

    async def _pass(self, _key: str) -> Seconds | None:
        with self._store.read() as view:
            too_many = bool(surplus(view, self._kept, self._kept_s, self._now()))
            following = next_surplus(view, self._kept_s, self._now())
        if too_many:
            await self._change(lambda ledger: forget_surplus(ledger.change, self._kept, self._kept_s, ledger.now))
            return STEP_PAUSE_S
        return None if following is None else min(LOOK_AGAIN_MAX_S, max(LOOK_AGAIN_MIN_S, following))
