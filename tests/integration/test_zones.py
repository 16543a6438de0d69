"""Workers over regions and zones: the real master and real agents, on a clock that only the test turns."""

from collections import Counter

import pytest

from controlplane.errors import InvalidConfiguration
from tests.integration.generic import SPEC, attach, create, ended, workers
from tests.simulation.world import World

PLACES = (("north", "a"), ("north", "b"), ("south", "c"))


@pytest.fixture
def world():
    made = World(seed=1)
    for region, zone in PLACES:
        made.add_machine(region, zone)
    made.call("create_profile", {"name": "sleeper", "spec": SPEC})
    return made


def zones(world: World, cluster: str, status: str = "RUNNING") -> Counter:
    """How many workers stand in which zone."""
    names = {node["oid"]: node["zone"] for node in (world.call("get_node", oid) for oid in world.call("list_nodes"))}
    return Counter(names.get(w["node_oid"]) for w in workers(world, cluster) if w["status"] == status)


def weights(**given: int) -> dict:
    return {"zones": [{"name": name, "weight": weight} for name, weight in given.items()]}


def test_a_cluster_grows_and_shrinks_by_the_weights_of_zones_and_says_so(world):
    oid = create(world, desired=0, max_size=20)
    attach(world, "by_zone", "zone_placement", weights(a=3, b=2, c=1))
    action = ended(world, world.call("resize_cluster", "shop", "EXACT_CAPACITY", 12)["oid"])
    assert zones(world, oid) == {"a": 6, "b": 4, "c": 2}
    assert action["decisions"][0]["said"] == "wants of 12 workers 6 in a, 4 in b, 2 in c"
    action = ended(world, world.call("scale_in_cluster", "shop", 6)["oid"])
    assert zones(world, oid) == {"a": 3, "b": 2, "c": 1}
    assert (action["decisions"][0]["policy_name"], action["decisions"][0]["said"]) == (
        "by_zone",
        "takes out 3 from a, 2 from b, 1 from c",
    )


def test_a_deletion_policy_chooses_within_the_zones(world):
    oid = create(world, desired=3)
    attach(world, "by_zone", "zone_placement", weights(a=1, b=1, c=1))
    attach(world, "who", "deletion", {"criteria": "YOUNGEST_FIRST"})
    old = {worker["oid"] for worker in workers(world, oid)}
    world.run(1)
    ended(world, world.call("scale_out_cluster", "shop", 3)["oid"])
    action = ended(world, world.call("scale_in_cluster", "shop", 3)["oid"])
    assert zones(world, oid) == {"a": 1, "b": 1, "c": 1}
    assert {worker["oid"] for worker in workers(world, oid)} == old
    assert [each["policy_name"] for each in action["decisions"]] == ["by_zone", "who"]


def test_a_region_carries_no_more_than_its_cap_and_who_waits_is_told_which_policy_it_is(world):
    oid = create(world, desired=0)
    regions = [{"name": "north", "weight": 1, "cap": 4}, {"name": "south", "weight": 1, "cap": 1}]
    attach(world, "by_region", "region_placement", {"regions": regions})
    world.call("resize_cluster", "shop", "EXACT_CAPACITY", 6)
    world.run(5)
    assert zones(world, oid) == {"a": 2, "b": 2, "c": 1}
    waiting = next(worker for worker in workers(world, oid) if worker["status"] == "PENDING")
    assert "policy by_region admits 4 workers in region north" in waiting["reason"]
    world.call("update_policy", "by_region", {"name": "sites"})
    world.run(5)
    waiting = next(worker for worker in workers(world, oid) if worker["status"] == "PENDING")
    assert "policy sites admits 1 worker in region south" in waiting["reason"]


def test_what_runs_stays_where_it_is_and_who_waits_gets_a_place_when_a_node_gets_a_zone(world):
    oid = create(world, desired=3)
    before = {worker["oid"]: worker["pid"] for worker in workers(world, oid)}
    attach(world, "by_zone", "zone_placement", weights(d=1))
    world.call("resize_cluster", "shop", "CHANGE_IN_CAPACITY", 1)
    world.run(2)
    assert zones(world, oid) == {"a": 1, "b": 1, "c": 1}
    waiting = next(worker for worker in workers(world, oid) if worker["status"] == "PENDING")
    assert "is in zone a, which policy by_zone does not name" in waiting["reason"]
    changed = world.call("update_node", str(world.machines[2].oid), {"zone": "d", "label": "moved"})
    assert (changed["region"], changed["zone"], changed["label"]) == ("south", "d", "moved")
    assert "node_updated" in world.topics()
    world.run(2)
    assert zones(world, oid) == {"a": 1, "b": 1, "d": 2}
    now = {worker["oid"]: worker["pid"] for worker in workers(world, oid)}
    assert before.items() <= now.items()


def test_a_lost_zone_is_made_up_for_elsewhere_and_nobody_moves_back(world):
    oid = create(world, desired=6, grace_period=2)
    attach(world, "by_zone", "zone_placement", weights(a=1, b=1, c=1))
    world.machines[2].power_cut()
    world.run(60)
    assert zones(world, oid) == {"a": 3, "b": 3}
    world.machines[2].reboot()
    world.run(60)
    assert zones(world, oid) == {"a": 3, "b": 3}
    assert len(world.machines[2].units) == 0


@pytest.mark.parametrize(("rule", "expected"), [({"per_zone_max": 1}, [1, 1, 1]), ({"together": "zone"}, [5])])
def test_workers_keep_apart_or_together(world, rule, expected):
    oid = create(world, desired=0)
    attach(world, "keep", "affinity", rule, "1.1")
    world.call("resize_cluster", "shop", "EXACT_CAPACITY", 5)
    world.run(5)
    assert sorted(zones(world, oid).values()) == expected
    assert world.call("get_cluster", oid)["workers_by_status"].get("PENDING", 0) == 5 - sum(expected)


def test_the_groups_of_a_router_cluster_are_spread_each_for_itself(world):
    cluster = world.call("create_routercluster", {"name": "wamp"})["oid"]
    for machine in world.machines:
        world.call("add_routercluster_node", cluster, str(machine.oid))
    groups = [world.call("add_routercluster_workergroup", cluster, {"name": n, "scale": 3}) for n in ("one", "two")]
    spec = {"type": "zone_placement", "properties": weights(a=1, b=1, c=1)}
    world.call("create_policy", {"name": "by_zone", "spec": spec})
    world.call("attach_policy", "wamp", "by_zone")
    world.call("start_routercluster", cluster)
    world.wait_for_status(cluster, "RUNNING")
    for group in groups:
        homes = {w["node_oid"] for w in world.workers(cluster) if w["workergroup_oid"] == group["oid"]}
        assert len(homes) == 3
    world.call("scale_routercluster_workergroup", cluster, groups[0]["oid"], 1)
    world.call("scale_routercluster_workergroup", cluster, groups[0]["oid"], 3)
    world.run(10)
    assert len({w["node_oid"] for w in world.workers(cluster) if w["workergroup_oid"] == groups[0]["oid"]}) == 3


def test_what_a_placement_policy_says_is_checked(world):
    for type_, properties, path in (
        ("zone_placement", weights(), "$.spec.properties.zones"),
        ("zone_placement", weights(a=0), "$.spec.properties.zones"),
        ("zone_placement", {"zones": [{"name": "a"}, {"name": "a"}]}, "$.spec.properties.zones[1].name"),
        ("region_placement", {"regions": [{"name": "n", "cap": -2}]}, "$.spec.properties.regions[0].cap"),
        ("affinity", {"together": "region"}, "$.spec.properties.together"),
        ("affinity", {}, "$.spec.properties"),
    ):
        with pytest.raises(InvalidConfiguration) as caught:
            version = "1.1" if type_ == "affinity" else "1.0"
            spec = {"type": type_, "version": version, "properties": properties}
            world.call("validate_policy", {"name": "bad", "spec": spec})
        assert [problem.path for problem in caught.value.problems] == [path]
    with pytest.raises(InvalidConfiguration):
        world.call("update_node", str(world.machines[0].oid), {"zone": "no zone"})
