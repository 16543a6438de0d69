"""The monitor: every cluster that something happened to gets a pass, and now and then every cluster is looked at.

Changes wake it; it polls nothing. The audit is the safety net for what no change announced, a wake that was lost in a
crash above all: the first one begins when the master starts, with the clusters that were on their way somewhere. It
only reads, plans, and wakes the clusters for which there is something to do, and it leaves most of the time to calls.
"""

from collections.abc import Callable
from itertools import islice
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from controlplane.clock import Chance, Clock, DelayedCall
from controlplane.loop import Loop
from controlplane.records.types import Oid, Seconds
from controlplane.services.convergence import converge_cluster, needs_pass
from controlplane.services.ledger import Ledger
from controlplane.services.specs import Compositions
from controlplane.store.catalog import CLUSTERS, oid_of
from controlplane.store.database import Store, View

AUDIT_PERIOD_S = 300.0
AUDIT_STEP_LENGTH = 20
"""Clusters looked at in one turn of the reactor, if they are small."""

AUDIT_STEP_MAX_S = 0.003
"""After this long no other cluster is begun in the same turn."""

AUDIT_CLUSTER_PAUSE_S = 0.0025
"""Of each cluster looked at, however fast that was."""

AUDIT_SHARE = 0.1
"""Part of the time that an audit takes while it goes on."""

log = Logger()


class Monitor:
    """Keeps every cluster converging."""

    def __init__(
        self,
        clock: Clock,
        store: Store,
        chance: Chance,
        compositions: Compositions,
        change: Callable[[Callable[[Ledger], Any]], Deferred[Any]],
    ) -> None:
        self._clock = clock
        self._store = store
        self._chance = chance
        self._compositions = compositions
        self._change = change
        self._loop: Loop[Oid] = Loop("clusters", clock, self._pass)
        self._next: DelayedCall | None = None

    def start(self) -> None:
        """Begin with what was under way when the master ended, and look at everything else after it."""
        with self._store.read() as view:
            unsettled = [oid_of(key) for _, key in view.rows(CLUSTERS).keys_by("unsettled")]
        for oid in unsettled:
            self._loop.wake(oid)
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
        self._step(b"")

    def _step(self, start: bytes) -> None:
        """Look at some clusters, those whose key is `start` or greater, and plan the next step."""
        begun = self._clock.seconds()
        looked = 0
        with self._store.read() as view:
            keys = list(islice(view.rows(CLUSTERS).scan_keys(start), AUDIT_STEP_LENGTH))
            for key in keys:
                looked += 1
                self._look_at(view, oid_of(key))
                start = key + b"\0"
                if self._clock.seconds() - begun >= AUDIT_STEP_MAX_S:
                    break
        if not keys:
            self._next = self._clock.callLater(AUDIT_PERIOD_S, self._audit)
            return
        pause = max(looked * AUDIT_CLUSTER_PAUSE_S, (self._clock.seconds() - begun) * (1 / AUDIT_SHARE - 1))
        self._next = self._clock.callLater(pause, self._step, start)

    def _look_at(self, view: View, oid: Oid) -> None:
        try:
            idle = not needs_pass(view, oid, self._compositions, self._chance.now(), self._chance.new_oid)
        except Exception:
            log.failure("cluster {cluster} could not be planned", cluster=str(oid))
            idle = False  # Its pass is tried again until it succeeds.
        if not idle:
            self._loop.wake(oid)
