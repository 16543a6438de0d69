"""Methods for actions, events, services and build info."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from controlplane.client.senlin import resources, words
from controlplane.client.senlin.methods import Methods, key, page_size, read_query, refused
from controlplane.client.senlin.resources import Action, BuildInfo, Event, Service
from controlplane.errors import NoSuchObject
from controlplane.records.actions import ActionView
from controlplane.records.events import EventPage

ACTIONS_ASKED = frozenset({"name", "target", "action", "status", "cluster_id", "parent_id"})
OPEN = ["WAITING", "RUNNING"]
EVENTS_ASKED = frozenset({"obj_name", "obj_type", "obj_id", "cluster_id", "action", "level"})
FIELDS = {
    "cluster_id": "cluster_oid",
    "parent_id": "parent_oid",
    "obj_name": "object_name",
    "obj_type": "object_type",
    "obj_id": "object_oid",
}


class Records(Methods):
    """Actions, events, services and build info."""

    def get_action(self, action: Any) -> Action:
        """Return an action, by its id, name or the beginning of its id; raises `ResourceNotFound`.

        There is none any more of one that ended long ago.
        """
        named = key(action)
        return self._action(self._do(lambda: self._client.action.get_action(named)))

    def _action(self, view: ActionView) -> Action:
        def depends_on() -> list[str]:
            return [each.id for each in self.actions(parent_id=str(view.oid), status=OPEN)]

        return resources.action(view, depends_on)

    def actions(self, **query: Any) -> Iterator[Action]:
        """Go through the actions, oldest first: `name`, `target`, `action`, `status`, `cluster_id` or its name, paging.

        Derived actions, what the action of a cluster does about single nodes, are found by the `parent_id` of that one,
        which Senlin has not, and not without it: with ten thousand nodes nobody would find the others.
        """
        sort = read_query(query, ACTIONS_ASKED, "actions")
        filters = self._filters(query, ACTIONS_ASKED)
        if "action" in filters:
            filters["action"] = [words.our_action(each) for each in filters["action"]]
        if "status" in filters:
            filters["status"] = [each for each in filters["status"] if each not in words.ACTION_STATUS_NEVER]
        return self._pages(
            lambda limit, marker: self._client.action.list_actions(filters, sort, limit, marker),
            query,
            lambda page: map(self._action, page),
        )

    def get_event(self, event: Any) -> Event:
        """Return an event, by its number; raises `ResourceNotFound`."""
        named = key(event)
        if not named.isascii() or not named.isdigit() or len(named) > 18:
            raise NoSuchObject(
                f"there is no event {named}",
                subject={"type": "event", "oid": named},
                next_step="give the number of one; events are numbered, and have no names",
            )
        return resources.event(self._do(lambda: self._client.event.get_event(int(named))))

    def events(self, **query: Any) -> Iterator[Event]:
        """Go through the events, oldest first: `obj_name`, `obj_type`, `obj_id`, `action`, `level`, and
        `cluster_id`, or the name of a cluster that there is.

        `sort="timestamp:desc"` begins with the newest. `obj_type` is `NODE` for workers and `CLUSTER`, where events of
        actions belong, and ours in any case for everything else; `MACHINE` for what we call a node. `level` is a
        name or Senlin's number. `limit` is the length of a page.
        """
        sort = read_query(query, EVENTS_ASKED, "events", of_events=True)
        filters = self._filters(query, EVENTS_ASKED)
        if "object_type" in filters:
            filters["object_type"] = [words.our_object_type(each) for each in filters["object_type"]]
        if "action" in filters:
            filters["action"] = [words.our_action(each) for each in filters["action"]]
        if "level" in filters:
            filters["level"] = [words.LEVELS.get(each.upper(), each.upper()) for each in filters["level"]]
        size, first = page_size(query), _number(query.get("marker"))

        def page(marker: int | None) -> EventPage:
            return self._do(
                lambda: self._client.event.list_events(limit=size, filters=filters, sort=sort, marker=marker)
            )

        def go() -> Iterator[Event]:
            found = page(first)
            yield from map(resources.event, found.events)
            while found.next is not None:
                found = page(found.next)
                yield from map(resources.event, found.events)

        return go()

    def _filters(self, query: dict[str, Any], asked: frozenset[str]) -> dict[str, list[str]]:
        filters = {FIELDS.get(name, name): _strings(query[name]) for name in asked & query.keys()}
        if "cluster_oid" in filters:
            filters["cluster_oid"] = [self._cluster_oid(each) for each in filters["cluster_oid"]]
        return filters

    def _cluster_oid(self, named: str) -> str:
        """Return the oid of a cluster; a whole one is taken at its word, since the cluster may be no more."""
        try:
            return str(UUID(named))
        except ValueError:
            return str(self._do(lambda: self._client.cluster.get_cluster(named)).oid)

    def services(self, **query: Any) -> Iterator[Service]:
        """Go through the master and the agents, whose `host` is the name of the machine: `sort` and paging."""
        sort = read_query(query, frozenset(), "services")
        return self._pages(
            lambda limit, marker: self._client.service.list_services(None, sort, limit, marker),
            query,
            lambda page: map(resources.service, page),
        )

    def get_build_info(self) -> BuildInfo:
        """Return the version of the contract, as `api`, and of the program, as `engine`, each with its `revision`."""
        return resources.build_info(self._do(self._client.service.get_build_info))


def _strings(value: Any) -> list[str]:
    return [key(each) for each in (value if isinstance(value, list | tuple) else [value])]


def _number(marker: Any) -> int | None:
    if marker is None:
        return None
    try:
        return int(key(marker))
    except ValueError:
        raise refused("marker", "is no number of an event", "give the id of the last event that was seen") from None
