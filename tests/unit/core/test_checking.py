"""What is known of workers before and after their agents were asked."""

import pytest

from controlplane.core.checking import check_limit, findings, questions_about
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
    assert [check_limit(number) for number in (0, 1, 32, 33, 64, 65)] == [3.0, 8.0, 8.0, 13.0, 13.0, 18.0]
    assert [check_limit(number) for number in (352, 353, 10**6)] == [58.0, 60.0, 60.0]


def test_who_has_no_place_says_why_if_it_can():
    homeless = [one(1, None, WorkerStatus.PENDING), one(2, None, WorkerStatus.PENDING, reason="full"), one(3)]
    said = [each.checked.reason for each in findings(homeless, {}, {})]
    assert said == [
        "it has no place",
        "full",
        "it has no place",
    ]


def test_the_first_who_is_not_wanted_hides_nobody_behind_it():
    assert [each.worker_oid for each in findings([one(1, want=Want.STOP), one(2)], NODES, {})] == [uid(4, 2)]
    assert questions_about([one(1, want=Want.STOP), one(3, AWAY), one(2)], NODES) == {HERE.oid: [one(2)]}


def test_who_is_paused_is_not_asked_and_is_well_while_its_node_is_there():
    paused = one(1, paused=True)
    gone = one(2, AWAY, WorkerStatus.UNREACHABLE, paused=True)
    assert questions_about([paused, gone], NODES) == {}
    found = findings([paused, gone], NODES, {})
    said = [(each.worker_oid, each.checked.well, each.asked) for each in found]
    assert said == [(uid(4, 1), True, False), (uid(4, 2), False, False)]
