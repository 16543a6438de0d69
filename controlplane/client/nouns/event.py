"""What can be done with each event; written by scripts/contract from what procedures declare: do not edit."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from controlplane.client.calls import PAGE_SIZE, Noun
from controlplane.records.events import EventPage, EventView


class EventCalls(Noun):
    """Procedures of `controlplane.event`."""

    async def get_event(
        self,
        seq: int,
    ) -> EventView:
        """Return an event, by its sequence number."""
        return await self._calls.read(
            "controlplane.event.get_event",
            {
                "seq": seq,
            },
            EventView,
        )

    async def list_events(
        self,
        after: int = 0,
        limit: int = 1000,
        topic_prefix: str | None = None,
        filters: Mapping[str, Any] | None = None,
        sort: str | None = None,
        marker: int | None = None,
    ) -> EventPage:
        """Return events with a sequence number above `after`, oldest first, one page at a time.

        A console that remembers the `seq` of the last event it saw misses nothing: it asks from there, and goes on
        with `next` until that is None. `gap` says that events after `after` are kept no longer. `topic_prefix`
        picks topics, and `filters` names fields of events and the value, or the values, that they are to have.

        `sort` asks for another order: `time:desc` for the newest first, which costs no more, or by any fields,
        which reads all events that are kept. `marker` is the `seq` of the last event of the page before, or its
        `next`.
        """
        return await self._calls.read(
            "controlplane.event.list_events",
            {
                "after": after,
                "limit": limit,
                "topic_prefix": topic_prefix,
                "filters": filters,
                "sort": sort,
                "marker": marker,
            },
            EventPage,
        )

    def iterate_events(
        self,
        after: int = 0,
        topic_prefix: str | None = None,
        filters: Mapping[str, Any] | None = None,
        sort: str | None = None,
        page_size: int = PAGE_SIZE,
    ) -> AsyncIterator[EventView]:
        """Go through all that `list_events` lists, page by page as it is needed."""
        return self._calls.numbered(
            lambda limit, marker: self.list_events(
                after=after,
                topic_prefix=topic_prefix,
                filters=filters,
                sort=sort,
                limit=limit,
                marker=marker,
            ),
            page_size,
        )
