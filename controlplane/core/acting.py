"""How far an action has come: a pure function from what is wanted and seen of the workers that it is about.

An action changes what is wanted and then watches; the monitor does the work, as always. So an action needs no process
of its own, and a master that was killed goes on watching where it was.
"""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from controlplane.core.generic_clusters import steady_at
from controlplane.core.recovering import FAILURES_MAX, describe, is_under_way, late_at
from controlplane.core.standby import joined_at
from controlplane.records.actions import Action, ActionKind, Failed, Phase
from controlplane.records.clusters import Cluster
from controlplane.records.recoveries import Chain
from controlplane.records.types import NANOSECONDS, Instant, Oid
from controlplane.records.workers import Want, Worker, WorkerStatus

OF_ALL = frozenset({ActionKind.CLUSTER_CREATE, ActionKind.CLUSTER_UPDATE, ActionKind.CLUSTER_DELETE})
"""Actions that are about every worker of their cluster; the others are about new, named and leaving ones."""

DELETING = frozenset({ActionKind.CLUSTER_DELETE, ActionKind.WORKER_DELETE})
"""Actions that go first: whatever changes what they delete is cancelled."""

UPDATING = frozenset({ActionKind.CLUSTER_UPDATE, ActionKind.WORKER_UPDATE})
"""Actions that are over with the first worker that fails."""


class Progress(NamedTuple):
    """What has become of the workers that an action is about."""

    done: tuple[Oid, ...]
    failed: tuple[Failed, ...]
    waiting: int
    """Workers of which nobody can say yet."""

    leaving: tuple[Oid, ...]
    look_again_at: Instant | None

    @property
    def over(self) -> bool:
        """Say whether there is nothing to wait for."""
        return not self.waiting and not self.leaving


def progress(
    action: Action, cluster: Cluster, workers: Iterable[Worker], wanted: int, now: Instant, *, unheard: bool = False
) -> Progress:
    """Return how far an action has come, of a cluster of which so many workers are wanted in groups.

    While agents are `unheard` by a master that was away, nobody counts as done: who ran may have ended since.
    """
    done: list[Oid] = []
    failed: list[Failed] = []
    leaving: list[Oid] = []
    waiting = present = 0
    instants: list[Instant] = []
    recoveries = {recovery.worker_oid: recovery for recovery in action.recoveries}
    for worker in workers:
        if worker.standby and not cluster.deleting and not concerns(action, worker):
            continue
        if worker.want is Want.REMOVE or worker.farewell is not None:
            leaving.append(worker.oid)
            continue
        if worker.workergroup_oid is not None:
            present += 1
        if not concerns(action, worker):
            continue
        recovery = recoveries.get(worker.oid)
        if recovery is not None and recovery.given_up:
            failed.append(Failed(worker_oid=worker.oid, reason=describe(recovery)))
            continue
        if recovery is not None and (late := late_at(action.chain or Chain(), recovery)) > now:
            instants.append(late)  # What has run in time and is not over yet has nothing to fear of it any more.
        if recovery is not None and is_under_way(recovery, worker):
            waiting += 1
        elif _serves(worker, cluster):
            until = steady_at(cluster, worker)
            if unheard:
                waiting += 1
            elif now >= until:
                done.append(worker.oid)
            else:
                waiting += 1
                instants.append(until)
        elif worker.failures >= FAILURES_MAX and worker.revision == cluster.revision:
            # With another configuration than the newest it failed before: it is to be given that one yet.
            failed.append(Failed(worker_oid=worker.oid, reason=worker.reason))
        elif worker.status is WorkerStatus.PENDING:
            until = worker.changed + int(cluster.grace_period * NANOSECONDS)
            if now >= until:
                failed.append(Failed(worker_oid=worker.oid, reason=worker.reason))
            else:
                waiting += 1
                instants.append(until)
        else:
            waiting += 1
    return Progress(
        tuple(done), tuple(failed), waiting + max(0, wanted - present), tuple(leaving), min(instants, default=None)
    )


def concerns(action: Action, worker: Worker) -> bool:
    """Say whether an action is about a worker that is to stay."""
    if worker.oid in action.workers:
        return True
    everything = action.kind in OF_ALL or action.phase is Phase.ROLL_BACK
    return not worker.standby and (everything or is_own(action, worker))


def is_own(action: Action, worker: Worker) -> bool:
    """Say whether a worker was made or taken for an action, or is one of those that it is about.

    No clock says that: it may have been set back since the worker was there.
    """
    if worker.oid in action.workers:
        return True
    return worker.made_for == action.oid if action.marks else joined_at(worker) >= action.created


def paced(cluster: Cluster, action: Action | None) -> Cluster:
    """Return a cluster with the pace at which an action changes it over, which is the action's alone."""
    if action is None or action.pace is None:
        return cluster
    return msgspec.structs.replace(cluster, batch=action.pace.batch, steady=action.pace.steady)


def canary_of(action: Action | None) -> int:
    """Return how many workers have to prove themselves before others are changed; none when it is taken back."""
    return 0 if action is None or action.pace is None or action.ending is not None else action.pace.canary


def _serves(worker: Worker, cluster: Cluster) -> bool:
    """Say whether a worker runs with the newest configuration of its cluster."""
    return (
        worker.status is WorkerStatus.RUNNING
        and worker.revision == cluster.revision
        and worker.digest is not None
        and worker.seen_digest == worker.digest
    )
