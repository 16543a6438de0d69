"""Checking workers and bringing them back: the real master and real agents, on a clock that only the test turns."""

from uuid import UUID

import msgspec
import pytest

from controlplane.errors import ActionConflict, InvalidArgument, NoSuchObject
from tests.integration.generic import configs, create, ended, machine_of, running, sicken, statuses, workers
from tests.simulation.world import World


def check(world: World, cluster: str = "shop") -> dict:
    return ended(world, world.call("check_cluster", cluster)["oid"])


def reasons(action: dict) -> dict[str, str]:
    return {each["worker_oid"]: each["reason"] for each in action["outputs"]["failed"]}


def test_a_check_finds_all_well_and_changes_nothing(world):
    oid = create(world, desired=4)
    before = workers(world, oid)
    action = check(world)
    assert (action["action"], action["status"], action["done"], action["total"]) == ("CLUSTER_CHECK", "SUCCEEDED", 4, 4)
    assert sorted(action["outputs"]["done"]) == sorted(statuses(world, oid))
    assert workers(world, oid) == before


def test_a_worker_that_is_not_well_is_marked_until_it_is(world):
    oid = create(world, desired=3)
    victim = workers(world, oid)[1]
    sicken(world, victim, "port 80 is deaf")
    action = check(world)
    assert (action["status"], action["done"], action["total"]) == ("SUCCEEDED", 2, 3)
    assert reasons(action) == {victim["oid"]: "port 80 is deaf"}
    assert "port 80 is deaf" in action["reason"]
    found = next(worker for worker in workers(world, oid) if worker["oid"] == victim["oid"])
    assert (found["status"], found["reason"], found["pid"]) == ("ERROR", "port 80 is deaf", victim["pid"])
    assert world.call("get_cluster", "shop")["status"] == "DEGRADED"
    for machine in world.machines:  # What agents say of themselves later is the same.
        machine.disconnect()
        machine.connect()
    world.run(10)
    assert statuses(world, oid)[victim["oid"]] == "ERROR"
    machine_of(world, victim).sick.clear()
    assert check(world)["outputs"]["failed"] == []
    assert set(statuses(world, oid).values()) == {"RUNNING"}
    assert world.call("get_cluster", "shop")["status"] == "RUNNING"
    assert "worker_failed" in world.topics()


def test_a_look_without_an_end_fails_alone(world):
    oid = create(world, desired=6)
    victim = workers(world, oid)[0]
    sicken(world, victim, None)
    begun = world.clock.now
    action = check(world)
    assert list(reasons(action)) == [victim["oid"]]
    assert "did not answer within 5 s" in action["outputs"]["failed"][0]["reason"]
    assert (action["done"], world.clock.now - begun < 10) == (5, True)


def test_one_worker_is_checked_alone(world):
    oid = create(world, desired=3)
    first, second, _ = workers(world, oid)
    sicken(world, second, "deaf")
    action = ended(world, world.call("check_worker", first["oid"])["oid"])
    assert (action["action"], action["target"], action["done"], action["total"]) == (
        "WORKER_CHECK",
        first["oid"],
        1,
        1,
    )
    assert set(statuses(world, oid).values()) == {"RUNNING"}
    action = ended(world, world.call("check_worker", second["oid"])["oid"])
    assert reasons(action) == {second["oid"]: "deaf"}
    with pytest.raises(NoSuchObject):
        world.call("check_worker", str(UUID(int=9)))


def test_workers_of_a_silent_node_have_failed(world):
    oid = create(world, desired=3, grace_period=1000)
    silent = world.machines[0]
    silent.disconnect()
    world.run(10)
    action = check(world)
    of_silent = {worker["oid"] for worker in workers(world, oid) if worker["node_oid"] == str(silent.oid)}
    assert set(reasons(action)) == of_silent
    assert action["outputs"]["failed"][0]["reason"] == "its node node0 is silent"
    assert statuses(world, oid)[of_silent.pop()] == "UNREACHABLE"


def test_an_agent_that_never_answers_is_not_waited_for(world):
    oid = create(world, desired=3)
    agent = world.machines[0].agent

    async def nothing(_question):
        pass

    agent._answer = nothing
    begun = world.clock.now
    action = check(world)
    assert (action["done"], world.clock.now - begun < 15) == (2, True)
    assert "did not say how it is" in action["outputs"]["failed"][0]["reason"]
    assert set(statuses(world, oid).values()) == {"RUNNING"}


@pytest.mark.parametrize("gone_for", [0, 3])
def test_a_check_goes_on_when_the_master_is_killed(world, gone_for):
    oid = create(world, desired=6)
    victim = workers(world, oid)[0]
    sicken(world, victim, None)
    action = world.call("check_cluster", "shop")["oid"]
    world.run(1)
    world.kill_master()
    world.run(gone_for)
    world.start_master()
    found = ended(world, action)
    assert (found["status"], found["done"], list(reasons(found))) == ("SUCCEEDED", 5, [victim["oid"]])


def test_a_check_holds_the_lock_and_can_be_cancelled(world):
    oid = create(world, desired=3)
    sicken(world, workers(world, oid)[0], None)
    action = world.call("check_cluster", "shop")["oid"]
    with pytest.raises(ActionConflict):
        world.call("scale_out_cluster", "shop")
    world.call("cancel_action", "shop", action)
    assert ended(world, action)["status"] == "CANCELLED"
    ended(world, world.call("scale_out_cluster", "shop")["oid"])
    world.run(10)
    assert ended(world, action)["outputs"]["done"] == []
    assert running(world) == 4


@pytest.mark.parametrize("operation", ["REBOOT", "rebuild"])
def test_a_worker_is_brought_back_in_its_place(world, operation):
    oid = create(world, desired=3)
    before = {worker["oid"]: worker for worker in workers(world, oid)}
    victim = workers(world, oid)[1]
    sicken(world, victim, "deaf")
    check(world)
    action = ended(world, world.call("recover_cluster", "shop", operation)["oid"])
    assert (action["status"], action["outputs"]["done"]) == ("SUCCEEDED", [victim["oid"]])
    after = {worker["oid"]: worker for worker in workers(world, oid)}
    assert after[victim["oid"]]["node_oid"] == victim["node_oid"]
    assert [oid for oid in after if after[oid]["pid"] != before[oid]["pid"]] == [victim["oid"]]
    assert {worker["status"] for worker in after.values()} == {"RUNNING"}
    told = configs(world)[victim["oid"]]
    assert (told["generation"], told.get("rebuilds", 0)) == (1, operation == "rebuild")
    assert check(world)["outputs"]["failed"] == []


def test_recovering_with_a_check_finds_the_sick_first(world):
    oid = create(world, desired=4)
    victim = workers(world, oid)[2]
    sicken(world, victim, "deaf")
    action = ended(world, world.call("recover_cluster", "shop", "REBOOT", check=True)["oid"])
    assert (action["status"], action["outputs"]["done"]) == ("SUCCEEDED", [victim["oid"]])
    assert action["inputs"]["found"] == [victim["oid"]]
    assert (running(world), set(statuses(world, oid).values())) == (4, {"RUNNING"})


def test_without_an_operation_the_sick_are_replaced(world):
    oid = create(world, desired=4)
    victim = workers(world, oid)[2]
    sicken(world, victim, "deaf")
    action = ended(world, world.call("recover_cluster", "shop", check=True)["oid"])
    assert action["status"] == "SUCCEEDED"
    assert action["outputs"]["removed"] == [victim["oid"]]
    assert victim["oid"] not in statuses(world, oid)
    assert (running(world), set(statuses(world, oid).values())) == (4, {"RUNNING"})


def test_the_next_operation_follows_one_that_fails(world):
    oid = create(world, desired=3)
    victim = workers(world, oid)[0]
    machine_of(world, victim).broken[victim["oid"]] = "the disk is full"
    asked = world.call("recover_worker", victim["oid"], ["REBOOT", "REBUILD", "RECREATE"])
    action = ended(world, asked["oid"])
    assert (action["status"], action["target"], len(action["outputs"]["done"])) == ("SUCCEEDED", victim["oid"], 1)
    assert action["outputs"]["removed"] == [victim["oid"]]
    assert (running(world), set(statuses(world, oid).values())) == (3, {"RUNNING"})


def test_a_chain_that_is_at_its_end_has_failed_and_says_what_was_tried(world):
    oid = create(world, desired=3)
    victim = workers(world, oid)[0]
    machine_of(world, victim).broken[victim["oid"]] = "the disk is full"
    action = ended(world, world.call("recover_worker", victim["oid"], ["REBOOT", "REBUILD"])["oid"])
    assert action["status"] == "FAILED"
    assert reasons(action).keys() == {victim["oid"]}
    assert action["reason"].count("the disk is full") == 2
    assert "REBOOT: " in action["reason"]
    assert "REBUILD: " in action["reason"]


def test_an_operation_that_takes_too_long_has_failed(world):
    oid = create(world, desired=3)
    victim = workers(world, oid)[0]
    machine_of(world, victim).start_takes_s = 500
    asked = world.call("recover_worker", victim["oid"], ["REBOOT", "RECREATE"], {"timeout": 7})
    begun = world.clock.now
    world.run(1)
    machine_of(world, victim).start_takes_s = None
    world.run_until(lambda: world.call("get_action", asked["oid"])["outputs"]["removed"] or None, 600)
    assert ended(world, asked["oid"])["status"] == "SUCCEEDED"
    assert world.clock.now - begun > 7
    assert "within 7 s" not in str(reasons(world.call("get_action", asked["oid"])))
    assert set(statuses(world, oid).values()) == {"RUNNING"}


def test_a_worker_of_a_silent_node_can_only_be_recreated(world):
    oid = create(world, desired=3, grace_period=1000)
    silent = world.machines[0]
    silent.disconnect()
    world.run(10)
    action = ended(world, world.call("recover_cluster", "shop", "REBOOT")["oid"])
    assert (action["status"], "its node is silent" in action["reason"]) == ("FAILED", True)
    asked = world.call("recover_cluster", "shop", ["REBOOT", "RECREATE"])
    world.run(5)
    assert sorted(statuses(world, oid).values()).count("RUNNING") == 3
    silent.connect()
    assert ended(world, asked["oid"])["status"] == "SUCCEEDED"
    assert (running(world), len(workers(world, oid))) == (3, 3)


@pytest.mark.parametrize("moment", [0.0, 0.02, 0.06, 0.5])
def test_a_recovery_goes_on_when_the_master_is_killed(world, moment):
    oid = create(world, desired=4)
    for victim in workers(world, oid)[:2]:
        sicken(world, victim, "deaf")
    action = world.call("recover_cluster", "shop", "REBUILD", check=True)["oid"]
    world.run(moment)
    world.kill_master()
    world.run(1)
    world.start_master()
    found = ended(world, action)
    assert (found["status"], len(found["outputs"]["done"])) == ("SUCCEEDED", 2)
    assert (running(world), set(statuses(world, oid).values())) == (4, {"RUNNING"})
    assert sorted(told["generation"] for told in configs(world).values()) == [0, 0, 1, 1]


def test_every_problem_of_a_recovery_is_told(world):
    create(world)
    with pytest.raises(InvalidArgument) as caught:
        world.call("recover_cluster", "shop", ["REBOOT", "PRAY"], {"timeout": -1, "speed": 2})
    assert {problem.path for problem in caught.value.problems} == {
        "$.operation",
        "$.operation_params.timeout",
        "$.operation_params.speed",
    }


@pytest.mark.parametrize("operation", ["REBOOT", "RECREATE"])
def test_workers_of_router_clusters_are_checked_and_brought_back_as_well(world, operation):
    oid = world.call("create_routercluster", {"name": "mesh"})["oid"]
    for machine in world.machines:
        world.call("add_routercluster_node", oid, str(machine.oid))
    world.call("add_routercluster_workergroup", oid, {"name": "web", "scale": 2})
    world.call("start_routercluster", oid)
    world.wait_for_status(oid, "RUNNING")
    router = next(worker for worker in world.workers(oid) if worker["workergroup_oid"] is None)
    sicken(world, router, "it does not answer")
    assert list(reasons(check(world, "mesh"))) == [router["oid"]]
    action = ended(world, world.call("recover_worker", router["oid"], operation)["oid"])
    assert action["status"] == "SUCCEEDED"
    world.wait_for_status(oid, "RUNNING")
    assert check(world, "mesh")["outputs"]["failed"] == []
    assert router["oid"] in {worker["oid"] for worker in world.workers(oid)}
    assert running(world) == 3


@pytest.mark.parametrize("operation", ["REBOOT", "REBUILD", "RECREATE"])
def test_a_worker_in_no_cluster_is_checked_and_stays_the_one_it_is(world, operation):
    made = ended(world, world.call("create_worker", {"name": "clock", "profile": "sleeper"})["oid"])
    clock = world.call("get_worker", made["target"])
    sicken(world, clock, "it stands still")
    action = ended(world, world.call("check_worker", "clock")["oid"])
    assert (action["target"], reasons(action)) == (clock["oid"], {clock["oid"]: "it stands still"})
    action = ended(world, world.call("recover_worker", "clock", operation)["oid"])
    assert (action["action"], action["status"]) == ("WORKER_RECOVER", "SUCCEEDED")
    after = world.call("get_worker", "clock")
    assert (after["oid"], after["status"], running(world)) == (clock["oid"], "RUNNING", 1)
    assert after["pid"] != clock["pid"]


def test_a_worker_that_was_paused_just_now_is_as_it_is_wanted(world):
    create(world, desired=2)
    victim = workers(world, "shop")[0]
    machine, oid = machine_of(world, victim), UUID(victim["oid"])
    sicken(world, victim, "its container is paused")
    machine.units[oid] = msgspec.structs.replace(machine.units[oid], paused=True)
    assert check(world)["outputs"]["failed"] == []
    machine.units[oid] = msgspec.structs.replace(machine.units[oid], paused=False)
    assert reasons(check(world)) == {victim["oid"]: "its container is paused"}
