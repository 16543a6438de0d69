"""Canaries: so many workers are changed first, and the others when these have run for long enough."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.core.acting import canary_of
from controlplane.core.generic_clusters import canaries_to_come, plan_generic_cluster
from controlplane.core.policies import Bound, plan_batches
from controlplane.records.actions import Action, ActionKind, ActionStatus, Pace
from controlplane.records.policies import BatchPolicy, Binding
from controlplane.records.workers import WorkerStatus
from tests.strategies import NOW, uid
from tests.unit.core.test_generic_clusters import SECOND, begin, serving, told

STEADY_S = 5


def planned(workers, canary, batch, now=NOW):
    cluster, made = begin(workers, scale=len(workers), batch=batch, now=now, steady=float(STEADY_S))
    given = {name: getattr(made, name) for name in type(made).__slots__}
    return plan_generic_cluster(type(made)(**{**given, "cluster": cluster, "canary": canary}))


def test_canaries_go_first_and_the_others_when_they_have_run_for_long_enough():
    old = [serving(number) for number in range(1, 6)]
    assert told(planned([serving(0), *old], 1, 3)) == [0]
    assert told(planned([serving(0, "new", 2, seen_digest="old"), *old], 1, 3)) == []
    plan = planned([serving(0, "new", 2, ran_s=3), *old], 1, 3)
    assert (told(plan), plan.look_again_after) == ([], 2.0)
    assert told(planned([serving(0, "new", 2, ran_s=5), *old], 1, 3)) == [1, 2, 3]


def test_without_canaries_a_batch_goes_at_once():
    assert told(planned([serving(number) for number in range(6)], 0, 3)) == [0, 1, 2]


def test_a_canary_that_fails_holds_up_the_others():
    dead = msgspec.structs.replace(serving(0, "new", 2, seen_digest=None), status=WorkerStatus.ERROR, failures=2)
    assert told(planned([dead, *(serving(number) for number in range(1, 6))], 1, 3)) == []


@given(canary=st.integers(0, 9), begun=st.integers(0, 20), proven=st.integers(0, 20))
def test_there_are_never_more_canaries_than_there_are_to_be(canary, begun, proven):
    proven = min(begun, proven)
    more = canaries_to_come(canary, begun, proven)
    if proven >= canary:
        assert more is None
    else:
        assert more >= 0
        assert begun + more <= max(begun, canary)
        # Those that are on their way will be enough, or there are more to come: it never stands still.
        assert begun + more >= canary


@given(total=st.integers(1, 12), canary=st.integers(0, 4), batch=st.integers(1, 6))
def test_all_are_changed_in_the_end_and_nobody_but_canaries_before_those_have_proven_themselves(total, canary, batch):
    canary = min(canary, batch)
    workers = [serving(number) for number in range(total)]
    now = NOW
    for _ in range(total + 2):
        plan = planned(workers, canary, batch, now)
        changed = {new.oid: new for _, new in plan.changed}
        newest = [worker for worker in workers if worker.digest == "new"]
        if len(newest) < min(canary, total):
            assert len(newest) + len(told(plan)) <= canary
        assert len(told(plan)) <= batch
        now += STEADY_S * SECOND
        # Whoever was given it runs with it at once, and for so long.
        workers = [
            msgspec.structs.replace(new, seen_digest="new", changed=now - STEADY_S * SECOND)
            if (new := changed.get(worker.oid)) is not None
            else worker
            for worker in workers
        ]
    assert {worker.digest for worker in workers} == {"new"}


def bound(**properties):
    binding = Binding(
        oid=uid(7, 1),
        cluster_oid=uid(1, 1),
        policy_oid=uid(8, 1),
        type="batch-1.0",
        priority=0,
        created=NOW,
        changed=NOW,
    )
    return Bound(binding, "careful", BatchPolicy(**properties))


@pytest.mark.parametrize(
    ("canary", "kept", "said"), [(0, 0, "changes 4 of 6"), (1, 1, "changes 1 first, then 4 of 6"), (9, 4, "4 first")]
)
def test_a_policy_says_how_many_canaries_there_are_and_never_more_than_a_batch(canary, kept, said):
    pace, (decision,) = plan_batches([bound(min_in_service=2, pause_time=7, canary=canary)], 6)
    assert pace == Pace(batch=4, steady=7.0, canary=kept)
    assert said in decision.said


def test_what_is_taken_back_needs_no_canaries():
    action = Action(
        oid=uid(9, 1),
        name="x",
        kind=ActionKind.CLUSTER_UPDATE,
        cluster_oid=uid(1, 1),
        cluster_name="shop",
        who="me",
        timeout=60,
        created=NOW,
        pace=Pace(batch=2, steady=1, canary=1),
    )
    assert canary_of(action) == 1
    assert canary_of(msgspec.structs.replace(action, ending=ActionStatus.FAILED)) == 0
    assert (canary_of(msgspec.structs.replace(action, pace=None)), canary_of(None)) == (0, 0)
