"""How far an action has come, worker by worker."""

import msgspec
import pytest

from controlplane.core.acting import DELETING, FAILURES_MAX, UPDATING, Progress, is_own, paced, progress
from controlplane.records.actions import Action, ActionKind, Failed, Pace, Phase
from controlplane.records.clusters import Cluster, ClusterType
from controlplane.records.lifecycle import Farewell
from controlplane.records.recoveries import Chain, Operation, Recovery
from controlplane.records.workers import Want, WorkerStatus
from tests.strategies import CLUSTER, NOW, uid, worker

SECOND = 1_000_000_000
NODE, GROUP = uid(2, 1), uid(3, 1)
SHOP = Cluster(
    oid=CLUSTER,
    name="shop",
    type=ClusterType.GENERIC,
    created=0,
    changed=0,
    revision=3,
    steady=5.0,
    grace_period=10.0,
)


def action(kind=ActionKind.CLUSTER_CREATE, **fields):
    return Action(
        oid=uid(5, 1),
        name="create_shop",
        kind=kind,
        cluster_oid=CLUSTER,
        cluster_name="shop",
        who="admin",
        timeout=60.0,
        **{"created": NOW, **fields},
    )


def running(number=1, changed=NOW - 60 * SECOND, **fields):
    """A worker that has run with the newest configuration for long."""
    given = {"digest": "d", "seen_digest": "d", "revision": 3, **fields}
    made = worker(number, GROUP, number, NODE, WorkerStatus.RUNNING, **given)
    return msgspec.structs.replace(made, created=NOW, changed=changed)


def of(*workers, kind=ActionKind.CLUSTER_CREATE, now=NOW, wanted=0, **fields):
    return progress(action(kind, **fields), SHOP, workers, wanted, now)


def test_workers_that_are_not_there_yet_are_waited_for():
    assert of(running(), wanted=3).waiting == 2
    assert of(running(), running(2), wanted=1).waiting == 0


def test_a_worker_that_runs_as_it_shall_is_done():
    assert of(running()) == Progress((uid(4, 1),), (), 0, (), None)


def test_nobody_is_done_before_agents_have_told_a_master_that_was_away():
    workers = [running(), running(2, changed=NOW), running(3, seen_digest="old")]
    found = progress(action(), SHOP, workers, 0, NOW, unheard=True)
    assert found == Progress((), (), 3, (), None)


def test_an_action_without_workers_is_over():
    assert of() == Progress((), (), 0, (), None)
    assert of().over


@pytest.mark.parametrize(
    "fields", [{"revision": 2}, {"digest": None, "seen_digest": None}, {"seen_digest": "old"}, {"seen_digest": None}]
)
def test_a_worker_that_does_not_run_with_the_newest_configuration_is_waited_for(fields):
    found = of(running(**fields))
    assert found == Progress((), (), 1, (), None)
    assert not found.over


@pytest.mark.parametrize(
    "status",
    [WorkerStatus.STARTING, WorkerStatus.ERROR, WorkerStatus.UNREACHABLE, WorkerStatus.STOPPING, WorkerStatus.STOPPED],
)
def test_a_worker_that_does_not_run_is_waited_for(status):
    assert of(msgspec.structs.replace(running(), status=status)) == Progress((), (), 1, (), None)


def test_a_worker_has_to_run_for_as_long_as_is_called_steady():
    since = NOW - 5 * SECOND
    assert of(running(changed=since + 1)) == Progress((), (), 1, (), NOW + 1)
    assert of(running(changed=since)) == Progress((uid(4, 1),), (), 0, (), None)


def test_a_worker_that_failed_three_times_in_a_row_has_failed():
    assert FAILURES_MAX == 3
    failing = msgspec.structs.replace(running(), status=WorkerStatus.ERROR, failures=2, reason="it died")
    assert of(failing).waiting == 1
    failing = msgspec.structs.replace(failing, failures=3)
    found = of(failing)
    assert found == Progress((), (Failed(worker_oid=uid(4, 1), reason="it died"),), 0, (), None)
    assert found.over


def test_what_a_worker_did_with_another_configuration_than_the_newest_is_not_held_against_it():
    failing = msgspec.structs.replace(running(), status=WorkerStatus.ERROR, failures=9, revision=running().revision - 1)
    assert (of(failing).failed, of(failing).waiting) == ((), 1)


def test_a_worker_that_runs_has_not_failed_however_often_it_did_before():
    assert of(running(failures=9)).done == (uid(4, 1),)


def test_a_worker_without_a_place_is_waited_for_during_the_grace_period():
    waiting = msgspec.structs.replace(running(), status=WorkerStatus.PENDING, node_oid=None, reason="no place")
    since = NOW - 10 * SECOND
    found = of(msgspec.structs.replace(waiting, changed=since + 1))
    assert found == Progress((), (), 1, (), NOW + 1)
    found = of(msgspec.structs.replace(waiting, changed=since))
    assert found == Progress((), (Failed(worker_oid=uid(4, 1), reason="no place"),), 0, (), None)


def test_it_is_looked_again_when_the_first_of_several_is_due():
    waiting = msgspec.structs.replace(running(1), status=WorkerStatus.PENDING, changed=NOW - 7 * SECOND)
    found = of(waiting, running(2, changed=NOW - 4 * SECOND), running(3, changed=NOW - 1 * SECOND), running(4))
    assert found == Progress((uid(4, 4),), (), 3, (), NOW + SECOND)


def test_a_worker_that_leaves_is_neither_done_nor_failed():
    leaving = msgspec.structs.replace(running(), want=Want.REMOVE, failures=9)
    found = of(leaving, running(2))
    assert found == Progress((uid(4, 2),), (), 0, (uid(4, 1),), None)
    assert not found.over


OF_ALL = [ActionKind.CLUSTER_CREATE, ActionKind.CLUSTER_UPDATE, ActionKind.CLUSTER_DELETE]


@pytest.mark.parametrize("kind", ActionKind)
def test_most_actions_are_about_new_and_named_workers_alone(kind):
    old, named = (msgspec.structs.replace(running(number), created=NOW - 1) for number in (1, 2))
    new = running(3)
    found = of(old, named, new, kind=kind, workers=(named.oid,))
    about = [uid(4, 1), uid(4, 2), uid(4, 3)] if kind in OF_ALL else [uid(4, 2), uid(4, 3)]
    assert found == Progress(tuple(about), (), 0, (), None)


@pytest.mark.parametrize("age", [-1, 0, 1])
def test_no_clock_says_whose_a_worker_is(age):
    scaling = action(ActionKind.CLUSTER_SCALE_OUT, marks=True, workers=(uid(4, 3),))
    of_others, own, named, of_nobody = (
        msgspec.structs.replace(running(number), created=NOW + age, made_for=made_for)
        for number, made_for in ((1, uid(5, 2)), (2, scaling.oid), (3, None), (4, None))
    )
    assert [is_own(scaling, each) for each in (of_others, own, named, of_nobody)] == [False, True, True, False]
    # One that a former version began has marked nobody.
    former = msgspec.structs.replace(scaling, marks=False)
    assert [is_own(former, each) for each in (named, of_nobody)] == [True, age >= 0]


def test_what_is_rolled_back_is_about_all_workers():
    old = msgspec.structs.replace(running(1), created=NOW - 1)
    assert of(old, kind=ActionKind.CLUSTER_RESIZE).done == ()
    assert of(old, kind=ActionKind.CLUSTER_RESIZE, phase=Phase.ROLL_BACK).done == (uid(4, 1),)


def test_everybody_who_is_waited_for_is_counted():
    fresh = [running(number, changed=NOW) for number in (1, 2)]
    homeless = [msgspec.structs.replace(running(number), status=WorkerStatus.PENDING, changed=NOW) for number in (3, 4)]
    behind = [running(number, revision=1) for number in (5, 6)]
    for two in (fresh, homeless, behind):
        assert of(*two).waiting == 2
    assert of(*behind, *fresh).waiting == of(*behind, *homeless).waiting == 4


def test_who_waits_for_its_end_leaves_and_does_not_count():
    bye = Farewell(token=uid(9, 1), begun=NOW, until=NOW + 1)
    found = of(running(farewell=bye), running(2), wanted=2)
    assert found == Progress((uid(4, 2),), (), 1, (uid(4, 1),), None)


def test_routers_are_none_of_those_that_groups_want():
    router = msgspec.structs.replace(running(), workergroup_oid=None)
    assert of(router, running(2), wanted=2) == Progress((uid(4, 1), uid(4, 2)), (), 1, (), None)


def test_old_workers_of_a_group_are_there_also_when_an_action_is_not_about_them():
    old = msgspec.structs.replace(running(), created=NOW - 1)
    assert of(old, running(2), kind=ActionKind.CLUSTER_RESIZE, wanted=3).waiting == 1
    now = msgspec.structs.replace(old, created=NOW)
    assert of(now, kind=ActionKind.CLUSTER_RESIZE).done == (uid(4, 1),)


CHAIN = Chain(operations=(Operation.REBOOT,), patience=20.0)


def recovering(*workers, chain=CHAIN, **fields):
    recovery = Recovery(worker_oid=uid(4, 1), step=0, since=NOW - SECOND, before="before", **fields)
    kind = ActionKind.CLUSTER_RECOVER
    return of(*workers, kind=kind, recoveries=(recovery,), workers=(uid(4, 1), uid(4, 2)), chain=chain)


def test_one_that_is_brought_back_is_waited_for_as_long_as_its_operation_may_take():
    late = NOW + 19 * SECOND
    assert recovering(running(digest="before", seen_digest="before")) == Progress((), (), 1, (), late)
    assert recovering(running(digest=None)) == Progress((), (), 1, (), late)
    assert recovering(running()) == Progress((uid(4, 1),), (), 0, (), late)
    assert recovering(running(changed=NOW - 4 * SECOND)).look_again_at == NOW + SECOND
    patience = int(Chain().patience * SECOND)
    assert recovering(running(digest=None), chain=None).look_again_at == NOW - SECOND + patience


def test_everybody_who_is_brought_back_is_counted():
    recoveries = tuple(Recovery(worker_oid=uid(4, number), step=0, since=NOW, before="d") for number in (1, 2, 3))
    assert of(running(1), running(2), running(3), recoveries=recoveries).waiting == 3


def test_one_that_could_not_be_brought_back_has_failed_and_says_what_was_tried_whatever_it_does_now():
    tried = ("REBOOT: its node is silent", "REBUILD: it has no place")
    for one in (running(), running(digest="before", seen_digest="before")):
        found = recovering(one, running(2), given_up=True, tried=tried)
        failed = Failed(worker_oid=uid(4, 1), reason="; ".join(tried))
        assert found == Progress((uid(4, 2),), (failed,), 0, (), None)


def test_an_action_changes_a_cluster_over_at_its_own_pace_and_others_at_that_of_the_cluster():
    assert paced(SHOP, None) is SHOP
    assert paced(SHOP, action()) is SHOP
    found = paced(SHOP, action(pace=Pace(batch=7, steady=2.0)))
    assert found == msgspec.structs.replace(SHOP, batch=7, steady=2.0)


def test_which_actions_go_first_and_which_are_over_with_the_first_failure():
    assert {ActionKind.CLUSTER_DELETE, ActionKind.WORKER_DELETE} == DELETING
    assert {ActionKind.CLUSTER_UPDATE, ActionKind.WORKER_UPDATE} == UPDATING
