"""The monitor: every cluster that something happened to gets a pass, and now and then every cluster does.

Changes wake it; it polls nothing. The audit is the safety net for what no change announced, a wake that was lost in a
crash above all: the first one runs when the master starts.
"""

from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.defer import Deferred

from controlplane.clock import Clock, DelayedCall
from controlplane.loop import Loop
from controlplane.records.types import Oid, Seconds
from controlplane.services.convergence import converge_cluster
from controlplane.services.ledger import Ledger
from controlplane.store.catalog import CLUSTERS, oid_of
from controlplane.store.database import Store

AUDIT_PERIOD_S = 300.0
AUDIT_STEP_LENGTH = 20
"""Clusters woken at a time, so that an audit of many does not hold up calls."""

AUDIT_STEP_PAUSE_S = 0.05


class Monitor:
    """Keeps every cluster converging."""

    def __init__(self, clock: Clock, store: Store, change: Callable[[Callable[[Ledger], Any]], Deferred[Any]]) -> None:
        self._clock = clock
        self._store = store
        self._change = change
        self._loop: Loop[Oid] = Loop("clusters", clock, self._pass)
        self._next: DelayedCall | None = None

    def start(self) -> None:
        """Begin with an audit."""
        self._audit()

    def wake(self, cluster_oid: Oid, after: Seconds | None = None) -> None:
        """Have a pass over a cluster, at once or after so many seconds."""
        if after is None:
            self._loop.wake(cluster_oid)
        else:
            self._loop.wake_after(cluster_oid, after)

    async def close(self) -> None:
        """Do nothing more."""
        if self._next is not None and self._next.active():
            self._next.cancel()
        await self._loop.close()

    async def _pass(self, cluster_oid: Oid) -> Seconds | None:
        look_again: Seconds | None = await self._change(lambda ledger: converge_cluster(ledger, cluster_oid))
        return look_again

    def _audit(self) -> None:
        with self._store.read() as view:
            oids = [oid_of(key) for key in view.rows(CLUSTERS).scan_keys()]
        self._step(iter(oids))

    def _step(self, oids: Iterator[Oid]) -> None:
        for _ in range(AUDIT_STEP_LENGTH):
            oid = next(oids, None)
            if oid is None:
                self._next = self._clock.callLater(AUDIT_PERIOD_S, self._audit)
                return
            self._loop.wake(oid)
        self._next = self._clock.callLater(AUDIT_STEP_PAUSE_S, self._step, oids)
