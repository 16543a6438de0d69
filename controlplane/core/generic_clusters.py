"""Clusters of processes or containers: what their workers are configured with, and what is to become of them.

Their workers know nothing of each other. So a pass is that of a router cluster (`planning.py`) without routers, links
and machines that have to be connected, and its workers are changed over in batches.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from controlplane.core.balancing import drain_of, is_drained
from controlplane.core.placement import Site
from controlplane.core.pooling import PoolPass
from controlplane.core.router_clusters import digest_of
from controlplane.core.situation import Plan, Situation
from controlplane.records.clusters import Cluster, ClusterType
from controlplane.records.definitions import Spec
from controlplane.records.profiles import WorkerConfig
from controlplane.records.types import NANOSECONDS, Instant, Oid, from_wire, to_wire
from controlplane.records.workers import Want, Worker, WorkerStatus

RANDOM_LENGTH = 8
ROUTERS = "router"
"""In names, for the workers that belong to no group."""

LATER = frozenset({"rebuilds", "kills", "adopts"})

_DIRECTIVE = re.compile(r"\$([0-9]?)([IRr])")


def worker_name(cluster: Cluster, worker: Worker, group: str | None = None) -> str:
    """Return how a worker is called: by the pattern of its cluster, or by its cluster's name and its index.

    Letters are taken from its oid, so that a name stays what it is without being stored. Workers of a router cluster
    are counted group by group, so the name of the `group` is a part of theirs.
    """
    if worker.name is not None:
        return worker.name
    return _name_from(cluster, cluster.name, worker, group)


def _name_from(cluster: Cluster, called: str, worker: Worker, group: str | None) -> str:
    if cluster.alone:
        return called
    if cluster.type is ClusterType.ROUTER:
        return f"{called}-{group or ROUTERS}-{worker.index}"
    if cluster.naming is None:
        return f"{called}-{worker.index}"

    def replaced(found: re.Match[str]) -> str:
        digits, directive = found.groups()
        if directive == "I":
            return str(worker.index).zfill(int(digits or 1))
        letters = worker.oid.hex[: int(digits or RANDOM_LENGTH)]
        return letters.upper() if directive == "R" else letters

    return _DIRECTIVE.sub(replaced, cluster.naming)


def name_pattern(cluster: Cluster) -> re.Pattern[str] | None:
    """Return what the names of a cluster's workers look like, or None when they begin with the cluster's name."""
    if cluster.naming is None:
        return None
    pieces, end = [], 0
    for found in _DIRECTIVE.finditer(cluster.naming):
        pieces += [re.escape(cluster.naming[end : found.start()]), "[0-9]+" if found[2] == "I" else "[0-9A-Fa-f]+"]
        end = found.end()
    return re.compile("".join(pieces) + re.escape(cluster.naming[end:]))


def worker_config(cluster: Cluster, called: str, spec: Spec, worker: Worker) -> dict[str, Any]:
    """Return what a driver is told of a worker; another `generation` makes it another configuration.

    A worker is told the name that its cluster was `called` when it got its spec, or what it has kept: another name, or
    another cluster, is no other configuration.
    """
    config = WorkerConfig(
        name=_name_from(cluster, called, worker, None),
        index=worker.index,
        generation=worker.generation,
        rebuilds=worker.rebuilds,
        kills=worker.kills,
        properties=spec.properties,
    )
    kept = worker.kept
    if kept is not None and kept.beside == spec_identity(spec):
        own = spec if kept.spec is None else from_wire(kept.spec, Spec)
        config = msgspec.structs.replace(config, name=kept.name, index=kept.index, properties=own.properties)
    # What came later is mentioned when it says something: the digests of all other workers stay what they were.
    told = {name: value for name, value in msgspec.structs.asdict(config).items() if value or name not in LATER}
    return told if worker.adopts is None else {**told, "adopts": worker.adopts}


def spec_identity(spec: Spec) -> str:
    """Return what tells a spec from another one."""
    return digest_of(to_wire(spec))


def steady_at(cluster: Cluster, worker: Worker) -> Instant:
    """Return from when on a worker that runs has run for long enough, by the clock of the master."""
    since, stood_by = worker.changed, worker.promotion
    if stood_by is not None and stood_by.at == worker.changed:
        since = stood_by.since  # Nothing has happened to it but that it was taken.
    return since + int(cluster.steady * NANOSECONDS)


def canaries_to_come(canary: int, begun: int, proven: int) -> int | None:
    """Return how many more workers may be changed over before those that went first have shown how it goes.

    None for no bound, because so many as `canary` says are `proven` with the newest configuration. `begun` counts
    them, those that were given it, and those that will be when their load balancer has let them go.
    """
    return None if proven >= canary else max(0, canary - begun)


def plan_generic_cluster(situation: Situation) -> Plan:
    """Return what brings a cluster of processes or containers nearer to what is wanted of it."""
    return _GenericPass(situation).run()


class _GenericPass(PoolPass):
    def _site(self, _worker: Worker) -> Site | None:
        return None

    def _configure(self, kept: list[Oid]) -> None:
        targets = {oid: self.s.digest(self.become[oid], {}) for oid in kept if self.become[oid].node_oid}
        serving: list[Oid] = []
        given: set[Oid] = set()
        for oid, target in targets.items():
            worker = self.become[oid]
            if worker.want is not Want.RUN:
                continue
            if worker.digest != target and _serves(worker) and not worker.standby:
                if worker.status is WorkerStatus.RUNNING:
                    serving.append(oid)
            elif (worker.digest, worker.revision, worker.drain) != (target, self.s.cluster.revision, None):
                if worker.digest != target and worker.status is not WorkerStatus.PENDING and not worker.standby:
                    given.add(oid)
                # The revision that it was given is forgotten once all workers have the newest.
                self._set(oid, digest=target, revision=self.s.cluster.revision, drain=None)
            elif worker.kept is not None and self.s.cluster.action_oid is None and self._is_as_others(worker, target):
                # What it had kept was given up for good: no action is left that might return to it.
                self._set(oid, kept=None)
        unproven = given | {oid for oid, target in targets.items() if self._is_unproven(self.become[oid], target)}
        if serving and given:
            self._look_again_at(self.s.now + int(self.s.cluster.steady * NANOSECONDS))
        self._change_over(serving, unproven, targets)
        self.plan.rolled = all(
            self.become[oid].digest == target and not self._is_unproven(self.become[oid], target)
            for oid, target in targets.items()
        )

    def _change_over(self, serving: list[Oid], unproven: set[Oid], targets: Mapping[Oid, str]) -> None:
        """Give those that serve what they are to have, so many at a time that enough others have proven themselves.

        Who has just come up has not, whatever runs there, and so may be changed itself. When an update is taken back,
        that keeps those that were not changed yet, or long ago, until the last ones run again.
        """
        if serving and self._waits_for_word():
            return
        fresh = {oid for oid in serving if self.s.now < steady_at(self.s.cluster, self.become[oid])}
        # Who stands by has it first, and serves nobody: that says nothing of how those fare that serve.
        newest = {oid for oid, target in targets.items() if self._is_given(self.become[oid], target)}
        begun = newest | {oid for oid in serving if self.become[oid].drain is not None}
        left = canaries_to_come(self.s.canary, len(begun), len(newest - unproven))
        unproven |= fresh
        for oid in serving:
            worker = self.become[oid]
            if worker.drain is None and len(unproven - {oid}) >= self.s.cluster.batch:
                if oid in fresh:
                    self._look_again_at(steady_at(self.s.cluster, worker))
                continue
            if worker.drain is None and left is not None:
                if not left:
                    continue
                left -= 1
            unproven.add(oid)
            if not self._still_drains(worker):
                self._set(oid, digest=targets[oid], revision=self.s.cluster.revision, drain=None)

    def _is_given(self, worker: Worker, target: str) -> bool:
        return worker.digest == target and not worker.standby

    def _still_drains(self, worker: Worker) -> bool:
        """Say whether a worker that is to be changed has to wait for its load balancer."""
        drain = drain_of(self.s.cluster, worker, self.s.now)
        if drain is None or is_drained(self.s.cluster, drain, self.s.now):
            return False
        if drain != worker.drain:
            self._set(worker.oid, drain=drain)
        self._look_again_at(drain.until)
        return True

    def _is_as_others(self, worker: Worker, target: str) -> bool:
        return self.s.digest(msgspec.structs.replace(worker, kept=None), {}) == target

    def _is_unproven(self, worker: Worker, target: str) -> bool:
        """Say whether a worker was given its configuration and has not run with it for long enough yet.

        One that cannot be reached and was never seen to run with it comes back, or is moved, before others follow.
        """
        if worker.standby:
            return False  # It serves nobody: nothing is lost when it does not run with what it was given.
        if super()._is_unproven(worker, target) or (worker.drain is not None and worker.digest != target):
            return True
        if worker.status is WorkerStatus.UNREACHABLE and worker.digest == target and worker.seen_digest != target:
            return True
        until = steady_at(self.s.cluster, worker)
        if worker.digest != target or worker.status is not WorkerStatus.RUNNING or self.s.now >= until:
            return False
        self._look_again_at(until)
        return True


def _serves(worker: Worker) -> bool:
    """Say whether a worker runs with what it was given, as far as is known.

    One that cannot be reached may serve: all those of a node would be changed over together when it is back. One that
    is being changed over does not, so that another configuration costs nothing more.
    """
    reachable_or_not = (WorkerStatus.RUNNING, WorkerStatus.UNREACHABLE)
    return worker.status in reachable_or_not and worker.digest is not None and worker.seen_digest == worker.digest
