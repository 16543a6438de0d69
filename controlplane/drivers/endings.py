"""Ends of processes that are under way: whoever waits for one may give up the wait, the end goes on."""

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import Logger

from controlplane.records.types import Oid

log = Logger()


class Endings:
    """What is being ended, by the worker whose process it is; one after the other for each worker."""

    def __init__(self) -> None:
        self._under_way: dict[Oid, Deferred[None]] = {}

    def begin(self, oid: Oid, work: Coroutine[Deferred[Any], Any, None]) -> None:
        """End a process of a worker, whoever waits for it or gives up."""
        before = self._under_way.get(oid)

        async def end() -> None:
            if before is not None:
                await shielded(before)
            try:
                await work
            except Exception:
                log.failure("a process of worker {oid} could not be ended", oid=str(oid))

        def forget(_: None) -> None:
            if self._under_way.get(oid) is done:
                del self._under_way[oid]

        done = self._under_way[oid] = ensureDeferred(end())
        done.addCallback(forget)

    async def over(self, oid: Oid) -> None:
        """Return when no process of a worker is being ended."""
        while oid in self._under_way:
            await shielded(self._under_way[oid])

    async def all_over(self) -> None:
        """Return when nothing is being ended of what was when this was called."""
        for oid in list(self._under_way):
            await self.over(oid)


async def outlast(work: Deferred[Any]) -> None:
    """Return when some work is over."""
    await shielded(work)


def shielded(work: Deferred[Any]) -> Deferred[None]:
    """Return something that can be waited for and given up, while the work goes on."""
    seen: Deferred[None] = Deferred()

    def pass_on(result: Any) -> Any:
        if not seen.called:
            seen.callback(None)
        return result

    work.addBoth(pass_on)
    return seen
