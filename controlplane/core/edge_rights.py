"""What a node of Crossbar.io without an agent may do at the router: offer its management procedures, and tell of them.

The router asks for every action, and keeps no answer: its memory of answers is by role, and would let one node speak
for another.
"""

from controlplane.records.nodes import Node
from controlplane.records.types import Oid

EDGE_ROLE = "node"
EDGE_PREFIX = "crossbarfabriccenter.node."
AUTHORIZE = "controlplane.master.authorize"
"""What the router asks about every action of such a node."""

HEARTBEAT_TOPIC = EDGE_PREFIX + "on_heartbeat"
WORKER_HEARTBEAT_TOPIC = EDGE_PREFIX + "on_worker_heartbeat"
GREETING = "crossbarfabriccenter.mrealm.get_status"
"""What a node calls once it has registered everything."""


def edge_authid(node: Node) -> str:
    """Return what a node without an agent is called at the router: its name, where that names nobody else.

    The names of its procedures contain it. With a point in it they could be those of another node, and a name that
    reads like an oid could be the one that another node has to go by.
    """
    return str(node.oid) if "." in node.authid or _is_oid(node.authid) else node.authid


def edge_prefix(authid: str) -> str:
    """Return how the names of a node's management procedures begin."""
    return f"{EDGE_PREFIX}{authid}."


def edge_may(authid: str, uri: str, action: str, match: str) -> bool:
    """Say whether a node without an agent may do this; `action` is call, register, publish or subscribe."""
    own = uri.startswith(edge_prefix(authid))
    match action, match:
        case "register", "exact":
            return own
        case "publish", _:
            return own or uri in (HEARTBEAT_TOPIC, WORKER_HEARTBEAT_TOPIC)
        case "call", _:
            return uri == GREETING
        case _:
            return False


def _is_oid(text: str) -> bool:
    try:
        Oid(text)
    except ValueError:
        return False
    return True
