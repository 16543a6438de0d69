"""A whole installation in one process: the real master and real agents on a clock that only the test turns.

Between them stands a network that can delay, drop, duplicate and cut. Machines outlive their agents, disks outlive the
master. Everything random comes from one seed, so a run can be repeated exactly.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import msgspec
from twisted.internet.defer import Deferred, ensureDeferred, fail, succeed
from twisted.internet.task import Clock

from controlplane.agent.agent import Agent
from controlplane.agent.notebook import Notebook
from controlplane.clock import Chance, limit
from controlplane.drivers.driver import Unit
from controlplane.errors import ControlPlaneError, NoAnswer, WorkerFailed
from controlplane.master.plane import Plane
from controlplane.records.nodes import NodeFacts
from controlplane.records.principals import Caller, Principal
from controlplane.records.types import NANOSECONDS, Oid, to_wire
from controlplane.records.workers import Address, WorkerSpec
from controlplane.store.catalog import PRINCIPALS
from controlplane.store.memory import MemoryEngine

START_OF_TIME_NS = 1_700_000_000 * NANOSECONDS
STEPS_PER_INSTANT_MAX = 10_000
ADMIN = Caller(session=1, authid="admin", authrole="admin")
ADMIN_RECORD = Principal(oid=UUID(int=1), authid="admin", pubkey="ad" * 32, role="owner", created=0)


class Faults(msgspec.Struct):
    """How bad the network is; probabilities are per message."""

    delay_min_s: float = 0.0005
    delay_max_s: float = 0.0005
    drop: float = 0.0
    duplicate: float = 0.0


class ProcessClock:
    """The clock as one process sees it: when the process is killed, nothing that it had planned happens any more."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._planned: set[Any] = set()
        self._dead = False

    def seconds(self) -> float:
        return self._clock.seconds()

    def callLater(self, delay: float, call: Callable[..., Any], *args: Any) -> Any:  # noqa: N802
        def run() -> None:
            self._planned.discard(planned)
            call(*args)

        planned = self._clock.callLater(delay, run)
        if self._dead:
            planned.cancel()
        else:
            self._planned.add(planned)
        return planned

    def kill(self) -> None:
        self._dead = True
        for planned in self._planned:
            if planned.active():
                planned.cancel()
        self._planned.clear()


class World:
    """Time, chance, the network, the master's disk, and the machines."""

    def __init__(self, seed: int = 0, nodes: int = 0, disk: Any = None) -> None:
        self.random = Random(seed)
        self.clock = Clock()
        self.faults = Faults()
        self.disk = MemoryEngine() if disk is None else disk
        self.network = Network(self)
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.plane: Plane | None = None
        self.machines: list[Machine] = []
        self._steps = 0
        self.start_master()
        for _ in range(nodes):
            self.add_machine()

    def chance(self) -> Chance:
        """Return what differs between two runs, from the seed."""
        return Chance(self.now, lambda: UUID(int=self.random.getrandbits(128), version=4), self.random.random)

    def now(self) -> int:
        return START_OF_TIME_NS + int(self.clock.seconds() * NANOSECONDS)

    # The master

    def start_master(self) -> None:
        self.master_clock = ProcessClock(self.clock)
        self.plane = Plane(self.disk, self.master_clock, self.chance(), self.network)
        self.plane.store.write_now(lambda change: change.rows(PRINCIPALS).put(ADMIN_RECORD))
        self.plane.start()
        self.plane.uplinks.joined()

    def kill_master(self) -> None:
        """As kill -9 does: what was committed is on the disk, the rest is gone."""
        self.plane = None
        self.master_clock.kill()
        self.network.forget_master()

    def call(self, verb: str, *args: Any, **kwargs: Any) -> Any:
        """Call a procedure as an administrator, and wait for the answer."""
        answer = self.ask(verb, *args, **kwargs)
        self.run_until(lambda: answer.called, 20)
        result: list[Any] = []
        answer.addBoth(result.append)
        if not result:
            raise NoAnswer(f"{verb} was not answered")
        if hasattr(result[0], "raiseException"):
            result[0].raiseException()
        return result[0]

    def ask(self, verb: str, *args: Any, caller: Caller = ADMIN, **kwargs: Any) -> Deferred[Any]:
        """Call a procedure, and return at once."""
        uri = verb if "." in verb else full_name(verb)
        if self.plane is None:
            return fail(NoAnswer("the master is away"))
        return ensureDeferred(self.plane.invoke(caller, uri, args, _over_the_wire(kwargs)))

    # The machines

    def add_machine(self, **facts: Any) -> "Machine":
        machine = Machine(self, len(self.machines), facts)
        self.machines.append(machine)
        machine.oid = UUID(self.call("pair_node", pubkey=machine.pubkey, authid=machine.name)["oid"])
        machine.start_agent()
        return machine

    # Time

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.clock.seconds() + seconds
        while (due := self._next_due()) is not None and due <= end:
            self._advance_to(due)
        self._advance_to(end)

    def run_until(self, reached: Callable[[], bool], seconds: float) -> None:
        """Let time pass until something is so; fails when it is not within so many seconds."""
        end = self.clock.seconds() + seconds
        while not reached():
            due = self._next_due()
            if due is None or due > end:
                raise AssertionError(f"not reached within {seconds} s")
            self._advance_to(due)

    def _next_due(self) -> float | None:
        return min((call.getTime() for call in self.clock.getDelayedCalls()), default=None)

    def _advance_to(self, instant: float) -> None:
        """Turn the clock to an instant exactly: a sum of differences could fall short of it for ever."""
        self._steps = self._steps + 1 if instant <= self.clock.rightNow else 0
        if self._steps > STEPS_PER_INSTANT_MAX:
            raise AssertionError(f"time stands still: {[call.func for call in self.clock.getDelayedCalls()][:5]}")
        self.clock.rightNow = max(self.clock.rightNow, instant)
        self.clock.advance(0)

    def wait_for_status(self, cluster: str, status: str, seconds: float = 30) -> None:
        self.run_until(lambda: self.call("get_routercluster", cluster)["status"] == status, seconds)

    def workers(self, cluster: str) -> list[dict[str, Any]]:
        oids = self.call("list_routercluster_workers", cluster)
        return [self.call("get_routercluster_worker", cluster, oid) for oid in oids]

    def topics(self) -> list[str]:
        """Return the last part of the names of all events so far."""
        return [topic.rpartition(".")[2].removeprefix("on_") for topic, _ in self.events]


def full_name(verb: str) -> str:
    from controlplane.master.plane import PROCEDURES

    return next(uri for uri in PROCEDURES if uri.startswith("controlplane.") and uri.endswith("." + verb))


def _over_the_wire(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


class Network:
    """Carries messages between the master and the agents, as a router would, and fails as it is told to."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._sessions: dict[int, Session] = {}
        self._next_session = 100

    def join(self, agent: Agent, authid: str) -> "Session":
        """Give an agent a session."""
        self._next_session += 1
        session = Session(self, self._next_session, agent, authid)
        self._sessions[session.id] = session
        # A login that is lost is tried again by the connection; here it arrives.
        delay = self._world.random.uniform(self._world.faults.delay_min_s, self._world.faults.delay_max_s)
        self._world.clock.callLater(delay, lambda: agent.joined(session) if session.open else None)
        return session

    def leave(self, session: "Session", notice_after: float = 0.0) -> None:
        """End a session; the master is told after a while."""
        if self._sessions.pop(session.id, None) is None:
            return
        session.open = False
        session.break_off("the line was lost")
        session.agent.left()
        plane = self._world.plane
        self._world.clock.callLater(
            notice_after,
            lambda: plane.uplinks.session_left(session.id) if plane is self._world.plane and plane else None,
        )

    def forget_master(self) -> None:
        """Break off what the master was doing for its callers."""
        for session in self._sessions.values():
            session.break_off("the callee is gone")

    def later(self, deliver: Callable[[], Any]) -> None:
        """Deliver a message, if the network is kind."""
        faults, random = self._world.faults, self._world.random
        for _ in range(1 + (random.random() < faults.duplicate)):
            if random.random() >= faults.drop:
                self._world.clock.callLater(random.uniform(faults.delay_min_s, faults.delay_max_s), deliver)

    # What the master sends

    def publish(self, topics: tuple[str, ...], payload: Mapping[str, Any]) -> None:
        self._world.events.append((topics[0], dict(payload)))

    def send(self, topic: str, session: int, payload: Mapping[str, Any]) -> None:
        found = self._sessions.get(session)
        if found is not None:
            wire = _over_the_wire(payload)
            self.later(lambda: found.agent.heard(topic, wire) if found.open else None)

    def tell(self, topic: str, *arguments: Any) -> None:
        """Nobody in the simulation listens to events in Crossbar.io's form."""

    def announce(self, topic: str, payload: Mapping[str, Any]) -> None:
        for session in list(self._sessions.values()):
            self.send(topic, session.id, payload)

    def kill(self, session: int, reason: str) -> None:
        found = self._sessions.get(session)
        if found is not None:
            self.later(lambda: self.leave(found))

    # What agents send

    def carry(self, session: "Session", uri: str, arguments: Mapping[str, Any], answer: Deferred[Any]) -> None:
        """Carry a call to the master and its answer back."""
        wire = _over_the_wire(arguments)
        plane = self._world.plane

        def arrive() -> None:
            if self._world.plane is None or not session.open:
                self.later(lambda: answer.called or answer.errback(NoAnswer("the master is away")))
                return
            caller = Caller(session=session.id, authid=session.authid, authrole="agent")
            result = ensureDeferred(self._world.plane.invoke(caller, uri, (), wire))
            result.addBoth(lambda value: self.later(lambda: give(value)) if self._world.plane is plane else None)

        def give(value: Any) -> None:
            if not answer.called and session.open:
                answer.callback(_over_the_wire(value) if not hasattr(value, "raiseException") else value)

        self.later(arrive)


class Session:
    """An agent's link."""

    def __init__(self, network: Network, number: int, agent: Agent, authid: str) -> None:
        self._network = network
        self.id = number
        self.agent = agent
        self.authid = authid
        self.open = True
        self._waiting: list[Deferred[Any]] = []

    def call(self, uri: str, within: float, **arguments: Any) -> Deferred[Any]:
        answer: Deferred[Any] = Deferred()
        self._waiting = [waiting for waiting in self._waiting if not waiting.called]
        self._waiting.append(answer)
        self._network.carry(self, uri, arguments, answer)
        return limit(self._network._world.clock, answer, within, uri)

    def break_off(self, reason: str) -> None:
        """Fail what waits for an answer that cannot come any more."""
        waiting, self._waiting = self._waiting, []
        for answer in waiting:
            if not answer.called:
                answer.errback(NoAnswer(reason))


class Machine:
    """An edge machine: its agent can die, its workers live on."""

    def __init__(self, world: World, number: int, facts: dict[str, Any]) -> None:
        self.world = world
        self.name = f"node{number}"
        self.pubkey = f"{number:064x}"
        self.oid: Oid | None = None
        self.directory = MemoryDirectory()
        self.units: dict[Oid, Unit] = {}
        self.starts: list[Oid] = []
        self.start_takes_s = 0.05
        self.broken: dict[str, str] = {}
        self.facts = NodeFacts(
            **{
                "version": "0",
                "machine": "here",
                "address": "127.0.0.1",
                "sockets": f"/run/{self.name}",
                "drivers": ("router",),
                "ports": (10000, 10099),
                **facts,
            }
        )
        self.agent: Agent | None = None
        self.driver: PlayedDriver | None = None
        self.session: Session | None = None

    def start_agent(self) -> None:
        self.driver = PlayedDriver(self)
        self.clock = ProcessClock(self.world.clock)
        agent = Agent(
            self.clock,
            self.world.chance(),
            self.facts,
            {"router": self.driver},
            self.directory,  # type: ignore[arg-type]
        )
        self.agent = agent
        ensureDeferred(agent.open())
        self.connect()

    def connect(self) -> None:
        if self.agent is not None and self.session is None and self.oid is not None:
            self.session = self.world.network.join(self.agent, str(self.oid))

    def disconnect(self, notice_after: float = 0.0) -> None:
        """Cut the line."""
        if self.session is not None:
            self.world.network.leave(self.session, notice_after)
            self.session = None

    def kill_agent(self) -> None:
        """As kill -9 does: the workers stay."""
        if self.driver is not None:
            self.driver.dead = True
        self.clock.kill()
        self.agent = None
        self.disconnect()

    def kill_worker(self, oid: Oid, reason: str = "killed by signal 9") -> None:
        """A worker dies."""
        if self.units.pop(oid, None) is not None and self.driver is not None and not self.driver.dead:
            self.driver.lost(oid, reason)


class MemoryDirectory(Notebook):
    """A notebook on a disk in memory."""

    def __init__(self) -> None:
        super().__init__(Path("/nowhere"))
        self._kept: Any = None

    def read(self) -> Any:
        return self._kept

    def write(self, assignment: Any) -> None:
        self._kept = assignment


class PlayedDriver:
    """Plays workers: they take their time to start, and die when the test says so."""

    name = "router"

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.dead = False
        self.lost: Callable[[Oid, str], None] = lambda oid, reason: None

    async def open(self, lost: Callable[[Oid, str], None]) -> Mapping[Oid, Unit]:
        self.lost = lost
        return dict(self._machine.units)

    async def start(self, spec: WorkerSpec) -> Unit:
        machine = self._machine
        await _pause(machine.world.clock, machine.start_takes_s)
        if self.dead:
            await Deferred()  # The process that waited for this is gone.
        machine.starts.append(spec.oid)
        for word, reason in machine.broken.items():
            if word in str(spec.config) or word == str(spec.oid):
                raise WorkerFailed(reason)
        unit = Unit(
            oid=spec.oid,
            digest=spec.digest,
            started=machine.world.now(),
            pid=1000 + len(machine.starts),
            realms=(),
            addresses=(Address(type="websocket", url=f"ws://{machine.name}/"),),
        )
        machine.units[spec.oid] = unit
        return unit

    def find(self, oid: Oid) -> Unit | None:
        return self._machine.units.get(oid)

    async def stop(self, oid: Oid) -> None:
        await _pause(self._machine.world.clock, 0.01)
        if self.dead:
            await Deferred()
        self._machine.units.pop(oid, None)

    async def statistics(self, oid: Oid) -> dict[str, Any]:
        return {"realms": {"app": {"sessions": 3, "messages": {"received": {"call": 7}, "sent": {"result": 7}}}}}

    async def close(self, keep: bool) -> None:
        if not keep:
            self._machine.units.clear()


def _pause(clock: Clock, seconds: float) -> Deferred[None]:
    done: Deferred[None] = Deferred()
    clock.callLater(seconds, done.callback, None)
    return done


__all__ = ["ADMIN", "ControlPlaneError", "Machine", "World", "succeed", "to_wire"]
