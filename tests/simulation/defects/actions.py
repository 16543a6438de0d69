"""What could be wrong with actions and policies."""

import dataclasses
from typing import Any

import msgspec

from controlplane.core import acting as core_acting
from controlplane.core import children as core_children
from controlplane.core import generic_clusters as core_generic
from controlplane.core import removal
from controlplane.core.resizing import Size
from controlplane.errors import ActionConflict
from controlplane.master import monitor as monitor_module
from controlplane.master.monitor import Monitor
from controlplane.records.actions import ActionKind, ActionStatus
from controlplane.records.types import NANOSECONDS
from controlplane.records.workers import WorkerStatus
from controlplane.services import (
    acting,
    bindings,
    children,
    cluster_actions,
    convergence,
    generic_clusters,
    recovering,
    undoing,
)
from controlplane.services.specs import GenericRevision
from controlplane.store.catalog import ACTIONS, CLUSTERS, REVISIONS
from tests.simulation.defects.planting import Defect, around, replaced

GROWING = (ActionKind.CLUSTER_RESIZE, ActionKind.CLUSTER_SCALE_OUT)


def _keep_the_lock(end: Any) -> Any:
    def other(ledger: Any, cluster: Any, action: Any, status: Any, reason: Any) -> Any:
        if status is ActionStatus.FAILED:
            return acting._store_end(ledger, action, status, reason)
        return end(ledger, cluster, action, status, reason)

    return other


def _forget_actions_at_start(start: Any) -> Any:
    def other(self: Monitor) -> None:
        wake = self._loop.wake

        def wake_without_action(oid: Any) -> None:
            with self._store.read() as view:
                idle = view.rows(CLUSTERS).get(oid).action_oid is None
            if idle:
                wake(oid)

        self._loop.wake = wake_without_action  # type: ignore[method-assign]
        start(self)
        self._loop.wake = wake  # type: ignore[method-assign]

    return other


def _audit_without_actions(_needs_pass: Any) -> Any:
    def other(view: Any, oid: Any, compositions: Any, now: Any, new_oid: Any) -> bool:
        cluster = view.rows(CLUSTERS).find(oid)
        plan = convergence._planned(convergence._situation(view, cluster, compositions, now, new_oid))
        return bool(plan)

    return other


def _forget_actions() -> Any:
    return replaced(
        (Monitor, "start", _forget_actions_at_start(Monitor.start)),
        (monitor_module, "needs_pass", _audit_without_actions(monitor_module.needs_pass)),
    )


def _return_to_nothing(ledger: Any, cluster: Any, _action: Any) -> Any:
    """Count another revision, of the configuration that did not work."""
    newest = ledger.rows(REVISIONS).get(cluster.oid, cluster.revision)
    ledger.rows(REVISIONS).add(msgspec.structs.replace(newest, revision=cluster.revision + 1))
    back = msgspec.structs.replace(cluster, revision=cluster.revision + 1)
    ledger.rows(CLUSTERS).put(back, cluster)
    return ()


def _take_nothing_back(_ledger: Any, _cluster: Any, _action: Any) -> Any:
    return ()


def _undo_with(**others: Any) -> dict[ActionKind, Any]:
    return {kind: others.get(kind.value, undo) for kind, undo in acting.UNDO.items()}


def _end_at_once(fail: Any) -> Any:
    def other(ledger: Any, cluster: Any, action: Any, ending: Any, reason: Any) -> Any:
        falling = fail(ledger, cluster, action, ending, reason)
        if falling.ended is None:
            return acting._end(ledger, ledger.rows(CLUSTERS).get(cluster.oid), falling, ending, reason)
        return falling

    return other


def _one_more_at_a_time(plan: Any) -> Any:
    def other(situation: Any) -> Any:
        cluster = msgspec.structs.replace(situation.cluster, batch=situation.cluster.batch + 1)
        return plan(dataclasses.replace(situation, cluster=cluster))

    return other


def _steady_at_once(_cluster: Any, worker: Any) -> int:
    return int(worker.changed)


def _believe_the_unreachable(worker: Any) -> bool:
    return worker.status is WorkerStatus.RUNNING and worker.seen_digest == worker.digest


def _never_rest(decide: Any) -> Any:
    def other(bound: Any, *args: Any) -> Any:
        rested = [each._replace(binding=msgspec.structs.replace(each.binding, used=None)) for each in bound]
        return decide(rested, *args)

    return other


def _rest_in_one_direction(note: Any) -> Any:
    def other(ledger: Any, cluster_oid: Any, *, whole: bool = True) -> None:
        """Leave out what shrank the cluster."""
        actions = [a for a in ledger.rows(ACTIONS).all_by("cluster", cluster_oid.bytes) if a.ended == ledger.now]
        if not any(a.kind is ActionKind.CLUSTER_SCALE_IN for a in actions):
            note(ledger, cluster_oid, whole=whole)

    return other


def _wait_for_others(begin: Any) -> Any:
    def other(ledger: Any, cluster: Any, kind: ActionKind, *args: Any, **kwargs: Any) -> Any:
        if kind is ActionKind.CLUSTER_DELETE and cluster.action_oid is not None:
            raise ActionConflict("another action runs", next_step="wait")
        return begin(ledger, cluster, kind, *args, **kwargs)

    return other


def _begin_beside(begin: Any) -> Any:
    def other(ledger: Any, cluster: Any, kind: ActionKind, *args: Any, **kwargs: Any) -> Any:
        if kind is not ActionKind.CLUSTER_DELETE:
            cluster = msgspec.structs.replace(cluster, action_oid=None)
        return begin(ledger, cluster, kind, *args, **kwargs)

    return other


def _serves_when_it_starts(serves: Any) -> Any:
    def other(worker: Any, cluster: Any) -> bool:
        return worker.status is WorkerStatus.STARTING or bool(serves(worker, cluster))

    return other


def _leave_the_leaving(progress: Any) -> Any:
    def other(*args: Any, **more: Any) -> Any:
        return progress(*args, **more)._replace(leaving=())

    return other


def _the_other_way_round(choose: Any) -> Any:
    swapped = {"OLDEST_FIRST": "YOUNGEST_FIRST", "YOUNGEST_FIRST": "OLDEST_FIRST"}

    def other(bound: Any, *args: Any) -> Any:
        turned = []
        for each in bound:
            criteria = getattr(each.rule, "criteria", None)
            rule = msgspec.structs.replace(each.rule, criteria=swapped[criteria]) if criteria in swapped else each.rule
            turned.append(each._replace(rule=rule))
        return choose(turned, *args)

    return other


def _without_bounds(resized: Any) -> Any:
    def other(now: Size, asked: Any) -> Any:
        found = resized(now._replace(min_size=0, max_size=None), asked._replace(min_size=None, max_size=None))
        return found._replace(min_size=now.min_size, max_size=now.max_size) if isinstance(found, Size) else found

    return other


def _say_no_reason(store: Any) -> Any:
    def other(ledger: Any, action: Any, status: Any, _reason: Any) -> Any:
        return store(ledger, action, status, None)

    return other


def _never_too_late(advance: Any) -> Any:
    def other(ledger: Any, cluster: Any, plan: Any) -> Any:
        current = ledger.rows(CLUSTERS).get(cluster.oid)
        action = None if current.action_oid is None else ledger.rows(ACTIONS).find(current.action_oid)
        late = action is not None and ledger.now >= action.created + int(action.timeout * NANOSECONDS)
        return None if late and action.ending is None else advance(ledger, cluster, plan)

    return other


def _by_the_newest_name(init: Any) -> Any:
    def other(self: GenericRevision, cluster: Any, revision: Any) -> None:
        init(self, cluster, msgspec.structs.replace(revision, called=None))

    return other


def _obey_nothing(*_: Any) -> None:
    """Leave the cluster as it was."""


def _announce_nothing(*_: Any) -> None:
    """Tell nobody."""


def _leave_children_open(_ledger: Any, action: Any, _reason: Any, _undone: Any = ()) -> Any:
    return action.children


def _keep_what_succeeded(close: Any) -> Any:
    def other(ledger: Any, action: Any, reason: Any, _undone: Any = ()) -> Any:
        return close(ledger, action, reason)

    return other


def _done_when_begun(_cluster: Any, _worker: Any) -> ActionStatus:
    return ActionStatus.SUCCEEDED


def _know_no_children(*_: Any) -> dict[Any, Any]:
    return {}


_KEEP_GROWTH = dict.fromkeys((kind.value for kind in GROWING), _take_nothing_back)

DEFECTS = (
    Defect("lock-left", "an action that failed does not let go of its cluster", around(acting, "_end", _keep_the_lock)),
    Defect("action-forgotten", "a master that starts does not look at actions that run", _forget_actions()),
    Defect(
        "rollback-without-spec",
        "an update that failed is not taken back: the cluster keeps the new configuration",
        replaced((acting, "UNDO", _undo_with(CLUSTER_UPDATE=_return_to_nothing))),
    ),
    Defect(
        "growth-left",
        "a growth that failed or was cancelled leaves its workers",
        replaced((acting, "UNDO", _undo_with(**_KEEP_GROWTH))),
    ),
    Defect(
        "rollback-not-awaited",
        "an action ends before what it changed is taken back",
        around(acting, "_fail", _end_at_once),
    ),
    Defect(
        "batch-off-by-one",
        "one worker more than a batch is changed over at a time",
        around(convergence, "plan_generic_cluster", _one_more_at_a_time),
    ),
    Defect(
        "steady-ignored",
        "the next batch does not wait until the one before has run for long enough",
        replaced((core_generic, "steady_at", _steady_at_once)),
    ),
    Defect(
        "unreachable-changed-over",
        "all workers of a silent node are changed over at once",
        replaced((core_generic, "_serves", _believe_the_unreachable)),
    ),
    Defect("cooldown-ignored", "policies never rest", around(cluster_actions, "decide_scaling", _never_rest)),
    Defect(
        "cooldown-in-one-direction",
        "policies do not rest after a cluster shrank",
        around(acting, "note_scaling", _rest_in_one_direction),
    ),
    Defect(
        "affinity-ignored",
        "what is said about one node is not obeyed",
        replaced((bindings, "place_as_bound", _obey_nothing)),
    ),
    Defect(
        "delete-waits",
        "a deletion waits for another action",
        replaced((generic_clusters, "begin", _wait_for_others(acting.begin))),
    ),
    Defect(
        "two-actions",
        "an action begins while another one runs",
        replaced(
            *((module, "begin", _begin_beside(acting.begin)) for module in (cluster_actions, generic_clusters)),
            (cluster_actions, "require_free", _obey_nothing),
        ),
    ),
    Defect(
        "succeeded-too-early",
        "a worker that starts counts as one that runs",
        around(core_acting, "_serves", _serves_when_it_starts),
    ),
    Defect(
        "succeeded-before-gone",
        "nobody waits for workers that are on their way out",
        around(acting, "progress", _leave_the_leaving),
    ),
    Defect(
        "healthy-before-sick",
        "the worker with the highest index goes, and not the sick one",
        replaced((removal, "_by_worth", removal.by_index)),
    ),
    Defect(
        "criteria-turned-round",
        "the youngest go where the oldest should",
        around(cluster_actions, "choose_victims", _the_other_way_round),
    ),
    Defect(
        "recovers-the-healthy",
        "a recovery replaces workers that are healthy",
        replaced((recovering, "SICK", frozenset(WorkerStatus))),
    ),
    Defect("bounds-ignored", "a resize leaves the bounds", around(cluster_actions, "resized", _without_bounds)),
    Defect("no-reason", "an action that failed does not say why", around(acting, "_store_end", _say_no_reason)),
    Defect("timeout-ignored", "an action that takes too long goes on", around(convergence, "advance", _never_too_late)),
    Defect(
        "children-left-open",
        "children are under way for ever when their action was given up",
        replaced((acting, "close", _leave_children_open)),
    ),
    Defect(
        "child-not-taken-back",
        "a child has succeeded although what it did is taken back",
        around(acting, "close", _keep_what_succeeded),
    ),
    Defect(
        "child-too-early",
        "a child has succeeded before its worker got there",
        replaced((core_children, "_under_way", _done_when_begun)),
    ),
    Defect(
        "child-made-anew",
        "every pass gives a worker another child",
        replaced((children, "_standing", _know_no_children)),
    ),
    Defect(
        "renamed-anew",
        "workers are started anew because their cluster was given another name",
        around(GenericRevision, "__init__", _by_the_newest_name),
    ),
    Defect(
        "size-not-announced",
        "nobody is told that a size was taken back",
        replaced((undoing, "announce_size", _announce_nothing)),
    ),
)
