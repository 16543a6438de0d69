"""Workers as a noun of their own: real master, real agents, on a clock that only the test turns."""

import pytest

from controlplane.errors import Ambiguous, InvalidArgument, NoSuchObject
from tests.simulation.world import World

SPEC = {"type": "process", "version": "1.0", "properties": {"command": ["sleep", "100"]}}
LIST = "controlplane.worker.list_workers"
GET = "controlplane.worker.get_worker"


@pytest.fixture(scope="module")
def world():
    """Three workers of `shop`, two of `till`, whose names have a pattern, and one frontend with its router."""
    made = World(seed=1, nodes=2)
    made.call("create_profile", {"name": "sleeper", "spec": SPEC})
    clusters = [
        {"name": "shop", "profile": "sleeper", "desired": 3},
        {"name": "till", "profile": "sleeper", "desired": 2, "naming": "till.$2I-x"},
    ]
    actions = [made.call("create_cluster", each)["action_oid"] for each in clusters]
    made.run_until(lambda: all(made.call("get_action", each)["ended"] for each in actions), 60)
    router = made.call("create_routercluster", {"name": "office"})["oid"]
    for node in made.call("list_nodes"):
        made.call("add_routercluster_node", router, node)
    made.call("add_routercluster_workergroup", router, {"name": "web", "scale": 1})
    made.call("start_routercluster", router)
    made.run_until(lambda: made.call("get_routercluster", router)["status"] == "RUNNING", 60)
    return made


def names(workers) -> list[str]:
    return [worker["name"] for worker in workers]


def test_workers_of_all_clusters_are_listed_with_their_names(world):
    assert set(names(world.call(LIST, sort="name"))) == {
        "office-router-0",
        "office-web-0",
        *(f"shop-{index}" for index in range(3)),
        *(f"till.0{index}-x" for index in range(2)),
    }


def test_they_are_filtered_sorted_and_paged(world):
    assert names(world.call(LIST, "shop", sort="index:desc")) == ["shop-2", "shop-1", "shop-0"]
    assert len(world.call(LIST, filters={"cluster_name": ["shop", "till"], "status": "RUNNING"})) == 5
    first = world.call(LIST, sort="name", limit=4)
    rest = world.call(LIST, sort="name", limit=4, marker=first[-1]["oid"])
    assert [*first, *rest] == world.call(LIST, sort="name")
    with pytest.raises(InvalidArgument, match="marker"):
        world.call(LIST, marker="3eccb1fd-251b-4eda-bee9-06b3d24b1c5e")
    with pytest.raises(InvalidArgument, match="size"):
        world.call(LIST, filters={"size": 3})
    with pytest.raises(NoSuchObject):
        world.call(LIST, "nowhere")


def test_a_worker_is_found_by_oid_name_and_beginning(world):
    for worker in world.call(LIST):
        for key in (worker["oid"], worker["oid"][:13], worker["name"]):
            assert world.call(GET, key)["oid"] == worker["oid"]
    for nobody in ("shop-3", "till.1-x", "zzzz", "0000"):
        with pytest.raises(NoSuchObject):
            world.call(GET, nobody)


def test_a_name_that_two_have_is_an_error_of_its_own(world):
    profile = {"profile": "sleeper", "desired": 2, "naming": "same"}
    action = world.call("create_cluster", {"name": "twins", **profile})["action_oid"]
    world.run_until(lambda: world.call("get_action", action)["ended"] is not None, 60)
    with pytest.raises(Ambiguous, match="more than one worker"):
        world.call(GET, "same")
    delete = world.call("delete_cluster", "twins")["oid"]
    world.run_until(lambda: world.call("get_action", delete)["ended"] is not None, 60)


def test_its_agent_is_asked_for_details(world):
    plain, detailed = world.call(GET, "shop-1"), world.call(GET, "shop-1", details=True)
    assert plain["details"] is None
    assert isinstance(detailed["details"], dict)
    assert {**detailed, "details": None} == plain


def test_attributes_are_collected_by_path(world):
    found = world.call("collect_cluster_attributes", "shop", "$.node_name")
    assert [each["worker_name"] for each in found] == ["shop-0", "shop-1", "shop-2"]
    assert [each["value"] for each in found] == [worker["node_name"] for worker in world.call(LIST, "shop")]
    assert world.call("collect_cluster_attributes", "shop", "$.realms[0]") == []
    asked = world.call("collect_cluster_attributes", "office", "$.details")
    assert asked
    assert all(isinstance(each["value"], dict | None) for each in asked)
    with pytest.raises(InvalidArgument, match="path"):
        world.call("collect_cluster_attributes", "shop", "a|b")
