"""Time and chance, as arguments: what the rest of the program needs of a reactor and of a random source."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from twisted.internet.defer import CancelledError, Deferred

from controlplane.errors import NoAnswer
from controlplane.records.types import Instant, Oid, Seconds


class DelayedCall(Protocol):
    """A call that has been asked for."""

    def cancel(self) -> None:
        """Give it up."""
        ...

    def active(self) -> bool:
        """Say whether it is still to come."""
        ...


class Clock(Protocol):
    """What a Twisted reactor and `twisted.internet.task.Clock` have in common."""

    def seconds(self) -> float:
        """Return a time that only ever grows, in seconds."""
        ...

    def callLater(self, delay: float, callable: Callable[..., Any], *args: Any) -> DelayedCall:  # noqa: A002, N802
        """Call after so many seconds."""
        ...


class Chance(NamedTuple):
    """Everything that differs between two runs of the same program."""

    now: Callable[[], Instant]
    """Wall-clock time."""

    new_oid: Callable[[], Oid]
    random: Callable[[], float]
    """A number from 0 up to but not including 1."""


def sleep(clock: Clock, seconds: Seconds) -> Deferred[None]:
    """Return after so many seconds; cancelling it gives the wait up."""
    done: Deferred[None] = Deferred(lambda _: call.cancel())
    call = clock.callLater(max(0.0, seconds), done.callback, None)
    return done


def limit(clock: Clock, answer: Deferred[Any], seconds: Seconds, what: str) -> Deferred[Any]:
    """Cancel an answer that takes longer and fail with `NoAnswer` instead."""
    late = []

    def give_up() -> None:
        late.append(True)
        try:
            answer.cancel()
        except Exception:
            # Autobahn tells the other side, and fails when the line is gone; whoever waits is answered all the same.
            if not answer.called:
                answer.errback(CancelledError())

    def settle(result: Any) -> Any:
        if timer.active():
            timer.cancel()
        if late and getattr(result, "check", lambda *_: None)(CancelledError):
            raise NoAnswer(f"{what} did not answer within {seconds:g} s", next_step="try again")
        return result

    timer = clock.callLater(seconds, give_up)
    return answer.addBoth(settle)
