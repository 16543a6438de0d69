"""What is done to a plane that is calm: stories that chance tells too seldom, each with what has to come of it.

The promises are those of every run. What is told here is where a defect would hide: the second death of a worker that
ran well in between, an agent that starts while there is no master, a configuration that could not be stored, a message
that is lost and followed by no other one, a machine that dies just when it is back.
"""

from collections.abc import Callable

from controlplane.errors import StoreFailed
from controlplane.master.uplinks import SETTLE_S
from controlplane.store.catalog import TALLIES
from tests.simulation.chaos import Chaos
from tests.simulation.handling import HEALTHY_AFTER_S
from tests.simulation.lines import DOWN, UP
from tests.simulation.machine import Machine, Temper
from tests.simulation.mirror import Row, is_generic, occupies
from tests.simulation.network import JOIN_WITHIN_S, NOTICED_AFTER_MAX_S
from tests.simulation.witness import Witness
from tests.simulation.world import Broken, World

CONVERGED_WITHIN_S = 5.0
ALONE_S = 3.0
"""Within which a machine that starts without a master runs what it ran."""

FLAP_S = 2.0
REPLACED_S = 0.3
"""Within which a worker is replaced by another one that serves; the former one is ended in twice that time."""

LONG_GRACE_S, SHORT_GRACE_S = 60, 3


class Epilogue:
    """The stories, in order; `require` raises when the plane has not converged."""

    def __init__(self, world: World, witness: Witness, chaos: Chaos, require: Callable[[str], None]) -> None:
        self._world = world
        self._witness = witness
        self._mirror = witness.mirror
        self._chaos = chaos
        self._require = require
        self._last = ""
        self._last_group = ""

    def play(self) -> None:
        """Tell them all."""
        self._kill_the_healthy_twice()
        self._make_last_cluster()
        self._flap_a_line()
        self._start_alone()
        self._refuse_a_configuration()
        self._configure_all()
        self._kill_replacements()
        self._lose_assignments()
        self._return_late()
        self._lose_one_more()
        self._stop_all()
        self._delete_all()

    def _router_clusters(self) -> list[Row]:
        return [cluster for cluster in self._mirror.clusters.values() if not is_generic(cluster)]

    def _machines(self) -> list[Machine]:
        """Return the machines that work."""
        nodes, lost = self._mirror.nodes, self._chaos.lost
        return [m for m in self._world.machines if m.name not in lost and str(m.oid) in nodes]

    def _one_that_runs_something(self) -> Machine | None:
        found = [machine for machine in self._machines() if machine.units]
        return self._world.random.choice(found) if found else None

    def _kill_the_healthy_twice(self) -> None:
        """A worker that dies is back at once, as often as it ran well before; what was said earlier changes nothing."""
        chosen = [(m, self._world.random.choice(list(m.units))) for m in self._machines() if m.units]
        for when in ("a second after a healthy worker died", "a second after one died that had run well since"):
            said = [call for machine, _ in chosen for call in self._world.network.said(machine)]
            for machine, oid in chosen:
                machine.kill_worker(oid)
            self._world.run(1.0)
            self._require(when)
            for call in said:
                call()
            self._world.run(1.0)
            self._require("after what agents had said before was heard once more")
            self._world.run(HEALTHY_AFTER_S + 1.0)

    def _make_last_cluster(self) -> None:
        """Whatever users left behind, there is a cluster whose workers have to be replaced one by one."""
        world = self._world
        self._last = world.call("create_routercluster", {"name": "last", "grace_period": 1})["oid"]
        for node in self._mirror.nodes.values():
            if node["online"]:
                world.call("add_routercluster_node", self._last, node["oid"])
        self._last_group = world.call("add_routercluster_workergroup", self._last, {"scale": 4})["oid"]
        world.call("start_routercluster", self._last)
        world.run(CONVERGED_WITHIN_S)
        self._require("after a cluster was made and started")
        self._lower_a_limit()

    def _lower_a_limit(self) -> None:
        """A node may carry less than it does: the rest goes where there is room, or waits."""
        workers = [worker for worker in self._mirror.workers_of[self._last].values() if occupies(worker)]
        if workers:
            node = workers[0]["node_oid"]
            fewer = sum(worker["node_oid"] == node for worker in workers) - 1
            self._world.call("add_routercluster_node", self._last, node, {"hardlimit": fewer})
            self._world.run(CONVERGED_WITHIN_S)
            self._require("after a limit was lowered")

    def _flap_a_line(self) -> None:
        """A session is lost and another one begins while the master cannot look: it hears of both at once."""
        machines = self._machines()
        if not machines:
            return
        machine = self._world.random.choice(machines)
        self._world.master_clock.freeze(FLAP_S)
        machine.disconnect()
        self._world.run(0.5)
        machine.connect()
        self._world.run(FLAP_S + CONVERGED_WITHIN_S)
        self._require("after a line was lost and back while the master stalled")

    def _start_alone(self) -> None:
        """A machine that starts while there is no master runs what it ran."""
        machine = self._one_that_runs_something()
        if machine is None:
            return
        ran = {oid: unit.digest for oid, unit in machine.units.items()}
        self._world.kill_master()
        machine.power_cut()
        machine.start_agent()
        self._world.run(ALONE_S)
        if {oid: unit.digest for oid, unit in machine.units.items()} != ran:
            raise Broken(f"{machine.name} started without a master and does not run what it ran")
        self._chaos.start_master()
        self._world.run(CONVERGED_WITHIN_S)
        self._require("after a machine had started without a master")

    def _refuse_a_configuration(self) -> None:
        """A configuration cannot be stored: the next one takes its number, and must not be taken for it."""
        for cluster in self._router_clusters():
            self._chaos.commit_fails_in = 1
            try:
                self._update(cluster["oid"], cluster["name"], "refused")
            except StoreFailed:
                continue
            raise Broken("a change was acknowledged that could not be committed")

    def _configure_all(self) -> None:
        """Every cluster gets another configuration; on the way the disk fails, and what that interrupts is repeated."""
        for cluster in self._router_clusters():
            self._update(cluster["oid"], cluster["name"], "epilogue")
        self._chaos.commit_fails_in = self._world.random.randrange(1, 7)
        self._world.run(CONVERGED_WITHIN_S)
        self._chaos.commit_fails_in = 0
        self._require("after all clusters were given another configuration")
        self._witness.check_configurations()

    def _kill_replacements(self) -> None:
        """Workers die while those that they replace are still being ended: they are started again."""
        world, machines = self._world, self._machines()
        before = {machine.name: dict(machine.units) for machine in machines}
        for machine in machines:
            machine.temper.stop_s = 2 * REPLACED_S
        self._update(self._last, "last", "replaced")
        world.run(REPLACED_S)
        for machine in machines:
            machine.temper.stop_s = Temper().stop_s
            for oid, unit in before[machine.name].items():
                if machine.units.get(oid, unit) is not unit:
                    machine.kill_worker(oid)
        world.run(CONVERGED_WITHIN_S)
        self._require("after workers had died that had just replaced others")

    def _update(self, cluster: str, realm: str, role: str) -> None:
        roles = [{"name": name, "permissions": []} for name in ("anonymous", role)]
        self._world.call("update_routercluster", cluster, {"config": {"realms": [{"name": realm, "roles": roles}]}})

    def _lose_assignments(self) -> None:
        """What machines are told is lost, and nothing changes afterwards that they would be told instead."""
        self._world.network.lose_next.update(machine.name for machine in self._machines())
        self._world.call("scale_routercluster_workergroup", self._last, self._last_group, 6)
        self._world.run(CONVERGED_WITHIN_S)
        self._world.network.lose_next.clear()
        self._require("after assignments were lost")

    def _return_late(self) -> None:
        """A machine is cut off until its workers are elsewhere, and back: none of them survives that."""
        world, machine = self._world, self._one_that_runs_something()
        if machine is None or len(self._machines()) < 2:
            return
        world.network.cut(machine, UP, DOWN)
        world.run(NOTICED_AFTER_MAX_S + self._longest_grace() + CONVERGED_WITHIN_S)
        world.network.heal(machine)
        world.run(JOIN_WITHIN_S + CONVERGED_WITHIN_S)
        self._require("after a machine was back whose workers had gone elsewhere")

    def _lose_one_more(self) -> None:
        """A machine that works is lost: its workers are elsewhere once their grace period is over."""
        world, mine = self._world, self._machines()
        if len(mine) < 2:
            return
        machine = world.random.choice(mine)
        patience = CONVERGED_WITHIN_S
        match world.random.randrange(4):
            case 0:
                self._lose(machine)
            case 1:
                self._lose(machine, attaching=True)
            case 2:
                self._lose_with_a_cluster_of_its_own(machine)
            case _:
                # The next master does not find it, and waits for a while before it takes that for an absence.
                world.kill_master()
                self._lose(machine)
                self._chaos.start_master()
                patience += SETTLE_S
        world.run(1.0)
        self._chaos.commit_fails_in = 0
        world.run(self._longest_grace() + patience)
        self._require("after one more machine was lost")

    def _lose(self, machine: Machine, *, attaching: bool = False) -> None:
        if self._world.plane is not None:
            self._world.call("update_routercluster", self._last, {"grace_period": LONG_GRACE_S})
        if attaching:
            self._die_while_attaching(machine)
        self._world.note(f"{machine.name} is lost")
        self._chaos.lost.add(machine.name)
        machine.power_cut()
        self._chaos.commit_fails_in = self._world.random.randrange(1, 4)
        if self._world.plane is not None:
            self._world.run(1.0)
            self._chaos.commit_fails_in = 0
            # The grace period that runs ends sooner now: what was to be looked at later is looked at earlier.
            self._world.call("update_routercluster", self._last, {"grace_period": SHORT_GRACE_S})

    def _lose_with_a_cluster_of_its_own(self, machine: Machine) -> None:
        """Agents that attach to the next master have nothing to do with it, and its workers are waited for."""
        alone = self._make_cluster_on(machine)
        self._lose(machine)
        self._world.call("stop_routercluster", alone)
        self._world.kill_master()
        self._chaos.start_master()

    def _longest_grace(self) -> float:
        return float(max(cluster["grace_period"] for cluster in self._mirror.clusters.values()))

    def _make_cluster_on(self, machine: Machine) -> str:
        world = self._world
        oid: str = world.call("create_routercluster", {"name": "alone", "grace_period": SHORT_GRACE_S})["oid"]
        world.call("add_routercluster_node", oid, str(machine.oid))
        world.call("add_routercluster_workergroup", oid, {"scale": 1})
        world.call("start_routercluster", oid)
        world.run(1.0)
        return oid

    def _die_while_attaching(self, machine: Machine) -> None:
        """Let a machine be back, so that it is lost again before the master wrote that down."""
        machine.disconnect()
        self._world.run(0.3)
        self._world.master_clock.freeze(1.0)
        machine.connect()
        self._world.run(0.5)

    def _stop_all(self) -> None:
        """All clusters are stopped; one agent dies as it writes that down, and its machine with it."""
        world = self._world
        machine = self._one_that_runs_something()
        if machine is not None:
            machine.directory.writes_left = 0
        for cluster in self._router_clusters():
            if cluster["run"]:
                world.call("stop_routercluster", cluster["oid"])
        world.run(0.5)
        if machine is not None:
            machine.directory.writes_left = None
            machine.power_cut()
            machine.start_agent()
        world.run(CONVERGED_WITHIN_S)
        self._require("after all clusters were stopped")

    def _delete_all(self) -> None:
        world = self._world
        for oid, cluster in list(self._mirror.clusters.items()):
            if cluster["alone"]:
                for worker, row in list(self._mirror.workers_of[oid].items()):
                    if row["protected"]:
                        world.call("unprotect_worker", worker)
                    world.call("delete_worker", worker)
                continue
            world.call("delete_cluster" if is_generic(cluster) else "delete_routercluster", oid)
        world.run(1.0)
        for noun in (
            "cluster",
            "worker group",
            "membership",
            "worker",
            "binding",
            "receiver",
            "configuration",
        ):
            if self._mirror.rows[noun]:
                raise Broken(f"a {noun} is left of clusters that were deleted")
        if self._mirror.totals(TALLIES):
            raise Broken("a tally is left of clusters that were deleted")
        seqs = [event["seq"] for event in world.call("list_events", after=0, limit=10_000)["events"]]
        if seqs != list(range(1, self._mirror.last_event + 1)):
            raise Broken("the events that are kept have gaps")
