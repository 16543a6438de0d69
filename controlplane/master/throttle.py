"""Slows down who fails again and again to log in; how much it remembers is bounded."""

from collections import OrderedDict
from collections.abc import Callable, Hashable

from controlplane.records.types import Seconds

FAILURES_FREE = 10
"""Failures in a row that cost nothing: whoever mistypes, or restarts, is not held up."""

PAUSE_MIN_S = 10.0
PAUSE_MAX_S = 600.0
FORGET_AFTER_S = 3600.0
REMEMBERED_MAX = 10_000


class Throttle:
    """Counts attempts that were not followed by a success, per whoever makes them."""

    def __init__(self, seconds: Callable[[], Seconds]) -> None:
        self._seconds = seconds
        self._failures: OrderedDict[Hashable, tuple[int, Seconds]] = OrderedDict()

    def wait(self, who: Hashable, longest: Seconds = PAUSE_MAX_S) -> Seconds:
        """Return how long the next attempt has to wait; 0 when it is free. Asking costs nothing."""
        count, last = self._failures.get(who, (0, 0.0))
        if count < FAILURES_FREE:
            return 0.0
        pause = min(longest, PAUSE_MIN_S * 2.0 ** min(count - FAILURES_FREE, 32))
        return max(0.0, last + pause - self._seconds())

    def attempted(self, who: Hashable) -> None:
        """Take note of an attempt, which counts as a failure until `succeeded`."""
        now = self._seconds()
        count, last = self._failures.pop(who, (0, now))
        if now - last > FORGET_AFTER_S:
            count = 0
        self._failures[who] = (count + 1, now)
        if len(self._failures) > REMEMBERED_MAX:
            self._failures.popitem(last=False)

    def succeeded(self, who: Hashable) -> None:
        """Forget the failures."""
        self._failures.pop(who, None)

    def __len__(self) -> int:
        return len(self._failures)
