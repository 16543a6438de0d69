"""Workers that are protected: the real master and real agents, on a clock that only the test turns."""

import pytest

from controlplane.errors import ActionConflict, WorkerProtected
from tests.integration.generic import SPEC, attach, create, ended, workers
from tests.simulation.world import World


@pytest.fixture
def world():
    made = World(seed=1)
    for zone in "abc":
        made.add_machine(zone=zone)
    made.call("create_profile", {"name": "sleeper", "spec": SPEC})
    return made


def protect(world: World, *found: dict) -> set[str]:
    for worker in found:
        assert world.call("protect_worker", worker["oid"])["protected"] is True
    return {worker["oid"] for worker in found}


def oids(world: World, cluster: str) -> set[str]:
    return {worker["oid"] for worker in workers(world, cluster)}


@pytest.mark.parametrize(
    "policy",
    [
        None,
        ("deletion", {"criteria": "YOUNGEST_FIRST"}),
        ("zone_placement", {"zones": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}),
    ],
)
def test_a_protected_worker_is_never_among_those_that_go(world, policy):
    oid = create(world, desired=6)
    if policy is not None:
        attach(world, "rule", *policy)
    kept = protect(world, *workers(world, oid)[-2:])
    assert [w["protected"] for w in workers(world, oid)] == [False] * 4 + [True] * 2
    ended(world, world.call("scale_in_cluster", "shop", 3)["oid"])
    assert kept < oids(world, oid)
    ended(world, world.call("scale_in_cluster", "shop", 1)["oid"])
    assert kept == oids(world, oid)


def test_a_shrink_that_would_need_a_protected_worker_is_refused_or_stops_there(world):
    oid = create(world, desired=4)
    kept = protect(world, *workers(world, oid)[:2])
    with pytest.raises(WorkerProtected, match="2 are protected"):
        world.call("resize_cluster", "shop", "EXACT_CAPACITY", 1)
    with pytest.raises(WorkerProtected):
        world.call("scale_in_cluster", "shop", 3)
    assert world.call("get_cluster", oid)["desired"] == 4
    action = ended(world, world.call("resize_cluster", "shop", "EXACT_CAPACITY", 1, strict=False)["oid"])
    assert (action["status"], oids(world, oid)) == ("SUCCEEDED", kept)
    assert world.call("get_cluster", oid)["desired"] == 2


def test_a_scaling_policy_that_does_its_best_stops_at_protected_workers(world):
    oid = create(world, desired=4)
    attach(world, "shrink", "scaling", {"event": "CLUSTER_SCALE_IN", "adjustment": {"number": 9, "best_effort": True}})
    kept = protect(world, *workers(world, oid)[1:4])
    ended(world, world.call("scale_in_cluster", "shop")["oid"])
    assert oids(world, oid) == kept


@pytest.mark.parametrize("verb", ["remove_cluster_workers", "replace_cluster_workers", "delete_worker"])
def test_who_names_a_protected_worker_is_refused_until_it_is_protected_no_longer(world, verb):
    oid = create(world, desired=3)
    (kept,) = protect(world, workers(world, oid)[0])
    arguments = (kept,) if verb == "delete_worker" else ("shop", [kept])
    with pytest.raises(WorkerProtected):
        world.call(verb, *arguments)
    assert world.call("get_cluster", oid)["desired"] == 3
    assert world.call("unprotect_worker", kept)["protected"] is False
    ended(world, world.call(verb, *arguments)["oid"])
    assert kept not in oids(world, oid)


def test_recovery_replaces_the_others_and_a_protected_worker_keeps_its_place(world):
    oid = create(world, desired=3, grace_period=1000)
    first, second, third = workers(world, oid)
    protect(world, first)
    for machine in world.machines:
        if str(machine.oid) in (first["node_oid"], second["node_oid"]):
            machine.power_cut()
    world.run(30)
    world.call("recover_cluster", "shop")
    world.run(5)
    assert {first["oid"], third["oid"]} < oids(world, oid)
    running = {w["oid"] for w in workers(world, oid) if w["status"] == "RUNNING"}
    assert (first["oid"] in running, len(running)) == (False, 2)


def test_a_worker_on_its_way_out_cannot_be_protected_any_more(world):
    oid = create(world, desired=2)
    gone = workers(world, oid)[0]["oid"]
    world.call("remove_cluster_workers", "shop", [gone])
    with pytest.raises(ActionConflict):
        world.call("protect_worker", gone)


def test_protection_is_told_and_does_not_hold_up_the_end_of_a_cluster(world):
    oid = create(world, desired=2)
    protect(world, *workers(world, oid))
    assert world.topics().count("worker_updated") == 2
    ended(world, world.call("delete_cluster", "shop")["oid"])
    assert not any(machine.units for machine in world.machines)


def test_a_group_of_a_router_cluster_shrinks_to_its_protected_workers(world):
    cluster = world.call("create_routercluster", {"name": "wamp"})["oid"]
    for machine in world.machines:
        world.call("add_routercluster_node", cluster, str(machine.oid))
    group = world.call("add_routercluster_workergroup", cluster, {"name": "one", "scale": 3})["oid"]
    world.call("start_routercluster", cluster)
    world.wait_for_status(cluster, "RUNNING")
    last = [w for w in world.workers(cluster) if w["workergroup_oid"] == group][-1]
    protect(world, last)
    with pytest.raises(WorkerProtected):
        world.call("scale_routercluster_workergroup", cluster, group, 0)
    world.call("scale_routercluster_workergroup", cluster, group, 1)
    world.run(10)
    assert [w["oid"] for w in world.workers(cluster) if w["workergroup_oid"] == group] == [last["oid"]]
