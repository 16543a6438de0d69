"""Who goes when there are too many, and which places are free when there are too few."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.core.removal import is_sick, missing_indexes, surplus, surplus_of_group, surplus_routers
from controlplane.records.placement import PlacementRules, Share
from controlplane.records.workers import WorkerStatus
from tests.strategies import node, uid, worker

RUNNING, ERROR = WorkerStatus.RUNNING, WorkerStatus.ERROR
SICK = {WorkerStatus.PENDING, WorkerStatus.ERROR, WorkerStatus.UNREACHABLE}
GROUP = uid(3, 1)


def member(index: int, home: int | None = None, status=RUNNING, number: int | None = None, **fields):
    return worker(
        index if number is None else number, GROUP, index, None if home is None else uid(2, home), status, **fields
    )


def indexes(workers) -> list[int]:
    return [each.index for each in workers]


# Sick ones


@pytest.mark.parametrize("status", list(WorkerStatus))
def test_a_worker_is_no_loss_while_it_cannot_serve(status):
    assert is_sick(member(0, 1, status)) is (status in SICK)


@pytest.mark.parametrize("status", list(WorkerStatus))
def test_without_rules_the_sick_ones_go_and_then_the_highest_index(status):
    workers = [member(2, 1), member(0, 1, status), member(1, 1), member(3, 1)]
    assert set(indexes(surplus_of_group(workers, 3, None, {}))) == ({0} if status in SICK else {3})
    assert set(indexes(surplus_of_group(workers, 2, None, {}))) == ({0, 3} if status in SICK else {2, 3})


WORKERS = st.lists(st.tuples(st.integers(0, 4), st.sampled_from(WorkerStatus), st.booleans()), max_size=7)


@given(WORKERS, st.integers(0, 7))
def test_without_rules_nobody_stays_who_is_worth_less_than_one_who_goes(drawn, scale):
    workers = [member(index, 1, status, number, protected=kept) for number, (index, status, kept) in enumerate(drawn)]
    able = [each for each in workers if not each.protected]
    gone = surplus_of_group(workers, min(scale, len(workers)), None, {})
    assert len(gone) == min(max(0, len(workers) - scale), len(able))
    assert all(each in able for each in gone)

    def worth(each):
        return each.status not in SICK, -each.index, -each.oid.int

    stay = [each for each in able if each not in gone]
    assert all(worth(one) < worth(other) for one in gone for other in stay)


def test_of_two_with_one_index_the_higher_oid_goes():
    workers = [member(1, 1, number=8), member(1, 1, number=9), member(0, 1, number=10)]
    assert surplus_of_group(workers, 2, None, {}) == [workers[1]]
    assert surplus_of_group(workers[::-1], 2, None, {}) == [workers[1]]


# Routers


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(WorkerStatus)), max_size=6), st.integers(0, 6))
def test_the_routers_with_the_lowest_indexes_stay_however_they_are(drawn, scale):
    routers = [member(index, 1, status, number) for number, (index, status) in enumerate(drawn)]
    ordered = sorted(routers, key=lambda each: (each.index, each.oid.int))
    assert surplus_routers(routers[::-1], scale) == ordered[scale:]


# With rules


NODES = {
    uid(2, 1): node(1, region="north", zone="a"),
    uid(2, 2): node(2, region="north", zone="b"),
    uid(2, 3): node(3, region="south", zone="c"),
    uid(2, 4): node(4),
}


def by_zone(**weights: int) -> PlacementRules:
    return PlacementRules(zones=tuple(Share(name=name, weight=weight) for name, weight in weights.items()))


def by_region(**weights: int) -> PlacementRules:
    return PlacementRules(regions=tuple(Share(name=name, weight=weight) for name, weight in weights.items()))


def leaving(workers, count: int, rules: PlacementRules, first=lambda each: -each.index) -> list[int]:
    return indexes(surplus(workers, count, rules, NODES, first, is_sick))


def test_a_region_is_looked_at_before_its_zones():
    rules = PlacementRules(
        regions=(Share(name="north", weight=1), Share(name="south", weight=1)),
        zones=tuple(Share(name=name, weight=1) for name in "abc"),
    )
    workers = [member(0, 1), member(1, 1), member(2, 2), member(3, 3), member(4, 3)]
    assert leaving(workers, 1, rules) == [1]  # The north has three, and most of them stand in zone a.
    assert leaving(workers, 3, rules) == [1, 4, 2]
    assert leaving([member(0, 1), *workers[2:]], 1, rules) == [4]  # Two and two: now zones decide.


def test_regions_alone_are_counted_over_all_their_zones():
    workers = [member(0, 1), member(1, 2), member(2, 3)]
    assert leaving(workers, 2, by_region(north=1, south=1)) == [1, 2]
    assert leaving(workers, 1, by_region(north=1, south=3)) == [1]
    assert leaving(workers, 1, by_region(north=9, south=1)) == [2]


def test_who_has_no_place_or_one_without_a_share_goes_before_the_others():
    workers = [member(0, 1), member(1, 4), member(2, 99), member(3), member(4, 2), member(5, 1)]
    assert leaving(workers, 4, by_zone(a=1, b=0)) == [4, 3, 2, 1]
    assert leaving(workers, 6, by_zone(a=1)) == [4, 3, 2, 1, 5, 0]


def test_an_area_gives_the_more_the_farther_it_is_above_its_weight():
    workers = [*(member(index, 1) for index in range(6)), *(member(index, 2) for index in range(6, 9))]
    assert leaving(workers, 4, by_zone(a=2, b=1)) == [5, 8, 4, 3]
    assert leaving(workers, 4, by_zone(a=1, b=2)) == [5, 4, 3, 2]


def test_how_far_a_number_is_above_a_weight_is_measured_from_half_of_the_last_worker():
    assert leaving([member(9, 1), member(0, 2), member(1, 2), member(2, 2)], 1, by_zone(a=1, b=4)) == [2]
    assert leaving([member(9, 1), *(member(index, 3) for index in range(4))], 1, by_region(north=1, south=6)) == [3]


def test_zones_of_one_name_in_two_regions_are_counted_as_one():
    nodes = {uid(2, 1): node(1, region="north", zone="a"), uid(2, 2): node(2, region="south", zone="a")}
    nodes |= {uid(2, 3): node(3, region="south", zone="b")}
    workers = [member(1, 1), member(2, 2), member(3, 3), member(4, 3)]
    gone = surplus(workers, 2, by_zone(a=5, b=7), nodes, lambda each: -each.index, is_sick)
    assert indexes(gone) == [2, 4]


def test_protected_workers_stay_and_count_in_their_region_and_in_their_zone():
    kept = [member(index, 1, protected=True) for index in (7, 8)]
    workers = [*kept, member(0, 1), member(1, 2), member(2, 2), member(3, 3), member(4, 3), member(5, 3)]
    assert leaving(workers, 1, by_zone(a=1, b=1, c=2)) == [0]
    assert leaving(workers, 1, by_region(north=1, south=1)) == [2]
    assert leaving(workers, 9, by_region(north=1, south=1)) == [2, 1, 5, 0, 4, 3]
    away = [member(7, 4, protected=True), member(8, protected=True), member(9, 3, protected=True)]
    assert leaving([*away, member(0, 1), member(1, 3)], 1, by_zone(a=1, c=1)) == [1]
    assert leaving([member(7, 2, protected=True), member(0, 1)], 1, by_zone(a=1)) == [0]


def test_the_sick_ones_go_first_wherever_they_are_in_the_order_that_is_wanted():
    workers = [member(0, 1), member(1, 1), member(2, 2, ERROR), member(3, 3, WorkerStatus.UNREACHABLE)]
    rules = by_zone(a=1, b=1, c=1)
    assert [leaving(workers, count, rules) for count in range(5)] == [[], [3], [3, 2], [3, 2, 1], [3, 2, 1, 0]]
    assert leaving(workers, 2, rules, first=lambda each: each.index) == [2, 3]
    assert indexes(surplus(workers, 2, rules, NODES, lambda each: each.index, lambda each: each.index == 1)) == [1, 0]


def test_of_equal_areas_the_one_gives_whose_next_is_first_in_the_order():
    workers = [member(0, 1), member(1, 2), member(2, 3)]
    rules = by_zone(a=1, b=1, c=1)
    assert leaving(workers, 3, rules) == [2, 1, 0]
    assert leaving(workers, 3, rules, first=lambda each: each.index) == [0, 1, 2]


def test_without_shares_all_go_in_the_order_alone():
    workers = [member(0, 1), member(1, 1), member(2, 2), member(3, 3)]
    assert leaving(workers, 4, PlacementRules(), first=lambda each: [2, 0, 3, 1][each.index]) == [1, 3, 0, 2]


def test_a_group_with_rules_takes_out_as_many_as_are_too_many_and_of_one_index_the_lower_oid():
    workers = [member(0, 1, number=5), member(1, 1, number=7), member(1, 1, number=6), member(2, 2)]
    gone = surplus_of_group(workers, 2, by_zone(a=1, b=1), NODES)
    assert [each.oid for each in gone] == [uid(4, 6), uid(4, 7)]
    assert surplus_of_group(workers, 4, by_zone(a=1, b=1), NODES) == []
    kept = [member(index, 1, protected=True) for index in range(3)]
    assert indexes(surplus_of_group([*kept, member(3, 1)], 1, by_zone(a=1), NODES)) == [3]


SHARES = st.dictionaries(st.sampled_from("abc"), st.integers(0, 3), max_size=3)


@given(
    zones=SHARES,
    north=st.integers(0, 3),
    homes=st.lists(
        st.tuples(st.sampled_from([1, 2, 3, 4, None]), st.sampled_from([RUNNING, ERROR]), st.booleans()), max_size=6
    ),
)
def test_who_goes_of_more_goes_of_fewer_too(zones, north, homes):
    regions = (Share(name="north", weight=north), Share(name="south", weight=1)) if north else ()
    rules = PlacementRules(zones=by_zone(**zones).zones, regions=regions)
    workers = [member(index, home, status, protected=kept) for index, (home, status, kept) in enumerate(homes)]
    rounds = [leaving(workers, count, rules) for count in range(len(workers) + 2)]
    able = [each.index for each in workers if not each.protected]
    assert sorted(rounds[-1]) == able
    for count, (fewer, more) in enumerate(itertools.pairwise(rounds)):
        assert len(fewer) == min(count, len(able))
        assert more[: len(fewer)] == fewer


# Free places


@given(st.sets(st.integers(0, 9), max_size=8), st.integers(0, 9))
def test_new_workers_get_the_lowest_indexes_that_are_free(taken, scale):
    found = missing_indexes([member(index, 1) for index in taken], scale, run=True)
    assert len(found) == max(0, scale - len(taken))
    assert not taken & set(found)
    assert found == sorted(set(found))
    assert all(index in taken or index in found for index in range(max(found, default=-1)))


def test_as_many_places_are_made_as_are_missing_and_none_while_nothing_is_to_run():
    stay = [member(index, 1) for index in (1, 7)]
    assert missing_indexes(stay, 5, run=True) == [0, 2, 3]
    assert missing_indexes(stay, 2, run=True) == []
    assert missing_indexes(stay, 1, run=True) == []
    assert missing_indexes([], 3, run=True) == [0, 1, 2]
    assert missing_indexes([], 3, run=False) == []


def test_the_index_of_one_that_may_still_run_is_given_to_nobody():
    stay = [member(index, 1) for index in (2,)]
    assert missing_indexes(stay, 4, run=True, held=[0]) == [1, 3]
    assert missing_indexes(stay, 4, run=True, held=[1, 3]) == [0]
    assert missing_indexes(stay, 3, run=True, held=[0, 1]) == []
    assert missing_indexes(stay, 3, run=True, held=[7, 8]) == []
