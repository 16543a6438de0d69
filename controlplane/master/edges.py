"""Nodes of Crossbar.io that have no agent: the master keeps each of them with an agent of its own, inside itself.

Such a node logs in at the router and offers its management procedures there. For as long as it does, the master holds
an `Agent` with a driver that works through those procedures. The agent attaches and reports as every other one does,
only that what it says and hears travels no wire; so placement, repair and everything else know no difference.
"""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from autobahn.wamp.exception import ApplicationError
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import Logger

from controlplane.agent.agent import Agent
from controlplane.clock import Chance, Clock, limit
from controlplane.core.edge_rights import edge_prefix
from controlplane.core.router_clusters import SOCKET_OID_DIGITS, SOCKET_PATH_BYTES_MAX
from controlplane.drivers.router.edge import EdgeDriver, Place
from controlplane.drivers.router.sessions import CALL_LIMIT_S, CANCELED
from controlplane.errors import ControlPlaneError
from controlplane.loop import Loop
from controlplane.master.uplinks import Messenger
from controlplane.records.nodes import Node, NodeFacts
from controlplane.records.principals import Caller
from controlplane.records.types import Oid, Seconds
from controlplane.records.workers import Assignment
from controlplane.store.catalog import NODES
from controlplane.store.database import Store

AGENT_ROLE = "agent"
LOOPBACK = "127.0.0.1"
OPEN_AGAIN_AFTER_S = 1.0
DIRECTORY_NAME = "sockets"
SOCKET_NAME_BYTES = SOCKET_OID_DIGITS + len("/.sock")

log = Logger()

Invoke = Callable[[Caller, str, tuple[Any, ...], Mapping[str, Any]], Awaitable[Any]]


class Line(Protocol):
    """The master's session with its realm."""

    def ask(self, uri: str, within: Seconds, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Deferred[Any]:
        """Call a procedure; fails with autobahn's `ApplicationError`, or `NoAnswer` when there is none in time."""
        ...


class EdgeSettings(NamedTuple):
    """What the master decides for nodes that have no agent to say it."""

    directory: Path
    """For notes of what runs on them."""

    ports: tuple[int, int]
    """First and last port that their workers may listen on."""


class _Blank:
    """In the place of an agent's notebook: the assignment is in the master's own store."""

    def read(self) -> Assignment | None:
        return None

    def write(self, assignment: Assignment) -> None:
        pass


class _Window:
    """The master's session with one node in view, as long as that node's session lasts."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self.open = True

    async def call(self, uri: str, *args: Any, timeout: float = CALL_LIMIT_S) -> Any:
        return await self.forward(uri, args, {}, timeout)

    async def forward(self, uri: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], timeout: float) -> Any:
        if not self.open:
            raise ApplicationError(CANCELED, "the node is not connected")
        return await self._line.ask(uri, timeout, args, kwargs)


class _Hosted:
    """One node that is connected."""

    def __init__(self, session: int, node: Node, authid: str, window: _Window) -> None:
        self.session = session
        self.node = node
        self.authid = authid
        self.window = window
        self.driver: EdgeDriver | None = None
        self.agent: Agent | None = None


class _Inside:
    """How a hosted agent reaches the master that it lives in."""

    def __init__(self, clock: Clock, invoke: Invoke, caller: Caller) -> None:
        self._clock = clock
        self._invoke = invoke
        self._caller = caller

    def call(self, uri: str, within: Seconds, **arguments: Any) -> Deferred[Any]:
        async def run() -> Any:
            return await self._invoke(self._caller, uri, (), arguments)

        return limit(self._clock, ensureDeferred(run()), within, uri)


class Edges:
    """Every connected node without an agent; it stands before the messenger that reaches all other sessions."""

    def __init__(
        self,
        clock: Clock,
        chance: Chance,
        store: Store,
        messenger: Messenger,
        invoke: Invoke,
        settings: EdgeSettings | None,
        heard: Callable[[Oid, str | None, Mapping[str, Any]], None],
    ) -> None:
        """Without settings no node can be kept; `heard(node, worker, figures)` is told of every heartbeat."""
        self._clock = clock
        self._chance = chance
        self._store = store
        self._messenger = messenger
        self._invoke = invoke
        self._settings = settings
        self._heard = heard
        self._line: Line | None = None
        self._hosted: dict[int, _Hosted] = {}
        self._closing: dict[Oid, Deferred[None]] = {}
        self._opens: Loop[int] = Loop("edge nodes", clock, self._open)

    def joined(self, line: Line) -> None:
        """Take note of the master's session."""
        self._line = line

    def left(self) -> None:
        """Take note that the master's session is gone: no node can be reached."""
        self._line = None
        for session in list(self._hosted):
            self.session_left(session)

    async def close(self) -> None:
        """Keep no node any more; their workers go on."""
        self.left()
        await self._opens.close()
        for done in list(self._closing.values()):
            await done

    # Sessions of nodes

    def session_joined(self, session: int, authid: str) -> None:
        """Take note that a node without an agent has logged in; it can be used once it calls, or already does."""
        node = self._find(authid)
        if node is None or self._line is None or self._settings is None:
            self._messenger.kill(session, "the node is not paired")
            return
        others = [each.session for each in self._hosted.values() if each.node.oid == node.oid]
        for other in others:
            self._messenger.kill(other, "another session of this node took its place")
            self.session_left(other)
        self._hosted[session] = _Hosted(session, node, authid, _Window(self._line))

    def session_left(self, session: int) -> None:
        """Take note that a session is no more."""
        hosted = self._hosted.pop(session, None)
        if hosted is None:
            return
        hosted.window.open = False
        if hosted.agent is not None:
            self._close(hosted.node.oid, hosted.agent)

    def ready(self, session: int) -> None:
        """Take note that a node offers all its procedures."""
        hosted = self._hosted.get(session)
        if hosted is not None and hosted.agent is None:
            self._opens.wake(session)

    def heartbeat(self, session: int, authid: object, *said: object) -> None:
        """Take in what a node says of itself, or of one of its workers; what it says of others is passed over."""
        hosted = self._hosted.get(session)
        if hosted is None or hosted.authid != authid or not said or not isinstance(said[-1], dict):
            return
        self._heard(hosted.node.oid, str(said[0]) if len(said) > 1 else None, said[-1])

    # A messenger

    def send(self, topic: str, session: int, payload: Mapping[str, Any]) -> None:
        """Send an event to one session."""
        hosted = self._hosted.get(session)
        if hosted is None:
            self._messenger.send(topic, session, payload)
        elif hosted.agent is not None:
            # Later, as over a wire: the sender has not finished what it is doing.
            self._clock.callLater(0, hosted.agent.heard, topic, payload)

    def announce(self, topic: str, payload: Mapping[str, Any]) -> None:
        """Send an event to every subscriber."""
        self._messenger.announce(topic, payload)
        for hosted in list(self._hosted.values()):
            self.send(topic, hosted.session, payload)

    def kill(self, session: int, reason: str) -> None:
        """End a session."""
        self._messenger.kill(session, reason)

    # Inside

    def _find(self, authid: str) -> Node | None:
        with self._store.read() as view:
            node: Node | None = view.rows(NODES).find_by("authid", authid.encode())
            if node is None:
                try:
                    node = view.rows(NODES).find(Oid(authid))
                except ValueError:
                    pass
        return node

    async def _open(self, session: int) -> Seconds | None:
        hosted = self._hosted.get(session)
        if hosted is None or hosted.agent is not None or self._settings is None:
            return None
        closing = self._closing.get(hosted.node.oid)
        if closing is not None:
            return OPEN_AGAIN_AFTER_S / 10
        try:
            agent = await self._open_agent(hosted, self._settings)
        except (ControlPlaneError, ApplicationError) as problem:
            log.warn("node {authid} cannot be kept: {problem}", authid=hosted.authid, problem=str(problem))
            return OPEN_AGAIN_AFTER_S if session in self._hosted else None
        if session not in self._hosted:
            self._close(hosted.node.oid, agent)
            return None
        hosted.agent = agent
        caller = Caller(session=session, authid=str(hosted.node.oid), authrole=AGENT_ROLE)
        agent.joined(_Inside(self._clock, self._invoke, caller))
        log.info("keeping node {authid}, which has no agent", authid=hosted.authid)
        return None

    async def _open_agent(self, hosted: _Hosted, settings: EdgeSettings) -> Agent:
        prefix = edge_prefix(hosted.authid)
        status = await hosted.window.call(prefix + "get_status")
        cores = int(await hosted.window.call(prefix + "get_cpu_count"))
        facts = _facts(hosted.node, status, cores, settings.ports)
        settings.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        place = Place(
            notes=settings.directory / f"{hosted.node.oid}.json",
            sockets=facts.sockets,
            address=facts.address,
            ports=facts.ports,
            cores=cores,
        )
        hosted.driver = EdgeDriver(hosted.window, prefix, self._clock, place, lambda: self._ports_beside(hosted))
        agent = Agent(self._clock, self._chance, facts, {EdgeDriver.name: hosted.driver}, _Blank())
        try:
            await agent.open()
        except Exception:
            await agent.close(keep=True)
            raise
        return agent

    def _ports_beside(self, hosted: _Hosted) -> set[int]:
        """Return the ports of other nodes that may be on the same machine."""
        address = hosted.node.cluster_ip or LOOPBACK
        return {
            port
            for other in self._hosted.values()
            if other is not hosted and other.driver is not None and (other.node.cluster_ip or LOOPBACK) == address
            for port in other.driver.ports
        }

    def _close(self, node_oid: Oid, agent: Agent) -> None:
        """Let go of a node; nobody keeps it anew before that is done."""
        agent.left()

        def forget(result: Any) -> None:
            del self._closing[node_oid]
            if hasattr(result, "value"):
                log.failure("node {node} was not let go of in order", result, node=str(node_oid))

        closed = self._closing[node_oid] = ensureDeferred(agent.close(keep=True))
        closed.addBoth(forget)


def _facts(node: Node, status: Mapping[str, Any], cores: int, ports: tuple[int, int]) -> NodeFacts:
    """Return what an agent would say of the machine."""
    directory = f"{status['directory']}/{DIRECTORY_NAME}"
    if len(directory.encode()) + SOCKET_NAME_BYTES > SOCKET_PATH_BYTES_MAX:
        directory = f"/tmp/controlplane-{node.oid}"
    return NodeFacts(
        version=str(status.get("title", "Crossbar.io")),
        # Who else is on its machine, under which user, cannot be known from afar.
        machine=str(node.oid),
        address=node.cluster_ip or LOOPBACK,
        sockets=directory,
        drivers=(EdgeDriver.name,),
        ports=ports,
        cores=cores,
        agentless=True,
    )
