"""The driver for router clusters: router and proxy workers of one Crossbar.io node on this machine.

A worker is never changed. Another configuration is another process: a proxy is started beside the old one on the same
port, and the old one stopped then; of a router everything but its socket is prepared, then the old one is stopped and
the new one takes its address.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from autobahn.wamp.exception import ApplicationError
from twisted.internet.defer import Deferred, DeferredList, DeferredSemaphore, ensureDeferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from controlplane.clock import limit
from controlplane.drivers.driver import Surroundings, Unit
from controlplane.drivers.endings import Endings
from controlplane.drivers.files import lock_driver
from controlplane.drivers.ports import EVERYWHERE, Ports, interface_of
from controlplane.drivers.processes import Identity, State, connections, glance
from controlplane.drivers.router import plans, workerpath
from controlplane.drivers.router.node import LocalNode, NodeReactor
from controlplane.drivers.router.notes import Notes, WorkerNote
from controlplane.drivers.router.plans import Backend, Frontend, Plan
from controlplane.drivers.router.reach import reach_all
from controlplane.drivers.router.running import Phase, Running
from controlplane.drivers.router.workers import Workers
from controlplane.errors import NoAnswer, WorkerFailed
from controlplane.records.types import Instant, Oid
from controlplane.records.workers import Address, WorkerSpec

ADOPT_LIMIT_S = 5.0
STATISTICS_LIMIT_S = 1.8
CHECK_LIMIT_S = 4.0
DIRECTORY_MODE = 0o700
UNKNOWN = UUID(int=0)
"""Whose the process of an unknown worker is."""

STALE_REASON = "a router behind it was started anew, and what it asks there itself is not answered any more"

log = Logger()


class DriverReactor(NodeReactor, Protocol):
    """What the driver needs of a reactor."""

    def resolve(self, name: str) -> Deferred[str]:
        """Return the address of a host."""
        ...

    def getThreadPool(self) -> Any:  # noqa: N802
        """Return where slow work is done."""
        ...


class _Draft(NamedTuple):
    """What a worker is going to be."""

    plan: Plan
    port: int | None = None
    addresses: tuple[Address, ...] = ()


class RouterDriver:
    """Runs router and proxy workers; see `controlplane.drivers.driver.Driver`."""

    name = "router"

    def __init__(self, surroundings: Surroundings, reactor: DriverReactor) -> None:
        self._surroundings = surroundings
        self._reactor = reactor
        self._running: dict[Oid, Running] = {}
        """What serves: one process per worker."""

        self._endings = Endings()

        self._doomed: set[Running] = set()
        """Processes that die by themselves, with their node."""

        self._slots = DeferredSemaphore(max(1, surroundings.cores))
        self._renewed: set[str] = set()
        """Sockets of routers that have died: who had sessions there has lost them."""

        self._unlock: Callable[[], None] | None = None

    async def open(self, lost: Callable[[Oid, str], None]) -> Mapping[Oid, Unit]:
        """Make ready and adopt what runs; see `Driver`."""
        self._lost = lost
        directory = self._surroundings.directory
        for each in (directory, self._surroundings.sockets):
            each.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
            each.chmod(DIRECTORY_MODE)
        self._unlock = lock_driver(directory)
        self._notes = Notes(directory / "workers.json")
        self._ports = Ports(directory / "ports.json", self._surroundings.ports)
        self._node = LocalNode(
            self._reactor, directory, self._notes, gone=self._node_gone, worker_gone=self._worker_gone
        )
        options = {"pythonpath": [str(Path(workerpath.__file__).parent)]}
        self._workers = Workers(self._node.session, self._node.prefix, self._reactor, options)
        noted = tuple(self._notes.workers.values())
        if await self._node.open():
            await self._adopt_all()
        for note in noted:
            if note.oid not in self._running:
                self._bury(note)
        return {oid: running.note.unit() for oid, running in self._running.items() if running.note is not None}

    async def start(self, spec: WorkerSpec) -> Unit:
        """Make the worker run with this configuration; see `Driver`."""
        config = plans.read_config(spec.config)
        self._check_sockets(config)
        await self._endings.over(spec.oid)
        unit = self.find(spec.oid)
        if unit is not None and unit.digest == spec.digest:
            return unit
        if isinstance(config, Frontend):
            # Before it takes a turn: the router at the other end may be waiting for one on its own node.
            await reach_all(self._reactor, config)
        await self._slots.acquire()
        try:
            await self._ready()
            note = await self._bring_up(spec, config)
        finally:
            self._slots.release()
        # The old one of two proxies is still to go; that takes no turn of a start.
        await self._endings.over(spec.oid)
        return note.unit()

    def find(self, oid: Oid) -> Unit | None:
        """Return what runs of a worker now."""
        running = self._running.get(oid)
        if running is None or running.note is None or running.phase is not Phase.SERVING:
            return None
        return running.note.unit()

    async def stop(self, oid: Oid) -> None:
        """Stop the worker and return when nothing of it is left; see `Driver`."""
        self._retire(oid)
        await self._endings.over(oid)

    async def statistics(self, oid: Oid) -> dict[str, Any]:
        """Return figures of a running worker; see `Driver`."""
        running = self._running.get(oid)
        if running is None or running.note is None:
            raise WorkerFailed("the worker does not run")
        asked = ensureDeferred(self._figures(running.worker_id, running.note))
        found: dict[str, Any] = await limit(self._reactor, asked, STATISTICS_LIMIT_S, "the worker")
        return found

    async def kill(self, oid: Oid) -> None:
        """Kill what runs of a worker; see `Kills`."""
        running = self._running.get(oid)
        if running is not None:
            running.kill()
        await self.stop(oid)

    async def check(self, oid: Oid) -> None:
        """Have a running worker answer something; see `Checks`."""
        running = self._running.get(oid)
        if running is None or running.note is None or running.has_died():
            raise WorkerFailed("the worker does not run")
        if glance(running.note.process.pid).state is State.HELD:
            raise WorkerFailed("its process is stopped by a signal or a debugger")
        try:
            await self._workers.ask(running.worker_id, CHECK_LIMIT_S)
        except (NoAnswer, ApplicationError) as problem:
            raise WorkerFailed(f"it does not answer: {problem}") from None

    async def forward(self, procedure: str, args: Sequence[Any], kwargs: Mapping[str, Any], timeout: float) -> Any:
        """Call a management procedure of the node by the part of its name that comes after the node's prefix."""
        await self._node.ready()
        return await self._node.session.forward(self._node.prefix + procedure, args, kwargs, timeout)

    async def close(self, keep: bool) -> None:
        """Let go of everything; see `Driver`."""
        if self._unlock is None:
            return
        if not keep:
            for oid in list(self._running):
                self._retire(oid)
        await self._endings.all_over()
        kept, self._running = self._running, {}
        for running in kept.values():
            running.let_go()
        await self._node.close(keep)
        for running in list(self._doomed):
            await running.gone()
        self._ports.close()
        self._unlock()
        self._unlock = None

    # Starting

    async def _ready(self) -> None:
        """Return when the node can start workers, and nothing is left of those that died with an earlier one."""
        for running in list(self._doomed):
            await running.gone()
        await self._node.ready()

    async def _bring_up(self, spec: WorkerSpec, config: Backend | Frontend) -> WorkerNote:
        """Start a process and have it serve in the place of the one that does so now."""
        kind = "router" if isinstance(config, Backend) else "proxy"
        new = self._new(spec.oid, self._notes.next_worker_id(spec.oid))
        try:
            draft = await self._draft(config, new.worker_id)
            started = await self._workers.start(new.worker_id, kind)
            identity = new.found(started)
            await self._workers.prepare(new.worker_id, draft.plan)
            if isinstance(config, Backend):
                # Two routers cannot have the same socket.
                self._retire(spec.oid)
                await self._endings.over(spec.oid)
            await self._workers.listen(new.worker_id, draft.plan)
            if new.has_died():
                raise WorkerFailed("its process ended")
        except Exception as problem:
            died = new.has_died()
            self._endings.begin(spec.oid, self._undo(new))
            await self._endings.over(spec.oid)
            if died and isinstance(problem, WorkerFailed):
                raise WorkerFailed(f"its process ended while it was being set up: {new.ending}") from problem
            raise
        note = _note(spec, config, new.worker_id, draft, identity, started.started)
        self._retire(spec.oid)
        self._running[spec.oid] = new
        self._notes.note(note)
        new.serve(note)
        self._unsettle(note.socket)
        return note

    async def _draft(self, config: Backend | Frontend, worker_id: str) -> _Draft:
        """Decide where a worker listens."""
        if isinstance(config, Backend):
            return _Draft(plans.plan_router(config))
        address = self._surroundings.address
        wanted = plans.wanted_interface(config, address)
        interface = await interface_of(self._reactor, wanted)
        port = self._ports.take(config.cluster, worker_id, plans.wanted_port(config), interface)
        host = address if wanted in EVERYWHERE else wanted
        return _Draft(plans.plan_proxy(config, interface, port), port, plans.addresses(config, host, port))

    def _check_sockets(self, config: Backend | Frontend) -> None:
        """Refuse to listen elsewhere: Crossbar.io removes whatever is at the path of a socket before it listens.

        Frontends may connect to routers of other nodes of this machine.
        """
        if isinstance(config, Backend) and Path(config.socket).parent != self._surroundings.sockets:
            raise WorkerFailed(f"the unix socket {config.socket} is not in {self._surroundings.sockets}")

    def _unsettle(self, socket: str | None) -> None:
        """Have proxies replaced that had sessions of their own at a router that was started anew."""
        if socket not in self._renewed:
            return
        self._renewed.discard(socket)
        for oid, running in list(self._running.items()):
            if running.note is not None and socket in running.note.leans_on and running.phase is Phase.SERVING:
                running.outlive()
                self._lost(oid, STALE_REASON)

    # Ending

    def _retire(self, oid: Oid) -> None:
        """Stop what serves of a worker, and count on it no more."""
        running = self._running.pop(oid, None)
        if running is not None:
            self._notes.cross_out(oid)
            self._endings.begin(oid, running.stop())

    async def _undo(self, new: Running) -> None:
        """End a process that never served."""
        await new.discard()
        self._ports.release(new.worker_id)

    def _ended(self, running: Running, reason: str) -> None:
        """Take note that a process is gone, whatever was wanted of it."""
        self._ports.release(running.worker_id)
        self._doomed.discard(running)
        if running.note is not None and running.note.socket is not None:
            self._renewed.add(running.note.socket)
        if self._running.get(running.oid) is running:
            del self._running[running.oid]
            self._notes.cross_out(running.oid)
            if running.phase is Phase.SERVING:
                self._lost(running.oid, reason)

    def _node_gone(self, reason: str) -> None:
        """Take note that all workers die with their node, also one that hangs."""
        gone, self._running = self._running, {}
        for oid, running in gone.items():
            self._notes.cross_out(oid)
            self._doomed.add(running)
            running.kill(reason)
        for oid, running in gone.items():
            if running.phase is Phase.SERVING:
                self._lost(oid, reason)

    def _worker_gone(self, worker_id: str) -> None:
        for running in self._running.values():
            if running.worker_id == worker_id:
                running.left_node()

    # Adopting

    async def _adopt_all(self) -> None:
        """Adopt the node's workers that are as we noted them, and stop the others."""
        notes = {note.worker_id: note for note in self._notes.workers.values()}
        try:
            listed = await self._workers.list()
        except (WorkerFailed, NoAnswer):
            await self._node.end()
            return
        adopting = [ensureDeferred(self._adopt(worker_id, notes.get(worker_id))) for worker_id in listed]
        await DeferredList(adopting, consumeErrors=True)

    async def _adopt(self, worker_id: str, note: WorkerNote | None) -> None:
        running = self._new(note.oid if note is not None else UNKNOWN, worker_id)
        if note is not None and await self._is_as_noted(note):
            try:
                running.watch(note.process)
            except ProcessLookupError:
                return
            running.serve(note)
            self._running[note.oid] = running
            if note.port is not None:
                self._ports.adopt(note.cluster, worker_id, note.port)
            return
        log.warn("worker {worker_id} is incomplete or unknown and is ended", worker_id=worker_id)
        await running.discard()

    async def _is_as_noted(self, note: WorkerNote) -> bool:
        try:
            description = await self._workers.describe(note.worker_id)
            if description is None or description.pid != note.process.pid:
                return False
            return await self._workers.is_complete(note.worker_id, note.kind, ADOPT_LIMIT_S)
        except (WorkerFailed, NoAnswer):
            return False

    def _bury(self, note: WorkerNote) -> None:
        """Forget a worker that was noted and is not adopted; if its process still lives, it is not of any use."""
        self._notes.cross_out(note.oid)
        self._renewed.update({note.socket} if note.socket is not None else ())
        running = self._new(note.oid, note.worker_id)
        try:
            running.watch(note.process)
        except ProcessLookupError:
            return
        self._doomed.add(running)
        running.kill()

    # Looking

    async def _figures(self, worker_id: str, note: WorkerNote) -> dict[str, Any]:
        realms = {plans.realm_id(index): name for index, name in enumerate(note.realms)}
        found = {"kind": note.kind, **await self._workers.statistics(worker_id, note.kind, realms)}
        if note.port is not None:
            reactor: Any = self._reactor
            counting = deferToThreadPool(reactor, reactor.getThreadPool(), connections, note.process.pid, note.port)
            found["connections"] = await counting
        return found

    def _new(self, oid: Oid, worker_id: str) -> Running:
        return Running(self._reactor, self._node, self._workers, oid, worker_id, self._ended)


def _note(
    spec: WorkerSpec,
    config: Backend | Frontend,
    worker_id: str,
    draft: _Draft,
    process: Identity,
    started: Instant,
) -> WorkerNote:
    is_router = isinstance(config, Backend)
    return WorkerNote(
        oid=spec.oid,
        digest=spec.digest,
        kind="router" if is_router else "proxy",
        worker_id=worker_id,
        process=process,
        started=started,
        cluster=config.cluster,
        port=draft.port,
        socket=config.socket if isinstance(config, Backend) else None,
        leans_on=() if isinstance(config, Backend) else tuple(sorted(plans.leaned_on(config))),
        realms=plans.realm_names(config),
        addresses=draft.addresses,
    )
