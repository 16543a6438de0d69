"""Room on full nodes: workers that stand by for one cluster go where those of another one have no place.

Two things, each in the pass of the cluster concerned: who waits has as many of them go as would let it in, and none is
placed again on a node whose room others wait for. So the room goes to who waits, whatever pass comes first.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice

from controlplane.core.placement import Candidate, leaving
from controlplane.core.situation import Plan, Situation
from controlplane.core.standby import is_on_the_way
from controlplane.records.clusters import Cluster
from controlplane.records.types import Oid
from controlplane.records.workers import Want, Worker, WorkerStatus
from controlplane.services.candidates import counted_candidates
from controlplane.services.ledger import Ledger
from controlplane.services.specs import Compositions
from controlplane.store.catalog import CLUSTERS, TALLIES, WORKERS, oid_of
from controlplane.store.database import View

WAITING_MAX = 100
"""Clusters without room that are looked at; with more, every node with a limited capacity counts as waited for."""


def make_room(ledger: Ledger, situation: Situation, plan: Plan) -> None:
    """Have workers that stand by for other clusters go, as many as workers of this one wait for their places."""
    waiting = plan.without_room
    if not waiting:
        return
    full = {
        oid for oid, candidate in situation.candidates.items() if _lacks_capacity_alone(candidate, situation.driver)
    }
    if not full:
        return
    standing = [each for each in _standing_by(ledger.change, situation.cluster.oid) if each.node_oid in full]
    going = sum(each.status is WorkerStatus.STOPPING for each in standing)
    stay = sorted((each for each in standing if each.want is Want.RUN), key=_by_loss)
    for worker in stay[: max(0, waiting - going)]:
        ledger.update_worker(worker, **leaving(worker, Want.REMOVE))
        ledger.wake(worker.cluster_oid)


def waited_for(
    view: View, cluster: Cluster, candidates: Iterable[Candidate], compositions: Compositions
) -> frozenset[Oid]:
    """Return those nodes on which nobody may be placed to stand by, because workers of other clusters wait for room."""
    limited = {each.node.oid for each in candidates if each.node.facts and each.node.facts.capacity is not None}
    found: set[Oid] = set()
    if not limited:
        return frozenset()
    unsettled = islice(view.rows(CLUSTERS).keys_by("unsettled"), WAITING_MAX + 1)
    for number, (_, key) in enumerate(unsettled):
        if number == WAITING_MAX:
            return frozenset(limited)
        if oid_of(key) != cluster.oid and _waits(view, oid_of(key)):
            other = view.rows(CLUSTERS).get(oid_of(key))
            revision = compositions.of(view, other, other.revision)
            theirs = counted_candidates(view, other, revision, view.rows(WORKERS).all(other.oid), {})
            found |= {each.node.oid for each in theirs.values() if _would_take(each, revision.driver)}
    return frozenset(found & limited)


def _waits(view: View, cluster_oid: Oid) -> bool:
    return any(tally.counts.get(WorkerStatus.PENDING.value) for tally in view.rows(TALLIES).all(cluster_oid))


def _standing_by(view: View, but: Oid) -> Iterator[Worker]:
    """Yield the workers that stand by for other clusters, those that are on their way out too."""
    for _, key in view.rows(CLUSTERS).keys_by("pooled"):
        if oid_of(key) != but:
            yield from (each for each in view.rows(WORKERS).all(oid_of(key), None) if each.standby)


def _lacks_capacity_alone(candidate: Candidate, driver: str) -> bool:
    """Say whether a node could take a worker if only somebody left it."""
    return candidate.refusal(driver, None) is not None and _would_take(candidate, driver)


def _would_take(candidate: Candidate, driver: str) -> bool:
    """Say whether a node could take a worker if it had the capacity."""
    return replace(candidate, in_all=0).refusal(driver, None) is None


def _by_loss(worker: Worker) -> tuple[bool, int, bytes]:
    return is_on_the_way(worker), -worker.created, worker.oid.bytes
