"""What one change costs as the fleet grows: the work of master and agents in one process, on LMDB, without waiting."""

import tempfile
import time
from pathlib import Path
from uuid import UUID

from controlplane.drivers.driver import Unit
from controlplane.records.types import Oid
from controlplane.records.workers import Report
from controlplane.services.agents import assignment_epoch
from controlplane.store.catalog import WORKERS
from controlplane.store.lmdb import LmdbEngine
from tests.bench.fleets import WORKERS_PER_CLUSTER, Fleet, write_fleet
from tests.bench.harness import Figure, at_most, median
from tests.simulation.machine import Machine, PlayedDriver
from tests.simulation.world import World

SMALL = (10, 1_000)
LARGE = (10_000, 1_000_000)
CLUSTERS_CHANGED = 10
CHANGES = 60


async def run(small: tuple[int, int] = SMALL, large: tuple[int, int] = LARGE, changes: int = CHANGES) -> list[Figure]:
    """One worker more or less, in a small fleet and in a large one."""
    with tempfile.TemporaryDirectory() as folder:
        one, other = (_Running(Path(folder) / str(size[0]), *size) for size in (small, large))
        times = [(one.change(), other.change()) for _ in range(changes)]
        one.close()
        other.close()
    name = f"one change, {large[0]} nodes x {large[1]} workers / {small[0]} x {small[1]}"
    return [at_most(name, median(b for _, b in times), median(a for a, _ in times), 1.2, "ms CPU", "small", 1e3)]


class _Running:
    """A fleet with its master, and with real agents on the nodes of the clusters that are changed."""

    def __init__(self, directory: Path, nodes: int, workers: int) -> None:
        fleet = write_fleet(directory, nodes, workers)
        self.world = World(1, disk=LmdbEngine(directory, sync=False))
        # The audit of a start is no part of a change; `restart` looks at it.
        self.world.plane.monitor._next.cancel()
        step = max(1, len(fleet.clusters) // CLUSTERS_CHANGED)
        numbers = range(0, len(fleet.clusters), step)[:CLUSTERS_CHANGED]
        self._clusters = [tuple(map(str, fleet.clusters[number])) for number in numbers]
        self._turn = 0
        real = {node.oid for number in numbers for node in fleet.nodes_of(number)}
        self._attach_others(fleet, real)
        for number, node in enumerate(fleet.nodes):
            if node.oid in real:
                self._add_machine(number, node.oid)
        self.world.run(1)
        assert all(session.agent._contact.name == "ATTACHED" for session in self.world.network.sessions.values())

    def change(self) -> float:
        """CPU seconds until one worker more, or one less, is as it shall be and was announced."""
        cluster, group = self._clusters[self._turn % len(self._clusters)]
        up = self._turn // len(self._clusters) % 2 == 0
        self._turn += 1
        begun = time.process_time()
        self.world.call("scale_routercluster_workergroup", cluster, group, WORKERS_PER_CLUSTER - (0 if up else 1))
        self.world.run(0.5)
        taken = time.process_time() - begun
        assert self.world.topics()[-1] == ("worker_started" if up else "worker_deleted"), self.world.topics()[-3:]
        return taken

    def close(self) -> None:
        self.world.plane.store.close()

    def _attach_others(self, fleet: Fleet, real: set[Oid]) -> None:
        """Take the nodes without an agent of their own for attached and up to date: they are the size of the fleet."""
        plane = self.world.plane
        for number, node in enumerate(fleet.nodes):
            if node.oid not in real:
                report = Report(
                    boot=node.oid,
                    sequence=1,
                    epoch=assignment_epoch(plane.store.epoch, node.oid),
                    version=node.assignment,
                )
                plane.uplinks.asked(1_000_000 + number)
                plane.uplinks.attach(node.oid, 1_000_000 + number, report, node.assignment)

    def _add_machine(self, number: int, oid: Oid) -> None:
        machine = Machine(self.world, number, {})
        machine.start_takes_s = 0
        machine.oid = UUID(int=oid.int)
        with self.world.plane.store.read() as view:
            for worker in view.rows(WORKERS).all_by("node", oid):
                machine.kinds[worker.oid] = PlayedDriver.name
                machine.units[worker.oid] = Unit(
                    oid=worker.oid,
                    digest=worker.digest,
                    started=worker.started,
                    pid=worker.pid,
                    realms=worker.realms,
                    addresses=worker.addresses,
                )
        self.world.machines.append(machine)
        machine.start_agent()
