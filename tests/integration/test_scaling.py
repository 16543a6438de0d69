"""Clusters that scale by what workers use: the real master and real agents, on a clock that only the test turns."""

import pytest

from controlplane.errors import InvalidConfiguration, NoSuchObject, WorkerFailed
from tests.integration.generic import SPEC, attach, create, ended, running
from tests.simulation.world import World

STEPS = {
    "metric": "queue",
    "scale_out": [{"above": 80, "add": 1}, {"above": 200, "add": 3}],
    "scale_in": [{"below": 20, "remove": 2}],
    "period": 5,
    "scale_in_periods": 4,
    "warm_up": 2,
}
TRACK = {"metric": "queue", "target": 50, "period": 5, "scale_in_periods": 4, "warm_up": 2}


class Load:
    """Work that all workers share, and what each is therefore seen to use."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.queue = 0.0
        self.cpu = 0.0
        self.asked = 0
        for machine in world.machines:
            machine.figures = self.figures

    def figures(self, _oid: object) -> dict:
        self.asked += 1
        shared = max(1, running(self.world))
        spent = self.cpu / 100 * self.world.clock.now
        return {"cpu_seconds": spent, "memory": 1_000_000, "values": {"queue": self.queue / shared}}


@pytest.fixture
def load(world):
    return Load(world)


def actions(world: World) -> list[dict]:
    return world.call("list_actions", filters={"cluster_name": "shop", "cause": "policy"}, sort="created")


def test_nobody_measures_a_cluster_that_no_policy_needs_it_of(world, load):
    create(world)
    attach(world, "who", "deletion", {})
    world.run(60)
    assert load.asked == 0
    assert [len(machine.agent._meters) for machine in world.machines] == [0, 0, 0]
    metrics = world.call("get_cluster_metrics", "shop")
    assert (metrics["watched"], metrics["period"], list(metrics["points"])) == (False, None, [])


def test_steps_make_a_cluster_grow_promptly_and_shrink_later(world, load):
    create(world, desired=1, min_size=1, max_size=6)
    attach(world, "steps", "step_scaling", STEPS)
    load.queue = 250.0
    world.run_until(lambda: running(world) == 4, 60)
    action = actions(world)[0]
    assert (action["action"], action["cause"], action["who"]) == ("CLUSTER_SCALE_OUT", "policy", "steps")
    assert action["inputs"] == {"count": 3}
    assert action["decisions"][0]["said"] == "average of queue is 250, not below 200: 4 workers instead of 1"
    world.run(300)
    assert running(world) == 4  # 62.5 each: neither too few nor too many.
    load.queue = 30.0
    world.run_until(lambda: running(world) == 1, 300)
    world.run(300)
    assert (running(world), len(actions(world))) == (1, 3)


def test_a_cluster_has_as_many_workers_as_keep_a_metric_at_its_target(world, load):
    create(world, desired=2, max_size=20)
    attach(world, "track", "target_tracking", TRACK)
    for queue, wanted in ((420.0, 9), (160.0, 4), (5_000.0, 20), (0.0, 1)):
        load.queue = queue
        world.run_until(lambda wanted=wanted: running(world) == wanted, 300)
        before = len(actions(world))
        world.run(300)
        assert (running(world), len(actions(world))) == (wanted, before)


def test_scaling_in_can_be_forbidden(world, load):
    create(world, desired=1, max_size=20)
    attach(world, "track", "target_tracking", {**TRACK, "scale_in": False})
    load.queue = 400.0
    world.run_until(lambda: running(world) == 8, 120)
    load.queue = 10.0
    world.run(300)
    assert running(world) == 8


def test_processor_time_is_measured_from_one_question_to_the_next(world, load):
    create(world, desired=2, max_size=20)
    attach(world, "track", "target_tracking", {"target": 60, "period": 5, "warm_up": 0})
    load.cpu = 55.0
    world.run(60)
    metrics = world.call("get_cluster_metrics", "shop")
    assert (metrics["watched"], metrics["period"], len(metrics["workers"])) == (True, 5.0, 2)
    found = metrics["points"][-1]["groups"]["default"]
    assert (found["desired"], found["warm"], found["metrics"]["cpu"]["count"]) == (2, 2, 2)
    assert found["metrics"]["cpu"]["sum"] == pytest.approx(110)
    assert found["metrics"]["memory"]["maximum"] == 1_000_000
    assert metrics["policies"][0]["said"] == "average of cpu is 55: as it is to be"


def test_a_policy_waits_while_another_action_runs_and_is_asked_again(world, load):
    oid = create(world, desired=2, max_size=20)
    attach(world, "track", "target_tracking", TRACK)
    world.call("create_profile", {"name": "other", "spec": {**SPEC, "properties": {"command": ["sleep", "7"]}}})
    for machine in world.machines:
        machine.start_takes_s = 30.0
    action = world.call("update_cluster", "shop", {"profile": "other"})["action_oid"]
    load.queue = 400.0
    world.run(40)
    state = world.call("get_cluster_metrics", oid)["policies"][0]
    assert state["desired"] == 8
    assert "waits: cluster shop is being changed" in state["said"]
    for machine in world.machines:
        machine.start_takes_s = None
    assert ended(world, action, 200)["status"] == "SUCCEEDED"
    world.run_until(lambda: running(world) == 8, 120)


def test_the_measurements_of_a_master_that_was_killed_are_lost_and_nothing_else_is(world, load):
    create(world, desired=2, max_size=20)
    attach(world, "track", "target_tracking", TRACK)
    load.queue = 100.0
    world.run(60)
    world.kill_master()
    load.queue = 400.0
    world.run(10)
    world.start_master()
    assert not world.call("get_cluster_metrics", "shop")["points"]
    world.run_until(lambda: running(world) == 8, 120)
    world.run(120)
    assert running(world) == 8


def test_one_policy_is_enough_to_grow_and_all_are_needed_to_shrink(world, load):
    create(world, desired=4, max_size=20)
    attach(world, "track", "target_tracking", TRACK)
    attach(world, "steps", "step_scaling", {**STEPS, "metric": "memory", "scale_in": [], "scale_out": [{"above": 2e9}]})
    load.queue = 50.0
    world.run(200)
    assert running(world) == 4
    load.queue = 400.0
    world.run_until(lambda: running(world) == 8, 100)
    assert {each["policy_name"] for each in actions(world)[0]["decisions"]} == {"track", "steps"}


def test_nothing_is_measured_any_more_when_the_policy_or_the_cluster_is_gone(world, load):
    create(world, desired=2)
    attach(world, "track", "target_tracking", TRACK)
    world.run(30)
    assert sum(len(machine.agent._meters) for machine in world.machines) == 2
    world.call("update_cluster_policy", "shop", "track", enabled=False)
    world.run(60)
    assert sum(len(machine.agent._meters) for machine in world.machines) == 0
    assert len(world.plane.scaler._windows) == 0
    world.call("update_cluster_policy", "shop", "track", enabled=True)
    world.run(30)
    assert world.call("get_cluster_metrics", "shop")["points"]
    ended(world, world.call("delete_cluster", "shop")["oid"])
    world.run(60)
    assert len(world.plane.scaler._windows) == 0
    assert not world.plane.scaler._resting
    with pytest.raises(NoSuchObject):
        world.call("get_cluster_metrics", "shop")


def test_a_worker_is_measured_when_it_is_warm_and_nothing_shrinks_before(world, load):
    create(world, desired=3, max_size=20)
    attach(world, "track", "target_tracking", {**TRACK, "warm_up": 60, "scale_in_periods": 3})
    load.queue = 30.0
    world.run(40)
    point = world.call("get_cluster_metrics", "shop")["points"][-1]["groups"]["default"]
    assert (point["desired"], point["warm"], point["metrics"]) == (3, 0, {})
    assert running(world) == 3
    world.run_until(lambda: running(world) == 1, 120)


def test_a_worker_that_says_nothing_is_left_out_and_nothing_shrinks(world, load):
    create(world, desired=3, max_size=20)
    attach(world, "track", "target_tracking", TRACK)
    load.queue = 30.0
    silent = next(iter(world.machines[0].units))

    def figures(oid):
        if oid == silent:
            raise WorkerFailed("it does not answer")
        return load.figures(oid)

    world.machines[0].figures = figures
    world.run(120)
    metrics = world.call("get_cluster_metrics", "shop")
    point = metrics["points"][-1]["groups"]["default"]
    assert (point["warm"], point["metrics"]["queue"]["count"]) == (3, 2)
    assert "until all 3 workers are measured" in metrics["policies"][0]["said"]
    assert running(world) == 3
    world.machines[0].figures = load.figures
    world.run_until(lambda: running(world) == 1, 120)


def test_a_node_that_is_silent_lets_nothing_shrink(world, load):
    create(world, desired=3, max_size=20, grace_period=3_600)
    attach(world, "track", "target_tracking", TRACK)
    load.queue = 30.0
    world.machines[0].disconnect()
    world.run(120)
    assert world.call("get_cluster", "shop")["desired"] == 3
    world.machines[0].connect()
    world.run_until(lambda: world.call("get_cluster", "shop")["desired"] == 1, 120)


@pytest.mark.parametrize(
    ("kind", "properties", "path"),
    [
        ("step_scaling", {"metric": "cpu"}, "$.spec.properties"),
        ("step_scaling", {"scale_out": [{"above": 5}], "scale_in": [{"below": 5}]}, "$.spec.properties.scale_in"),
        ("step_scaling", {"scale_out": [{"above": 5}, {"above": 5, "add": 2}]}, "$.spec.properties.scale_out"),
        ("target_tracking", {"target": 0}, "$.spec.properties.target"),
        ("target_tracking", {"target": 5, "metric": "a b"}, "$.spec.properties.metric"),
    ],
)
def test_what_could_never_be_obeyed_is_refused(world, kind, properties, path):
    with pytest.raises(InvalidConfiguration) as caught:
        world.call("create_policy", {"name": "bad", "spec": {"type": kind, "properties": properties}})
    assert [problem.path for problem in caught.value.problems] == [path]
