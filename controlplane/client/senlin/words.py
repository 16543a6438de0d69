"""Senlin's words and ours, in one place.

What Senlin calls a node is a worker here, and a node here is a machine. Where Senlin has a word for what is being done
and we have none, it comes from the action that changes the cluster: a cluster that runs and is being resized is
`RUNNING` and has an action here, and is `RESIZING` there.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from controlplane.errors import InvalidArgument, Problem
from controlplane.records.actions import ActionKind
from controlplane.records.clusters import ClusterStatus
from controlplane.records.types import NANOSECONDS, Instant
from controlplane.records.workers import WorkerStatus

CLUSTER_STATUS: Mapping[ClusterStatus, str] = {
    ClusterStatus.STOPPED: "INIT",
    ClusterStatus.STARTING: "CREATING",
    ClusterStatus.RUNNING: "ACTIVE",
    ClusterStatus.DEGRADED: "WARNING",
    ClusterStatus.STOPPING: "OPERATING",
    ClusterStatus.ERROR: "ERROR",
    ClusterStatus.DELETING: "DELETING",
}
"""`CRITICAL` is declared by Senlin and never used; here a cluster of which nothing runs is in `ERROR`."""

BUSY: Mapping[ActionKind, str] = {
    ActionKind.CLUSTER_CREATE: "CREATING",
    ActionKind.CLUSTER_UPDATE: "UPDATING",
    ActionKind.CLUSTER_RESIZE: "RESIZING",
    ActionKind.CLUSTER_SCALE_OUT: "RESIZING",
    ActionKind.CLUSTER_SCALE_IN: "RESIZING",
    ActionKind.CLUSTER_CHECK: "CHECKING",
    ActionKind.CLUSTER_RECOVER: "RECOVERING",
    ActionKind.CLUSTER_REMOVE_WORKERS: "RESIZING",
    ActionKind.CLUSTER_REPLACE_WORKERS: "RECOVERING",
    ActionKind.CLUSTER_ADD_WORKERS: "RESIZING",
    ActionKind.CLUSTER_DELETE: "DELETING",
    ActionKind.CLUSTER_ATTACH_POLICY: "UPDATING",
    ActionKind.CLUSTER_UPDATE_POLICY: "UPDATING",
    ActionKind.CLUSTER_DETACH_POLICY: "UPDATING",
    ActionKind.WORKER_CREATE: "CREATING",
    ActionKind.WORKER_UPDATE: "UPDATING",
    ActionKind.WORKER_DELETE: "DELETING",
    ActionKind.CLUSTER_OPERATION: "OPERATING",
    ActionKind.WORKER_OPERATION: "OPERATING",
    ActionKind.WORKER_CHECK: "CHECKING",
    ActionKind.WORKER_RECOVER: "RECOVERING",
    ActionKind.WORKER_JOIN: "RESIZING",
    ActionKind.WORKER_LEAVE: "RESIZING",
}
"""Status of a cluster, or of a node that is in none, while an action of this kind changes it."""

NODE_STATUS: Mapping[WorkerStatus, str] = {
    WorkerStatus.PENDING: "INIT",
    WorkerStatus.STARTING: "CREATING",
    WorkerStatus.RUNNING: "ACTIVE",
    WorkerStatus.UNREACHABLE: "WARNING",
    WorkerStatus.STOPPING: "OPERATING",
    WorkerStatus.STOPPED: "WARNING",
    WorkerStatus.ERROR: "ERROR",
}
LEAVING = "DELETING"
"""Status of a node that is on its way out, whatever else it is."""

ACTION_NAMES: Mapping[str, str] = {
    "CLUSTER_REMOVE_WORKERS": "CLUSTER_DEL_NODES",
    "CLUSTER_REPLACE_WORKERS": "CLUSTER_REPLACE_NODES",
    "CLUSTER_ADD_WORKERS": "CLUSTER_ADD_NODES",
    "WORKER_CREATE": "NODE_CREATE",
    "WORKER_UPDATE": "NODE_UPDATE",
    "WORKER_DELETE": "NODE_DELETE",
    "WORKER_OPERATION": "NODE_OPERATION",
    "WORKER_CHECK": "NODE_CHECK",
    "WORKER_RECOVER": "NODE_RECOVER",
    "WORKER_JOIN": "NODE_JOIN",
    "WORKER_LEAVE": "NODE_LEAVE",
}
"""All other kinds of actions have the same name."""

ACTION_STATUS_NEVER = frozenset({"INIT", "READY", "SUSPENDED", "WAITING_LIFECYCLE_COMPLETION"})
"""Statuses of Senlin's actions that none has here: who asks for those finds nothing, and is told of no mistake."""

CAUSES: Mapping[str, str] = {"call": "RPC Request", "derived": "Derived Action"}
OBJECT_TYPES: Mapping[str, str] = {"worker": "NODE", "cluster": "CLUSTER"}
"""Of events. All other types are ours in capitals; a machine's are `MACHINE`, since `NODE` is taken."""

MACHINE = "MACHINE"
LEVELS: Mapping[str, str] = {
    "10": "DEBUG",
    "20": "INFO",
    "30": "WARNING",
    "40": "ERROR",
    "50": "CRITICAL",
    "WARN": "WARNING",
}
"""Other ways in which Senlin's users say a level."""

NODE_FIELDS: Mapping[str, str] = {
    "id": "oid",
    "cluster_id": "cluster_oid",
    "profile_id": "profile_oid",
    "physical_id": "pid",
    "status_reason": "reason",
    "created_at": "created",
    "updated_at": "changed",
    "init_at": "created",
}
"""First steps of paths into nodes."""

SORT_KEYS: Mapping[str, str] = {
    "id": "oid",
    "created_at": "created",
    "init_at": "created",
    "updated_at": "changed",
    "timestamp": "time",
    "otype": "object_type",
    "obj_type": "object_type",
    "oname": "object_name",
    "obj_name": "object_name",
    "oid": "object_oid",
    "obj_id": "object_oid",
    "cluster_id": "cluster_oid",
}


def instant(time: Instant | None) -> str | None:
    """Return a time as Senlin says it: ISO 8601 in UTC, whole seconds."""
    return None if time is None else datetime.fromtimestamp(time // NANOSECONDS, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def epoch(time: Instant | None) -> float | None:
    """Return a time in seconds since 1970, as Senlin's actions have it."""
    return None if time is None else time / NANOSECONDS


def action_name(kind: str) -> str:
    """Return how Senlin calls a kind of action."""
    return ACTION_NAMES.get(kind, kind)


def our_action(name: str) -> str:
    """Return how we call what Senlin calls so."""
    return next((ours for ours, theirs in ACTION_NAMES.items() if theirs == name), name)


def object_type(ours: str) -> str:
    """Return how Senlin calls what an event is about."""
    return MACHINE if ours == "node" else OBJECT_TYPES.get(ours, ours.upper())


def our_object_type(theirs: str) -> str:
    """Return how we call it."""
    word = theirs.upper()
    if word == MACHINE:
        return "node"
    return next((ours for ours, name in OBJECT_TYPES.items() if name == word), theirs.lower())


def sort_text(text: str, *, of_events: bool = False) -> str:
    """Return Senlin's list of sort keys in our words."""
    parts = []
    for part in text.split(","):
        name, colon, direction = part.strip().partition(":")
        renamed = name if name == "oid" and not of_events else SORT_KEYS.get(name, name)
        parts.append(f"{renamed}{colon}{direction}")
    return ",".join(parts)


def refuse_unknown(given: Mapping[str, object], known: frozenset[str], method: str) -> None:
    """Raise `InvalidArgument` that names what a method has not."""
    unknown = sorted(given.keys() - known)
    if unknown:
        admitted = ", ".join(sorted(known))
        raise InvalidArgument(
            f"{method} has no argument {', '.join(unknown)}",
            subject={"type": "method", "name": method},
            problems=[Problem(f"$.{name}", "is not known") for name in unknown],
            next_step=f"give some of {admitted}",
        )
