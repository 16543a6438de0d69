"""How callers name a worker: by its oid, its name, or the first digits of its oid. Names of workers are not unique."""

from collections.abc import Iterator
from itertools import islice
from uuid import UUID

from controlplane.core.generic_clusters import name_pattern, worker_name
from controlplane.errors import Ambiguous, NoSuchObject
from controlplane.records.clusters import Cluster
from controlplane.records.workers import Worker
from controlplane.services.finding import DIGITS_MIN, SHOWN_MAX
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
    fitting = list(islice(_called(view, key), SHOWN_MAX + 1)) or list(islice(beginning(view, key), SHOWN_MAX + 1))
    if len(fitting) == 1:
        return fitting[0]
    subject = {"type": "worker", "oid": key}
    if not fitting:
        raise NoSuchObject(f"there is no worker {key}", subject=subject, next_step="list the workers there are")
    shown = ", ".join(str(worker.oid) for worker in fitting[:SHOWN_MAX])
    raise Ambiguous(
        f"{key} fits more than one worker: {shown}" + (", and more" if len(fitting) > SHOWN_MAX else ""),
        subject=subject,
        next_step="give the oid",
    )


def beginning(view: View, key: str) -> Iterator[Worker]:
    """Yield the workers whose oid begins with these digits."""
    digits = key.lower().replace("-", "")
    if not DIGITS_MIN <= len(digits) <= 32 or digits.strip("0123456789abcdef"):
        return
    start, stop = bytes.fromhex(digits.ljust(32, "0")), bytes.fromhex(digits.ljust(32, "f"))
    for index_key, _ in view.rows(WORKERS).keys_by("oid", start=start):
        if index_key > stop:
            return
        yield view.rows(WORKERS).get(UUID(bytes=index_key))


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
