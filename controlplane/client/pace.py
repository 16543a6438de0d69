"""Waiting, for callers of either kind: Twisted's Deferreds, or what asyncio awaits."""

import asyncio
import time
from collections.abc import Awaitable
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from controlplane.clock import Clock, limit, sleep
from controlplane.errors import NoAnswer
from controlplane.records.types import Seconds


class Pace(Protocol):
    """How a program waits."""

    def seconds(self) -> float:
        """Return a time that only ever grows, in seconds."""
        ...

    async def sleep(self, seconds: Seconds) -> None:
        """Return after so many seconds."""
        ...

    async def within(self, answer: Awaitable[Any], seconds: Seconds, what: str) -> Any:
        """Return an answer; one that takes longer is given up, and fails with `NoAnswer`."""
        ...


class TwistedPace:
    """Waits with a reactor, or with a clock that a test turns."""

    def __init__(self, clock: Clock | None = None) -> None:
        """Take the reactor of this process unless another clock is given."""
        if clock is None:
            from twisted.internet import reactor

            clock = reactor
        self._clock: Any = clock

    def seconds(self) -> float:
        """Return a time that only ever grows, in seconds."""
        return float(self._clock.seconds())

    async def sleep(self, seconds: Seconds) -> None:
        """Return after so many seconds."""
        await sleep(self._clock, seconds)

    async def within(self, answer: Awaitable[Any], seconds: Seconds, what: str) -> Any:
        """Return an answer; one that takes longer is given up, and fails with `NoAnswer`."""
        deferred = answer if isinstance(answer, Deferred) else Deferred.fromCoroutine(_awaited(answer))
        return await limit(self._clock, deferred, seconds, what)


class AsyncioPace:
    """Waits with the loop that runs."""

    def seconds(self) -> float:
        """Return a time that only ever grows, in seconds."""
        return time.monotonic()

    async def sleep(self, seconds: Seconds) -> None:
        """Return after so many seconds."""
        await asyncio.sleep(seconds)

    async def within(self, answer: Awaitable[Any], seconds: Seconds, what: str) -> Any:
        """Return an answer; one that takes longer is given up, and fails with `NoAnswer`."""
        try:
            return await asyncio.wait_for(answer, seconds)
        except TimeoutError:
            raise NoAnswer(f"{what} did not answer within {seconds:g} s", next_step="try again") from None


def pace_of(answer: Awaitable[Any]) -> Pace:
    """Return how a program waits that is given this to wait for."""
    return TwistedPace() if isinstance(answer, Deferred) else AsyncioPace()


async def _awaited(answer: Awaitable[Any]) -> Any:
    return await answer
