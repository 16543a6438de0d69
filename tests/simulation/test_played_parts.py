"""Mistakes that the simulation itself made: what it plays, and what it demands, is as in reality."""

from uuid import UUID

from tests.simulation.clock import ProcessClock, WorldClock
from tests.simulation.convergence import unconverged
from tests.simulation.mirror import Mirror
from tests.simulation.world import World


def start_cluster(world: World) -> str:
    cluster = world.call("create_routercluster", {"name": "demo"})["oid"]
    for machine in world.machines:
        world.call("add_routercluster_node", cluster, str(machine.oid))
    world.call("add_routercluster_workergroup", cluster, {"scale": 1})
    world.call("start_routercluster", cluster)
    world.wait_for_status(cluster, "RUNNING")
    return cluster


def test_what_a_process_was_handed_while_it_stalled_it_takes_in_order_however_long_it_stalls():
    world, heard = WorldClock(), []
    clock = ProcessClock(world)
    clock.freeze(0.3)
    world.callLater(0.1, clock.hand, heard.append, 1)
    world.callLater(0.2, clock.freeze, 0.5)
    world.callLater(0.25, clock.hand, heard.append, 2)
    world.callLater(0.7, clock.hand, heard.append, 3)
    while world.step(10.0):
        assert heard == [] or world.now >= 0.7
    assert heard == [1, 2, 3]


def test_a_process_that_is_not_stalled_any_more_goes_on_at_once():
    world, heard = WorldClock(), []
    clock = ProcessClock(world)
    clock.freeze(60)
    clock.hand(heard.append, 1)
    clock.thaw()
    clock.hand(heard.append, 2)
    while not heard:
        assert world.step(10.0)
    assert (heard, world.now) == ([1, 2], 0.0)


def test_an_agent_that_stalls_learns_of_a_death_before_it_learns_of_the_start_that_came_after_it():
    """Seed 7447: it was told of the start while it stalled, took the death for one of the new worker, and started."""
    world = World(seed=1, nodes=1)
    cluster, machine = start_cluster(world), world.machines[0]
    router = next(UUID(w["oid"]) for w in world.workers(cluster) if w["workergroup_oid"] is None)
    former = machine.units[router]
    machine.start_takes_s = 1.0
    roles = [{"name": name, "permissions": []} for name in ("anonymous", "staff")]
    world.call("update_routercluster", cluster, {"config": {"realms": [{"name": "demo", "roles": roles}]}})
    world.run(0.5)
    starts = machine.starts.count(router)
    machine.clock.freeze(2)
    machine.kill_worker(router)
    world.run(1)
    assert machine.units[router].digest != former.digest  # The worker comes up; its agent does not see that yet.
    assert machine.agent._supervisor._workers[router].unit == former
    world.run(10)
    assert machine.starts.count(router) == starts + 1
    world.wait_for_status(cluster, "RUNNING")


def test_a_machine_is_the_node_that_has_its_key_though_it_joined_as_another_one_last():
    """Seed 5186: a backup was restored from before it was paired anew, and then it was lost for good."""
    world = World(seed=1, nodes=1)
    world.run(1)
    machine, mirror = world.machines[0], Mirror()
    mirror.load(world.disk.image())
    assert list(unconverged(world, mirror, set())) == []
    machine.power_cut()
    machine.oid = UUID(int=1)
    assert list(unconverged(world, mirror, {machine.name})) == ["node0 is lost and counts as online"]
    assert list(unconverged(world, mirror, set())) == ["node0 is not connected"]
