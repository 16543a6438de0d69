"""Actions from their beginning to their end: in transactions of callers and of the monitor, and nowhere else."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from controlplane.core.acting import DELETING, UPDATING, Progress, paced, progress
from controlplane.core.counting import so_many
from controlplane.core.farewells import waiting_of, with_waited
from controlplane.core.situation import HEAR_AGAIN_S, Plan
from controlplane.errors import ActionConflict, NoSuchObject
from controlplane.records import events
from controlplane.records.actions import (
    OPERATIONS,
    WORKERS_LISTED_MAX,
    Action,
    ActionKind,
    ActionStatus,
    Children,
    Outputs,
    Pace,
    Phase,
)
from controlplane.records.clusters import Cluster, Group
from controlplane.records.lifecycle import Leaving
from controlplane.records.policies import Decision
from controlplane.records.principals import Caller
from controlplane.records.types import NANOSECONDS, Instant, Oid, Seconds
from controlplane.services.bound import note_scaling
from controlplane.services.children import close, note_asked, note_progress, note_told
from controlplane.services.farewells import cut_short
from controlplane.services.forgetting import forget_cluster
from controlplane.services.ledger import Ledger, groups_of
from controlplane.services.naming import called
from controlplane.services.old_actions import forget_old_actions
from controlplane.services.ordering import end_orders, is_over, pass_orders_on, why_not
from controlplane.services.recoveries import go_on
from controlplane.services.undoing import UNDO
from controlplane.services.views import action_view, any_cluster_view
from controlplane.store.catalog import ACTIONS, CLUSTERS, WORKERS
from controlplane.store.database import View
from controlplane.store.tables import Rows, Table

SIZING = frozenset({ActionKind.CLUSTER_SCALE_IN, ActionKind.CLUSTER_SCALE_OUT, ActionKind.CLUSTER_RESIZE})
"""Actions after which what was measured before is of another cluster."""


def begin(
    ledger: Ledger,
    cluster: Cluster,
    kind: ActionKind,
    caller: Caller,
    inputs: dict[str, Any],
    *,
    group: Group | None = None,
    worker: Oid | None = None,
    before: dict[str, Any] | None = None,
    workers: Iterable[Oid] = (),
    leaving: Iterable[Oid] = (),
    decisions: Iterable[Decision] = (),
    command: dict[str, Any] | None = None,
    total: int = 0,
    pace: Pace | None = None,
    rows: Callable[[Table[Any]], Rows[Any]] | None = None,
    about: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Action:
    """Lock a cluster for a new action and make its `changes`, on account of `rows`; the action goes on by itself.

    `about` is what the action has more than others.

    Raises `ActionConflict` while another action changes the cluster, unless this one deletes it: that goes first.
    """
    goes_first = kind is ActionKind.CLUSTER_DELETE or (kind is ActionKind.WORKER_DELETE and cluster.alone)
    if not goes_first or cluster.deleting:
        require_free(ledger.change, cluster)
    running = _running(ledger.change, cluster)
    if running is not None:
        what = "it" if cluster.alone else "its cluster"
        _store_end(ledger, running, ActionStatus.CANCELLED, f"{what} is being deleted")
    elif cluster.deleting and not goes_first:
        raise ActionConflict(
            f"cluster {cluster.name} is to be deleted, which did not come to its end",
            subject={"type": "cluster", "oid": str(cluster.oid), "name": cluster.name},
            next_step="delete it again",
        )
    details = {
        "group_oid": None if group is None else group.oid,
        "worker_oid": worker,
        "before": before or {},
        "workers": tuple(workers),
        "leaving": tuple(leaving),
        "decisions": tuple(decisions),
        "command": command or {},
        "total": total,
        "pace": pace,
    }
    action = _add(ledger, cluster, kind, caller, inputs, {**details, **(about or {})})
    changed = msgspec.structs.replace(cluster, **changes, action_oid=action.oid, changed=ledger.now)
    (rows or ledger.rows)(CLUSTERS).put(changed, cluster)
    ledger.touch_cluster(cluster.oid)
    ledger.wake(cluster.oid)
    ledger.publish(events.ACTION_STARTED, action_view(action))
    return action


def note_done(
    ledger: Ledger,
    cluster: Cluster,
    kind: ActionKind,
    caller: Caller,
    inputs: dict[str, Any],
    reason: str | None = None,
) -> Action:
    """Keep an action that is over as soon as it begins: it locks nothing, and waits for nothing.

    Raises `ActionConflict` when the cluster is being deleted: nothing is begun on it any more.
    """
    running = _running(ledger.change, cluster)
    if running is not None and running.kind is ActionKind.CLUSTER_DELETE:
        raise _conflict(cluster, running)
    action = _add(ledger, cluster, kind, caller, inputs, {})
    ledger.publish(events.ACTION_STARTED, action_view(action))
    return _store_end(ledger, action, ActionStatus.SUCCEEDED, reason)


def require_free(view: View, cluster: Cluster) -> None:
    """Refuse to change a cluster that an action changes; raises `ActionConflict`."""
    running = _running(view, cluster)
    if running is not None:
        raise _conflict(cluster, running)


def require_action_of(cluster: Cluster, action: Action) -> None:
    """Make sure that an action is one of this cluster; raises `NoSuchObject`."""
    if action.cluster_oid != cluster.oid:
        raise NoSuchObject(
            f"cluster {cluster.name} has no action {action.oid}",
            subject={"type": "action", "oid": str(action.oid)},
            next_step="list the actions of the cluster",
        )


def _running(view: View, cluster: Cluster) -> Action | None:
    return None if cluster.action_oid is None else view.rows(ACTIONS).find(cluster.action_oid)


def _add(
    ledger: Ledger,
    cluster: Cluster,
    kind: ActionKind,
    caller: Caller,
    inputs: dict[str, Any],
    details: Mapping[str, Any],
) -> Action:
    """Keep a new action; whoever begins it announces it."""
    oid = ledger.new_oid()
    action = Action(
        oid=oid,
        name=f"{kind.value.lower()}_{str(oid)[:8]}",
        kind=kind,
        cluster_oid=cluster.oid,
        cluster_name=cluster.name,
        cause=caller.cause,
        who=caller.through or caller.authid,
        inputs=inputs,
        timeout=cluster.timeout,
        marks=True,
        created=ledger.now,
    )
    action = msgspec.structs.replace(action, **details)
    ledger.rows(ACTIONS).add(action)
    forget_old_actions(ledger)
    return action


def cancel(ledger: Ledger, action: Action) -> Action:
    """Have a running action taken back; it has ended when everything is as it was."""
    cluster = ledger.rows(CLUSTERS).find(action.cluster_oid)
    if cluster is None or cluster.action_oid != action.oid or action.ending is not None:
        return action
    return _fail(ledger, cluster, action, ActionStatus.CANCELLED, "it was cancelled")


def advance(ledger: Ledger, cluster: Cluster, plan: Plan) -> Seconds | None:
    """Take an action on as far as its workers have come; return after how many seconds to look again."""
    cluster = ledger.rows(CLUSTERS).get(cluster.oid)
    action = _running(ledger.change, cluster)
    if action is None:
        return None
    if action.phase is Phase.CHECK:
        return _await_check(ledger, cluster, _counted_from_now(ledger, action))
    if not plan.unheard:
        action = go_on(ledger, cluster, action)
    workers = list(ledger.rows(WORKERS).all(cluster.oid))
    wanted = sum(group.scale for group in groups_of(ledger, cluster.oid)) if cluster.run else 0
    if action.kind in OPERATIONS:
        return _advance_operation(ledger, cluster, action)
    seen = progress(action, paced(cluster, action), workers, wanted, ledger.now, unheard=plan.unheard)
    counted = _counted_from_now(ledger, action)
    removed = [worker.oid for worker in plan.removed]
    children = note_progress(ledger, cluster, counted, workers, seen, removed)
    action = _note(ledger, counted, seen, plan, waiting_of(workers), children)
    if cluster.deleting and action.kind in DELETING and not workers:
        _delete(ledger, cluster, action)
        return None
    if plan.unheard:
        return HEAR_AGAIN_S  # An action that is late may be done by now, or have failed for a better reason.
    late = _time_left(ledger, action, action.timeout * (1 if action.ending is None else 2))
    if action.ending is not None:
        if seen.over or late <= 0:
            _end(ledger, cluster, action, action.ending, action.reason)
            return None
    elif late <= 0:
        reason = f"it took longer than {action.timeout:g} s; {seen.waiting} workers had not got there"
        _fail(ledger, cluster, action, ActionStatus.FAILED, reason)
    elif seen.failed and (seen.over or action.kind in UPDATING):
        _fail(ledger, cluster, action, ActionStatus.FAILED, _why(ledger, cluster, seen))
    elif seen.over and not cluster.deleting:
        _end(ledger, cluster, action, ActionStatus.SUCCEEDED, None)
        return None
    soon = None if seen.look_again_at is None else max(0.0, (seen.look_again_at - ledger.now) / NANOSECONDS)
    return sooner(soon, max(0.0, late))


def _advance_operation(ledger: Ledger, cluster: Cluster, action: Action) -> Seconds | None:
    action, look_again_after = pass_orders_on(ledger, cluster, _counted_from_now(ledger, action))
    late = _time_left(ledger, action, action.timeout)
    if is_over(ledger, action):
        reason = why_not(action, lambda oid: called(ledger, cluster, oid))
        _end(ledger, cluster, action, ActionStatus.FAILED if reason else ActionStatus.SUCCEEDED, reason)
        return None
    if late <= 0:
        _end(ledger, cluster, action, ActionStatus.FAILED, f"it took longer than {action.timeout:g} s")
        return None
    return sooner(look_again_after, late)


def _counted_from_now(ledger: Ledger, action: Action) -> Action:
    """Have the time of an action begin anew that is said to begin in the time to come: the clock was set back since."""
    if _begun(action) <= ledger.now:
        return action
    counted: Action = ledger.rows(ACTIONS).put(msgspec.structs.replace(action, since=ledger.now), action)
    return counted


def _time_left(ledger: Ledger, action: Action, admitted: Seconds) -> Seconds:
    return (_begun(action) - ledger.now) / NANOSECONDS + admitted


def _begun(action: Action) -> Instant:
    return action.created if action.since is None else action.since


def conclude(ledger: Ledger, cluster: Cluster, action: Action, outputs: Outputs, reason: str | None) -> Action:
    """End an action that has only looked."""
    total = len(outputs.done) + len(outputs.failed)
    found = msgspec.structs.replace(
        action,
        done=len(outputs.done),
        total=total,
        children=note_told(ledger, action, outputs),
        outputs=msgspec.structs.replace(
            outputs, done=outputs.done[:WORKERS_LISTED_MAX], failed=outputs.failed[:WORKERS_LISTED_MAX]
        ),
    )
    ledger.rows(ACTIONS).put(found, action)
    return _end(ledger, cluster, found, ActionStatus.SUCCEEDED, reason)


def sooner(one: Seconds | None, other: Seconds | None) -> Seconds | None:
    """Return the shorter of two times to wait; None is for ever."""
    return min((time for time in (one, other) if time is not None), default=None)


def _await_check(ledger: Ledger, cluster: Cluster, action: Action) -> Seconds | None:
    """Have the agents asked, by a master that may have been started since; what they say ends this phase."""
    late = _time_left(ledger, action, action.timeout)
    if late <= 0:
        _end(ledger, cluster, action, ActionStatus.FAILED, f"it took longer than {action.timeout:g} s")
        return None
    children = note_asked(ledger, action)
    if children != action.children:
        ledger.rows(ACTIONS).put(msgspec.structs.replace(action, children=children), action)
    ledger.look_into(cluster.oid)
    return late


def _note(
    ledger: Ledger,
    action: Action,
    seen: Progress,
    plan: Plan,
    lifecycle: tuple[Leaving, ...],
    children: Children | None,
) -> Action:
    gone = {*(worker.oid for worker in plan.removed), *action.leaving} - set(seen.leaving)
    outputs = msgspec.structs.replace(
        with_waited(action.outputs, plan.waited),
        done=seen.done[:WORKERS_LISTED_MAX],
        failed=action.outputs.failed if action.ending is not None else seen.failed[:WORKERS_LISTED_MAX],
        removed=tuple(dict.fromkeys((*action.outputs.removed, *sorted(gone))))[:WORKERS_LISTED_MAX],
        lifecycle=lifecycle[:WORKERS_LISTED_MAX],
    )
    phase = action.phase
    if phase in (Phase.CONVERGE, Phase.LIFECYCLE):
        phase = Phase.LIFECYCLE if lifecycle else Phase.CONVERGE
    total = len(seen.done) + len(seen.failed) + seen.waiting
    noted = msgspec.structs.replace(
        action,
        outputs=outputs,
        phase=phase,
        done=len(seen.done),
        total=total,
        leaving=seen.leaving[:WORKERS_LISTED_MAX],
        children=children,
    )
    if noted != action:
        ledger.rows(ACTIONS).put(noted, action)
    return noted


def _fail(ledger: Ledger, cluster: Cluster, action: Action, ending: ActionStatus, reason: str) -> Action:
    """Take back what an action changed, if it can be taken back, and have it end then."""
    undo = UNDO.get(action.kind)
    undone = None if undo is None else undo(ledger, cluster, action)
    if undone is None:
        return _end(ledger, cluster, action, ending, reason)
    falling = msgspec.structs.replace(
        action,
        phase=Phase.ROLL_BACK,
        ending=ending,
        reason=reason,
        outputs=msgspec.structs.replace(action.outputs, undone=undone[:WORKERS_LISTED_MAX]),
        children=close(ledger, action, reason, undone),
    )
    ledger.rows(ACTIONS).put(falling, action)
    ledger.touch_cluster(cluster.oid)
    ledger.wake(cluster.oid)
    return falling


def _delete(ledger: Ledger, cluster: Cluster, action: Action) -> None:
    forget_cluster(ledger.rows, ledger, cluster)
    if not cluster.alone:
        ledger.publish(events.ANY_CLUSTER_DELETED, any_cluster_view(cluster, (), {}))
    _store_end(ledger, action, ActionStatus.SUCCEEDED, None)


def _end(ledger: Ledger, cluster: Cluster, action: Action, status: ActionStatus, reason: str | None) -> Action:
    ended = _store_end(ledger, action, status, reason)
    if action.kind in SIZING:
        note_scaling(ledger, cluster.oid, whole=action.kind is not ActionKind.CLUSTER_RESIZE)
    current = ledger.rows(CLUSTERS).get(cluster.oid)
    ledger.rows(CLUSTERS).put(msgspec.structs.replace(current, action_oid=None, changed=ledger.now), current)
    ledger.touch_cluster(cluster.oid)
    ledger.wake(cluster.oid)
    return ended


def _store_end(ledger: Ledger, action: Action, status: ActionStatus, reason: str | None) -> Action:
    if action.kind in OPERATIONS:
        action = end_orders(ledger, action)
    ended = msgspec.structs.replace(
        action,
        status=status,
        reason=reason,
        phase=Phase.OVER,
        outputs=cut_short(ledger.change, action),
        leaving=(),
        ending=None,
        ended=ledger.now,
        children=close(ledger, action, reason),
    )
    ledger.rows(ACTIONS).put(ended, action)
    ledger.publish(events.ACTION_ENDED, action_view(ended))
    return ended


def _why(ledger: Ledger, cluster: Cluster, seen: Progress) -> str:
    first = seen.failed[0]
    name = called(ledger, cluster, first.worker_oid)
    return f"{so_many(len(seen.failed), 'worker')} failed; first, worker {name}: {first.reason}"


def _conflict(cluster: Cluster, running: Action) -> ActionConflict:
    what = "worker" if cluster.alone else "cluster"
    return ActionConflict(
        f"{what} {cluster.name} is being changed by action {running.name}",
        subject={"type": "action", "oid": str(running.oid), "name": running.name, "cluster_oid": str(cluster.oid)},
        next_step="wait until it has ended, or cancel it",
    )
