"""What a pass does about workers that stand by, case by case: whom it takes, what it says of it, and whom it spares."""

import pytest

from controlplane.core.generic_clusters import plan_generic_cluster
from controlplane.core.pooling import KEPT, LOOK_AGAIN_NS, WANTED
from controlplane.core.standby import Taken, describe
from controlplane.records.placement import PlacementRules, Share
from controlplane.records.standby import Promotion
from controlplane.records.types import NANOSECONDS
from controlplane.records.workers import Want, WorkerStatus
from tests.strategies import NOW, group, node, uid
from tests.unit.core.test_planning import refreshed
from tests.unit.core.test_standby import (
    ERROR,
    ONE,
    PENDING,
    SECOND,
    STARTING,
    WEB,
    become,
    begun,
    place,
    planned,
    rules,
    standing_by,
)

TWO, THREE = uid(2, 2), uid(2, 3)
ACTION = uid(5, 1)
UNREACHABLE = WorkerStatus.UNREACHABLE
ZONES = PlacementRules(zones=(Share(name="a", weight=1), Share(name="b", weight=1)), zone_policy="zones")
ROOMY = [(node(1), None, None)]


def nowhere(number, **fields):
    """A worker that is wanted and has no place."""
    return place(number, node_oid=None, status=PENDING, fresh=True, **fields)


def leaving(number, **fields):
    """A worker that stood by and is being stopped."""
    return standing_by(number, want=Want.REMOVE, status=WorkerStatus.STOPPING, **fields)


def silent(number, seconds=0):
    return node(number, online=False, since=NOW - seconds * SECOND)


def stopped(plan):
    return {number for number, one in become(plan).items() if one.want is Want.REMOVE}


# Who is taken for workers that are missing


def test_who_is_taken_for_a_missing_worker_is_marked_as_such():
    plan = planned([place(0), standing_by(1)], standby=rules(1), action_oid=ACTION)
    taken = become(plan)[1]
    assert (taken.standby, taken.workergroup_oid, taken.made_for) == (False, WEB, ACTION)
    assert taken.promotion == Promotion(at=NOW, since=NOW - 60 * SECOND)
    assert plan.taken == [Taken(uid(4, 1), None, WANTED)]
    assert WANTED == "its cluster wants more than it has"


def test_of_a_cluster_that_has_all_it_wants_nobody_is_taken_and_nothing_is_said():
    plan = planned([place(0), place(1), standing_by(2)], standby=rules(1))
    assert (plan.taken, plan.pool_said) == ([], None)


def test_when_all_that_stand_by_are_taken_it_is_said_how_many_are_new():
    plan = planned([standing_by(1)], scale=3, standby=rules(1))
    assert plan.pool_said == describe(1, 3, 1, 0)
    assert sorted((one.standby, one.index) for one in plan.added) == [(False, 0), (False, 2), (True, 3)]


def test_the_one_is_taken_that_stands_where_its_cluster_lacks_most():
    zones = [(node(1, zone="a"), None, None), (node(2, zone="b"), None, None)]
    plan = planned([place(0), standing_by(1), standing_by(2, node_oid=TWO)], members=zones, placement=ZONES)
    assert [one.worker for one in plan.taken] == [uid(4, 2)]


def test_places_of_who_may_still_run_on_a_silent_node_are_held_and_nobody_is_taken_for_them():
    going = place(1, node_oid=TWO, want=Want.REMOVE, status=WorkerStatus.STOPPING, fence_after=None)
    members = [(node(1), None, None), (silent(2), None, None)]
    plan = planned([place(0), going, standing_by(2)], members=members, standby=rules(1), fence_after=30.0)
    assert (plan.taken, plan.added, plan.pool_said) == ([], [], None)
    more = planned([place(0), going, standing_by(2)], scale=4, members=members, standby=rules(1), fence_after=30.0)
    assert [one.worker for one in more.taken] == [uid(4, 2)]
    assert more.pool_said == describe(1, 2, 1, 0)
    assert sorted((one.standby, one.index) for one in more.added) == [(False, 3), (True, 4)]


def test_one_is_taken_for_a_group_also_when_another_group_has_all_it_wants():
    begin = begun([place(0), standing_by(1)], scale=1, standby=rules(1))
    plan = plan_generic_cluster(refreshed(begin, begin.workers, groups=(*begin.groups, group(2, 1))))
    assert become(plan)[1].workergroup_oid == uid(3, 2)


# Which indexes they have


def test_those_that_stand_by_are_counted_after_all_that_are_wanted_also_where_one_is_free():
    plan = planned([place(1), place(2)], standby=rules(1))
    assert [(one.standby, one.index) for one in plan.added] == [(True, 3)]
    plan = planned([place(0), place(1)], scale=2, standby=rules(1))
    assert [(one.standby, one.index) for one in plan.added] == [(True, 2)]


def test_a_new_worker_has_no_index_of_one_that_stands_by_or_is_there():
    plan = planned([place(0), standing_by(1, status=ERROR)], scale=3, standby=rules(1))
    assert sorted((one.standby, one.index) for one in plan.added) == [(False, 2), (False, 3)]
    plan = planned([place(0), place(5)], scale=3, standby=None)
    assert [one.index for one in plan.added if not one.standby] == [1]


# Who changes places


def test_who_changes_places_stands_by_as_if_it_had_never_been_taken():
    failed = place(1, status=ERROR, reason="exit 1", promotion=Promotion(at=NOW - 9, since=NOW - 9))
    plan = planned([place(0), failed, standing_by(2)], standby=rules(1))
    assert plan.taken == [Taken(uid(4, 2), uid(4, 1), "it failed: exit 1")]
    changed = become(plan)
    assert (changed[1].standby, changed[1].workergroup_oid, changed[1].promotion) == (True, None, None)
    assert changed[2].promotion == Promotion(at=NOW, since=NOW - 60 * SECOND)


def test_nobody_changes_places_with_one_that_has_to_start_because_another_one_was_ready():
    failed = [place(number, status=ERROR) for number in range(2)]
    plan = planned([*failed, standing_by(2), standing_by(3, status=STARTING)])
    assert plan.taken == [Taken(uid(4, 2), uid(4, 0), "it failed")]


def test_the_one_takes_the_place_that_stands_where_its_cluster_lacks_most_without_the_other():
    zones = [(node(1, zone="a"), None, None), (node(2, zone="b"), None, None)]
    pool = [standing_by(2), standing_by(3, node_oid=TWO)]
    failed = place(1, node_oid=TWO, status=ERROR)
    plan = planned([place(0), failed, *pool], members=zones, placement=ZONES)
    assert plan.taken == [Taken(uid(4, 3), uid(4, 1), "it failed")]
    others = [place(0, node_oid=TWO), place(1, status=ERROR), standing_by(2, node_oid=TWO), standing_by(3)]
    plan = planned(others, members=zones, placement=ZONES)
    assert plan.taken == [Taken(uid(4, 3), uid(4, 1), "it failed")]


def test_those_that_stand_by_are_no_members_where_it_matters_who_stands_where():
    zones = [(node(1, zone="a"), None, None), (node(2, zone="b"), None, None)]
    crowd = [standing_by(number, node_oid=TWO, status=ERROR) for number in (4, 5, 6)]
    workers = [place(0), place(1, status=ERROR), standing_by(2), standing_by(3, node_oid=TWO), *crowd]
    plan = planned(workers, members=zones, placement=ZONES, standby=rules(5))
    assert plan.taken == [Taken(uid(4, 3), uid(4, 1), "it failed")]


def test_who_has_changed_places_is_placed_after_those_that_are_wanted():
    lost = silent(2, 60)
    workers = [place(0, node_oid=TWO, status=UNREACHABLE), nowhere(1), standing_by(2)]
    members = [(node(1), None, 2), (lost, None, None)]
    plan = planned(workers, members=members, standby=rules(1))
    assert [(one.worker, one.instead_of) for one in plan.taken] == [(uid(4, 2), uid(4, 0))]
    changed = become(plan)
    assert (changed[1].node_oid, changed[1].status) == (ONE, STARTING)
    assert (changed[0].standby, changed[0].node_oid) == (True, TWO)  # There may be room again when its node is back.


# Who is moved, and who waits


def test_who_is_moved_is_told_why():
    workers = [place(0, node_oid=TWO, status=UNREACHABLE), standing_by(1, node_oid=TWO, status=UNREACHABLE)]
    members = [(node(1), None, None), (silent(2, 60), None, None)]
    changed = become(planned(workers, scale=1, members=members, standby=rules(1)))
    reasons = {number: (one.node_oid, one.reason) for number, one in changed.items()}
    assert reasons == dict.fromkeys((0, 1), (ONE, "its node node2 was offline for longer than 10 s"))


def test_one_for_which_there_is_no_other_room_waits_where_it_was():
    workers = [place(0), place(1, node_oid=TWO, status=UNREACHABLE), standing_by(2, node_oid=TWO, status=UNREACHABLE)]
    plan = planned(workers, members=[(node(1), None, 1), (silent(2, 60), None, None)], standby=rules(1))
    assert not plan.changed


def test_who_is_beyond_a_hardlimit_does_not_wait_on_a_silent_node():
    workers = [place(0), standing_by(1, node_oid=TWO), standing_by(2, node_oid=TWO)]
    plan = planned(workers, scale=1, members=[(node(1), None, 1), (silent(2), None, 1)])
    assert {number: one.status for number, one in become(plan).items()} == {2: PENDING}


# Room that others wait for


@pytest.mark.parametrize("size", [1, 2])
def test_nobody_is_placed_to_stand_by_where_workers_of_other_clusters_wait_for_room(size):
    begin = begun([place(0), nowhere(1)], members=[*ROOMY, (node(2), None, None)], standby=rules(size))
    asked = []

    def waited_for():
        asked.append(True)
        return frozenset({ONE, TWO})

    plan = plan_generic_cluster(refreshed(begin, begin.workers, waited_for=waited_for))
    assert become(plan)[1].node_oid is not None
    assert len(asked) == 1
    assert {one.node_oid for one in plan.added} == {None}
    assert {one.reason for one in plan.added} == {f"no place: node1: {KEPT}; node2: {KEPT}"}
    assert plan.look_again_after == LOOK_AGAIN_NS / NANOSECONDS == 5.0
    assert KEPT == "is kept for workers of other clusters, which wait for room"


def test_where_nobody_waits_they_are_placed_and_nobody_looks_again():
    begin = begun([place(0)], scale=1, standby=rules(1))
    plan = plan_generic_cluster(refreshed(begin, begin.workers, waited_for=frozenset))
    assert ([one.node_oid for one in plan.added], plan.look_again_after) == ([ONE], None)


def test_it_is_not_asked_whether_others_wait_when_nobody_has_to_be_placed_to_stand_by():
    begin = begun([place(0), nowhere(1), standing_by(2)], standby=rules(1, recovery=False))

    def waited_for():
        raise AssertionError("asked")

    assert become(plan_generic_cluster(refreshed(begin, begin.workers, waited_for=waited_for)))[1].node_oid == ONE


# Who makes way


def test_why_one_takes_the_place_of_who_has_no_room_is_what_placement_said_of_it():
    plan = planned([place(0), nowhere(1), standing_by(2)], members=[(node(1), None, 2)], standby=rules(1, False))
    assert plan.taken == [Taken(uid(4, 2), uid(4, 1), "no place: node1: hardlimit of 2 reached")]


def test_when_one_has_taken_the_place_of_who_has_no_room_nobody_goes():
    workers = [place(0), nowhere(1), standing_by(2), standing_by(3)]
    plan = planned(workers, members=[(node(1), None, 3)], standby=rules(3, recovery=False))
    assert [(one.worker, one.instead_of) for one in plan.taken] == [(uid(4, 2), uid(4, 1))]
    assert stopped(plan) == set()


@pytest.mark.parametrize("waiting", [1, 2, 3])
@pytest.mark.parametrize("gone", [0, 1, 2, 3])
def test_as_many_go_as_have_no_room_and_not_one_for_whom_room_is_being_made_already(waiting, gone):
    named = [nowhere(number, name=f"mine{number}") for number in range(1, waiting + 1)]
    pool = [standing_by(10 + number) for number in range(3)]
    on_their_way = [leaving(20 + number) for number in range(gone)]
    workers = [place(0), *named, *pool, *on_their_way]
    plan = planned(workers, scale=waiting + 1, members=[(node(1), None, 4 + gone)], standby=rules(3))
    assert stopped(plan) == {12 - number for number in range(max(0, waiting - gone))}


def test_when_there_are_fewer_than_have_no_room_all_of_them_go():
    named = [nowhere(number, name=f"mine{number}") for number in (1, 2, 3)]
    plan = planned([*named, standing_by(4)], scale=3, members=[(node(1), None, 1)], standby=rules(1))
    assert stopped(plan) == {4}


def test_workers_that_leave_their_cluster_make_no_room_for_those_that_are_wanted():
    named = nowhere(1, name="mine")
    going = place(3, want=Want.REMOVE, status=WorkerStatus.STOPPING)
    plan = planned([place(0), named, standing_by(2), going], members=[(node(1), None, 3)], standby=rules(1))
    assert stopped(plan) == {2}


def test_who_has_a_name_takes_nobodys_place_while_others_do():
    workers = [place(0), nowhere(1), nowhere(2, name="mine"), standing_by(3), standing_by(4)]
    plan = planned(workers, scale=3, members=[(node(1), None, 3)], standby=rules(2, recovery=False))
    assert [(one.worker, one.instead_of) for one in plan.taken] == [(uid(4, 3), uid(4, 1))]
    assert stopped(plan) == {4}


def test_nobody_goes_from_a_silent_node_because_nobody_could_take_the_room():
    named = nowhere(1, name="mine")
    members = [(node(1), None, 1), (silent(2), None, None)]
    plan = planned([place(0), named, standing_by(2, node_oid=TWO)], members=members, standby=rules(1))
    assert stopped(plan) == set()


# Who goes first with another profile


@pytest.mark.parametrize("standing", [0, 1, 3])
def test_who_stands_by_is_no_canary_whatever_it_runs_with(standing):
    served = [place(number) for number in range(3)]
    pool = [standing_by(3 + number) for number in range(standing)]
    begin = begun([*served, *pool], scale=3, standby=rules(standing), batch=3, revision=2)
    changed = refreshed(begin, begin.workers, digest=lambda _worker, _links: "new", canary=1)
    given = {number for number, one in become(plan_generic_cluster(changed)).items() if one.digest == "new"}
    assert given == {0, *range(3, 3 + standing)}
