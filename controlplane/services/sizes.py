"""Workers that are taken out of clusters, and the news that clusters have another size."""

from collections.abc import Iterable

from controlplane.core.balancing import drain_of
from controlplane.core.placement import leaving
from controlplane.records import events
from controlplane.records.clusters import Cluster
from controlplane.records.types import Oid
from controlplane.records.workers import Want, Worker
from controlplane.services.ledger import Ledger, counts_of, groups_of
from controlplane.services.views import any_cluster_view
from controlplane.store.catalog import CLUSTERS


def dismiss(ledger: Ledger, workers: Iterable[Worker]) -> tuple[Oid, ...]:
    """Have workers stopped and forgotten, and return which."""
    gone = []
    for worker in workers:
        if worker.want is not Want.REMOVE:
            drain = drain_of(ledger.rows(CLUSTERS).get(worker.cluster_oid), worker, ledger.now)
            ledger.update_worker(worker, **leaving(worker, Want.REMOVE, drain))
            ledger.wake(worker.cluster_oid)
        gone.append(worker.oid)
    return tuple(gone)


def announce_size(ledger: Ledger, cluster: Cluster) -> None:
    """Tell that a cluster wants another number of workers; one that is but the place of a worker is no news."""
    if cluster.alone:
        return
    view = any_cluster_view(cluster, groups_of(ledger, cluster.oid), counts_of(ledger, cluster.oid))
    ledger.publish(events.ANY_CLUSTER_RESIZED, view)
