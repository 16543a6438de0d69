"""Clusters of processes: the real master and real agents, on a clock that only the test turns."""

import pytest

from controlplane.errors import (
    ActionConflict,
    ActionEnded,
    AlreadyExists,
    Ambiguous,
    InUse,
    InvalidArgument,
    InvalidConfiguration,
    NoSuchObject,
)
from tests.integration.generic import BROKEN, SPEC, commands, create, ended, running, workers
from tests.simulation.world import World


def test_a_created_cluster_starts_by_itself_on_all_nodes(world):
    made = world.call("create_cluster", {"name": "shop", "profile": "sleeper", "desired": 6})
    assert (made["status"], made["desired"]) == ("STARTING", 6)
    action = ended(world, made["action_oid"])
    assert (action["action"], action["status"], action["done"], action["total"]) == (
        "CLUSTER_CREATE",
        "SUCCEEDED",
        6,
        6,
    )
    assert [len(machine.units) for machine in world.machines] == [2, 2, 2]
    shown = world.call("get_cluster", "shop")
    assert (shown["status"], shown["action_oid"], shown["workers_by_status"]) == ("RUNNING", None, {"RUNNING": 6})
    assert world.topics()[-3:] == ["worker_started", "cluster_started", "action_ended"]


def test_a_cluster_is_found_by_name_oid_and_the_beginning_of_its_oid(world):
    oid = create(world)
    for key in ("shop", oid, oid[:8], oid.replace("-", "")[:13].upper()):
        assert world.call("get_cluster", key)["oid"] == oid
    with pytest.raises(NoSuchObject):
        world.call("get_cluster", oid[:3])


def test_a_beginning_that_fits_two_is_an_error_of_its_own(plane):
    plane.call("create_profile", {"name": "sleeper", "spec": SPEC})
    plane.call("create_cluster", {"name": "one", "profile": "sleeper"})
    plane.call("create_cluster", {"name": "two", "profile": "sleeper"})
    with pytest.raises(Ambiguous, match="more than one"):
        plane.call("get_cluster", "00000000")


def test_it_grows_and_shrinks_between_its_bounds(world):
    oid = create(world, desired=3, min_size=2, max_size=5)
    action = ended(world, world.call("scale_out_cluster", "shop", 2)["oid"])
    assert (action["status"], len(action["outputs"]["done"]), running(world)) == ("SUCCEEDED", 2, 5)
    with pytest.raises(InvalidArgument, match="between 2 and 5"):
        world.call("scale_out_cluster", "shop")
    action = ended(world, world.call("scale_in_cluster", "shop", 3)["oid"])
    assert (action["status"], len(action["outputs"]["removed"]), running(world)) == ("SUCCEEDED", 3, 2)
    relaxed = world.call("resize_cluster", "shop", "CHANGE_IN_PERCENTAGE", 400, strict=False)
    assert ended(world, relaxed["oid"])["status"] == "SUCCEEDED"
    assert (running(world), world.call("get_cluster", oid)["desired"]) == (5, 5)


def test_one_action_at_a_time_changes_a_cluster(world):
    create(world)
    first = world.call("scale_out_cluster", "shop")
    with pytest.raises(ActionConflict) as caught:
        world.call("scale_in_cluster", "shop")
    assert caught.value.subject["oid"] == first["oid"]
    assert ended(world, first["oid"])["status"] == "SUCCEEDED"
    assert ended(world, world.call("scale_in_cluster", "shop")["oid"])["status"] == "SUCCEEDED"


def test_growth_that_fails_takes_back_what_it_began_and_keeps_what_runs(world):
    oid = create(world, desired=3)
    before = {worker["oid"] for worker in workers(world, oid)}
    world.machines[0].broken["sleep"] = "no memory left"
    action = ended(world, world.call("scale_out_cluster", "shop", 3)["oid"])
    assert action["status"] == "FAILED"
    assert "no memory left" in action["reason"]
    assert len(action["outputs"]["failed"]) == len(action["outputs"]["undone"]) == 1
    now = world.call("get_cluster", "shop")
    assert (now["desired"], now["status"], running(world)) == (5, "RUNNING", 5)
    assert before <= {worker["oid"] for worker in workers(world, oid)}


def test_another_profile_reaches_the_workers_one_after_the_other(world):
    oid = create(world, desired=4)
    world.call("create_profile", {"name": "other", "spec": {**SPEC, "properties": {"command": ["sleep", "7"]}}})
    least = []
    changed = world.call("update_cluster", "shop", {"profile": "other"})

    def over() -> bool:
        least.append(world.call("get_cluster", oid)["workers_by_status"].get("RUNNING", 0))
        return world.call("get_action", changed["action_oid"])["ended"] is not None

    world.run_until(over, 60)
    action = world.call("get_action", changed["action_oid"])
    assert (action["status"], action["done"]) == ("SUCCEEDED", 4)
    assert min(least) >= 3
    assert world.call("get_cluster", "shop")["profile_oid"] == world.call("get_profile", "other")["oid"]
    assert commands(world, oid) == {"['sleep', '7']"}


def test_a_profile_that_does_not_run_is_rolled_back(world):
    oid = create(world, desired=4)
    before = {worker["oid"] for worker in workers(world, oid)}
    world.call("create_profile", {"name": "other", "spec": BROKEN})
    for machine in world.machines:
        machine.broken["broken"] = "no such program"
    changed = world.call("update_cluster", "shop", {"profile": "other"})
    action = ended(world, changed["action_oid"])
    assert (action["status"], len(action["outputs"]["undone"])) == ("FAILED", 1)
    assert "no such program" in action["reason"]
    now = world.call("get_cluster", "shop")
    assert (now["status"], now["profile_oid"]) == ("RUNNING", world.call("get_profile", "sleeper")["oid"])
    assert {worker["oid"] for worker in workers(world, oid)} == before
    assert commands(world, oid) == {"['sleep', '100']"}


@pytest.mark.parametrize("at", [0.001, 0.02, 0.06, 0.3, 1.2, 2.5])
def test_an_action_goes_on_where_it_was_when_the_master_was_killed(world, at):
    oid = create(world, desired=4)
    world.call("create_profile", {"name": "other", "spec": {**SPEC, "properties": {"command": ["sleep", "7"]}}})
    action = world.call("update_cluster", "shop", {"profile": "other"})["action_oid"]
    world.run(at)
    world.kill_master()
    world.run(2)
    world.start_master()
    assert ended(world, action)["status"] == "SUCCEEDED"
    assert commands(world, oid) == {"['sleep', '7']"}


def test_deletion_goes_first_and_leaves_nothing(world):
    oid = create(world)
    growing = world.call("scale_out_cluster", "shop", 5)["oid"]
    action = world.call("delete_cluster", "shop")
    assert world.call("get_action", growing)["status"] == "CANCELLED"
    assert world.call("get_cluster", oid)["status"] == "DELETING"
    with pytest.raises(ActionConflict):
        world.call("scale_in_cluster", "shop")
    assert ended(world, action["oid"])["status"] == "SUCCEEDED"
    assert running(world) == 0
    with pytest.raises(NoSuchObject):
        world.call("get_cluster", oid)
    assert world.topics()[-2:] == ["cluster_deleted", "action_ended"]
    create(world)


def test_a_cancelled_action_takes_back_what_has_not_come_about(world):
    create(world, desired=2)
    for machine in world.machines:
        machine.start_takes_s = 20
    action = world.call("scale_out_cluster", "shop", 4)["oid"]
    world.run(1)
    world.call("cancel_action", "shop", action)
    assert ended(world, action)["status"] == "CANCELLED"
    assert (running(world), world.call("get_cluster", "shop")["desired"]) == (2, 2)
    with pytest.raises(ActionEnded):
        world.call("cancel_action", "shop", action)


def test_an_action_does_not_take_for_ever(world):
    create(world, desired=1, timeout=30)
    for machine in world.machines:
        machine.start_takes_s = 1000
    action = ended(world, world.call("scale_out_cluster", "shop")["oid"], 100)
    assert action["status"] == "FAILED"
    assert "longer than 30 s" in action["reason"]
    assert world.call("get_cluster", "shop")["desired"] == 1


def test_workers_without_a_place_end_a_creation_and_are_placed_when_there_is_one():
    world = World(seed=1, nodes=0)
    world.call("create_profile", {"name": "sleeper", "spec": SPEC})
    made = world.call("create_cluster", {"name": "shop", "profile": "sleeper", "desired": 2})
    action = ended(world, made["action_oid"])
    assert (action["status"], len(action["outputs"]["failed"])) == ("FAILED", 2)
    assert "no place" in action["reason"]
    world.add_machine()
    world.run_until(lambda: world.call("get_cluster", "shop")["status"] == "RUNNING", 10)


def test_a_node_without_the_driver_gets_none(world):
    world.add_machine(drivers=("router",))
    create(world, desired=8)
    assert not world.machines[-1].units


def test_named_workers_are_replaced_or_taken_out_for_good(world):
    oid = create(world, desired=3)
    first, second, third = (worker["oid"] for worker in workers(world, oid))
    action = ended(world, world.call("replace_cluster_workers", "shop", [first])["oid"])
    assert (action["status"], action["outputs"]["removed"], len(action["outputs"]["done"])) == ("SUCCEEDED", [first], 1)
    now = {worker["oid"] for worker in workers(world, oid)}
    assert {second, third} < now
    assert first not in now
    action = ended(world, world.call("remove_cluster_workers", "shop", [second])["oid"])
    assert (action["status"], action["outputs"]["removed"]) == ("SUCCEEDED", [second])
    assert (running(world), world.call("get_cluster", "shop")["desired"]) == (2, 2)
    with pytest.raises(NoSuchObject):
        world.call("replace_cluster_workers", "shop", [first])


def test_recovering_replaces_what_is_sick_and_nothing_else(world):
    oid = create(world, desired=3)
    sick = workers(world, oid)[0]
    machine = next(machine for machine in world.machines if str(machine.oid) == sick["node_oid"])
    machine.broken[sick["oid"]] = "its disk is full"
    machine.kill_worker(next(o for o in machine.units if str(o) == sick["oid"]), "it died")
    world.run_until(lambda: any(worker["status"] == "ERROR" for worker in workers(world, oid)), 30)
    action = ended(world, world.call("recover_cluster", "shop")["oid"])
    assert (action["status"], action["outputs"]["removed"]) == ("SUCCEEDED", [sick["oid"]])
    assert world.call("get_cluster", "shop")["status"] == "RUNNING"


def test_a_router_cluster_is_resized_like_any_other(world):
    oid = world.call("create_routercluster", {"name": "demo"})["oid"]
    world.call("add_routercluster_node", oid, str(world.machines[0].oid))
    group = world.call("add_routercluster_workergroup", oid, {"name": "web", "scale": 2})["oid"]
    world.call("start_routercluster", oid)
    world.wait_for_status(oid, "RUNNING")
    action = ended(world, world.call("scale_out_cluster", "demo", 2)["oid"])
    assert (action["status"], action["done"]) == ("SUCCEEDED", 2)
    assert world.call("get_routercluster_workergroup", oid, group)["scale"] == 4
    with pytest.raises(InvalidConfiguration):
        world.call("delete_cluster", "demo")


def test_router_procedures_do_not_know_other_clusters(world):
    oid = create(world)
    for verb in ("get_routercluster", "start_routercluster", "stop_routercluster", "delete_routercluster"):
        with pytest.raises(NoSuchObject):
            world.call(verb, oid)
    assert world.call("list_routerclusters") == world.call("list_routerclusters", return_names=True) == []
    assert [each["name"] for each in world.call("list_clusters")] == ["shop"]


def test_a_profile_in_use_stays(world):
    create(world)
    with pytest.raises(InUse, match="shop"):
        world.call("delete_profile", "sleeper")
    ended(world, world.call("delete_cluster", "shop")["oid"])
    world.call("delete_profile", "sleeper")
    with pytest.raises(NoSuchObject):
        world.call("get_profile", "sleeper")


def test_every_problem_of_a_spec_is_told_with_its_path(plane):
    spec = {"type": "process", "version": "1.0", "properties": {"comand": ["x"], "env": {"A": 1}}}
    with pytest.raises(InvalidConfiguration) as caught:
        plane.call("create_profile", {"name": "bad", "spec": spec})
    assert {problem.path for problem in caught.value.problems} == {
        "$.spec.properties.comand",
        "$.spec.properties.env.A",
        "$.spec.properties.command",
    }
    with pytest.raises(InvalidConfiguration, match="there is no type"):
        plane.call("validate_profile", {"name": "bad", "spec": {"type": "vm"}})
    assert plane.call("list_profiles") == []


def test_names_of_profiles_are_unique_and_can_be_changed(plane):
    plane.call("create_profile", {"name": "one", "spec": SPEC})
    plane.call("create_profile", {"name": "two", "spec": SPEC, "metadata": {"team": "a"}})
    with pytest.raises(AlreadyExists):
        plane.call("update_profile", "two", {"name": "one"})
    plane.call("update_profile", "two", {"name": "three"})
    assert plane.call("get_profile", "three")["metadata"] == {"team": "a"}


def test_lists_are_filtered_sorted_and_paged_the_same_way(plane):
    plane.call("create_profile", {"name": "sleeper", "spec": SPEC})
    for name in ("bbb", "ccc", "aaa", "ddd"):
        plane.call("create_cluster", {"name": name, "profile": "sleeper"})

    def names(**query) -> list[str]:
        return [each["name"] for each in plane.call("list_clusters", **query)]

    assert names(sort="name") == ["aaa", "bbb", "ccc", "ddd"]
    assert names(sort="type,name:desc", limit=2) == ["ddd", "ccc"]
    marker = plane.call("get_cluster", "ccc")["oid"]
    assert names(sort="name:desc", marker=marker) == ["bbb", "aaa"]
    assert names(filters={"name": ["aaa", "ddd"]}, sort="name") == ["aaa", "ddd"]
    for bad in ({"sort": "colour"}, {"sort": "name:up"}, {"filters": {"colour": 1}}, {"marker": "nobody"}):
        with pytest.raises(InvalidArgument):
            names(**bad)


def test_a_large_cluster_is_made_in_steps_and_no_call_waits_for_it(world):
    made = world.call("create_cluster", {"name": "shop", "profile": "sleeper", "desired": 2500})
    assert made["workers_by_status"] == {}
    seen = set()

    def over() -> bool:
        seen.add(sum(world.call("get_cluster", "shop")["workers_by_status"].values()))
        return world.call("get_action", made["action_oid"])["ended"] is not None

    world.run_until(over, 600)
    assert world.call("get_action", made["action_oid"])["status"] == "SUCCEEDED"
    assert {1000, 2000} <= seen
    assert running(world) == 2500
