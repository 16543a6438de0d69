"""Records as callers see them."""

from collections.abc import Mapping, Sequence

from controlplane.core.health import cluster_reason, cluster_status
from controlplane.core.specs import type_name
from controlplane.records.actions import Action, ActionView
from controlplane.records.clusters import (
    AnyClusterView,
    Cluster,
    ClusterStatus,
    ClusterView,
    Group,
    GroupSize,
    GroupView,
    Membership,
    MembershipView,
    Tally,
)
from controlplane.records.definitions import Definition, DefinitionView
from controlplane.records.nodes import Node, NodeView
from controlplane.records.workers import Worker, WorkerView


def cluster_view(cluster: Cluster, counts: dict[str, int], desired: int) -> ClusterView:
    """Return a cluster as callers see it."""
    return ClusterView(
        oid=cluster.oid,
        label=cluster.label,
        description=cluster.description,
        tags=cluster.tags,
        name=cluster.name,
        status=cluster.status,
        owner_oid=cluster.owner_oid,
        changed=cluster.changed,
        created=cluster.created,
        reason=cluster_reason(counts, desired) if cluster.run else None,
        revision=cluster.revision,
        routers=cluster.routers,
        grace_period=cluster.grace_period,
    )


def any_cluster_view(cluster: Cluster, groups: Sequence[Group], counts: Mapping[str, int]) -> AnyClusterView:
    """Return a cluster of any type as callers see it."""
    desired = sum(group.scale for group in groups)
    return AnyClusterView(
        oid=cluster.oid,
        name=cluster.name,
        type=cluster.type,
        status=ClusterStatus.DELETING if cluster.deleting else cluster.status,
        reason=cluster_reason(counts, desired) if cluster.run else None,
        action_oid=cluster.action_oid,
        profile_oid=cluster.profile_oid,
        desired=desired,
        groups=tuple(
            GroupSize(
                oid=group.oid,
                name=group.name,
                desired=group.scale,
                min_size=group.min_size,
                max_size=group.max_size,
            )
            for group in groups
        ),
        workers_by_status=by_status(counts),
        timeout=cluster.timeout,
        grace_period=cluster.grace_period,
        naming=cluster.naming,
        batch=cluster.batch,
        steady=cluster.steady,
        metadata=cluster.metadata,
        revision=cluster.revision,
        label=cluster.label,
        description=cluster.description,
        tags=cluster.tags,
        owner_oid=cluster.owner_oid,
        created=cluster.created,
        changed=cluster.changed,
    )


def action_view(action: Action) -> ActionView:
    """Return an action as callers see it."""
    return ActionView(
        oid=action.oid,
        name=action.name,
        action=action.kind,
        target=action.worker_oid or action.cluster_oid,
        cluster_oid=action.cluster_oid,
        cluster_name=action.cluster_name,
        cause=action.cause,
        who=action.who,
        inputs=action.inputs,
        outputs=action.outputs,
        decisions=action.decisions,
        status=action.status,
        phase=action.phase,
        reason=action.reason,
        done=action.done,
        total=action.total,
        timeout=action.timeout,
        created=action.created,
        ended=action.ended,
        parent_oid=action.parent_oid,
        children=action.children,
        started=action.created if action.parent_oid is None else action.started,
    )


def definition_view(definition: Definition) -> DefinitionView:
    """Return a definition as callers see it."""
    return DefinitionView(
        oid=definition.oid,
        kind=definition.kind,
        name=definition.name,
        type=type_name(definition.spec),
        spec=definition.spec,
        metadata=definition.metadata,
        owner_oid=definition.owner_oid,
        created=definition.created,
        changed=definition.changed,
    )


def by_status(counts: Mapping[str, int]) -> dict[str, int]:
    """Return counts by the status that callers see; the tally keeps new workers apart."""
    merged: dict[str, int] = {}
    for state, number in counts.items():
        shown = "STARTING" if state == "NEW" else state
        merged[shown] = merged.get(shown, 0) + number
    return merged


def group_view(group: Group, cluster: Cluster, tally: Tally | None) -> GroupView:
    """Return a worker group as callers see it."""
    counts = {} if tally is None else tally.counts
    return GroupView(
        oid=group.oid,
        label=group.label,
        description=group.description,
        tags=group.tags,
        cluster_oid=group.cluster_oid,
        name=group.name,
        scale=group.scale,
        status=cluster_status(cluster.run, cluster.ready, counts, group.scale),
        changed=group.changed,
        created=group.created,
    )


def membership_view(membership: Membership) -> MembershipView:
    """Return a node's place in a cluster as callers see it."""
    return MembershipView(
        cluster_oid=membership.cluster_oid,
        node_oid=membership.node_oid,
        softlimit=membership.softlimit,
        hardlimit=membership.hardlimit,
    )


def worker_view(worker: Worker) -> WorkerView:
    """Return a worker as callers see it."""
    return WorkerView(
        oid=worker.oid,
        cluster_oid=worker.cluster_oid,
        workergroup_oid=worker.workergroup_oid,
        node_oid=worker.node_oid,
        index=worker.index,
        status=worker.status.value,
        reason=worker.reason,
        restarts=worker.restarts,
        started=worker.started,
        pid=worker.pid,
        realms=worker.realms,
        addresses=worker.addresses,
        protected=worker.protected,
        standby=worker.standby,
    )


def node_view(node: Node, workers: int) -> NodeView:
    """Return a node as callers see it, with the number of workers placed on it."""
    facts = node.facts
    return NodeView(
        oid=node.oid,
        authid=node.authid,
        name=node.authid,
        pubkey=node.pubkey,
        next_pubkey=node.next_pubkey,
        label=node.label,
        description=node.description,
        tags=node.tags,
        region=node.region,
        zone=node.zone,
        status="online" if node.online else "offline",
        since=node.since,
        address=facts.address if facts else None,
        ports=facts.ports if facts else None,
        drivers=facts.drivers if facts else (),
        capacity=facts.capacity if facts else node.capacity_max,
        cores=facts.cores if facts else None,
        stunnel=facts.stunnel if facts else None,
        version=facts.version if facts else None,
        workers=workers,
        created=node.created,
        changed=node.changed,
    )
