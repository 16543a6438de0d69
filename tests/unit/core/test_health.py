import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.core.health import WANTED, cluster_reason, cluster_status, state_of
from controlplane.records.clusters import ClusterStatus
from controlplane.records.workers import WorkerStatus
from tests.strategies import uid, worker

S = ClusterStatus


@pytest.mark.parametrize(
    ("run", "ready", "counts", "desired", "status"),
    [
        (False, None, {}, 0, S.STOPPED),
        (False, None, {"STOPPED": 3}, 3, S.STOPPED),
        (False, 1, {"STOPPED": 2, "STOPPING": 1}, 3, S.STOPPING),
        (True, None, {}, 0, S.RUNNING),
        (True, None, {}, 3, S.STARTING),
        (True, None, {"NEW": 2, "RUNNING": 1}, 3, S.STARTING),
        (True, None, {"ERROR": 1, "NEW": 2}, 3, S.STARTING),
        (True, None, {"STARTING": 1, "RUNNING": 2}, 3, S.STARTING),
        (True, None, {"STARTING": 1, "ERROR": 2}, 3, S.STARTING),
        (True, None, {"RUNNING": 1, "ERROR": 1}, 3, S.STARTING),
        (True, None, {"NEW": 1, "ERROR": 1}, 3, S.STARTING),
        (True, None, {"PENDING": 3}, 3, S.STARTING),
        (True, None, {"UNREACHABLE": 3}, 3, S.STARTING),
        (True, None, {"RUNNING": 1, "UNREACHABLE": 2}, 3, S.DEGRADED),
        (True, None, {"RUNNING": 1, "ERROR": 2}, 3, S.DEGRADED),
        (True, None, {"ERROR": 2, "UNREACHABLE": 1}, 3, S.ERROR),
        (True, None, {"RUNNING": 2, "PENDING": 1}, 3, S.DEGRADED),
        (True, None, {"ERROR": 3}, 3, S.ERROR),
        (True, None, {"ERROR": 2, "PENDING": 1}, 3, S.ERROR),
        (True, None, {"RUNNING": 3}, 3, S.RUNNING),
        (True, 1, {"RUNNING": 3, "STOPPING": 2}, 3, S.RUNNING),
        (True, 1, {"RUNNING": 3, "NEW": 2}, 5, S.RUNNING),
        (True, 1, {"RUNNING": 3}, 5, S.RUNNING),
        (True, 1, {"RUNNING": 2, "STARTING": 1}, 3, S.DEGRADED),
        (True, 1, {"RUNNING": 2, "UNREACHABLE": 1}, 3, S.DEGRADED),
        (True, 1, {"UNREACHABLE": 3}, 3, S.DEGRADED),
        (True, 1, {"ERROR": 3}, 3, S.ERROR),
        (True, 1, {"ERROR": 2, "STARTING": 1}, 3, S.DEGRADED),
        (True, 1, {"ERROR": 2, "NEW": 1}, 3, S.DEGRADED),
        (True, 1, {"ERROR": 2}, 3, S.DEGRADED),
        (True, 1, {"ERROR": 2, "RUNNING": 1}, 3, S.DEGRADED),
        (True, 1, {"ERROR": 2, "PENDING": 1}, 3, S.ERROR),
        (True, 1, {"RUNNING": 2, "PENDING": 1}, 3, S.DEGRADED),
        (True, 1, {"ERROR": 1, "STOPPED": 2}, 1, S.ERROR),
    ],
)
def test_status(run, ready, counts, desired, status):
    assert cluster_status(run, ready, counts, desired) is status


COUNTS = st.dictionaries(st.sampled_from([*WANTED, "STOPPING", "STOPPED"]), st.integers(1, 5))


@given(st.none() | st.just(1), COUNTS, st.integers(0, 10))
def test_running_is_never_said_of_a_cluster_with_a_worker_hurt_or_of_a_start_that_is_not_over(ready, counts, desired):
    status = cluster_status(True, ready, counts, desired)
    running = counts.get("RUNNING", 0)
    if status is S.RUNNING and running < desired:
        assert ready is not None
        assert not {"PENDING", "STARTING", "UNREACHABLE", "ERROR"} & counts.keys()
    if running >= desired:
        assert status is S.RUNNING


@given(COUNTS)
def test_a_cluster_that_is_not_wanted_is_stopped_only_when_nothing_is_left(counts):
    stopped = cluster_status(False, None, counts, 5) is S.STOPPED
    assert stopped is (not counts.keys() - {"STOPPED"})


def test_reasons():
    assert cluster_reason({"RUNNING": 3}, 3) is None
    assert cluster_reason({"RUNNING": 1, "ERROR": 1, "PENDING": 2}, 4) == (
        "1 of 4 workers run; 1 failed, 2 without a place"
    )
    assert cluster_reason({"NEW": 1, "STARTING": 2, "UNREACHABLE": 3}, 6) == (
        "0 of 6 workers run; 3 unreachable, 2 starting again, 1 starting"
    )
    assert cluster_reason({"RUNNING": 1}, 2) == "1 of 2 workers run"
    assert cluster_reason({}, 1) == "0 of 1 workers run"
    assert cluster_reason({}, 0) is None


@pytest.mark.parametrize(
    ("status", "fresh", "word"),
    [
        (WorkerStatus.STARTING, True, "NEW"),
        (WorkerStatus.STARTING, False, "STARTING"),
        (WorkerStatus.PENDING, True, "PENDING"),
        (WorkerStatus.RUNNING, False, "RUNNING"),
        (WorkerStatus.STOPPED, False, "STOPPED"),
    ],
)
def test_a_worker_that_never_ran_in_its_place_is_counted_apart_from_one_that_starts_again(status, fresh, word):
    assert state_of(worker(1, None, 0, uid(2, 1), status, fresh=fresh)) == word
