"""How callers name a worker: by its oid, its name, or the first digits of its oid. Names of workers are not unique."""

from collections.abc import Iterator
from itertools import islice
from uuid import UUID

from controlplane.core.generic_clusters import name_pattern, worker_name
from controlplane.records.clusters import Cluster
from controlplane.records.workers import Worker
from controlplane.services.finding import SHOWN_MAX, oids_beginning, the_only
from controlplane.store.catalog import CLUSTERS, GROUPS, WORKERS
from controlplane.store.database import View


def find_worker(view: View, key: str) -> Worker:
    """Return the worker that is meant; raises `NoSuchObject`, or `Ambiguous` when a name or beginning fits several."""
    rows = view.rows(WORKERS)
    try:
        found: Worker | None = rows.find(UUID(key))
    except ValueError:
        found = None
    if found is not None:
        return found
    called = list(islice(_called(view, key), SHOWN_MAX + 1))
    return the_only("worker", key, called or beginning(view, key), "give the oid")


def beginning(view: View, key: str) -> Iterator[Worker]:
    """Yield the workers whose oid begins with these digits."""
    for oid in oids_beginning(view, WORKERS, key):
        yield view.rows(WORKERS).get(oid)


def _called(view: View, name: str) -> Iterator[Worker]:
    """Yield the workers of this name: those that have it themselves, and those of clusters that may have one."""
    try:
        yield from view.rows(WORKERS).all_by("name", name.encode() + b"\0")
    except UnicodeEncodeError:
        return
    for cluster in _clusters_with(view, name):
        groups = {group.oid: group.name for group in view.rows(GROUPS).all_by("name", cluster.oid)}
        for worker in view.rows(WORKERS).all(cluster.oid):
            group = None if worker.workergroup_oid is None else groups.get(worker.workergroup_oid)
            if worker.name is None and worker_name(cluster, worker, group) == name:
                yield worker


def _clusters_with(view: View, name: str) -> Iterator[Cluster]:
    rows = view.rows(CLUSTERS)
    owner = rows.find_by("name", name.partition("-")[0])
    if owner is not None:
        yield owner
    for cluster in rows.all_by("generic"):
        pattern = name_pattern(cluster)
        if pattern is not None and pattern.fullmatch(name) and cluster != owner:
            yield cluster
