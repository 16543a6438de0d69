"""Workers in no cluster that are to join one: whether they can, and having them do so."""

from collections.abc import Iterable
from typing import Annotated

import msgspec

from controlplane.core.access import allowed, grants
from controlplane.core.placement import occupies
from controlplane.core.standby import pool_size
from controlplane.core.worker_types import worker_type
from controlplane.errors import ActionConflict, Ambiguous, LimitReached, NoSuchObject, NotAuthorized
from controlplane.records import events
from controlplane.records.actions import ActionKind, ActionView
from controlplane.records.clusters import Cluster, ClusterType, Group
from controlplane.records.definitions import Spec
from controlplane.records.types import Line, Oid, from_wire
from controlplane.records.workers import Worker, WorkerStatus
from controlplane.services.acting import begin, require_free
from controlplane.services.arguments import AnyCluster
from controlplane.services.candidates import candidates_of
from controlplane.services.finding_workers import find_worker
from controlplane.services.identity import granted_on
from controlplane.services.ledger import counts_of, groups_of
from controlplane.services.lists import unfit
from controlplane.services.members import join
from controlplane.services.pipeline import Call, WritingCall
from controlplane.services.procedures import procedure
from controlplane.services.quotas import require_room
from controlplane.services.specs import revision_of
from controlplane.services.views import action_view, any_cluster_view
from controlplane.store.catalog import CLUSTERS, GROUPS, WORKERS

WorkerKeys = Annotated[list[Line], msgspec.Meta(min_length=1, max_length=10_000)]
"""Oids, names, or beginnings of oids."""


@procedure(
    "controlplane.cluster.add_cluster_workers",
    needs="operate",
    writes=True,
    raises=(NoSuchObject, Ambiguous, ActionConflict, LimitReached, NotAuthorized),
)
def add_cluster_workers(call: WritingCall, cluster: AnyCluster, workers: WorkerKeys) -> ActionView:
    """Have workers that are in no cluster be in this one, which wants so many more; what runs of them is not touched.

    They have to run, to be of the cluster's type, and to stand on nodes where its own could. Each keeps its profile
    until the cluster is given another one. Whoever calls needs the right on the workers, too.
    """
    require_free(call.view, cluster)
    found = find_candidates(call, cluster, workers, "$.workers")
    group = groups_of(call.view, cluster.oid)[0]
    desired = grown(call, cluster, group, len(found), "$.workers")
    action = begin(
        call.ledger,
        cluster,
        ActionKind.CLUSTER_ADD_WORKERS,
        call.caller,
        {"workers": [str(worker.oid) for worker in found]},
        group=group,
        before={"desired": group.scale},
        workers=[worker.oid for worker in found],
        rows=call.rows,
    )
    for worker in found:
        join(call.ledger, call.rows, worker, cluster, group)
    call.rows(GROUPS).put(desired, group)
    changed = call.rows(CLUSTERS).get(cluster.oid)
    groups, counts = groups_of(call.view, cluster.oid), counts_of(call.view, cluster.oid)
    call.publish(events.ANY_CLUSTER_RESIZED, any_cluster_view(changed, groups, counts))
    return action_view(action)


def grown(call: Call, cluster: Cluster, group: Group, more: int, path: str) -> Group:
    """Return the group of a cluster that wants so many more; raises what says why it must not."""
    desired = group.scale + more
    if group.max_size is not None and desired > group.max_size:
        raise unfit(path, f"would make it {desired} workers; its max_size is {group.max_size}", "raise max_size first")
    owner = {"type": "cluster", "oid": str(cluster.oid), "name": cluster.name}
    require_room(call.limits, "workers_max", desired + pool_size(cluster), "workers", owner)
    return msgspec.structs.replace(group, scale=desired, changed=call.now)


def find_candidates(
    call: Call, cluster: Cluster, keys: Iterable[str], path: str, count: int | None = None
) -> list[Worker]:
    """Return the workers that are to join a cluster, `count` of them if it is given; raises why one cannot."""
    if cluster.type is not ClusterType.GENERIC:
        raise unfit("$.cluster", "is a router cluster, which makes its workers itself", "scale one of its groups")
    found: dict[Oid, Worker] = {}
    for place, key in enumerate(keys):
        worker = find_worker(call.view, key)
        problem = _obstacle(call, cluster, worker)
        if problem is not None:
            raise unfit(f"{path}[{place}]", f"{key} {problem}", "leave it out")
        found[worker.oid] = worker
    if count is not None and len(found) != count:
        raise unfit(path, f"names {len(found)} workers in the places of {count}", "name as many")
    _require_places(call, cluster, list(found.values()), path)
    return list(found.values())


def _obstacle(call: Call, cluster: Cluster, worker: Worker) -> str | None:
    """Return why a worker cannot join a cluster, or None; raises `ActionConflict` and `NotAuthorized`."""
    place: Cluster = call.rows(CLUSTERS).get(worker.cluster_oid)
    if not place.alone:
        return f"is in cluster {place.name}"
    if not allowed(call.caller.authrole, "operate") and not grants(
        granted_on(call.view, call.identity.oid, place), "operate"
    ):
        raise NotAuthorized(
            f"{call.caller.authid} may not have worker {worker.oid} join a cluster",
            subject={"type": "worker", "oid": str(worker.oid)},
            next_step="have whom it belongs to do so",
        )
    require_free(call.view, place)
    if worker.status is not WorkerStatus.RUNNING or worker.digest is None or worker.seen_digest != worker.digest:
        return f"is {worker.status.value}, and only workers that run can join"
    theirs, own = type_of(call, cluster), type_of(call, place)
    if own != theirs:
        return f"is of type {own}, and the cluster's workers are of type {theirs}"
    return None


def type_of(call: Call, cluster: Cluster) -> str:
    """Return the type of which a cluster's workers are."""
    return worker_type(from_wire(revision_of(call.view, cluster).config, Spec)).full_name


def _require_places(call: Call, cluster: Cluster, workers: list[Worker], path: str) -> None:
    """Refuse workers that would have to be moved as soon as they have joined."""
    candidates = {each.node.oid: each for each in candidates_of(call.view, cluster, {})}
    for worker in call.rows(WORKERS).all(cluster.oid):
        if occupies(worker) and worker.node_oid in candidates:
            candidates[worker.node_oid].of_cluster += 1
    for worker in workers:
        candidate = None if worker.node_oid is None else candidates.get(worker.node_oid)
        if candidate is None:
            raise unfit(path, f"names {worker.oid} on a node that does not carry the cluster", "leave it out")
        candidate.of_cluster += 1
        if candidate.hardlimit is not None and candidate.of_cluster > candidate.hardlimit:
            raise unfit(
                path,
                f"would have node {candidate.node.authid} carry more than {candidate.hardlimit} workers of the cluster",
                "leave one out, or raise the limit",
            )
