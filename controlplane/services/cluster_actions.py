"""What can be done with clusters of any type: look, resize, take workers out."""

from typing import Annotated, Any

import msgspec

from controlplane.core.policies import choose_victims, decide_scaling, plan_growth
from controlplane.core.resizing import Resize, Size, resized
from controlplane.core.standby import pool_size
from controlplane.errors import (
    ActionConflict,
    ActionCooldown,
    Ambiguous,
    InvalidArgument,
    LimitReached,
    NoSuchObject,
    Problem,
    WorkerProtected,
)
from controlplane.records.actions import ActionKind, ActionView
from controlplane.records.clusters import AnyClusterView, Cluster, ClusterStatus, ClusterType, Group, SizeMax
from controlplane.records.clusters import Size as SizeInput
from controlplane.records.lifecycle import HookedDeletionPolicy
from controlplane.records.policies import Adjustment, Decision, DeletionPolicy
from controlplane.records.types import Oid
from controlplane.records.workers import Want, Worker, WorkerStatus, WorkerView
from controlplane.services.acting import begin, require_free
from controlplane.services.arguments import AnyCluster
from controlplane.services.bound import bound_policies
from controlplane.services.farewells import see_off
from controlplane.services.finding_members import find_members
from controlplane.services.joining import WorkerKeys, find_candidates
from controlplane.services.ledger import counts_of, groups_of
from controlplane.services.lists import WHETHER, Limit, Values, select, unfit, walk
from controlplane.services.members import join, leave
from controlplane.services.pipeline import Call, WritingCall
from controlplane.services.procedures import procedure
from controlplane.services.protected import count_protected, require_so_few, require_unprotected
from controlplane.services.quotas import require_room
from controlplane.services.sizes import announce_size
from controlplane.services.views import action_view, any_cluster_view, worker_view
from controlplane.store.catalog import CLUSTERS, GROUPS, NODES, WORKERS

CLUSTER = "controlplane.cluster."
Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
SCALINGS = (ActionKind.CLUSTER_SCALE_OUT, ActionKind.CLUSTER_SCALE_IN)
"""What callers say a `count` to, and not a `number`."""

FIELDS = {
    "oid": lambda c: c.oid,
    "name": lambda c: c.name,
    "type": lambda c: c.type,
    "status": lambda c: c.status,
    "profile_oid": lambda c: c.profile_oid,
    "created": lambda c: c.created,
    "changed": lambda c: c.changed,
}
VALUES: Values = {"type": ClusterType, "status": ClusterStatus}
WORKER_FIELDS = {
    "oid": lambda w: w.oid,
    "status": lambda w: w.status,
    "index": lambda w: w.index,
    "node_oid": lambda w: w.node_oid,
    "standby": lambda w: w.standby,
    "created": lambda w: w.created,
    "changed": lambda w: w.changed,
}
WORKER_VALUES: Values = {"status": WorkerStatus, "standby": WHETHER}


@procedure(CLUSTER + "list_clusters", needs="read")
def list_clusters(
    call: Call,
    filters: dict[str, Any] | None = None,
    sort: str | None = None,
    limit: Limit | None = None,
    marker: str | None = None,
) -> list[AnyClusterView]:
    """Return clusters of all types, in order of their oids unless `sort` says otherwise."""
    records, left = walk(call.rows(CLUSTERS), sort, marker, {"oid": None, "name": "name"})
    found = select(
        (cluster for cluster in records if not cluster.alone),
        filters=filters,
        sort=left,
        limit=limit,
        marker=marker,
        fields=FIELDS,
        values=VALUES,
        oid=lambda each: str(each.oid),
    )
    return [view_any_cluster(call, each) for each in found]


@procedure(CLUSTER + "get_cluster", needs="read", raises=(NoSuchObject, Ambiguous))
def get_cluster(call: Call, cluster: AnyCluster) -> AnyClusterView:
    """Return a cluster of any type, by its name, oid, or the beginning of its oid."""
    return view_any_cluster(call, cluster)


@procedure(CLUSTER + "list_cluster_workers", needs="read", raises=(NoSuchObject, Ambiguous))
def list_cluster_workers(
    call: Call,
    cluster: AnyCluster,
    filters: dict[str, Any] | None = None,
    sort: str | None = None,
    limit: Limit | None = None,
    marker: str | None = None,
) -> list[WorkerView]:
    """Return a cluster's workers, group by group in order of the index unless `sort` says otherwise."""
    found = select(
        call.rows(WORKERS).all(cluster.oid),
        filters=filters,
        sort=sort,
        limit=limit,
        marker=marker,
        fields=WORKER_FIELDS,
        values=WORKER_VALUES,
        oid=lambda each: str(each.oid),
    )
    return [worker_view(each) for each in found]


@procedure(
    CLUSTER + "resize_cluster",
    needs="operate",
    writes=True,
    raises=(NoSuchObject, Ambiguous, ActionConflict, LimitReached, WorkerProtected),
)
def resize_cluster(
    call: WritingCall,
    cluster: AnyCluster,
    adjustment_type: Adjustment | None = None,
    number: float | None = None,
    min_size: SizeInput | None = None,
    max_size: SizeMax | None = None,
    min_step: Count | None = None,
    strict: bool = True,
    group: str | None = None,
) -> ActionView:
    """Change how many workers a cluster has, and the bounds of that.

    With `strict` a size outside of the bounds is refused; without it the nearest one inside is taken. A cluster with
    several groups needs the name of the `group`.
    """
    asked = Resize(adjustment_type, number, min_size, max_size, min_step, strict)
    inputs = {name: value for name, value in asked._asdict().items() if value is not None}
    return _resize(call, cluster, _group(call, cluster, group), ActionKind.CLUSTER_RESIZE, asked, inputs)


@procedure(
    CLUSTER + "scale_out_cluster",
    needs="operate",
    writes=True,
    raises=(NoSuchObject, Ambiguous, ActionConflict, ActionCooldown, LimitReached),
)
def scale_out_cluster(
    call: WritingCall, cluster: AnyCluster, count: Count | None = None, group: str | None = None
) -> ActionView:
    """Have more workers in a cluster, never more than its upper bound: `count`, or what its policies say, or one."""
    return scale(call, cluster, group, ActionKind.CLUSTER_SCALE_OUT, count)


@procedure(
    CLUSTER + "scale_in_cluster",
    needs="operate",
    writes=True,
    raises=(NoSuchObject, Ambiguous, ActionConflict, ActionCooldown, LimitReached, WorkerProtected),
)
def scale_in_cluster(
    call: WritingCall, cluster: AnyCluster, count: Count | None = None, group: str | None = None
) -> ActionView:
    """Have fewer workers in a cluster, never fewer than its lower bound: `count`, or what its policies say, or one.

    Sick ones go first.
    """
    return scale(call, cluster, group, ActionKind.CLUSTER_SCALE_IN, count)


@procedure(
    CLUSTER + "remove_cluster_workers",
    needs="operate",
    writes=True,
    raises=(NoSuchObject, Ambiguous, ActionConflict, WorkerProtected),
)
def remove_cluster_workers(
    call: WritingCall, cluster: AnyCluster, workers: WorkerKeys, destroy: bool = True
) -> ActionView:
    """Stop these workers of a cluster for good; it wants so many less, unless its deletion policy says otherwise.

    Without `destroy` they run on where they are, in no cluster from now on.
    """
    return remove_workers(
        call, cluster, find_members(call.view, cluster, workers), ActionKind.CLUSTER_REMOVE_WORKERS, destroy
    )


def remove_workers(
    call: WritingCall, cluster: Cluster, chosen: list[Worker], kind: ActionKind, destroy: bool = True, **more: Any
) -> ActionView:
    """Take workers out of a cluster by an action of this kind, and unless they are to run on, stop them for good."""
    require_free(call.view, cluster)
    require_unprotected(cluster, chosen)
    rules = [each.rule for each in bound_policies(call.view, cluster.oid)]
    reduced = all(rule.reduce_desired_capacity for rule in rules if isinstance(rule, DeletionPolicy))
    sizes = {group.oid: group for group in groups_of(call.view, cluster.oid)}
    for oid in {worker.workergroup_oid for worker in chosen}:
        if oid not in sizes:
            raise unfit("$.workers", "names a router of the cluster, which is no worker of a group", "leave it out")
        group = sizes[oid]
        left = group.scale - (sum(worker.workergroup_oid == oid for worker in chosen) if reduced else 0)
        if left < group.min_size:
            few = f"would leave {left} in group {group.name}; its min_size is {group.min_size}"
            raise unfit("$.workers", few, "name fewer, or lower min_size")
        call.rows(GROUPS).put(msgspec.structs.replace(group, scale=left, changed=call.now), group)
    destroy &= kind is ActionKind.WORKER_DELETE or _destroys(call, cluster)
    leaving = _see_off(call, cluster, chosen, destroy)
    inputs = {"workers": [str(each.oid) for each in chosen], "destroy": destroy}
    view = _begin(call, cluster, kind, inputs, leaving=leaving, **more)
    if reduced:
        announce_size(call.ledger, call.rows(CLUSTERS).get(cluster.oid))
    return view


@procedure(
    CLUSTER + "replace_cluster_workers",
    needs="operate",
    writes=True,
    raises=(NoSuchObject, Ambiguous, ActionConflict, WorkerProtected),
)
def replace_cluster_workers(
    call: WritingCall,
    cluster: AnyCluster,
    workers: WorkerKeys,
    candidates: WorkerKeys | None = None,
    destroy: bool = True,
) -> ActionView:
    """Stop these workers of a cluster for good and have new ones in their places, or as many `candidates`.

    A candidate is a worker in no cluster, see `add_cluster_workers`. Without `destroy` the replaced ones run on, in no
    cluster from now on.
    """
    require_free(call.view, cluster)
    chosen = find_members(call.view, cluster, workers)
    if any(worker.workergroup_oid is None for worker in chosen):
        raise unfit("$.workers", "names a router of the cluster, which holds realms", "leave it out")
    require_unprotected(cluster, chosen)
    found = [] if candidates is None else find_candidates(call, cluster, candidates, "$.candidates", len(chosen))
    destroy &= _destroys(call, cluster)
    leaving = _see_off(call, cluster, chosen, destroy)
    joined = [join(call.ledger, call.rows, each, cluster, _group(call, cluster, None)).oid for each in found]
    inputs = {
        "workers": [str(each.oid) for each in chosen],
        "candidates": [str(oid) for oid in joined],
        "destroy": destroy,
    }
    return _begin(call, cluster, ActionKind.CLUSTER_REPLACE_WORKERS, inputs, workers=joined, leaving=leaving)


def view_any_cluster(call: Call, cluster: Cluster) -> AnyClusterView:
    """Return a cluster of any type as callers see it."""
    return any_cluster_view(cluster, groups_of(call.view, cluster.oid), counts_of(call.view, cluster.oid))


def bounds_problems(desired: int, low: int, high: int | None) -> list[Problem]:
    """Return what is wrong with a number of workers and its bounds."""
    if high is not None and low > high:
        return [Problem("$.max_size", f"is {high}, less than the min_size of {low}")]
    if desired < low or (high is not None and desired > high):
        return [Problem("$.desired", f"is {desired}; between {low} and {high} are admitted")]
    return []


def scale(
    call: WritingCall,
    cluster: Cluster,
    named: str | None,
    kind: ActionKind,
    count: int | None,
    because: tuple[Decision, ...] = (),
) -> ActionView:
    """Begin a scaling by `count`, or by what the policies of scalings say; `because` is what others decided before."""
    group = _group(call, cluster, named)
    size = Size(group.scale, max(group.min_size, count_protected(call.view, group)), group.max_size)
    chosen = decide_scaling(bound_policies(call.view, cluster.oid), kind.value, size, count, call.now)
    if chosen.wait_s is not None:
        raise ActionCooldown(
            f"cluster {cluster.name}: policy {chosen.decisions[-1].policy_name} {chosen.decisions[-1].said}",
            subject={"type": "cluster", "oid": str(cluster.oid), "name": cluster.name},
            next_step=f"call again after {chosen.wait_s:.1f} s, or use resize_cluster",
        )
    step = chosen.number if kind is ActionKind.CLUSTER_SCALE_OUT else -chosen.number
    asked = Resize(Adjustment.CHANGE_IN_CAPACITY, step)
    return _resize(call, cluster, group, kind, asked, {"count": count}, (*because, *chosen.decisions))


def resize(
    call: WritingCall,
    cluster: Cluster,
    named: str | None,
    asked: Resize,
    inputs: dict[str, Any],
    because: tuple[Decision, ...],
) -> ActionView:
    """Begin a resize of a group; `because` is what policies decided before."""
    return _resize(call, cluster, _group(call, cluster, named), ActionKind.CLUSTER_RESIZE, asked, inputs, because)


def _resize(
    call: WritingCall,
    cluster: Cluster,
    group: Group,
    kind: ActionKind,
    asked: Resize,
    inputs: dict[str, Any],
    decisions: tuple[Decision, ...] = (),
) -> ActionView:
    size = resized(Size(group.scale, group.min_size, group.max_size), asked)
    if not isinstance(size, Size):
        wrong = [Problem("$.count", each.message) if kind in SCALINGS else each for each in size]
        raise InvalidArgument(
            f"{wrong[0].path.removeprefix('$.')}: {wrong[0].message}",
            subject={"type": "cluster", "oid": str(cluster.oid), "name": cluster.name},
            problems=wrong,
            next_step="mend what is listed and call again",
        )
    if size.desired < group.scale:
        if asked.strict:
            require_so_few(call, cluster, group, size.desired)
        size = size._replace(desired=max(size.desired, min(group.scale, count_protected(call.view, group))))
    others = sum(other.scale for other in groups_of(call.view, cluster.oid) if other.oid != group.oid)
    owner = {"type": "cluster", "oid": str(cluster.oid), "name": cluster.name}
    require_room(call.limits, "workers_max", others + size.desired + pool_size(cluster), "workers", owner)
    leaving: tuple[Oid, ...] = ()
    if size.desired < group.scale:
        require_free(call.view, cluster)
        leaving, said = _take_out(call, cluster, group, group.scale - size.desired)
        decisions = (*decisions, *said)
    elif size.desired > group.scale:
        decisions = (*decisions, *plan_growth(bound_policies(call.view, cluster.oid), size.desired))
    before = {"desired": group.scale, "min_size": group.min_size, "max_size": group.max_size}
    view = _begin(call, cluster, kind, inputs, group=group, before=before, leaving=leaving, decisions=decisions)
    resized_group = msgspec.structs.replace(
        group, scale=size.desired, min_size=size.min_size, max_size=size.max_size, changed=call.now
    )
    call.rows(GROUPS).put(resized_group, group)
    announce_size(call.ledger, call.rows(CLUSTERS).get(cluster.oid))
    return view


def _take_out(
    call: WritingCall, cluster: Cluster, group: Group, count: int
) -> tuple[tuple[Oid, ...], tuple[Decision, ...]]:
    """Have the workers go that policies choose, and return which; without any a pass chooses them."""
    policies = bound_policies(call.view, cluster.oid)
    workers = [each for each in call.rows(WORKERS).all(cluster.oid, group.oid) if each.want is not Want.REMOVE]
    count = min(count, sum(not each.protected for each in workers))
    places = {worker.node_oid for worker in workers if worker.node_oid is not None}
    nodes = {oid: node for oid in places if (node := call.rows(NODES).find(oid)) is not None}
    found = choose_victims(policies, workers, count, lambda: call.new_oid().int, nodes)
    if found is None:
        return (), ()
    return _see_off(call, cluster, found[0], _destroys(call, cluster)), found[1]


def _destroys(call: Call, cluster: Cluster) -> bool:
    """Say whether workers that are taken out of a cluster are stopped, as far as its policies are concerned."""
    rules = [each.rule for each in bound_policies(call.view, cluster.oid)]
    return all(rule.destroy_after_deletion for rule in rules if isinstance(rule, HookedDeletionPolicy))


def _see_off(call: WritingCall, cluster: Cluster, chosen: list[Worker], destroy: bool) -> tuple[Oid, ...]:
    """Have workers go for good, or leave the cluster; return which."""
    if destroy:
        return see_off(call.ledger, cluster, chosen)
    if cluster.type is not ClusterType.GENERIC:
        raise unfit("$.destroy", "cannot be false: workers of a router cluster are nothing alone", "leave it out")
    return tuple(leave(call.ledger, call.rows, worker, cluster).oid for worker in chosen)


def _begin(call: WritingCall, cluster: Cluster, kind: ActionKind, inputs: dict[str, Any], **more: Any) -> ActionView:
    return action_view(begin(call.ledger, cluster, kind, call.caller, inputs, rows=call.rows, **more))


def _group(call: Call, cluster: Cluster, named: str | None) -> Group:
    groups = groups_of(call.view, cluster.oid)
    fitting = [group for group in groups if named in (None, group.name)]
    if len(fitting) == 1:
        return fitting[0]
    names = ", ".join(group.name for group in groups) or "none"
    what = "does not say which group is meant" if named is None else f"names {named!r}, which there is not"
    raise unfit("$.group", f"{what}; the cluster has {names}", "name one of its groups")
