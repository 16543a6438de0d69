"""The same, over a network that delays, drops and duplicates, with either side killed: it converges all the same.

Every run comes from a seed and can be repeated exactly.
"""

import pytest

from tests.simulation.world import Faults, World

SEEDS = range(40)
BAD = Faults(delay_min_s=0.001, delay_max_s=0.5, drop=0.15, duplicate=0.15)


def story(seed: int) -> World:
    """Users change things while the network is bad and processes die; then it is good again."""
    world = World(seed, nodes=3)
    random = world.random
    cluster = world.call("create_routercluster", {"name": "demo", "grace_period": 3})["oid"]
    for machine in world.machines:
        world.call("add_routercluster_node", cluster, str(machine.oid))
    group = world.call("add_routercluster_workergroup", cluster, {"name": "web", "scale": 4})["oid"]
    world.call("start_routercluster", cluster)
    world.faults = BAD
    for _ in range(25):
        machine = random.choice(world.machines)
        match random.randrange(8):
            case 0:
                world.call("scale_routercluster_workergroup", cluster, group, random.randrange(1, 7))
            case 1:
                machine.disconnect(notice_after=random.random() * 4)
            case 2:
                machine.connect()
            case 3 if machine.agent is not None:
                machine.kill_agent()
            case 4 if machine.agent is None:
                machine.start_agent()
            case 5 if machine.units:
                machine.kill_worker(random.choice(sorted(machine.units)))
            case 6:
                world.kill_master()
                world.run(random.random() * 3)
                world.start_master()
            case _:
                pass
        world.run(random.random() * 3)
    world.faults = Faults()
    for machine in world.machines:
        if machine.agent is None:
            machine.start_agent()
        machine.connect()
    world.call("scale_routercluster_workergroup", cluster, group, 5)
    return world


@pytest.mark.parametrize("seed", SEEDS)
def test_it_converges_once_the_faults_are_over(seed):
    world = story(seed)
    world.run(75)  # Workers that failed often are in the longest pause.
    (cluster,) = world.call("list_routerclusters")
    workers = world.workers(cluster)
    assert world.call("get_routercluster", cluster)["status"] == "RUNNING", workers
    assert len(workers) == 6
    running = {str(oid): machine for machine in world.machines for oid in machine.units}
    assert sorted(running) == sorted(worker["oid"] for worker in workers)
    assert sum(len(machine.units) for machine in world.machines) == 6
    for worker in workers:
        assert str(running[worker["oid"]].oid) == worker["node_oid"]
    stored = world.call("list_events", after=0, limit=10_000)["events"]
    assert [event["seq"] for event in stored] == list(range(1, len(stored) + 1))
    sent = [payload["seq"] for _, payload in world.events]
    assert sent == sorted(set(sent))
    assert set(sent) <= {event["seq"] for event in stored}


def trace(world: World):
    return world.events, world.clock.seconds(), [sorted(map(str, m.units)) for m in world.machines]


def test_a_seed_tells_the_same_story_every_time():
    first, second = story(7), story(7)
    first.run(20)
    second.run(20)
    assert trace(first) == trace(second)
    other = story(8)
    other.run(20)
    assert trace(first) != trace(other)
