"""What happened, for consoles that were away."""

from typing import Annotated

import msgspec

from controlplane.core.access import allowed
from controlplane.records.events import BY_TOPIC, EventPage, StoredEvent
from controlplane.services.ledger import last_event
from controlplane.services.pipeline import Call
from controlplane.services.procedures import procedure
from controlplane.store.catalog import EVENTS
from controlplane.store.tables import key_of

EVENTS_PER_PAGE_DEFAULT = 1_000
EVENTS_PER_PAGE_MAX = 10_000
PAGE_BYTES_MAX = 4 * 1024 * 1024

Sequence = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
PageLength = Annotated[int, msgspec.Meta(ge=1, le=EVENTS_PER_PAGE_MAX)]


@procedure("controlplane.event.list_events", needs="read")
def list_events(
    call: Call, after: Sequence = 0, limit: PageLength = EVENTS_PER_PAGE_DEFAULT, topic_prefix: str | None = None
) -> EventPage:
    """Return events with a sequence number above `after`, oldest first, one page at a time.

    A console that remembers the `seq` of the last event it saw misses nothing: it asks from there, and goes on with
    `next` until that is None. `gap` says that events after `after` are kept no longer. `topic_prefix` picks topics.
    """
    rows = call.rows(EVENTS)
    last = last_event(call.view)
    oldest = next((int.from_bytes(key, "big") for key in rows.scan_keys()), last + 1)
    found: list[StoredEvent] = []
    seen, size = after, 0
    for key in rows.scan_keys(key_of(after + 1)):
        event = rows.get(key)
        seen = event.seq
        kind = BY_TOPIC.get(event.topic)
        heard = kind is None or allowed(call.caller.authrole, kind.needs)
        if heard and (topic_prefix is None or event.topic.startswith(topic_prefix)):
            found.append(event)
            size += len(msgspec.msgpack.encode(event.payload))
        if len(found) >= limit or size >= PAGE_BYTES_MAX:
            break
    return EventPage(
        events=tuple(found),
        last=last,
        oldest=oldest,
        next=seen if seen < last else None,
        gap=after + 1 < oldest <= last,
    )
