"""How callers name things, and what they are told when nothing is called so: real master, real agents."""

import pytest

from controlplane.errors import Ambiguous, InvalidArgument, NoSuchObject
from tests.integration.generic import SPEC, create, ended, workers
from tests.simulation.world import World


@pytest.fixture
def world():
    made = World(seed=1, nodes=2)
    made.call("create_profile", {"name": "sleeper", "spec": SPEC})
    return made


@pytest.fixture
def shop(world):
    return create(world, desired=3, max_size=6)


def test_workers_are_taken_out_by_name_oid_or_the_beginning_of_one(world, shop):
    oids = [each["oid"] for each in workers(world, shop)]
    keys = ["shop-0", oids[1][:8], oids[2], "shop-2"]
    action = world.call("remove_cluster_workers", "shop", keys)
    assert action["inputs"]["workers"] == oids
    assert ended(world, action["oid"])["status"] == "SUCCEEDED"
    assert workers(world, shop) == []
    with pytest.raises(NoSuchObject, match="cluster shop has no worker shop-0"):
        world.call("remove_cluster_workers", "shop", ["shop-0"])


def test_workers_are_replaced_by_name_and_those_of_other_clusters_are_none_of_them(world, shop):
    other = world.call("create_cluster", {"name": "other", "profile": "sleeper", "desired": 1})
    ended(world, other["action_oid"])
    elsewhere = workers(world, other["oid"])[0]["oid"]
    for key in ("other-0", elsewhere, elsewhere[:8], "shop-9", "shop", "zz", "123"):
        with pytest.raises(NoSuchObject, match=f"cluster shop has no worker {key}"):
            world.call("replace_cluster_workers", "shop", [key])
    first = workers(world, shop)[0]["oid"]
    action = world.call("replace_cluster_workers", "shop", ["shop-0"])
    assert action["inputs"]["workers"] == [first]
    assert ended(world, action["oid"])["status"] == "SUCCEEDED"
    assert first not in {each["oid"] for each in workers(world, shop)}


def test_a_name_that_two_workers_of_a_cluster_have_is_nobodys(world, shop):
    world.call("update_worker", workers(world, shop)[1]["oid"], {"name": "shop-0"})
    with pytest.raises(Ambiguous, match="shop-0 fits 2 workers of cluster shop"):
        world.call("remove_cluster_workers", "shop", ["shop-0"])


def test_who_stands_by_is_no_worker_to_be_taken_out(world, shop):
    world.call("create_policy", {"name": "reserve", "spec": {"type": "standby", "properties": {"size": 1}}})
    world.call("attach_policy", "shop", "reserve")
    world.run_until(lambda: any(each["standby"] for each in world.call("list_workers", "shop")), 60)
    (name,) = (each["name"] for each in world.call("list_workers", "shop", {"standby": True}))
    with pytest.raises(InvalidArgument, match=f"workers names {name}, which stands by"):
        world.call("remove_cluster_workers", "shop", [name])


def test_an_action_and_a_child_of_one_have_names_and_oids_that_begin_somehow(world, shop):
    action = world.call("scale_out_cluster", "shop", 2)
    children = world.call("list_actions", {"parent_oid": action["oid"]})
    for one in (action, *children):
        for key in (one["oid"], one["oid"].upper(), one["oid"][:9], one["oid"].replace("-", ""), one["name"]):
            assert world.call("get_action", key)["oid"] == one["oid"]
    assert world.call("cancel_action", "shop", action["name"])["oid"] == action["oid"]
    assert ended(world, action["name"])["status"] == "CANCELLED"


def test_an_action_that_there_is_not_is_found_by_nothing(world, shop):
    action = world.call("check_cluster", "shop")
    digits = action["oid"][:8]
    for key in ("", "abc", "nope", f"cluster_resize_{digits}", "cluster_check_00000000", "é", "0" * 33):
        with pytest.raises(NoSuchObject, match=f"there is no action {key}"):
            world.call("get_action", key)


def test_what_is_missing_is_called_what_it_was_meant_to_be(world, shop):
    for procedure, arguments in {
        "get_profile": ["nope"],
        "create_cluster": [{"name": "two", "profile": "nope"}],
        "create_worker": [{"profile": "nope"}],
    }.items():
        with pytest.raises(NoSuchObject, match=r"there is no profile nope \(list the profiles there are\)"):
            world.call(procedure, *arguments)
    for procedure, arguments in {"get_policy": ["nope"], "attach_policy": ["shop", "nope"]}.items():
        with pytest.raises(NoSuchObject, match=r"there is no policy nope \(list the policies there are\)"):
            world.call(procedure, *arguments)


def test_what_does_not_fit_is_said_of_the_argument_that_was_given(world, shop):
    ended(world, world.call("resize_cluster", "shop", min_size=1)["oid"])
    for procedure in ("scale_out_cluster", "scale_in_cluster"):
        with pytest.raises(InvalidArgument) as refused:
            world.call(procedure, "shop", 9)
        assert [each.path for each in refused.value.problems] == ["$.count"]
    with pytest.raises(InvalidArgument) as refused:
        world.call("resize_cluster", "shop", "EXACT_CAPACITY", 9)
    assert [each.path for each in refused.value.problems] == ["$.number"]
    with pytest.raises(InvalidArgument, match="'NEAR' is none of EXACT_CAPACITY, CHANGE_IN_CAPACITY"):
        world.call("resize_cluster", "shop", "NEAR", 1)
