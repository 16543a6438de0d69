"""Fencing: workers that nobody can see do not run, before others take their places.

The real master and real agents, on a clock that only the test turns.
"""

from uuid import UUID

import pytest

from controlplane.core.fencing import FENCE_MARGIN_S
from tests.integration.generic import create, ended, running, statuses, workers
from tests.simulation.world import World

FENCE_S = 20.0


def fence(world: World, cluster: str = "shop", after: float = FENCE_S) -> None:
    detection = {"interval": 3600, "detection_modes": [{"type": "LIFECYCLE_EVENTS"}]}
    recovery = {"actions": [{"name": "RECREATE"}], "fencing": ["COMPUTE"], "fence_after": after}
    spec = {"type": "health", "properties": {"detection": detection, "recovery": recovery}}
    world.call("create_policy", {"name": "nurse", "spec": spec})
    world.call("attach_policy", cluster, "nurse")


def disable(world: World) -> None:
    """Have fencing alone, without recoveries: a policy that finds nobody."""
    world.run(1)


def never_more_than(world: World, most: int, seconds: float) -> int:
    """Let time pass and see how many run; returns the fewest."""
    fewest = most
    for _ in range(int(seconds * 5)):
        world.run(0.2)
        assert running(world) <= most
        fewest = min(fewest, running(world))
    return fewest


def test_a_cut_off_agent_kills_its_workers_before_others_take_their_places(world):
    oid = create(world, desired=3, grace_period=1)
    fence(world)
    world.run(5)
    cut = world.machines[0]
    cut.disconnect()
    assert len(cut.units) == 1
    assert never_more_than(world, 3, FENCE_S + FENCE_MARGIN_S - 2) == 2
    assert len(cut.units) == 0
    world.run_until(lambda: running(world) == 3, 10)
    cut.connect()
    never_more_than(world, 3, 20)
    assert list(statuses(world, oid).values()) == ["RUNNING"] * 3


def test_without_fencing_they_run_on(world):
    create(world, desired=3, grace_period=1)
    cut = world.machines[0]
    cut.disconnect()
    world.run(120)
    assert (len(cut.units), running(world)) == (1, 4)


def test_an_agent_that_hears_of_its_master_keeps_its_workers(world):
    oid = create(world, desired=3)
    before = {worker["oid"]: worker["pid"] for worker in workers(world, oid)}
    fence(world, after=5)
    world.run(300)
    assert {worker["oid"]: worker["pid"] for worker in workers(world, oid)} == before


def test_without_a_master_everything_with_fencing_is_killed_and_started_again_with_it(world):
    oid = create(world, desired=3)
    made = world.call("create_cluster", {"name": "free", "profile": "sleeper", "desired": 3})
    ended(world, made["action_oid"])
    fence(world)
    world.run(5)
    world.kill_master()
    world.run(FENCE_S + 3)
    assert running(world) == 3
    world.start_master()
    world.run(20)
    assert list(statuses(world, oid).values()) == ["RUNNING"] * 3
    assert running(world) == 6


def test_a_short_absence_of_the_master_kills_nobody(world):
    oid = create(world, desired=3)
    before = {worker["oid"]: worker["pid"] for worker in workers(world, oid)}
    fence(world)
    world.run(5)
    world.kill_master()
    world.run(FENCE_S / 2 - 2)
    world.start_master()
    world.run(60)
    assert {worker["oid"]: worker["pid"] for worker in workers(world, oid)} == before


@pytest.mark.parametrize("away", [3, FENCE_S + 5])
def test_an_agent_that_is_started_anew_knows_how_long_its_workers_may_run(world, away):
    create(world, desired=3, grace_period=1)
    fence(world)
    world.run(5)
    cut = world.machines[0]
    cut.disconnect()
    world.run(2)
    cut.kill_agent()
    world.run(away)
    assert len(cut.units) == 1
    cut._away = True
    cut.connect = lambda: None
    cut.start_agent()
    world.run(1)
    assert len(cut.units) == (1 if away == 3 else 0)
    world.run(FENCE_S)
    assert len(cut.units) == 0


def test_a_worker_that_is_being_started_is_not_either(world):
    create(world, desired=3, grace_period=1)
    fence(world)
    world.run(5)
    cut = world.machines[0]
    cut.disconnect()
    cut.start_takes_s = 600
    cut.kill_worker(next(iter(cut.units)))
    world.run(FENCE_S + 3)
    (worker,) = cut.agent._supervisor._workers.values() or [None]
    assert worker is None or worker.starting is None


def test_who_never_said_that_it_kills_is_not_given_up(world):
    oid = create(world, desired=3, grace_period=1)
    cut = world.machines[0]
    cut.disconnect()
    world.run(0.1)
    fence(world)
    world.run(300)
    assert (len(cut.units), running(world)) == (1, 3)
    assert sorted(statuses(world, oid).values()) in (["RUNNING", "RUNNING"], ["RUNNING", "RUNNING", "STOPPING"])
    cut.connect()
    world.run(60)
    assert sorted(statuses(world, oid).values()) == ["RUNNING"] * 3
    assert running(world) == 3


def test_a_recreated_worker_waits_until_the_old_one_cannot_run(world):
    oid = create(world, desired=3, grace_period=1000)
    fence(world)
    world.run(5)
    cut = world.machines[0]
    cut.disconnect()
    action = None
    never_more_than(world, 3, FENCE_S + FENCE_MARGIN_S - 1)
    world.run(10)
    assert running(world) == 3
    (action,) = [each for each in world.call("list_actions") if each["cause"] == "policy"]
    assert "is offline" in str(action["decisions"])
    assert ended(world, action["oid"], 2000)["status"] == "SUCCEEDED"
    assert len([each for each in statuses(world, oid).values() if each == "RUNNING"]) == 3


def test_fencing_ends_with_the_policy(world):
    create(world, desired=3, grace_period=1)
    fence(world)
    world.run(5)
    world.call("detach_policy", "shop", "nurse")
    world.run(2)
    cut = world.machines[0]
    cut.disconnect()
    world.run(60)
    assert (len(cut.units), running(world)) == (1, 4)


def test_a_lone_worker_of_a_router_cluster_is_fenced_as_well(world):
    oid = world.call("create_routercluster", {"name": "mesh", "grace_period": 1})["oid"]
    for machine in world.machines:
        world.call("add_routercluster_node", oid, str(machine.oid))
    world.call("add_routercluster_workergroup", oid, {"name": "web", "scale": 2})
    world.call("start_routercluster", oid)
    world.wait_for_status(oid, "RUNNING")
    fence(world, "mesh")
    world.run(5)
    router = next(worker for worker in world.workers(oid) if worker["workergroup_oid"] is None)
    home = next(machine for machine in world.machines if str(machine.oid) == router["node_oid"])
    home.disconnect()
    for _ in range(200):
        world.run(0.2)
        assert sum(UUID(router["oid"]) in machine.units for machine in world.machines) <= 1
    world.wait_for_status(oid, "RUNNING")


def test_a_lease_for_a_cluster_that_has_long_been_at_rest_ends_nobody(world):
    oid = create(world, desired=3)
    before = {worker["oid"]: worker["pid"] for worker in workers(world, oid)}
    world.run(3_000)
    fence(world, after=5)
    world.run(60)
    assert {worker["oid"]: worker["pid"] for worker in workers(world, oid)} == before
    # And it holds from then on, which the master was told.
    cut = world.machines[0]
    cut.disconnect()
    assert never_more_than(world, 3, 5 + FENCE_MARGIN_S + 15) == 2
    assert len(cut.units) == 0
    assert running(world) == 3


def test_workers_return_when_a_master_wakes_up_that_nobody_has_lost(world):
    oid = create(world, desired=3)
    fence(world, after=5)
    world.run(5)
    world.master_clock.freeze(12)
    world.run(11)
    assert running(world) == 0
    world.run(60)
    assert list(statuses(world, oid).values()) == ["RUNNING"] * 3
    assert running(world) == 3
