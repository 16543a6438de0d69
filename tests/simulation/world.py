"""A whole installation in one process: the real master and real agents on a clock that only the test turns.

Between them stands a network that can delay, drop, duplicate and cut. Machines outlive their agents, disks outlive the
master. Everything random comes from one seed, so a run can be repeated exactly.
"""

from collections.abc import Callable
from random import Random
from typing import Any
from uuid import UUID

from twisted.internet.defer import Deferred, ensureDeferred, fail

from controlplane.clock import Chance
from controlplane.errors import ControlPlaneError, NoAnswer
from controlplane.master.plane import PROCEDURES, Plane
from controlplane.records.principals import Caller, Principal
from controlplane.records.types import to_wire
from controlplane.store.catalog import PRINCIPALS
from tests.simulation.clock import ProcessClock, WorldClock
from tests.simulation.disk import Disk, Mounted
from tests.simulation.lines import Faults, decode, encode
from tests.simulation.machine import Machine
from tests.simulation.network import Network
from tests.simulation.observer import Observer
from tests.simulation.wire import Wire

STEPS_PER_INSTANT_MAX = 10_000
ADMIN = Caller(session=1, authid="admin", authrole="admin")
ADMIN_RECORD = Principal(oid=UUID(int=1), authid="admin", pubkey="ad" * 32, role="owner", created=0)
NAMES = {uri.rpartition(".")[2]: uri for uri in reversed(PROCEDURES) if uri.startswith("controlplane.")}


class Broken(AssertionError):
    """Something is so that must never be."""


class World:
    """Time, chance, the network, the master's disk, and the machines."""

    def __init__(self, seed: int = 0, nodes: int = 0, disk: Any = None, observer: Observer | None = None) -> None:
        self.random = Random(seed)
        self.clock = WorldClock()
        self.disk = Disk() if disk is None else disk
        self.observer = Observer() if observer is None else observer
        if isinstance(self.disk, Disk):
            self.disk.committed = self.observer.committed
        self.network = Network(self)
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.broken: list[str] = []
        """What was found to be wrong, by whoever looks on; time goes no further then."""

        self.plane: Plane | None = None
        self.machines: list[Machine] = []
        self.wall_offset_ns = 0
        self.ailing = True
        """Whether workers die young, and processes of bad profiles behave as bad as these say."""

        self._steps = 0
        self.start_master()
        for _ in range(nodes):
            self.add_machine()

    @property
    def faults(self) -> Faults:
        """How bad the network is."""
        return self.network.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self.network.faults = faults

    def chance(self, clock: ProcessClock) -> Chance:
        """Return what differs between two runs of a process, from the seed."""
        return Chance(clock.now, lambda: UUID(int=self.random.getrandbits(128), version=4), self.random.random)

    def note(self, line: str) -> None:
        """Write down that something happened."""
        self.observer.noted(line)

    # The master

    def start_master(self) -> None:
        """Start the master; it joins the router when there is one."""
        self.note("the master starts")
        clock = self.master_clock = ProcessClock(self.clock, self.wall_offset_ns)
        self.wire = Wire(self.network, clock)
        plane = Plane(Mounted(self.disk, clock), clock, self.chance(clock), self.wire)
        with plane.store.read() as view:
            installed = view.rows(PRINCIPALS).has(ADMIN_RECORD.oid)
        if not installed:
            plane.store.write_now(lambda change: change.rows(PRINCIPALS).put(ADMIN_RECORD))
        self.plane = plane
        plane.start()
        self.network.master_joined(plane, clock)

    def rejoin_master(self) -> None:
        """Have the master join a router that was away."""
        if self.plane is not None and self.network.master is None:
            self.network.master_joined(self.plane, self.master_clock)

    def kill_master(self) -> None:
        """As kill -9 does: what was committed is on the disk, the rest is gone."""
        if self.plane is None:
            return
        self.note("the master is gone")
        self.plane = None
        self.master_clock.kill()
        if isinstance(self.disk, Disk):
            self.disk.settle()
        self.observer.unheard()
        self.observer.cut_off()
        self.network.master_died()

    def end_master(self) -> None:
        """As SIGTERM does: what is under way is finished."""
        if self.plane is not None:
            ensureDeferred(self.plane.close())
            self.kill_master()

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
        if self.plane is None:
            return fail(NoAnswer("the master is away"))
        return ensureDeferred(self.plane.invoke(caller, full_name(verb), args, decode(encode(kwargs))))

    # The machines

    def add_machine(self, region: str | None = None, zone: str | None = None, **facts: Any) -> Machine:
        """Pair a machine and start its agent."""
        machine = Machine(self, len(self.machines), facts)
        self.machines.append(machine)
        paired = self.call("pair_node", pubkey=machine.pubkey, authid=machine.name, region=region, zone=zone)
        machine.oid = UUID(paired["oid"])
        machine.start_agent()
        return machine

    # Time

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.clock.now + seconds
        while self._step(end):
            pass
        self.clock.now = end

    def run_until(self, reached: Callable[[], bool], seconds: float) -> None:
        """Let time pass until something is so; fails when it is not within so many seconds."""
        end = self.clock.now + seconds
        while not reached():
            if not self._step(end):
                raise AssertionError(f"not reached within {seconds} s")

    def _step(self, end: float) -> bool:
        """Do what is due next; False when nothing is until then."""
        clock = self.clock
        before = clock.now
        if not clock.step(end):
            return False
        if clock.now > before:
            self._steps = 0
        else:
            self._steps += 1
            if self._steps > STEPS_PER_INSTANT_MAX:
                raise Broken(f"time stands still at {clock.now:.6f} s")
        if self.broken:
            raise Broken(self.broken[0])
        return True

    # Looking

    def wait_for_status(self, cluster: str, status: str, seconds: float = 30) -> None:
        """Let time pass until a cluster has a status."""
        self.run_until(lambda: self.call("get_routercluster", cluster)["status"] == status, seconds)

    def workers(self, cluster: str) -> list[dict[str, Any]]:
        """Return the workers of a cluster as callers see them."""
        oids = self.call("list_routercluster_workers", cluster)
        return [self.call("get_routercluster_worker", cluster, oid) for oid in oids]

    def topics(self) -> list[str]:
        """Return the last part of the names of all events so far."""
        return [topic.rpartition(".")[2].removeprefix("on_") for topic, _ in self.events]


def full_name(verb: str) -> str:
    """Return the name of a procedure, of which the last part may be given alone."""
    return verb if "." in verb else NAMES[verb]


__all__ = ["ADMIN", "Broken", "ControlPlaneError", "Faults", "Machine", "World", "full_name", "to_wire"]
