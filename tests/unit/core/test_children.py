"""What becomes of single workers by an action of their cluster."""

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.core.acting import OF_ALL, progress
from controlplane.core.children import (
    OPEN,
    PARENTS,
    Fate,
    as_action,
    counted,
    fates,
    gone_kind,
    looked_into,
    moved,
    shifted,
    told,
    when_gone,
    with_word,
)
from controlplane.records.actions import Action, ActionKind, ActionStatus, Children, Failed, Outputs, Phase
from controlplane.records.balancing import Drain
from controlplane.records.children import Child
from controlplane.records.clusters import Cluster, ClusterType
from controlplane.records.lifecycle import Farewell
from controlplane.records.recoveries import Recovery
from controlplane.records.standby import Promotion
from controlplane.records.workers import Want, WorkerStatus
from tests.strategies import CLUSTER, NOW, uid, worker

SECOND = 1_000_000_000
NODE, GROUP = uid(2, 1), uid(3, 1)
WAITING, RUNNING = ActionStatus.WAITING, ActionStatus.RUNNING
SUCCEEDED, FAILED, CANCELLED = ActionStatus.SUCCEEDED, ActionStatus.FAILED, ActionStatus.CANCELLED
SHOP = Cluster(
    oid=CLUSTER, name="shop", type=ClusterType.GENERIC, created=0, changed=0, revision=3, steady=5.0, grace_period=10.0
)
FAREWELL = Farewell(token=uid(9, 1), begun=NOW, until=NOW + SECOND, grace_period=1.0, waiting=True)


def parent(kind=ActionKind.CLUSTER_UPDATE, **fields):
    return Action(
        oid=uid(5, 1),
        name="update_shop",
        kind=kind,
        cluster_oid=CLUSTER,
        cluster_name="shop",
        who="joe",
        timeout=60.0,
        **{"created": NOW, **fields},
    )


def one(status=WorkerStatus.RUNNING, number=1, created=NOW - 100 * SECOND, **fields):
    """A worker that was there before, and has run for long."""
    given = {"digest": "d", "seen_digest": "d", "revision": 3, **fields}
    made = worker(number, GROUP, number, NODE, status, **given)
    return msgspec.structs.replace(made, created=created, changed=NOW - 60 * SECOND)


def found(action, *workers):
    return fates(action, SHOP, workers, progress(action, SHOP, workers, len(workers), NOW))


def fate(worker, kind=ActionKind.CLUSTER_UPDATE, **fields):
    return found(parent(kind, **fields), worker)[worker.oid]


def child(**fields):
    given = {"kind": ActionKind.WORKER_CREATE, "status": WAITING, "created": NOW, **fields}
    return Child(oid=uid(6, 1), parent_oid=uid(5, 1), begun=NOW, worker_oid=uid(4, 1), **given)


@pytest.mark.parametrize(
    ("worker", "status"),
    [
        (one(), SUCCEEDED),
        (one(revision=2), WAITING),
        (one(revision=2, drain=Drain(until=NOW + SECOND)), RUNNING),
        (one(WorkerStatus.STARTING), RUNNING),
        (one(WorkerStatus.ERROR), RUNNING),
        (one(WorkerStatus.UNREACHABLE), RUNNING),
        (one(seen_digest="old"), RUNNING),
        (msgspec.structs.replace(one(WorkerStatus.PENDING), changed=NOW), WAITING),
        (one(want=Want.REMOVE), RUNNING),
        (one(farewell=FAREWELL), WAITING),
        (one(want=Want.REMOVE, farewell=FAREWELL), RUNNING),
    ],
)
def test_a_child_stands_as_its_worker_does(worker, status):
    assert (fate(worker).status, fate(worker).reason) == (status, None)


def test_a_worker_that_has_failed_says_why():
    assert fate(one(WorkerStatus.ERROR, failures=3, reason="it died")).reason == "it died"
    assert fate(one(WorkerStatus.PENDING, reason="no place")) == Fate(ActionKind.WORKER_UPDATE, FAILED, "no place")


@pytest.mark.parametrize(
    ("kind", "fields", "worker", "expected"),
    [
        (ActionKind.CLUSTER_CREATE, {}, one(created=NOW), ActionKind.WORKER_CREATE),
        (ActionKind.CLUSTER_SCALE_OUT, {}, one(created=NOW), ActionKind.WORKER_CREATE),
        (ActionKind.CLUSTER_UPDATE, {}, one(), ActionKind.WORKER_UPDATE),
        (ActionKind.CLUSTER_UPDATE, {}, one(created=NOW), ActionKind.WORKER_CREATE),
        (ActionKind.CLUSTER_DELETE, {}, one(), ActionKind.WORKER_DELETE),
        (ActionKind.CLUSTER_SCALE_IN, {}, one(want=Want.REMOVE), ActionKind.WORKER_DELETE),
        (ActionKind.CLUSTER_RESIZE, {}, one(created=NOW, want=Want.REMOVE), ActionKind.WORKER_DELETE),
        (ActionKind.CLUSTER_RECOVER, {"workers": (uid(4, 1),)}, one(), ActionKind.WORKER_RECOVER),
        (ActionKind.CLUSTER_RECOVER, {"workers": (uid(4, 1),)}, one(want=Want.REMOVE), ActionKind.WORKER_RECOVER),
        (ActionKind.CLUSTER_RECOVER, {"workers": (uid(4, 2),)}, one(want=Want.REMOVE), ActionKind.WORKER_DELETE),
        (ActionKind.CLUSTER_RECOVER, {"workers": (uid(4, 2),)}, one(created=NOW), ActionKind.WORKER_CREATE),
        (ActionKind.CLUSTER_ADD_WORKERS, {"workers": (uid(4, 1),)}, one(), ActionKind.WORKER_JOIN),
        (ActionKind.CLUSTER_REPLACE_WORKERS, {"workers": (uid(4, 1),)}, one(), ActionKind.WORKER_JOIN),
        (ActionKind.CLUSTER_REPLACE_WORKERS, {}, one(created=NOW), ActionKind.WORKER_CREATE),
    ],
)
def test_what_is_done_about_a_worker_follows_from_its_action(kind, fields, worker, expected):
    assert fate(worker, kind, **fields).kind is expected


def test_a_worker_that_an_action_is_not_about_has_no_child():
    assert found(parent(ActionKind.CLUSTER_SCALE_OUT), one()) == {}


def test_a_recovery_is_under_way_as_long_as_the_former_process_is_there():
    recovery = Recovery(worker_oid=uid(4, 1), step=0, since=NOW, before="d")
    again = parent(ActionKind.CLUSTER_RECOVER, workers=(uid(4, 1),), recoveries=(recovery,))
    away = msgspec.structs.replace(one(WorkerStatus.PENDING, digest=None, seen_digest=None), changed=NOW)
    assert found(again, one())[uid(4, 1)] == Fate(ActionKind.WORKER_RECOVER, RUNNING)
    assert found(again, away)[uid(4, 1)] == Fate(ActionKind.WORKER_RECOVER, RUNNING)


def test_what_is_gone_was_deleted_recovered_or_left():
    recovering = parent(ActionKind.CLUSTER_RECOVER, workers=(uid(4, 1),))
    assert gone_kind(parent(), uid(4, 1), elsewhere=False) is ActionKind.WORKER_DELETE
    assert gone_kind(parent(), uid(4, 1), elsewhere=True) is ActionKind.WORKER_LEAVE
    assert gone_kind(recovering, uid(4, 1), elsewhere=False) is ActionKind.WORKER_RECOVER
    assert gone_kind(recovering, uid(4, 2), elsewhere=False) is ActionKind.WORKER_DELETE
    other = parent(workers=(uid(4, 1),))
    assert gone_kind(other, uid(4, 1), elsewhere=False) is ActionKind.WORKER_DELETE


@pytest.mark.parametrize("kind", list(ActionKind))
def test_to_be_gone_is_what_some_children_are_for(kind):
    out = (ActionKind.WORKER_DELETE, ActionKind.WORKER_LEAVE, ActionKind.WORKER_RECOVER)
    expected = Fate(kind, SUCCEEDED) if kind in out else Fate(kind, CANCELLED, "its worker is gone")
    assert when_gone(kind) == expected


def test_a_check_is_about_the_named_workers_or_all():
    both = one(number=1), one(number=2)
    asked = Fate(ActionKind.WORKER_CHECK, RUNNING)
    assert looked_into(parent(ActionKind.CLUSTER_CHECK), both) == {uid(4, 1): asked, uid(4, 2): asked}
    assert looked_into(parent(ActionKind.CLUSTER_CHECK, workers=(uid(4, 2),)), both) == {uid(4, 2): asked}


def test_who_stands_by_is_looked_at_when_it_is_somewhere():
    asked = Fate(ActionKind.WORKER_CHECK, RUNNING)
    here, nowhere = one(number=1, standby=True), msgspec.structs.replace(one(number=2, standby=True), node_oid=None)
    homeless = msgspec.structs.replace(one(number=3), node_oid=None)
    check = parent(ActionKind.CLUSTER_CHECK)
    assert looked_into(check, [here, nowhere, homeless]) == {uid(4, 1): asked, uid(4, 3): asked}


def test_who_was_taken_from_those_that_stand_by_has_joined():
    scale_out = ActionKind.CLUSTER_SCALE_OUT
    joined = one(promotion=Promotion(at=NOW, since=NOW))
    assert fate(joined, scale_out).kind is ActionKind.WORKER_JOIN
    before = one(promotion=Promotion(at=NOW - 1, since=NOW - 1))
    assert fate(before, ActionKind.CLUSTER_UPDATE).kind is ActionKind.WORKER_UPDATE


def test_what_agents_found_is_what_becomes_of_the_children_of_a_check():
    outputs = Outputs(done=(uid(4, 1),), failed=(Failed(worker_oid=uid(4, 2), reason="deaf"),))
    assert told(outputs) == {
        uid(4, 1): Fate(ActionKind.WORKER_CHECK, SUCCEEDED),
        uid(4, 2): Fate(ActionKind.WORKER_CHECK, FAILED, "deaf"),
    }


def test_times_and_reasons_are_those_of_where_a_child_stands():
    waiting = child()
    begun = moved(waiting, RUNNING, "never shown", NOW + 1)
    failed = moved(begun, FAILED, "it died", NOW + 2)
    again = moved(failed, RUNNING, None, NOW + 3)
    assert (begun.started, begun.ended, begun.reason) == (NOW + 1, None, None)
    assert (failed.started, failed.ended, failed.reason) == (NOW + 1, NOW + 2, "it died")
    assert (again.started, again.ended, again.reason) == (NOW + 1, None, None)
    assert (moved(waiting, CANCELLED, "no", NOW + 1).started, moved(waiting, SUCCEEDED, None, NOW + 1).started) == (
        None,
        NOW + 1,
    )


@given(st.lists(st.sampled_from(ActionStatus)), st.data())
def test_numbers_follow_every_move(statuses, data):
    numbers = counted(statuses)
    assert numbers.total == len(statuses)
    assert sum(msgspec.structs.astuple(numbers)) == 2 * len(statuses)
    if statuses:
        place = data.draw(st.integers(0, len(statuses) - 1))
        to = data.draw(st.sampled_from(ActionStatus))
        after = [to if index == place else each for index, each in enumerate(statuses)]
        assert shifted(numbers, statuses[place], to) == counted(after)


def test_nothing_is_counted_of_no_children():
    assert counted(()) == Children()


def test_a_child_is_shown_as_an_action_of_its_parents_cluster():
    shown = as_action(child(status=RUNNING, started=NOW + 1), parent())
    assert (shown.name, shown.kind, shown.worker_oid, shown.parent_oid) == (
        "worker_create_00000006",
        ActionKind.WORKER_CREATE,
        uid(4, 1),
        uid(5, 1),
    )
    assert (shown.cluster_oid, shown.cluster_name, shown.who, shown.cause) == (CLUSTER, "shop", "joe", "derived")
    assert (shown.status, shown.phase, shown.done, shown.total, shown.outputs) == (
        RUNNING,
        Phase.CONVERGE,
        0,
        1,
        Outputs(),
    )
    assert (shown.created, shown.started, shown.ended, shown.timeout) == (NOW, NOW + 1, None, 60.0)


def test_what_came_of_a_child_is_in_its_outputs():
    bad = as_action(child(status=FAILED, reason="deaf", ended=NOW), parent())
    assert bad.outputs == Outputs(failed=(Failed(worker_oid=uid(4, 1), reason="deaf"),))
    assert (bad.phase, bad.reason, bad.done) == (Phase.OVER, "deaf", 0)
    good = as_action(child(status=SUCCEEDED, ended=NOW), parent())
    assert (good.outputs, good.done) == (Outputs(done=(uid(4, 1),)), 1)
    assert (good.oid, good.ended) == (uid(6, 1), NOW)
    for kind in (ActionKind.WORKER_DELETE, ActionKind.WORKER_LEAVE):
        gone = as_action(child(kind=kind, status=SUCCEEDED, ended=NOW), parent())
        assert gone.outputs == Outputs(removed=(uid(4, 1),))
    assert as_action(child(status=CANCELLED, ended=NOW), parent()).outputs == Outputs()


def test_while_a_child_is_under_way_its_worker_says_what_there_is_to_say():
    shown = as_action(child(), parent())
    assert with_word(shown, None) == shown
    assert with_word(shown, one(reason="no place")).reason == "no place"
    assert with_word(shown, one()).phase is Phase.CONVERGE
    assert with_word(shown, one(farewell=FAREWELL)).phase is Phase.LIFECYCLE
    check = as_action(child(kind=ActionKind.WORKER_CHECK), parent())
    assert (check.phase, with_word(check, one()).phase) == (Phase.CHECK, Phase.CHECK)


def test_actions_of_clusters_have_children_and_policies_and_workers_have_none():
    assert ActionKind.CLUSTER_OPERATION in PARENTS
    assert {kind.value for kind in ActionKind if kind not in PARENTS and kind.value.startswith("CLUSTER")} == {
        "CLUSTER_ATTACH_POLICY",
        "CLUSTER_UPDATE_POLICY",
        "CLUSTER_DETACH_POLICY",
    }
    assert all(kind.value.startswith("CLUSTER") for kind in PARENTS)


WORKERS = st.builds(
    lambda number, status, want, revision, seen, failures, created, changed, farewell: msgspec.structs.replace(
        one(status, number, want=want, revision=revision, seen_digest=seen, failures=failures, farewell=farewell),
        created=created,
        changed=changed,
    ),
    st.integers(1, 1_000),
    st.sampled_from(WorkerStatus),
    st.sampled_from(Want),
    st.sampled_from((2, 3)),
    st.sampled_from(("d", "old", None)),
    st.sampled_from((0, 3)),
    st.sampled_from((NOW - SECOND, NOW, NOW + SECOND)),
    st.sampled_from((NOW, NOW - 60 * SECOND)),
    st.sampled_from((None, None, FAREWELL)),
)


@given(
    st.sampled_from(sorted(PARENTS, key=lambda kind: kind.value)),
    st.lists(WORKERS, max_size=8, unique_by=lambda each: each.oid),
    st.sets(st.integers(1, 1_000).map(lambda number: uid(4, number)), max_size=3),
)
def test_children_say_of_each_worker_what_their_parent_counts(kind, workers, named):
    action = parent(kind, workers=tuple(named))
    seen = progress(action, SHOP, workers, 0, NOW)
    got = fates(action, SHOP, workers, seen)
    by = {status: {oid for oid, each in got.items() if each.status is status} for status in ActionStatus}
    assert by[SUCCEEDED] == set(seen.done)
    assert {Failed(worker_oid=oid, reason=got[oid].reason) for oid in by[FAILED]} == set(seen.failed)
    assert not by[CANCELLED]
    assert len(by[WAITING] | by[RUNNING]) == seen.waiting + len(seen.leaving)
    assert set(seen.leaving) <= by[WAITING] | by[RUNNING]
    if kind in OF_ALL:
        assert got.keys() == {each.oid for each in workers}
    # A pass that finds the same says the same, and whatever came to its end is over.
    for oid, each in got.items():
        record = moved(child(), each.status, each.reason, NOW)
        assert moved(record, each.status, each.reason, NOW) == record
        assert (record.ended is None) == (each.status in OPEN) == (as_action(record, action).phase is not Phase.OVER)
        assert oid in {worker.oid for worker in workers}


def test_every_way_between_two_standings_ends_as_the_last_one():
    for one_way, other in itertools.product(ActionStatus, repeat=2):
        reached = moved(moved(child(), one_way, "a", NOW), other, "b", NOW + 1)
        assert (reached.status, reached.reason) == (other, None if other in OPEN else "b")
