"""An edge machine: its agent can die and its workers live on; without power both are gone."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred

from controlplane.agent.agent import Agent
from controlplane.agent.notebook import Notebook
from controlplane.drivers.driver import Unit
from controlplane.errors import CannotAdopt, Problem, WorkerFailed
from controlplane.records.nodes import NodeFacts
from controlplane.records.types import NANOSECONDS, Oid, from_bytes, to_bytes
from controlplane.records.workers import Address, Assignment, Findings, WorkerSpec
from tests.simulation.clock import Killed, ProcessClock
from tests.simulation.lines import Line, Session

if TYPE_CHECKING:
    from tests.simulation.world import World

RECONNECT_PAUSE_MIN_S, RECONNECT_PAUSE_MAX_S = 0.1, 1.0
"""How soon an agent connects again. `controlplane.connection` does that with sockets, which are not simulated: its own
pauses are measured against real ones."""

BROKEN, MORTAL, SLOW = "--broken", "--mortal", "--slow"
"""In the command of a process: how it behaves while its world is ailing."""

SLOW_S = 6.0


class Temper(msgspec.Struct):
    """How workers behave; probabilities are per start."""

    start_min_s: float = 0.05
    start_max_s: float = 0.05
    stop_s: float = 0.01
    fails: float = 0.0
    dies: float = 0.0
    """How many die soon after they began to serve."""

    outlives: float = 0.0
    """How many of the workers that are being started when their agent is killed come up all the same."""


class Machine:
    """An edge machine."""

    def __init__(self, world: "World", number: int, facts: dict[str, Any]) -> None:
        self.world = world
        self.name = f"node{number}"
        self.pubkey = f"{number:064x}"
        self.oid: Oid | None = None
        self.line = Line()
        self.wall_offset_ns = 0
        self.temper = Temper()
        self.start_takes_s: float | None = None
        """How long every start takes; None for what the temper says."""

        self.directory = MemoryNotebook(self)
        self.units: dict[Oid, Unit] = {}
        self.figures: Callable[[Oid], dict[str, Any]] = lambda _oid: {}
        """What a driver says that a worker uses."""

        self.kinds: dict[Oid, str] = {}
        """Which driver started a worker."""

        self.wild: dict[str, dict[str, Any]] = {}
        """What runs without being a worker, by its pid: the properties that a profile of it would have."""

        self.starts: list[Oid] = []
        self.broken: dict[str, str] = {}
        self.operated: defaultdict[Oid, list[str]] = defaultdict(list)
        """What was done to workers while they ran."""

        self.operations_take_s = 0.05
        self.refuses: str | None = None
        """Why no operation succeeds."""

        self.lease: float | None = None
        """When its agent last heard of the master, as it is on the disk."""

        self.bad_pages: set[str] = set()
        """Words in URLs of pages that are not good."""

        self.sick: dict[tuple[Oid, int], str | None] = {}
        """Workers that run and are not well when somebody looks, and why; None for a look without an end."""

        self.busy: Counter[Oid] = Counter()
        """Calls to drivers under way, by worker; more than one is a defect."""

        self.facts = NodeFacts(
            **{
                "version": "0",
                "machine": "here",
                "address": "127.0.0.1",
                "sockets": f"/run/{self.name}",
                "drivers": ("router", "process"),
                "ports": (10000, 10099),
                **facts,
            }
        )
        self.agent: Agent | None = None
        self.driver: PlayedDriver | None = None
        self.session: Session | None = None
        self.clock = ProcessClock(world.clock)
        self._away = False
        self._tries = 0

    # The agent

    def start_agent(self) -> None:
        """Start the agent; it connects by itself."""
        self.clock = ProcessClock(self.world.clock, self.wall_offset_ns)
        self.driver = PlayedDriver(self, self.clock)
        self.busy.clear()
        self.agent = Agent(
            self.clock,
            self.world.chance(self.clock),
            self.facts,
            {"router": self.driver, "process": ProcessDriver(self, self.clock)},
            self.directory,
            PlayedLeases(self),
        )
        self.agent.poll = self._poll
        self.world.note(f"{self.name} starts its agent")
        ensureDeferred(self.agent.open())
        if not self.clock.dead:
            self.connect()

    def kill_agent(self) -> None:
        """As kill -9 does: the workers stay."""
        if self.agent is None:
            return
        self.world.note(f"{self.name} loses its agent")
        self.clock.kill()
        self.agent = None
        self.world.observer.agent_died(self)
        session, self.session = self.session, None
        if session is not None:
            session.open, session._waiting = False, []
            self.world.network.close_at_agent(session)

    def end_agent(self) -> None:
        """As SIGTERM does, for a restart that keeps the workers."""
        if self.agent is not None:
            ensureDeferred(self.agent.close(keep=True))
            self.kill_agent()

    def power_cut(self) -> None:
        """Everything on the machine ends; what the notebook wrote is on the disk."""
        self.kill_agent()
        for oid in list(self.units):
            self.world.note(f"{self.name} loses worker {oid}")
        self.units.clear()

    def reboot(self) -> None:
        """Start anew after a power cut."""
        boot = f"{self.facts.machine}"
        self.facts = msgspec.structs.replace(self.facts, machine=boot)
        self.start_agent()

    async def _poll(self, looks: Mapping[str, Any]) -> dict[str, Any]:
        """Ask for pages of workers; those that turned bad are told apart by what is in their URLs."""
        await _pause(self.world.clock, 0.01)
        bad = {oid for oid, look in looks.items() if any(word in look.url for word in self.bad_pages)}
        return {oid: {"well": oid not in bad, "reason": "status 500" if oid in bad else None} for oid in looks}

    # The connection

    def connect(self) -> None:
        """Have the agent connect, and again whenever its session is lost."""
        self._away = False
        self._tries = 0
        self._try()

    def disconnect(self, notice_after: float = 0.0) -> None:
        """End the session and connect no more; the master is told after so many seconds."""
        self._away = True
        session, self.session = self.session, None
        if session is not None:
            self.world.network.close_at_agent(session, notice_after)

    def lost(self, session: Session) -> None:
        """Connect again after a pause."""
        if session is self.session:
            pause = min(RECONNECT_PAUSE_MAX_S, RECONNECT_PAUSE_MIN_S * 2.0 ** min(self._tries, 10))
            self._tries += 1
            self.clock.callLater(pause * (0.5 + self.world.random.random()), self._try_again, session)

    def _try_again(self, session: Session) -> None:
        if session is self.session and not session.open:
            self._try()

    def _try(self) -> None:
        if self.agent is None or self.oid is None or self._away:
            return
        if self.session is None or not self.session.open:
            self.session = self.world.network.join(self)

    # The workers

    def kill_worker(self, oid: Oid | None, reason: str = "killed by signal 9") -> None:
        """A worker dies."""
        unit = self.units.pop(oid, None) if oid is not None else None
        if unit is None or oid is None:
            return
        self.world.note(f"{self.name} worker {oid} dies: {reason}")
        if self.agent is not None and self.driver is not None:
            self.clock.hand(self._tell_lost, self.driver, unit, reason)

    def _tell_lost(self, driver: "PlayedDriver", unit: Unit, reason: str) -> None:
        """Tell the agent of a worker that died, which may be later when the agent hangs: it counts what it hears."""
        self.world.observer.failed(self, unit.oid, unit.digest, (self.clock.now() - unit.started) / NANOSECONDS)
        driver.lost(unit.oid, reason)


class MemoryNotebook(Notebook):
    """A notebook on a disk in memory; the agent can be killed before and after it writes."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(Path("/nowhere"))
        self._machine = machine
        self._kept: bytes | None = None
        self.writes_left: int | None = None
        """After how many writes more the agent is killed; half of them are begun and not done."""

    def read(self) -> Assignment | None:
        return None if self._kept is None else from_bytes(self._kept, Assignment)

    def write(self, assignment: Assignment) -> None:
        if self.writes_left is None:
            self._kept = to_bytes(assignment)
            return
        self.writes_left -= 1
        if self.writes_left >= 0 or self._machine.world.random.random() < 0.5:
            self._kept = to_bytes(assignment)
        if self.writes_left < 0:
            self.writes_left = None
            self._machine.kill_agent()
            raise Killed


class PlayedLeases:
    """What an agent counts the time of its leases with, and its file; both outlive the agent."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._clock = machine.clock
        self._beating = False

    def elapsed(self) -> float:
        return self._machine.world.clock.seconds()

    def read(self) -> float | None:
        return self._machine.lease

    def write(self, contact: float) -> None:
        self._machine.lease = contact

    def beat(self, call: Callable[[], None]) -> None:
        if not self._beating:
            self._beating = True
            self._clock.callLater(1.0, self._beat, call)

    def _beat(self, call: Callable[[], None]) -> None:
        call()
        self._clock.callLater(1.0, self._beat, call)


class PlayedDriver:
    """Plays workers: they take their time to start, and die when the test says so."""

    name = "router"

    def __init__(self, machine: Machine, clock: ProcessClock) -> None:
        self._machine = machine
        self._clock = clock
        self._observer = machine.world.observer
        self.lost: Callable[[Oid, str], None] = lambda oid, reason: None

    async def open(self, lost: Callable[[Oid, str], None]) -> Mapping[Oid, Unit]:
        self.lost = lost
        kinds = self._machine.kinds
        return {oid: unit for oid, unit in self._machine.units.items() if kinds[oid] == self.name}

    async def start(self, spec: WorkerSpec) -> Unit:
        machine, world = self._machine, self._machine.world
        temper, random = machine.temper, world.random
        self._observer.starts(machine, spec)
        machine.busy[spec.oid] += 1
        takes = machine.start_takes_s
        if takes is None:
            takes = random.uniform(temper.start_min_s, temper.start_max_s)
        fails = temper.fails > 0 and random.random() < temper.fails
        takes += self._ails(spec, SLOW) * SLOW_S
        try:
            await _pause(world.clock, takes)
        except CancelledError:
            machine.busy[spec.oid] -= 1
            self._observer.start_ended(machine, spec.oid)
            raise
        if self._clock.dead:
            if temper.outlives and machine.agent is None and random.random() < temper.outlives:
                machine.units[spec.oid] = self._unit(spec)
                self._observer.started(machine, spec)
            await Deferred()  # The process that waited for this is gone.
        machine.starts.append(spec.oid)
        known = f"{spec.oid} {spec.config}" if machine.broken else ""
        reason = next((why for word, why in machine.broken.items() if word in known), None)
        if self._ails(spec, BROKEN):
            reason = "its profile is broken"
        if reason is None and fails:
            world.observer.injected("start failed")
            reason = "it did not come up"
        if reason is not None:
            await self._noticed()
            machine.busy[spec.oid] -= 1
            self._fail(spec, reason)
        replaced = spec.oid in machine.units
        unit = self._unit(spec)
        adopted = str((spec.config.get("adopts") or {}).get("pid"))
        if adopted in machine.wild and spec.oid not in machine.units:
            del machine.wild[adopted]
            unit = msgspec.structs.replace(unit, pid=int(adopted))
        machine.units[spec.oid] = unit
        world.note(f"{machine.name} runs worker {spec.oid} {spec.digest[:6]}")
        self._observer.started(machine, spec)
        if replaced:
            await _pause(world.clock, temper.stop_s)  # The former one ends only now; the new one may die meanwhile.
        await self._noticed()
        machine.busy[spec.oid] -= 1
        self._observer.start_ended(machine, spec.oid)
        if self._ails(spec, MORTAL) or (temper.dies and random.random() < temper.dies):
            world.observer.injected("worker died young")
            world.clock.callLater(random.random() * 2, self._die, spec.oid, unit)
        return unit

    def find(self, oid: Oid) -> Unit | None:
        return self._machine.units.get(oid)

    async def inspect(self, identity: str, _snapshot: bool) -> Findings:
        if identity not in self._machine.wild:
            raise CannotAdopt(f"there is no {identity}", problems=[Problem("$.identity", "does not run")])
        return Findings(properties=self._machine.wild[identity], adopts={"pid": identity})

    async def stop(self, oid: Oid) -> None:
        machine = self._machine
        self._observer.stops(machine, oid)
        machine.busy[oid] += 1
        await _pause(machine.world.clock, machine.temper.stop_s)
        if self._clock.dead:
            await Deferred()
        if machine.units.pop(oid, None) is not None:
            machine.world.note(f"{machine.name} stopped worker {oid}")
        await self._noticed()
        machine.busy[oid] -= 1
        self._observer.stop_ended(machine, oid)

    async def statistics(self, oid: Oid) -> dict[str, Any]:
        own = self._machine.figures(oid)
        return own or {"realms": {"app": {"sessions": 3, "messages": {"received": {"call": 7}, "sent": {"result": 7}}}}}

    async def check(self, oid: Oid) -> None:
        await _pause(self._machine.world.clock, 0.01)
        unit = self._machine.units.get(oid)
        if unit is not None and (oid, unit.started) in self._machine.sick:
            reason = self._machine.sick[oid, unit.started]
            if reason is None:
                await Deferred(lambda _: None)
            raise WorkerFailed(str(reason))

    async def close(self, keep: bool) -> None:
        if not keep:
            self._machine.units.clear()

    async def _noticed(self) -> None:
        """Return when the agent sees what has happened: after a stall, and after what happened before that.

        A driver that told an agent of a start while that stalled, and of the death of the former worker afterwards,
        though it came before, made it take the new one for dead.
        """
        if self._clock.dead or self._clock.lag():
            seen: Deferred[None] = Deferred()
            self._clock.hand(seen.callback, None)
            await seen

    def _unit(self, spec: WorkerSpec) -> Unit:
        machine = self._machine
        machine.kinds[spec.oid] = self.name
        return Unit(
            oid=spec.oid,
            digest=spec.digest,
            started=self._clock.now(),
            pid=1000 + len(machine.starts),
            realms=(),
            addresses=(Address(type="websocket", url=f"ws://{machine.name}:{10_000 + len(machine.starts)}/"),),
        )

    def _ails(self, spec: WorkerSpec, how: str) -> bool:
        """Say whether a worker's profile makes it behave in a bad way."""
        return False

    def _fail(self, spec: WorkerSpec, reason: str) -> None:
        self._machine.world.note(f"{self._machine.name} cannot start worker {spec.oid}: {reason}")
        self._observer.failed(self._machine, spec.oid, spec.digest, 0.0)
        self._observer.start_ended(self._machine, spec.oid)
        raise WorkerFailed(reason)

    def _die(self, oid: Oid, unit: Unit) -> None:
        if self._machine.units.get(oid) is unit and self._machine.world.ailing:
            self._machine.kill_worker(oid, "it died young")


class ProcessDriver(PlayedDriver):
    """Plays processes; those of bad profiles do not come up, come up late or die young while their world is ailing."""

    name = "process"

    def _ails(self, spec: WorkerSpec, how: str) -> bool:
        return self._machine.world.ailing and how in spec.config["properties"]["command"]

    async def logs(self, oid: Oid, lines: int, length: int) -> str:
        said = [f"started {self._machine.starts.count(oid)} times", *self._machine.operated[oid]]
        return "\n".join(said[-lines:])[-length:]

    async def operate(self, oid: Oid, operation: str, _parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out an operation; it is noted when it is done, and the agent may be killed before it can say so."""
        machine, world = self._machine, self._machine.world
        unit = machine.units.get(oid)
        if unit is None:
            raise WorkerFailed("the worker does not run")
        machine.busy[oid] += 1
        await _pause(world.clock, machine.operations_take_s)
        machine.operated[oid].append(operation)
        if self._clock.dead:
            await Deferred()
        machine.busy[oid] -= 1
        if machine.refuses is not None:
            raise WorkerFailed(machine.refuses)
        if operation == "restart":
            machine.starts.append(oid)
            machine.units[oid] = msgspec.structs.replace(
                unit, started=self._clock.now(), pid=1000 + len(machine.starts)
            )
        return {"times": len(machine.operated[oid])}


def _pause(clock: Any, seconds: float) -> Deferred[None]:
    done: Deferred[None] = Deferred()
    clock.callLater(seconds, done.callback, None)
    return done
