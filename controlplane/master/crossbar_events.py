"""Events of nodes as Crossbar.io's master tells of them: other topics, and more than one argument."""

from collections.abc import Callable, Iterator
from typing import Any

from controlplane.records import events
from controlplane.records.events import EventType
from controlplane.records.nodes import CrossbarNodeStatus, Heartbeat
from controlplane.records.types import MANAGEMENT_REALM_OID, Oid, to_wire

PREFIX = "crossbarfabriccenter.mrealm."
READY, CHECKED = 3, 5
ACTIVITY = {
    events.NODE_ONLINE.topic: ("on_node_ready", READY),
    events.NODE_OFFLINE.topic: ("on_node_shutdown", CHECKED),
}

PAIRING = {
    events.NODE_PAIRED.topic: PREFIX + "on_node_paired",
    events.NODE_UNPAIRED.topic: PREFIX + "on_node_unpaired",
}
GLOBAL_TOPICS = frozenset(PAIRING.values())
"""What is told in the global realm, too, where Crossbar.io tells of it."""


def crossbar_events(
    kind: EventType, payload: dict[str, Any], heartbeat: Callable[[Oid], Heartbeat | None]
) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yield topic and arguments of every event that Crossbar.io has for one of ours."""
    if kind.topic in PAIRING:
        yield PAIRING[kind.topic], (_node(payload),)
    elif kind.topic in ACTIVITY:
        topic, activity = ACTIVITY[kind.topic]
        said = heartbeat(Oid(payload["oid"])) or Heartbeat()
        status = CrossbarNodeStatus(
            id=Oid(payload["oid"]),
            authid=payload["authid"],
            status=payload["status"],
            last_active=payload["since"],
            last_activity=activity,
            workers=said.workers,
            counter=said.counter,
            time=said.time,
        )
        yield PREFIX + topic, (payload["oid"], to_wire(status))


def _node(view: dict[str, Any]) -> dict[str, Any]:
    same = {name: view[name] for name in ("oid", "label", "description", "tags", "pubkey", "authid", "status")}
    return {**same, "cluster_ip": view["address"], "mrealm_oid": str(MANAGEMENT_REALM_OID), "owner_oid": None}
