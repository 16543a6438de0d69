"""Workers alone: made, changed and deleted one by one, in no cluster; `all_workers` looks at them."""

from typing import Any

import msgspec

from controlplane.core.worker_types import worker_type
from controlplane.errors import (
    ActionConflict,
    Ambiguous,
    InvalidArgument,
    InvalidConfiguration,
    LimitReached,
    NoSuchObject,
    NotOffered,
    WorkerProtected,
)
from controlplane.records import events
from controlplane.records.actions import ActionKind, ActionView
from controlplane.records.clusters import Cluster, ClusterType
from controlplane.records.definitions import Definition
from controlplane.records.lone_workers import AdoptionInput, WorkerInput
from controlplane.records.nodes import Node
from controlplane.records.types import Oid, mentioned, to_wire
from controlplane.records.workers import AnyWorkerView, Worker
from controlplane.services.acting import begin, require_free
from controlplane.services.all_workers import WORKER, view_any_worker
from controlplane.services.arguments import AnyCluster, AnyWorker, WorkerChanges, WorkerDefinition
from controlplane.services.cluster_actions import remove_workers
from controlplane.services.generic_clusters import change_profile, find_profile
from controlplane.services.joining import grown, type_of
from controlplane.services.ledger import groups_of
from controlplane.services.lists import unfit
from controlplane.services.members import free_index, spec_beside
from controlplane.services.pipeline import WritingCall
from controlplane.services.places import make_place
from controlplane.services.procedures import procedure
from controlplane.services.protected import require_unprotected
from controlplane.services.quotas import require_room
from controlplane.services.remote import find_node
from controlplane.services.sizes import announce_size
from controlplane.services.views import action_view, worker_view
from controlplane.store.catalog import ALONE, CLUSTERS, GROUPS, WORKERS

NAME_DIGITS = 8


@procedure(
    WORKER + "create_worker",
    needs="manage",
    writes=True,
    raises=(InvalidConfiguration, LimitReached, NoSuchObject, Ambiguous, ActionConflict),
)
def create_worker(call: WritingCall, definition: WorkerDefinition, cluster: AnyCluster | None = None) -> ActionView:
    """Create a worker in no cluster and start it; its action tells how it goes on, and which worker it is.

    In a `cluster`, which wants one more then, it keeps a profile of its own until the cluster is given another one.
    """
    given: WorkerInput = definition
    profile = find_profile(call, given.profile)
    if cluster is not None:
        return _create_member(call, given, profile, cluster)
    node = None if given.node is None else find_node(call, given.node)
    return add_alone(call, profile, given, node, ActionKind.WORKER_CREATE, {}, oid=call.new_oid())


def add_alone(
    call: WritingCall,
    profile: Definition,
    given: WorkerInput | AdoptionInput,
    node: Node | None,
    kind: ActionKind,
    inputs: dict[str, Any],
    *,
    oid: Oid,
    adopts: dict[str, Any] | None = None,
) -> ActionView:
    """Make a worker in no cluster, by an action of this kind; it may be something that runs already."""
    require_room(call.limits, "workers_alone_max", call.rows(CLUSTERS).count(ALONE) + 1, "workers in no cluster")
    name = given.name or f"worker-{str(oid)[:NAME_DIGITS]}"
    place, group = make_place(
        call.ledger,
        call.rows,
        name,
        to_wire(profile.spec),
        owner_oid=call.identity.oid,
        profile_oid=profile.oid,
        timeout=given.timeout,
        grace_period=given.grace_period,
        node_oid=None if node is None else node.oid,
    )
    worker = call.ledger.add_worker(
        Worker(
            oid=oid,
            cluster_oid=place.oid,
            workergroup_oid=group.oid,
            index=0,
            created=call.now,
            changed=call.now,
            name=name,
            metadata=given.metadata,
            adopts=adopts,
        )
    )
    inputs = {"name": name, "profile": str(profile.oid), "node": None if node is None else str(node.oid), **inputs}
    return _begin(call, place, worker, kind, inputs, group=group)


@procedure(
    WORKER + "update_worker",
    needs="manage",
    writes=True,
    raises=(NoSuchObject, Ambiguous, InvalidConfiguration, ActionConflict, NotOffered),
)
def update_worker(call: WritingCall, worker: AnyWorker, changes: WorkerChanges) -> AnyWorkerView:
    """Give a worker another name or other metadata, or if it is in no cluster, another profile.

    What runs is not touched by a name. Another profile reaches it by an action; when it does not run with it, the
    action takes that back and fails.
    """
    given: dict[str, Any] = mentioned(changes)
    named = given.pop("profile", None)
    place: Cluster = call.rows(CLUSTERS).get(worker.cluster_oid)
    if given:
        worker = call.ledger.replace_worker(worker, msgspec.structs.replace(worker, **given))
        if place.alone and "name" in given:
            place = call.rows(CLUSTERS).put(msgspec.structs.replace(place, name=given["name"]), place)
        call.publish(events.WORKER_UPDATED, worker_view(worker))
    if named is not None:
        if not place.alone:
            raise NotOffered(
                f"worker {worker.oid} has its profile from its cluster {place.name}",
                subject={"type": "worker", "oid": str(worker.oid), "cluster_oid": str(place.oid)},
                next_step="change the profile of the cluster with update_cluster, or take the worker out first",
            )
        profile = find_profile(call, named)
        if profile.oid != place.profile_oid:
            change_profile(call, place, profile, worker.oid)
    call.ledger.wake(place.oid)
    return view_any_worker(call, call.rows(WORKERS).get(worker.oid))


@procedure(
    WORKER + "delete_worker",
    needs="manage",
    writes=True,
    raises=(NoSuchObject, Ambiguous, ActionConflict, InvalidArgument, WorkerProtected),
)
def delete_worker(call: WritingCall, worker: AnyWorker) -> ActionView:
    """Stop a worker for good and forget it; a cluster that it is in wants one less from now on.

    Of a worker in no cluster this goes before any other action, which is cancelled.
    """
    cluster: Cluster = call.rows(CLUSTERS).get(worker.cluster_oid)
    require_unprotected(cluster, [worker])
    if worker.standby:
        step = "have its policy keep fewer, or call recover_worker to have another one in its place"
        raise unfit("$.worker", "stands by: another one would take its place", step)
    if not cluster.alone:
        return remove_workers(call, cluster, [worker], ActionKind.WORKER_DELETE, worker=worker.oid)
    action = _begin(call, cluster, worker, ActionKind.WORKER_DELETE, {}, run=False, deleting=True)
    for group in groups_of(call.view, cluster.oid):
        call.rows(GROUPS).put(msgspec.structs.replace(group, scale=0, changed=call.now), group)
    return action


def _create_member(call: WritingCall, given: WorkerInput, profile: Definition, cluster: Cluster) -> ActionView:
    require_free(call.view, cluster)
    if given.node is not None:
        raise unfit("$.definition.node", "is for workers in no cluster: a cluster places its own", "leave it out")
    if cluster.type is not ClusterType.GENERIC:
        raise unfit("$.cluster", "is a router cluster, which makes its workers itself", "scale one of its groups")
    own, theirs = worker_type(profile.spec).full_name, type_of(call, cluster)
    if own != theirs:
        raise unfit(
            "$.definition.profile", f"is of type {own}, and the cluster's workers are of type {theirs}", "name another"
        )
    group = groups_of(call.view, cluster.oid)[0]
    call.rows(GROUPS).put(grown(call, cluster, group, 1, "$.cluster"), group)
    worker = Worker(
        oid=call.new_oid(),
        cluster_oid=cluster.oid,
        workergroup_oid=group.oid,
        index=free_index(call.ledger, group),
        created=call.now,
        changed=call.now,
        name=given.name,
        metadata=given.metadata,
    )
    kept = spec_beside(call.ledger, cluster, worker, profile.spec, profile.oid)
    worker = call.ledger.add_worker(msgspec.structs.replace(worker, kept=kept))
    inputs = {"name": given.name, "profile": str(profile.oid), "cluster": str(cluster.oid)}
    before = {"desired": group.scale}
    action = _begin(call, cluster, worker, ActionKind.WORKER_CREATE, inputs, group=group, before=before)
    announce_size(call.ledger, call.rows(CLUSTERS).get(cluster.oid))
    return action


def _begin(
    call: WritingCall, cluster: Cluster, worker: Worker, kind: ActionKind, inputs: dict[str, Any], **more: Any
) -> ActionView:
    return action_view(
        begin(
            call.ledger,
            cluster,
            kind,
            call.caller,
            inputs,
            rows=call.rows,
            worker=worker.oid,
            workers=(worker.oid,),
            **more,
        )
    )
