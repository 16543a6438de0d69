"""How a worker gets into a cluster and out of it: it goes on running where it is, as what it is."""

from typing import Any

import msgspec

from controlplane.core.generic_clusters import spec_identity, worker_name
from controlplane.records import events
from controlplane.records.clusters import Cluster, Group
from controlplane.records.definitions import Spec
from controlplane.records.types import Oid, to_wire
from controlplane.records.workers import Kept, Worker
from controlplane.services.forgetting import forget_cluster
from controlplane.services.ledger import Ledger
from controlplane.services.places import RowsOf, make_place
from controlplane.services.specs import GenericRevision
from controlplane.services.views import worker_view
from controlplane.store.catalog import CLUSTERS, WORKERS


def join(ledger: Ledger, rows: RowsOf, worker: Worker, cluster: Cluster, group: Group) -> Worker:
    """Have a worker that is in no cluster be one of a cluster's; its own place is no more."""
    place: Cluster = rows(CLUSTERS).get(worker.cluster_oid)
    own, config = _what_it_runs(ledger, worker, place)
    theirs = _revision(ledger, cluster, cluster.revision).spec
    kept = Kept(
        name=config["name"],
        index=config["index"],
        profile_oid=place.profile_oid,
        spec=None if own == theirs else to_wire(own),
        beside=spec_identity(theirs),
    )
    joined = ledger.move_worker(
        worker,
        msgspec.structs.replace(
            worker,
            cluster_oid=cluster.oid,
            workergroup_oid=group.oid,
            index=free_index(ledger, group),
            revision=cluster.revision,
            kept=kept,
        ),
    )
    forget_cluster(rows, ledger, place)
    ledger.publish(events.WORKER_JOINED, worker_view(joined))
    return joined


def leave(ledger: Ledger, rows: RowsOf, worker: Worker, cluster: Cluster) -> Worker:
    """Have a worker of a cluster be in none: it gets a place of its own, and belongs to whom the cluster belongs."""
    own, config = _what_it_runs(ledger, worker, cluster)
    kept = worker.kept
    name = worker_name(cluster, worker)
    place, group = make_place(
        ledger,
        rows,
        name,
        to_wire(own),
        called=config["name"],
        owner_oid=cluster.owner_oid,
        profile_oid=cluster.profile_oid if kept is None or kept.spec is None else kept.profile_oid,
        timeout=cluster.timeout,
        grace_period=cluster.grace_period,
    )
    left = ledger.move_worker(
        worker,
        msgspec.structs.replace(
            worker,
            cluster_oid=place.oid,
            workergroup_oid=group.oid,
            index=config["index"],
            revision=place.revision,
            kept=None,
            name=name,
        ),
    )
    ledger.wake(place.oid)
    ledger.publish(events.WORKER_LEFT, worker_view(left))
    return left


def spec_beside(ledger: Ledger, cluster: Cluster, worker: Worker, spec: Spec, profile_oid: Oid) -> Kept | None:
    """Return what a new worker of a cluster keeps, if its spec is another one than the cluster's."""
    revision = _revision(ledger, cluster, cluster.revision)
    if spec == revision.spec:
        return None
    _, config = revision.compose(worker, {})
    return Kept(
        name=config["name"],
        index=worker.index,
        profile_oid=profile_oid,
        spec=to_wire(spec),
        beside=spec_identity(revision.spec),
    )


def free_index(ledger: Ledger, group: Group) -> int:
    """Return the lowest index that no worker of a group's cluster has, not even one that is on its way out."""
    taken = {worker.index for worker in ledger.rows(WORKERS).all(group.cluster_oid)}
    return next(index for index in range(len(taken) + 1) if index not in taken)


def _what_it_runs(ledger: Ledger, worker: Worker, cluster: Cluster) -> tuple[Spec, dict[str, Any]]:
    revision = _revision(ledger, cluster, worker.revision or cluster.revision)
    _, config = revision.compose(worker, {})
    return msgspec.structs.replace(revision.spec, properties=config["properties"]), config


def _revision(ledger: Ledger, cluster: Cluster, number: int) -> GenericRevision:
    found = ledger.compositions.of(ledger.change, cluster, number)
    assert isinstance(found, GenericRevision)  # Only workers of generic clusters come and go.
    return found
