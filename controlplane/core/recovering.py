"""What becomes of workers that are being brought back: pure functions from an operation to the next one.

Operations stand in a chain. One that cannot be carried out, or after which the worker does not run in time, is followed
by the next; when none is left, the worker has failed.
"""

from typing import NamedTuple

import msgspec

from controlplane.records.recoveries import Chain, Operation, Recovery
from controlplane.records.types import NANOSECONDS, Instant
from controlplane.records.workers import Given, Worker, WorkerStatus

FAILURES_MAX = 3
"""In a row: after so many a worker is not waited for."""


class Step(NamedTuple):
    """What to do next about a worker, or that nothing is left to be done."""

    operation: Operation | None
    recovery: Recovery


def first_step(chain: Chain, worker: Worker, now: Instant) -> Step:
    """Return with which operation to begin."""
    return _from(chain, Recovery(worker_oid=worker.oid, step=0, since=now), worker, now)


def next_step(chain: Chain, recovery: Recovery, worker: Worker, now: Instant) -> Step | None:
    """Return what to do after an operation that has failed; None while it has not."""
    reason = None if recovery.given_up else _failure(chain, recovery, worker, now)
    if reason is None:
        return None
    said = f"{chain.operations[recovery.step].value}: {reason}"
    return _from(chain, _after(recovery, said), worker, now)


def is_under_way(recovery: Recovery, worker: Worker) -> bool:
    """Say whether what runs of a worker is still what ran before it was to be brought back."""
    return worker.digest is None or worker.digest == recovery.before


def late_at(chain: Chain, recovery: Recovery) -> Instant:
    """Return when an operation has failed for lack of time."""
    return recovery.since + int(chain.patience * NANOSECONDS)


def describe(recovery: Recovery) -> str:
    """Return in words why a worker could not be brought back."""
    return "; ".join(recovery.tried) or "nothing could be done about it"


def _failure(chain: Chain, recovery: Recovery, worker: Worker, now: Instant) -> str | None:
    if worker.status is WorkerStatus.UNREACHABLE and chain.operations[recovery.step] is not Operation.RECREATE:
        return "its node is silent"
    if not is_under_way(recovery, worker):
        if worker.failures >= FAILURES_MAX:
            return worker.reason or f"it failed {worker.failures} times in a row"
        if worker.status is WorkerStatus.RUNNING and worker.seen_digest == worker.digest:
            return None
    if now >= late_at(chain, recovery):
        return f"it did not run within {chain.patience:g} s" + (f": {worker.reason}" if worker.reason else "")
    return None


def _from(chain: Chain, recovery: Recovery, worker: Worker, now: Instant) -> Step:
    """Return the first operation from here on that can be carried out."""
    while recovery.step < len(chain.operations):
        operation = chain.operations[recovery.step]
        obstacle = _obstacle(operation, worker)
        if obstacle is None:
            return Step(operation, msgspec.structs.replace(recovery, since=now, before=worker.digest))
        recovery = _after(recovery, f"{operation.value}: {obstacle}")
    return Step(None, msgspec.structs.replace(recovery, step=len(chain.operations) - 1, given_up=True))


def _after(recovery: Recovery, said: str) -> Recovery:
    return msgspec.structs.replace(recovery, step=recovery.step + 1, tried=(*recovery.tried, said))


def _obstacle(operation: Operation, worker: Worker) -> str | None:
    """Return why something cannot be done about a worker."""
    if operation is Operation.RECREATE:
        return "it is protected" if worker.protected else None
    if worker.node_oid is None:
        return "it has no place"
    if worker.status is WorkerStatus.UNREACHABLE:
        return "its node is silent"
    return None


def given_of(worker: Worker) -> Given | None:
    """Return what a worker goes on with, although more is wanted of it, until its turn comes to be changed."""
    if worker.given is not None or worker.digest is None:
        return worker.given
    return Given(generation=worker.generation, rebuilds=worker.rebuilds, kills=worker.kills, adopts=worker.adopts)


def as_given(worker: Worker) -> Worker:
    """Return a worker without what is wanted of it and was not given to it yet: what its digest stands for."""
    return worker if worker.given is None else msgspec.structs.replace(worker, **msgspec.structs.asdict(worker.given))
