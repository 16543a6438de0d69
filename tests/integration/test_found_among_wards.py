"""Defects that the simulation found since clusters are looked after in it, each as a story of its own."""

from uuid import UUID

import pytest

from controlplane.store.catalog import CLUSTERS
from tests.integration.generic import create, ended, machine_of, statuses
from tests.integration.test_fencing import FENCE_S, fence
from tests.simulation.world import World

SPEC = {"type": "process", "version": "1.0", "properties": {"command": ["sleep", "100"]}}


@pytest.fixture
def world():
    world = World(seed=1, nodes=2)
    world.call("create_profile", {"name": "sleeper", "spec": SPEC})
    return world


def alone(world: World, **settings) -> str:
    """A worker in no cluster that runs; returns its oid."""
    made = world.call("create_worker", {"name": "clock", "profile": "sleeper", **settings})
    assert ended(world, made["oid"])["status"] == "SUCCEEDED"
    return world.call("get_worker", "clock")["oid"]


def clusters(world: World) -> list:
    with world.plane.store.read() as view:
        return list(view.rows(CLUSTERS).all())


def test_several_starts_are_given_up_at_once_when_the_master_is_silent_for_too_long(world, failures):
    """Seed 88: the first that was cancelled was gone at once, and the agent stumbled over the next one."""
    create(world, desired=2)
    fence(world)
    world.run(5)
    cut = world.machines[0]
    cut.start_takes_s = 600
    world.call("scale_out_cluster", "shop", 6)
    world.run(1)
    assert sum(worker.starting is not None for worker in cut.agent._supervisor._workers.values()) > 1
    cut.disconnect()
    world.run(FENCE_S + 3)
    assert failures == []
    assert all(worker.starting is None for worker in cut.agent._supervisor._workers.values())


def test_a_recovery_that_is_late_but_runs_is_waited_for_without_haste(world):
    """Seed 58: from its time limit on until it had run for long enough, pass followed on pass without a pause."""
    oid = alone(world)
    for machine in world.machines:
        machine.start_takes_s = 3.3
    action = world.call("recover_worker", oid, ["RECREATE"], {"timeout": 4})["oid"]
    before = world.plane.store.commits
    assert ended(world, action)["status"] == "SUCCEEDED"
    assert world.plane.store.commits - before < 100


def test_a_cluster_that_gets_one_more_worker_is_announced_with_its_new_size(world):
    """Seed 18: of all that changes what a cluster wants, this alone was not announced."""
    cluster = create(world, desired=1)
    world.events.clear()
    world.call("create_worker", {"profile": "sleeper"}, "shop")
    (resized,) = [payload for topic, payload in world.events if topic.endswith("on_cluster_resized")]
    assert (resized["oid"], resized["desired"]) == (cluster, 2)


def test_nothing_is_left_of_a_worker_whose_deletion_took_too_long(world):
    """Seed 119: its place stayed for ever, where nobody sees it and nobody can delete it."""
    oid = alone(world, timeout=3, grace_period=60)
    machine = machine_of(world, world.call("get_worker", oid))
    machine.disconnect()
    world.run(1)
    action = world.call("delete_worker", oid)["oid"]
    assert ended(world, action)["status"] == "FAILED"
    assert len(clusters(world)) == 1
    machine.connect()
    world.run(5)
    assert clusters(world) == []
    assert not machine.units


def test_who_had_to_stay_on_a_silent_node_is_placed_elsewhere_as_soon_as_fencing_ends(world):
    """Seed 879: nobody looked at the cluster until something else happened in it."""
    oid = create(world, desired=2, grace_period=5)
    world.machines[0].disconnect()
    world.run(1)
    fence(world)
    world.run(60)
    assert list(statuses(world, oid).values()).count("RUNNING") == 1
    world.call("detach_policy", "shop", "nurse")
    world.run(2)
    assert list(statuses(world, oid).values()).count("RUNNING") == 2


def test_a_report_that_says_nothing_new_changes_nothing_of_a_worker(world):
    """Seed 28: whoever was reported once more counted as changed just now, and had to prove itself anew."""
    oid = alone(world)
    machine = machine_of(world, world.call("get_worker", oid))
    world.run(5)
    before = world.call("get_worker", oid)
    commits = world.plane.store.commits
    machine.agent._attach_again()
    world.run(5)
    assert world.plane.store.commits > commits
    assert world.call("get_worker", oid) == before


def test_who_waits_to_be_restarted_is_not_restarted_because_its_agent_is_told_everything_anew(world):
    """Seed 929: it was told of what was to come only when the others had proven themselves."""
    create(world, desired=2, steady=15)
    one, other = world.call("list_cluster_workers", "shop")
    machine, oid = machine_of(world, one), UUID(one["oid"])
    alone(world, node=one["node_oid"])
    machine_of(world, other).kill_worker(UUID(other["oid"]))
    world.run(5)
    world.call("recover_worker", one["oid"], ["REBOOT"], {"timeout": 60})
    machine.disconnect()
    world.call("delete_worker", "clock")
    world.run(2)
    machine.connect()
    world.run(5)
    assert len(machine.units) == 1
    assert machine.units[oid].started == one["started"]
    world.run(30)
    assert machine.units[oid].started != one["started"]
