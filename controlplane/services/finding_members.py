"""How callers name several workers of one cluster: each by its oid, its name, or the first digits of its oid.

Names are looked up in the one cluster alone, and all of them at once: what is called the same elsewhere is not meant.
"""

from collections.abc import Iterable
from uuid import UUID

from controlplane.core.generic_clusters import worker_name
from controlplane.errors import Ambiguous, NoSuchObject
from controlplane.records.clusters import Cluster
from controlplane.records.workers import Worker
from controlplane.services.farewells import is_leaving
from controlplane.services.finding_workers import beginning
from controlplane.services.ledger import groups_of
from controlplane.services.lists import unfit
from controlplane.store.catalog import WORKERS
from controlplane.store.database import View


def find_members(view: View, cluster: Cluster, keys: Iterable[str]) -> list[Worker]:
    """Return the workers of a cluster that are meant, each once; raises why one cannot be meant."""
    found: dict[UUID, Worker] = {}
    called: dict[str, list[Worker]] | None = None
    for key in keys:
        try:
            one = view.rows(WORKERS).find(UUID(key))
            fitting = [one] if one is not None and one.cluster_oid == cluster.oid else []
        except ValueError:
            called = _by_name(view, cluster) if called is None else called
            fitting = called.get(key) or [each for each in beginning(view, key) if each.cluster_oid == cluster.oid]
        worker = _the_one(cluster, key, fitting)
        if worker.standby:
            raise unfit("$.workers", f"names {key}, which stands by and is in no group yet", "leave it out")
        found[worker.oid] = worker
    return list(found.values())


def _the_one(cluster: Cluster, key: str, fitting: list[Worker]) -> Worker:
    there = [worker for worker in fitting if not is_leaving(worker)]
    subject = {"type": "worker", "oid": key, "cluster_oid": str(cluster.oid)}
    if not there:
        raise NoSuchObject(
            f"cluster {cluster.name} has no worker {key}",
            subject=subject,
            next_step="list the workers of the cluster",
        )
    if len(there) > 1:
        raise Ambiguous(
            f"{key} fits {len(there)} workers of cluster {cluster.name}", subject=subject, next_step="give the oids"
        )
    return there[0]


def _by_name(view: View, cluster: Cluster) -> dict[str, list[Worker]]:
    groups = {group.oid: group.name for group in groups_of(view, cluster.oid)}
    found: dict[str, list[Worker]] = {}
    for worker in view.rows(WORKERS).all(cluster.oid):
        group = None if worker.workergroup_oid is None else groups.get(worker.workergroup_oid)
        found.setdefault(worker_name(cluster, worker, group), []).append(worker)
    return found
