"""The event log, and what happens now, without a gap between the two."""

import json
import time
from collections import deque
from typing import Any

from twisted.internet.defer import Deferred

from controlplane.cli.render import event_line
from controlplane.clock import limit
from controlplane.errors import ActionEnded, InvalidArgument, NoAnswer
from controlplane.records.actions import ActionStatus
from controlplane.records.clusters import ClusterStatus
from controlplane.records.types import Seconds
from controlplane.wamp import Session

LAST_SHOWN = 20
READ_WITHIN_S = 30.0
CHILD_READ_EVERY_S = 1.0
LIST_EVENTS = "controlplane.event.list_events"


class EventLog:
    """Prints events one after the other, each once, however many sessions it takes."""

    def __init__(self, after: int | None, as_json: bool) -> None:
        """Begin after a number, or with the last ones."""
        self._seen = after
        self._as_json = as_json

    async def print_stored(self, session: Session) -> None:
        """Print what happened."""
        if self._seen is None:
            page = await session.call(LIST_EVENTS, after=0, limit=1)
            self._seen = max(0, page["last"] - LAST_SHOWN)
        following: int | None = self._seen
        while following is not None:
            page = await session.call(LIST_EVENTS, after=following)
            if page["gap"]:
                print(f"events before {page['oldest']} are kept no longer")
            for event in page["events"]:
                self._print(event)
            following = page["next"]

    async def follow(self, session: Session) -> None:
        """Print what happened and what happens, until the session ends."""
        heard: deque[dict[str, Any]] = deque()
        woken: list[Deferred[None]] = [Deferred()]

        def hear(topic: str, payload: Any = None, *_: Any) -> None:
            if isinstance(payload, dict) and "seq" in payload:
                heard.append({"topic": topic, "time": payload["time"], "payload": payload})
                if not woken[0].called:
                    woken[0].callback(None)

        # Subscribed first, so that nothing is missed between what is stored and what comes.
        await session.subscribe("controlplane.", hear, prefix=True)
        await self.print_stored(session)
        while True:
            while heard:
                event = heard.popleft()
                if self._seen is not None and event["payload"]["seq"] > self._seen + 1:
                    await self.print_stored(session)  # A master that was killed did not publish all that it stored.
                self._print(event)
            woken[0] = Deferred()
            await woken[0]

    def _print(self, event: dict[str, Any]) -> None:
        seq = event["payload"]["seq"]
        if self._seen is None or seq > self._seen:
            self._seen = seq
            print(json.dumps(event) if self._as_json else event_line(event), flush=True)


class Wait:
    """Waits until a cluster, given by its oid or name, or an action, given by its oid, has a status."""

    def __init__(self, cluster: str, status: str, within: Seconds) -> None:
        clusters, actions = ({each.value for each in kind} for kind in (ClusterStatus, ActionStatus))
        self._status = status.upper()
        if self._status not in clusters | actions:
            known = ", ".join(sorted(clusters | actions))
            raise InvalidArgument(f"nothing is ever {status}", next_step=f"wait for one of {known}")
        self._of_action = self._status not in clusters
        self._target = cluster
        self._end = time.monotonic() + within

    async def until_reached(self, session: Session) -> None:
        """Return when the cluster has the status."""
        changed: list[Deferred[None]] = [Deferred()]

        def hear(_topic: str, *_: Any) -> None:
            if not changed[0].called:
                changed[0].callback(None)

        # Subscribed first, so that no change is missed between asking and waiting.
        for noun in ("action",) if self._of_action else ("routercluster", "cluster"):
            await session.subscribe(f"controlplane.{noun}.", hear, prefix=True)
        while True:
            changed[0] = Deferred()
            found = await self._read(session)
            if found["status"] == self._status:
                return
            if found.get("ended"):
                raise ActionEnded(
                    f"action {found['name']} has {found['status']}: {found['reason'] or 'no reason is known'}",
                    next_step="see 'controlplane status' and 'controlplane events'",
                )
            try:
                left = max(0.0, self._end - time.monotonic())
                # What becomes of a child is not announced by itself.
                pause = min(left, CHILD_READ_EVERY_S) if found.get("parent_oid") else left
                await limit(session.clock, changed[0], pause, "it")
            except NoAnswer:
                if pause < left:
                    continue
                reason = found["reason"] or "no reason is known"
                raise NoAnswer(
                    f"{found['name']} is {found['status']}: {reason}", next_step="see 'controlplane status'"
                ) from None

    async def _read(self, session: Session) -> dict[str, Any]:
        uri = "controlplane.action.get_action" if self._of_action else "controlplane.cluster.get_cluster"
        return dict(await session.call(uri, READ_WITHIN_S, self._target))
