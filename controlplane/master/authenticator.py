"""Who may log in, and as what: WAMP-cryptosign against the keys that the store knows.

The router asks before the signature is proven, so nothing is written here and nobody counts as logged in yet. A client
proposes; realm, role and authid are what is returned here.
"""

from collections.abc import Mapping
from typing import Any

from controlplane.errors import InvalidArgument, NotAuthorized, UnknownKey
from controlplane.store.catalog import NODES, PRINCIPALS
from controlplane.store.database import Store

MANAGEMENT_REALM = "default"
GLOBAL_REALM = "com.crossbario.fabric"
"""Names of Crossbar.io's own master, whose shell and edge nodes ask for them."""

AGENT_ROLE = "agent"
KEY_HEX_LENGTH = 64


def authenticate(store: Store, realm: str | None, details: Mapping[str, Any]) -> dict[str, Any]:
    """Return the principal that a public key belongs to, in the form that Crossbar.io's dynamic authenticators use.

    Raises `UnknownKey` when nobody has this key, `NotAuthorized` when its owner may not have what it asks for.
    """
    key = _public_key(details)
    with store.read() as view:
        node = view.rows(NODES).find_by("pubkey", bytes.fromhex(key))
        principal = view.rows(PRINCIPALS).find_by("pubkey", bytes.fromhex(key)) if node is None else None
    if node is not None:
        found = {"realm": MANAGEMENT_REALM, "authid": str(node.oid), "role": AGENT_ROLE}
        admitted: tuple[str, ...] = (MANAGEMENT_REALM,)
    elif principal is not None:
        admitted = (MANAGEMENT_REALM, GLOBAL_REALM)
        found = {"realm": realm or MANAGEMENT_REALM, "authid": principal.authid, "role": principal.role}
    else:
        raise UnknownKey(
            f"nobody has the public key {key}",
            next_step="pair the node with 'pair_node', or log in with the key that 'controlplane init' made",
        )
    if found["realm"] not in admitted or (realm is not None and realm != found["realm"]):
        raise NotAuthorized(f"{found['authid']} may not join realm {realm!r}", next_step=f"join one of {admitted}")
    asked = details.get("authrole")
    if asked is not None and asked != found["role"]:
        raise NotAuthorized(f"{found['authid']} has the role {found['role']!r}", next_step="ask for this role, or none")
    return {"pubkey": key, **found}


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
