"""Policies of clusters: attach, enable and disable, detach, look."""

from typing import Any

import msgspec

from controlplane.core.policies import POLICY_TYPES, read_rule
from controlplane.core.specs import type_name
from controlplane.errors import ActionConflict, AlreadyExists, Ambiguous, LimitReached, NoSuchObject, NotOffered
from controlplane.records import events
from controlplane.records.actions import ActionKind
from controlplane.records.clusters import Cluster
from controlplane.records.definitions import Definition
from controlplane.records.policies import Binding, BindingView
from controlplane.services.acting import note_done
from controlplane.services.arguments import AnyCluster, ExistingPolicy
from controlplane.services.cluster_actions import CLUSTER
from controlplane.services.lists import WHETHER, Limit, Values, select
from controlplane.services.outgoing import require_callable
from controlplane.services.pipeline import Call, WritingCall
from controlplane.services.placing import place_as_bound
from controlplane.services.procedures import procedure
from controlplane.services.quotas import require_room
from controlplane.services.schedules import due_of
from controlplane.services.standby import require_standby
from controlplane.store.catalog import BINDINGS, DEFINITIONS

ANNOUNCED = {
    ActionKind.CLUSTER_ATTACH_POLICY: events.POLICY_ATTACHED,
    ActionKind.CLUSTER_UPDATE_POLICY: events.POLICY_CHANGED,
    ActionKind.CLUSTER_DETACH_POLICY: events.POLICY_DETACHED,
}
FIELDS = {
    "oid": lambda b: b.oid,
    "policy_oid": lambda b: b.policy_oid,
    "policy_name": lambda b: b.policy_name,
    "policy_type": lambda b: b.policy_type,
    "priority": lambda b: b.priority,
    "enabled": lambda b: b.enabled,
    "due": lambda b: b.due,
    "created": lambda b: b.created,
    "changed": lambda b: b.changed,
}
VALUES: Values = {"policy_type": POLICY_TYPES, "enabled": WHETHER}


@procedure(CLUSTER + "list_cluster_policies", needs="read", raises=(NoSuchObject, Ambiguous))
def list_cluster_policies(
    call: Call,
    cluster: AnyCluster,
    filters: dict[str, Any] | None = None,
    sort: str | None = None,
    limit: Limit | None = None,
    marker: str | None = None,
) -> list[BindingView]:
    """Return the policies that a cluster obeys."""
    return select(
        (_view(call, cluster, each) for each in call.rows(BINDINGS).all(cluster.oid)),
        filters=filters,
        sort=sort,
        limit=limit,
        marker=marker,
        fields=FIELDS,
        values=VALUES,
        oid=lambda each: str(each.oid),
    )


@procedure(CLUSTER + "get_cluster_policy", needs="read", raises=(NoSuchObject, Ambiguous))
def get_cluster_policy(call: Call, cluster: AnyCluster, policy: ExistingPolicy) -> BindingView:
    """Return how a cluster obeys a policy."""
    return _view(call, cluster, _binding(call, cluster, policy))


@procedure(
    CLUSTER + "attach_policy",
    needs="manage",
    writes=True,
    raises=(NoSuchObject, Ambiguous, ActionConflict, AlreadyExists, LimitReached, NotOffered),
)
def attach_policy(call: WritingCall, cluster: AnyCluster, policy: ExistingPolicy, enabled: bool = True) -> BindingView:
    """Have a cluster obey a policy; of most types it can obey one only."""
    kind = POLICY_TYPES[type_name(policy.spec)]
    rows = call.rows(BINDINGS)
    subject = {"type": "cluster", "oid": str(cluster.oid), "name": cluster.name}
    rule = read_rule(policy.spec.properties, kind)
    require_callable(call, rule, subject)
    require_standby(call.view, call.limits, cluster, rule)
    for other in rows.all(cluster.oid):
        if other.policy_oid == policy.oid:
            raise AlreadyExists(
                f"cluster {cluster.name} obeys policy {policy.name} already"
                + ("" if other.enabled else ", but it is disabled"),
                subject=subject,
                next_step="enable it by update_cluster_policy" if enabled and not other.enabled else "leave it at that",
            )
        if kind.singleton and other.type.rpartition("-")[0] == kind.name:
            there = call.rows(DEFINITIONS).get(other.policy_oid).name
            raise AlreadyExists(
                f"cluster {cluster.name} obeys policy {there} already, and one of the type {kind.name} is admitted",
                subject=subject,
                next_step=f"detach {there} first",
            )
    require_room(call.limits, "bindings_max", rows.count(cluster.oid) + 1, "policies", subject)
    made = Binding(
        oid=call.new_oid(),
        cluster_oid=cluster.oid,
        policy_oid=policy.oid,
        type=kind.full_name,
        priority=kind.priority,
        enabled=enabled,
        due=due_of(policy, enabled, call.now),
        created=call.now,
        changed=call.now,
    )
    rows.add(made)
    return _announced(call, ActionKind.CLUSTER_ATTACH_POLICY, cluster, made)


@procedure(
    CLUSTER + "update_cluster_policy", needs="manage", writes=True, raises=(NoSuchObject, Ambiguous, ActionConflict)
)
def update_cluster_policy(call: WritingCall, cluster: AnyCluster, policy: ExistingPolicy, enabled: bool) -> BindingView:
    """Have a cluster obey a policy again, or not for the time being."""
    binding = _binding(call, cluster, policy)
    due = due_of(policy, enabled, call.now) if enabled != binding.enabled else binding.due
    changed = call.rows(BINDINGS).put(
        msgspec.structs.replace(binding, enabled=enabled, due=due, changed=call.now, given_up={}), binding
    )
    return _announced(call, ActionKind.CLUSTER_UPDATE_POLICY, cluster, changed)


@procedure(CLUSTER + "detach_policy", needs="manage", writes=True, raises=(NoSuchObject, Ambiguous, ActionConflict))
def detach_policy(call: WritingCall, cluster: AnyCluster, policy: ExistingPolicy) -> BindingView:
    """Have a cluster obey a policy no longer."""
    binding = _binding(call, cluster, policy)
    call.rows(BINDINGS).remove(binding)
    return _announced(call, ActionKind.CLUSTER_DETACH_POLICY, cluster, binding)


def _announced(call: WritingCall, kind: ActionKind, cluster: Cluster, binding: Binding) -> BindingView:
    """Have the cluster placed as its policies say now, and tell what has changed: in an action that is over at once."""
    place_as_bound(call, cluster)
    call.ledger.reconsider_policies(cluster.oid)
    call.ledger.attend(cluster.oid)
    inputs = {"policy": str(binding.policy_oid), "enabled": binding.enabled}
    action = note_done(call.ledger, cluster, kind, call.caller, inputs)
    view = msgspec.structs.replace(_view(call, cluster, binding), action_oid=action.oid)
    call.publish(ANNOUNCED[kind], view)
    return view


def _binding(call: Call, cluster: Cluster, policy: Definition) -> Binding:
    found: Binding | None = call.rows(BINDINGS).find(cluster.oid, policy.oid)
    if found is None:
        raise NoSuchObject(
            f"cluster {cluster.name} does not obey policy {policy.name}",
            subject={"type": "binding", "cluster_oid": str(cluster.oid), "policy_oid": str(policy.oid)},
            next_step="list the policies of the cluster",
        )
    return found


def _view(call: Call, cluster: Cluster, binding: Binding) -> BindingView:
    policy = call.rows(DEFINITIONS).find(binding.policy_oid)
    return BindingView(
        oid=binding.oid,
        cluster_oid=cluster.oid,
        cluster_name=cluster.name,
        policy_oid=binding.policy_oid,
        policy_name="" if policy is None else policy.name,
        policy_type=binding.type,
        priority=binding.priority,
        enabled=binding.enabled,
        used=binding.used,
        due=binding.due,
        created=binding.created,
        changed=binding.changed,
        given_up=binding.given_up,
    )
