"""Looking at workers because somebody wants to know: so many at a time, and never for longer than somebody waits."""

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, DeferredSemaphore

from controlplane.clock import Clock, limit
from controlplane.core.checking import ANSWER_MARGIN_S, CHECK_LIMIT_MAX_S, LOOK_LIMIT_S, LOOKS_PARALLEL_MAX
from controlplane.errors import NoAnswer
from controlplane.records.recoveries import Checked
from controlplane.records.types import Oid, Seconds, to_wire


async def check_workers(
    clock: Clock,
    check: Callable[[Oid, Seconds], Coroutine[Deferred[Any], Any, Checked]],
    workers: tuple[Oid, ...],
    within: Seconds | None,
) -> dict[str, Any]:
    """Return what was found of the workers that could be looked at in time."""
    turns = DeferredSemaphore(LOOKS_PARALLEL_MAX)
    found: dict[str, Any] = {}

    async def look(oid: Oid) -> None:
        found[str(oid)] = to_wire(await check(oid, LOOK_LIMIT_S))

    looks = [turns.run(look, oid) for oid in workers]
    over = DeferredList(looks, consumeErrors=True)
    try:
        await limit(clock, over, max(1.0, (within or CHECK_LIMIT_MAX_S) - ANSWER_MARGIN_S / 2), "the workers")
    except NoAnswer:
        pass
    return found
