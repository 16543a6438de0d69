"""How callers name an action: by its oid, its name, or the first digits of its oid.

Names of actions end with the first digits of their oids, so an action is found by its name without an index of them.
"""

import re
from collections.abc import Iterator
from itertools import islice
from uuid import UUID

from controlplane.errors import Ambiguous, NoSuchObject
from controlplane.records.actions import Action
from controlplane.services.children import find_child
from controlplane.services.finding import DIGITS_MIN, SHOWN_MAX
from controlplane.store.catalog import ACTIONS, CHILDREN
from controlplane.store.database import View

_NAME = re.compile(r"[a-z_]+_([0-9a-f]{8})")
_BEGINNING = re.compile(rf"[0-9a-f]{{{DIGITS_MIN},32}}")


def find_action(view: View, key: str) -> Action:
    """Return the action that is meant, or the child of one; raises `NoSuchObject`, or `Ambiguous` when several fit."""
    try:
        oid = UUID(key)
    except ValueError:
        name = _NAME.fullmatch(key)
        digits = key.lower().replace("-", "") if name is None else name[1]
        fitting = _beginning(view, digits) if _BEGINNING.fullmatch(digits) else iter(())
        found = list(islice((each for each in fitting if name is None or each.name == key), SHOWN_MAX + 1))
    else:
        one = view.rows(ACTIONS).find(oid) or find_child(view, oid)
        found = [] if one is None else [one]
    if len(found) == 1:
        return found[0]
    subject = {"type": "action", "oid": key}
    if not found:
        raise NoSuchObject(f"there is no action {key}", subject=subject, next_step="list the actions there are")
    shown = ", ".join(str(action.oid) for action in found[:SHOWN_MAX])
    raise Ambiguous(
        f"{key} fits more than one action: {shown}" + (", and more" if len(found) > SHOWN_MAX else ""),
        subject=subject,
        next_step="give more digits",
    )


def _beginning(view: View, digits: str) -> Iterator[Action]:
    """Yield the actions whose oid begins with these digits, and the children of actions after them."""
    low, high = bytes.fromhex(digits.ljust(32, "0")), bytes.fromhex(digits.ljust(32, "f"))
    for key in view.rows(ACTIONS).scan_keys(low, high + b"\0"):
        yield view.rows(ACTIONS).get(UUID(bytes=key[:16]))
    for key, _ in view.rows(CHILDREN).keys_by("oid", start=low):
        if key > high:
            return
        child = find_child(view, UUID(bytes=key))
        if child is not None:
            yield child
