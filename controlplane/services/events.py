"""What happened, for consoles that were away, and for whoever looks for something."""

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

import msgspec

from controlplane.core.access import allowed
from controlplane.core.event_log import event_view
from controlplane.errors import InvalidArgument, NoSuchObject, Problem
from controlplane.records.events import BY_TOPIC, EventLevel, EventPage, EventView
from controlplane.services.ledger import last_event
from controlplane.services.lists import Values, plain, select, unfit
from controlplane.services.pipeline import Call
from controlplane.services.procedures import procedure
from controlplane.store.catalog import EVENTS
from controlplane.store.tables import key_of

EVENT = "controlplane.event."
EVENTS_PER_PAGE_DEFAULT = 1_000
EVENTS_PER_PAGE_MAX = 10_000
PAGE_BYTES_MAX = 4 * 1024 * 1024
LOOKED_AT_MAX = 20_000
"""Events that one call goes through in their own order: others wait for so long and no longer."""

FIELDS: Mapping[str, Callable[[EventView], Any]] = {
    "seq": lambda e: e.seq,
    "time": lambda e: e.time,
    "topic": lambda e: e.topic,
    "level": lambda e: e.level,
    "object_type": lambda e: e.object_type,
    "object_oid": lambda e: e.object_oid,
    "object_name": lambda e: e.object_name,
    "cluster_oid": lambda e: e.cluster_oid,
    "action": lambda e: e.action,
    "status": lambda e: e.status,
}
VALUES: Values = {"level": EventLevel}
IN_ORDER = ("seq", "time")
"""Fields that order events as they are stored."""

Sequence = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
PageLength = Annotated[int, msgspec.Meta(ge=1, le=EVENTS_PER_PAGE_MAX)]


@procedure(EVENT + "list_events", needs="read")
def list_events(
    call: Call,
    after: Sequence = 0,
    limit: PageLength = EVENTS_PER_PAGE_DEFAULT,
    topic_prefix: str | None = None,
    filters: dict[str, Any] | None = None,
    sort: str | None = None,
    marker: Sequence | None = None,
) -> EventPage:
    """Return events with a sequence number above `after`, oldest first, one page at a time.

    A console that remembers the `seq` of the last event it saw misses nothing: it asks from there, and goes on with
    `next` until that is None. `gap` says that events after `after` are kept no longer. `topic_prefix` picks topics,
    and `filters` names fields of events and the value, or the values, that they are to have.

    `sort` asks for another order: `time:desc` for the newest first, which costs no more, or by any fields, which
    reads all events that are kept. `marker` is the `seq` of the last event of the page before, or its `next`.
    """
    _require_fields(filters, sort)
    last = last_event(call.view)
    if marker is not None and marker > last:
        raise unfit("$.marker", f"is no event yet; the last one is {last}", "pass the seq of an event that was seen")
    oldest = next((int.from_bytes(key, "big") for key in call.rows(EVENTS).scan_keys()), last + 1)
    wanted = _wanted(call, topic_prefix, filters)
    backwards = _is_backwards(sort)
    if backwards is False:
        found, following = _go(call, wanted, max(after, marker or 0), last, limit)
    elif backwards:
        found, following = _go_back(call, wanted, last + 1 if marker is None else marker, after, limit)
    else:
        assert sort is not None  # Without an order it is that of the store.
        found, following = _sort(call, wanted, after, sort, marker, limit)
    return EventPage(events=tuple(found), last=last, oldest=oldest, next=following, gap=after + 1 < oldest <= last)


@procedure(EVENT + "get_event", needs="read", raises=(NoSuchObject,))
def get_event(call: Call, seq: Sequence) -> EventView:
    """Return an event, by its sequence number."""
    stored = call.rows(EVENTS).find(seq)
    view = None if stored is None else event_view(stored)
    if view is None or not _wanted(call, None, None)(view):
        raise NoSuchObject(
            f"there is no event {seq}, or it is kept no longer",
            subject={"type": "event", "oid": str(seq)},
            next_step="list the events there are",
        )
    return view


def _wanted(call: Call, topic_prefix: str | None, filters: Mapping[str, Any] | None) -> Callable[[EventView], bool]:
    """Return what says whether a caller may hear of an event and asked for it."""
    asked = {name: value if isinstance(value, list | tuple) else [value] for name, value in (filters or {}).items()}

    def is_wanted(view: EventView) -> bool:
        kind = BY_TOPIC.get(view.topic)
        return (
            (kind is None or allowed(call.caller.authrole, kind.needs))
            and (topic_prefix is None or view.topic.startswith(topic_prefix))
            and all(plain(FIELDS[name](view)) in values for name, values in asked.items())
        )

    return is_wanted


def _go(
    call: Call, wanted: Callable[[EventView], bool], after: int, last: int, limit: int
) -> tuple[list[EventView], int | None]:
    """Return events after a number in their order, and the number to go on after."""
    found, seen = _page(call, wanted, call.rows(EVENTS).scan_keys(key_of(after + 1)), limit)
    reached = after if seen is None else seen
    return found, reached if reached < last else None


def _go_back(
    call: Call, wanted: Callable[[EventView], bool], before: int, after: int, limit: int
) -> tuple[list[EventView], int | None]:
    """Return events before a number and above another one, the newest first, and the number to go on before."""
    rows = call.rows(EVENTS)
    found, seen = _page(call, wanted, rows.scan_keys(key_of(after + 1), key_of(before), reverse=True), limit)
    more = seen is not None and next(rows.scan_keys(key_of(after + 1), key_of(seen)), None) is not None
    return found, seen if more else None


def _sort(
    call: Call, wanted: Callable[[EventView], bool], after: int, sort: str, marker: int | None, limit: int
) -> tuple[list[EventView], int | None]:
    """Return events above a number in any order."""
    rows = call.rows(EVENTS)
    views = (event_view(rows.get(key)) for key in rows.scan_keys(key_of(after + 1)))
    found = select(
        filter(wanted, views),
        filters=None,
        sort=sort,
        limit=limit + 1,
        marker=None if marker is None else str(marker),
        fields=FIELDS,
        oid=lambda view: str(view.seq),
    )
    page = found[:limit]
    return page, page[-1].seq if len(found) > limit else None


def _page(
    call: Call, wanted: Callable[[EventView], bool], keys: Iterator[bytes], limit: int
) -> tuple[list[EventView], int | None]:
    """Return what is wanted of these events, as much as one page has room for, and the last number looked at."""
    found: list[EventView] = []
    seen, size, rows = None, 0, call.rows(EVENTS)
    for looked, key in enumerate(keys, 1):
        view = event_view(rows.get(key))
        seen = view.seq
        if wanted(view):
            found.append(view)
            size += len(msgspec.msgpack.encode(view.payload))
        if len(found) >= limit or size >= PAGE_BYTES_MAX or looked >= LOOKED_AT_MAX:
            break
    return found, seen


def _is_backwards(sort: str | None) -> bool | None:
    """Say whether an order is that of the store backwards; None when it is another one.

    No two events have the same number, so whatever is behind `seq` orders nothing.
    """
    keys = [part.strip().partition(":") for part in (sort or "seq").split(",")]
    for name, _, direction in keys:
        if name not in IN_ORDER or (direction == "desc") is not (keys[0][2] == "desc"):
            return None
        if name == "seq":
            break
    return keys[0][2] == "desc"


def _require_fields(filters: Mapping[str, Any] | None, sort: str | None) -> None:
    select((), filters=filters, sort=sort, limit=None, marker=None, fields=FIELDS, oid=str, values=VALUES)
    if sort is not None and not sort.strip():
        raise InvalidArgument("sort is empty", problems=[Problem("$.sort", "is empty")], next_step="leave it out")
