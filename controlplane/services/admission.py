"""Who may call now: how many calls of a session are under way, and how many a principal makes per second.

Both are looked at before anything of a call is read, so that a caller who is turned away costs next to nothing.
"""

from collections.abc import Callable

from controlplane.errors import TooManyCalls
from controlplane.records.limits import Limits
from controlplane.records.principals import Caller

PRINCIPALS_REMEMBERED_MAX = 10_000


class Admission:
    """Counts calls; every `enter` that returns is followed by one `leave`."""

    def __init__(self, seconds: Callable[[], float], limits: Limits) -> None:
        self._seconds = seconds
        self._limits = limits
        self._rates = {
            "owner": limits.admin_calls_per_second,
            "admin": limits.admin_calls_per_second,
            "agent": limits.agent_calls_per_second,
        }
        self._running: dict[int, int] = {}
        self._buckets: dict[str, tuple[float, float]] = {}
        """By principal: calls that it may make now, as of when."""

    def enter(self, caller: Caller) -> None:
        """Let a call in; raises `TooManyCalls`."""
        running = self._running.get(caller.session, 0)
        if running >= self._limits.calls_running_max:
            raise _refusal(
                caller,
                "calls_running_max",
                running,
                f"{running} calls of this session are not answered yet",
                "an answer",
            )
        rate = self._rates.get(caller.authrole, self._limits.other_calls_per_second)
        if rate:
            self._take(caller, rate)
        self._running[caller.session] = running + 1

    def leave(self, caller: Caller) -> None:
        """Take note that a call is answered."""
        running = self._running[caller.session] - 1
        if running:
            self._running[caller.session] = running
        else:
            del self._running[caller.session]

    def _take(self, caller: Caller, rate: int) -> None:
        now = self._seconds()
        room = float(rate * self._limits.calls_burst_s)
        left, since = self._buckets.get(caller.authid, (room, now))
        left = min(room, left + (now - since) * rate)
        if left < 1:
            role = {"owner": "admin", "admin": "admin", "agent": "agent"}.get(caller.authrole, "other")
            raise _refusal(
                caller,
                f"{role}_calls_per_second",
                rate,
                f"{caller.authid} makes more than {rate} calls per second",
                f"{(1 - left) / rate:.3f} s",
            )
        if caller.authid not in self._buckets and len(self._buckets) >= PRINCIPALS_REMEMBERED_MAX:
            # Whoever has been away for as long as a burst takes to fill up is as good as new.
            full = self._limits.calls_burst_s
            self._buckets = {name: it for name, it in self._buckets.items() if now - it[1] < full}
        self._buckets[caller.authid] = (left - 1, now)


def _refusal(caller: Caller, name: str, number: int, message: str, until: str) -> TooManyCalls:
    return TooManyCalls(
        message,
        subject={"type": "limit", "name": name, "value": number, "principal": caller.authid},
        next_step=f"wait for {until} and call again, or raise the setting {name}",
    )
