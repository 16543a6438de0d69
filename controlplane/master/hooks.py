"""Webhooks of workers that are to go: each is called until that is answered well, or nobody waits any more."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from controlplane.clock import Clock
from controlplane.errors import ControlPlaneError
from controlplane.loop import Loop
from controlplane.master.outgoing import Poster
from controlplane.records.types import Oid, Seconds, to_wire
from controlplane.services.farewells import hook_of, note_told, note_untold
from controlplane.services.ledger import Ledger
from controlplane.store.catalog import WORKERS
from controlplane.store.database import Store

PARALLEL_MAX = 20
PAUSE_MIN_S, PAUSE_MAX_S = 0.5, 30.0
DOUBLINGS_MAX = 10

log = Logger()


class Hooks:
    """Calls webhooks. What is to be called stands in the store, so a master that was killed goes on with it."""

    def __init__(
        self, clock: Clock, store: Store, poster: Poster, change: Callable[[Callable[[Ledger], Any]], Deferred[Any]]
    ) -> None:
        self._store = store
        self._poster = poster
        self._change = change
        self._failures: dict[Oid, int] = {}
        self._loop: Loop[Oid] = Loop("hooks", clock, self._call, parallel_max=PARALLEL_MAX)

    def start(self) -> None:
        """Go on with what was not answered yet when the master ended."""
        with self._store.read() as view:
            for worker in view.rows(WORKERS).all_by("farewell"):
                self._loop.wake(worker.oid)

    def wake(self, worker_oid: Oid) -> None:
        """Call the webhook of a worker."""
        self._loop.wake(worker_oid)

    async def close(self) -> None:
        """Call nobody more."""
        await self._loop.close()

    async def _call(self, worker_oid: Oid) -> Seconds | None:
        with self._store.read() as view:
            worker = view.rows(WORKERS).find(worker_oid)
            farewell = None if worker is None else worker.farewell
            if worker is None or farewell is None or farewell.url is None or farewell.told or not farewell.waiting:
                self._failures.pop(worker_oid, None)
                return None
            body = to_wire(hook_of(view, worker, farewell))
        try:
            await self._poster.post(farewell.url, body)
        except ControlPlaneError as problem:
            self._failures[worker_oid] = failures = self._failures.get(worker_oid, 0) + 1
            pause = min(PAUSE_MAX_S, PAUSE_MIN_S * 2.0 ** min(failures - 1, DOUBLINGS_MAX))
            log.warn("a webhook of worker {oid}: {p}; again in {s} s", oid=str(worker_oid), p=str(problem), s=pause)
            said = problem.message
            await self._change(lambda ledger: note_untold(ledger, worker_oid, farewell.token, said))
            return pause
        self._failures.pop(worker_oid, None)
        await self._change(lambda ledger: note_told(ledger, worker_oid, farewell.token))
        return None
