"""The end of a key's rotation: somebody logged in with the new key, and the old one is void."""

from collections.abc import Callable
from typing import Any

import msgspec

from controlplane.records import events
from controlplane.records.nodes import Node
from controlplane.records.principals import KeyChange, Principal
from controlplane.services.ledger import Ledger
from controlplane.services.logins import login_of
from controlplane.services.views import node_view
from controlplane.store.catalog import LOADS, NODES, PRINCIPALS
from controlplane.store.database import View
from controlplane.store.tables import Table


def is_next_key(view: View, pubkey: str | None) -> str | None:
    """Return the key when it was announced as the next one of a user or node, else None."""
    if pubkey is None:
        return None
    key = bytes.fromhex(pubkey)
    known = view.rows(NODES).find_by("next_pubkey", key) or view.rows(PRINCIPALS).find_by("next_pubkey", key)
    return None if known is None else pubkey


def take_over_key(ledger: Ledger, pubkey: str, judge: Callable[[str], None]) -> None:
    """Put an announced key in the place of the old one; sessions that logged in with that end."""
    key = bytes.fromhex(pubkey)
    holder: Node | Principal | None = ledger.rows(NODES).find_by("next_pubkey", key)
    table: Table[Any] = NODES if holder is not None else PRINCIPALS
    holder = holder or ledger.rows(PRINCIPALS).find_by("next_pubkey", key)
    if holder is None:
        return
    changed = msgspec.structs.replace(holder, pubkey=pubkey, next_pubkey=None, changed=ledger.now)
    ledger.rows(table).put(changed, holder)
    if isinstance(changed, Node):
        load = ledger.rows(LOADS).find(changed.oid)
        ledger.publish(events.NODE_KEY_ROTATED, node_view(changed, load.workers if load else 0))
    else:
        changed_key = KeyChange(oid=changed.oid, authid=changed.authid, pubkey=pubkey)
        ledger.publish(events.USER_KEY_ROTATED, changed_key)
    authid = login_of(changed).authid
    ledger.change.after_commit(lambda: judge(authid))
