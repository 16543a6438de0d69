"""Actions as callers see them: look, and cancel."""

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

from controlplane.errors import ActionEnded, ActionHasParent, Ambiguous, NoSuchObject
from controlplane.records.actions import Action, ActionKind, ActionStatus, ActionView
from controlplane.records.types import Oid
from controlplane.services.acting import cancel, require_action_of
from controlplane.services.arguments import ClusterOrPlace, ExistingAction
from controlplane.services.children import as_it_stands, children_of
from controlplane.services.lists import Limit, Values, select, walk
from controlplane.services.pipeline import Call, WritingCall
from controlplane.services.procedures import procedure
from controlplane.services.views import action_view
from controlplane.store.catalog import ACTIONS

ACTION = "controlplane.action."
IN_ORDER = (None, "created", "created:asc", "created:desc")
FIELDS = {
    "oid": lambda a: a.oid,
    "name": lambda a: a.name,
    "action": lambda a: a.kind,
    "target": lambda a: a.worker_oid or a.cluster_oid,
    "parent_oid": lambda a: a.parent_oid,
    "cluster_oid": lambda a: a.cluster_oid,
    "cluster_name": lambda a: a.cluster_name,
    "status": lambda a: a.status,
    "cause": lambda a: a.cause,
    "who": lambda a: a.who,
    "created": lambda a: a.created,
    "ended": lambda a: a.ended,
}
VALUES: Values = {"action": ActionKind, "status": ActionStatus}


@procedure(ACTION + "list_actions", needs="read")
def list_actions(
    call: Call,
    filters: dict[str, Any] | None = None,
    sort: str | None = None,
    limit: Limit | None = None,
    marker: str | None = None,
) -> list[ActionView]:
    """Return actions, the oldest first unless `sort` says otherwise; those that ended long ago are forgotten.

    Those of one cluster, `cluster_oid` in `filters`, and the newest ones, `created:desc`, are found without reading the
    others. Children are listed by their `parent_oid` only.
    """
    records, left = _records(call, filters or {}, sort, marker)
    found = select(
        records,
        filters=filters,
        sort=left,
        limit=limit,
        marker=marker,
        fields=FIELDS,
        values=VALUES,
        oid=lambda each: str(each.oid),
    )
    return [action_view(as_it_stands(call.view, each)) for each in found]


def _records(
    call: Call, filters: Mapping[str, Any], sort: str | None, marker: str | None
) -> tuple[Iterable[Action], str | None]:
    """Return what there is to choose from, and by what it is still to be sorted."""
    rows = call.rows(ACTIONS)
    parents = [found for each in _named(filters.get("parent_oid")) if (oid := _oid(each)) and (found := rows.find(oid))]
    if len(parents) == 1 and sort in IN_ORDER:
        reverse, statuses = sort == "created:desc", _statuses(filters.get("status"))
        return children_of(call.view, parents[0], _oid(marker), reverse=reverse, statuses=statuses), None
    if _named(filters.get("parent_oid")):
        return chain.from_iterable(children_of(call.view, parent) for parent in parents), sort or "created"
    cluster_oid = _oid(filters.get("cluster_oid"))
    if cluster_oid is None or sort not in IN_ORDER:
        return walk(rows, sort, marker, {"created": "created"})
    return rows.all_by("cluster", cluster_oid, reverse=sort == "created:desc"), None


def _named(wanted: Any) -> list[Any]:
    """Return what a filter admits, which is one thing or several."""
    values = list(wanted) if isinstance(wanted, list | tuple) else [wanted]
    return [value for value in values if value is not None]


def _statuses(wanted: Any) -> set[ActionStatus] | None:
    """Return the statuses that are asked for, or None for all."""
    return None if wanted is None else {status for status in ActionStatus if status.value in _named(wanted)}


def _oid(value: Any) -> Oid | None:
    try:
        return Oid(value) if isinstance(value, str) else None
    except ValueError:
        return None


@procedure(ACTION + "get_action", needs="read", raises=(NoSuchObject, Ambiguous))
def get_action(_call: Call, action_oid: ExistingAction) -> ActionView:
    """Return an action, running or over."""
    return action_view(action_oid)


@procedure(
    ACTION + "cancel_action",
    needs="operate",
    writes=True,
    raises=(NoSuchObject, Ambiguous, ActionEnded, ActionHasParent),
)
def cancel_action(call: WritingCall, cluster: ClusterOrPlace, action_oid: ExistingAction) -> ActionView:
    """Cancel an action of a cluster: what it began and can be taken back is taken back, and then it has ended.

    A child is cancelled with its parent, and by itself is not.
    """
    action = action_oid
    require_action_of(cluster, action)
    if action.parent_oid is not None and action.ended is None:
        raise ActionHasParent(
            f"action {action.name} is a part of action {action.parent_oid}, which is cancelled whole or not at all",
            subject={"type": "action", "oid": str(action.oid), "name": action.name},
            next_step=f"cancel action {action.parent_oid}",
        )
    if action.ended is not None:
        raise ActionEnded(
            f"action {action.name} has {action.status.value} already",
            subject={"type": "action", "oid": str(action.oid), "name": action.name},
            next_step="nothing is to be done",
        )
    return action_view(cancel(call.ledger, action))
