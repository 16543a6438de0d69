"""Who may log in, and as what: WAMP-cryptosign against the keys that the store knows.

The router asks before the signature is proven, so nothing is written here and nobody counts as logged in yet. A client
proposes; realm, role and authid are what is returned here. That a key was proven is known when its session joins, and
until then the attempt counts as a failed one.
"""

from collections.abc import Callable, Mapping
from typing import Any

from controlplane.core.access import covers
from controlplane.core.edge_rights import EDGE_ROLE
from controlplane.errors import InvalidArgument, LimitReached, NodeUnpaired, NotAuthorized, TooManyLogins, UnknownKey
from controlplane.master.sessions import Joined, Sessions
from controlplane.master.throttle import PAUSE_MAX_S, Throttle
from controlplane.records.limits import Limits
from controlplane.records.nodes import Node
from controlplane.records.principals import Invitation, Principal
from controlplane.records.types import MANAGEMENT_REALM_OID, Instant, Seconds
from controlplane.services.logins import Login, edge_login, find_login
from controlplane.store.catalog import DEPARTURES
from controlplane.store.database import Store

KEY_HEX_LENGTH = 64
KNOWN_PAUSE_MAX_S = 5.0
"""Longest pause for a key that is known: a bad line makes its logins fail as well, and is good again some time."""
NAME_LENGTH_MAX = 256


class Authenticator:
    """Says as whom a key may log in."""

    def __init__(
        self,
        store: Store,
        sessions: Sessions,
        now: Callable[[], Instant],
        seconds: Callable[[], Seconds],
        limits: Limits,
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._now = now
        self._limits = limits
        self._throttle = Throttle(seconds)

    def authenticate(self, realm: str | None, authid: str | None, details: Mapping[str, Any]) -> dict[str, Any]:
        """Return the principal that a public key belongs to, in the form that Crossbar.io's authenticators use.

        Raises `UnknownKey` when nobody has this key, `NodeUnpaired` when it was a node's, `NotAuthorized` when its
        owner may not have what it asks for, `TooManyLogins` after failures, and `LimitReached` when its owner has as
        many sessions as it may have.
        """
        _require_name("realm", realm)
        _require_name("authid", authid)
        key = _public_key(details)
        _refuse_void_binding(details)
        peer = host_of(_transport(details).get("peer"))
        with self._store.read() as view:
            found = find_login(view, key)
            unpaired = found is None and view.rows(DEPARTURES).find_by("pubkey", bytes.fromhex(key)) is not None
        if unpaired:
            self._slow_down((peer, key), KNOWN_PAUSE_MAX_S)
            raise NodeUnpaired("this node was taken out", next_step="pair it again, or stop its agent")
        if found is None:
            self._slow_down(peer)
            raise UnknownKey(
                f"nobody has the public key {key}",
                next_step="pair the node with 'pair_node', or log in with the key that 'controlplane init' made",
            )
        if isinstance(found.record, Node) and details.get("authrole") == EDGE_ROLE:
            found = edge_login(found.record)
        self._slow_down((peer, key), KNOWN_PAUSE_MAX_S)
        self._require_valid(found)
        chosen, role = self._as_asked(found, realm, authid, details.get("authrole"))
        self._require_room(found)
        extra = {"pubkey": key, **(_edge_extra(found.record) if isinstance(found.record, Node) else {})}
        return {"pubkey": key, "realm": chosen, "authid": found.authid, "role": role, "extra": extra}

    def proven(self, joined: Joined) -> None:
        """Take note that somebody did log in."""
        if joined.pubkey is not None:
            self._throttle.succeeded((host_of(joined.peer), joined.pubkey))

    def _slow_down(self, who: Any, longest: Seconds = PAUSE_MAX_S) -> None:
        wait = self._throttle.wait(who, longest)
        if wait:
            raise TooManyLogins(f"too many logins failed; wait {wait:.0f} s", next_step="use the right key, later")
        self._throttle.attempted(who)

    def _require_valid(self, found: Login) -> None:
        match found.record:
            case Principal(disabled=True):
                raise NotAuthorized(f"{found.authid} is disabled", next_step="ask an administrator")
            case Invitation(expires=expires) if expires <= self._now():
                raise NotAuthorized("the invitation has expired", next_step="ask for a new one")
            case _:
                pass

    def _require_room(self, found: Login) -> None:
        limits = self._limits
        setting = "sessions_per_agent_max" if found.noun == "node" else "sessions_per_user_max"
        admitted = getattr(limits, setting) if found.sessions_max is None else found.sessions_max
        if self._sessions.count(found.authid) >= admitted:
            raise LimitReached(
                f"{found.authid} has {admitted} sessions, as many as it may have",
                subject={"type": "limit", "name": setting, "value": admitted, "of": {"type": found.noun}},
                next_step=f"end other sessions first, or raise the setting {setting} or the user's sessions_max",
            )

    def _as_asked(self, found: Login, realm: str | None, authid: str | None, asked: Any) -> tuple[str, str]:
        if realm is not None and realm not in found.realms:
            raise NotAuthorized(
                f"{found.authid} may not join realm {realm!r}", next_step=f"join one of {', '.join(found.realms)}"
            )
        # Crossbar.io's shell proposes whatever stands in its key file; a user is who has the key, and is told so.
        if authid is not None and authid != found.authid and not isinstance(found.record, Principal):
            raise NotAuthorized(f"this key is not that of {authid!r}", next_step="ask for its owner, or for none")
        if asked is not None and not (isinstance(asked, str) and covers(found.role, asked)):
            raise NotAuthorized(f"{found.authid} has the role {found.role!r}", next_step="ask for this role, or none")
        return realm or found.realms[0], asked or found.role


def _transport(details: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the router says of the connection."""
    transport = details.get("transport")
    return transport if isinstance(transport, Mapping) else {}


def _require_name(what: str, name: Any) -> None:
    if name is not None and (not isinstance(name, str) or len(name) > NAME_LENGTH_MAX):
        raise InvalidArgument(f"the {what} is no name", next_step="send a short text, or nothing")


def host_of(peer: Any) -> str:
    """Return the machine that a connection comes from, without its port; of IPv6 the network of 64 bits."""
    if not isinstance(peer, str):
        return ""
    kind, _, rest = peer.partition(":")
    if kind not in ("tcp4", "tcp6", "tcp"):
        return kind
    host = rest.rpartition(":")[0].strip("[]")
    return ":".join(host.split(":")[:4]) if ":" in host else host


def _refuse_void_binding(details: Mapping[str, Any]) -> None:
    """Refuse a login that asks to be bound to its channel where the channel has no identity to bind to.

    autobahn gives 32 zero bytes then, which are the same for every channel. What the binding is worth at all is said in
    `controlplane.tls`; edge nodes of Crossbar.io ask for it.
    """
    asked = details["authextra"].get("channel_binding")
    if asked is None:
        return
    channels = _transport(details).get("channel_id")
    if not isinstance(asked, str):
        raise InvalidArgument("channel_binding is no name", next_step="ask for tls-unique, or for no binding")
    channel = channels.get(asked) if isinstance(channels, Mapping) else None
    if not isinstance(channel, bytes) or not any(channel):
        raise NotAuthorized(
            f"the login is to be bound to its channel by {asked!r}, and the channel has no such identity",
            next_step="connect by wss:// to the router itself, or ask for no binding",
        )


def _edge_extra(node: Node) -> dict[str, Any]:
    """Return what Crossbar.io's master tells a node when it logs in, and what the node was paired with."""
    told = {"node_oid": str(node.oid), "cluster_ip": node.cluster_ip, "mrealm_oid": str(MANAGEMENT_REALM_OID)}
    return {**(node.authextra or {}), **told}


def _public_key(details: Mapping[str, Any]) -> str:
    extra = details.get("authextra")
    key = extra.get("pubkey") if isinstance(extra, Mapping) else None
    if details.get("authmethod") != "cryptosign" or not isinstance(key, str) or len(key) != KEY_HEX_LENGTH:
        raise InvalidArgument(
            "a login needs the method cryptosign and the public key", next_step="send authextra.pubkey, 64 hex digits"
        )
    try:
        bytes.fromhex(key)
    except ValueError:
        raise InvalidArgument("the public key is not hexadecimal", next_step="send 64 hex digits") from None
    return key.lower()
