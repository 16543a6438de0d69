"""Records as callers see them."""

from controlplane.core.health import cluster_reason, cluster_status
from controlplane.records.clusters import (
    Cluster,
    ClusterView,
    Group,
    GroupView,
    Membership,
    MembershipView,
    Tally,
)
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
