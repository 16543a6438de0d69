"""Bringing workers of an action back, operation by operation: in transactions of callers and of the monitor."""

from collections.abc import Iterable
from typing import Any

import msgspec

from controlplane.core.fencing import may_still_run
from controlplane.core.placement import leaving
from controlplane.core.recovering import Step, first_step, given_of, next_step
from controlplane.records.actions import Action, Phase
from controlplane.records.clusters import Cluster
from controlplane.records.nodes import Node
from controlplane.records.recoveries import Chain, Operation, Recovery
from controlplane.records.workers import Want, Worker, WorkerStatus
from controlplane.services.ledger import Ledger
from controlplane.store.catalog import ACTIONS, NODES, WORKERS


def recover(ledger: Ledger, cluster: Cluster, action: Action, workers: Iterable[Worker]) -> Action:
    """Begin with what an action is to do about these workers."""
    chain = action.chain or Chain()
    workers = list(workers)
    action = msgspec.structs.replace(action, workers=tuple(worker.oid for worker in workers))
    taken = [
        recovery
        for worker in workers
        if (recovery := _take(ledger, cluster, worker, chain, first_step(chain, worker, ledger.now))) is not None
    ]
    return _store(ledger, cluster, action, taken)


def go_on(ledger: Ledger, cluster: Cluster, action: Action) -> Action:
    """Take those recoveries on whose operation has failed."""
    if not action.recoveries or action.ending is not None:
        return action
    chain = action.chain or Chain()
    left: list[Recovery] = []
    for recovery in action.recoveries:
        worker = ledger.rows(WORKERS).find(recovery.worker_oid)
        if worker is None or worker.want is not Want.RUN:
            continue
        step = next_step(chain, recovery, worker, ledger.now)
        taken = recovery if step is None else _take(ledger, cluster, worker, chain, step)
        if taken is not None:
            left.append(taken)
    return action if tuple(left) == action.recoveries else _store(ledger, cluster, action, left)


def is_replaceable(cluster: Cluster, worker: Worker) -> bool:
    """Say whether another worker can take the place of this one.

    A router stays the one it is, for realms and what leans on it go by its index; so does one that is in no cluster.
    """
    return worker.workergroup_oid is not None and not cluster.alone


def _take(ledger: Ledger, cluster: Cluster, worker: Worker, chain: Chain, step: Step) -> Recovery | None:
    """Carry an operation out; returns what is to be waited for, None for a worker whose place another one takes."""
    # One that was taken over as it ran is started as its profile says from now on.
    again: dict[str, Any] = {
        "generation": worker.generation + 1,
        "failures": 0,
        "adopts": None,
        "given": given_of(worker),
    }
    match step.operation:
        case None:
            pass
        case Operation.RECREATE if is_replaceable(cluster, worker):
            ledger.update_worker(worker, **leaving(worker, Want.REMOVE))
            return None
        case Operation.RECREATE if may_still_run(cluster, worker, _node_of(ledger, worker), ledger.now):
            # It is placed elsewhere as soon as it cannot run there any more.
            ledger.update_worker(worker, **again, rebuilds=worker.rebuilds + 1)
        case Operation.RECREATE:
            ledger.update_worker(worker, **(again | _NOWHERE), rebuilds=worker.rebuilds + 1)
        case operation:
            ledger.update_worker(
                worker,
                **again,
                rebuilds=worker.rebuilds + (operation is Operation.REBUILD),
                kills=worker.kills + chain.hard,
            )
    ledger.wake(worker.cluster_oid)
    return step.recovery


_NOWHERE: dict[str, Any] = {
    "node_oid": None,
    "digest": None,
    "given": None,
    "seen_digest": None,
    "links": {},
    "fence_after": None,
    "status": WorkerStatus.PENDING,
}


def _node_of(ledger: Ledger, worker: Worker) -> Node | None:
    return None if worker.node_oid is None else ledger.rows(NODES).find(worker.node_oid)


def _store(ledger: Ledger, cluster: Cluster, action: Action, recoveries: list[Recovery]) -> Action:
    changed = msgspec.structs.replace(action, phase=Phase.CONVERGE, recoveries=tuple(recoveries))
    ledger.rows(ACTIONS).put(changed, ledger.rows(ACTIONS).get(action.oid))
    ledger.touch_cluster(cluster.oid)
    ledger.wake(cluster.oid)
    return changed
