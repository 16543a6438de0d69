"""When a worker of a silent node cannot run there any more."""

import msgspec
import pytest

from controlplane.core.fencing import gone_at, may_still_run
from controlplane.records.clusters import Cluster
from controlplane.records.nodes import Node
from controlplane.records.workers import WorkerStatus
from tests.strategies import CLUSTER, NOW, uid, worker

SECOND = 1_000_000_000
FENCED = Cluster(oid=CLUSTER, name="shop", created=0, changed=0, fence_after=20.0)
FREE = msgspec.structs.replace(FENCED, fence_after=None)
SILENT = Node(oid=uid(2, 1), authid="node1", pubkey="", created=0, changed=0, online=False, since=NOW)


def one(fence_after):
    return worker(1, uid(3, 1), 1, SILENT.oid, WorkerStatus.UNREACHABLE, fence_after=fence_after)


@pytest.mark.parametrize(("told", "seconds"), [(20.0, 30), (5.0, 30), (60.0, 70)])
def test_it_is_gone_ten_seconds_after_the_longer_of_what_was_told_and_what_is_to_be(told, seconds):
    after = NOW + seconds * SECOND
    assert gone_at(FENCED, one(told), SILENT) == after
    assert may_still_run(FENCED, one(told), SILENT, after - 1)
    assert not may_still_run(FENCED, one(told), SILENT, after)


def test_who_never_said_that_it_kills_may_run_for_ever():
    assert gone_at(FENCED, one(None), SILENT) is None
    assert may_still_run(FENCED, one(None), SILENT, NOW + 10**9 * SECOND)


def test_what_can_be_seen_is_gone_or_is_not_fenced_is_no_question():
    assert not may_still_run(FREE, one(20.0), SILENT, NOW)
    assert not may_still_run(FENCED, one(20.0), msgspec.structs.replace(SILENT, online=True), NOW)
    assert not may_still_run(FENCED, one(20.0), None, NOW)
    assert gone_at(FREE, one(20.0), SILENT) is None
