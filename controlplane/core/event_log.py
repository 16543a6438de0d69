"""Stored events as callers see them: whom each is about, and how much it matters."""

from functools import cache

from controlplane.records.actions import ActionStatus
from controlplane.records.events import (
    ACTION_ENDED,
    ACTION_STARTED,
    BY_TOPIC,
    EventLevel,
    EventView,
    StoredEvent,
)

ENDS = {ActionStatus.FAILED.value: EventLevel.ERROR, ActionStatus.CANCELLED.value: EventLevel.WARNING}
OBJECTS = {"routercluster": "cluster"}
"""Nouns of topics that callers know by another name."""

PARTS = {"workergroup": "workergroup", "node": "node"}
"""What of a router cluster an event may be about instead of the cluster: `on_routercluster_node_added`."""

ABOUT_ACTIONS = frozenset({ACTION_STARTED.topic, ACTION_ENDED.topic})


def event_view(event: StoredEvent) -> EventView:
    """Return an event as callers see it."""
    payload = event.payload
    noun = _noun(event.topic)
    object_type, oid, name = _object(event, noun)
    cluster_oid = payload.get("cluster_oid") or (payload.get("oid") if noun == "cluster" else None)
    return EventView(
        seq=event.seq,
        time=event.time,
        topic=event.topic,
        payload=payload,
        level=_level(event),
        object_type=object_type,
        object_oid=oid,
        object_name=name,
        cluster_oid=cluster_oid,
        action=payload.get("action") if event.topic in ABOUT_ACTIONS else None,
        status=payload.get("status"),
        reason=payload.get("reason"),
    )


def _object(event: StoredEvent, noun: str) -> tuple[str, str | None, str | None]:
    payload = event.payload
    if event.topic in ABOUT_ACTIONS and payload.get("target", payload.get("cluster_oid")) != payload.get("cluster_oid"):
        return "worker", payload["target"], None
    if event.topic in ABOUT_ACTIONS:
        return "cluster", payload.get("cluster_oid"), payload.get("cluster_name")
    if "policy_oid" in payload:
        return "policy", payload["policy_oid"], payload.get("policy_name")
    oid = payload.get("oid") or payload.get(f"{noun}_oid")
    return noun, oid, payload.get("name") or payload.get("authid") or payload.get(f"{noun}_name")


@cache
def _noun(topic: str) -> str:
    noun, _, verb = topic.partition(".")[2].partition(".on_")
    part = verb.removeprefix(noun + "_").partition("_")[0]
    return PARTS.get(part, OBJECTS[noun]) if noun in OBJECTS else noun


def _level(event: StoredEvent) -> EventLevel:
    kind = BY_TOPIC.get(event.topic)
    if event.topic == ACTION_ENDED.topic:
        return ENDS.get(str(event.payload.get("status")), EventLevel.INFO)
    return EventLevel.INFO if kind is None else kind.level
