"""Clusters that are scaled at times that were said before: the real master, killed in between."""

from datetime import UTC, datetime

import pytest

from controlplane.errors import InvalidConfiguration
from controlplane.records.types import NANOSECONDS
from tests.integration.generic import SPEC, attach, create, ended, running
from tests.integration.test_scaling import actions
from tests.simulation.world import World


def wall(world: World) -> int:
    return world.master_clock.now()


def text(instant: int) -> str:
    return datetime.fromtimestamp(instant // NANOSECONDS, UTC).isoformat()


def due(world: World, policy: str) -> int | None:
    return world.call("get_cluster_policy", "shop", policy)["due"]


def skipped(world: World) -> list[dict]:
    return [payload for topic, payload in world.events if topic.endswith("policy_skipped")]


def until(world: World, instant: int) -> float:
    return (instant - wall(world)) / NANOSECONDS


def test_a_cluster_is_resized_every_time_that_a_schedule_names(world):
    create(world, desired=1)
    attach(world, "hourly", "schedule", {"cron": "0 * * * *", "change": 2})
    first = due(world, "hourly")
    assert (first // NANOSECONDS) % 3600 == 0
    world.run(until(world, first) - 1)
    assert (running(world), actions(world)) == (1, [])
    world.run(5)
    assert running(world) == 3
    assert due(world, "hourly") == first + 3600 * NANOSECONDS
    action = actions(world)[0]
    assert (action["action"], action["cause"], action["who"]) == ("CLUSTER_RESIZE", "policy", "hourly")
    assert action["inputs"] == {"change": 2}
    assert "0 * * * * in UTC" in action["decisions"][0]["said"]
    world.run(3600)
    assert (running(world), len(actions(world))) == (5, 2)


def test_a_schedule_that_names_one_time_acts_once(world):
    create(world, desired=1, max_size=4)
    moment = wall(world) // NANOSECONDS * NANOSECONDS + 100 * NANOSECONDS
    attach(world, "soon", "schedule", {"at": text(moment), "desired": 4, "min_size": 2, "max_size": 5})
    assert due(world, "soon") == moment
    world.run(until(world, moment) + 5)
    shown = world.call("get_cluster", "shop")
    group = shown["groups"][0]
    assert (shown["desired"], group["min_size"], group["max_size"]) == (4, 2, 5)
    assert due(world, "soon") is None
    world.run(86_400)
    assert len(actions(world)) == 1


def test_a_schedule_goes_as_far_as_the_bounds_admit(world):
    create(world, desired=1, max_size=3)
    attach(world, "more", "schedule", {"cron": "* * * * *", "change": 9})
    world.run(until(world, due(world, "more")) + 2)
    assert (running(world), skipped(world)) == (3, [])


def test_a_time_that_passed_while_the_master_was_away_is_made_up_for_once(world):
    create(world, desired=1)
    attach(world, "often", "schedule", {"cron": "* * * * *", "change": 1, "late_max": 120})
    first = due(world, "often")
    world.run(until(world, first) - 5)
    world.kill_master()
    world.run(600)
    world.start_master()
    world.run_until(lambda: running(world) == 2, 30)
    world.run(until(world, due(world, "often")) - 2)
    assert (running(world), skipped(world)) == (2, [])
    world.run(10)
    assert running(world) == 3


def test_a_time_that_passed_too_long_ago_is_left_out_and_told_of(world):
    create(world, desired=1)
    attach(world, "hourly", "schedule", {"cron": "0 * * * *", "change": 1, "late_max": 60})
    first = due(world, "hourly")
    world.run(until(world, first) - 5)
    world.kill_master()
    world.run(600)
    world.start_master()
    world.run(30)
    assert (running(world), actions(world)) == (1, [])
    assert [(each["policy_name"], each["due"]) for each in skipped(world)] == [("hourly", first)]
    assert "60 s are admitted" in skipped(world)[0]["reason"]
    assert due(world, "hourly") == first + 3600 * NANOSECONDS


@pytest.mark.parametrize("after", [0.0, 0.001, 0.005, 0.02, 0.1, 0.5, 1.5, 3.0])
def test_a_master_that_is_killed_when_a_schedule_acts_acts_once(world, after):
    create(world, desired=1)
    moment = wall(world) // NANOSECONDS * NANOSECONDS + 100 * NANOSECONDS
    attach(world, "soon", "schedule", {"at": text(moment), "change": 2})
    world.run(until(world, moment) + after)
    world.kill_master()
    world.run(5)
    world.start_master()
    world.run_until(lambda: running(world) == 3, 60)
    world.run(120)
    assert (running(world), len(actions(world))) == (3, 1)


def test_a_schedule_waits_for_an_action_that_runs_until_it_is_too_late(world):
    create(world, desired=1)
    for machine in world.machines:
        machine.start_takes_s = 30.0
    moment = wall(world) // NANOSECONDS * NANOSECONDS + 10 * NANOSECONDS
    attach(world, "patient", "schedule", {"at": text(moment), "change": 1})
    attach(world, "hurried", "schedule", {"at": text(moment), "change": 1, "late_max": 5})
    world.run(until(world, moment) - 2)
    action = world.call("scale_out_cluster", "shop")["oid"]
    world.run(20)
    assert [each["policy_name"] for each in skipped(world)] == ["hurried"]
    ended(world, action)
    world.run_until(lambda: running(world) == 3, 60)
    assert [each["who"] for each in actions(world)] == ["patient"]


def test_a_schedule_that_cannot_act_says_why_and_is_asked_next_time(world):
    create(world, desired=1)
    attach(world, "wrong", "schedule", {"cron": "* * * * *", "change": 1, "group": "nobody"})
    world.run(until(world, due(world, "wrong")) + 2)
    assert "group names 'nobody', which there is not; the cluster has default" in skipped(world)[0]["reason"]
    world.run(60)
    assert len(skipped(world)) == 2


def test_a_schedule_that_is_off_has_no_next_time(world):
    create(world, desired=1)
    attach(world, "hourly", "schedule", {"cron": "0 * * * *", "change": 1})
    world.call("update_cluster_policy", "shop", "hourly", enabled=False)
    assert due(world, "hourly") is None
    world.run(7_200)
    world.call("update_cluster_policy", "shop", "hourly", enabled=True)
    assert due(world, "hourly") > wall(world)
    assert running(world) == 1


def test_attaching_changing_and_detaching_are_actions_that_are_over_at_once(world):
    create(world)
    world.call("create_policy", {"name": "who", "spec": {"type": "deletion"}})
    attached = world.call("attach_policy", "shop", "who")
    changed = world.call("update_cluster_policy", "shop", "who", enabled=False)
    detached = world.call("detach_policy", "shop", "who")
    found = [world.call("get_action", each["action_oid"]) for each in (attached, changed, detached)]
    assert [each["action"] for each in found] == [
        "CLUSTER_ATTACH_POLICY",
        "CLUSTER_UPDATE_POLICY",
        "CLUSTER_DETACH_POLICY",
    ]
    assert {(each["status"], each["cluster_name"], each["who"]) for each in found} == {("SUCCEEDED", "shop", "admin")}
    assert [each["inputs"]["enabled"] for each in found] == [True, False, False]
    listed = world.call("list_actions", filters={"action": "CLUSTER_DETACH_POLICY"})
    assert [each["oid"] for each in listed] == [detached["action_oid"]]
    assert world.call("get_cluster", "shop")["action_oid"] is None


def test_the_pace_that_a_policy_decides_is_the_actions_alone(world):
    create(world, desired=4)
    attach(world, "batches", "batch", {"min_in_service": 1, "pause_time": 3})
    world.call("create_profile", {"name": "other", "spec": {**SPEC, "properties": {"command": ["sleep", "7"]}}})
    world.run(4)
    begun = world.clock.now
    action = world.call("update_cluster", "shop", {"profile": "other"})["action_oid"]
    assert ended(world, action)["status"] == "SUCCEEDED"
    assert 6 <= world.clock.now - begun < 8  # Three of four, and one, each for three seconds.
    shown = world.call("get_cluster", "shop")
    assert (shown["batch"], shown["steady"]) == (1, 1.0)


@pytest.mark.parametrize(
    ("properties", "path"),
    [
        ({"change": 1}, "$.spec.properties.cron"),
        ({"change": 1, "cron": "* * * * *", "at": "2030-01-01"}, "$.spec.properties.cron"),
        ({"change": 1, "cron": "* * * *"}, "$.spec.properties.cron"),
        ({"change": 1, "cron": "61 * * * *"}, "$.spec.properties.cron"),
        ({"change": 1, "cron": "0 0 30 2 *"}, "$.spec.properties.cron"),
        ({"change": 1, "cron": "* * * * *", "timezone": "Moon/Sea"}, "$.spec.properties.timezone"),
        ({"change": 1, "cron": "* * * * *", "timezone": "../../etc/passwd"}, "$.spec.properties.timezone"),
        ({"change": 1, "at": "tomorrow"}, "$.spec.properties.at"),
        ({"cron": "* * * * *"}, "$.spec.properties"),
        ({"cron": "* * * * *", "change": 0}, "$.spec.properties.change"),
        ({"cron": "* * * * *", "change": 1, "desired": 2}, "$.spec.properties.change"),
        ({"cron": "* * * * *", "min_size": 3, "max_size": 2}, "$.spec.properties.max_size"),
        ({"cron": "* * * * *", "desired": 3, "max_size": 2}, "$.spec.properties.desired"),
        ({"cron": "* * * * *", "desired": 1, "min_size": 2}, "$.spec.properties.desired"),
    ],
)
def test_what_is_wrong_with_a_schedule_is_told(world, properties, path):
    with pytest.raises(InvalidConfiguration) as caught:
        world.call("create_policy", {"name": "bad", "spec": {"type": "schedule", "properties": properties}})
    assert [problem.path for problem in caught.value.problems] == [path]
