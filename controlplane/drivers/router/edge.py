"""The driver for nodes of Crossbar.io that have no agent: it does from afar what `driver.py` does on its own machine.

The same plans and the same calls, through a session of the master and the node's URI prefix. What the kernel tells an
agent about processes has to be asked for here: once a second the node is asked for its workers and every worker for
the time. Workers that were started by others are left alone.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from autobahn.wamp.exception import ApplicationError
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredList,
    DeferredLock,
    DeferredSemaphore,
    ensureDeferred,
)
from twisted.logger import Logger

from controlplane.clock import Clock, limit, sleep
from controlplane.drivers.driver import Unit
from controlplane.drivers.router import plans
from controlplane.drivers.router.edge_notes import EdgeNotes, EdgeWorker, edge_worker
from controlplane.drivers.router.plans import Backend, Frontend, Plan, ProxyPlan
from controlplane.drivers.router.sessions import CALL_LIMIT_S, ManagementSession
from controlplane.drivers.router.workers import Workers
from controlplane.errors import NoAnswer, WorkerFailed
from controlplane.records.types import Oid
from controlplane.records.workers import Address, WorkerSpec

LOOK_EVERY_S = 1.0
ANSWER_LIMIT_S = 2.0
MISSES_MAX = 3
"""Silences in a row of a worker whose node answers; from afar a busy worker cannot be told from one that hangs."""

STATISTICS_LIMIT_S = 1.8
MKDIR_LIMIT_S = 10.0
MKDIR_PAUSE_S = 0.1
PORT_ATTEMPTS_MAX = 50
CANNOT_LISTEN = "crossbar.error.cannot_listen"
TRIAL_ID = "trial"
NOBODY = "nobody"
"""A role that no realm has."""

EVERYWHERE = ("", "0.0.0.0", "::")
OURS = re.compile(r"cp[0-9a-f]{32}_[0-9]+")
"""Identities of workers and of helpers that this driver starts."""

MADE = "directory-is-there"
MAKE_DIRECTORY = f'umask 077; mkdir -p "$0" && test -O "$0" && chmod 700 "$0" && echo {MADE} && exec sleep 60'
STALE_REASON = "a router behind it was started anew, and what it asks there itself is not answered any more"

log = Logger()


class Place(NamedTuple):
    """What the driver may use on the node's machine."""

    notes: Path
    """File of the master's own; kept over restarts."""

    sockets: str
    """Directory on the node's machine for unix sockets, for the node's user only."""

    address: str
    ports: tuple[int, int]
    cores: int


class Node(Protocol):
    """A session of the master with one node in view."""

    async def call(self, uri: str, *args: Any, timeout: float = CALL_LIMIT_S) -> Any:
        """Return the answer; see `ManagementSession`."""
        ...

    async def forward(self, uri: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], timeout: float) -> Any:
        """Return the answer to a call with keyword arguments; raises as `call` does."""
        ...


class EdgeDriver:
    """Runs router and proxy workers on a node without an agent; see `controlplane.drivers.driver.Driver`."""

    name = "router"

    def __init__(self, node: Node, prefix: str, clock: Clock, place: Place, taken: Callable[[], set[int]]) -> None:
        """`taken()` are ports that other nodes with the same address use."""
        self._node = node
        self._prefix = prefix
        self._clock = clock
        self._place = place
        self._taken = taken
        self._notes = EdgeNotes(place.notes)
        session: ManagementSession = node
        self._workers = Workers(session, prefix, clock)
        self._running: dict[Oid, EdgeWorker] = {}
        self._stale: set[Oid] = set()
        """Workers that serve until another process has taken over."""

        self._renewed: set[str] = set()
        """Sockets of routers that have died: who had sessions there has lost them."""

        self._misses: dict[str, int] = {}
        self._slots = DeferredSemaphore(max(1, place.cores))
        self._trials = DeferredLock()
        self._watching: Deferred[None] | None = None

    @property
    def ports(self) -> set[int]:
        """The ports that clusters have on this node."""
        return set(self._notes.ports.values())

    async def open(self, lost: Callable[[Oid, str], None]) -> Mapping[Oid, Unit]:
        """Make ready and adopt what runs; see `Driver`."""
        self._lost = lost
        await self._make_directory()
        noted = {worker.worker_id: worker for worker in self._notes.workers.values()}
        for worker_id in await self._workers.list():
            worker = noted.get(worker_id)
            if worker is not None and await self._is_as_noted(worker):
                self._running[worker.unit.oid] = worker
            elif OURS.fullmatch(worker_id):
                log.warn("worker {worker_id} is incomplete or unknown and is ended", worker_id=worker_id)
                await self._kill(worker_id)
        for oid in list(self._notes.workers):
            if oid not in self._running:
                self._forget(self._notes.workers[oid])
        self._watching = ensureDeferred(self._watch())
        self._watching.addErrback(_ended)
        return {oid: worker.unit for oid, worker in self._running.items()}

    async def start(self, spec: WorkerSpec) -> Unit:
        """Make the worker run with this configuration; see `Driver`."""
        config = plans.read_config(spec.config)
        if isinstance(config, Backend) and str(Path(config.socket).parent) != self._place.sockets:
            raise WorkerFailed(f"the unix socket {config.socket} is not in {self._place.sockets}")
        unit = self.find(spec.oid)
        if unit is not None and unit.digest == spec.digest:
            return unit
        await self._slots.acquire()
        try:
            return await self._bring_up(spec, config)
        finally:
            self._slots.release()

    def find(self, oid: Oid) -> Unit | None:
        """Return what runs of a worker now."""
        worker = self._running.get(oid)
        return worker.unit if worker is not None and oid not in self._stale else None

    async def stop(self, oid: Oid) -> None:
        """Stop the worker and return when nothing of it is left; see `Driver`."""
        worker = self._retire(oid)
        if worker is not None:
            await self._end(worker.worker_id)

    async def statistics(self, oid: Oid) -> dict[str, Any]:
        """Return figures of a running worker; see `Driver`."""
        worker = self._running.get(oid)
        if worker is None:
            raise WorkerFailed("the worker does not run")
        realms = {plans.realm_id(index): name for index, name in enumerate(worker.unit.realms)}
        asked = ensureDeferred(self._workers.statistics(worker.worker_id, worker.kind, realms))
        found: dict[str, Any] = await limit(self._clock, asked, STATISTICS_LIMIT_S, "the worker")
        return {"kind": worker.kind, **found}

    async def forward(self, procedure: str, args: Sequence[Any], kwargs: Mapping[str, Any], timeout: float) -> Any:
        """Call a management procedure of the node by the part of its name that comes after the node's prefix."""
        return await self._node.forward(self._prefix + procedure, tuple(args), kwargs, timeout)

    async def close(self, keep: bool) -> None:
        """Let go of everything; see `Driver`."""
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None
        if not keep:
            for oid in list(self._running):
                await self.stop(oid)

    # Starting

    async def _bring_up(self, spec: WorkerSpec, config: Backend | Frontend) -> Unit:
        """Start a process and have it serve in the place of the one that does so now."""
        kind = "router" if isinstance(config, Backend) else "proxy"
        worker_id = f"cp{spec.oid.hex}_{self._notes.next_start()}"
        port: int | None = None
        addresses: tuple[Address, ...] = ()
        try:
            described = await self._workers.start(worker_id, kind)
            if isinstance(config, Backend):
                plan: Plan = plans.plan_router(config)
                await self._workers.prepare(worker_id, plan)
                # Two routers cannot have the same socket.
                await self.stop(spec.oid)
                await self._workers.listen(worker_id, plan)
            else:
                port, addresses = await self._open_frontend(worker_id, config)
        except Exception:
            await self._kill(worker_id)
            raise
        old = self._retire(spec.oid)
        worker = edge_worker(spec, config, worker_id, described, port, addresses)
        self._running[spec.oid] = worker
        self._notes.note(worker)
        if old is not None:
            await self._end(old.worker_id)
        self._unsettle(worker.socket)
        return worker.unit

    async def _open_frontend(self, worker_id: str, config: Frontend) -> tuple[int, tuple[Address, ...]]:
        """Set a proxy worker up and have it listen on the port of its cluster."""
        wanted = plans.wanted_interface(config, self._place.address)
        host = self._place.address if wanted in EVERYWHERE else wanted
        listening = {worker.port for worker in self._running.values() if worker.cluster == config.cluster}
        prepared = False
        refusal = WorkerFailed(
            f"no port from {self._place.ports[0]} to {self._place.ports[1]} is free on this node",
            next_step="let nodes without an agent use more ports",
        )
        for port in self._candidates(config):
            plan = plans.plan_proxy(config, wanted, port)
            if not prepared:
                await self._workers.prepare(worker_id, plan)
                prepared = True
            try:
                if port not in listening:
                    await self._try_port(config.cluster, plan)
                await self._workers.listen(worker_id, plan)
            except WorkerFailed as problem:
                if (problem.subject or {}).get("error") != CANNOT_LISTEN or plans.wanted_port(config):
                    raise
                refusal = problem
            else:
                return port, plans.addresses(config, host, port)
        raise refusal

    async def _try_port(self, cluster: str, plan: ProxyPlan) -> None:
        """Listen alone for a moment: a socket that lets others share its port would find room beside a stranger.

        A router of the cluster does it, because a proxy cannot stop to listen (Crossbar.io 26.10.1).
        """
        routers = (each for each in self._running.values() if each.cluster == cluster and each.kind == "router")
        router = next(routers, None)
        if router is None:
            return
        endpoint = {key: value for key, value in plan.transport["endpoint"].items() if key not in ("shared", "tls")}
        alone = {
            "type": "rawsocket",
            "serializers": ["cbor"],
            "endpoint": endpoint,
            "auth": {"anonymous": {"type": "static", "role": NOBODY}},
        }
        name = f"{self._prefix}worker.{router.worker_id}."
        async with self._trials:
            try:
                await self._node.call(name + "start_router_transport", TRIAL_ID, alone)
                await self._node.call(name + "stop_router_transport", TRIAL_ID)
            except ApplicationError as problem:
                raise WorkerFailed(
                    f"port {endpoint['port']} of this node cannot be used: another program listens there",
                    subject={"type": "port", "error": problem.error},
                ) from None

    def _candidates(self, config: Frontend) -> Iterator[int]:
        wanted = plans.wanted_port(config)
        if wanted is not None:
            yield wanted
            return
        had = self._notes.ports.get(config.cluster)
        if had is not None:
            yield had
        others = set(self._notes.ports.values()) | self._taken()
        first, last = self._place.ports
        free = (port for port in range(first, last + 1) if port not in others)
        yield from (port for port, _ in zip(free, range(PORT_ATTEMPTS_MAX), strict=False))

    async def _make_directory(self) -> None:
        """Have the node make the directory for sockets: Crossbar.io lets everybody connect to the sockets themselves.

        A guest worker makes it, says so in its log, and is stopped.
        """
        helper = f"cp{0:032x}_{self._notes.next_start()}"
        guest = {
            "type": "guest",
            "executable": "/bin/sh",
            "arguments": ["-c", MAKE_DIRECTORY, self._place.sockets],
            "options": {"stdout": "log", "stderr": "log"},
        }
        try:
            await self._node.call(self._prefix + "start_worker", helper, "guest", guest)
            end = self._clock.seconds() + MKDIR_LIMIT_S
            while self._clock.seconds() < end:
                said = await self._node.call(self._prefix + "get_worker_log", helper)
                if any(MADE in str(line) for line in said):
                    await self._node.call(self._prefix + "stop_worker", helper)
                    return
                await sleep(self._clock, MKDIR_PAUSE_S)
        except ApplicationError as problem:
            raise WorkerFailed(f"the directory {self._place.sockets} could not be made: {problem}") from None
        raise WorkerFailed(f"the directory {self._place.sockets} was not made within {MKDIR_LIMIT_S:g} s")

    def _unsettle(self, socket: str | None) -> None:
        """Have proxies replaced that had sessions of their own at a router that was started anew."""
        if socket not in self._renewed:
            return
        self._renewed.discard(socket)
        for oid, worker in list(self._running.items()):
            if socket in worker.leans_on and oid not in self._stale:
                self._stale.add(oid)
                self._lost(oid, STALE_REASON)

    # Ending

    def _retire(self, oid: Oid) -> EdgeWorker | None:
        """Count on what serves of a worker no more."""
        worker = self._running.pop(oid, None)
        if worker is not None:
            self._forget(worker)
        return worker

    def _forget(self, worker: EdgeWorker) -> None:
        self._notes.cross_out(worker.unit.oid)
        self._stale.discard(worker.unit.oid)
        self._misses.pop(worker.worker_id, None)
        if worker.socket is not None:
            self._renewed.add(worker.socket)

    async def _end(self, worker_id: str) -> None:
        """Stop a process in order, by force if need be."""
        try:
            await self._workers.stop(worker_id)
        except (WorkerFailed, NoAnswer):
            await self._kill(worker_id)

    async def _kill(self, worker_id: str) -> None:
        """End a process at once; one that is gone, with its node or alone, is no error."""
        try:
            await self._node.call(f"{self._prefix}stop_worker", worker_id, True)
        except (ApplicationError, NoAnswer) as problem:
            log.debug("worker {worker_id} was not killed: {problem}", worker_id=worker_id, problem=str(problem))

    # Looking

    async def _is_as_noted(self, worker: EdgeWorker) -> bool:
        try:
            described = await self._workers.describe(worker.worker_id)
            if described is None or (described.pid, described.started) != (worker.unit.pid, worker.process_started):
                return False
            return await self._workers.is_complete(worker.worker_id, worker.kind)
        except (WorkerFailed, NoAnswer):
            return False

    async def _watch(self) -> None:
        while True:
            await sleep(self._clock, LOOK_EVERY_S)
            before = list(self._running.values())
            try:
                listed = set(await self._workers.list())
            except (WorkerFailed, NoAnswer):
                continue  # The node is silent: that is for the router to notice, and says nothing of its workers.
            for worker in before:
                if worker.worker_id not in listed:
                    self._gone(worker, "its process ended")
            await DeferredList([ensureDeferred(self._ask(worker)) for worker in before if worker.worker_id in listed])

    async def _ask(self, worker: EdgeWorker) -> None:
        worker_id = worker.worker_id
        try:
            await self._workers.ask(worker_id, ANSWER_LIMIT_S)
        except NoAnswer:
            self._misses[worker_id] = self._misses.get(worker_id, 0) + 1
        except ApplicationError:
            return  # It has just ended, and will not be listed next time.
        else:
            self._misses.pop(worker_id, None)
        if self._misses.get(worker_id, 0) >= MISSES_MAX:
            await self._kill(worker_id)
            self._gone(worker, f"did not answer {MISSES_MAX} times in a row and was killed")

    def _gone(self, worker: EdgeWorker, reason: str) -> None:
        """Take note that a process is gone that nobody stopped."""
        oid = worker.unit.oid
        if self._running.get(oid) is worker:
            stale = oid in self._stale
            self._retire(oid)
            if not stale:
                self._lost(oid, reason)


def _ended(failure: Any) -> None:
    if not failure.check(CancelledError):
        log.failure("looking at the workers of a node came to an end", failure)
