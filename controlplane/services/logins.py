"""Whose key is whose: of a user, a node or an invitation; no key belongs to two of them."""

from collections.abc import Callable
from typing import NamedTuple

from controlplane.core.edge_rights import EDGE_ROLE, edge_authid
from controlplane.errors import AlreadyExists
from controlplane.records.nodes import Node
from controlplane.records.principals import Invitation, Principal
from controlplane.records.types import GLOBAL_REALM, MANAGEMENT_REALM, PublicKey
from controlplane.store.catalog import INVITATIONS, NODES, PRINCIPALS
from controlplane.store.database import View

INVITATION_SESSIONS_MAX = 4


class Login(NamedTuple):
    """As whom a key may log in."""

    authid: str
    role: str
    realms: tuple[str, ...]
    """That it may join; the first one when it does not say."""

    sessions_max: int | None
    """None for what the settings say."""

    noun: str
    record: Principal | Node | Invitation


def find_login(view: View, pubkey: PublicKey) -> Login | None:
    """Return as whom a key may log in, or None when it is nobody's."""
    key = bytes.fromhex(pubkey)
    for finder in FINDERS:
        found = finder(view, key)
        if found is not None:
            return found
    return None


def require_free_key(view: View, pubkey: PublicKey) -> None:
    """Refuse a key that somebody has already; raises `AlreadyExists`."""
    found = find_login(view, pubkey)
    if found is not None:
        raise AlreadyExists(
            f"another {found.noun} has this pubkey",
            subject={"type": found.noun, "oid": str(found.record.oid)},
            next_step="make a key of its own for each node and user",
        )


def edge_login(node: Node) -> Login:
    """Return as whom a node of Crossbar.io without an agent logs in."""
    return Login(edge_authid(node), EDGE_ROLE, (MANAGEMENT_REALM,), None, "node", node)


def login_of(record: Principal | Node | Invitation) -> Login:
    """Return as whom somebody logs in."""
    match record:
        case Principal():
            realms = (GLOBAL_REALM, MANAGEMENT_REALM)
            return Login(record.authid, record.role, realms, record.sessions_max, "user", record)
        case Node():
            return Login(str(record.oid), "agent", (MANAGEMENT_REALM,), None, "node", record)
        case Invitation():
            return Login(str(record.oid), "joining", (record.realm,), INVITATION_SESSIONS_MAX, "invitation", record)


def _find_node(view: View, key: bytes) -> Login | None:
    rows = view.rows(NODES)
    node = rows.find_by("pubkey", key) or rows.find_by("next_pubkey", key)
    return None if node is None else login_of(node)


def _find_user(view: View, key: bytes) -> Login | None:
    rows = view.rows(PRINCIPALS)
    user = rows.find_by("pubkey", key) or rows.find_by("next_pubkey", key)
    return None if user is None else login_of(user)


def _find_invitation(view: View, key: bytes) -> Login | None:
    invitation = view.rows(INVITATIONS).find_by("pubkey", key)
    return None if invitation is None else login_of(invitation)


FINDERS: list[Callable[[View, bytes], Login | None]] = [_find_node, _find_user, _find_invitation]
"""Every kind of holder that a key may belong to."""
