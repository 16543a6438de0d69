"""Everything that goes wrong: which kinds, how often and when, all from the seed; each run has a few kinds of it."""

from collections.abc import Callable

from controlplane.errors import StoreFailed
from controlplane.records.types import NANOSECONDS
from controlplane.store.database import renew_epoch
from tests.simulation.clock import ProcessClock
from tests.simulation.disk import Disk, Image, Point, no_bytes_more
from tests.simulation.lines import DOWN, UP, Faults
from tests.simulation.machine import Machine, Temper
from tests.simulation.witness import Witness
from tests.simulation.world import World

AWAY_MAX_S = 8.0
"""How long a killed process stays away, at most; longer and shorter than grace periods."""

STALL_MAX_S = 3.0
JUMP_MAX_S = 7200.0


class Chaos:
    """The faults of one run."""

    def __init__(self, world: World, witness: Witness, pause_s: float) -> None:
        self._world = world
        self._witness = witness
        self._random = world.random
        self._pause_s = pause_s
        self._over = False
        self._at_point: tuple[Point, bool] | None = None
        self.commit_fails_in = 0
        self._stall_s = 0.0
        self._image: Image | None = None
        self._router_away = 0
        self._wall_offset_ns = 0
        self.lost: set[str] = set()
        """Machines that never come back, by name."""

        self._disk: Disk = world.disk
        self._disk.at = self._at
        kinds = self._kinds()
        chosen = [kind for kind in kinds if self._random.random() < 0.45]
        self._chosen: list[Callable[[], None]] = [kinds[kind] for kind in chosen or sorted(kinds)]
        self._names = {kinds[kind]: kind for kind in kinds}
        world.note(f"faults of this run: {', '.join(chosen)}")
        if self._random.random() < 0.5:
            self._make_tempers()
        self._plan()

    def _kinds(self) -> dict[str, Callable[[], None]]:
        return {
            "bad network": self._bad_network,
            "half-open link": self._half_open,
            "partition": self._partition,
            "session lost": self._lose_session,
            "agent killed": self._kill_agent,
            "agent killed as it writes": self._kill_agent_writing,
            "agent restarted in order": self._restart_agent,
            "agent stalled": self._stall_agent,
            "machine without power": self._cut_machine,
            "master killed": self._kill_master,
            "master killed in a commit": self._kill_master_committing,
            "master killed as it sends": self._kill_master_sending,
            "master restarted in order": self._restart_master,
            "master without power": self._cut_master,
            "slow disk": self._slow_disk,
            "full disk": self._full_disk,
            "failed commit": self._fail_commit,
            "router killed": self._kill_router,
            "clock jump": self._jump,
            "worker killed": self._kill_worker,
            "worker hanging": self._hang_worker,
            "worker crash loop": self._loop_worker,
            "backup restored": self._restore,
            "machine lost for good": self._lose_machine,
        }

    def _plan(self) -> None:
        self._world.clock.callLater(self._random.expovariate(1 / self._pause_s), self._strike)

    def _strike(self) -> None:
        if self._over:
            return
        self._plan()
        self._random.choice(self._chosen)()

    def end(self) -> None:
        """Let everything work again; only machines that are lost for good stay away."""
        world = self._world
        world.note("the faults are over")
        self._over = True
        world.ailing = False
        self._at_point, self._stall_s, self.commit_fails_in = None, 0.0, 0
        self._disk.bytes_max = None
        world.faults = Faults()
        world.wire.sends_left = None
        if not world.network.running:
            world.network.start_router()
        if world.plane is None:
            self.start_master()
        world.rejoin_master()
        world.master_clock.thaw()
        for machine in world.machines:
            machine.broken.clear()
            machine.temper = Temper()
            machine.directory.writes_left = None
            world.network.heal(machine)
            if machine.name in self.lost:
                continue
            machine.clock.thaw()
            if machine.agent is None:
                machine.start_agent()
            machine.connect()

    # Helpers

    def _note(self, kind: str, about: str = "") -> None:
        self._witness.injected(kind)
        self._world.note(f"FAULT {kind} {about}".rstrip())

    def _after(self, seconds: float, call: Callable[[], None]) -> None:
        """Do something later, unless the faults are over by then."""
        self._world.clock.callLater(seconds, lambda: None if self._over else call())

    def _pause(self) -> float:
        return self._random.random() ** 2 * AWAY_MAX_S

    def _machine(self) -> Machine:
        return self._random.choice(self._world.machines)

    # The network

    def _make_tempers(self) -> None:
        for machine in self._world.machines:
            machine.temper = Temper(
                start_min_s=0.01,
                start_max_s=self._random.choice([0.05, 0.3, 2.0]),
                stop_s=self._random.choice([0.01, 0.01, 0.5]),
                fails=self._random.choice([0.0, 0.0, 0.2]),
                dies=self._random.choice([0.0, 0.0, 0.1]),
                outlives=self._random.choice([0.0, 0.5]),
            )

    def _bad_network(self) -> None:
        random = self._random
        faults = Faults(
            delay_min_s=0.0005,
            delay_max_s=random.choice([0.001, 0.05, 0.5, 2.0]),
            drop=random.choice([0.0, 0.0, 0.1, 0.4]),
            duplicate=random.choice([0.0, 0.2]),
            reorder=random.choice([0.0, 0.3, 1.0]),
        )
        self._note("bad network", str(faults))
        self._world.faults = faults
        self._after(random.random() * 10, lambda: setattr(self._world, "faults", Faults()))

    def _half_open(self) -> None:
        machine, direction = self._machine(), self._random.choice([UP, DOWN])
        self._note("half-open link", f"{machine.name} {direction}")
        self._world.network.cut(machine, direction)
        self._after(self._random.random() * 15, lambda: self._world.network.heal(machine))

    def _partition(self) -> None:
        machines = [machine for machine in self._world.machines if self._random.random() < 0.4]
        self._note("partition", " ".join(machine.name for machine in machines))
        lasts = self._random.random() * 15
        for machine in machines:
            self._world.network.cut(machine, UP, DOWN)
            self._after(lasts, lambda machine=machine: self._world.network.heal(machine))  # type: ignore[misc]

    def _lose_session(self) -> None:
        machine = self._machine()
        if machine.session is not None and machine.session.open:
            self._note("session lost", machine.name)
            self._world.network.close_at_agent(machine.session, notice_after=self._random.random() * 4)
            machine.lost(machine.session)

    # Agents and machines

    def _kill_agent(self) -> None:
        machine = self._machine()
        if machine.agent is not None:
            self._note("agent killed", machine.name)
            machine.kill_agent()
            self._revive(machine)

    def _revive(self, machine: Machine) -> None:
        def start() -> None:
            if machine.agent is None and machine.name not in self.lost:
                machine.start_agent()

        self._after(self._pause(), start)

    def _kill_agent_writing(self) -> None:
        machine = self._machine()
        if machine.directory.writes_left is None:
            self._note("agent killed as it writes", machine.name)
            machine.directory.writes_left = self._random.randrange(2)
            self._watch(machine)

    def _watch(self, machine: Machine) -> None:
        """Start an agent again that is going to be killed at some time."""
        if machine.agent is None:
            self._revive(machine)
        elif machine.directory.writes_left is not None:
            self._after(1.0, lambda: self._watch(machine))

    def _restart_agent(self) -> None:
        machine = self._machine()
        if machine.agent is not None:
            self._note("agent restarted in order", machine.name)
            machine.end_agent()
            self._revive(machine)

    def _stall_agent(self) -> None:
        machine = self._machine()
        self._note("agent stalled", machine.name)
        machine.clock.freeze(self._random.random() * STALL_MAX_S)

    def _cut_machine(self) -> None:
        machine = self._machine()
        if machine.agent is not None:
            self._note("machine without power", machine.name)
            machine.power_cut()
            self._revive(machine)

    def _lose_machine(self) -> None:
        left = [machine for machine in self._world.machines if machine.name not in self.lost]
        if len(left) > 1 and self._random.random() < 0.2:
            machine = self._random.choice(left)
            self._note("machine lost for good", machine.name)
            self.lost.add(machine.name)
            machine.power_cut()

    # The master, its disk and its router

    def start_master(self) -> None:
        """Start the master again, unless it runs."""
        if self._world.plane is None:
            self._witness.recovered()
            if self._wall_offset_ns != self._world.wall_offset_ns:
                # How long nodes were silent is told by the wall clock, from one run of the master to the next.
                self._wall_offset_ns = self._world.wall_offset_ns
                self._witness.note_wall_jump()
            self._world.start_master()

    def _kill_master(self) -> None:
        if self._world.plane is not None:
            self._note("master killed")
            self._world.kill_master()
            self._after(self._pause(), self.start_master)

    def _kill_master_committing(self) -> None:
        if self._world.plane is not None and self._at_point is None:
            point = self._random.choice(list(Point))
            power = self._random.random() < 0.5
            self._note("master killed in a commit", f"{point.value}{', without power' if power else ''}")
            self._at_point = point, power

    def _fail_commit(self) -> None:
        """One of the next commits fails; often that is the monitor's, which follows what woke it at once."""
        self._note("failed commit")
        self.commit_fails_in = self._random.randrange(1, 5)

    def _at(self, point: Point) -> None:
        world = self._world
        if point is Point.BEFORE_COMMIT and self.commit_fails_in and world.plane is not None:
            self.commit_fails_in -= 1
            if not self.commit_fails_in:
                raise StoreFailed("the disk reports an error", next_step="try again")
        if self._at_point is not None and self._at_point[0] is point and world.plane is not None:
            power = self._at_point[1]
            self._at_point = None
            if power and point is not Point.BEFORE_COMMIT:
                self._disk.power_cut()
            world.kill_master()
            self._after(self._pause(), self.start_master)
            world.master_clock.die()
        if point is Point.AFTER_SYNC and self._stall_s and world.plane is not None:
            self._witness.injected("slow commit")
            world.master_clock.freeze(self._random.random() * self._stall_s)

    def _kill_master_sending(self) -> None:
        if self._world.plane is not None and self._world.wire.sends_left is None:
            self._note("master killed as it sends")
            self._world.wire.sends_left = self._random.randrange(8)
            self._watch_master()

    def _watch_master(self) -> None:
        if self._world.plane is None:
            self._after(self._pause(), self.start_master)
        elif self._world.wire.sends_left is not None:
            self._after(0.5, self._watch_master)

    def _restart_master(self) -> None:
        if self._world.plane is not None:
            self._note("master restarted in order")
            self._world.end_master()
            self._after(self._pause(), self.start_master)

    def _cut_master(self) -> None:
        """The master's machine, its router on it, loses its power."""
        if self._world.plane is not None:
            self._note("master without power")
            self._world.kill_master()
            self._disk.power_cut()
            self._stop_router()
            self._after(self._pause(), self.start_master)

    def _slow_disk(self) -> None:
        self._note("slow disk")
        self._stall_s = self._random.choice([0.05, 0.5, STALL_MAX_S])
        self._after(self._random.random() * 5, lambda: setattr(self, "_stall_s", 0.0))

    def _full_disk(self) -> None:
        self._note("full disk")
        no_bytes_more(self._disk)
        self._after(self._random.random() * 5, lambda: setattr(self._disk, "bytes_max", None))

    def _kill_router(self) -> None:
        self._note("router killed")
        self._stop_router()

    def _stop_router(self) -> None:
        self._router_away += 1
        which = self._router_away
        self._world.network.stop_router()

        def start() -> None:
            if which == self._router_away:
                self._world.network.start_router()
                self._after(self._random.random(), self._world.rejoin_master)

        self._after(self._random.random() * 4, start)

    def _restore(self) -> None:
        """Put a backup in the place of the store, as `controlplane restore` does."""
        if self._image is None:
            self._image = self._disk.image()
            self._world.note("a backup is made")
            return
        if self._random.random() < 0.5 or self._world.plane is None:
            return
        self._note("backup restored")
        self._world.kill_master()
        self._disk.bytes_max = None
        self._disk.load(self._image)
        self._image = None
        chance = self._world.chance(ProcessClock(self._world.clock))
        committed, self._disk.committed = self._disk.committed, lambda steps: None
        renew_epoch(self._disk, chance.new_oid())
        self._disk.committed = committed
        self._witness.restored()
        self._after(self._pause(), self.start_master)

    def _jump(self) -> None:
        jump = int(self._random.uniform(-JUMP_MAX_S, JUMP_MAX_S) * NANOSECONDS)
        machine = self._random.choice([None, *self._world.machines])
        self._note("clock jump", f"{machine.name if machine else 'master'} {jump}")
        if machine is None:
            self._world.wall_offset_ns += jump
        else:
            machine.wall_offset_ns += jump

    # Workers

    def _kill_worker(self) -> None:
        machine = self._machine()
        if machine.units:
            self._note("worker killed", machine.name)
            machine.kill_worker(self._random.choice(list(machine.units)))

    def _hang_worker(self) -> None:
        """A worker hangs: its driver notices after a while and kills it."""
        machine = self._machine()
        if machine.units:
            oid = self._random.choice(list(machine.units))
            self._note("worker hanging", machine.name)
            unit = machine.units[oid]

            def notice() -> None:
                if machine.units.get(oid) is unit and machine.agent is not None:
                    machine.kill_worker(oid, "it does not answer")

            self._after(self._random.random() * 3, notice)

    def _loop_worker(self) -> None:
        machine = self._machine()
        if machine.units:
            oid = self._random.choice(list(machine.units))
            self._note("worker crash loop", machine.name)
            machine.broken[str(oid)] = "it fails whenever it is started"
            machine.kill_worker(oid)
            self._after(self._random.random() * 20, lambda: machine.broken.pop(str(oid), None) and None)
