"""Workers in no cluster: the real master and real agents, on a clock that only the test turns."""

import pytest

from controlplane.errors import (
    ActionConflict,
    Ambiguous,
    InUse,
    InvalidArgument,
    InvalidConfiguration,
    LimitReached,
    NoSuchObject,
    NotAuthorized,
    NotOffered,
)
from controlplane.records.limits import Limits
from controlplane.records.principals import Caller
from tests.conftest import TestPlane
from tests.simulation.network import decode, encode
from tests.simulation.world import World

SPEC = {"type": "process", "version": "1.0", "properties": {"command": ["sleep", "100"]}}
OTHER = {"type": "process", "version": "1.0", "properties": {"command": ["sleep", "200"]}}
BROKEN = {"type": "process", "version": "1.0", "properties": {"command": ["broken"]}}
IMAGE = {"type": "container", "version": "1.0", "properties": {"image": "alpine"}}


@pytest.fixture
def world():
    made = World(seed=1, nodes=3)
    for name, spec in {"sleeper": SPEC, "other": OTHER, "broken": BROKEN, "image": IMAGE}.items():
        made.call("create_profile", {"name": name, "spec": spec})
    return made


def ended(world: World, action: str, seconds: float = 60) -> dict:
    """Let time pass until an action has ended, and return it."""
    world.run_until(lambda: world.call("get_action", action)["ended"] is not None, seconds)
    return decode(encode(world.call("get_action", action)))


def create(world: World, name: str = "clock", **settings) -> dict:
    """A worker whose action has ended, as callers see it."""
    action = ended(world, world.call("create_worker", {"name": name, "profile": "sleeper", **settings})["oid"])
    assert (action["action"], action["status"], action["outputs"]["done"]) == (
        "WORKER_CREATE",
        "SUCCEEDED",
        [action["target"]],
    )
    return decode(encode(world.call("get_worker", action["target"])))


def ran(worker: dict) -> tuple:
    """What stays the same as long as it is the same process on the same node."""
    return worker["oid"], worker["node_oid"], worker["pid"], worker["started"], worker["status"]


def test_a_worker_alone_runs_and_is_shown_where_workers_are_and_nowhere_else(world):
    made = create(world, metadata={"team": "red"})
    shown = made["status"], made["alone"], made["name"], made["metadata"]
    assert shown == ("RUNNING", True, "clock", {"team": "red"})
    assert [worker["oid"] for worker in world.call("list_workers", filters={"alone": True})] == [made["oid"]]
    assert world.call("list_clusters") == []
    assert world.call("list_routerclusters") == world.call("list_routerclusters", True) == []
    for key in (made["cluster_oid"], made["cluster_oid"][:8], "clock"):
        with pytest.raises(NoSuchObject):
            world.call("get_cluster", key)
    # Its name is free for a cluster, and another worker may have it as well.
    world.call("create_cluster", {"name": "clock", "profile": "sleeper", "desired": 0})
    create(world)
    with pytest.raises(Ambiguous):
        world.call("get_worker", "clock")
    assert "cluster_started" not in [topic for topic in world.topics() if topic.startswith("cluster")][:-1]


def test_a_worker_without_a_name_gets_one(world):
    action = world.call("create_worker", {"profile": "sleeper"})
    assert world.call("get_worker", action["target"])["name"] == f"worker-{str(action['target'])[:8]}"


def test_another_name_is_nothing_to_what_runs_not_even_for_another_master(world):
    before = create(world)
    shown = world.call("update_worker", "clock", {"name": "timer", "metadata": {"a": 1}})
    assert (shown["name"], shown["metadata"]) == ("timer", {"a": 1})
    world.run(5)
    world.kill_master()
    world.start_master()
    world.run(30)
    after = world.call("get_worker", "timer")
    assert ran(decode(encode(after))) == ran(before)
    with pytest.raises(NoSuchObject):
        world.call("get_worker", "clock")


def test_another_name_of_a_cluster_starts_none_of_its_workers_anew(world):
    made = world.call("create_cluster", {"name": "shop", "profile": "sleeper", "desired": 3})
    ended(world, made["action_oid"])
    before = {worker["oid"]: worker["started"] for worker in world.call("list_cluster_workers", "shop")}
    world.call("update_cluster", "shop", {"name": "store"})
    world.kill_master()
    world.start_master()
    world.run(30)
    assert {worker["oid"]: worker["started"] for worker in world.call("list_cluster_workers", "store")} == before
    assert world.call("get_worker", "store-1")["index"] == 1


def test_another_profile_replaces_what_runs_and_is_taken_back_when_it_does_not_run(world):
    before = create(world)
    world.call("update_worker", "clock", {"profile": "other"})
    [action] = world.call("list_actions", filters={"action": "WORKER_UPDATE"})
    assert action["target"] == before["oid"]
    with pytest.raises(ActionConflict):
        world.call("update_worker", "clock", {"profile": "sleeper"})
    assert ended(world, action["oid"])["status"] == "SUCCEEDED"
    after = create_view(world)
    assert (after["oid"], after["updated"]) == (before["oid"], True)
    assert after["pid"] != before["pid"]
    for machine in world.machines:
        machine.broken["broken"] = "no such program"
    world.call("update_worker", "clock", {"profile": "broken"})
    [_, action] = world.call("list_actions", filters={"action": "WORKER_UPDATE"})
    failed = ended(world, action["oid"])
    assert (failed["status"], failed["phase"]) == ("FAILED", "over")
    assert "no such program" in failed["reason"]
    assert ran(create_view(world)) == ran(after)
    with pytest.raises(InvalidConfiguration, match="type container"):
        world.call("update_worker", "clock", {"profile": "image"})


def create_view(world: World, name: str = "clock") -> dict:
    return decode(encode(world.call("get_worker", name)))


def test_deleting_goes_first_and_leaves_nothing(world):
    for machine in world.machines:
        machine.broken["broken"] = "no such program"
    creating = world.call("create_worker", {"name": "clock", "profile": "broken"})
    action = world.call("delete_worker", "clock")
    assert world.call("get_action", creating["oid"])["status"] == "CANCELLED"
    assert ended(world, action["oid"])["status"] == "SUCCEEDED"
    assert world.call("list_workers") == []
    assert sum(len(machine.units) for machine in world.machines) == 0
    create(world)
    deleting, again = world.ask("delete_worker", "clock"), world.ask("delete_worker", "clock")
    with pytest.raises(ActionConflict, match="worker clock is being changed"):
        answer_of(world, again)
    assert ended(world, answer_of(world, deleting)["oid"])["outputs"]["removed"]
    assert sum(len(machine.units) for machine in world.machines) == 0
    world.call("delete_profile", "sleeper")


def test_a_worker_on_a_node_of_its_own_choice_stays_there_and_waits_for_it(world):
    made = create(world, node="node1")
    assert made["node_name"] == "node1"
    world.machines[1].kill_agent()
    world.run(120)
    lost = create_view(world)
    assert (lost["node_name"], lost["status"]) == ("node1", "UNREACHABLE")
    with pytest.raises(NoSuchObject):
        world.call("create_worker", {"profile": "sleeper", "node": "node9"})


def test_a_worker_of_no_node_in_particular_is_placed_anew_when_its_node_is_lost(world):
    made = create(world)
    machine = next(each for each in world.machines if each.name == made["node_name"])
    machine.kill_agent()
    world.run_until(lambda: world.call("get_worker", "clock")["node_name"] not in (None, machine.name), 120)
    world.run_until(lambda: world.call("get_worker", "clock")["status"] == "RUNNING", 60)


def test_an_action_of_a_worker_goes_on_with_another_master(world):
    action = world.call("create_worker", {"name": "clock", "profile": "sleeper"})
    world.kill_master()
    world.run(1)
    world.start_master()
    world.run(1)
    assert ended(world, action["oid"])["status"] == "SUCCEEDED"


def test_a_creation_can_be_cancelled_and_the_worker_is_there_still(world):
    for machine in world.machines:
        machine.broken["broken"] = "no such program"
    action = world.call("create_worker", {"name": "clock", "profile": "broken"})
    cancelled = world.call("cancel_action", action["cluster_oid"], action["oid"])
    assert cancelled["status"] == "CANCELLED"
    assert create_view(world)["alone"]


def test_a_profile_of_a_worker_is_in_use(world):
    create(world)
    with pytest.raises(InUse, match="used by worker clock"):
        world.call("delete_profile", "sleeper")


def test_a_worker_of_a_cluster_can_be_renamed_and_deleted_and_has_its_profile_from_there(world):
    made = world.call("create_cluster", {"name": "shop", "profile": "sleeper", "desired": 2, "min_size": 1})
    ended(world, made["action_oid"])
    before = create_view(world, "shop-1")
    world.call("update_worker", "shop-1", {"name": "best", "metadata": {"kind": "good"}})
    world.run(3)
    assert ran(create_view(world, "best")) == ran(before)
    with pytest.raises(NotOffered, match="from its cluster shop"):
        world.call("update_worker", "best", {"profile": "other"})
    action = world.call("delete_worker", "best")
    assert (action["action"], str(action["target"])) == ("WORKER_DELETE", before["oid"])
    assert ended(world, action["oid"])["outputs"]["removed"] == [before["oid"]]
    with pytest.raises(InvalidArgument, match="its min_size is 1"):
        world.call("delete_worker", "shop-0")
    assert world.call("get_cluster", "shop")["desired"] == 1


def test_there_are_as_many_as_are_admitted_and_clusters_are_counted_apart(tmp_path):
    plane = TestPlane(tmp_path / "store", Limits(workers_alone_max=2, clusters_max=1, clusters_per_user_max=1))
    plane.call("create_profile", {"name": "sleeper", "spec": SPEC})
    for _ in range(2):
        plane.call("create_worker", {"profile": "sleeper"})
    with pytest.raises(LimitReached, match="workers_alone_max"):
        plane.call("create_worker", {"profile": "sleeper"})
    plane.call("create_cluster", {"name": "shop", "profile": "sleeper"})


def test_a_worker_belongs_to_who_made_it(world):
    ann, ben = (person(world, name, number) for number, name in enumerate(("ann", "ben")))
    with pytest.raises(NotAuthorized):
        as_caller(world, ann, "create_worker", {"profile": "sleeper"})
    world.call("update_user", user(world, "ann"), {"role": "admin"})
    boss = Caller(session=50, authid="ann", authrole="admin")
    as_caller(world, boss, "create_worker", {"name": "clock", "profile": "sleeper"})
    world.call("update_user", user(world, "ann"), {"role": "viewer"})
    assert as_caller(world, ann, "update_worker", "clock", {"name": "timer"})["name"] == "timer"
    for wrong in ("update_worker", "delete_worker"):
        with pytest.raises(NotAuthorized):
            as_caller(world, ben, wrong, "timer", *([{"name": "x"}] if wrong == "update_worker" else []))
    as_caller(world, ann, "delete_worker", "timer")


def person(world: World, name: str, number: int) -> Caller:
    world.call("create_user", authid=name, role="viewer", pubkey=f"{number + 500:064x}")
    return Caller(session=20 + number, authid=name, authrole="viewer")


def user(world: World, name: str) -> str:
    return world.call("get_user_by_name", name)["oid"]


def as_caller(world: World, caller: Caller, verb: str, *args):
    return answer_of(world, world.ask(verb, *args, caller=caller))


def answer_of(world: World, answer, seconds: float = 20):
    world.run_until(lambda: answer.called, seconds)
    result: list = []
    answer.addBoth(result.append)
    if hasattr(result[0], "raiseException"):
        result[0].raiseException()
    return result[0]
