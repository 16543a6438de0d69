from collections import Counter
from itertools import combinations_with_replacement

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.core.placement import Candidate, Placement
from controlplane.core.planning import plan_cluster
from controlplane.core.removal import surplus_of_group
from controlplane.core.spreading import Spread, apportion, rules_of
from controlplane.records.placement import PlacementRules, Share
from controlplane.records.policies import (
    AffinityPolicy,
    KeepingPolicy,
    RegionPlacementPolicy,
    RegionShare,
    ZonePlacementPolicy,
    ZoneShare,
)
from controlplane.records.workers import Want, WorkerStatus
from tests.strategies import EXAMPLES, group, node, situation, uid, worker
from tests.unit.core.test_planning import after, refreshed, settled

RUNNING = WorkerStatus.RUNNING
GROUP = uid(3, 1)


def zoned(*weights: int, **more) -> PlacementRules:
    names = "abcdefgh"
    return PlacementRules(
        zones=tuple(Share(name=names[place], weight=weight) for place, weight in enumerate(weights)),
        zone_policy="by_zone",
        **more,
    )


def placement(places, rules, staying=()) -> Placement:
    """`places` are (zone, hard limit), on nodes numbered from 1; `staying` numbers of nodes that carry a worker."""
    candidates = {}
    for number, (zone, hard) in enumerate(places, 1):
        one = node(number, zone=zone, region=None if zone is None else zone.upper())
        candidates[one.oid] = Candidate(one, None, hard)
    spread = Spread(rules)
    here = [candidates[uid(2, number)] for number in staying]
    for candidate in here:
        candidate.take()
    spread.begin([(GROUP, c.node) for c in here], [c.node for c in here])
    return Placement(candidates, "router", spread)


def zones_of(made: Placement, count: int) -> list[str | None]:
    return [found.zone if (found := made.place(GROUP)) else None for _ in range(count)]


SHARES = st.lists(st.integers(0, 5), min_size=1, max_size=3).filter(any)


def distance(counts, weights) -> float:
    """How far numbers are from the weights: what is to be as small as can be."""
    return sum(number**2 / weight for number, weight in zip(counts, weights, strict=True) if weight)


@given(SHARES, st.integers(0, 9))
def test_no_other_distribution_is_nearer_to_the_weights(weights, total):
    found = apportion(zoned(*weights).zones, total)
    assert sum(found.values()) == total
    assert all(found["abc"[place]] == 0 for place, weight in enumerate(weights) if not weight)
    able = [place for place, weight in enumerate(weights) if weight]
    others = (Counter(each) for each in combinations_with_replacement(able, total))
    best = min(distance([other[place] for place in range(len(weights))], weights) for other in others)
    assert distance(list(found.values()), weights) == pytest.approx(best)


def test_caps_leave_out_what_does_not_fit():
    shares = (Share(name="a", weight=1, cap=1), Share(name="b", weight=1, cap=2))
    assert apportion(shares, 9) == {"a": 1, "b": 2}


@settings(max_examples=2 * EXAMPLES)
@given(
    SHARES, st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.integers(0, 4)), max_size=6), st.integers(0, 9)
)
def test_zones_carry_what_is_nearest_to_their_weights_as_room_admits(weights, places, total):
    made = placement(places, zoned(*weights))
    placed = Counter(zones_of(made, total))
    share = dict(zip("abc", weights, strict=False))
    room = Counter()
    for candidate in made.candidates.values():
        room[candidate.node.zone] += candidate.room()
    assert placed[None] == 0 or all(not room[zone] for zone in "abc" if share.get(zone))
    for full in (zone for zone in placed if zone is not None):
        for other in (zone for zone in "abc" if zone != full and room[zone] > 0 and share.get(zone)):
            # Nothing is won by moving one from here to there.
            assert (2 * placed[full] - 1) / share[full] <= (2 * placed[other] + 1) / share[other]


@settings(max_examples=2 * EXAMPLES)
@given(SHARES, st.lists(st.sampled_from("abc"), max_size=8), st.integers(0, 8))
def test_who_goes_leaves_the_zones_as_near_to_their_weights_as_those_who_stay_admit(weights, homes, scale):
    nodes = {uid(2, place): node(place, zone=zone) for place, zone in enumerate("abc")}
    workers = [worker(n, GROUP, n, uid(2, "abc".index(zone)), RUNNING) for n, zone in enumerate(homes)]
    gone = surplus_of_group(workers, scale, zoned(*weights), nodes) if scale < len(workers) else []
    assert len(gone) == max(0, len(workers) - scale)
    share = dict(zip("abc", weights, strict=False))
    left = Counter(nodes[each.node_oid].zone for each in workers if each not in gone)
    taken = Counter(nodes[each.node_oid].zone for each in gone)
    for zone in taken:
        for other in left:
            if zone != other and share.get(zone):
                # Whoever went came from a place that had too many rather than from here.
                assert share.get(other), "a zone without a weight is emptied first"
                assert (2 * (left[zone] + 1) - 1) / share[zone] >= (2 * left[other] - 1) / share[other]


def test_the_highest_index_goes_within_a_zone_and_the_sick_ones_before():
    nodes = {uid(2, 1): node(1, zone="a"), uid(2, 2): node(2, zone="b")}
    here = [worker(number, GROUP, number, uid(2, 1), RUNNING) for number in range(3)]
    there = [worker(number, GROUP, number, uid(2, 2), RUNNING) for number in range(3, 5)]
    sick = worker(5, GROUP, 0, uid(2, 2), WorkerStatus.ERROR)
    gone = surplus_of_group([*here, *there, sick], 2, zoned(1, 1), nodes)
    assert [each.index for each in gone] == [0, 2, 4, 1]
    assert gone[0] is sick


def test_a_region_is_looked_at_before_its_zones_and_no_more_than_its_cap():
    rules = PlacementRules(
        regions=(Share(name="A", weight=1), Share(name="B", weight=1, cap=1)), region_policy="by_region"
    )
    made = placement([("a", None), ("b", None)], rules)
    assert zones_of(made, 4) == ["a", "b", "a", "a"]
    assert made.take(uid(2, 2), GROUP) == "policy by_region admits 1 worker in region B"


def test_workers_that_stay_count_and_each_group_is_spread_for_itself():
    made = placement([("a", None), ("b", None)], zoned(1, 1), staying=[1, 1])
    assert zones_of(made, 3) == ["b", "b", "a"]
    assert made.place(uid(3, 2)).zone == "b"
    assert made.place(uid(3, 2)).zone == "a"


def test_a_zone_has_no_more_than_the_policy_admits_until_one_leaves():
    rules = PlacementRules(per_zone_max=1, affinity_policy="apart")
    made = placement([("a", None), ("a", None), ("b", None), (None, None)], rules)
    assert zones_of(made, 3) == ["a", "b", None]
    assert made.why_not() == (
        "no place: node1: policy apart admits 1 worker in zone a; node2: policy apart admits 1 worker in zone a; "
        "node3: policy apart admits 1 worker in zone b; node4: is in no zone, and policy apart goes by zones"
    )
    made.release(uid(2, 3))
    assert zones_of(made, 2) == ["b", None]


@pytest.mark.parametrize(("kind", "expected"), [("zone", ["b", "b", "b", None]), ("node", ["b", "b", None, None])])
def test_all_are_kept_together_where_there_is_most_room(kind, expected):
    rules = PlacementRules(together=kind, affinity_policy="close")
    made = placement([("a", 1), ("b", 1), ("b", 2)], rules)
    assert zones_of(made, 4) == expected
    assert f"is not the {kind} in which policy close keeps all workers together" in made.why_not()


def test_who_is_kept_together_follows_those_that_stay():
    rules = PlacementRules(together="node", affinity_policy="close")
    made = placement([("a", None), ("b", 1), ("b", None)], rules, staying=[2])
    assert made.place(GROUP) is None
    assert "node2: hardlimit of 1 reached" in made.why_not()


def test_every_refusal_names_the_policy():
    made = placement([("a", None), ("c", None), (None, None)], zoned(0, 1))
    assert made.place(GROUP) is None
    assert made.why_not() == (
        "no place: node1: is in zone a, to which policy by_zone gives no weight; "
        "node2: is in zone c, which policy by_zone does not name; node3: is in no zone, and policy by_zone names zones"
    )


def test_a_node_below_its_softlimit_comes_before_the_zone_that_lacks_most():
    first, second = node(1, zone="a"), node(2, zone="b")
    spread = Spread(zoned(1, 5))
    spread.begin([], [])
    made = Placement({first.oid: Candidate(first, 1, None), second.oid: Candidate(second, 0, None)}, "router", spread)
    assert [made.place(GROUP).zone for _ in range(3)] == ["a", "b", "b"]


def test_a_plan_spreads_new_workers_and_says_which_policy_keeps_others_waiting():
    members = [(node(1, zone="a"), None, 3), (node(2, zone="b"), None, 2), (node(3), None, None)]
    begin = situation([group(1, 6)], members, placement=zoned(1, 1))
    end = settled(begin)
    homes = Counter(each.node_oid for each in end.workers)
    assert homes == {uid(2, 1): 3, uid(2, 2): 2, None: 2}
    waiting = [each.reason for each in end.workers if each.node_oid is None]
    assert all("node3: is in no zone, and policy by_zone names zones" in reason for reason in waiting)


def test_a_lost_zone_is_made_up_for_and_nobody_moves_back():
    def places(online):
        return [(node(1, zone="a"), None, None), (node(2, zone="b", online=online, since=0), None, None)]

    begin = settled(situation([group(1, 4)], places(True), placement=zoned(1, 1)))
    lost = situation([group(1, 4)], places(False), begin.workers, placement=zoned(1, 1))
    end = settled(lost)
    assert {each.node_oid for each in end.workers if each.want is Want.RUN} == {uid(2, 1)}
    back = situation([group(1, 4)], places(True), [w for w in end.workers if w.want is Want.RUN], placement=zoned(1, 1))
    assert not plan_cluster(back)


def test_a_plan_takes_out_workers_where_there_are_too_many():
    members = [(node(1, zone="a"), None, None), (node(2, zone="b"), None, None)]
    workers = [worker(9, None, 0, uid(2, 1), RUNNING)]
    workers += [worker(n, GROUP, n, uid(2, 1 if n in (1, 2, 3) else 2), RUNNING) for n in range(5)]
    begin = situation([group(1, 3)], members, workers, placement=zoned(2, 1))
    end = after(begin, plan_cluster(refreshed(begin, begin.workers)))
    gone = sorted(each.index for each in end.workers if each.want is Want.REMOVE)
    assert gone == [3, 4]


def test_rules_are_read_from_policies():
    zones = ZonePlacementPolicy(zones=(ZoneShare(name="a", weight=3), ZoneShare(name="b")))
    regions = RegionPlacementPolicy(regions=(RegionShare(name="north", cap=2), RegionShare(name="south")))
    found = rules_of([("one", zones), ("two", regions), ("three", KeepingPolicy(per_zone_max=2))])
    assert found == PlacementRules(
        zones=(Share(name="a", weight=3), Share(name="b", weight=100)),
        zone_policy="one",
        regions=(Share(name="north", cap=2), Share(name="south")),
        region_policy="two",
        per_zone_max=2,
        affinity_policy="three",
    )
    assert rules_of([("three", AffinityPolicy(per_node_max=2)), ("four", KeepingPolicy(per_node_max=2))]) is None
    assert rules_of([("three", KeepingPolicy(together="zone"))]).together == "zone"


@given(SHARES, st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=8), st.integers(0, 8), st.booleans())
def test_protected_workers_stay_and_as_many_go_as_there_are_others(weights, homes, scale, spread):
    nodes = {uid(2, place): node(place, zone=zone) for place, zone in enumerate("abc")}
    workers = [
        worker(n, GROUP, n, uid(2, "abc".index(zone)), RUNNING, protected=kept) for n, (zone, kept) in enumerate(homes)
    ]
    gone = surplus_of_group(workers, scale, zoned(*weights) if spread else None, nodes) if scale < len(workers) else []
    assert not any(each.protected for each in gone)
    assert len(gone) == max(0, min(len(workers) - scale, sum(not kept for _, kept in homes)))


def test_who_takes_or_holds_a_place_counts_in_its_group():
    for occupy in (Placement.take, Placement.hold):
        made = placement([("a", None), ("b", None)], zoned(1, 1))
        for number, of in ((1, GROUP), (2, uid(3, 2)), (2, uid(3, 2))):
            occupy(made, uid(2, number), of)
        assert zones_of(made, 1) == ["b"]


def test_a_place_that_is_given_back_is_there_again():
    made = placement([("a", 1)], zoned(1))
    assert zones_of(made, 2) == ["a", None]
    made.release(uid(2, 1))
    assert zones_of(made, 2) == ["a", None]


def test_a_plan_counts_where_those_stand_that_stay():
    members = [(node(1, zone="a"), None, None), (node(2, zone="a"), None, None), (node(3, zone="b"), None, None)]
    workers = [worker(9, None, 0, uid(2, 1), RUNNING)]
    workers += [worker(n, GROUP, n, uid(2, 1), RUNNING) for n in range(2)]
    plan = plan_cluster(situation([group(1, 4)], members, workers, placement=zoned(1, 1)))
    assert [each.node_oid for each in plan.added] == [uid(2, 3), uid(2, 3)]


def test_few_workers_stand_where_half_of_the_next_one_is_due():
    assert apportion(zoned(7, 3).zones, 2) == {"a": 1, "b": 1}
    assert apportion(zoned(7, 3).zones, 10) == {"a": 7, "b": 3}


def test_regions_are_filled_by_their_weights_and_full_ones_left_alone():
    names = (RegionShare(name="A", weight=3), RegionShare(name="B", weight=1), RegionShare(name="C", cap=0))
    rules = rules_of([("by_region", RegionPlacementPolicy(regions=names))])
    assert [(share.weight, share.cap) for share in rules.regions] == [(3, None), (1, None), (100, 0)]
    made = placement([("a", None), ("b", None), ("c", None), (None, None)], rules, staying=[1])
    assert Counter(zones_of(made, 7)) == {"a": 5, "b": 2}
    capped = PlacementRules(regions=(Share(name="A", weight=1, cap=2),), region_policy="by_region")
    made = placement([("a", None), ("d", None), (None, None)], capped, staying=[1])
    assert zones_of(made, 2) == ["a", None]
    assert made.why_not() == (
        "no place: node1: policy by_region admits 2 workers in region A; "
        "node2: is in region D, which policy by_region does not name; "
        "node3: is in no region, and policy by_region names regions"
    )
    made.release(uid(2, 1))
    assert zones_of(made, 2) == ["a", None]


@pytest.mark.parametrize("kind", ["zone", "node"])
def test_workers_are_kept_together_where_most_of_them_stand(kind):
    rules = PlacementRules(together=kind, affinity_policy="close")
    assert zones_of(placement([("a", None), ("b", None), ("c", None)], rules, staying=[3, 2, 2, 1]), 1) == ["b"]
    assert zones_of(placement([("b", None), ("a", None)], rules, staying=[1, 2]), 1) == (
        ["a"] if kind == "zone" else ["b"]
    )


def test_a_zone_has_the_room_of_all_its_nodes_that_may_be_used_and_the_first_by_name_is_taken():
    together = PlacementRules(together="zone", affinity_policy="close")
    assert zones_of(placement([("a", 2), ("b", 3), ("a", 2)], together), 1) == ["a"]
    assert zones_of(placement([("b", 2), ("a", 2)], together), 1) == ["a"]
    shut = zoned(1, 0, together="zone", affinity_policy="close")
    assert zones_of(placement([("a", 1), ("b", 5)], shut), 1) == ["a"]
    full = PlacementRules(
        regions=(Share(name="A", weight=1), Share(name="B", weight=1, cap=0)),
        region_policy="by_region", together="zone", affinity_policy="close",
    )  # fmt: skip
    assert zones_of(placement([("a", 1), ("b", 5)], full), 1) == ["a"]


def test_a_node_without_a_zone_is_none_of_those_that_are_kept_together_in_one():
    made = placement([(None, 5), ("a", 1)], PlacementRules(together="zone", affinity_policy="close"))
    assert zones_of(made, 2) == ["a", None]
    assert "node1: is in no zone, and policy close goes by zones" in made.why_not()


def test_protected_workers_count_where_they_are():
    nodes = {uid(2, 1): node(1, zone="a"), uid(2, 2): node(2, zone="b")}
    workers = [worker(n, GROUP, n, uid(2, 1 if n < 2 else 2), RUNNING, protected=n < 1) for n in range(4)]
    assert {each.index for each in surplus_of_group(workers, 2, zoned(1, 1), nodes)} == {1, 3}
