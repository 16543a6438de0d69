"""Actions that ended long ago: they are forgotten, and their children with them or before them."""

from itertools import islice
from uuid import UUID

from controlplane.records.actions import Action
from controlplane.services.ledger import Ledger
from controlplane.store.catalog import ACTIONS, CHILDREN
from controlplane.store.engine import after
from controlplane.store.tables import key_of

ACTIONS_KEPT_MAX = 100_000
"""Older ones that have ended are forgotten."""

CHILDREN_KEPT_MAX = 100_000
"""Beyond that those of the oldest actions that have ended are forgotten, before these are."""

CHILDREN_AT_ONCE_MAX = 1_000
"""Of an action that is forgotten: others wait meanwhile."""

RUNNING_SEEN_MAX = 1_000
"""Actions that have not ended, before nothing is forgotten for once."""

PARENT = slice(8, 24)
"""Where the oid of its parent is in the key of a child."""


def forget_old_actions(ledger: Ledger) -> None:
    """Forget the oldest action that has ended, so that there are never many more than are kept."""
    rows = ledger.rows(ACTIONS)
    if rows.count() <= ACTIONS_KEPT_MAX:
        return
    for looked, action in enumerate(rows.all_by("created")):
        if action.ended is not None:
            if _forget_children(ledger, action):
                rows.remove(action)
            return
        if looked >= RUNNING_SEEN_MAX:
            return


def forget_old_children(ledger: Ledger, more: int) -> None:
    """Forget as many children of the oldest actions that have ended as there are to be more than are kept."""
    rows = ledger.rows(CHILDREN)
    excess = rows.count() + more - CHILDREN_KEPT_MAX
    start: bytes | None = b""
    for _ in range(RUNNING_SEEN_MAX):
        oldest = next(rows.scan_keys(start), None) if excess > 0 and start is not None else None
        if oldest is None:
            return
        start = after(oldest[: PARENT.stop])
        parent = ledger.rows(ACTIONS).find(UUID(bytes=oldest[PARENT]))
        if parent is not None and parent.ended is None:
            continue
        for key in list(islice(rows.scan_keys(oldest, start), excess)):
            rows.remove(rows.get(key))
            excess -= 1


def _forget_children(ledger: Ledger, parent: Action) -> bool:
    """Forget the children of an action, not too many at a time; returns whether none is left."""
    rows = ledger.rows(CHILDREN)
    start = key_of(parent.created, parent.oid)
    found = list(islice(rows.scan_keys(start, after(start)), CHILDREN_AT_ONCE_MAX))
    for key in found:
        rows.remove(rows.get(key))
    return len(found) < CHILDREN_AT_ONCE_MAX
