"""Workers that join a cluster and leave one: the real master and real agents, on a clock that only the test turns."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.errors import ActionConflict, InvalidArgument, NoSuchObject, NotAuthorized
from tests.consistency import check_derived
from tests.integration.test_lone_workers import (
    IMAGE,
    OTHER,
    SPEC,
    answer_of,
    as_caller,
    create,
    create_view,
    ended,
    person,
    ran,
)
from tests.simulation.network import decode, encode
from tests.simulation.world import World

NEWEST = {"type": "process", "version": "1.0", "properties": {"command": ["sleep", "300"]}}
BROKEN = {"type": "process", "version": "1.0", "properties": {"command": ["broken"]}}


def installed(nodes: int = 3, **settings) -> World:
    """Three nodes, and a cluster of two."""
    world = World(seed=1, nodes=nodes)
    profiles = {"sleeper": SPEC, "other": OTHER, "newest": NEWEST, "image": IMAGE, "broken": BROKEN}
    for name, spec in profiles.items():
        world.call("create_profile", {"name": name, "spec": spec})
    made = world.call("create_cluster", {"name": "shop", "profile": "sleeper", "desired": 2, **settings})
    assert ended(world, made["action_oid"])["status"] == "SUCCEEDED"
    return world


@pytest.fixture
def world():
    return installed()


def done(world: World, verb: str, *args, **kwargs) -> dict:
    """An action that has succeeded."""
    action = ended(world, world.call(verb, *args, **kwargs)["oid"])
    assert action["status"] == "SUCCEEDED", action
    return action


def members(world: World, name: str = "shop") -> dict[str, dict]:
    found = decode(encode(world.call("list_workers", name)))
    return {worker["oid"]: worker for worker in found}


def units(world: World) -> dict:
    """What runs on all machines: another start makes another pid."""
    return {oid: unit.pid for machine in world.machines for oid, unit in machine.units.items()}


def test_a_worker_joins_with_an_index_of_its_own_and_nothing_is_started_anew(world):
    made = create(world, metadata={"team": "red"})
    before = units(world)
    action = done(world, "add_cluster_workers", "shop", ["clock"])
    assert (action["action"], action["outputs"]["done"]) == ("CLUSTER_ADD_WORKERS", [made["oid"]])
    joined = create_view(world)
    assert ran(joined) == ran(made)
    assert (joined["index"], joined["cluster_name"], joined["alone"]) == (2, "shop", False)
    assert (joined["name"], joined["metadata"]) == ("clock", {"team": "red"})
    shop = world.call("get_cluster", "shop")
    assert (shop["desired"], shop["status"]) == (3, "RUNNING")
    world.kill_master()
    world.start_master()
    world.run(400)
    assert units(world) == before
    assert set(members(world)) >= {made["oid"]}
    with pytest.raises(NoSuchObject):
        world.call("cancel_action", made["cluster_oid"], action["oid"])


def test_a_worker_leaves_and_runs_on_and_comes_back(world):
    before = units(world)
    worker = create_view(world, "shop-1")
    action = done(world, "remove_cluster_workers", "shop", [worker["oid"]], destroy=False)
    assert action["outputs"]["removed"] == [worker["oid"]]
    left = create_view(world, "shop-1")
    assert (ran(left), left["alone"]) == (ran(worker), True)
    assert world.call("get_cluster", "shop")["desired"] == 1
    world.run(30)
    assert units(world) == before
    done(world, "scale_out_cluster", "shop")
    done(world, "add_cluster_workers", "shop", [worker["oid"]])
    world.run(30)
    after = units(world)
    assert {oid: after[oid] for oid in before} == before
    assert len(members(world)) == 3
    back = create_view(world, worker["oid"])
    assert (back["index"], back["name"], ran(back)) == (2, "shop-1", ran(worker))


def test_one_that_was_renamed_leaves_as_what_it_was_started(world):
    worker = create_view(world, "shop-1")
    before = units(world)
    world.call("update_worker", "shop-1", {"name": "best"})
    done(world, "remove_cluster_workers", "shop", [worker["oid"]], destroy=False)
    world.run(30)
    assert units(world) == before
    assert create_view(world, "best")["alone"]


def test_one_of_another_profile_keeps_it_until_the_cluster_is_given_another(world):
    clock = create(world, profile="other")
    before = units(world)
    done(world, "add_cluster_workers", "shop", ["clock"])
    world.run(60)
    assert units(world) == before
    assert create_view(world)["profile_oid"] == clock["profile_oid"]
    # It is started anew with what it has, when it dies, and leaves with what it has.
    next(machine for machine in world.machines if machine.name == clock["node_name"]).kill_worker(
        next(oid for oid in before if str(oid) == clock["oid"])
    )
    world.run(20)
    assert commands(world)[clock["oid"]] == ["sleep", "200"]
    done(world, "remove_cluster_workers", "shop", [clock["oid"]], destroy=False)
    world.run(20)
    assert (create_view(world)["profile_oid"], commands(world)[clock["oid"]]) == (
        clock["profile_oid"],
        ["sleep", "200"],
    )
    done(world, "add_cluster_workers", "shop", ["clock"])
    changed = world.call("update_cluster", "shop", {"profile": "newest"})
    assert ended(world, changed["action_oid"], 120)["status"] == "SUCCEEDED"
    world.run(10)
    assert {tuple(commands(world)[oid]) for oid in members(world)} == {("sleep", "300")}
    assert create_view(world)["profile_oid"] == world.call("get_profile", "newest")["oid"]


def test_an_update_that_is_taken_back_gives_it_what_it_had(world):
    clock = create(world, profile="other")
    done(world, "add_cluster_workers", "shop", ["clock"])
    for machine in world.machines:
        machine.broken["broken"] = "no such program"
    changed = world.call("update_cluster", "shop", {"profile": "broken"})
    assert ended(world, changed["action_oid"], 300)["status"] == "FAILED"
    world.run(60)
    assert commands(world)[clock["oid"]] == ["sleep", "200"]
    assert {worker["status"] for worker in members(world).values()} == {"RUNNING"}


def commands(world: World) -> dict[str, list[str]]:
    """What each worker runs, as its agent was told."""
    found = {}
    for machine in world.machines:
        for oid, worker in machine.agent._supervisor._workers.items():
            if worker.unit is not None and worker.unit.digest == worker.spec.digest:
                found[str(oid)] = worker.spec.config["properties"]["command"]
    return found


def test_replacing_by_a_worker_that_runs_already(world):
    clock = create(world)
    before = units(world)
    old = create_view(world, "shop-0")
    action = done(world, "replace_cluster_workers", "shop", [old["oid"]], candidates=["clock"], destroy=False)
    assert (action["outputs"]["done"], action["outputs"]["removed"]) == ([clock["oid"]], [old["oid"]])
    world.run(30)
    assert units(world) == before
    assert (create_view(world)["cluster_name"], create_view(world, old["oid"])["alone"]) == ("shop", True)
    assert (len(members(world)), world.call("get_cluster", "shop")["desired"]) == (2, 2)
    # The other way round, and the one that is replaced goes for good.
    done(world, "replace_cluster_workers", "shop", [clock["oid"]], candidates=[old["oid"]])
    assert set(units(world)) == {oid for oid in before if str(oid) != clock["oid"]}
    with pytest.raises(InvalidArgument, match="in the places of 2"):
        world.call("replace_cluster_workers", "shop", list(members(world)), candidates=[create(world)["oid"]])


def test_a_worker_is_made_in_a_cluster_at_once_and_taken_back_when_it_does_not_run(world):
    action = done(world, "create_worker", {"name": "best", "profile": "other"}, "shop")
    made = create_view(world, "best")
    assert (action["target"], made["cluster_name"], made["index"]) == (made["oid"], "shop", 2)
    assert commands(world)[made["oid"]] == ["sleep", "200"]
    assert world.call("get_cluster", "shop")["desired"] == 3
    for machine in world.machines:
        machine.broken["broken"] = "no such program"
    failed = ended(world, world.call("create_worker", {"profile": "broken"}, "shop")["oid"])
    assert (failed["status"], failed["outputs"]["undone"]) == ("FAILED", [failed["target"]])
    world.run(20)
    assert (world.call("get_cluster", "shop")["desired"], len(members(world))) == (3, 3)
    with pytest.raises(InvalidArgument, match="a cluster places its own"):
        world.call("create_worker", {"profile": "other", "node": "node0"}, "shop")
    with pytest.raises(InvalidArgument, match="of type container"):
        world.call("create_worker", {"profile": "image"}, "shop")


def test_a_joining_that_is_cancelled_is_taken_back_and_nothing_is_started_anew():
    world = installed(steady=30)
    clock = create(world)
    before = units(world)
    action = world.call("add_cluster_workers", "shop", ["clock"])
    world.call("cancel_action", "shop", action["oid"])
    ended_so = ended(world, action["oid"], 120)
    assert (ended_so["status"], ended_so["outputs"]["undone"]) == ("CANCELLED", [clock["oid"]])
    assert (create_view(world)["alone"], world.call("get_cluster", "shop")["desired"]) == (True, 2)
    assert [payload["desired"] for topic, payload in world.events if topic.endswith("on_cluster_resized")] == [3, 2]
    world.run(30)
    assert units(world) == before


def test_a_joining_goes_on_with_another_master(world):
    create(world)
    action = world.call("add_cluster_workers", "shop", ["clock"])
    world.kill_master()
    world.run(3)
    world.start_master()
    assert ended(world, action["oid"])["status"] == "SUCCEEDED"


def test_what_cannot_join_is_refused_with_the_reason(world):
    clock = create(world)
    for machine in world.machines:
        machine.broken["broken"] = "no such program"
    ill = world.call("create_worker", {"name": "ill", "profile": "broken"})
    ended(world, ill["oid"])
    with pytest.raises(InvalidArgument, match="only workers that run"):
        world.call("add_cluster_workers", "shop", ["ill"])
    with pytest.raises(InvalidArgument, match="is in cluster shop"):
        world.call("add_cluster_workers", "shop", ["shop-0"])
    with pytest.raises(NoSuchObject):
        world.call("add_cluster_workers", "shop", ["nobody"])
    world.call("create_routercluster", {"name": "mesh"})
    with pytest.raises(InvalidArgument, match="is a router cluster"):
        world.call("add_cluster_workers", "mesh", ["clock"])
    world.call("resize_cluster", "shop", max_size=2)
    world.run(5)
    with pytest.raises(InvalidArgument, match="its max_size is 2"):
        world.call("add_cluster_workers", "shop", ["clock"])
    world.call("resize_cluster", "shop", max_size=-1)
    world.run(5)
    busy = world.ask("update_worker", "clock", {"profile": "other"})
    again = world.ask("add_cluster_workers", "shop", ["clock"])
    world.run(0.05)
    assert busy.called
    with pytest.raises(ActionConflict, match="worker clock"):
        answer_of(world, again)
    assert create_view(world)["cluster_oid"] == clock["cluster_oid"]


def test_workers_join_only_where_the_cluster_may_have_them(world):
    spec = {"type": "affinity", "properties": {"per_node_max": 1}}
    world.call("create_policy", {"name": "apart", "spec": spec})
    world.call("attach_policy", "shop", "apart")
    world.run(5)
    taken = create_view(world, "shop-0")["node_name"]
    create(world, node=taken)
    with pytest.raises(InvalidArgument, match="carry more than 1 workers"):
        world.call("add_cluster_workers", "shop", ["clock"])
    free = ({machine.name for machine in world.machines} - {w["node_name"] for w in members(world).values()}).pop()
    create(world, "timer", node=free)
    done(world, "add_cluster_workers", "shop", ["timer"])


def test_nobody_takes_a_worker_of_somebody_else(world):
    create(world)
    ann = person(world, "ann", 1)
    world.call("add_grant", world.call("get_cluster", "shop")["oid"], user_oid(world, "ann"), "manage")
    with pytest.raises(NotAuthorized, match="may not have worker"):
        as_caller(world, ann, "add_cluster_workers", "shop", ["clock"])
    assert as_caller(world, ann, "create_worker", {"profile": "sleeper"}, "shop")["action"] == "WORKER_CREATE"


def user_oid(world: World, name: str) -> str:
    return world.call("get_user_by_name", name)["oid"]


@given(steps=st.lists(st.sampled_from(["join", "leave", "swap", "create", "crash", "rename"]), min_size=1, max_size=8))
@settings(max_examples=8)
def test_whatever_comes_and_goes_no_process_is_started_anew_or_lost(steps):
    world = installed(nodes=2)
    create(world)
    for number, step in enumerate(steps):
        before = units(world)
        alone = [worker["oid"] for worker in decode(encode(world.call("list_workers", filters={"alone": True})))]
        inside = list(members(world))
        match step:
            case "join" if alone:
                done(world, "add_cluster_workers", "shop", alone[:1])
            case "leave" if inside:
                done(world, "remove_cluster_workers", "shop", inside[:1], destroy=False)
            case "swap" if alone and inside:
                done(world, "replace_cluster_workers", "shop", inside[-1:], candidates=alone[-1:], destroy=False)
            case "create":
                done(world, "create_worker", {"profile": "other"}, *(["shop"] if number % 2 else []))
            case "rename" if alone or inside:
                world.call("update_worker", (alone or inside)[0], {"name": f"other-{number}"})
            case "crash":
                world.kill_master()
                world.start_master()
        world.run(5)
        after = units(world)
        assert {oid: after.get(oid) for oid in before} == before
        assert len(after) == len(before) + (step == "create")
        with world.plane.store.read() as view:
            check_derived(view)
