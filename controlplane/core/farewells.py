"""Workers that are to go and wait for something first: how long, and when there is no use in waiting."""

from collections.abc import Iterable
from typing import Any

import msgspec

from controlplane.core.placement import is_lost
from controlplane.records.actions import WORKERS_LISTED_MAX, Outputs
from controlplane.records.lifecycle import Farewell, HookedDeletionPolicy, Leaving, Waited, WaitEnd, WebhookHook
from controlplane.records.nodes import Node
from controlplane.records.types import NANOSECONDS, Instant, Oid, Seconds
from controlplane.records.workers import Worker, WorkerStatus

SERVING = frozenset({WorkerStatus.RUNNING, WorkerStatus.UNREACHABLE})
"""One that does not run has nothing to end in order."""

PROBLEM_LENGTH_MAX = 200
NO_ANSWER = "no answer had come by then"


def farewell_of(rules: Iterable[Any], token: Oid, now: Instant) -> Farewell | None:
    """Return what a worker waits for before it goes, as the deletion policy of its cluster says; None for nothing."""
    rule = next((each for each in rules if isinstance(each, HookedDeletionPolicy)), None)
    if rule is None or (rule.hooks is None and rule.grace_period <= 0):
        return None
    wait = rule.grace_period if rule.hooks is None else rule.hooks.timeout
    return Farewell(
        token=token,
        begun=now,
        until=now + int(wait * NANOSECONDS),
        grace_period=0.0 if rule.hooks is None else rule.grace_period,
        waiting=rule.hooks is not None,
        url=rule.hooks.params.url if isinstance(rule.hooks, WebhookHook) else None,
    )


def waiting_of(workers: Iterable[Worker]) -> tuple[Leaving, ...]:
    """Return which of these workers wait for something before they go."""
    return tuple(
        Leaving(
            worker_oid=worker.oid,
            token=worker.farewell.token,
            until=worker.farewell.until,
            waiting=worker.farewell.waiting,
            told=worker.farewell.told is not None,
            problem=worker.farewell.problem,
        )
        for worker in workers
        if worker.farewell is not None
    )


def completed(farewell: Farewell, now: Instant, end: WaitEnd = WaitEnd.COMPLETED) -> Farewell:
    """Return what is left of a farewell when somebody has said that the worker may go, or has not in time."""
    if not farewell.waiting:
        return farewell
    until = now + int(farewell.grace_period * NANOSECONDS)
    return msgspec.structs.replace(farewell, waiting=False, until=until, end=end)


def next_farewell(worker: Worker, node: Node | None, grace_period: Seconds, now: Instant) -> Farewell | None:
    """Return what a worker that is to go waits for now, or None when it goes."""
    farewell = worker.farewell
    if farewell is None or worker.status not in SERVING or is_lost(node, grace_period, now):
        return None
    if now < farewell.until:
        return farewell
    rest = completed(farewell, farewell.until, WaitEnd.TIMED_OUT)
    return rest if now < rest.until else None


def waited(worker: Worker, farewell: Farewell, otherwise: WaitEnd) -> Waited:
    """Return how the wait for a worker ended that waits no more: `otherwise`, unless it was over before."""
    return Waited(
        worker_oid=worker.oid,
        token=farewell.token,
        end=farewell.end or (otherwise if farewell.waiting else WaitEnd.GRACE_ONLY),
        told=None if farewell.url is None else farewell.told is not None,
        problem=None if farewell.url is None or farewell.told else farewell.problem or NO_ANSWER,
    )


def why_over(worker: Worker, node: Node | None, grace_period: Seconds, now: Instant, *, run: bool) -> WaitEnd:
    """Return why a worker is waited for no more of which nobody said that it may go, in a cluster that is to `run`."""
    if not run:
        return WaitEnd.CUT_SHORT
    lost = worker.status not in SERVING or is_lost(node, grace_period, now)
    return WaitEnd.LOST if lost else WaitEnd.TIMED_OUT


def with_waited(outputs: Outputs, found: Iterable[Waited]) -> Outputs:
    """Return the outputs of an action with some more of the workers that it waited for, as far as they are listed."""
    return msgspec.structs.replace(outputs, waited=(*outputs.waited, *found)[:WORKERS_LISTED_MAX])


def untold(farewell: Farewell, problem: str) -> Farewell:
    """Return a farewell of which the webhook was not answered well, in few words and without its address."""
    shown = problem.removeprefix(f"{farewell.url} ")[:PROBLEM_LENGTH_MAX]
    return msgspec.structs.replace(farewell, problem=shown)
