"""What becomes of single workers by an action of their cluster: pure functions from where these stand to its children.

The action of the cluster alone decides, locks and ends. A child tells of one worker: it waits, is under way, got there,
failed, or was given up with its parent. So it begins and ends by itself, and never decides anything.
"""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from controlplane.core.acting import Progress, concerns, is_own
from controlplane.core.recovering import is_under_way
from controlplane.records.actions import Action, ActionKind, ActionStatus, Children, Failed, Outputs, Phase
from controlplane.records.children import Child
from controlplane.records.clusters import Cluster
from controlplane.records.types import Instant, Oid
from controlplane.records.workers import Want, Worker, WorkerStatus

DERIVED = "derived"
"""Cause of a child."""

OPEN = frozenset({ActionStatus.WAITING, ActionStatus.RUNNING})
PARENTS = frozenset(
    kind for kind in ActionKind if kind.name.startswith("CLUSTER_") and not kind.name.endswith("_POLICY")
)
"""Actions that have children. One about a single worker is what a child would be; a policy is of no worker."""

_NAMED = {
    ActionKind.CLUSTER_RECOVER: ActionKind.WORKER_RECOVER,
    ActionKind.CLUSTER_ADD_WORKERS: ActionKind.WORKER_JOIN,
    ActionKind.CLUSTER_REPLACE_WORKERS: ActionKind.WORKER_JOIN,
}
"""What is done about the workers that an action names."""

_OTHERS = {
    ActionKind.CLUSTER_UPDATE: ActionKind.WORKER_UPDATE,
    ActionKind.CLUSTER_DELETE: ActionKind.WORKER_DELETE,
    ActionKind.CLUSTER_CHECK: ActionKind.WORKER_CHECK,
}
"""What is done about the workers that were there before."""

_OUT = frozenset({ActionKind.WORKER_DELETE, ActionKind.WORKER_LEAVE, ActionKind.WORKER_RECOVER})
"""Children that are done when their worker is gone; of one that is recreated, another one takes the place."""


class Fate(NamedTuple):
    """How things stand with a worker that an action is about."""

    kind: ActionKind
    """Of its child, if that is new: what is done about a worker stays the same."""

    status: ActionStatus
    reason: str | None = None


def fates(action: Action, cluster: Cluster, workers: Iterable[Worker], seen: Progress) -> dict[Oid, Fate]:
    """Return how things stand with each worker of a cluster that its action is about."""
    done, leaving = frozenset(seen.done), frozenset(seen.leaving)
    failed = {each.worker_oid: each for each in seen.failed}
    named = frozenset(action.workers)
    recoveries = {recovery.worker_oid: recovery for recovery in action.recoveries}
    found: dict[Oid, Fate] = {}
    for worker in workers:
        oid = worker.oid
        kind = _kind(action, worker, named)
        if oid in leaving:
            waits = worker.want is not Want.REMOVE
            status = ActionStatus.WAITING if waits else ActionStatus.RUNNING
            found[oid] = Fate(kind if oid in named else ActionKind.WORKER_DELETE, status)
        elif oid in done:
            found[oid] = Fate(kind, ActionStatus.SUCCEEDED)
        elif oid in failed:
            found[oid] = Fate(kind, ActionStatus.FAILED, failed[oid].reason)
        elif concerns(action, worker):
            recovery = recoveries.get(oid)
            begun = recovery is not None and is_under_way(recovery, worker)
            found[oid] = Fate(kind, ActionStatus.RUNNING if begun else _under_way(cluster, worker))
    return found


def gone_kind(action: Action, worker_oid: Oid, elsewhere: bool) -> ActionKind:
    """Return what was done about a worker that is not in its cluster any more, and had no child yet."""
    if elsewhere:
        return ActionKind.WORKER_LEAVE
    return (
        _NAMED.get(action.kind, ActionKind.WORKER_DELETE) if worker_oid in action.workers else ActionKind.WORKER_DELETE
    )


def when_gone(kind: ActionKind) -> Fate:
    """Return what a child comes to whose worker is gone."""
    if kind in _OUT:
        return Fate(kind, ActionStatus.SUCCEEDED)
    return Fate(kind, ActionStatus.CANCELLED, "its worker is gone")


def looked_into(action: Action, workers: Iterable[Worker]) -> dict[Oid, Fate]:
    """Return how things stand with workers that agents are asked about."""
    wanted = action.workers
    return {
        worker.oid: Fate(ActionKind.WORKER_CHECK, ActionStatus.RUNNING)
        for worker in workers
        if (worker.oid in wanted if wanted else not worker.standby or worker.node_oid is not None)
    }


def told(outputs: Outputs) -> dict[Oid, Fate]:
    """Return what agents have found of workers."""
    well = {oid: Fate(ActionKind.WORKER_CHECK, ActionStatus.SUCCEEDED) for oid in outputs.done}
    bad = {f.worker_oid: Fate(ActionKind.WORKER_CHECK, ActionStatus.FAILED, f.reason) for f in outputs.failed}
    return {**well, **bad}


def moved(child: Child, status: ActionStatus, reason: str | None, now: Instant) -> Child:
    """Return a child as it is when this has become of its worker.

    One that had ended and is under way again has not ended: until its parent is over, its worker can still fail,
    or run.
    """
    over = status not in OPEN
    begun = status not in (ActionStatus.WAITING, ActionStatus.CANCELLED)
    return msgspec.structs.replace(
        child,
        status=status,
        reason=reason if over else None,
        started=now if child.started is None and begun else child.started,
        ended=now if over else None,
    )


def counted(statuses: Iterable[ActionStatus]) -> Children:
    """Return how many children stand how."""
    number = Counter(status.value.lower() for status in statuses)
    return Children(total=number.total(), **number)


def shifted(children: Children, before: ActionStatus, after: ActionStatus) -> Children:
    """Return how many children stand how when one of them has moved."""
    one, other = before.value.lower(), after.value.lower()
    less = msgspec.structs.replace(children, **{one: getattr(children, one) - 1})
    return msgspec.structs.replace(less, **{other: getattr(less, other) + 1})


def with_word(action: Action, worker: Worker | None) -> Action:
    """Return a child that is under way with what its worker has to say."""
    if worker is None:
        return action
    phase = action.phase if worker.farewell is None else Phase.LIFECYCLE
    return msgspec.structs.replace(action, reason=worker.reason, phase=phase)


def as_action(child: Child, parent: Action) -> Action:
    """Return a child as the action that callers see."""
    looks = child.kind is ActionKind.WORKER_CHECK
    phase = Phase.OVER if child.status not in OPEN else Phase.CHECK if looks else Phase.CONVERGE
    return Action(
        oid=child.oid,
        name=f"{child.kind.value.lower()}_{str(child.oid)[:8]}",
        kind=child.kind,
        cluster_oid=parent.cluster_oid,
        cluster_name=parent.cluster_name,
        worker_oid=child.worker_oid,
        parent_oid=parent.oid,
        cause=DERIVED,
        who=parent.who,
        outputs=_outputs(child),
        status=child.status,
        phase=phase,
        reason=child.reason,
        done=int(child.status is ActionStatus.SUCCEEDED),
        total=1,
        timeout=parent.timeout,
        created=child.created,
        started=child.started,
        ended=child.ended,
    )


def _outputs(child: Child) -> Outputs:
    alone = (child.worker_oid,)
    if child.status is ActionStatus.FAILED:
        return Outputs(failed=(Failed(worker_oid=child.worker_oid, reason=child.reason),))
    if child.status is not ActionStatus.SUCCEEDED:
        return Outputs()
    gone = child.kind in (ActionKind.WORKER_DELETE, ActionKind.WORKER_LEAVE)
    return Outputs(removed=alone) if gone else Outputs(done=alone)


def _kind(action: Action, worker: Worker, named: frozenset[Oid]) -> ActionKind:
    if worker.oid in named:
        return _NAMED.get(action.kind, ActionKind.WORKER_CREATE)
    if is_own(action, worker):
        return ActionKind.WORKER_CREATE if worker.promotion is None else ActionKind.WORKER_JOIN
    return _OTHERS.get(action.kind, ActionKind.WORKER_CREATE)


def _under_way(cluster: Cluster, worker: Worker) -> ActionStatus:
    """Say whether something was begun about a worker that has not got there: it has a place, and it is its turn."""
    turn = worker.revision == cluster.revision or worker.drain is not None
    return ActionStatus.RUNNING if turn and worker.status is not WorkerStatus.PENDING else ActionStatus.WAITING
