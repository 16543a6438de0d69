"""Operations on workers and what they have written: the real master and real agents, on a clock that the test turns."""

import pytest

from controlplane.errors import (
    ActionConflict,
    InvalidArgument,
    NoSuchObject,
    NotAttached,
    NotAuthorized,
    NotOffered,
)
from controlplane.records.principals import Caller
from tests.integration.generic import create, ended, machine_of, workers
from tests.simulation.world import World

USR1 = {"signal": "SIGUSR1"}
OPERATOR = Caller(session=8, authid="otto", authrole="operator")


def operated(world: World) -> list[str]:
    """What was done to workers, on all machines."""
    return [each for machine in world.machines for done in machine.operated.values() for each in done]


def results(world: World, action: dict) -> list[dict]:
    return world.call("list_operation_results", "shop", action["oid"])


def test_every_worker_of_a_cluster_does_it_once(world):
    create(world, desired=6)
    before = {worker["oid"]: worker["pid"] for worker in workers(world, "shop")}
    begun = world.call("perform_cluster_operation", "shop", "restart")
    assert (begun["action"], begun["total"], begun["inputs"]["operation"]) == ("CLUSTER_OPERATION", 6, "restart")
    action = ended(world, begun["oid"])
    assert (action["status"], action["done"], set(action["outputs"]["done"])) == ("SUCCEEDED", 6, set(before))
    assert operated(world) == ["restart"] * 6
    world.run(1)
    after = workers(world, "shop")
    assert all(worker["status"] == "RUNNING" and worker["pid"] != before[worker["oid"]] for worker in after)
    assert {worker["restarts"] for worker in after} == {0}
    assert "worker_failed" not in world.topics()
    assert {(each["status"], each["result"]["times"]) for each in results(world, action)} == {("DONE", 1)}
    assert world.call("get_cluster", "shop")["action_oid"] is None


def test_one_worker_is_named_and_the_others_are_left_alone(world):
    oid = create(world)
    victim = workers(world, oid)[1]
    begun = world.call("perform_worker_operation", victim["oid"][:8], "signal", USR1)
    assert (begun["action"], begun["target"]) == ("WORKER_OPERATION", victim["oid"])
    assert ended(world, begun["oid"])["outputs"]["done"] == [victim["oid"]]
    assert [dict(machine.operated) for machine in world.machines if machine.operated] == [
        {next(o for o in machine_of(world, victim).units if str(o) == victim["oid"]): ["signal"]}
    ]


def test_filters_say_which_workers_of_a_cluster(world):
    oid = create(world, desired=6)
    node = workers(world, oid)[0]["node_oid"]
    begun = world.call("perform_cluster_operation", "shop", "restart", filters={"node_oid": node})
    assert (begun["total"], ended(world, begun["oid"])["done"]) == (2, 2)
    assert [len(machine.operated) for machine in world.machines].count(0) == 2
    with pytest.raises(InvalidArgument, match="fit no worker"):
        world.call("perform_cluster_operation", "shop", "restart", filters={"status": "ERROR"})


def test_no_more_are_under_way_at_a_time_than_was_said(world):
    create(world, desired=6)
    begun = world.call("perform_cluster_operation", "shop", "restart", parallel=2)
    most = []

    def over() -> bool:
        most.append(sum(count > 0 for machine in world.machines for count in machine.busy.values()))
        return world.call("get_action", begun["oid"])["ended"] is not None

    world.run_until(over, 60)
    assert max(most) == 2
    assert len(operated(world)) == 6


def test_the_cluster_is_locked_meanwhile(world):
    create(world)
    for machine in world.machines:
        machine.operations_take_s = 5
    begun = world.call("perform_cluster_operation", "shop", "restart")
    with pytest.raises(ActionConflict):
        world.call("scale_out_cluster", "shop")
    assert ended(world, begun["oid"])["status"] == "SUCCEEDED"
    assert ended(world, world.call("scale_out_cluster", "shop")["oid"])["status"] == "SUCCEEDED"


@pytest.mark.parametrize(
    ("operation", "parameters", "path"),
    [
        ("explode", {}, r"\$.operation"),
        ("signal", {}, r"\$.parameters.signal"),
        ("signal", {"signal": "SIGNOTHING"}, r"\$.parameters.signal"),
        ("restart", {"fast": True}, r"\$.parameters.fast"),
    ],
)
def test_what_no_worker_could_do_is_refused_at_once(world, operation, parameters, path):
    create(world, desired=1)
    with pytest.raises(InvalidArgument) as caught:
        world.call("perform_cluster_operation", "shop", operation, parameters)
    assert [problem.path for problem in caught.value.problems] == [path.replace("\\", "")]
    assert world.call("get_cluster", "shop")["action_oid"] is None


def test_routers_know_no_operations(world):
    world.call("create_routercluster", {"name": "mesh"})
    world.call("add_routercluster_workergroup", world.call("get_cluster", "mesh")["oid"], {"name": "web"})
    world.run(1)
    with pytest.raises(InvalidArgument, match="fit no worker"):
        world.call("perform_cluster_operation", "mesh", "restart")
    cluster = world.call("get_cluster", "mesh")["oid"]
    world.call("add_routercluster_node", cluster, str(world.machines[0].oid))
    world.call("start_routercluster", cluster)
    world.wait_for_status(cluster, "RUNNING")
    with pytest.raises(NotOffered):
        world.call("perform_cluster_operation", "mesh", "restart")


def test_a_worker_that_does_not_run_or_is_silent_fails_and_the_others_do_it(world):
    oid = create(world, grace_period=30)
    silent = workers(world, oid)[0]
    machine_of(world, silent).disconnect()
    world.run_until(lambda: world.call("get_node", silent["node_oid"])["status"] == "offline", 10)
    action = ended(world, world.call("perform_cluster_operation", "shop", "restart")["oid"])
    assert (action["status"], action["done"], len(action["outputs"]["failed"])) == ("FAILED", 2, 1)
    assert action["outputs"]["failed"][0]["worker_oid"] == silent["oid"]
    assert "UNREACHABLE" in action["reason"]
    assert "1 of 3" in action["reason"]
    machine_of(world, silent).connect()
    world.run(10)
    assert operated(world) == ["restart"] * 2


def test_what_a_driver_refuses_is_told(world):
    create(world, desired=3)
    world.machines[1].refuses = "it has no time"
    action = ended(world, world.call("perform_cluster_operation", "shop", "restart")["oid"])
    assert (action["status"], action["done"]) == ("FAILED", 2)
    assert [each["reason"] for each in action["outputs"]["failed"]] == ["it has no time"]
    assert "it has no time" in action["reason"]
    assert sorted(each["status"] for each in results(world, action)) == ["DONE", "DONE", "FAILED"]


@pytest.mark.parametrize("at", [0.0, 0.0004, 0.002, 0.03, 0.051, 0.0525, 0.06])
def test_a_master_that_is_killed_asks_again_and_nothing_is_done_twice(world, at):
    create(world, desired=4)
    begun = world.call("perform_cluster_operation", "shop", "restart", parallel=2)
    world.run(at)
    world.kill_master()
    world.run(2)
    world.start_master()
    action = ended(world, begun["oid"], 120)
    assert (action["status"], action["done"]) == ("SUCCEEDED", 4)
    assert operated(world) == ["restart"] * 4


@pytest.mark.parametrize("at", [0.001, 0.02, 0.0505, 0.052])
def test_an_agent_that_is_killed_leaves_it_unknown_and_does_not_do_it_again(world, at):
    oid = create(world, desired=3)
    victim = machine_of(world, workers(world, oid)[0])
    begun = world.call("perform_cluster_operation", "shop", "restart")
    world.run(at)
    victim.kill_agent()
    world.run(1)
    victim.start_agent()
    action = ended(world, begun["oid"], 120)
    assert len(operated(world)) <= 3
    assert action["done"] + len(action["outputs"]["unknown"]) == 3
    if action["outputs"]["unknown"]:
        assert action["status"] == "FAILED"
        assert "may have done it" in action["reason"]
        assert "started anew" in action["outputs"]["unknown"][0]["reason"]
    world.run(100)
    assert len(operated(world)) <= 3


def test_a_node_that_is_lost_in_the_middle_leaves_it_unknown(world):
    oid = create(world, grace_period=5)
    lost = machine_of(world, workers(world, oid)[0])
    for machine in world.machines:
        machine.operations_take_s = 1
    begun = world.call("perform_cluster_operation", "shop", "restart")
    world.run(0.1)
    lost.disconnect()
    action = ended(world, begun["oid"], 60)
    assert [each["reason"] for each in action["outputs"]["unknown"]] == [
        "its node was lost before it said what came of it"
    ]
    assert action["done"] == 2


def test_a_line_that_is_lost_for_a_while_loses_nothing(world):
    oid = create(world, grace_period=60)
    away = machine_of(world, workers(world, oid)[0])
    for machine in world.machines:
        machine.operations_take_s = 1
    begun = world.call("perform_cluster_operation", "shop", "restart")
    world.run(0.1)
    away.disconnect()
    world.run(5)
    assert world.call("get_action", begun["oid"])["ended"] is None
    away.connect()
    assert ended(world, begun["oid"])["status"] == "SUCCEEDED"
    assert operated(world) == ["restart"] * 3


@pytest.mark.parametrize("fault", ["drop", "duplicate"])
def test_a_bad_line_neither_loses_nor_repeats_an_operation(world, fault):
    create(world, desired=6)
    setattr(world.faults, fault, 0.3)
    action = ended(world, world.call("perform_cluster_operation", "shop", "restart")["oid"], 600)
    assert (action["status"], action["done"]) == ("SUCCEEDED", 6)
    assert operated(world) == ["restart"] * 6


def test_it_does_not_take_for_ever_and_can_be_cancelled(world):
    create(world, desired=3, timeout=20)
    for machine in world.machines:
        machine.operations_take_s = 1000
    action = ended(world, world.call("perform_cluster_operation", "shop", "restart", parallel=1)["oid"], 60)
    assert (action["status"], len(action["outputs"]["unknown"]), len(action["outputs"]["failed"])) == ("FAILED", 1, 2)
    assert "longer than 20 s" in action["reason"]
    begun = world.call("perform_cluster_operation", "shop", "restart", parallel=1)
    world.call("cancel_action", "shop", begun["oid"])
    assert ended(world, begun["oid"])["status"] == "CANCELLED"
    assert [each["status"] for each in results(world, action)].count("UNKNOWN") == 1


def test_deleting_goes_first_and_forgets_what_came_of_it(world):
    create(world)
    for machine in world.machines:
        machine.operations_take_s = 10
    begun = world.call("perform_cluster_operation", "shop", "restart")
    assert ended(world, world.call("delete_cluster", "shop")["oid"])["status"] == "SUCCEEDED"
    assert world.call("get_action", begun["oid"])["status"] == "CANCELLED"


def test_results_of_the_newest_operations_are_remembered(world):
    create(world, desired=1)
    actions = [ended(world, world.call("perform_cluster_operation", "shop", "restart")["oid"]) for _ in range(22)]
    assert [len(results(world, action)) for action in actions] == [0] * 2 + [1] * 20


def test_who_may_operate_may_not_see_what_workers_write(world):
    oid = create(world, desired=1)
    worker = workers(world, oid)[0]["oid"]
    world.call("create_user", authid="otto", role="operator", pubkey="12" * 32)

    def as_operator(verb, *args, **kwargs):
        answer = world.ask(verb, *args, caller=OPERATOR, **kwargs)
        world.run_until(lambda: answer.called, 20)
        outcome = []
        answer.addBoth(outcome.append)
        if hasattr(outcome[0], "raiseException"):
            outcome[0].raiseException()
        return outcome[0]

    action = ended(world, as_operator("perform_cluster_operation", "shop", "restart")["oid"])
    for verb, *arguments in (("get_worker_logs", worker), ("list_operation_results", "shop", action["oid"])):
        with pytest.raises(NotAuthorized):
            as_operator(verb, *arguments)


def test_the_end_of_what_a_worker_has_written_is_shown(world):
    oid = create(world, desired=1)
    worker = workers(world, oid)[0]
    said = world.call("get_worker_logs", worker["oid"])
    assert (said["worker_oid"], said["node_oid"]) == (worker["oid"], worker["node_oid"])
    assert said["text"] == "started 1 times"
    assert world.call("get_worker_logs", "shop-0", lines=1, length=5)["text"] == "times"
    machine_of(world, worker).disconnect()
    world.run_until(lambda: world.call("get_node", worker["node_oid"])["status"] == "offline", 10)
    with pytest.raises(NotAttached):
        world.call("get_worker_logs", worker["oid"])
    with pytest.raises(NoSuchObject):
        world.call("get_worker_logs", "nobody")


def test_a_worker_alone_does_as_it_is_told(world):
    made = ended(world, world.call("create_worker", {"name": "clock", "profile": "sleeper"})["oid"])
    action = ended(world, world.call("perform_worker_operation", "clock", "restart")["oid"])
    assert (action["status"], action["outputs"]["done"]) == ("SUCCEEDED", [made["target"]])
    assert world.call("get_worker_logs", "clock")["text"] == "started 2 times\nrestart"
    results = world.call("list_operation_results", action["cluster_oid"], action["oid"])
    assert [(each["worker_name"], each["status"]) for each in results] == [("clock", "DONE")]
    ended(world, world.call("delete_worker", "clock")["oid"])


def test_a_command_needs_the_right_to_manage_and_is_shown_to_nobody(plane):
    spec = {"type": "container", "properties": {"image": "busybox:latest"}}
    plane.call("create_profile", {"name": "box", "spec": spec})
    plane.call("create_cluster", {"name": "shop", "profile": "box", "desired": 1})
    plane.call("cancel_action", "shop", plane.call("get_cluster", "shop")["action_oid"])
    plane.call("create_user", authid="otto", role="operator", pubkey="12" * 32)
    order = {"command": ["login", "hush"]}
    with pytest.raises(NotAuthorized, match="run commands"):
        plane.call("perform_cluster_operation", "shop", "exec", order, caller=OPERATOR)
    action = plane.call("perform_cluster_operation", "shop", "exec", order)
    assert "hush" not in str([action, plane.call("get_action", action["oid"]), plane.wire.published])
    assert "hush" not in str(plane.call("list_audit"))
    assert plane.call("perform_worker_operation", "shop-0", "pause", caller=OPERATOR)["inputs"] == {
        "operation": "pause",
        "parallel": 1,
        "parameters": {},
    }
