"""Actions as callers see them: look, and cancel."""

from typing import Any

from controlplane.errors import ActionEnded, NoSuchObject
from controlplane.records.actions import ActionView
from controlplane.records.types import Oid
from controlplane.services.acting import cancel, require_action_of
from controlplane.services.arguments import ClusterOrPlace, ExistingAction
from controlplane.services.lists import Limit, select, walk
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
    "cluster_oid": lambda a: a.cluster_oid,
    "cluster_name": lambda a: a.cluster_name,
    "status": lambda a: a.status,
    "cause": lambda a: a.cause,
    "who": lambda a: a.who,
    "created": lambda a: a.created,
    "ended": lambda a: a.ended,
}


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
    others.
    """
    rows = call.rows(ACTIONS)
    cluster_oid = _oid((filters or {}).get("cluster_oid"))
    if cluster_oid is None or sort not in IN_ORDER:
        records, left = walk(rows, sort, marker, {"created": "created"})
    else:
        records, left = rows.all_by("cluster", cluster_oid, reverse=sort == "created:desc"), None
    found = select(
        records,
        filters=filters,
        sort=left,
        limit=limit,
        marker=marker,
        fields=FIELDS,
        oid=lambda each: str(each.oid),
    )
    return [action_view(each) for each in found]


def _oid(value: Any) -> Oid | None:
    try:
        return Oid(value) if isinstance(value, str) else None
    except ValueError:
        return None


@procedure(ACTION + "get_action", needs="read", raises=(NoSuchObject,))
def get_action(_call: Call, action_oid: ExistingAction) -> ActionView:
    """Return an action, running or over."""
    return action_view(action_oid)


@procedure(ACTION + "cancel_action", needs="operate", writes=True, raises=(NoSuchObject, ActionEnded))
def cancel_action(call: WritingCall, cluster: ClusterOrPlace, action_oid: ExistingAction) -> ActionView:
    """Cancel an action of a cluster: what it began and can be taken back is taken back, and then it has ended."""
    action = action_oid
    require_action_of(cluster, action)
    if action.ended is not None:
        raise ActionEnded(
            f"action {action.name} has {action.status.value} already",
            subject={"type": "action", "oid": str(action.oid), "name": action.name},
            next_step="nothing is to be done",
        )
    return action_view(cancel(call.ledger, action))
