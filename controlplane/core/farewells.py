"""Workers that are to go and wait for something first: how long, and when there is no use in waiting."""

from collections.abc import Iterable
from typing import Any

import msgspec

from controlplane.core.placement import is_lost
from controlplane.records.lifecycle import Farewell, HookedDeletionPolicy, Leaving, WebhookHook
from controlplane.records.nodes import Node
from controlplane.records.types import NANOSECONDS, Instant, Oid, Seconds
from controlplane.records.workers import Worker, WorkerStatus

SERVING = frozenset({WorkerStatus.RUNNING, WorkerStatus.UNREACHABLE})
"""One that does not run has nothing to end in order."""


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
        )
        for worker in workers
        if worker.farewell is not None
    )


def completed(farewell: Farewell, now: Instant) -> Farewell:
    """Return what is left of a farewell when somebody has said that the worker may go, or has not in time."""
    if not farewell.waiting:
        return farewell
    until = now + int(farewell.grace_period * NANOSECONDS)
    return msgspec.structs.replace(farewell, waiting=False, until=until)


def next_farewell(worker: Worker, node: Node | None, grace_period: Seconds, now: Instant) -> Farewell | None:
    """Return what a worker that is to go waits for now, or None when it goes."""
    farewell = worker.farewell
    if farewell is None or worker.status not in SERVING or is_lost(node, grace_period, now):
        return None
    if now < farewell.until:
        return farewell
    rest = completed(farewell, farewell.until)
    return rest if now < rest.until else None
