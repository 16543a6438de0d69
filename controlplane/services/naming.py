"""What people call a worker, where its oid would tell them nothing."""

from typing import Any

from controlplane.core.generic_clusters import worker_name
from controlplane.records.clusters import Cluster
from controlplane.records.types import Oid
from controlplane.services.ledger import groups_of
from controlplane.store.catalog import WORKERS


def called(view: Any, cluster: Cluster, worker_oid: Oid) -> str:
    """Return the name of a worker of a cluster, or its oid when it is there no more."""
    worker = view.rows(WORKERS).find(worker_oid)
    if worker is None or worker.cluster_oid != cluster.oid:
        return str(worker_oid)
    groups = {group.oid: group.name for group in groups_of(view, cluster.oid)}
    return worker_name(cluster, worker, groups.get(worker.workergroup_oid) if worker.workergroup_oid else None)
