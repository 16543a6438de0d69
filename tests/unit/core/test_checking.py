"""What is known of workers before and after their agents were asked."""

import pytest

from controlplane.core.checking import (
    ANSWER_MARGIN_S,
    CHECK_LIMIT_MAX_S,
    LOOK_LIMIT_S,
    LOOKS_PARALLEL_MAX,
    check_limit,
    findings,
    questions_about,
)
from controlplane.records.nodes import Node
from controlplane.records.recoveries import Checked
from controlplane.records.workers import Want, WorkerStatus
from tests.strategies import uid, worker

GROUP = uid(3, 1)
HERE, AWAY = (
    Node(oid=uid(2, n), authid=f"node{n}", pubkey="", created=0, online=n == 1, since=0, changed=0) for n in (1, 2)
)
NODES = {node.oid: node for node in (HERE, AWAY)}
GOOD = Checked(well=True, started=5)


def one(number=1, node=HERE, status=WorkerStatus.RUNNING, **fields):
    return worker(number, GROUP, number, None if node is None else node.oid, status, **fields)


@pytest.mark.parametrize("status", WorkerStatus)
def test_agents_are_asked_of_what_may_run_on_nodes_that_are_there(status):
    may_run = status in (WorkerStatus.STARTING, WorkerStatus.RUNNING, WorkerStatus.ERROR)
    assert bool(questions_about([one(status=status)], NODES)) == may_run
    assert questions_about([one(status=status, want=Want.STOP)], NODES) == {}
    assert questions_about([one(node=AWAY, status=status)], NODES) == {}
    assert questions_about([one(status=status)], {}) == {}


def test_questions_are_put_node_by_node():
    first, second = one(1), one(2)
    assert questions_about([first, one(3, AWAY), second], NODES) == {HERE.oid: [first, second]}


def test_who_says_nothing_is_not_well():
    lost = one(3, AWAY, WorkerStatus.UNREACHABLE)
    homeless = one(4, None, WorkerStatus.PENDING, reason="no place: full")
    found = findings([one(1), one(2), lost, homeless, one(5, want=Want.REMOVE)], NODES, {HERE.oid: {uid(4, 1): GOOD}})
    assert [(each.worker_oid, each.checked.well, each.asked, each.checked.reason) for each in found] == [
        (uid(4, 1), True, True, None),
        (uid(4, 2), False, False, "the agent of its node node1 did not say how it is"),
        (uid(4, 3), False, False, "its node node2 is silent"),
        (uid(4, 4), False, False, "no place: full"),
    ]


def test_a_check_takes_longer_with_more_workers_but_never_for_ever():
    assert check_limit(1) == check_limit(LOOKS_PARALLEL_MAX) == LOOK_LIMIT_S + ANSWER_MARGIN_S
    assert check_limit(LOOKS_PARALLEL_MAX + 1) == 2 * LOOK_LIMIT_S + ANSWER_MARGIN_S
    assert check_limit(0) == ANSWER_MARGIN_S
    assert check_limit(10**6) == CHECK_LIMIT_MAX_S


def test_who_is_paused_is_not_asked_and_is_well_while_its_node_is_there():
    paused = one(1, paused=True)
    gone = one(2, AWAY, WorkerStatus.UNREACHABLE, paused=True)
    assert questions_about([paused, gone], NODES) == {}
    found = findings([paused, gone], NODES, {})
    assert [(each.checked.well, each.asked) for each in found] == [(True, False), (False, False)]
