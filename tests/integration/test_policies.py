"""What policies do to actions: the real master and real agents, on a clock that only the test turns."""

from uuid import UUID

import pytest

from controlplane.core.policies import POLICY_TYPES
from controlplane.errors import (
    ActionConflict,
    ActionCooldown,
    AlreadyExists,
    InUse,
    InvalidArgument,
    InvalidConfiguration,
    NoSuchObject,
)
from tests.integration.generic import SPEC, attach, configs, create, ended, machine_of, running, workers


def test_a_scaling_policy_says_how_much_unless_the_call_does(world):
    create(world, desired=4, max_size=20)
    attach(world, "grow", "scaling", {"event": "CLUSTER_SCALE_OUT", "adjustment": {"number": 3}})
    action = ended(world, world.call("scale_out_cluster", "shop")["oid"])
    assert (running(world), action["decisions"][0]["policy_name"]) == (7, "grow")
    assert action["decisions"][0]["said"] == "adds 3 workers"
    ended(world, world.call("scale_out_cluster", "shop", 1)["oid"])
    ended(world, world.call("scale_in_cluster", "shop")["oid"])
    assert running(world) == 7


def test_a_percentage_goes_down_too_and_best_effort_stops_at_the_bound(world):
    create(world, desired=8, min_size=3)
    step = {"type": "CHANGE_IN_PERCENTAGE", "number": 50, "best_effort": True}
    attach(world, "shrink", "scaling", {"event": "CLUSTER_SCALE_IN", "adjustment": step})
    ended(world, world.call("scale_in_cluster", "shop")["oid"])
    assert running(world) == 4
    ended(world, world.call("scale_in_cluster", "shop")["oid"])
    assert running(world) == 3
    assert ended(world, world.call("scale_in_cluster", "shop")["oid"])["status"] == "SUCCEEDED"
    assert running(world) == 3


def test_a_policy_rests_after_a_scaling_in_either_direction(world):
    create(world, desired=2, max_size=20)
    attach(world, "grow", "scaling", {"event": "CLUSTER_SCALE_OUT", "adjustment": {"cooldown": 60}})
    ended(world, world.call("scale_in_cluster", "shop")["oid"])
    with pytest.raises(ActionCooldown, match="rests for another"):
        world.call("scale_out_cluster", "shop")
    ended(world, world.call("scale_in_cluster", "shop")["oid"])
    world.call("update_cluster_policy", "shop", "grow", enabled=False)
    ended(world, world.call("scale_out_cluster", "shop")["oid"])
    world.call("update_cluster_policy", "shop", "grow", enabled=True)
    world.run(61)
    ended(world, world.call("scale_out_cluster", "shop")["oid"])
    assert running(world) == 2


@pytest.mark.parametrize(("criteria", "goes"), [("OLDEST_FIRST", 0), ("YOUNGEST_FIRST", 2)])
def test_a_deletion_policy_says_who_goes(world, criteria, goes):
    oid = create(world, desired=1)
    for _ in range(2):
        world.run(1)
        ended(world, world.call("scale_out_cluster", "shop")["oid"])
    by_age = [worker["oid"] for worker in world.call("list_cluster_workers", oid, sort="created")]
    attach(world, "who", "deletion", {"criteria": criteria})
    action = ended(world, world.call("scale_in_cluster", "shop")["oid"])
    assert action["outputs"]["removed"] == [by_age[goes]]
    assert criteria in action["decisions"][0]["said"]


def test_workers_that_were_taken_out_are_replaced_when_the_policy_says_so(world):
    oid = create(world, desired=3)
    attach(world, "keep", "deletion", {"reduce_desired_capacity": False})
    gone = workers(world, oid)[0]["oid"]
    action = ended(world, world.call("remove_cluster_workers", "shop", [gone])["oid"])
    assert (action["outputs"]["removed"], len(action["outputs"]["done"]), running(world)) == ([gone], 1, 3)


def test_batches_are_as_large_as_the_policy_says(world):
    oid = create(world, desired=6)
    attach(world, "batches", "batch", {"min_in_service": 2, "max_batch_size": 3, "pause_time": 5})
    world.call("create_profile", {"name": "other", "spec": {**SPEC, "properties": {"command": ["sleep", "7"]}}})
    for machine in world.machines:
        machine.start_takes_s = 0.5
    world.run(6)
    begun = world.clock.now
    action = world.call("update_cluster", "shop", {"profile": "other"})["action_oid"]
    world.run(3)
    since = world.call("get_action", action)["created"]
    assert sum(worker["started"] > since for worker in workers(world, oid)) == 3
    assert ended(world, action)["status"] == "SUCCEEDED"
    assert world.clock.now - begun > 10
    assert "3 of 6" in world.call("get_action", action)["decisions"][0]["said"]


def begin_with_canaries(world, program: str) -> tuple[str, str]:
    """Six workers, of which two are changed over first, then three at a time; returns the cluster and the action."""
    oid = create(world, desired=6)
    properties = {"min_in_service": 2, "max_batch_size": 3, "pause_time": 5, "canary": 2}
    attach(world, "batches", "batch", properties)
    world.call("create_profile", {"name": "other", "spec": {**SPEC, "properties": {"command": [program, "7"]}}})
    for machine in world.machines:
        machine.start_takes_s = 0.5
        machine.broken["/no/such"] = "no such program"
    world.run(6)
    return oid, world.call("update_cluster", "shop", {"profile": "other"})["action_oid"]


def test_canaries_are_changed_first_and_all_others_when_they_have_run_for_long_enough(world):
    oid, action = begin_with_canaries(world, "sleep")
    since = world.call("get_action", action)["created"]
    seen = []

    def look() -> bool:
        new = sum((worker["started"] or 0) > since for worker in workers(world, oid))
        seen.extend([new] if new not in seen else [])
        return world.call("get_action", action)["ended"] is not None

    begun = world.clock.now
    world.run(4)
    look()
    assert seen[-1] == 2
    world.run_until(look, 120)
    found = world.call("get_action", action)
    assert found["status"] == "SUCCEEDED"
    assert "changes 2 first, then 3 of 6 workers" in found["decisions"][0]["said"]
    assert {2, 5, 6} <= set(seen)
    # Three times five seconds: for the canaries, for three, and for the last one.
    assert world.clock.now - begun > 15


def test_when_a_canary_fails_the_others_were_never_touched(world):
    oid, action = begin_with_canaries(world, "/no/such")
    before = {worker["oid"]: worker["pid"] for worker in workers(world, oid)}
    found = ended(world, action)
    assert (found["status"], len(found["outputs"]["undone"])) == ("FAILED", 2)
    assert "no such program" in found["reason"]
    assert {worker["oid"]: worker["pid"] for worker in workers(world, oid)} == before
    assert (world.call("get_cluster", oid)["status"], running(world)) == ("RUNNING", 6)


def test_canaries_are_waited_for_by_a_master_that_was_killed_meanwhile(world):
    oid, action = begin_with_canaries(world, "sleep")
    since = world.call("get_action", action)["created"]
    world.run(2)
    world.kill_master()
    world.run(1)
    world.start_master()
    world.run(1)
    assert sum(worker["started"] > since for worker in workers(world, oid)) == 2
    assert ended(world, action)["status"] == "SUCCEEDED"
    assert sum(worker["started"] > since for worker in workers(world, oid)) == 6


def test_what_became_of_canaries_while_the_master_was_away_is_asked_before_others_follow(world):
    oid, action = begin_with_canaries(world, "sleep")
    since = world.call("get_action", action)["created"]
    world.run(2)
    canaries = [worker for worker in workers(world, oid) if worker["started"] > since]
    others = {worker["oid"] for worker in workers(world, oid) if worker not in canaries}
    world.kill_master()
    for machine in world.machines:
        machine.start_takes_s = 20
    for worker in canaries:
        machine_of(world, worker).kill_worker(UUID(worker["oid"]))
    world.run(30)
    assert len(canaries) == 2
    for machine in world.machines:
        machine.disconnect()
    world.start_master()
    world.run(1)
    for machine in world.machines:
        machine.connect()
    world.run(3)  # They have run for less than the five seconds of a pause, as the store said before.
    assert [configs(world)[each]["properties"]["command"] for each in others] == [["sleep", "100"]] * 4
    world.run(30)
    assert ended(world, action)["status"] == "SUCCEEDED"


def test_no_more_workers_stand_on_a_node_than_the_policy_admits(world):
    oid = create(world, desired=6)
    attach(world, "apart", "affinity", {})
    world.run(5)
    assert [len(machine.units) for machine in world.machines] == [1, 1, 1]
    assert world.call("get_cluster", oid)["workers_by_status"] == {"PENDING": 3, "RUNNING": 3}
    world.call("detach_policy", "shop", "apart")
    world.run(5)
    assert [len(machine.units) for machine in world.machines] == [2, 2, 2]


def test_of_most_types_a_cluster_obeys_one_policy_and_one_in_use_stays(world):
    create(world)
    attach(world, "one", "deletion", {})
    with pytest.raises(AlreadyExists, match="deletion"):
        attach(world, "two", "deletion", {})
    with pytest.raises(InUse):
        world.call("delete_policy", "one")
    assert [each["policy_name"] for each in world.call("list_cluster_policies", "shop")] == ["one"]
    world.call("detach_policy", "shop", "one")
    world.call("delete_policy", "one")
    with pytest.raises(NoSuchObject):
        world.call("get_cluster_policy", "shop", "two")


def test_policies_go_with_their_cluster(world):
    create(world)
    attach(world, "one", "deletion", {})
    ended(world, world.call("delete_cluster", "shop")["oid"])
    world.call("delete_policy", "one")


def test_a_profile_is_no_policy(world):
    create(world)
    with pytest.raises(NoSuchObject):
        world.call("attach_policy", "shop", "sleeper")
    with pytest.raises(NoSuchObject):
        world.call("attach_policy", "shop", world.call("get_profile", "sleeper")["oid"])


def test_every_problem_of_a_policy_is_told(world):
    bad = {"event": "CLUSTER_DELETE", "adjustment": {"number": -1, "type": "MORE", "speed": 1}}
    with pytest.raises(InvalidConfiguration) as caught:
        world.call("create_policy", {"name": "bad", "spec": {"type": "scaling", "properties": bad}})
    assert {problem.path for problem in caught.value.problems} == {
        "$.spec.properties.event",
        "$.spec.properties.adjustment.number",
        "$.spec.properties.adjustment.type",
        "$.spec.properties.adjustment.speed",
    }


def test_types_tell_what_they_admit(world):
    names = [each["name"] for each in world.call("list_types")]
    assert {"process-1.0", "container-1.0", "scaling-1.0", "deletion-1.0", "batch-1.0", "affinity-1.0"} <= set(names)
    shown = world.call("get_type", "process-1.0")
    assert "command" in str(shown["schema"])
    assert "restart" in shown["operations"]
    assert [each["name"] for each in world.call("list_types", kind="policy")] == list(POLICY_TYPES)
    with pytest.raises((InvalidArgument, NoSuchObject)):
        world.call("get_type", "process")


def test_secrets_of_a_profile_are_in_no_event_and_no_audit_entry(plane):
    spec = {"type": "process", "properties": {"command": ["x"], "env": {"DATABASE": "sesame"}}}
    plane.call("create_profile", {"name": "one", "spec": spec})
    assert plane.call("get_profile", "one")["spec"]["properties"]["env"] == {"DATABASE": "sesame"}
    assert "sesame" not in str(plane.wire.published)
    assert "sesame" not in str(plane.call("list_audit"))


def test_no_policy_comes_or_goes_while_a_cluster_is_being_deleted(world):
    create(world, desired=2)
    attach(world, "one_each", "affinity", {"per_node_max": 1})
    attach(world, "oldest", "deletion", {"criteria": "OLDEST_FIRST"})
    world.call("detach_policy", "shop", "oldest")
    before = world.call("list_cluster_policies", "shop")
    deleting = world.call("delete_cluster", "shop")
    for verb, policy in (("attach_policy", "oldest"), ("detach_policy", "one_each")):
        with pytest.raises(ActionConflict, match=deleting["name"]):
            world.call(verb, "shop", policy)
    with pytest.raises(ActionConflict):
        world.call("update_cluster_policy", "shop", "one_each", enabled=False)
    assert world.call("list_cluster_policies", "shop") == before
    assert ended(world, deleting["oid"])["status"] == "SUCCEEDED"


def test_who_attaches_a_second_one_or_deletes_one_in_use_is_told_which_and_what_to_do(world):
    create(world)
    for name in ("first", "second"):
        rule = {"type": "deletion", "properties": {"criteria": "OLDEST_FIRST"}}
        world.call("create_policy", {"name": name, "spec": rule})
    world.call("attach_policy", "shop", "first", enabled=False)
    with pytest.raises(AlreadyExists, match="obeys policy first already, but it is disabled") as again:
        world.call("attach_policy", "shop", "first")
    assert again.value.next_step == "enable it by update_cluster_policy"
    world.call("update_cluster_policy", "shop", "first", True)
    with pytest.raises(AlreadyExists, match=r"obeys policy first already \(leave"):
        world.call("attach_policy", "shop", "first")
    with pytest.raises(AlreadyExists, match="obeys policy first already, and one of the type deletion") as other:
        world.call("attach_policy", "shop", "second")
    assert other.value.next_step == "detach first first"
    with pytest.raises(InUse) as used:
        world.call("delete_policy", "first")
    assert used.value.next_step == "call detach_policy first"


def test_who_has_no_place_for_a_policy_is_told_its_name(world):
    create(world, desired=1, max_size=99)
    attach(world, "apart", "affinity", {"per_node_max": 1})
    action = ended(world, world.call("resize_cluster", "shop", "EXACT_CAPACITY", 20)["oid"])
    assert "policy apart admits 1 worker on one node" in action["reason"]
    world.call("update_policy", "apart", {"name": "alone"})
    action = ended(world, world.call("resize_cluster", "shop", "EXACT_CAPACITY", 20)["oid"])
    assert "policy alone admits 1 worker on one node" in action["reason"]
    world.call("detach_policy", "shop", "alone")
    assert ended(world, world.call("resize_cluster", "shop", "EXACT_CAPACITY", 5)["oid"])["status"] == "SUCCEEDED"
