"""An installation over several machines: router and master on one, an agent on each edge, clients on two more.

`keep` is a cluster whose workers wait for their node however long it is away, `move` one whose workers are placed
elsewhere soon, and `probe` is scaled after every scenario, so that every agent has to prove that it is reached.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread

from controlplane.clock import sleep
from controlplane.errors import ControlPlaneError, NoAnswer
from controlplane.keys import KEY_FILE, ensure_key, public_key, read_key
from controlplane.master.certificates import Listening
from controlplane.master.layout import initialise
from controlplane.transports import Login
from controlplane.wamp import Session, join_once
from tests.convergence import Wanted, difference
from tests.e2e.installation import Installation
from tests.netns.machines import Network
from tests.sleepers import sleepers_in, worker_directory

PLANE, OBSERVER, CONSOLE = "plane", "observer", "console"
LIFETIME_S = 3600
KEEP_GRACE_S = 3600.0
MOVE_GRACE_S = 2.0
PROBE_SCALES = (3, 6)
READY_WITHIN_S = 60.0
ANSWER_WITHIN_S = 5.0

Placed = dict[str, dict[str, int]]
"""Which process runs a worker on which edge, by worker."""


class World:
    """Machines, what runs on them, and what is wanted of it."""

    def __init__(self, directory: Path, edges: int = 3, seed: int = 1) -> None:
        self.directory = directory
        self.network = Network(reactor, seed, unharmed=OBSERVER)
        self.edges = [f"node{number}" for number in range(1, edges + 1)]
        self.nodes: dict[str, str] = {}
        self.clusters: dict[str, Wanted] = {}
        self.remarks: list[str] = []
        """What else a scenario saw."""

        self._installation = Installation(directory, nodes=0)
        self._children = self._installation.children
        self._sessions: dict[str, Session] = {}

    async def start(self) -> None:
        """Start everything, with all clusters running."""
        for name in (PLANE, OBSERVER, CONSOLE, *self.edges):
            self.network.add(name)
        self._children.prepare(reactor)
        listening = Listening("0.0.0.0", (self.network.machines[PLANE].address,))
        initialise(self._children.state, self._children.port, reactor, listening)
        self.spawn("router")
        self.spawn("master")
        await self._wait_for_master()
        for edge in self.edges:
            await self.pair(edge)
            self.spawn(edge)
        await self.online()
        await self.create("keep", 4, KEEP_GRACE_S)
        await self.create("move", 3, MOVE_GRACE_S)
        await self.create("probe", PROBE_SCALES[0], KEEP_GRACE_S)
        await self.converged()

    async def stop(self) -> None:
        """End everything in order, whatever state it is in."""
        self.network.heal()
        for session in self._sessions.values():
            session.leave()
        for name in self._children.children:
            self.signal(name, signal.SIGCONT)
        # Not here: whoever ends in order may need the network, which is this thread.
        await deferToThread(self._installation.stop)
        for process in sleepers_in(self.directory):
            process.kill()
        self.network.close()

    # Processes

    def spawn(self, name: str) -> None:
        """Start the router, the master or an agent on its machine."""
        if name in ("router", "master"):
            with self.network.inside(PLANE):
                self._children.spawn(name)
            return
        directory = str(self.directory_of(name))
        command = [sys.executable, "-m", "tests.sleepers", str(LIFETIME_S), self.url, directory, self.authority]
        self.run(name, name, command)

    def run(self, name: str, machine: str, command: list[str]) -> None:
        """Start something on a machine; it ends with the installation when its name begins like a node's."""
        with self.network.inside(machine):
            self._children._spawn(name, command)

    async def end(self, name: str) -> None:
        """End an agent in order."""
        child = self._installation.process(name)
        child.terminate()
        await deferToThread(child.wait, READY_WITHIN_S)
        await self.kill(name)

    async def kill(self, name: str) -> None:
        """End a process as kill -9 does."""
        await deferToThread(self._installation.kill, name)

    def kill_worker(self, pid: int) -> None:
        """End the process of a worker as a crash does."""
        os.kill(pid, signal.SIGKILL)

    def signal(self, name: str, number: int) -> None:
        """Send a signal to the router with its workers, to the master or to an agent."""
        try:
            os.killpg(self._installation.process(name).pid, number)
        except ProcessLookupError:
            pass  # It has ended.

    def logs(self) -> str:
        """Return everything that master and agents logged."""
        files = (self._children.log_of(name) for name in ("master", *self.edges))
        return "".join(file.read_text(errors="replace") for file in files)

    # Calls

    async def call(self, verb: str, *args: Any, client: str = OBSERVER, **kwargs: Any) -> Any:
        """Call as administrator from a machine with a good line, or from another one."""
        uri = verb if "." in verb else f"controlplane.routercluster.{verb}"
        session = self._sessions.get(client)
        if session is None or not session._inner.is_attached():
            session = self._sessions[client] = await self.join(client)
        try:
            return await session.call(uri, ANSWER_WITHIN_S, *args, **kwargs)
        except NoAnswer:
            self._sessions.pop(client, None)
            session._inner.disconnect()
            raise

    async def join(self, client: str) -> Session:
        """Join as administrator from a machine."""
        login = Login(url=self.url, realm="default", authid="admin", ca_file=self.authority)
        key = read_key(self._children.state.admin_key)
        # The socket is made before the first thing that is waited for.
        with self.network.inside(client):
            joining: Deferred[Session] = ensureDeferred(join_once(reactor, login, key))
        return await joining

    async def pair(self, edge: str) -> None:
        """Pair an edge's agent."""
        directory = self.directory_of(edge)
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = public_key(ensure_key(directory / KEY_FILE))
        self.nodes[edge] = (await self.call("controlplane.node.pair_node", key, edge))["oid"]

    async def unpair(self, edge: str) -> None:
        """Take a node out."""
        await self.call("controlplane.node.unpair_node", self.nodes.pop(edge))

    async def create(self, name: str, scale: int, grace: float) -> Wanted:
        """Make a cluster over all edges and start it."""
        oid = (await self.call("create_routercluster", {"name": name, "grace_period": grace}))["oid"]
        for node in self.nodes.values():
            await self.call("add_routercluster_node", oid, node)
        group = await self.call("add_routercluster_workergroup", oid, {"name": "web", "scale": scale})
        await self.call("start_routercluster", oid)
        self.clusters[name] = made = Wanted(oid, group["oid"], scale)
        return made

    async def scale(self, name: str, scale: int) -> None:
        """Change the number of a cluster's frontends."""
        cluster = self.clusters[name]
        await self.call("scale_routercluster_workergroup", cluster.oid, cluster.group, scale)
        cluster.scale = scale

    async def probe(self) -> None:
        """Have every agent do something, as soon as anybody answers."""

        async def asked() -> bool:
            was = self.clusters["probe"].scale
            await self.scale("probe", next(scale for scale in PROBE_SCALES if scale != was))
            return True

        await self.until(asked, "the master takes a change")

    async def stop_cluster(self, name: str) -> None:
        """Stop a cluster."""
        await self.call("stop_routercluster", self.clusters[name].oid)
        self.clusters[name].run = False

    async def delete(self, name: str) -> None:
        """Delete a cluster as soon as it has stopped."""
        await self.until(lambda: self._has_status(name, "STOPPED"), f"{name} stopped")
        await self.call("delete_routercluster", self.clusters.pop(name).oid)

    async def reachable(self) -> None:
        """Wait until the router listens."""

        async def listens() -> bool:
            place = TCP4ClientEndpoint(reactor, self.network.machines[PLANE].address, self._children.port, 1)
            with self.network.inside(OBSERVER):
                connecting = place.connect(Factory.forProtocol(Protocol))
            try:
                (await connecting).transport.abortConnection()
            except ConnectError:
                return False
            return True

        await self.until(listens, "the router listens")

    async def offline(self, *edges: str) -> None:
        """Wait until edges are known to be away."""
        await self.until(lambda: self._are(edges, "offline"), f"{edges} offline")

    async def online(self) -> None:
        """Wait until every edge is there."""
        await self.until(lambda: self._are(tuple(self.nodes), "online"), "every edge online")

    async def until(self, reached: Any, what: str, within: float = READY_WITHIN_S) -> float:
        """Ask until something is so, and return how long it took."""
        begun = reactor.seconds()
        while True:
            try:
                if await reached():
                    return reactor.seconds() - begun
            except ControlPlaneError:
                pass  # The observer had to find the router again.
            assert reactor.seconds() - begun < within, f"not within {within:g} s: {what}"
            await sleep(reactor, 0.05)

    # How it is

    def placed(self) -> Placed:
        """Return the processes that run, by worker and edge; wherever they run, wanted or not."""
        found: Placed = {}
        for edge in self.edges:
            directory = worker_directory(self.directory_of(edge))
            alive = {process.pid for process in sleepers_in(directory)}
            for note in directory.glob("*.json"):
                try:
                    pid = json.loads(note.read_text())["pid"]
                except (FileNotFoundError, json.JSONDecodeError):
                    continue  # It is written or removed just now.
                if pid in alive:
                    found.setdefault(note.stem, {})[edge] = pid
        return found

    async def workers_of(self, name: str) -> set[str]:
        """Return the oids of a cluster's workers."""
        return set(await self.call("list_routercluster_workers", self.clusters[name].oid))

    async def wrong(self) -> str | None:
        """Return what is not as it is wanted, or None."""
        missing = set(self.nodes) - set(await self.names("online"))
        if missing:
            return f"{sorted(missing)} offline"
        return await difference(self.call, self.clusters.values(), self.directory)

    async def converged(self, within: float = READY_WITHIN_S) -> float:
        """Wait until everything is as it is wanted, and return how long that took."""
        begun = reactor.seconds()
        wrong: str | None = "nobody answered"
        while reactor.seconds() - begun < within:
            try:
                wrong = await self.wrong()
            except ControlPlaneError as problem:
                wrong = str(problem)
            if wrong is None:
                return reactor.seconds() - begun
            await sleep(reactor, 0.05)
        raise AssertionError(f"not converged within {within:g} s: {wrong}")

    async def _are(self, edges: tuple[str, ...], status: str) -> bool:
        return set(edges) <= set(await self.names(status))

    async def names(self, status: str) -> list[str]:
        """Return the nodes that are online, or offline."""
        return await self.call("controlplane.node.list_nodes", return_names=True, filter_by_status=status)

    async def _has_status(self, name: str, status: str) -> bool:
        return (await self.call("get_routercluster", self.clusters[name].oid))["status"] == status

    async def _wait_for_master(self) -> None:
        async def answers() -> bool:
            await self.call("list_routerclusters")
            return True

        await self.until(answers, "the master answers")

    @property
    def url(self) -> str:
        """Where agents and clients find the router."""
        return f"wss://{self.network.machines[PLANE].address}:{self._children.port}/ws"

    @property
    def authority(self) -> str:
        """File of the authority that the router's certificate is of."""
        return str(self._children.state.certificates.authority)

    def directory_of(self, edge: str) -> Path:
        """Where an agent keeps its state."""
        return self.directory / "nodes" / edge
