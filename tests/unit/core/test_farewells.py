"""How long workers wait before they go."""

from uuid import UUID

import msgspec
import pytest

from controlplane.core.farewells import (
    NO_ANSWER,
    PROBLEM_LENGTH_MAX,
    completed,
    farewell_of,
    next_farewell,
    untold,
    waited,
    waiting_of,
    with_waited,
)
from controlplane.records.actions import WORKERS_LISTED_MAX, Outputs
from controlplane.records.lifecycle import EventHook, HookedDeletionPolicy, WaitEnd, WebhookHook, WebhookParams
from controlplane.records.nodes import Node
from controlplane.records.policies import AffinityPolicy, DeletionPolicy
from controlplane.records.types import NANOSECONDS
from controlplane.records.workers import Worker, WorkerStatus

NOW = 1_000 * NANOSECONDS
TOKEN = UUID(int=7)
URL = "http://host/bye"
NODE = Node(oid=UUID(int=3), authid="edge", pubkey="ab" * 32, created=0, changed=0, since=NOW, online=True)
WORKER = Worker(
    oid=UUID(int=4), cluster_oid=UUID(int=5), workergroup_oid=UUID(int=6), index=0, created=0, changed=0,
    node_oid=NODE.oid, status=WorkerStatus.RUNNING,
)  # fmt: skip


def after(seconds: float) -> int:
    return NOW + int(seconds * NANOSECONDS)


def wait(rule):
    return farewell_of([AffinityPolicy(), rule], TOKEN, NOW)


def at(farewell, now, status=WorkerStatus.RUNNING, node=NODE):
    worker = msgspec.structs.replace(WORKER, farewell=farewell, status=status)
    return next_farewell(worker, node, 10.0, now)


@pytest.mark.parametrize("rule", [DeletionPolicy(), HookedDeletionPolicy(), AffinityPolicy()])
def test_without_a_hook_and_without_grace_nothing_is_waited_for(rule):
    assert wait(rule) is None


def test_a_grace_period_alone_is_only_time():
    assert wait(HookedDeletionPolicy(grace_period=0.5)).until == after(0.5)
    found = wait(HookedDeletionPolicy(grace_period=5))
    assert (found.waiting, found.until, found.grace_period, found.url) == (False, after(5), 0.0, None)
    assert at(found, after(5) - 1) == found
    assert at(found, after(5)) is None
    assert completed(found, NOW) == found


def test_a_hook_is_waited_for_and_the_grace_period_follows():
    found = wait(HookedDeletionPolicy(grace_period=5, hooks=EventHook(timeout=20)))
    assert (found.token, found.begun, found.waiting, found.until, found.url) == (TOKEN, NOW, True, after(20), None)
    said = completed(found, after(3))
    assert (said.waiting, said.until) == (False, after(8))
    assert at(said, after(8) - 1) == said
    assert at(said, after(8)) is None


def test_a_hook_that_nobody_answers_ends_by_itself_and_the_grace_period_follows():
    found = wait(HookedDeletionPolicy(grace_period=5, hooks=EventHook(timeout=20)))
    assert at(found, after(20) - 1) == found
    rest = at(found, after(20))
    assert (rest.waiting, rest.until) == (False, after(25))
    assert at(found, after(25) - 1) == rest
    assert at(found, after(25)) is None


def test_without_a_grace_period_it_goes_with_the_word():
    found = wait(HookedDeletionPolicy(hooks=EventHook(timeout=20)))
    assert at(completed(found, after(3)), after(3)) is None
    assert at(found, after(20)) is None


def test_a_webhook_has_an_address():
    found = wait(HookedDeletionPolicy(hooks=WebhookHook(timeout=1, params=WebhookParams(url=URL))))
    assert (found.url, found.told) == (URL, None)


@pytest.mark.parametrize("status", WorkerStatus)
def test_only_what_runs_is_waited_for(status):
    found = wait(HookedDeletionPolicy(hooks=EventHook()))
    waits = status in (WorkerStatus.RUNNING, WorkerStatus.UNREACHABLE)
    assert (at(found, NOW, status) is not None) == waits


def test_a_node_that_is_lost_is_not_waited_for():
    found = wait(HookedDeletionPolicy(hooks=EventHook()))
    silent = msgspec.structs.replace(NODE, online=False)
    assert at(found, after(9), WorkerStatus.UNREACHABLE, silent) == found
    assert at(found, after(10), WorkerStatus.UNREACHABLE, silent) is None
    assert at(found, NOW, node=None) is None


def test_one_that_does_not_go_waits_for_nothing():
    assert at(None, NOW) is None


def test_who_waits_is_shown():
    found = wait(HookedDeletionPolicy(hooks=EventHook(timeout=20)))
    told = msgspec.structs.replace(found, told=NOW)
    shown = waiting_of([WORKER, *(msgspec.structs.replace(WORKER, farewell=each) for each in (found, told))])
    assert [(each.worker_oid, each.token, each.until, each.waiting, each.told) for each in shown] == [
        (WORKER.oid, TOKEN, after(20), True, False),
        (WORKER.oid, TOKEN, after(20), True, True),
    ]


def over(farewell, otherwise=WaitEnd.TIMED_OUT):
    found = waited(WORKER, farewell, otherwise)
    assert (found.worker_oid, found.token) == (WORKER.oid, TOKEN)
    return found.end, found.told, found.problem


@pytest.mark.parametrize("otherwise", [WaitEnd.TIMED_OUT, WaitEnd.LOST, WaitEnd.CUT_SHORT])
def test_how_a_wait_ended_is_what_came_first(otherwise):
    asked = wait(HookedDeletionPolicy(grace_period=5, hooks=EventHook(timeout=20)))
    assert over(asked, otherwise) == (otherwise, None, None)
    assert over(completed(asked, NOW), otherwise) == (WaitEnd.COMPLETED, None, None)
    assert over(at(asked, after(20)), otherwise) == (WaitEnd.TIMED_OUT, None, None)
    assert over(wait(HookedDeletionPolicy(grace_period=5)), otherwise) == (WaitEnd.GRACE_ONLY, None, None)


def test_of_a_webhook_it_is_said_what_was_wrong_with_the_last_call():
    asked = wait(HookedDeletionPolicy(hooks=WebhookHook(params=WebhookParams(url=URL))))
    assert over(asked) == (WaitEnd.TIMED_OUT, False, NO_ANSWER)
    refused = untold(asked, f"{URL} answered with 500")
    assert over(refused) == (WaitEnd.TIMED_OUT, False, "answered with 500")
    assert over(msgspec.structs.replace(refused, told=NOW)) == (WaitEnd.TIMED_OUT, True, None)
    assert len(untold(asked, "it is away" * 1_000).problem) == PROBLEM_LENGTH_MAX


def test_an_action_lists_as_many_that_it_has_waited_for_as_workers_of_other_kinds():
    one = waited(WORKER, wait(HookedDeletionPolicy(hooks=EventHook())), WaitEnd.LOST)
    some = with_waited(Outputs(), [one] * 3)
    assert len(some.waited) == 3
    assert len(with_waited(some, [one] * WORKERS_LISTED_MAX).waited) == WORKERS_LISTED_MAX
