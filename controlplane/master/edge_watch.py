"""What the router asks and tells of nodes without an agent: what they may do, and what they say of themselves."""

from typing import Any

from controlplane.core.edge_rights import AUTHORIZE, HEARTBEAT_TOPIC, WORKER_HEARTBEAT_TOPIC
from controlplane.master.plane import Plane
from controlplane.wamp import Session


class EdgeWatch:
    """The ears of the master for nodes without an agent."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    async def begin(self, session: Session) -> None:
        """Listen from now on."""
        await session.offer(AUTHORIZE, self._authorize)
        await session.listen(HEARTBEAT_TOPIC, self._plane.edges.heartbeat)
        await session.listen(WORKER_HEARTBEAT_TOPIC, self._plane.edges.heartbeat)

    def _authorize(
        self, session: dict[str, Any], uri: str, action: str, options: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Say whether a node without an agent may do something; the router must not remember the answer."""
        match = (options or {}).get("match") or "exact"
        return {"allow": self._plane.authorize(session, uri, action, match), "disclose": True, "cache": False}
