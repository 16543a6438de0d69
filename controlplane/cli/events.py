"""The event log, and what happens now, without a gap between the two."""

import json
from typing import Any

from twisted.internet.defer import Deferred

from controlplane.cli.render import event_line
from controlplane.clock import limit
from controlplane.errors import NoAnswer
from controlplane.wamp import Session

LAST_SHOWN = 20
LIST_EVENTS = "controlplane.event.list_events"


async def show_events(session: Session, after: int | None, follow: bool, as_json: bool) -> None:
    """Print events after a number, or the last ones; with `follow` go on until interrupted."""
    state = {"seen": -1}
    early: list[dict[str, Any]] = []
    live: list[bool] = []

    def show(event: dict[str, Any]) -> None:
        if event["payload"]["seq"] > state["seen"]:
            state["seen"] = event["payload"]["seq"]
            print(json.dumps(event) if as_json else event_line(event), flush=True)

    def hear(topic: str, payload: Any = None, *_: Any) -> None:
        if isinstance(payload, dict) and "seq" in payload:
            event = {"topic": topic, "time": payload["time"], "payload": payload}
            if live:
                show(event)
            else:
                early.append(event)

    if follow:
        await session.subscribe("controlplane.", hear, prefix=True)
    if after is None:
        page = await session.call(LIST_EVENTS, after=0, limit=1)
        after = max(0, page["last"] - LAST_SHOWN)
    following: int | None = after
    while following is not None:
        page = await session.call(LIST_EVENTS, after=following)
        if page["gap"]:
            print(f"events before {page['oldest']} are kept no longer")
        for event in page["events"]:
            show(event)
        following = page["next"]
    if follow:
        live.append(True)
        for event in early:
            show(event)
        await Deferred()


async def wait_for_status(session: Session, cluster: str, status: str, within: float) -> None:
    """Return when a cluster has a status; raises `NoAnswer` when it has not in time."""
    changed: list[Deferred[None]] = [Deferred()]

    def hear(_topic: str, *_: Any) -> None:
        if not changed[0].called:
            changed[0].callback(None)

    # Subscribed first, so that no change is missed between asking and waiting.
    await session.subscribe("controlplane.routercluster.", hear, prefix=True)
    end = session.clock.seconds() + within
    while True:
        changed[0] = Deferred()
        found = await session.call("controlplane.routercluster.get_routercluster", routercluster_oid=cluster)
        if found["status"] == status:
            return
        left = end - session.clock.seconds()
        if left <= 0:
            raise NoAnswer(
                f"the cluster is {found['status']}: {found['reason'] or 'no reason is known'}",
                next_step="see 'controlplane status'",
            )
        try:
            await limit(session.clock, changed[0], left, "the cluster")
        except NoAnswer:
            pass
