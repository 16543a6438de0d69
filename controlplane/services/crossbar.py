"""Nodes and realms under the names and in the form of Crossbar.io's master: what its shell and its users' scripts call.

The procedures of router clusters need none of this: they have Crossbar.io's names already. A management realm is a
tenant there; here there is one, and it has the name of Crossbar.io's first.
"""

from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any

import msgspec

from controlplane import __version__
from controlplane.errors import AlreadyExists, InvalidArgument, NoSuchObject, NotOffered, Problem
from controlplane.records.nodes import (
    AuthExtra,
    CrossbarNode,
    CrossbarRealm,
    CrossbarStatus,
    Heartbeat,
    Node,
    NodeStatus,
)
from controlplane.records.types import (
    GLOBAL_REALM,
    LINE_LENGTH_MAX,
    MANAGEMENT_REALM,
    MANAGEMENT_REALM_OID,
    NANOSECONDS,
    Authid,
    Instant,
    Oid,
    PublicKey,
)
from controlplane.services.arguments import ExistingNode, NodeByName
from controlplane.services.lists import oid_text
from controlplane.services.nodes import add_node, remove_node
from controlplane.services.pipeline import Call, WritingCall
from controlplane.services.procedures import Lookup, procedure
from controlplane.store.catalog import CLUSTERS, NODES

MREALM = "crossbarfabriccenter.mrealm."
DOMAIN = "crossbarfabriccenter.domain."

SHOWN_MAX = 1_000
"""Router clusters of an overview."""

NodeByKey = Annotated[Node, Lookup(NODES, "pubkey")]


@procedure(MREALM + "get_status", needs="greet")
def get_management_status(call: Call) -> CrossbarStatus:
    """Return that the master is there; nodes of Crossbar.io ask for it when they have logged in."""
    return _status(call, "management", MANAGEMENT_REALM)


@procedure(DOMAIN + "get_status", needs="read")
def get_domain_status(call: Call) -> CrossbarStatus:
    """Return that the master is there."""
    return _status(call, "domain", GLOBAL_REALM)


@procedure(DOMAIN + "get_version", needs="read")
def get_domain_version(_call: Call) -> dict[str, str]:
    """Return the version of the master."""
    return {"controlplane": __version__}


@procedure(DOMAIN + "get_license", needs="read")
def get_domain_license(_call: Call) -> dict[str, Any]:
    """Return the licence of the master; it limits nothing."""
    return {"product": "controlplane", "description": "A WAMP control plane", "terms": "Apache-2.0", "limits": {}}


@procedure(MREALM + "list_mrealms", needs="read")
def list_mrealms(_call: Call, return_names: bool | None = None) -> list[str]:
    """Return the oids of all management realms, or with `return_names` their names."""
    return [MANAGEMENT_REALM if return_names else str(MANAGEMENT_REALM_OID)]


@procedure(MREALM + "get_mrealm", needs="read", raises=(NoSuchObject,))
def get_mrealm(call: Call, mrealm_oid: Oid) -> CrossbarRealm:
    """Return a management realm, by its oid."""
    if mrealm_oid != MANAGEMENT_REALM_OID:
        raise _no_realm(str(mrealm_oid))
    return _realm(call)


@procedure(MREALM + "get_mrealm_by_name", needs="read", raises=(NoSuchObject,))
def get_mrealm_by_name(call: Call, mrealm_name: str) -> CrossbarRealm:
    """Return a management realm, by its name."""
    _require_realm(mrealm_name)
    return _realm(call)


@procedure(MREALM + "create_mrealm", needs="administer", raises=(NotOffered,))
def create_mrealm(_call: Call, mrealm: dict[str, Any]) -> CrossbarRealm:
    """Refuse: there is one management realm."""
    raise _one_realm(str(mrealm.get("name")))


@procedure(MREALM + "delete_mrealm_by_name", needs="administer", raises=(NotOffered, NoSuchObject))
def delete_mrealm_by_name(_call: Call, mrealm_name: str, cascade: bool = False) -> CrossbarRealm:
    """Refuse: there is one management realm."""
    _require_realm(mrealm_name)
    raise _one_realm(mrealm_name, "delete all" if cascade else "delete")


@procedure(MREALM + "delete_mrealm", needs="administer", raises=(NotOffered, NoSuchObject))
def delete_mrealm(_call: Call, mrealm_oid: Oid, cascade: bool = False) -> CrossbarRealm:
    """Refuse: there is one management realm."""
    if mrealm_oid != MANAGEMENT_REALM_OID:
        raise _no_realm(str(mrealm_oid))
    raise _one_realm(MANAGEMENT_REALM, "delete all" if cascade else "delete")


@procedure(MREALM + "get_nodes", needs="read")
def get_nodes(call: Call, status: NodeStatus | None = None, return_names: bool | None = None) -> list[str]:
    """Return the oids of all nodes, or with `return_names` their names, in order of the names."""
    rows = call.rows(NODES)
    if status is None:
        found = rows.keys_by("authid")
        return [name.decode() if return_names else oid_text(key) for name, key in found]
    nodes = sorted((node.authid, node) for node in rows.all() if node.online is (status == "online"))
    return [name if return_names else str(node.oid) for name, node in nodes]


@procedure(MREALM + "get_node", needs="read", raises=(NoSuchObject,))
def get_crossbar_node(call: Call, node_oid: ExistingNode) -> CrossbarNode:
    """Return a node, by its oid."""
    return _node(call, node_oid)


@procedure(MREALM + "get_node_by_authid", needs="read", raises=(NoSuchObject,))
def get_node_by_authid(call: Call, node_authid: NodeByName) -> CrossbarNode:
    """Return a node, by the name that it was paired under."""
    return _node(call, node_authid)


@procedure(MREALM + "pair_node", needs="administer", writes=True, raises=(AlreadyExists, NoSuchObject))
def pair_crossbar_node(
    call: WritingCall, pubkey: PublicKey, realm_name: str, authid: Authid, authextra: AuthExtra | None = None
) -> CrossbarNode:
    """Pair a node by its public key; `authextra` may name its `cluster_ip`, which its workers listen on."""
    _require_realm(realm_name)
    cluster_ip = (authextra or {}).get("cluster_ip")
    address = cluster_ip if isinstance(cluster_ip, str) else None
    if address is not None and len(address) > LINE_LENGTH_MAX:
        raise InvalidArgument(
            f"authextra.cluster_ip: has {len(address)} characters; {LINE_LENGTH_MAX} are admitted",
            problems=[Problem("$.authextra.cluster_ip", f"is longer than {LINE_LENGTH_MAX} characters")],
            next_step="give the address that the workers of the node listen on",
        )
    node = Node(
        oid=call.new_oid(),
        authid=authid,
        pubkey=pubkey,
        created=call.now,
        changed=call.now,
        since=call.now,
        cluster_ip=address,
        authextra=authextra,
    )
    add_node(call, node)
    return _node(call, node)


@procedure(MREALM + "unpair_node", needs="administer", writes=True, raises=(NoSuchObject,))
def unpair_crossbar_node(call: WritingCall, node_oid: ExistingNode) -> CrossbarNode:
    """Take a node out, by its oid."""
    return _unpair(call, node_oid)


@procedure(MREALM + "unpair_node_by_pubkey", needs="administer", writes=True, raises=(NoSuchObject,))
def unpair_node_by_pubkey(call: WritingCall, pubkey: PublicKey) -> CrossbarNode:
    """Take a node out, by its public key."""
    node = call.rows(NODES).find_by("pubkey", bytes.fromhex(pubkey))
    if node is None:
        raise NoSuchObject(
            f"there is no node with the public key {pubkey}",
            subject={"type": "node", "pubkey": pubkey},
            next_step="list the nodes",
        )
    return _unpair(call, node)


@procedure(MREALM + "unpair_node_by_name", needs="administer", writes=True, raises=(NoSuchObject,))
def unpair_node_by_name(call: WritingCall, realm_name: str, node_authid: NodeByName) -> CrossbarNode:
    """Take a node out, by its name."""
    _require_realm(realm_name)
    return _unpair(call, node_authid)


@procedure(MREALM + "get_node_by_name", needs="read", raises=(NoSuchObject,))
def get_node_by_realm_and_name(call: Call, mrealm_name: str, node_authid: NodeByName) -> CrossbarNode:
    """Return a node, by the names of its management realm and its own."""
    _require_realm(mrealm_name)
    return _node(call, node_authid)


@procedure("crossbarfabriccenter.show_fabric", needs="read")
def show_fabric(call: Call) -> dict[str, Any]:
    """Return an overview, for `crossbar shell show fabric`: management realms, nodes and router clusters by name."""
    clusters = (call.rows(CLUSTERS).get(key) for _, key in call.rows(CLUSTERS).keys_by("name"))
    return {
        "mrealms": [MANAGEMENT_REALM],
        "nodes": {node.authid: "online" if node.online else "offline" for node in call.rows(NODES).all()},
        "routerclusters": {each.name: each.status.value for each in islice(clusters, SHOWN_MAX)},
    }


def _unpair(call: WritingCall, node: Node) -> CrossbarNode:
    view = _node(call, node)
    remove_node(call, node)
    return msgspec.structs.replace(view, status="offline")


def _node(call: Call, node: Node) -> CrossbarNode:
    said = call.agents.heartbeat(node.oid)
    known = said or Heartbeat()
    return CrossbarNode(
        oid=node.oid,
        label=node.label,
        description=node.description,
        tags=node.tags,
        owner_oid=None,
        pubkey=node.pubkey,
        cluster_ip=node.facts.address if node.facts else node.cluster_ip,
        mrealm_oid=MANAGEMENT_REALM_OID,
        authid=node.authid,
        authextra=node.authextra,
        heartbeat=said.counter if said else None,
        timestamp=said.time if said else None,
        status="online" if node.online else "offline",
        workers=known.workers,
        system=known.system,
    )


def _status(call: Call, kind: str, realm: str) -> CrossbarStatus:
    started = call.agents.started
    return CrossbarStatus(
        type=kind,
        realm=realm,
        now=_text(call.now),
        started=_text(started),
        uptime=_duration((call.now - started) // NANOSECONDS),
        tick=call.agents.ticks,
    )


def _realm(call: Call) -> CrossbarRealm:
    return CrossbarRealm(
        oid=MANAGEMENT_REALM_OID,
        label=None,
        description="the management realm of this control plane",
        tags=None,
        name=MANAGEMENT_REALM,
        created=call.agents.started // 1_000,
        owner=None,
        cf_router_worker=None,
        cf_container_worker=None,
    )


def _require_realm(name: str) -> None:
    if name != MANAGEMENT_REALM:
        raise _no_realm(name)


def _no_realm(shown: str) -> NoSuchObject:
    return NoSuchObject(
        f"there is no management realm {shown}",
        subject={"type": "management realm", "name": shown},
        next_step=f"use the management realm {MANAGEMENT_REALM!r}",
    )


def _one_realm(name: str, verb: str = "create") -> NotOffered:
    return NotOffered(
        f"there is one management realm, {MANAGEMENT_REALM!r}; cannot {verb} {name!r}",
        subject={"type": "management realm", "name": name},
        next_step=f"use {MANAGEMENT_REALM!r}; for realms of applications, name them in the config of a router cluster",
    )


def _text(instant: Instant) -> str:
    return datetime.fromtimestamp(instant / NANOSECONDS, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _duration(seconds: int) -> str:
    for length, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= length:
            return f"{seconds // length} {unit}{'s' if seconds >= 2 * length else ''}"
    return f"{seconds} second{'' if seconds == 1 else 's'}"
