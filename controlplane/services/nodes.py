"""Nodes: pairing, and looking at them."""

from functools import partial

import msgspec

from controlplane.core.edge_rights import edge_authid
from controlplane.errors import AlreadyExists, InvalidConfiguration, LimitReached, NoSuchObject, NotAttached, NotOffered
from controlplane.records import events
from controlplane.records.nodes import Departure, Node, NodeStatus, NodeView
from controlplane.records.placement import Zone
from controlplane.records.types import Authid, Description, Label, PublicKey, Tags, mentioned
from controlplane.services.arguments import ExistingNode, NodeByName, NodeChanges
from controlplane.services.lists import Limit, after_name, oid_text, page
from controlplane.services.logins import require_free_key
from controlplane.services.pipeline import Call, WritingCall
from controlplane.services.procedures import procedure
from controlplane.services.quotas import require_room
from controlplane.services.tunnels import revoke_certificates
from controlplane.services.views import membership_view, node_view
from controlplane.store.catalog import DEPARTURES, LOADS, MEMBERSHIPS, NODES, WORKERS

NODE = "controlplane.node."
DEPARTURES_MAX = 10_000
"""Machines that were taken out, of which it is remembered."""


@procedure(NODE + "list_nodes", needs="read")
def list_nodes(
    call: Call,
    return_names: bool | None = None,
    filter_by_status: NodeStatus | None = None,
    limit: Limit | None = None,
    marker: str | None = None,
) -> list[str]:
    """Return the oids of all nodes, or with `return_names` their names in order."""
    if filter_by_status is None:
        if return_names:
            names = (key.decode() for key, _ in call.rows(NODES).keys_by("authid"))
            return page(after_name(names, marker), limit)
        return page(after_name((oid_text(key) for key in call.rows(NODES).scan_keys()), marker), limit)
    nodes = [node for node in call.rows(NODES).all() if node.online is (filter_by_status == "online")]
    return page(after_name(sorted(node.authid if return_names else str(node.oid) for node in nodes), marker), limit)


@procedure(NODE + "get_node", needs="read", raises=(NoSuchObject,))
def get_node(call: Call, node_oid: ExistingNode) -> NodeView:
    """Return a node, by its oid."""
    return view_node(call, node_oid)


@procedure(NODE + "get_node_by_name", needs="read", raises=(NoSuchObject,))
def get_node_by_name(call: Call, node_name: NodeByName) -> NodeView:
    """Return a node, by the name that it was paired under."""
    return view_node(call, node_name)


@procedure(NODE + "pair_node", needs="administer", writes=True, raises=(AlreadyExists, LimitReached))
def pair_node(
    call: WritingCall,
    pubkey: PublicKey,
    authid: Authid,
    label: Label | None = None,
    description: Description | None = None,
    tags: Tags | None = None,
    region: Zone | None = None,
    zone: Zone | None = None,
) -> NodeView:
    """Pair a machine by its agent's public key and give it a name; its agent may connect from now on."""
    node = Node(
        oid=call.new_oid(),
        authid=authid,
        pubkey=pubkey,
        label=label,
        description=description,
        tags=tags,
        region=region,
        zone=zone,
        created=call.now,
        changed=call.now,
        since=call.now,
    )
    return add_node(call, node)


@procedure(NODE + "update_node", needs="administer", writes=True, raises=(NoSuchObject, InvalidConfiguration))
def update_node(call: WritingCall, node_oid: ExistingNode, changes: NodeChanges) -> NodeView:
    """Change settings of a node; what is not mentioned stays.

    Workers that run are left where they are; those that wait for a place are looked at again.
    """
    changed = msgspec.structs.replace(node_oid, **mentioned(changes), changed=call.now)
    call.rows(NODES).put(changed, node_oid)
    if (changed.region, changed.zone) != (node_oid.region, node_oid.zone):
        for membership in call.rows(MEMBERSHIPS).all_by("node", changed.oid):
            call.ledger.wake(membership.cluster_oid)
        call.ledger.wake_wanting()
    view = view_node(call, changed)
    call.publish(events.NODE_UPDATED, view)
    return view


@procedure(NODE + "unpair_node", needs="administer", writes=True, raises=(NoSuchObject,))
def unpair_node(call: WritingCall, node_oid: ExistingNode) -> NodeView:
    """Take a machine out: its agent is cut off, and its workers are placed on other nodes of their clusters."""
    view = view_node(call, node_oid)
    remove_node(call, node_oid)
    return view


def remove_node(call: WritingCall, node: Node) -> None:
    """Take a node out of its clusters and of the store, announce it, and have its sessions ended."""
    view = view_node(call, node)
    for membership in list(call.rows(MEMBERSHIPS).all_by("node", node.oid)):
        call.rows(MEMBERSHIPS).remove(membership)
        revoke_certificates(call, membership.cluster_oid, node.oid)
        call.publish(events.CLUSTER_NODE_REMOVED, membership_view(membership))
        call.ledger.wake(membership.cluster_oid)
    for worker in call.rows(WORKERS).all_by("node", node.oid):
        call.ledger.wake(worker.cluster_oid)
    call.rows(NODES).remove(node)
    call.publish(events.NODE_UNPAIRED, view)
    _note_departure(call, Departure(node_oid=node.oid, pubkey=node.pubkey, when=call.now))
    agents, sessions = call.agents, call.sessions
    call.ledger.change.after_commit(lambda: agents.detach(node.oid, node.assignment, "the node was unpaired"))
    for authid in (str(node.oid), edge_authid(node)):
        call.ledger.change.after_commit(partial(sessions.end, authid, "the node was unpaired"))


@procedure(NODE + "rotate_node_key", needs="administer", writes=True, raises=(NoSuchObject, NotAttached, NotOffered))
def rotate_node_key(call: WritingCall, node_oid: ExistingNode) -> NodeView:
    """Have a node's agent make a new key and log in with it; returns at once, and its workers go on.

    The old key is void as soon as the agent has logged in with the new one, which an event tells.
    """
    node = node_oid
    if call.agents.session_of(node.oid) is None:
        raise NotAttached(
            f"node {node.authid} is offline",
            subject={"type": "node", "oid": str(node.oid), "name": node.authid},
            next_step="try again when it is online",
        )
    if node.facts is not None and node.facts.agentless:
        raise NotOffered(
            f"node {node.authid} has no agent, and Crossbar.io does not change the key of a node",
            subject={"type": "node", "oid": str(node.oid), "name": node.authid},
            next_step="remove key.pub and key.priv from its directory, start it, and pair it anew",
        )
    agents = call.agents
    call.ledger.change.after_commit(lambda: agents.rotate(node.oid))
    return view_node(call, node)


def add_node(call: WritingCall, node: Node) -> NodeView:
    """Store a new node and announce it."""
    require_free_key(call.view, node.pubkey)
    require_room(call.limits, "nodes_max", call.rows(NODES).count() + 1, "nodes")
    departure = call.rows(DEPARTURES).find_by("pubkey", bytes.fromhex(node.pubkey))
    if departure is not None:
        call.rows(DEPARTURES).remove(departure)
    call.rows(NODES).add(node)
    view = view_node(call, node)
    call.publish(events.NODE_PAIRED, view)
    return view


def _note_departure(call: WritingCall, departure: Departure) -> None:
    """Remember that a machine was taken out; of very many, the oldest is forgotten."""
    rows = call.rows(DEPARTURES)
    if rows.count() >= DEPARTURES_MAX:
        rows.remove(next(rows.all()))
    rows.add(departure)


def view_node(call: Call, node: Node) -> NodeView:
    """Return a node as callers see it."""
    load = call.rows(LOADS).find(node.oid)
    return node_view(node, load.workers if load else 0)
