"""How callers name an action: by its oid, its name, or the first digits of its oid.

Names of actions end with the first digits of their oids, so an action is found by its name without an index of them.
"""

import re
from collections.abc import Iterable, Iterator
from uuid import UUID

from controlplane.records.actions import Action
from controlplane.services.children import find_child
from controlplane.services.finding import beginning, oids_beginning, the_only
from controlplane.store.catalog import ACTIONS, CHILDREN
from controlplane.store.database import View

_NAME = re.compile(r"[a-z_]+_([0-9a-f]{8})")


def find_action(view: View, key: str) -> Action:
    """Return the action that is meant, or the child of one; raises `NoSuchObject`, or `Ambiguous` when several fit."""
    try:
        oid = UUID(key)
    except ValueError:
        name = _NAME.fullmatch(key)
        fitting = _beginning(view, key if name is None else name[1])
        found: Iterable[Action] = (one for one in fitting if name is None or one.name == key)
    else:
        action = view.rows(ACTIONS).find(oid) or find_child(view, oid)
        found = () if action is None else (action,)
    return the_only("action", key, found, "give more digits")


def _beginning(view: View, digits: str) -> Iterator[Action]:
    """Yield the actions whose oid begins with these digits, and the children of actions after them."""
    yield from beginning(view, ACTIONS, digits)
    for oid in oids_beginning(view, CHILDREN, digits):
        child = find_child(view, oid)
        if child is not None:
            yield child
