"""Workers that are protected: nobody takes them out of their cluster or replaces them."""

from collections.abc import Iterable

from controlplane.errors import WorkerProtected
from controlplane.records.clusters import Cluster, Group
from controlplane.records.workers import Want, Worker
from controlplane.services.pipeline import Call
from controlplane.store.catalog import WORKERS
from controlplane.store.database import View


def count_protected(view: View, group: Group) -> int:
    """Return how many workers of a group stay whatever is wanted."""
    workers = view.rows(WORKERS).all(group.cluster_oid, group.oid)
    return sum(worker.protected and worker.want is not Want.REMOVE for worker in workers)


def require_unprotected(cluster: Cluster, workers: Iterable[Worker]) -> None:
    """Refuse to take these workers out if one of them is protected; raises `WorkerProtected`."""
    for worker in workers:
        if worker.protected:
            raise WorkerProtected(
                f"worker {worker.oid} of cluster {cluster.name} is protected",
                subject={"type": "worker", "oid": str(worker.oid), "cluster_oid": str(cluster.oid)},
                next_step="leave it out, or call unprotect_worker first",
            )


def require_so_few(call: Call, cluster: Cluster, group: Group, desired: int) -> None:
    """Refuse so few workers of a group if more of them are protected; raises `WorkerProtected`."""
    protected = count_protected(call.view, group)
    if desired < protected:
        raise WorkerProtected(
            f"cluster {cluster.name}: {desired} are wanted in group {group.name}, and {protected} are protected",
            subject={"type": "cluster", "oid": str(cluster.oid), "name": cluster.name},
            next_step="want more, or call unprotect_worker; resize_cluster without strict goes as far as it can",
        )
