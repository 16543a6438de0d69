"""Worker groups of router clusters: how many frontends are wanted."""

from typing import Any

import msgspec

from controlplane.errors import (
    AlreadyExists,
    InvalidConfiguration,
    LimitReached,
    NoSuchObject,
    Problem,
    WorkerProtected,
)
from controlplane.records import events
from controlplane.records.clusters import Cluster, ClusterStatus, Group, GroupView
from controlplane.records.workers import Scale
from controlplane.services.arguments import ClusterByName, ExistingCluster, ExistingGroup, GroupDefinition
from controlplane.services.clusters import require_workers
from controlplane.services.ledger import groups_of
from controlplane.services.lists import Limit, after_name, page
from controlplane.services.names import ROUTERCLUSTER, crossbar_names
from controlplane.services.pipeline import Call, WritingCall
from controlplane.services.procedures import procedure
from controlplane.services.protected import require_so_few
from controlplane.services.quotas import require_room
from controlplane.services.views import group_view
from controlplane.store.catalog import GROUPS, TALLIES

LIST = "list_routercluster_workergroups"
GET = "get_routercluster_workergroup"
GET_BY_NAME = "get_routercluster_workergroup_by_name"
ADD = "add_routercluster_workergroup"
REMOVE = "remove_routercluster_workergroup"
SCALE = "scale_routercluster_workergroup"


@procedure(ROUTERCLUSTER + LIST, needs="read", aliases=crossbar_names(LIST), raises=(NoSuchObject,))
def list_routercluster_workergroups(
    call: Call,
    routercluster_oid: ExistingCluster,
    return_names: bool | None = None,
    filter_by_status: ClusterStatus | None = None,
    limit: Limit | None = None,
    marker: str | None = None,
) -> list[str]:
    """Return the oids of a cluster's worker groups, or with `return_names` their names, in order of the names."""
    groups = [
        group
        for group in call.rows(GROUPS).all_by("name", routercluster_oid.oid)
        if filter_by_status is None or view_group(call, group, routercluster_oid).status is filter_by_status
    ]
    if return_names:
        return page(after_name((group.name for group in groups), marker), limit)
    known = [str(group.oid) for group in groups]
    return page(known[known.index(marker) + 1 :] if marker in known else known, limit)


@procedure(ROUTERCLUSTER + GET, needs="read", aliases=crossbar_names(GET), raises=(NoSuchObject,))
def get_routercluster_workergroup(
    call: Call, routercluster_oid: ExistingCluster, workergroup_oid: ExistingGroup
) -> GroupView:
    """Return a worker group of a cluster, by its oid."""
    return view_group(call, of_cluster(workergroup_oid, routercluster_oid), routercluster_oid)


@procedure(ROUTERCLUSTER + GET_BY_NAME, needs="read", aliases=crossbar_names(GET_BY_NAME), raises=(NoSuchObject,))
def get_routercluster_workergroup_by_name(
    call: Call, routercluster_name: ClusterByName, workergroup_name: str
) -> GroupView:
    """Return a worker group of a cluster, by the names of both."""
    group = call.rows(GROUPS).find_by("name", routercluster_name.oid, workergroup_name)
    if group is None:
        raise _no_group(routercluster_name, workergroup_name)
    return view_group(call, group, routercluster_name)


@procedure(
    ROUTERCLUSTER + ADD,
    needs="manage",
    writes=True,
    aliases=crossbar_names(ADD),
    raises=(NoSuchObject, InvalidConfiguration, AlreadyExists, LimitReached),
)
def add_routercluster_workergroup(
    call: WritingCall, routercluster_oid: ExistingCluster, workergroup: GroupDefinition
) -> GroupView:
    """Add a worker group to a cluster, running or not; its workers start at once when the cluster runs."""
    cluster = routercluster_oid
    if workergroup.cluster_oid not in (None, cluster.oid):
        problem = Problem("$.cluster_oid", "names another cluster than the one that the group is added to")
        raise InvalidConfiguration(
            f"{problem.path} {problem.message}", problems=[problem], next_step="leave cluster_oid out"
        )
    owner = {"type": "router cluster", "oid": str(cluster.oid), "name": cluster.name}
    require_room(call.limits, "groups_max", call.rows(GROUPS).count(cluster.oid) + 1, "worker groups", owner)
    _require_workers(call, cluster, None, workergroup.scale)
    oid = call.new_oid()
    group = Group(
        oid=oid,
        cluster_oid=cluster.oid,
        name=workergroup.name or f"cwg_{str(oid)[:8]}",
        label=workergroup.label,
        description=workergroup.description,
        tags=workergroup.tags,
        scale=workergroup.scale,
        created=call.now,
        changed=call.now,
    )
    call.rows(GROUPS).add(group)
    return _announce(call, events.GROUP_ADDED, group, cluster)


@procedure(
    ROUTERCLUSTER + SCALE,
    needs="operate",
    writes=True,
    aliases=crossbar_names(SCALE),
    raises=(NoSuchObject, LimitReached, WorkerProtected),
)
def scale_routercluster_workergroup(
    call: WritingCall, routercluster_oid: ExistingCluster, workergroup_oid: ExistingGroup, scale: Scale
) -> GroupView:
    """Change how many workers a group wants; returns at once, and events tell how it goes on."""
    group = of_cluster(workergroup_oid, routercluster_oid)
    if scale == group.scale:
        return view_group(call, group, routercluster_oid)
    if scale > group.scale:
        _require_workers(call, routercluster_oid, group, scale)
    else:
        require_so_few(call, routercluster_oid, group, scale)
    scaled = call.rows(GROUPS).put(msgspec.structs.replace(group, scale=scale, changed=call.now), group)
    return _announce(call, events.GROUP_SCALED, scaled, routercluster_oid)


@procedure(ROUTERCLUSTER + REMOVE, needs="manage", writes=True, aliases=crossbar_names(REMOVE), raises=(NoSuchObject,))
def remove_routercluster_workergroup(
    call: WritingCall, routercluster_oid: ExistingCluster, workergroup_oid: ExistingGroup
) -> GroupView:
    """Remove a worker group from a cluster, running or not; its workers are stopped."""
    group = of_cluster(workergroup_oid, routercluster_oid)
    call.rows(GROUPS).remove(group)
    return _announce(call, events.GROUP_REMOVED, group, routercluster_oid)


def of_cluster(group: Group, cluster: Cluster) -> Group:
    """Return the group when it is the cluster's; raises `NoSuchObject`."""
    if group.cluster_oid != cluster.oid:
        raise _no_group(cluster, str(group.oid))
    return group


def view_group(call: Call, group: Group, cluster: Cluster) -> GroupView:
    """Return a group as callers see it."""
    return group_view(group, cluster, call.rows(TALLIES).find(cluster.oid, group.oid))


def _require_workers(call: WritingCall, cluster: Cluster, scaled: Group | None, scale: int) -> None:
    others = sum(
        group.scale for group in groups_of(call.view, cluster.oid) if scaled is None or group.oid != scaled.oid
    )
    require_workers(call, cluster, others + scale)


def _announce(call: WritingCall, kind: events.EventType, group: Group, cluster: Cluster) -> GroupView:
    view = view_group(call, group, cluster)
    call.publish(kind, view)
    call.ledger.touch_cluster(cluster.oid)
    call.ledger.wake(cluster.oid)
    return view


def _no_group(cluster: Cluster, shown: str) -> NoSuchObject:
    subject: dict[str, Any] = {"type": "worker group", "oid": shown, "cluster_oid": str(cluster.oid)}
    return NoSuchObject(
        f"router cluster {cluster.name} has no worker group {shown}",
        subject=subject,
        next_step="list the worker groups of the cluster",
    )
