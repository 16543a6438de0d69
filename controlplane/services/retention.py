"""Forgetting events that are too old, or too many, a few at a time."""

from controlplane.records.types import NANOSECONDS, Instant, Seconds
from controlplane.store.catalog import EVENTS
from controlplane.store.database import Change, View
from controlplane.store.tables import key_of

STEP_LENGTH = 500
"""Events that are forgotten in one transaction: others wait for so long and no longer."""


def surplus(view: View, kept: int, kept_s: Seconds, now: Instant) -> list[bytes]:
    """Return the keys of some events that are to be forgotten, the oldest first.

    `kept` is how many may stay, `kept_s` for how many seconds, 0 for ever.
    """
    rows = view.rows(EVENTS)
    last = next(rows.scan_keys(reverse=True), None)
    if last is None:
        return []
    first_kept = key_of(max(0, int.from_bytes(last, "big") - kept + 1))
    oldest = now - int(kept_s * NANOSECONDS)
    found: list[bytes] = []
    for key in rows.scan_keys():
        # They stand in the order in which they happened: behind one that may stay all may.
        # The newest one always stays, because the next one is numbered after it.
        if (
            len(found) >= STEP_LENGTH
            or key == last
            or (key >= first_kept and not (kept_s and rows.get(key).time < oldest))
        ):
            break
        found.append(key)
    return found


def forget_surplus(change: Change, kept: int, kept_s: Seconds, now: Instant) -> int:
    """Forget some events that are too many or too old, and return how many."""
    keys = surplus(change, kept, kept_s, now)
    change.rows(EVENTS).remove_keys(keys)
    return len(keys)


def next_surplus(view: View, kept_s: Seconds, now: Instant) -> Seconds | None:
    """Return after how many seconds an event will be too old; None when events do not get too old."""
    if not kept_s:
        return None
    rows = view.rows(EVENTS)
    first = next(rows.scan_keys(), None)
    return kept_s if first is None else kept_s - (now - rows.get(first).time) / NANOSECONDS
