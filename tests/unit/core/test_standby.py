"""Workers that stand by: who is taken, in whose place, and that they are never in anybody's way."""

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.core.acting import progress
from controlplane.core.balancing import served
from controlplane.core.children import Fate, fates, looked_into
from controlplane.core.generic_clusters import plan_generic_cluster, steady_at
from controlplane.core.health import cluster_status, state_of
from controlplane.core.standby import (
    by_loss,
    describe,
    free_indexes,
    is_on_the_way,
    is_ready,
    is_replaceable,
    joined_at,
    pick,
    pool_size,
    promotion,
    what_fails,
)
from controlplane.records.actions import Action, ActionKind, ActionStatus
from controlplane.records.clusters import ClusterStatus, ClusterType
from controlplane.records.lifecycle import Farewell
from controlplane.records.placement import PlacementRules, Share
from controlplane.records.standby import Promotion, StandbyRules
from controlplane.records.workers import Address, Kept, Want, WorkerStatus
from tests.strategies import CLUSTER, NOW, group, node, situation, situations, uid, worker
from tests.unit.core.test_planning import after, obeyed, refreshed

SECOND = 1_000_000_000
ONE, WEB = uid(2, 1), uid(3, 1)
RUNNING, STARTING, ERROR, PENDING = (
    WorkerStatus.RUNNING,
    WorkerStatus.STARTING,
    WorkerStatus.ERROR,
    WorkerStatus.PENDING,
)


def rules(size=2, recovery=True):
    return StandbyRules(policy_oid=uid(6, 1), policy_name="ready", size=size, recovery=recovery)


def place(number, owner=WEB, node_oid=ONE, status=RUNNING, ran_s=60.0, **fields):
    """A worker that has run as it shall for so long."""
    known = {"digest": "d", "seen_digest": "d", "revision": 1, "fresh": False} if node_oid else {}
    made = worker(number, owner, fields.pop("index", number), node_oid, status, **{**known, **fields})
    return msgspec.structs.replace(made, changed=NOW - int(ran_s * SECOND))


def standing_by(number, **fields):
    return place(number, None, standby=True, **fields)


def pooled(begin, standby, **cluster):
    """The same situation of a cluster of processes, with workers that stand by."""
    given = {"type": ClusterType.GENERIC, "steady": 1.0, "standby": standby, **cluster}
    fields = {name: getattr(begin, name) for name in type(begin).__slots__}
    changed = {"cluster": msgspec.structs.replace(begin.cluster, **given), "digest": lambda _worker, _links: "d"}
    return type(begin)(**{**fields, **changed})


def begun(workers=(), scale=2, members=None, standby=None, may_relieve=True, **cluster):
    made = situation([group(1, scale)], members or [(node(1), None, None)], workers)
    made = pooled(made, standby or rules(), **cluster)
    return refreshed(made, made.workers, may_relieve=may_relieve)


def planned(*args, **fields):
    return plan_generic_cluster(begun(*args, **fields))


def become(plan):
    """Workers as a plan has them, by number."""
    return {one.oid.int & 0xFFFF: one for _, one in plan.changed}


# Rules


@pytest.mark.parametrize(
    "fields",
    [
        {"standby": False},
        {"want": Want.REMOVE},
        {"status": STARTING},
        {"paused": True},
        {"revision": 0},
        {"digest": None},
        {"seen_digest": "old"},
        {"farewell": Farewell(token=uid(9, 1), begun=NOW, until=NOW)},
    ],
)
def test_only_one_that_runs_with_the_newest_configuration_is_ready(fields):
    cluster = begun().cluster
    assert is_ready(standing_by(1), cluster)
    assert not is_ready(msgspec.structs.replace(standing_by(1), **fields), cluster)


@pytest.mark.parametrize(
    ("fields", "coming"),
    [
        ({}, True),
        ({"status": STARTING}, True),
        ({"status": ERROR}, False),
        ({"status": WorkerStatus.UNREACHABLE}, False),
        ({"node_oid": None}, False),
        ({"paused": True}, False),
        ({"standby": False}, False),
        ({"want": Want.REMOVE}, False),
    ],
)
def test_one_that_starts_is_sooner_there_than_a_new_one(fields, coming):
    assert is_on_the_way(msgspec.structs.replace(standing_by(1), **fields)) is coming


def test_the_size_of_the_pool_is_that_of_its_policy_as_long_as_the_cluster_runs():
    cluster = begun().cluster
    assert pool_size(cluster) == 2
    for fields in ({"standby": None}, {"run": False}, {"deleting": True}):
        assert pool_size(msgspec.structs.replace(cluster, **fields)) == 0


def test_the_ones_that_have_proved_themselves_are_taken_first():
    cluster = begun().cluster
    pool = [standing_by(1, status=STARTING), standing_by(2, ran_s=0.5), standing_by(3), standing_by(4)]
    nodes = {ONE: node(1)}
    chosen = pick(pool, 9, (), cluster, nodes, NOW)
    assert [one.index for one in chosen] == [3, 4, 2, 1]
    assert [one.index for one in pick(pool, 1, (), cluster, nodes, NOW)] == [3]
    assert pick(pool, 0, (), cluster, nodes, NOW) == []


def test_among_equals_the_one_on_the_emptiest_node_is_taken():
    cluster, nodes = begun().cluster, {ONE: node(1), uid(2, 2): node(2)}
    pool = [standing_by(1), standing_by(2), standing_by(3, node_oid=uid(2, 2))]
    chosen = pick(pool, 2, [place(7)], cluster, nodes, NOW)
    assert [one.index for one in chosen] == [3, 1]


def test_one_has_proved_itself_exactly_when_it_has_run_for_as_long_as_is_called_steady():
    cluster, nodes = begun().cluster, {ONE: node(1)}
    pool = [standing_by(1, ran_s=0.999), standing_by(2, ran_s=1.0)]
    assert [one.index for one in pick(pool, 2, (), cluster, nodes, NOW)] == [2, 1]


def test_who_was_taken_counts_as_one_more_on_its_node():
    cluster, nodes = begun().cluster, {ONE: node(1), uid(2, 2): node(2)}
    pool = [standing_by(1), standing_by(2), standing_by(3, node_oid=uid(2, 2))]
    assert [one.index for one in pick(pool, 2, (), cluster, nodes, NOW)] == [1, 3]
    assert [one.index for one in pick(pool, 2, [place(7, node_oid=uid(2, 2))], cluster, nodes, NOW)] == [1, 2]


def test_who_is_taken_is_counted_beside_those_that_are_there():
    cluster, nodes = begun().cluster, {ONE: node(1), uid(2, 2): node(2)}
    pool = [standing_by(1), standing_by(3, node_oid=uid(2, 2)), standing_by(4)]
    members = [place(7), place(8), *(place(number, node_oid=uid(2, 2)) for number in (9, 10, 11))]
    assert [one.index for one in pick(pool, 2, members, cluster, nodes, NOW)] == [1, 3]


def test_where_a_group_stands_is_more_than_how_full_a_node_is():
    shares = tuple(Share(name=name, weight=1) for name in "ab")
    cluster = msgspec.structs.replace(begun().cluster, placement=PlacementRules(zones=shares, zone_policy="zones"))
    nodes = {uid(2, number): node(number, zone=zone) for number, zone in ((1, "a"), (2, "a"), (3, "b"))}
    pool = [standing_by(number, node_oid=uid(2, home)) for number, home in ((1, 1), (2, 2), (3, 3), (4, 3))]
    here = [place(7), place(8), place(9, node_oid=None), place(10, node_oid=uid(2, 99))]
    assert [one.index for one in pick(pool[1:], 2, here, cluster, nodes, NOW)] == [3, 4]
    assert [one.index for one in pick(pool[:3], 2, (), cluster, nodes, NOW)] == [1, 3]


def test_free_indexes_begin_at_the_first_or_where_it_is_said():
    assert next(free_indexes(())) == 0
    assert [index for index, _ in zip(free_indexes({1, 3}), range(3), strict=False)] == [0, 2, 4]
    assert next(free_indexes({5}, 5)) == 6


def test_who_stands_where_the_cluster_lacks_most_is_taken_and_nobody_where_it_may_not_be():
    shares = (Share(name="a", weight=1), Share(name="b", weight=1), Share(name="c", weight=0))
    cluster = msgspec.structs.replace(begun().cluster, placement=PlacementRules(zones=shares, zone_policy="zones"))
    nodes = {uid(2, number): node(number, zone=zone) for number, zone in enumerate("abc", 1)}
    pool = [standing_by(number, node_oid=uid(2, home)) for number, home in ((1, 1), (2, 1), (3, 2), (4, 3))]
    chosen = pick(pool, 9, [place(7, node_oid=uid(2, 1))], cluster, nodes, NOW)
    assert [one.index for one in chosen] == [3, 1, 2]
    assert [one.index for one in pick(pool, 2, (), cluster, nodes, NOW)] == [1, 3]


def test_those_that_do_not_run_are_no_loss():
    pool = [standing_by(1, status=ERROR), standing_by(2), standing_by(3, status=STARTING), standing_by(4)]
    assert [one.index for one in sorted(pool, key=by_loss(begun().cluster))] == [2, 4, 3, 1]


@pytest.mark.parametrize(
    "fields",
    [
        {"standby": True},
        {"workergroup_oid": None},
        {"want": Want.STOP},
        {"protected": True},
        {"farewell": Farewell(token=uid(9, 1), begun=NOW, until=NOW)},
        {"kept": Kept(name="x", index=0, profile_oid=None, spec=None, beside="y")},
        {"adopts": {"pid": 1}},
        {"name": "mine"},
        {"metadata": {"team": "red"}},
    ],
)
def test_a_worker_that_somebody_cares_for_changes_places_with_nobody(fields):
    assert is_replaceable(place(1))
    assert not is_replaceable(msgspec.structs.replace(place(1), **fields))


def test_what_fails_is_said_in_words():
    assert what_fails(place(1), None) is None
    assert what_fails(place(1), "its node is lost") == "its node is lost"
    assert what_fails(place(1, status=ERROR, reason="exit 1"), None) == "it failed: exit 1"
    assert what_fails(place(1, status=ERROR), "its node is lost") == "it failed"
    assert what_fails(place(1, status=PENDING, reason="no place: full"), None) == "no place: full"
    assert what_fails(place(1, status=PENDING), None) == "it has no place"
    assert what_fails(place(1, status=STARTING), None) == "it is being started again"
    assert what_fails(place(1, status=STARTING, fresh=True), None) is None


def test_who_was_ready_has_nothing_to_prove_any_more():
    cluster = begun().cluster
    ready = standing_by(1, ran_s=60)
    assert promotion(ready, cluster, NOW) == Promotion(at=NOW, since=NOW - 60 * SECOND)
    assert promotion(standing_by(1, status=STARTING), cluster, NOW) == Promotion(at=NOW, since=NOW)
    taken = msgspec.structs.replace(ready, promotion=promotion(ready, cluster, NOW), changed=NOW)
    assert steady_at(cluster, taken) == NOW - 59 * SECOND
    assert steady_at(cluster, msgspec.structs.replace(taken, changed=NOW + SECOND)) == NOW + 2 * SECOND
    assert (joined_at(ready), joined_at(taken)) == (0, NOW)


def test_free_indexes_leave_out_those_that_are_taken():
    assert list(itertools.islice(free_indexes({0, 2, 3}), 3)) == [1, 4, 5]
    assert list(itertools.islice(free_indexes({0, 2, 3}, 2), 2)) == [4, 5]


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ((2, 2, 0), "2 that stood by ready"),
        ((2, 0, 1), "1 that stood by and has to start yet, 1 new"),
        ((4, 1, 2), "1 that stood by ready, 2 that stood by and have to start yet, 1 new"),
        ((3, 0, 0), "3 new"),
    ],
)
def test_a_decision_says_who_was_taken(numbers, said):
    assert describe(5, *numbers) == f"of {numbers[0]} missing workers it takes {said}; 5 stand by"


def test_they_are_counted_apart_and_no_status_depends_on_them():
    counts = {state_of(place(1)): 1}
    for one in (standing_by(2), standing_by(3, status=ERROR), standing_by(4, status=STARTING, fresh=True)):
        counts[state_of(one)] = counts.get(state_of(one), 0) + 1
    assert counts == {"RUNNING": 1, "STANDBY": 1, "STANDBY_ERROR": 1, "STANDBY_STARTING": 1}
    assert cluster_status(True, NOW, counts, 1) is ClusterStatus.RUNNING
    assert cluster_status(True, None, {"STANDBY": 3}, 1) is ClusterStatus.STARTING
    leaving = msgspec.structs.replace(standing_by(2), want=Want.REMOVE, status=WorkerStatus.STOPPING)
    assert state_of(leaving) == "STOPPING"


def test_no_balancer_sends_anybody_to_one_that_stands_by():
    where = (Address(type="http", url="http://10.0.0.1:80"),)
    assert served(place(1, addresses=where)) == where
    assert served(standing_by(1, addresses=where)) == ()


def test_an_action_is_about_those_that_it_names_and_those_that_were_taken_for_it():
    cluster = begun().cluster
    action = Action(
        oid=uid(5, 1),
        name="x",
        kind=ActionKind.CLUSTER_SCALE_OUT,
        cluster_oid=CLUSTER,
        cluster_name="demo",
        who="admin",
        timeout=60.0,
        created=NOW,
    )
    taken = msgspec.structs.replace(place(1), promotion=Promotion(at=NOW, since=NOW - 9 * SECOND), changed=NOW)
    assert progress(action, cluster, [taken, standing_by(2), place(3)], 2, NOW).done == (taken.oid,)
    seen = progress(action, cluster, [taken, standing_by(2)], 1, NOW)
    found = fates(action, cluster, [taken, standing_by(2)], seen)
    assert found == {taken.oid: Fate(ActionKind.WORKER_JOIN, ActionStatus.SUCCEEDED)}
    pool = [standing_by(2, status=ERROR), standing_by(3, want=Want.REMOVE, status=WorkerStatus.STOPPING)]
    assert progress(action, cluster, pool, 0, NOW).over
    assert progress(action, cluster, pool, 1, NOW).waiting == 1
    named = msgspec.structs.replace(action, workers=(standing_by(2).oid,))
    assert progress(named, cluster, [standing_by(2)], 0, NOW).done == (standing_by(2).oid,)
    deleting = msgspec.structs.replace(cluster, deleting=True)
    assert progress(action, deleting, pool, 0, NOW).leaving == (standing_by(3).oid,)


def test_a_check_asks_about_those_that_have_a_place():
    action = Action(
        oid=uid(5, 1),
        name="x",
        kind=ActionKind.CLUSTER_CHECK,
        cluster_oid=CLUSTER,
        cluster_name="demo",
        who="admin",
        timeout=60.0,
        created=NOW,
    )
    nowhere = standing_by(2, node_oid=None, status=PENDING)
    asked = [place(0), standing_by(1), nowhere, place(3, node_oid=None, status=PENDING)]
    assert set(looked_into(action, asked)) == {uid(4, 0), uid(4, 1), uid(4, 3)}
    assert set(looked_into(msgspec.structs.replace(action, workers=(nowhere.oid,)), asked)) == {nowhere.oid}


# Plans


def test_so_many_are_added_after_those_that_are_wanted():
    plan = planned(scale=2)
    assert [(one.standby, one.workergroup_oid, one.index) for one in sorted(plan.added, key=lambda w: w.index)] == [
        (False, WEB, 0),
        (False, WEB, 1),
        (True, None, 2),
        (True, None, 3),
    ]
    crowded = planned(scale=2, members=[(node(1), None, 3)])
    assert [one.node_oid for one in sorted(crowded.added, key=lambda w: w.index)] == [ONE, ONE, ONE, None]


def test_missing_workers_are_those_that_stand_by_and_the_pool_is_filled_in_the_same_pass():
    workers = [place(0), place(1), standing_by(2), standing_by(3, status=STARTING)]
    plan = planned(workers, scale=4)
    taken = become(plan)
    assert {number: (one.standby, one.workergroup_oid, one.node_oid) for number, one in taken.items()} == {
        2: (False, WEB, ONE),
        3: (False, WEB, ONE),
    }
    assert [(one.worker, one.instead_of) for one in plan.taken] == [(uid(4, 2), None), (uid(4, 3), None)]
    assert plan.pool_said == describe(2, 2, 1, 1)
    assert [(one.standby, one.index) for one in plan.added] == [(True, 4), (True, 5)]


def test_a_worker_that_fails_changes_places_with_one_that_is_ready_and_with_no_other_one():
    failed = place(1, status=ERROR, reason="exit 1")
    changed = become(planned([place(0), failed, standing_by(2)], standby=rules(1)))
    assert (changed[1].standby, changed[1].workergroup_oid, changed[1].node_oid) == (True, None, ONE)
    assert (changed[2].standby, changed[2].workergroup_oid) == (False, WEB)
    for other in (standing_by(2, status=STARTING), standing_by(2, revision=0)):
        assert not planned([place(0), failed, other], standby=rules(1)).taken
    for fields in ({"standby": rules(1, recovery=False)}, {"standby": rules(1), "may_relieve": False}):
        assert not planned([place(0), failed, standing_by(2)], **fields).taken


def test_each_one_that_is_ready_takes_one_place():
    failed = [place(number, status=ERROR) for number in range(3)]
    plan = planned([*failed, standing_by(3), standing_by(4)], scale=3)
    assert [(one.worker, one.instead_of) for one in plan.taken] == [(uid(4, 3), uid(4, 0)), (uid(4, 4), uid(4, 1))]


def test_a_worker_whose_node_is_lost_is_placed_elsewhere_to_stand_by():
    lost, home = node(2, online=False, since=NOW - 60 * SECOND), node(1)
    workers = [place(0, node_oid=uid(2, 2), status=WorkerStatus.UNREACHABLE), standing_by(1)]
    plan = planned(workers, scale=1, members=[(home, None, None), (lost, None, None)], standby=rules(1))
    changed = become(plan)
    assert (changed[0].standby, changed[0].node_oid, changed[0].status) == (True, ONE, STARTING)
    assert (changed[1].standby, changed[1].workergroup_oid) == (False, WEB)


def test_one_on_a_silent_node_is_not_taken():
    away = node(2, online=False, since=NOW)
    pool = [standing_by(1, node_oid=uid(2, 2))]
    plan = planned([place(0), *pool], scale=2, members=[(node(1), None, None), (away, None, None)], standby=rules(1))
    assert not plan.taken
    assert [one.workergroup_oid for one in plan.added] == [WEB]


def test_one_on_a_node_that_carries_too_many_is_not_taken_to_be_moved_at_once():
    homes = [(node(1), None, 1), (node(2), None, None)]
    plan = planned([place(0), standing_by(1)], scale=2, members=homes, standby=rules(1))
    assert not plan.taken
    assert [(one.workergroup_oid, one.node_oid) for one in plan.added] == [(WEB, uid(2, 2))]
    assert become(plan)[1].standby


def test_who_has_no_room_takes_the_place_of_one_that_stands_by_whether_it_runs_or_starts():
    waiting = place(1, node_oid=None, status=PENDING, fresh=True)
    for other in (standing_by(2), standing_by(2, status=STARTING)):
        plan = planned([place(0), waiting, other], members=[(node(1), None, 2)], standby=rules(1, recovery=False))
        assert [(one.worker, one.instead_of) for one in plan.taken] == [(other.oid, waiting.oid)]
        assert become(plan)[1].standby
        assert become(plan)[2].workergroup_oid == WEB


def test_who_has_no_room_and_a_name_has_one_that_stands_by_go():
    waiting = place(1, node_oid=None, status=PENDING, fresh=True, name="mine")
    workers = [place(0), waiting, standing_by(2), standing_by(3)]
    begin = begun(workers, members=[(node(1), None, 3)])
    plan = plan_generic_cluster(begin)
    assert {number: one.want for number, one in become(plan).items() if one.standby} == {3: Want.REMOVE}
    again = plan_generic_cluster(after(begin, plan))
    assert not [one for _, one in again.changed if one.want is Want.REMOVE]


def test_a_node_over_its_limit_loses_those_that_stand_by_first():
    workers = [place(0), place(1), standing_by(2), standing_by(3)]
    changed = become(planned(workers, members=[(node(1), None, 2)]))
    assert {number: one.node_oid for number, one in changed.items() if one.standby} == {2: None, 3: None}


def test_too_many_go_the_ones_that_are_no_loss_first():
    pool = [standing_by(2), standing_by(3, status=ERROR), standing_by(4)]
    changed = become(planned([place(0), place(1), *pool], standby=rules(1)))
    assert {number: one.want for number, one in changed.items()} == {3: Want.REMOVE, 4: Want.REMOVE}


@pytest.mark.parametrize("fields", [{"run": False}, {"deleting": True, "run": False}])
def test_none_stands_by_for_a_cluster_that_does_not_run(fields):
    changed = become(planned([place(0), place(1), standing_by(2)], **fields))
    assert changed[2].want is Want.REMOVE


def test_without_a_policy_all_of_them_go():
    plan = plan_generic_cluster(pooled(begun([place(0), place(1), standing_by(2)]), None))
    assert {number: one.want for number, one in become(plan).items()} == {2: Want.REMOVE}


def test_another_profile_reaches_all_of_them_at_once_and_delays_nobody():
    workers = [place(0), place(1), standing_by(2), standing_by(3)]
    begin = begun(workers, revision=2)
    fields = {name: getattr(begin, name) for name in type(begin).__slots__}
    begin = type(begin)(**{**fields, "digest": lambda _worker, _links: "new"})
    changed = become(plan_generic_cluster(begin))
    assert {number: one.digest for number, one in changed.items()} == {0: "new", 2: "new", 3: "new"}


# What holds of every plan


@st.composite
def pools(draw):
    """Situations of clusters of processes beside which workers stand by, nice or not."""
    begin = draw(situations())
    if len(begin.groups) > 1:
        fields = {name: getattr(begin, name) for name in type(begin).__slots__}
        begin = type(begin)(**{**fields, "groups": begin.groups[:1]})
    workers = [
        msgspec.structs.replace(
            one,
            standby=one.workergroup_oid is None,
            revision=1,
            digest=None if one.digest is None else "d",
            seen_digest="d" if one.status is RUNNING else None,
            fresh=draw(st.booleans()),
            name=draw(st.sampled_from([None, None, None, "mine"])),
        )
        for one in begin.workers
    ]
    made = pooled(begin, draw(st.none() | st.builds(rules, st.integers(0, 4), st.booleans())))
    return refreshed(made, workers, may_relieve=draw(st.booleans()))


def settled(begin):
    now = begin
    for _ in range(60):
        plan = plan_generic_cluster(refreshed(now, now.workers))
        now = obeyed(after(now, plan))
        if not plan and not plan_generic_cluster(refreshed(now, now.workers)):
            return now
    raise AssertionError("does not settle")


def kept(end, owner):
    return [one for one in end.workers if one.workergroup_oid == owner and one.want is not Want.REMOVE]


@given(pools())
def test_every_pool_settles_at_its_size_and_is_in_nobodys_way(begin):
    end = settled(begin)
    pool = kept(end, None)
    assert all(one.standby for one in pool)
    assert len(pool) == pool_size(begin.cluster)
    for each in begin.groups:
        members = kept(end, each.oid)
        assert len(members) == each.scale or not begin.cluster.run
        assert not any(one.standby for one in members)
        waiting = [one for one in members if one.status is PENDING and begin.cluster.run]
        in_the_way = [one for one in pool if is_on_the_way(one) and end.nodes[one.node_oid].online]
        assert not waiting or not in_the_way or begin.cluster.placement is not None


@given(pools())
def test_who_is_taken_runs_on_as_it_does(begin):
    before = {one.oid: one for one in begin.workers}
    plan = plan_generic_cluster(refreshed(begin, begin.workers))
    end = {one.oid: one for one in after(begin, plan).workers}
    assert len({one.worker for one in plan.taken}) == len(plan.taken)
    for taken in plan.taken:
        was, becomes = before[taken.worker], end[taken.worker]
        assert was.standby
        assert not becomes.standby
        assert becomes.workergroup_oid in {each.oid for each in begin.groups}
        assert (was.index, was.generation, was.status, was.pid) == (
            becomes.index,
            becomes.generation,
            becomes.status,
            becomes.pid,
        )
        assert (was.node_oid, becomes.digest) == (becomes.node_oid, "d")
        if taken.instead_of is not None:
            assert end[taken.instead_of].standby
            assert not before[taken.instead_of].standby


@given(pools())
def test_a_pass_over_its_own_result_takes_nobody(begin):
    end = after(begin, plan_generic_cluster(refreshed(begin, begin.workers)))
    assert not plan_generic_cluster(refreshed(end, end.workers)).taken
