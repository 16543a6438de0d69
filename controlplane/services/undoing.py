"""How what an action changed is taken back when it fails or is cancelled."""

from collections.abc import Callable

import msgspec

from controlplane.core.acting import is_own
from controlplane.records.actions import Action, ActionKind
from controlplane.records.clusters import Cluster, Group
from controlplane.records.types import Oid, from_wire
from controlplane.records.workers import Want
from controlplane.services.ledger import Ledger
from controlplane.services.members import leave
from controlplane.services.sizes import announce_size, dismiss
from controlplane.store.catalog import CLUSTERS, GROUPS, REVISIONS, WORKERS


def _undo_growth(ledger: Ledger, cluster: Cluster, action: Action) -> tuple[Oid, ...] | None:
    """Take those workers of its own back that do not run."""
    group = None if action.group_oid is None else ledger.rows(GROUPS).find(action.group_oid)
    if group is None or group.scale <= action.before["desired"]:
        return None
    own = [
        worker
        for worker in ledger.rows(WORKERS).all(cluster.oid, group.oid)
        if is_own(action, worker) and worker.want is not Want.REMOVE
    ]
    taken = [worker for worker in own if worker.oid not in action.outputs.done and not worker.protected]
    scale = max(action.before["desired"], group.scale - len(taken))
    ledger.rows(GROUPS).put(
        msgspec.structs.replace(_bounds_before(group, action, scale), scale=scale, changed=ledger.now), group
    )
    gone = dismiss(ledger, taken)
    announce_size(ledger, cluster)
    return gone


def _bounds_before(group: Group, action: Action, scale: int) -> Group:
    """Return a group with the bounds that it had before an action; the upper one stays when more than that run."""
    low, high = action.before.get("min_size", group.min_size), action.before.get("max_size", group.max_size)
    if high is not None and scale > high:
        high = group.max_size
    return msgspec.structs.replace(group, min_size=low, max_size=high)


def _undo_creation(ledger: Ledger, cluster: Cluster, action: Action) -> tuple[Oid, ...] | None:
    """Take a worker back that a cluster did not get; one in no cluster stays, and is tried again."""
    return None if cluster.alone else _undo_growth(ledger, cluster, action)


def _undo_join(ledger: Ledger, cluster: Cluster, action: Action) -> tuple[Oid, ...] | None:
    """Have those leave again that are there still."""
    group = None if action.group_oid is None else ledger.rows(GROUPS).find(action.group_oid)
    found = (ledger.rows(WORKERS).find(oid) for oid in action.workers)
    joined = [each for each in found if each and each.cluster_oid == cluster.oid and each.want is not Want.REMOVE]
    if group is None or not joined:
        return None
    for worker in joined:
        leave(ledger, ledger.rows, worker, cluster)
    scale = max(group.min_size, group.scale - len(joined))
    ledger.rows(GROUPS).put(msgspec.structs.replace(group, scale=scale, changed=ledger.now), group)
    announce_size(ledger, cluster)
    return tuple(worker.oid for worker in joined)


def _undo_update(ledger: Ledger, cluster: Cluster, action: Action) -> tuple[Oid, ...] | None:
    """Return to the configuration from before; workers that have it still are not touched."""
    if "revision" not in action.before:
        return None
    former = ledger.rows(REVISIONS).get(cluster.oid, action.before["revision"])
    changed = tuple(
        worker.oid for worker in ledger.rows(WORKERS).all(cluster.oid) if worker.revision == cluster.revision
    )
    back = msgspec.structs.replace(
        cluster,
        revision=cluster.revision + 1,
        profile_oid=None if action.before["profile_oid"] is None else from_wire(action.before["profile_oid"], Oid),
        changed=ledger.now,
    )
    ledger.rows(REVISIONS).add(msgspec.structs.replace(former, revision=back.revision))
    ledger.rows(CLUSTERS).put(back, cluster)
    return changed


UNDO: dict[ActionKind, Callable[[Ledger, Cluster, Action], tuple[Oid, ...] | None]] = {
    ActionKind.CLUSTER_RESIZE: _undo_growth,
    ActionKind.CLUSTER_SCALE_OUT: _undo_growth,
    ActionKind.CLUSTER_UPDATE: _undo_update,
    ActionKind.WORKER_UPDATE: _undo_update,
    ActionKind.WORKER_CREATE: _undo_creation,
    ActionKind.CLUSTER_ADD_WORKERS: _undo_join,
}
"""How what an action changed is taken back; None from one of them says that there is nothing to take back."""
