"""What a pass does about workers that stand by: `standby` has the rules, and this has them obeyed.

1. Before anybody is added, those that stand by take the places of workers that are missing.
2. Those that are ready change places with workers that failed or have to leave their node: these stand by from then on,
   as soon as they run again.
3. They are placed after all others. A worker for which there was no room changes places with one that stands by, or,
   if somebody has made it his own, has one of those go.
4. At last there are as many as policies say: what is missing is added, what is too much goes.
"""

from collections.abc import Collection, Iterable, Mapping
from itertools import islice

from controlplane.core.placement import over_limits
from controlplane.core.planning import Pass
from controlplane.core.standby import (
    Taken,
    by_loss,
    describe,
    free_indexes,
    is_on_the_way,
    is_ready,
    is_replaceable,
    pick,
    pool_size,
    promotion,
    what_fails,
)
from controlplane.records.types import NANOSECONDS, Oid
from controlplane.records.workers import Want, Worker, WorkerStatus

WANTED = "its cluster wants more than it has"
KEPT = "is kept for workers of other clusters, which wait for room"
LOOK_AGAIN_NS = 5 * NANOSECONDS
"""How soon it is asked again whether others wait for room: nobody tells when they have it."""


class PoolPass(Pass):
    """A pass over a cluster beside which workers may stand by, in no group."""

    UNGROUPED_FIRST = False
    _asked = False
    """Whether this pass knows where others wait for room."""

    def _choose(self) -> list[Oid]:
        if pool_size(self.s.cluster):
            self._take_for_missing()
        return super()._choose()

    def _ungrouped(self, _scales: Mapping[Oid | None, int]) -> int:
        return pool_size(self.s.cluster)

    def _surplus_ungrouped(self, workers: list[Worker], scale: int) -> list[Worker]:
        return sorted(workers, key=by_loss(self.s.cluster))[scale:]

    def _missing(self, group: Oid | None, stay: list[Worker], scale: int, held: Collection[int]) -> list[int]:
        """Return indexes that are free in the whole cluster: a worker that is taken into a group keeps its own."""
        if not self.s.cluster.run:
            return []
        first = 0
        if group is None:
            taken = {worker.index for worker in self.become.values()}
            first = sum(each.scale for each in self.s.groups)
        else:
            taken = {worker.index for worker in stay} | {one.index for one in self.become.values() if one.standby}
        taken |= set(held)
        return list(islice(free_indexes(taken, first), max(0, scale - len(held) - len(stay))))

    def _add(self, group: Oid | None, index: int) -> Worker:
        worker = super()._add(group, index)
        return self._set(worker.oid, standby=True) if group is None else worker

    def _take_for_missing(self) -> None:
        held = self._held_places()
        # Some of a node that carries too many will leave it: nobody who is taken is moved in the same pass.
        crowded = {candidate.node.oid for candidate in over_limits(self.s.candidates.values())}
        for group in self.s.groups:
            members = [
                worker
                for worker in self.become.values()
                if worker.workergroup_oid == group.oid and worker.want is not Want.REMOVE and worker.farewell is None
            ]
            missing = group.scale - len(held.get(group.oid, ())) - len(members)
            if missing <= 0:
                continue
            pool = [
                worker
                for worker in self.become.values()
                if is_on_the_way(worker) and self._stands_well(worker) and worker.node_oid not in crowded
            ]
            chosen = pick(pool, missing, members, self.s.cluster, self.s.nodes, self.s.now)
            ready = sum(is_ready(worker, self.s.cluster) for worker in chosen)
            self.plan.pool_said = describe(pool_size(self.s.cluster), missing, ready, len(chosen) - ready)
            for worker in chosen:
                self._take(worker, group.oid, None, WANTED)

    def _place(self, kept: list[Oid]) -> None:
        self._relieve(kept)
        in_order = sorted(kept, key=lambda oid: self.become[oid].standby)
        super()._place(in_order)
        self._make_way(in_order)

    def _move(self, worker: Worker, cause: str | None, *, may_wait: bool = False) -> None:
        if worker.standby and not self._asked:
            # Those that are wanted have their places by now.
            self._asked = True
            waited_for = self.s.waited_for()
            if waited_for:
                self.placement.keep(waited_for, KEPT)
                self._look_again_at(self.s.now + LOOK_AGAIN_NS)
        super()._move(worker, cause, may_wait=may_wait)

    def _relieve(self, kept: list[Oid]) -> None:
        """Have those that are ready take the places of workers that fail or must leave their node."""
        rules = self.s.cluster.standby
        if rules is None or not rules.recovery or not self.s.may_relieve:
            return
        if not any(is_ready(self.become[oid], self.s.cluster) for oid in kept):
            return
        leaving = self._over_limit(kept)
        for oid in kept:
            worker = self.become[oid]
            why = what_fails(worker, self._cause_to_leave(worker, leaving)) if is_replaceable(worker) else None
            if why is not None:
                self._change_places(worker, kept, leaving, why, only_ready=True)

    def _make_way(self, kept: list[Oid]) -> None:
        """Have workers for which there is no room take the places of those that stand by."""
        waiting = 0
        for worker in [self.become[oid] for oid in kept]:
            if worker.standby or worker.status is not WorkerStatus.PENDING:
                continue
            why = str(worker.reason)  # That placement has said.
            if not is_replaceable(worker) or not self._change_places(worker, kept, set(), why, only_ready=False):
                waiting += 1
        pool = [worker for worker in map(self.become.__getitem__, kept) if is_on_the_way(worker)]
        pool = sorted(filter(self._stands_well, pool), key=by_loss(self.s.cluster), reverse=True)
        going = sum(worker.standby and worker.status is WorkerStatus.STOPPING for worker in self.become.values())
        for worker in pool[: max(0, waiting - going)]:
            self._stop(worker.oid, Want.REMOVE)

    def _change_places(
        self, worker: Worker, kept: Iterable[Oid], leaving: set[Oid], why: str, *, only_ready: bool
    ) -> bool:
        """Have a worker stand by, and one that stood by be in its place; returns whether there was one."""
        pool = [
            each
            for each in map(self.become.__getitem__, kept)
            if is_on_the_way(each)
            and (is_ready(each, self.s.cluster) or not only_ready)
            and each.oid not in leaving
            and self._stands_well(each)
        ]
        group = worker.workergroup_oid
        members = [each for each in self.become.values() if each.workergroup_oid == group and each.oid != worker.oid]
        chosen = pick(pool, 1, members, self.s.cluster, self.s.nodes, self.s.now)
        for each in chosen:
            self._take(each, group, worker.oid, why)
            self._set(worker.oid, standby=True, workergroup_oid=None, promotion=None)
        return bool(chosen)

    def _stands_well(self, worker: Worker) -> bool:
        place = self.s.candidates.get(worker.node_oid) if worker.node_oid else None
        return place is not None and place.node.online

    def _take(self, worker: Worker, group: Oid | None, instead_of: Oid | None, why: str) -> None:
        taken = promotion(worker, self.s.cluster, self.s.now)
        self._set(worker.oid, standby=False, workergroup_oid=group, promotion=taken, made_for=self.s.cluster.action_oid)
        self.plan.taken.append(Taken(worker.oid, instead_of, why))
