"""Workers that stand by: the real master and real agents, on a clock that only the test turns."""

import pytest

from controlplane.errors import InvalidArgument, LimitReached
from tests.integration.test_generic_clusters import SPEC, create, ended
from tests.simulation.world import World

STARTS_S = 5.0
OTHER = {**SPEC, "properties": {"command": ["sleep", "7"]}}


@pytest.fixture
def world():
    made = World(seed=1, nodes=3)
    made.call("create_profile", {"name": "sleeper", "spec": SPEC})
    for machine in made.machines:
        machine.start_takes_s = STARTS_S
    return made


def attach(world: World, size: int, name: str = "ready", **properties) -> None:
    spec = {"type": "standby", "properties": {"size": size, **properties}}
    world.call("create_policy", {"name": name, "spec": spec})
    world.call("attach_policy", "shop", name)


def shop(world: World, desired: int, size: int, **settings) -> None:
    """A cluster whose pool is full."""
    create(world, desired, **settings)
    attach(world, size)
    filled(world, size)
    world.run(2)


def pool(world: World) -> dict[str, dict]:
    return {worker["oid"]: worker for worker in world.call("list_cluster_workers", "shop", filters={"standby": True})}


def members(world: World) -> dict[str, dict]:
    return {worker["oid"]: worker for worker in world.call("list_cluster_workers", "shop", filters={"standby": False})}


def counts(world: World) -> dict[str, int]:
    return world.call("get_cluster", "shop")["workers_by_status"]


def filled(world: World, size: int, seconds: float = 60) -> None:
    world.run_until(lambda: counts(world).get("STANDBY") == size and sum(counts(world).values()) > size, seconds)


def started(world: World) -> dict[str, int]:
    return {str(oid): unit.started for machine in world.machines for oid, unit in machine.units.items()}


def taken(world: World) -> list[dict]:
    return [payload for topic, payload in world.events if topic.endswith("on_worker_promoted")]


def test_workers_stand_by_beside_those_that_are_wanted(world):
    create(world, desired=3)
    attach(world, 2)
    filled(world, 2)
    shown = world.call("get_cluster", "shop")
    assert (shown["desired"], shown["status"], shown["workers_by_status"]) == (
        3,
        "RUNNING",
        {"RUNNING": 3, "STANDBY": 2},
    )
    assert sorted(len(machine.units) for machine in world.machines) == [1, 2, 2]
    assert len(members(world)) == 3
    assert {worker["index"] for worker in pool(world).values()} == {3, 4}
    named = world.call("list_workers", filters={"standby": True}, sort="name")
    assert [each["name"] for each in named] == ["shop-3", "shop-4"]
    found = world.call("collect_cluster_attributes", "shop", "$.standby")
    assert sorted(each["value"] for each in found) == [False, False, False, True, True]


def test_a_scale_out_takes_those_that_are_ready_as_they_run_and_the_pool_is_filled_again(world):
    shop(world, desired=2, size=2)
    ready, before, begun = pool(world), started(world), world.clock.now
    action = ended(world, world.call("scale_out_cluster", "shop", 2)["oid"])
    assert action["status"] == "SUCCEEDED"
    assert world.clock.now - begun < 0.5
    assert set(action["outputs"]["done"]) == set(ready)
    assert ready.keys() <= members(world).keys()
    assert {oid: began for oid, began in started(world).items() if oid in before} == before
    assert [(each["policy_name"], each["said"]) for each in action["decisions"]] == [
        ("ready", "of 2 missing workers it takes 2 that stood by ready; 2 stand by")
    ]
    assert {(each["oid"], each["instead_of"]) for each in taken(world)} == {(oid, None) for oid in ready}
    filled(world, 2)
    assert not ready.keys() & pool(world).keys()
    assert counts(world) == {"RUNNING": 4, "STANDBY": 2}


def test_what_the_pool_cannot_give_is_started(world):
    shop(world, desired=1, size=1)
    begun = world.clock.now
    action = ended(world, world.call("scale_out_cluster", "shop", 3)["oid"])
    assert (action["status"], len(action["outputs"]["done"])) == ("SUCCEEDED", 3)
    assert world.clock.now - begun > STARTS_S
    assert action["decisions"][0]["said"] == "of 3 missing workers it takes 1 that stood by ready, 2 new; 1 stand by"


def test_one_that_begins_to_start_is_taken_before_a_new_one(world):
    shop(world, desired=1, size=1)
    ended(world, world.call("scale_out_cluster", "shop")["oid"])
    world.run(STARTS_S / 2)
    (coming,) = pool(world)
    begun = world.clock.now
    action = ended(world, world.call("scale_out_cluster", "shop")["oid"])
    assert action["outputs"]["done"] == [coming]
    assert world.clock.now - begun < STARTS_S
    assert "1 that stood by and has to start yet" in action["decisions"][0]["said"]


def test_a_schedule_takes_them_as_a_call_does(world):
    shop(world, desired=1, size=1)
    (ready,) = pool(world)
    schedule = {"type": "schedule", "properties": {"cron": "* * * * *", "change": 1}}
    world.call("create_policy", {"name": "once", "spec": schedule})
    world.call("attach_policy", "shop", "once")
    world.run_until(lambda: len(members(world)) == 2, 130)
    assert ready in members(world)
    action = world.call("list_actions", filters={"cause": "policy"})[0]
    assert "ready" in [each["policy_name"] for each in world.call("get_action", action["oid"])["decisions"]]


def test_a_failed_worker_changes_places_with_one_that_is_ready(world):
    shop(world, desired=2, size=1)
    (ready,) = pool(world)
    failed = sorted(members(world))[0]
    machine = next(each for each in world.machines if failed in map(str, each.units))
    machine.kill_worker(next(oid for oid in machine.units if str(oid) == failed), "it crashed")
    world.run(0.5)
    assert (set(pool(world)), ready in members(world)) == ({failed}, True)
    assert world.call("get_cluster", "shop")["status"] == "RUNNING"
    (event,) = taken(world)
    assert (event["oid"], event["instead_of"]) == (ready, failed)
    filled(world, 1)
    assert set(pool(world)) == {failed}


def test_a_lost_node_costs_no_more_than_the_grace_period(world):
    shop(world, desired=2, size=2, grace_period=2)
    lost = next(each for each in world.machines if {str(oid) for oid in each.units} & members(world).keys())
    on_it = {oid for oid, worker in members(world).items() if worker["node_oid"] == str(lost.oid)}
    well = {oid for oid, worker in pool(world).items() if worker["node_oid"] != str(lost.oid)}
    lost.power_cut()
    begun = world.clock.now
    world.run_until(lambda: counts(world).get("UNREACHABLE", 0), 60)
    world.run_until(lambda: counts(world).get("RUNNING") == 2 and len(members(world)) == 2, 60)
    assert world.clock.now - begun < 2 + STARTS_S
    assert not on_it & members(world).keys()
    assert well & members(world).keys()
    filled(world, 2)


def test_without_recovery_a_failed_worker_is_started_again_where_it_was(world):
    create(world, desired=1)
    attach(world, 1, recovery=False)
    filled(world, 1)
    (only,) = members(world)
    machine = next(each for each in world.machines if only in map(str, each.units))
    machine.kill_worker(next(oid for oid in machine.units if str(oid) == only), "it crashed")
    world.run(STARTS_S + 1)
    assert set(members(world)) == {only}
    assert not taken(world)


def test_recreation_takes_one_that_is_ready(world):
    shop(world, desired=2, size=1)
    (ready,) = pool(world)
    sick = sorted(members(world))[0]
    action = ended(world, world.call("recover_worker", sick)["oid"])
    assert (action["status"], action["outputs"]["done"], action["outputs"]["removed"]) == ("SUCCEEDED", [ready], [sick])


def test_protected_and_named_workers_change_places_with_nobody(world):
    shop(world, desired=1, size=1)
    (only,) = members(world)
    world.call("protect_worker", only)
    machine = next(each for each in world.machines if only in map(str, each.units))
    machine.kill_worker(next(oid for oid in machine.units if str(oid) == only), "it crashed")
    world.run(STARTS_S + 1)
    assert set(members(world)) == {only}


def test_another_profile_reaches_those_that_stand_by_first_and_all_at_once(world):
    shop(world, desired=2, size=2)
    world.call("create_profile", {"name": "other", "spec": OTHER})
    ready = set(pool(world))
    action = world.call("update_cluster", "shop", {"profile": "other"})["action_oid"]
    world.run(STARTS_S + 0.5)
    assert all(world.call("get_worker", oid)["updated"] for oid in ready)
    assert ended(world, action)["status"] == "SUCCEEDED"
    assert (set(pool(world)), counts(world)) == (ready, {"RUNNING": 2, "STANDBY": 2})
    ended(world, world.call("scale_out_cluster", "shop", 2)["oid"])
    revisions = {world.call("get_worker", oid)["revision"] for oid in members(world)}
    assert (len(members(world)), len(revisions)) == (4, 1)


def test_they_give_way_to_workers_for_which_there_is_no_room(world):
    world = World(seed=1)
    world.add_machine(capacity=3)
    world.call("create_profile", {"name": "sleeper", "spec": SPEC})
    shop(world, desired=2, size=1)
    ready = set(pool(world))
    assert ended(world, world.call("scale_out_cluster", "shop")["oid"])["status"] == "SUCCEEDED"
    assert ready <= members(world).keys()
    world.run(5)
    assert counts(world) == {"RUNNING": 3, "STANDBY_PENDING": 1}
    (waiting,) = pool(world).values()
    assert "capacity of 3 reached" in waiting["reason"]
    assert world.call("get_cluster", "shop")["status"] == "RUNNING"
    world.add_machine()
    filled(world, 1, 5)


def test_a_worker_with_a_name_has_one_of_them_go(world):
    world = World(seed=1)
    world.add_machine(capacity=2)
    world.call("create_profile", {"name": "sleeper", "spec": SPEC})
    shop(world, desired=1, size=1)
    made = world.call("create_worker", {"name": "mine", "profile": "sleeper"}, cluster="shop")
    assert ended(world, made["oid"])["status"] == "SUCCEEDED"
    assert world.call("get_worker", "mine")["status"] == "RUNNING"
    world.run(5)
    assert counts(world) == {"RUNNING": 2, "STANDBY_PENDING": 1}


def test_they_stand_where_policies_admit_the_cluster_and_the_best_placed_is_taken(world):
    world = World(seed=1)
    world.call("create_profile", {"name": "sleeper", "spec": SPEC})
    world.add_machine(zone="a")
    create(world, desired=1)
    world.add_machine(zone="b")
    world.add_machine(zone="c")
    world.run(1)
    zones = {"zones": [{"name": "a"}, {"name": "b"}]}
    world.call("create_policy", {"name": "zones", "spec": {"type": "zone_placement", "properties": zones}})
    world.call("attach_policy", "shop", "zones")
    attach(world, 2)
    filled(world, 2)
    nodes = {str(machine.oid): zone for machine, zone in zip(world.machines, "abc", strict=True)}
    assert sorted(nodes[worker["node_oid"]] for worker in pool(world).values()) == ["a", "b"]
    ended(world, world.call("scale_out_cluster", "shop")["oid"])
    assert {nodes[worker["node_oid"]] for worker in members(world).values()} == {"a", "b"}


def test_the_pool_goes_with_its_policy_and_with_its_cluster(world):
    shop(world, desired=1, size=2)
    world.call("update_cluster_policy", "shop", "ready", enabled=False)
    world.run_until(lambda: counts(world) == {"RUNNING": 1}, 10)
    world.call("update_cluster_policy", "shop", "ready", enabled=True)
    filled(world, 2)
    world.call("detach_policy", "shop", "ready")
    world.run_until(lambda: counts(world) == {"RUNNING": 1}, 10)
    attach(world, 0, "none")
    world.run(1)
    assert counts(world) == {"RUNNING": 1}
    world.call("detach_policy", "shop", "none")
    world.call("attach_policy", "shop", "ready")
    filled(world, 2)
    assert ended(world, world.call("delete_cluster", "shop")["oid"])["status"] == "SUCCEEDED"
    assert sum(len(machine.units) for machine in world.machines) == 0


def test_a_shrinking_cluster_leaves_the_pool_alone(world):
    shop(world, desired=3, size=2)
    ready = set(pool(world))
    action = ended(world, world.call("scale_in_cluster", "shop", 2)["oid"])
    assert not ready & set(action["outputs"]["removed"])
    assert (set(pool(world)), counts(world)) == (ready, {"RUNNING": 1, "STANDBY": 2})


def test_a_master_that_is_killed_while_it_takes_them_loses_none_and_makes_none_twice(world):
    shop(world, desired=2, size=2)
    ready, before = set(pool(world)), started(world)
    world.ask("scale_out_cluster", "shop", 2).addErrback(lambda _: None)
    world.run(0.02)
    world.kill_master()
    world.run(1)
    world.start_master()
    world.run_until(lambda: counts(world) == {"RUNNING": 4, "STANDBY": 2}, 60)
    assert ready <= members(world).keys()
    assert before.items() <= started(world).items()
    assert len(started(world)) == 6


def test_nobody_takes_out_replaces_protects_or_deletes_one_that_stands_by(world):
    shop(world, desired=2, size=1)
    (ready,) = pool(world)
    for verb, arguments in (
        ("remove_cluster_workers", ("shop", [ready])),
        ("replace_cluster_workers", ("shop", [ready])),
        ("protect_worker", (ready,)),
        ("delete_worker", (ready,)),
    ):
        with pytest.raises(InvalidArgument, match="stands by"):
            world.call(verb, *arguments)
    assert ended(world, world.call("recover_worker", ready)["oid"])["status"] == "SUCCEEDED"
    assert set(pool(world)) == {ready}


def test_a_check_looks_at_those_that_stand_by(world):
    shop(world, desired=1, size=1)
    action = ended(world, world.call("check_cluster", "shop")["oid"])
    assert len(action["outputs"]["done"]) == 2


def test_router_clusters_have_none(world):
    world.call("create_routercluster", {"name": "web"})
    world.call("create_policy", {"name": "ready", "spec": {"type": "standby"}})
    with pytest.raises(InvalidArgument, match="router cluster"):
        world.call("attach_policy", "web", "ready")


def test_they_count_among_the_workers_that_a_cluster_may_have(limited):
    plane = limited(workers_max=4)
    plane.call("create_profile", {"name": "sleeper", "spec": SPEC})
    plane.call("create_cluster", {"name": "shop", "profile": "sleeper", "desired": 3})
    plane.call("create_policy", {"name": "ready", "spec": {"type": "standby", "properties": {"size": 2}}})
    with pytest.raises(LimitReached):
        plane.call("attach_policy", "shop", "ready")


def crowded(desired: int, size: int, capacity: int) -> World:
    """A cluster with a pool on the one node that there is."""
    made = World(seed=1)
    made.add_machine(capacity=capacity)
    made.call("create_profile", {"name": "sleeper", "spec": SPEC})
    shop(made, desired, size)
    return made


def test_they_give_way_to_workers_of_another_cluster_and_do_not_come_back_before_it_has_room():
    world = crowded(desired=1, size=3, capacity=4)
    made = world.call("create_cluster", {"name": "other", "profile": "sleeper", "desired": 2})
    assert ended(world, made["action_oid"])["status"] == "SUCCEEDED"
    world.run(10)
    assert world.call("get_cluster", "other")["workers_by_status"] == {"RUNNING": 2}
    assert counts(world) == {"RUNNING": 1, "STANDBY": 1, "STANDBY_PENDING": 2}
    assert len(world.machines[0].units) == 4
    ended(world, world.call("delete_cluster", "other")["oid"])
    filled(world, 3, 20)


def test_no_more_of_them_go_than_workers_of_others_wait():
    world = crowded(desired=1, size=2, capacity=3)
    world.machines[0].temper.stop_s = 1.0
    made = world.call("create_cluster", {"name": "other", "profile": "sleeper", "desired": 1})
    for number in range(3):
        world.run(0.2)
        world.call("update_cluster", "other", {"metadata": {"look": str(number)}})
    assert ended(world, made["action_oid"])["status"] == "SUCCEEDED"
    assert counts(world)["STANDBY"] == 1
    world.call("scale_out_cluster", "other", 5)
    world.run(3)
    shown = world.call("get_cluster", "other")["workers_by_status"]
    assert (shown["RUNNING"], shown["PENDING"]) == (2, 4)
    assert counts(world) == {"RUNNING": 1, "STANDBY_PENDING": 2}


def test_a_cluster_that_cannot_use_the_room_keeps_nobody_from_standing_by():
    world = crowded(desired=1, size=1, capacity=3)
    world.call("create_policy", {"name": "apart", "spec": {"type": "affinity"}})
    world.call("create_cluster", {"name": "other", "profile": "sleeper", "desired": 1})
    world.call("attach_policy", "other", "apart")
    world.run(3)
    world.call("scale_out_cluster", "other", 1)
    world.call("detach_policy", "shop", "ready")
    world.run(3)
    world.call("attach_policy", "shop", "ready")
    filled(world, 1, 5)
    assert world.call("get_cluster", "other")["workers_by_status"] == {"RUNNING": 1, "PENDING": 1}


def test_a_router_cluster_gets_its_room_too():
    world = crowded(desired=1, size=2, capacity=3)
    oid = world.call("create_routercluster", {"name": "web"})["oid"]
    world.call("add_routercluster_node", oid, str(world.machines[0].oid))
    world.call("add_routercluster_workergroup", oid, {"name": "front", "scale": 1})
    world.call("start_routercluster", oid)
    world.wait_for_status(oid, "RUNNING")
    assert counts(world) == {"RUNNING": 1, "STANDBY_PENDING": 2}
