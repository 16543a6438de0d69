"""Clusters of processes and containers: create, change and delete; `cluster_actions` has what all clusters have."""

from typing import Any

import msgspec

from controlplane.core.policies import plan_batches
from controlplane.core.worker_types import worker_type
from controlplane.errors import (
    ActionConflict,
    AlreadyExists,
    Ambiguous,
    InvalidConfiguration,
    LimitReached,
    NoSuchObject,
    Problem,
)
from controlplane.records import events
from controlplane.records.actions import ActionKind, ActionView
from controlplane.records.clusters import (
    AnyClusterView,
    Cluster,
    ClusterRevision,
    ClusterStatus,
    ClusterType,
    GenericClusterInput,
    Group,
)
from controlplane.records.definitions import Definition, Spec
from controlplane.records.principals import Possession
from controlplane.records.types import Oid, from_wire, mentioned, to_wire
from controlplane.services.acting import begin
from controlplane.services.arguments import (
    AnyCluster,
    GenericClusterChanges,
    GenericClusterDefinition,
    is_profile,
    profile_key,
)
from controlplane.services.bound import bound_policies
from controlplane.services.cluster_actions import CLUSTER, bounds_problems, view_any_cluster
from controlplane.services.finding import resolve
from controlplane.services.ledger import groups_of
from controlplane.services.ownership import require_own_room
from controlplane.services.pipeline import Call, WritingCall
from controlplane.services.procedures import procedure
from controlplane.services.quotas import require_room
from controlplane.services.specs import keep_name
from controlplane.services.views import action_view
from controlplane.store.catalog import CLUSTERS, DEFINITIONS, GROUPS, POSSESSIONS, REVISIONS

GROUP = "default"
"""Name of the one group that a cluster of one profile has."""


@procedure(
    CLUSTER + "create_cluster",
    needs="manage",
    writes=True,
    raises=(InvalidConfiguration, AlreadyExists, LimitReached, NoSuchObject, Ambiguous),
)
def create_cluster(call: WritingCall, definition: GenericClusterDefinition) -> AnyClusterView:
    """Create a cluster of the workers that a profile describes, and start it; its action tells how it goes on."""
    profile = find_profile(call, definition.profile)
    desired = definition.min_size if definition.desired is None else definition.desired
    max_size = None if definition.max_size < 0 else definition.max_size
    problems = bounds_problems(desired, definition.min_size, max_size)
    if problems:
        raise InvalidConfiguration(
            f"{problems[0].path}: {problems[0].message}", problems=problems, next_step="mend what is listed"
        )
    require_room(call.limits, "clusters_max", call.rows(CLUSTERS).count() + 1, "clusters")
    require_room(call.limits, "workers_max", desired, "workers")
    require_own_room(call, call.identity.record)
    made = _make(call, definition, profile)
    group = Group(
        oid=call.new_oid(),
        cluster_oid=made.oid,
        name=GROUP,
        scale=desired,
        min_size=definition.min_size,
        max_size=max_size,
        created=call.now,
        changed=call.now,
    )
    call.rows(GROUPS).add(group)
    call.publish(events.ANY_CLUSTER_CREATED, view_any_cluster(call, made))
    begin(
        call.ledger,
        made,
        ActionKind.CLUSTER_CREATE,
        call.caller,
        {"desired": desired, "profile": str(profile.oid)},
        group=group,
    )
    return view_any_cluster(call, call.rows(CLUSTERS).get(made.oid))


@procedure(
    CLUSTER + "update_cluster",
    needs="manage",
    writes=True,
    raises=(NoSuchObject, InvalidConfiguration, AlreadyExists, ActionConflict, Ambiguous),
)
def update_cluster(call: WritingCall, cluster: AnyCluster, changes: GenericClusterChanges) -> AnyClusterView:
    """Change settings of a cluster; what is not mentioned stays.

    Another profile reaches the workers by an action, as many at a time as `batch` says. When a worker does not run
    with it, the action takes everything back and fails.
    """
    given: dict[str, Any] = mentioned(changes)
    named = given.pop("profile", None)
    if cluster.type is not ClusterType.GENERIC and (named is not None or given.keys() & {"batch", "steady"}):
        raise _unfit("$.profile" if named else "$.batch", "is for clusters of processes or containers only")
    changed = msgspec.structs.replace(cluster, **given, changed=call.now)
    if changed.name != cluster.name:
        keep_name(call, cluster)
    call.rows(CLUSTERS).put(changed, cluster)
    profile = None if named is None else find_profile(call, named)
    if profile is not None and profile.oid != cluster.profile_oid:
        change_profile(call, changed, profile)
    call.ledger.wake(cluster.oid)
    view = view_any_cluster(call, call.rows(CLUSTERS).get(cluster.oid))
    call.publish(events.ANY_CLUSTER_UPDATED, view)
    return view


@procedure(
    CLUSTER + "delete_cluster",
    needs="manage",
    writes=True,
    raises=(NoSuchObject, ActionConflict, InvalidConfiguration, Ambiguous),
)
def delete_cluster(call: WritingCall, cluster: AnyCluster) -> ActionView:
    """Stop all workers of a cluster and delete it; goes before any other action, which is cancelled."""
    if cluster.type is not ClusterType.GENERIC:
        raise _unfit("$.cluster", "is a router cluster: stop it, and use delete_routercluster")
    action = begin(
        call.ledger,
        cluster,
        ActionKind.CLUSTER_DELETE,
        call.caller,
        {},
        rows=call.rows,
        run=False,
        deleting=True,
    )
    for group in list(call.rows(GROUPS).all_by("name", cluster.oid)):
        call.rows(GROUPS).put(msgspec.structs.replace(group, scale=0, changed=call.now), group)
    return action_view(action)


def _make(call: WritingCall, given: GenericClusterInput, profile: Definition) -> Cluster:
    made = Cluster(
        oid=call.new_oid(),
        name=given.name,
        type=ClusterType.GENERIC,
        label=given.label,
        description=given.description,
        tags=given.tags,
        owner_oid=call.identity.oid,
        created=call.now,
        changed=call.now,
        run=True,
        status=ClusterStatus.STARTING,
        grace_period=given.grace_period,
        timeout=given.timeout,
        profile_oid=profile.oid,
        naming=given.naming,
        batch=given.batch,
        steady=given.steady,
        metadata=given.metadata,
    )
    call.rows(CLUSTERS).add(made)
    call.rows(POSSESSIONS).put(Possession(principal_oid=call.identity.oid, cluster_oid=made.oid))
    call.rows(REVISIONS).add(
        ClusterRevision(
            cluster_oid=made.oid, revision=made.revision, config=to_wire(profile.spec), homes={}, called=made.name
        )
    )
    return made


def change_profile(call: WritingCall, cluster: Cluster, profile: Definition, worker: Oid | None = None) -> None:
    """Give a cluster, or the one `worker` of a place, another spec; an action has it reach what runs."""
    current = call.rows(REVISIONS).get(cluster.oid, cluster.revision)
    spec = from_wire(current.config, Spec)
    if worker_type(spec).name != worker_type(profile.spec).name:
        raise _unfit("$.profile", f"is of type {profile.spec.type}, and the cluster's workers are of type {spec.type}")
    total = sum(group.scale for group in groups_of(call.view, cluster.oid))
    batches = plan_batches(bound_policies(call.view, cluster.oid), total)
    pace, decisions = (None, ()) if batches is None else batches
    begin(
        call.ledger,
        cluster,
        ActionKind.CLUSTER_UPDATE if worker is None else ActionKind.WORKER_UPDATE,
        call.caller,
        {"profile": str(profile.oid)},
        rows=call.rows,
        worker=worker,
        workers=() if worker is None else (worker,),
        before={
            "revision": cluster.revision,
            "profile_oid": None if cluster.profile_oid is None else str(cluster.profile_oid),
            "config": current.config,
        },
        decisions=decisions,
        revision=cluster.revision + 1,
        profile_oid=profile.oid,
        pace=pace,
    )
    newest = msgspec.structs.replace(
        current, revision=cluster.revision + 1, config=to_wire(profile.spec), called=cluster.name
    )
    call.rows(REVISIONS).add(newest)


def find_profile(call: Call, named: str) -> Definition:
    """Return a profile, by its name, oid, or the beginning of its oid."""
    found: Definition = resolve(call.view, DEFINITIONS, named, profile_key, is_profile, "profile")
    return found


def _unfit(path: str, message: str) -> InvalidConfiguration:
    return InvalidConfiguration(
        f"{path.removeprefix('$.')} {message}", problems=[Problem(path, message)], next_step="leave it out"
    )
