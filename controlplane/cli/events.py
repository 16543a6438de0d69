"""The event log, and what happens now, without a gap between the two."""

import json
from typing import Any

from twisted.internet.defer import Deferred

from controlplane.cli.render import event_line
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
