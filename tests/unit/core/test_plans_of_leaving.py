"""Plans about workers that leave or may be lost: who waits for something first, and in whose place nobody comes yet."""

from dataclasses import replace

import msgspec
import pytest

from controlplane.core.generic_clusters import plan_generic_cluster
from controlplane.records.lifecycle import Farewell, WaitEnd
from controlplane.records.workers import Want, WorkerStatus
from tests.strategies import NOW, group, node, situation, uid, worker

SECOND = 1_000_000_000
WEB, BACK = uid(3, 1), uid(3, 2)
HERE = [(node(1), None, None)]
BYE = Farewell(token=uid(9, 1), begun=NOW, until=NOW + 20 * SECOND, grace_period=5.0)


def silent(number: int, seconds: float):
    """A machine that has been silent for so long."""
    return node(number, online=False, since=NOW - int(seconds * SECOND))


def one(index: int, status=WorkerStatus.RUNNING, *, place: int = 1, of=WEB, **fields):
    given = {"digest": "d", "seen_digest": "d", "revision": 1, "fresh": False, **fields}
    return worker(index, of, index, uid(2, place), status, **given)


def planned(workers, scale=1, members=HERE, *, groups=None, now=NOW, run=True, added_max=None, **cluster):
    given = groups or [group(1, scale)]
    made = situation(given, members, workers, now=now, run=run, digest=lambda *_: "d")
    settled = msgspec.structs.replace(made.cluster, **cluster)
    return plan_generic_cluster(replace(made, cluster=settled, added_max=added_max))


def at(seconds: float) -> int:
    return NOW + int(seconds * SECOND)


# Who says farewell


def test_one_that_will_go_runs_on_as_long_as_it_waits_and_another_one_takes_its_place():
    workers = [one(0), one(1, farewell=BYE)]
    plan = planned(workers)
    assert not plan
    assert plan.look_again_after == 20
    assert [new.index for new in planned(workers, 2).added] == [1]
    assert planned(workers, 2).changed == []


def test_when_nobody_has_answered_its_grace_period_begins_and_then_it_goes():
    workers = [one(0), one(1, farewell=BYE)]
    plan = planned(workers, now=at(20))
    rest = msgspec.structs.replace(BYE, waiting=False, until=at(25), end=WaitEnd.TIMED_OUT)
    assert [new for _, new in plan.changed] == [msgspec.structs.replace(workers[1], farewell=rest)]
    assert plan.look_again_after == 5
    assert plan.waited == []
    plan = planned(workers, now=at(25))
    ((_, gone),) = plan.changed
    assert (gone.want, gone.status, gone.farewell) == (Want.REMOVE, WorkerStatus.STOPPING, None)
    assert [(each.worker_oid, each.end) for each in plan.waited] == [(gone.oid, WaitEnd.TIMED_OUT)]


def test_one_that_will_go_goes_at_once_when_its_cluster_is_stopped_or_nothing_of_it_serves():
    for workers, run, end in (
        ([one(1, farewell=BYE)], False, WaitEnd.CUT_SHORT),
        ([one(1, WorkerStatus.ERROR, farewell=BYE)], True, WaitEnd.LOST),
    ):
        plan = planned(workers, 0, run=run)
        ((_, gone),) = plan.changed
        assert (gone.want, gone.status) == (Want.REMOVE, WorkerStatus.STOPPING)
        assert [each.end for each in plan.waited] == [end]


def test_on_a_silent_node_it_is_waited_for_until_the_node_is_lost():
    workers = [one(1, WorkerStatus.UNREACHABLE, farewell=BYE)]
    plan = planned(workers, 0, [(silent(1, 4), None, None)])
    assert not plan
    assert plan.look_again_after == 6
    plan = planned(workers, 0, [(silent(1, 10), None, None)])
    assert [gone.index for gone in plan.removed] == [1]
    assert [each.end for each in plan.waited] == [WaitEnd.LOST]
    soon = [one(1, WorkerStatus.UNREACHABLE, farewell=msgspec.structs.replace(BYE, until=at(2)))]
    assert planned(soon, 0, [(silent(1, 4), None, None)]).look_again_after == 2


# Who may still run where nobody sees it


def test_one_that_is_to_stop_says_that_it_waits_for_a_silent_node_as_long_as_it_does():
    stopping = one(1, WorkerStatus.STOPPING, want=Want.REMOVE, fence_after=20.0)
    plan = planned([stopping], 0, [(silent(1, 12), None, None)], fence_after=20.0)
    ((_, waits),) = plan.changed
    assert waits.reason == "waits until its node node1, which is silent, has killed it"
    assert not planned([waits], 0, [(silent(1, 12), None, None)], fence_after=20.0)
    ((_, told),) = planned([waits], 0, fence_after=20.0).changed
    assert (told.status, told.reason) == (WorkerStatus.STOPPING, None)
    assert planned([waits], 0, [(silent(1, 30), None, None)], fence_after=20.0).removed
    assert not planned([stopping], 0, [(silent(1, 2), None, None)]).changed


def test_one_that_must_not_run_twice_stays_until_its_agent_has_killed_it():
    def fenced(seconds, told=20.0):
        members = [(silent(1, seconds), None, None), (node(2), None, None)]
        return planned([one(0, WorkerStatus.UNREACHABLE, fence_after=told)], 1, members, fence_after=20.0)

    assert (fenced(12).changed, fenced(12).look_again_after) == ([], 18)
    ((_, moved),) = fenced(30).changed
    assert (moved.node_oid, moved.status) == (uid(2, 2), WorkerStatus.STARTING)
    # An agent that has never said that it kills it may run it for ever.
    assert (fenced(10_000, told=None).changed, fenced(10_000, told=None).look_again_after) == ([], None)


def test_without_fencing_it_is_moved_when_its_node_is_lost():
    members = [(silent(1, 10), None, None), (node(2), None, None)]
    ((_, moved),) = planned([one(0, WorkerStatus.UNREACHABLE, fence_after=20.0)], 1, members).changed
    assert moved.node_oid == uid(2, 2)


def stopping(index: int, **fields):
    return one(index, WorkerStatus.STOPPING, **{"want": Want.REMOVE, "fence_after": 20.0, **fields})


def test_nobody_takes_the_place_of_one_that_is_to_go_and_may_still_run():
    away = [(silent(1, 12), None, None), (node(2), None, None)]
    plan = planned([stopping(0)], 1, away, fence_after=20.0)
    assert (plan.added, plan.removed) == ([], [])
    assert plan.look_again_after == 18
    assert [new.index for new in planned([stopping(0), stopping(1)], 3, away, fence_after=20.0).added] == [2]
    lost = [(silent(1, 30), None, None), (node(2), None, None)]
    plan = planned([stopping(0)], 1, lost, fence_after=20.0)
    assert ([gone.index for gone in plan.removed], [new.node_oid for new in plan.added]) == ([0], [uid(2, 2)])


def test_the_place_of_one_that_stops_where_it_can_be_seen_or_that_nobody_fences_is_taken_at_once():
    here = [(node(1), None, None), (node(2), None, None)]
    assert len(planned([stopping(0)], 1, here, fence_after=20.0).added) == 1
    away = [(silent(1, 5), None, None), (node(2), None, None)]
    plan = planned([stopping(0)], 1, away)
    assert (len(plan.added), plan.removed, plan.look_again_after) == (1, [], 5)
    plan = planned([stopping(0)], 1, [(silent(1, 10), None, None), (node(2), None, None)])
    assert (len(plan.added), [gone.index for gone in plan.removed]) == (1, [0])


def test_places_are_held_group_by_group():
    away = [(silent(1, 12), None, None), (node(2), None, None)]
    plan = planned([stopping(0)], members=away, groups=[group(1, 1), group(2, 1)], fence_after=20.0)
    assert [new.workergroup_oid for new in plan.added] == [BACK]
    # One that runs where it cannot be seen has a place itself, and holds no other.
    two = [one(0, WorkerStatus.UNREACHABLE, fence_after=20.0)]
    plan = planned(two, members=away, groups=[group(1, 2)], fence_after=20.0)
    assert [new.index for new in plan.added] == [1]


# How many at a time


@pytest.mark.parametrize(("most", "added", "again"), [(None, 6, None), (6, 6, None), (5, 5, 0), (2, 2, 0), (0, 0, 0)])
def test_a_pass_adds_no_more_than_it_may_and_the_next_one_comes_at_once(most, added, again):
    plan = planned([], groups=[group(1, 4), group(2, 2)], added_max=most)
    assert (len(plan.added), plan.look_again_after) == (added, again)


# Who is protected


def test_protected_workers_go_only_with_their_cluster():
    kept = [one(0, protected=True), one(1)]
    assert [new.index for _, new in planned(kept, 0).changed] == [1]
    assert [new.index for _, new in planned(kept, 0, deleting=True).changed] == [0, 1]
