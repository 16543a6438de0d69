"""Defects of actions that the simulation found, each as a story of its own."""

from uuid import UUID

import pytest

from controlplane.errors import ActionConflict, ActionCooldown
from controlplane.records.types import NANOSECONDS
from controlplane.store.catalog import REVISIONS
from tests.integration.generic import BROKEN, SPEC, create, ended, workers
from tests.simulation.world import World


@pytest.fixture
def world():
    made = World(seed=1, nodes=2)
    made.call("create_profile", {"name": "sleeper", "spec": SPEC})
    made.call("create_profile", {"name": "broken", "spec": BROKEN})
    return made


def size(world: World, cluster: str) -> tuple:
    (group,) = world.call("get_cluster", cluster)["groups"]
    return group["desired"], group["min_size"], group["max_size"]


def run_no_more(world: World) -> None:
    """Have no worker that is started from now on come up."""
    for machine in world.machines:
        machine.broken["sleep"] = "it fails whenever it is started"


def starts(world: World) -> int:
    return sum(len(machine.starts) for machine in world.machines)


def restart_master(world: World) -> None:
    world.kill_master()
    world.start_master()
    world.run(8)


def test_a_growth_that_is_taken_back_returns_to_the_former_bounds(world):
    cluster = create(world, 2, max_size=3)
    run_no_more(world)
    action = world.call("resize_cluster", cluster, "EXACT_CAPACITY", 5, min_size=4, max_size=6)
    assert size(world, cluster) == (5, 4, 6)
    assert ended(world, action["oid"])["status"] == "FAILED"
    assert size(world, cluster) == (2, 0, 3)


def test_the_upper_bound_stays_when_more_workers_run_than_the_former_one_admits(world):
    cluster = create(world, 2, max_size=3)
    action = world.call("resize_cluster", cluster, "EXACT_CAPACITY", 5, min_size=4, max_size=6)
    world.run(0.2)
    run_no_more(world)
    late = next(worker for worker in workers(world, cluster) if worker["index"] == 4)
    for machine in world.machines:
        machine.kill_worker(next((oid for oid in machine.units if str(oid) == late["oid"]), None))
    assert ended(world, action["oid"])["status"] == "FAILED"
    assert size(world, cluster) == (4, 0, 6)


def test_a_size_is_announced_whenever_it_changes(world):
    cluster = create(world, 2)
    action = world.call("remove_cluster_workers", cluster, [workers(world, cluster)[0]["oid"]])
    assert [payload["desired"] for topic, payload in world.events if topic.endswith("on_cluster_resized")] == [1]
    assert ended(world, action["oid"])["status"] == "SUCCEEDED"
    run_no_more(world)
    action = world.call("scale_out_cluster", cluster, 2)
    assert ended(world, action["oid"])["status"] == "FAILED"
    assert [payload["desired"] for topic, payload in world.events if topic.endswith("on_cluster_resized")] == [1, 3, 1]


def test_a_cluster_that_is_given_another_name_goes_on_as_it_is(world):
    cluster = create(world, 2)
    before = starts(world)
    world.call("update_cluster", cluster, {"name": "market"})
    restart_master(world)
    assert starts(world) == before
    # Who is started anew meanwhile goes by the old name, too; only another profile brings the new one.
    world.machines[0].kill_worker(next(iter(world.machines[0].units)))
    world.run(1)
    restart_master(world)
    assert starts(world) == before + 1
    world.call("create_profile", {"name": "patient", "spec": {**SPEC, "properties": {"command": ["sleep", "7"]}}})
    assert (
        ended(world, world.call("update_cluster", cluster, {"profile": "patient"})["action_oid"])["status"]
        == "SUCCEEDED"
    )
    names = {w.spec.config["name"] for m in world.machines for w in m.agent._supervisor._workers.values()}
    assert names == {"market-0", "market-1"}


def test_an_update_that_is_taken_back_returns_to_the_name_that_workers_went_by(world):
    cluster = create(world, 2)
    world.call("update_cluster", cluster, {"name": "market"})
    before = {w.spec.digest for m in world.machines for w in m.agent._supervisor._workers.values()}
    action = world.call("update_cluster", cluster, {"profile": "broken"})["action_oid"]
    for machine in world.machines:
        machine.broken["broken"] = "it fails whenever it is started"
    assert ended(world, action)["status"] == "FAILED"
    assert {w.spec.digest for m in world.machines for w in m.agent._supervisor._workers.values()} == before


def test_a_router_cluster_that_is_given_another_name_keeps_its_realm(world):
    oid = world.call("create_routercluster", {"name": "demo"})["oid"]
    for machine in world.machines:
        world.call("add_routercluster_node", oid, str(machine.oid))
    world.call("add_routercluster_workergroup", oid, {"scale": 2})
    world.call("start_routercluster", oid)
    world.wait_for_status(oid, "RUNNING")
    before = starts(world)
    world.call("update_cluster", oid, {"name": "other"})
    restart_master(world)
    assert starts(world) == before
    assert [realm["name"] for realm in world.call("get_routercluster_config", oid)["effective"]["realms"]] == ["demo"]
    world.call("update_routercluster", oid, {"routers": 2})
    world.run(5)
    assert [realm["name"] for realm in world.call("get_routercluster_config", oid)["effective"]["realms"]] == ["demo"]


def test_a_deletion_that_did_not_come_to_its_end_admits_nothing_but_another_one(world):
    cluster = create(world, 2, timeout=3, grace_period=60)
    world.machines[0].disconnect()
    world.run(1)
    assert ended(world, world.call("delete_cluster", cluster)["oid"])["status"] == "FAILED"
    with pytest.raises(ActionConflict) as refused:
        world.call("resize_cluster", cluster, "EXACT_CAPACITY", 3)
    assert refused.value.next_step == "delete it again"
    world.machines[0].connect()
    world.run(8)
    assert ended(world, world.call("delete_cluster", cluster)["oid"])["status"] == "SUCCEEDED"


def test_an_action_ends_although_the_clock_was_set_back_meanwhile(world):
    cluster = create(world, 2, steady=3)
    action = world.call("scale_out_cluster", cluster)
    world.run(1)
    world.kill_master()
    world.wall_offset_ns = -3_600 * NANOSECONDS
    world.start_master()
    assert ended(world, action["oid"], 15)["status"] == "SUCCEEDED"


def test_an_action_is_given_up_in_time_although_the_clock_was_set_back_meanwhile(world):
    cluster = create(world, 2, timeout=4)
    for machine in world.machines:
        machine.start_takes_s = 100
    action = world.call("scale_out_cluster", cluster)
    world.run(1)
    world.kill_master()
    world.wall_offset_ns = -3_600 * NANOSECONDS
    world.start_master()
    over = ended(world, action["oid"], 15)
    assert (over["status"], "longer than 4 s" in over["reason"]) == ("FAILED", True)


def test_growth_is_about_its_own_workers_although_the_clock_was_set_back_since_the_others_were_made(world):
    cluster = create(world, 3)
    before = {worker["oid"]: worker for worker in world.call("list_cluster_workers", cluster)}
    world.kill_master()
    world.wall_offset_ns = -3_600 * NANOSECONDS
    world.start_master()
    over = ended(world, world.call("scale_out_cluster", cluster)["oid"])
    assert (over["status"], len(over["outputs"]["done"])) == ("SUCCEEDED", 1)
    assert not before.keys() & set(over["outputs"]["done"])
    # What is taken back is what was added, and nobody else who does not run just now.
    sick = next(iter(before))
    for machine in world.machines:
        machine.broken["sleep"] = "no memory left"
        if UUID(sick) in machine.units:
            machine.kill_worker(UUID(sick))
    over = ended(world, world.call("scale_out_cluster", cluster)["oid"])
    assert (over["status"], len(over["outputs"]["undone"])) == ("FAILED", 1)
    assert before.keys() <= {worker["oid"] for worker in world.call("list_cluster_workers", cluster)}


def test_a_policy_does_not_rest_until_a_time_comes_again_that_was_already(world):
    cluster = create(world, 2)
    properties = {"event": "CLUSTER_SCALE_OUT", "adjustment": {"cooldown": 60}}
    world.call(
        "create_policy", {"name": "calm", "spec": {"type": "scaling", "version": "1.0", "properties": properties}}
    )
    world.call("attach_policy", cluster, "calm")
    assert ended(world, world.call("scale_out_cluster", cluster)["oid"])["status"] == "SUCCEEDED"
    with pytest.raises(ActionCooldown):
        world.call("scale_out_cluster", cluster)
    world.kill_master()
    world.wall_offset_ns = -3_600 * NANOSECONDS
    world.start_master()
    assert ended(world, world.call("scale_out_cluster", cluster)["oid"])["status"] == "SUCCEEDED"


def test_workers_that_cannot_be_reached_are_changed_over_one_after_the_other_when_they_are_back(world):
    cluster = create(world, 6, grace_period=60, steady=2)
    away = world.machines[0]
    before = {oid: unit.digest for oid, unit in away.units.items()}
    assert len(before) == 3
    away.disconnect()
    world.run(1)
    world.call("create_profile", {"name": "patient", "spec": {**SPEC, "properties": {"command": ["sleep", "7"]}}})
    action = world.call("update_cluster", cluster, {"profile": "patient"})["action_oid"]
    world.run(1)
    away.connect()
    world.run(3)
    assert sum(unit.digest != before[oid] for oid, unit in away.units.items()) <= 1
    assert ended(world, action)["status"] == "SUCCEEDED"


def test_former_configurations_are_forgotten_in_the_commit_that_ends_what_brought_another_one(world):
    cluster = create(world, 2)

    def kept() -> list[int]:
        with world.plane.store.read() as view:
            return [revision.revision for revision in view.rows(REVISIONS).all(UUID(cluster))]

    changed = world.call("update_cluster", cluster, {"profile": "broken"})
    assert kept() == [1, 2]
    world.run_until(lambda: world.call("get_action", changed["action_oid"])["status"] == "SUCCEEDED", 60)
    assert kept() == [2]
    run_no_more(world)
    changed = world.call("update_cluster", cluster, {"profile": "sleeper"})
    assert kept() == [2, 3]
    # Nobody runs with the new one yet: what has to be taken back is so as soon as it is called off.
    world.run(0.01)
    world.call("cancel_action", cluster, changed["action_oid"])
    world.run_until(lambda: world.call("get_action", changed["action_oid"])["status"] == "CANCELLED", 60)
    assert kept() == [4]
