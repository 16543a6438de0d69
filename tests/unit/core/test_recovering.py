"""What becomes of workers that are being brought back."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.core.recovering import as_given, describe, first_step, given_of, is_under_way, late_at, next_step
from controlplane.records.recoveries import Chain, Operation, Recovery
from controlplane.records.workers import WorkerStatus
from tests.strategies import NOW, uid, worker

SECOND = 1_000_000_000
NODE, GROUP = uid(2, 1), uid(3, 1)
REBOOT, REBUILD, RECREATE = Operation
ALL = Chain(operations=(REBOOT, REBUILD, RECREATE), patience=10.0)
IN_PLACE = Chain(operations=(REBOOT, REBUILD), patience=10.0)


def one(status=WorkerStatus.ERROR, node=NODE, **fields):
    return worker(1, GROUP, 1, node, status, **fields)


def begun(chain=IN_PLACE):
    return first_step(chain, one(), NOW).recovery


def test_the_first_operation_is_the_first_of_the_chain():
    step = first_step(ALL, one(digest="old"), NOW)
    assert step.operation is REBOOT
    assert step.recovery == Recovery(worker_oid=uid(4, 1), step=0, since=NOW, before="old")


@pytest.mark.parametrize(
    ("found", "reason"),
    [(one(WorkerStatus.UNREACHABLE), "its node is silent"), (one(WorkerStatus.PENDING, None), "it has no place")],
)
def test_nothing_is_done_in_a_place_that_is_none(found, reason):
    step = first_step(ALL, found, NOW)
    assert (step.operation, step.recovery.step) == (RECREATE, 2)
    assert step.recovery.tried == (f"REBOOT: {reason}", f"REBUILD: {reason}")
    over = first_step(IN_PLACE, found, NOW)
    assert (over.operation, over.recovery.given_up) == (None, True)
    assert describe(over.recovery) == f"REBOOT: {reason}; REBUILD: {reason}"


def test_a_protected_worker_is_not_recreated():
    step = first_step(ALL, one(WorkerStatus.UNREACHABLE, protected=True), NOW)
    assert (step.operation, step.recovery.tried[-1]) == (None, "RECREATE: it is protected")


def test_it_is_waited_for_until_it_is_too_late():
    old = one(WorkerStatus.RUNNING)
    assert is_under_way(begun(), old)
    assert next_step(IN_PLACE, begun(), old, NOW + 10 * SECOND - 1) is None
    step = next_step(IN_PLACE, begun(), old, NOW + 10 * SECOND)
    assert (step.operation, step.recovery.since, step.recovery.tried) == (
        REBUILD,
        NOW + 10 * SECOND,
        ("REBOOT: it did not run within 10 s",),
    )
    assert late_at(IN_PLACE, begun()) == NOW + 10 * SECOND


def test_one_that_runs_with_what_it_was_given_has_not_failed_however_late_it_is():
    back = one(WorkerStatus.RUNNING, digest="new", seen_digest="new")
    assert not is_under_way(begun(), back)
    assert next_step(IN_PLACE, begun(), back, NOW + 100 * SECOND) is None


@pytest.mark.parametrize("failures", range(5))
def test_failures_count_when_they_are_of_what_it_was_given(failures):
    found = one(digest="new", failures=failures, reason="exited with code 3")
    step = next_step(IN_PLACE, begun(), found, NOW)
    assert (step is None) == (failures < 3)
    assert next_step(IN_PLACE, begun(), msgspec.structs.replace(found, digest="d"), NOW) is None
    if step is not None:
        assert step.recovery.tried == ("REBOOT: exited with code 3",)
        unsaid = next_step(IN_PLACE, begun(), msgspec.structs.replace(found, reason=None), NOW)
        assert unsaid.recovery.tried == (f"REBOOT: it failed {failures} times in a row",)


def test_what_it_said_last_is_said_when_it_is_too_late():
    found = one(digest="new", reason="its image is fetched")
    step = next_step(IN_PLACE, begun(), found, NOW + 10 * SECOND)
    assert step.recovery.tried == ("REBOOT: it did not run within 10 s: its image is fetched",)
    for status, seen in ((WorkerStatus.RUNNING, "d"), (WorkerStatus.STARTING, "new")):
        other = one(status, digest="new", seen_digest=seen)
        assert next_step(IN_PLACE, begun(), other, NOW + 10 * SECOND - 1) is None
        assert next_step(IN_PLACE, begun(), other, NOW + 10 * SECOND).operation is REBUILD


def test_what_has_no_place_is_what_it_was():
    assert is_under_way(begun(), one(digest=None))
    assert is_under_way(begun(), one(digest="d"))
    assert not is_under_way(begun(), one(digest="e"))


def test_a_chain_that_is_over_ends_at_its_last_operation():
    over = first_step(ALL, one(WorkerStatus.PENDING, None, protected=True), NOW).recovery
    assert (over.step, over.given_up, len(over.tried), over.since) == (2, True, 3, NOW)


def test_a_node_that_falls_silent_ends_what_was_begun_there_but_not_a_new_start():
    lost = one(WorkerStatus.UNREACHABLE)
    step = next_step(ALL, begun(ALL), lost, NOW)
    assert step.operation is RECREATE
    assert step.recovery.tried == ("REBOOT: its node is silent", "REBUILD: its node is silent")
    last = msgspec.structs.replace(begun(ALL), step=2)
    assert next_step(ALL, last, lost, NOW) is None


def test_what_was_given_up_stays_given_up():
    over = first_step(IN_PLACE, one(WorkerStatus.UNREACHABLE), NOW).recovery
    assert next_step(IN_PLACE, over, one(), NOW + 1000 * SECOND) is None
    assert describe(Recovery(worker_oid=uid(4, 1), step=0, since=NOW)) == "nothing could be done about it"


@given(
    chain=st.builds(
        Chain,
        operations=st.lists(st.sampled_from(Operation), min_size=1, max_size=8).map(tuple),
        patience=st.floats(1, 100),
    ),
    status=st.sampled_from(WorkerStatus),
    placed=st.booleans(),
)
def test_every_chain_comes_to_an_end(chain, status, placed):
    """Whatever a worker does, so long as it does not run, each operation is tried once, in order."""
    found = one(status, NODE if placed else None)
    step, now, done = first_step(chain, found, NOW), NOW, []
    while step.operation is not None:
        done.append(step.recovery.step)
        now = late_at(chain, step.recovery)
        assert next_step(chain, step.recovery, found, now - 1) is None
        step = next_step(chain, step.recovery, found, now)
    assert done == sorted(set(done))
    assert step.recovery.given_up
    assert len(step.recovery.tried) == len(chain.operations)


def test_what_more_is_wanted_of_a_worker_is_not_what_it_was_given():
    before = one(digest="old", generation=2, rebuilds=1, kills=3, adopts={"pid": 7})
    wanted = msgspec.structs.replace(
        before, generation=3, rebuilds=2, kills=4, adopts=None, reason="since", given=given_of(before)
    )
    assert as_given(before) == before
    assert as_given(wanted) == msgspec.structs.replace(before, reason="since", given=wanted.given)


def test_what_a_worker_was_given_first_stays_that_however_often_more_is_wanted():
    wanted = one(digest="old", generation=2, given=given_of(one(digest="old", generation=1)))
    assert given_of(wanted) == wanted.given
    assert given_of(one(digest=None, generation=1)) is None
