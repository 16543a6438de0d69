"""Which nodes may carry which router clusters."""

from typing import Any

import msgspec

from controlplane.core.placement import obstacle_to_tunnels
from controlplane.errors import InvalidConfiguration, LimitReached, NodesNotConnected, NoSuchObject, Problem
from controlplane.records import events
from controlplane.records.clusters import Cluster, Membership, MembershipInput, MembershipView
from controlplane.records.nodes import Node, NodeStatus
from controlplane.services.arguments import ExistingCluster, ExistingNode, MembershipDefinition
from controlplane.services.clusters import require_protected
from controlplane.services.lists import Limit, after_name, page
from controlplane.services.names import ROUTERCLUSTER, crossbar_names
from controlplane.services.pipeline import Call, WritingCall
from controlplane.services.procedures import procedure
from controlplane.services.quotas import require_room
from controlplane.services.specs import revision_of
from controlplane.services.tunnels import revoke_certificates
from controlplane.services.views import membership_view
from controlplane.store.catalog import MEMBERSHIPS, NODES

LIST = "list_routercluster_nodes"
GET = "get_routercluster_node"
ADD = "add_routercluster_node"
REMOVE = "remove_routercluster_node"


@procedure(ROUTERCLUSTER + LIST, needs="read", aliases=crossbar_names(LIST), raises=(NoSuchObject,))
def list_routercluster_nodes(
    call: Call,
    routercluster_oid: ExistingCluster,
    return_names: bool | None = None,
    filter_by_status: NodeStatus | None = None,
    limit: Limit | None = None,
    marker: str | None = None,
) -> list[str]:
    """Return the oids of the nodes that may carry a cluster, or with `return_names` their names in order."""
    members = call.rows(MEMBERSHIPS).all(routercluster_oid.oid)
    if not return_names and filter_by_status is None:
        return page(after_name((str(member.node_oid) for member in members), marker), limit)
    nodes = [node for node in (call.rows(NODES).find(member.node_oid) for member in members) if node is not None]
    shown = [node for node in nodes if filter_by_status is None or node.online is (filter_by_status == "online")]
    return page(after_name(sorted(node.authid if return_names else str(node.oid) for node in shown), marker), limit)


@procedure(ROUTERCLUSTER + GET, needs="read", aliases=crossbar_names(GET), raises=(NoSuchObject,))
def get_routercluster_node(call: Call, routercluster_oid: ExistingCluster, node_oid: ExistingNode) -> MembershipView:
    """Return the limits of a node in a cluster."""
    return membership_view(_member(call, routercluster_oid, node_oid))


@procedure(
    ROUTERCLUSTER + ADD,
    needs="manage",
    writes=True,
    aliases=crossbar_names(ADD),
    raises=(NoSuchObject, InvalidConfiguration, NodesNotConnected, LimitReached),
)
def add_routercluster_node(
    call: WritingCall,
    routercluster_oid: ExistingCluster,
    node_oid: ExistingNode,
    config: MembershipDefinition | None = None,
) -> MembershipView:
    """Let a node carry workers of a cluster, or change its limits; running or not.

    Above `softlimit` workers of this cluster other nodes are preferred; above `hardlimit` it takes none.
    """
    cluster, node = routercluster_oid, node_oid
    limits = config or MembershipInput()
    if limits.softlimit is not None and limits.hardlimit is not None and limits.softlimit > limits.hardlimit:
        problem = Problem("$.softlimit", f"is {limits.softlimit}, more than the hardlimit of {limits.hardlimit}")
        raise InvalidConfiguration(
            f"{problem.path} {problem.message}", problems=[problem], next_step="give a softlimit up to the hardlimit"
        )
    old = call.rows(MEMBERSHIPS).find(cluster.oid, node.oid)
    if old is None:
        owner = {"type": "router cluster", "oid": str(cluster.oid), "name": cluster.name}
        require_room(call.limits, "memberships_max", call.rows(MEMBERSHIPS).count(cluster.oid) + 1, "nodes", owner)
        _require_link(call, cluster, node)
        membership = Membership(
            cluster_oid=cluster.oid,
            node_oid=node.oid,
            softlimit=limits.softlimit,
            hardlimit=limits.hardlimit,
            created=call.now,
        )
    else:
        membership = msgspec.structs.replace(old, softlimit=limits.softlimit, hardlimit=limits.hardlimit)
    call.rows(MEMBERSHIPS).put(membership, old)
    require_protected(call, cluster.oid, revision_of(call.view, cluster).config, [membership])
    view = membership_view(membership)
    if membership != old:
        call.publish(events.CLUSTER_NODE_ADDED, view)
    call.ledger.wake(cluster.oid)
    return view


@procedure(ROUTERCLUSTER + REMOVE, needs="manage", writes=True, aliases=crossbar_names(REMOVE), raises=(NoSuchObject,))
def remove_routercluster_node(
    call: WritingCall, routercluster_oid: ExistingCluster, node_oid: ExistingNode
) -> MembershipView:
    """Take a node from a cluster, running or not; its workers are placed on the other nodes."""
    membership = _member(call, routercluster_oid, node_oid)
    call.rows(MEMBERSHIPS).remove(membership)
    revoke_certificates(call, routercluster_oid.oid, node_oid.oid)
    view = membership_view(membership)
    call.publish(events.CLUSTER_NODE_REMOVED, view)
    call.ledger.wake(routercluster_oid.oid)
    return view


def _member(call: Call, cluster: Cluster, node: Node) -> Membership:
    membership = call.rows(MEMBERSHIPS).find(cluster.oid, node.oid)
    if membership is None:
        subject: dict[str, Any] = {"type": "membership", "cluster_oid": str(cluster.oid), "node_oid": str(node.oid)}
        raise NoSuchObject(
            f"node {node.authid} is not in router cluster {cluster.name}",
            subject=subject,
            next_step="add the node to the cluster",
        )
    found: Membership = membership
    return found


def _require_link(call: Call, cluster: Cluster, node: Node) -> None:
    """Refuse a node that the cluster's other nodes have no protected link to."""
    for member in call.rows(MEMBERSHIPS).all(cluster.oid):
        other = call.rows(NODES).find(member.node_oid)
        if other is None or other.facts is None or node.facts is None:
            continue
        obstacle = obstacle_to_tunnels(node) or obstacle_to_tunnels(other)
        if other.facts.machine != node.facts.machine and obstacle is not None:
            raise NodesNotConnected(
                f"node {node.authid} is another machine than node {other.authid} of router cluster {cluster.name}, "
                f"and {obstacle}; frontends trust whoever reaches their routers, so the way there has to be protected",
                subject={"type": "node", "oid": str(node.oid), "name": node.authid},
                next_step="install stunnel on both nodes, give their agents an --address, and start them again",
            )
