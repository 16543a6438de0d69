"""What one change costs as the fleet grows: the work of master and agents in one process, on LMDB, without waiting."""

import tempfile
import time
from pathlib import Path

from controlplane.store.lmdb import LmdbEngine
from tests.bench.harness import Figure, at_most, median
from tests.simulation.world import World

SMALL = (10, 1_000)
LARGE = (200, 20_000)
NODES_PER_CLUSTER = 10
WORKERS_PER_CLUSTER = 100
CHANGES = 40


async def run() -> list[Figure]:
    """One worker more, in a small fleet and in a large one."""
    with tempfile.TemporaryDirectory() as folder:
        small, large = (_fleet(Path(folder) / str(size[0]), *size) for size in (SMALL, LARGE))
        times = [(_change(small), _change(large)) for _ in range(CHANGES)]
    name = f"one change, {LARGE[0]} nodes x {LARGE[1]} workers / {SMALL[0]} x {SMALL[1]}"
    return [at_most(name, median(b for _, b in times), median(a for a, _ in times), 1.2, "ms CPU", "small", 1e3)]


class _Fleet:
    def __init__(self, world: World, clusters: list[tuple[str, str]]) -> None:
        self.world = world
        self.clusters = clusters
        self.turn = 0


def _fleet(directory: Path, nodes: int, workers: int) -> _Fleet:
    world = World(1, disk=LmdbEngine(directory, sync=False))
    for _ in range(nodes):
        world.add_machine().start_takes_s = 0
    world.run(1)
    clusters = []
    for number in range(workers // WORKERS_PER_CLUSTER):
        cluster = world.call("create_routercluster", {"name": f"c{number:05d}"})["oid"]
        for place in range(NODES_PER_CLUSTER):
            machine = world.machines[(number + place * 7) % nodes]
            world.call("add_routercluster_node", cluster, str(machine.oid))
        scale = WORKERS_PER_CLUSTER - 2
        group = world.call("add_routercluster_workergroup", cluster, {"name": "web", "scale": scale})["oid"]
        world.call("start_routercluster", cluster)
        world.run(0.5)
        clusters.append((cluster, group))
    assert sum(len(machine.units) for machine in world.machines) == (WORKERS_PER_CLUSTER - 1) * len(clusters)
    return _Fleet(world, clusters)


def _change(fleet: _Fleet) -> float:
    """CPU seconds until one more worker runs and is announced."""
    cluster, group = fleet.clusters[fleet.turn % len(fleet.clusters)]
    scale = WORKERS_PER_CLUSTER - 1 if fleet.turn // len(fleet.clusters) % 2 == 0 else WORKERS_PER_CLUSTER - 2
    fleet.turn += 1
    begun = time.process_time()
    fleet.world.call("scale_routercluster_workergroup", cluster, group, scale)
    fleet.world.run(0.5)
    return time.process_time() - begun
