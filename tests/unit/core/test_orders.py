"""What is to be done about an order: every status of the order against every state of the worker and its node."""

from itertools import product
from uuid import UUID

import msgspec
import pytest

from controlplane.core.orders import Act, next_step, pause_after
from controlplane.records.nodes import Node
from controlplane.records.orders import Order, OrderStatus
from controlplane.records.types import NANOSECONDS
from controlplane.records.workers import Want, Worker, WorkerStatus

NOW = 1_000 * NANOSECONDS
GRACE_S = 10.0
BOOT, OTHER = UUID(int=8), UUID(int=9)
NODE = Node(
    oid=UUID(int=3), authid="edge", pubkey="ab" * 32, created=0, changed=0, since=NOW - 5 * NANOSECONDS, online=True,
    boot=BOOT,
)  # fmt: skip
WORKER = Worker(
    oid=UUID(int=4), cluster_oid=UUID(int=5), workergroup_oid=UUID(int=6), index=0, created=0, changed=0,
    node_oid=NODE.oid, status=WorkerStatus.RUNNING,
)  # fmt: skip
ORDER = Order(
    oid=UUID(int=1), action_oid=UUID(int=2), cluster_oid=UUID(int=5), worker_oid=WORKER.oid, begun=NOW
)  # fmt: skip
SENT = msgspec.structs.replace(ORDER, status=OrderStatus.SENT, node_oid=NODE.oid, boot=BOOT, sent=NOW, tries=1)


def step(order=ORDER, worker=WORKER, node=NODE, now=NOW):
    return next_step(order, worker, node, GRACE_S, now)


def but(record, **fields):
    return msgspec.structs.replace(record, **fields)


def test_an_agent_that_is_there_is_told_about_a_worker_that_runs():
    assert step() == (Act.TELL, None, None)


@pytest.mark.parametrize("status", [each for each in WorkerStatus if each is not WorkerStatus.RUNNING])
def test_a_worker_that_does_not_run_fails_and_says_why(status):
    assert step(worker=but(WORKER, status=status)) == (Act.FAIL, f"it does not run: it is {status.value}", None)
    told = step(worker=but(WORKER, status=status, reason="no room"))
    assert told.reason == f"it does not run: it is {status.value} (no room)"


@pytest.mark.parametrize("worker", [None, but(WORKER, want=Want.REMOVE), but(WORKER, want=Want.STOP)])
def test_a_worker_on_its_way_out_fails(worker):
    assert step(worker=worker) == (Act.FAIL, "it is on its way out", None)


@pytest.mark.parametrize("node", [None, but(NODE, online=False), but(NODE, boot=None)])
def test_a_silent_node_is_not_waited_for_before_it_was_told(node):
    assert step(node=node) == (Act.FAIL, "its node is silent", None)


def test_an_agent_that_was_told_is_told_again_only_after_a_pause():
    again = NOW + 2 * NANOSECONDS
    assert step(SENT) == (Act.WAIT, None, again)
    assert step(SENT, now=again - 1) == (Act.WAIT, None, again)
    assert step(SENT, now=again) == (Act.TELL, None, None)


def test_pauses_grow_to_a_bound():
    assert [pause_after(tries) for tries in range(8)] == [2, 2, 4, 8, 16, 32, 60, 60]
    assert pause_after(10**9) == 60


@pytest.mark.parametrize(("status", "online"), list(product(WorkerStatus, [True, False])))
def test_another_run_of_the_agent_is_never_told_whatever_the_worker_does(status, online):
    worker = but(WORKER, status=status)
    for node in (but(NODE, boot=OTHER, online=online), but(NODE, boot=None, online=online), None):
        found = step(SENT, worker, node, now=NOW + 10**15)
        assert found == (Act.GIVE_UP, "its agent was started anew before it said what came of it", None)


def test_a_node_that_is_silent_is_waited_for_and_then_given_up():
    silent = but(NODE, online=False)
    lost = silent.since + int(GRACE_S * NANOSECONDS)
    assert step(SENT, node=silent, now=lost - 1) == (Act.WAIT, None, lost)
    found = step(SENT, node=silent, now=lost)
    assert found == (Act.GIVE_UP, "its node was lost before it said what came of it", None)


def test_what_was_told_is_heard_of_also_when_the_worker_is_gone():
    assert step(SENT, worker=None).act is Act.WAIT
