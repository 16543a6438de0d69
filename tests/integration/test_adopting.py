"""What runs already becomes a worker: the real master and real agents, on a clock that only the test turns."""

import pytest

from controlplane.errors import (
    AlreadyExists,
    CannotAdopt,
    InvalidConfiguration,
    NoAnswer,
    NoSuchObject,
    NotAttached,
    NotAuthorized,
)
from tests.integration.test_joining import commands, done
from tests.integration.test_lone_workers import SPEC, answer_of, as_caller, create_view, ended, person
from tests.simulation.network import decode, encode
from tests.simulation.world import World

FOUND = {"command": ["clock", "--fast"], "env": {"COLOUR": "red"}, "cwd": "/srv"}


@pytest.fixture
def world():
    made = World(seed=1, nodes=2)
    made.call("create_profile", {"name": "sleeper", "spec": SPEC})
    made.machines[1].wild["4711"] = FOUND
    made.run_until(lambda: len(made.call("list_nodes", filter_by_status="online")) == 2, 60)
    return made


def wish(**settings) -> dict:
    return {"type": "process", "node": "node1", "identity": "4711", **settings}


def test_a_preview_shows_the_profile_and_makes_nothing(world):
    shown = decode(encode(world.call("preview_adoption", wish(overrides={"cwd": "/opt"}))))
    assert (shown["oid"], shown["type"]) == (None, "process-1.0")
    properties = shown["spec"]["properties"]
    assert (properties["command"], properties["env"], properties["cwd"]) == (FOUND["command"], FOUND["env"], "/opt")
    assert properties["stop"] == {"signal": "SIGTERM", "grace": 10.0}
    assert world.call("list_workers") == []
    assert len(world.call("list_profiles")) == 1
    assert "4711" in world.machines[1].wild


def test_what_runs_becomes_a_worker_alone_with_its_pid_and_joins_with_it(world):
    action = world.call("adopt_worker", wish(name="clock", metadata={"a": 1}, profile="clocks"))
    ended_so = ended(world, action["oid"])
    assert (ended_so["action"], ended_so["status"], ended_so["inputs"]["adopts"]) == (
        "WORKER_CREATE",
        "SUCCEEDED",
        "4711",
    )
    worker = create_view(world)
    assert (worker["pid"], worker["node_name"], worker["alone"]) == (4711, "node1", True)
    assert worker["metadata"] == {"a": 1}
    assert world.call("get_profile", "clocks")["oid"] == worker["profile_oid"]
    for _ in range(2):
        world.run(30)
        assert create_view(world)["pid"] == 4711
        world.kill_master()
        world.start_master()
    made = world.call("create_cluster", {"name": "shop", "profile": "sleeper", "desired": 1})
    ended(world, made["action_oid"])
    done(world, "add_cluster_workers", "shop", ["clock"])
    world.run(30)
    assert (create_view(world)["pid"], create_view(world)["cluster_name"]) == (4711, "shop")
    done(world, "remove_cluster_workers", "shop", [worker["oid"]], destroy=False)
    world.run(30)
    assert create_view(world)["pid"] == 4711
    # It dies, and is started anew as its profile says.
    oid = next(oid for oid in world.machines[1].units if str(oid) == worker["oid"])
    world.machines[1].kill_worker(oid)
    world.run(20)
    assert create_view(world)["status"] == "RUNNING"
    assert create_view(world)["pid"] != 4711
    assert commands(world)[worker["oid"]] == FOUND["command"]


def test_it_stays_on_its_node(world):
    ended(world, world.call("adopt_worker", wish(name="clock"))["oid"])
    world.machines[1].kill_agent()
    world.run(120)
    assert (create_view(world)["node_name"], create_view(world)["status"]) == ("node1", "UNREACHABLE")
    world.machines[1].start_agent()
    world.run(20)
    assert (create_view(world)["pid"], create_view(world)["status"]) == (4711, "RUNNING")


def test_nothing_is_adopted_twice_not_even_at_once(world):
    first, second = world.ask("adopt_worker", wish(name="one")), world.ask("adopt_worker", wish(name="two"))
    failures = []
    second.addErrback(failures.append)
    world.run_until(lambda: first.called and second.called, 30)
    assert isinstance(failures[0].value, AlreadyExists)
    world.run(1)
    with pytest.raises(CannotAdopt):
        world.call("adopt_worker", wish(name="three"))
    assert [worker["name"] for worker in world.call("list_workers")] == ["one"]
    assert len(world.call("list_profiles")) == 2


def test_a_key_makes_it_once_although_the_second_answer_would_be_another(world):
    first = world.call("adopt_worker", wish(), idempotency_key="mine")
    ended(world, first["oid"])
    again = world.call("adopt_worker", wish(), idempotency_key="mine")
    assert str(again["oid"]) == str(first["oid"])
    world.machines[1].kill_agent()
    world.run(60)
    assert str(world.call("adopt_worker", wish(), idempotency_key="mine")["oid"]) == str(first["oid"])
    assert len(world.call("list_workers")) == 1


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"identity": "1"}, CannotAdopt, "there is no 1"),
        ({"node": "node9"}, NoSuchObject, "node9"),
        ({"type": "stack"}, InvalidConfiguration, "known are"),
        ({"type": "container-1.0"}, CannotAdopt, "no driver 'container'"),
        ({"snapshot": True}, InvalidConfiguration, "has no image"),
        ({"overrides": {"limits": {"memory": 10**7}}}, InvalidConfiguration, "runs already"),
        ({"overrides": {"colour": "red"}}, InvalidConfiguration, "colour"),
        ({"overrides": {"command": []}}, InvalidConfiguration, "command"),
        ({"profile": "sleeper"}, AlreadyExists, "name"),
        ({"surprise": 1}, InvalidConfiguration, "surprise"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_left(world, changes, error, said):
    with pytest.raises(error, match=said) as caught:
        world.call("adopt_worker", wish(**changes))
    assert caught.value.next_step
    if error is not AlreadyExists and changes.get("profile") is None:
        with pytest.raises(error):
            world.call("preview_adoption", wish(**changes))
    assert world.call("list_workers") == []
    assert [each["name"] for each in world.call("list_profiles")] == ["sleeper"]


@pytest.mark.parametrize("uri", ["adopt_worker", "preview_adoption"])
def test_what_is_wrong_with_what_is_put_in_the_place_of_what_was_found_is_said_of_that(world, uri):
    with pytest.raises(InvalidConfiguration) as caught:
        world.call(uri, wish(overrides={"colour": "red", "env": {"A": 7}}))
    assert {each.path for each in caught.value.problems} == {"$.overrides.colour", "$.overrides.env.A"}
    assert "$.spec" not in str(caught.value)


def test_a_node_that_is_away_or_silent_is_told_of(world):
    world.machines[1].kill_agent()
    with pytest.raises(NoAnswer):
        answer_of(world, world.ask("preview_adoption", wish()), 60)
    world.run(60)
    with pytest.raises(NotAttached):
        world.call("adopt_worker", wish())


def test_who_may_not_make_profiles_adopts_nothing(world):
    with pytest.raises(NotAuthorized):
        as_caller(world, person(world, "ann", 1), "adopt_worker", wish())
    assert "4711" in world.machines[1].wild
