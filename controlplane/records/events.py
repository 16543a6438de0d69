"""What happened: one declaration per kind of event, with its topics and its payload.

An event is stored with a sequence number in the same transaction as the change that it tells of, and published after
that transaction is durable. The payload is one positional argument: the record named here, plus
`seq` and `time`.
"""

import enum
from typing import Any, Literal, NamedTuple

from controlplane.records.actions import ActionView
from controlplane.records.clusters import (
    AnyClusterView,
    ClusterChange,
    ClusterTransition,
    ClusterView,
    GroupView,
    MembershipView,
)
from controlplane.records.definitions import DefinitionView
from controlplane.records.health_policies import RecoveryGivenUp
from controlplane.records.lifecycle import LifecycleHook
from controlplane.records.nodes import NodeChange, NodeView
from controlplane.records.policies import BindingView, PolicySkipped
from controlplane.records.principals import GrantView, InvitationView, KeyChange, TeamView, UserView
from controlplane.records.receivers import ReceiverView
from controlplane.records.standby import WorkerPromotion
from controlplane.records.types import Instant, Record
from controlplane.records.workers import WorkerView

OWN_PREFIX = "controlplane."
ROUTERCLUSTER_PREFIXES = (
    "crossbarfabriccenter.mrealm.routercluster.",
    "crossbarfabriccenter.mrealm.cluster.",
    "crossbarfabriccenter.routercluster.",
)
"""Crossbar.io's names: what its code and shell use, and what its published document says in two other spellings."""


class EventLevel(enum.Enum):
    """How much an event matters to who looks after the plane."""

    DEBUG = "DEBUG"
    """Places for workers come and go."""

    INFO = "INFO"
    WARNING = "WARNING"
    """Less than what is wanted is there, or somebody took something back."""

    ERROR = "ERROR"
    CRITICAL = "CRITICAL"
    """Nothing of a cluster runs any more."""


class EventType(NamedTuple):
    """One kind of event."""

    topic: str
    """The name that it is stored under."""

    aliases: tuple[str, ...]
    """Other topics that carry the same payload."""

    payload: type[Record]
    text: str
    needs: Literal["read", "administer"] = "read"
    """Which right hears of it."""

    level: EventLevel = EventLevel.INFO
    """An action that failed is an error all the same, one that was cancelled a warning: `core.event_log` says so."""


class StoredEvent(Record, frozen=True, kw_only=True):
    """One event as it is kept."""

    seq: int
    time: Instant
    topic: str
    payload: dict[str, Any]


class EventView(Record, frozen=True, kw_only=True):
    """One event as callers see it."""

    seq: int
    """Its identity: events are numbered, and have no oid."""

    time: Instant
    topic: str
    payload: dict[str, Any]
    level: EventLevel
    object_type: str
    """`cluster`, `worker`, `node`, `profile` and so on; an action's events are about the cluster that it changes."""

    object_oid: str | None
    object_name: str | None
    cluster_oid: str | None
    """The cluster that it is about, or that the object belongs to."""

    action: str | None
    """The kind of the action that began or ended, as `CLUSTER_RESIZE`."""

    status: str | None
    """Of the object, or of the action, after what happened."""

    reason: str | None


class EventPage(Record, frozen=True, kw_only=True):
    """Events in the order that was asked for: oldest first unless something else was."""

    events: tuple[EventView, ...]
    last: int
    """Sequence number of the newest event there is; 0 when there was none yet."""

    oldest: int
    """Sequence number of the oldest event that is kept."""

    next: int | None
    """Pass this as `after` for the next page, or as `marker` with a `sort`; None when there is none.

    There may be a next page when this one is empty: a call looks at so many events and no more.
    """

    gap: bool
    """Whether events after the given number are kept no longer: read the current state instead of catching up."""


def _cluster(
    verb: str, payload: type[Record], text: str, *old_names: str, level: EventLevel = EventLevel.INFO
) -> EventType:
    names = [verb, *old_names]
    return EventType(
        f"{OWN_PREFIX}routercluster.{verb}",
        tuple(prefix + name for prefix in ROUTERCLUSTER_PREFIXES for name in names),
        payload,
        text,
        level=level,
    )


def _own(noun: str, verb: str, payload: type[Record], text: str, level: EventLevel = EventLevel.INFO) -> EventType:
    return EventType(f"{OWN_PREFIX}{noun}.on_{noun}_{verb}", (), payload, text, level=level)


def _guarded(noun: str, verb: str, payload: type[Record], text: str) -> EventType:
    return EventType(f"{OWN_PREFIX}{noun}.on_{noun}_{verb}", (), payload, text, "administer")


CLUSTER_CREATED = _cluster("on_routercluster_created", ClusterView, "A router cluster was created.")
CLUSTER_UPDATED = _cluster("on_routercluster_updated", ClusterView, "Settings of a router cluster were changed.")
CLUSTER_GIVEN = _cluster("on_routercluster_given", ClusterView, "A router cluster belongs to another user.")
CLUSTER_DELETED = _cluster("on_routercluster_deleted", ClusterView, "A router cluster was deleted.")
CLUSTER_STARTING = _cluster("on_routercluster_starting", ClusterChange, "Somebody started a router cluster.")
CLUSTER_STARTED = _cluster("on_routercluster_started", ClusterTransition, "All workers of a cluster run since start.")
CLUSTER_DEGRADED = _cluster(
    "on_routercluster_degraded", ClusterTransition, "Some workers of a cluster do not run.", level=EventLevel.WARNING
)
CLUSTER_FAILED = _cluster(
    "on_routercluster_failed",
    ClusterTransition,
    "No worker of a cluster runs, and some failed.",
    level=EventLevel.CRITICAL,
)
CLUSTER_RECOVERED = _cluster("on_routercluster_recovered", ClusterTransition, "All workers of a cluster run again.")
CLUSTER_STOPPING = _cluster("on_routercluster_stopping", ClusterChange, "Somebody stopped a router cluster.")
CLUSTER_STOPPED = _cluster("on_routercluster_stopped", ClusterTransition, "No worker of a router cluster is left.")
CLUSTER_NODE_ADDED = _cluster("on_routercluster_node_added", MembershipView, "A node may carry workers of a cluster.")
CLUSTER_NODE_REMOVED = _cluster("on_routercluster_node_removed", MembershipView, "A node may carry them no longer.")
GROUP_ADDED = _cluster(
    "on_routercluster_workergroup_added", GroupView, "A worker group was added.", "on_workergroup_added"
)
GROUP_REMOVED = _cluster(
    "on_routercluster_workergroup_removed", GroupView, "A worker group was removed.", "on_workergroup_removed"
)
GROUP_SCALED = _cluster(
    "on_routercluster_workergroup_scaled", GroupView, "A worker group wants another number.", "on_workergroup_scaled"
)

ANY_CLUSTER_CREATED = _own("cluster", "created", AnyClusterView, "A generic cluster was created.")
ANY_CLUSTER_UPDATED = _own("cluster", "updated", AnyClusterView, "Settings of such a cluster were changed.")
ANY_CLUSTER_RESIZED = _own("cluster", "resized", AnyClusterView, "A cluster wants another number of workers.")
ANY_CLUSTER_STARTED = _own("cluster", "started", ClusterTransition, "All workers of a new cluster run.")
ANY_CLUSTER_DEGRADED = _own(
    "cluster", "degraded", ClusterTransition, "Some workers of a cluster do not run.", EventLevel.WARNING
)
ANY_CLUSTER_FAILED = _own(
    "cluster", "failed", ClusterTransition, "No worker of a cluster runs, and some failed.", EventLevel.CRITICAL
)
ANY_CLUSTER_RECOVERED = _own("cluster", "recovered", ClusterTransition, "All workers of a cluster run again.")
ANY_CLUSTER_STOPPED = _own("cluster", "stopped", ClusterTransition, "No worker of a cluster is left.")
ANY_CLUSTER_DELETED = _own("cluster", "deleted", AnyClusterView, "A cluster of processes or containers is no more.")

ACTION_STARTED = _own("action", "started", ActionView, "A change that takes its time was begun.")
ACTION_ENDED = _own("action", "ended", ActionView, "It succeeded, failed or was cancelled.")

PROFILE_CREATED = _guarded("profile", "created", DefinitionView, "A profile was created.")
PROFILE_UPDATED = _guarded("profile", "updated", DefinitionView, "A profile has another name or other metadata.")
PROFILE_DELETED = _guarded("profile", "deleted", DefinitionView, "A profile is no more.")

POLICY_CREATED = _guarded("policy", "created", DefinitionView, "A policy was created.")
POLICY_UPDATED = _guarded("policy", "updated", DefinitionView, "A policy has another name or other metadata.")
POLICY_DELETED = _guarded("policy", "deleted", DefinitionView, "A policy is no more.")
POLICY_ATTACHED = _own("cluster", "policy_attached", BindingView, "A cluster obeys a policy from now on.")
POLICY_CHANGED = _own("cluster", "policy_changed", BindingView, "A policy of a cluster was enabled or disabled.")
POLICY_DETACHED = _own("cluster", "policy_detached", BindingView, "A cluster obeys a policy no longer.")
POLICY_SKIPPED = _own("cluster", "policy_skipped", PolicySkipped, "A schedule left out a time.", EventLevel.WARNING)

RECOVERY_GIVEN_UP = _own(
    "cluster",
    "recovery_given_up",
    RecoveryGivenUp,
    "A health policy brings a worker back no more; the reason says why.",
    EventLevel.ERROR,
)

RECEIVER_CREATED = _guarded("receiver", "created", ReceiverView, "A receiver was created.")
RECEIVER_UPDATED = _guarded("receiver", "updated", ReceiverView, "A receiver was changed, or has another address.")
RECEIVER_DELETED = _guarded("receiver", "deleted", ReceiverView, "A receiver is no more.")

WORKER_CREATED = _own("worker", "created", WorkerView, "A place for a worker was made.", EventLevel.DEBUG)
WORKER_UPDATED = _own("worker", "updated", WorkerView, "A worker has another name or other metadata.")
WORKER_JOINED = _own("worker", "joined", WorkerView, "A worker that was in no cluster is in this one.")
WORKER_PROMOTED = _own("worker", "promoted", WorkerPromotion, "A worker that stood by is taken into its cluster.")
WORKER_LEFT = _own("worker", "left", WorkerView, "A worker is in no cluster any more, and runs on.")
WORKER_STARTED = _own("worker", "started", WorkerView, "A worker runs and serves.")
WORKER_FAILED = _own(
    "worker", "failed", WorkerView, "A worker died or did not start; the reason says why.", EventLevel.ERROR
)
WORKER_MOVED = _own("worker", "moved", WorkerView, "A worker was given another node.", EventLevel.WARNING)
WORKER_LEAVING = _own("worker", "leaving", LifecycleHook, "A worker will go; until then others can get ready for it.")
WORKER_STOPPED = _own("worker", "stopped", WorkerView, "A worker that was told to stop is gone from its node.")
WORKER_DELETED = _own("worker", "deleted", WorkerView, "The place of a worker is no more.", EventLevel.DEBUG)

NODE_PAIRED = _own("node", "paired", NodeView, "A machine may connect with its key from now on.")
NODE_UNPAIRED = _own("node", "unpaired", NodeView, "A machine may connect no longer.")
NODE_UPDATED = _own("node", "updated", NodeView, "Settings of a machine were changed, as its region or zone.")
NODE_ONLINE = _own("node", "online", NodeChange, "A node's agent is connected.")
NODE_OFFLINE = _own("node", "offline", NodeChange, "A node's agent is connected no longer.", EventLevel.WARNING)

NODE_KEY_ROTATED = _own("node", "key_rotated", NodeView, "A node's agent logged in with its new key.")

USER_CREATED = _guarded("user", "created", UserView, "Somebody may log in.")
USER_UPDATED = _guarded("user", "updated", UserView, "A user has another role, key or limit, or was disabled.")
USER_KEY_ROTATED = _guarded("user", "key_rotated", KeyChange, "A user logged in with its new key; the old one is void.")
USER_REMOVED = _guarded("user", "removed", UserView, "Somebody may log in no longer.")
TEAM_CREATED = _guarded("team", "created", TeamView, "A team was created.")
TEAM_UPDATED = _guarded("team", "updated", TeamView, "A team has other members.")
TEAM_REMOVED = _guarded("team", "removed", TeamView, "A team is no more.")
GRANT_ADDED = _guarded("grant", "added", GrantView, "A right on a cluster was granted.")
GRANT_REMOVED = _guarded("grant", "removed", GrantView, "A right on a cluster was taken back.")
INVITATION_CREATED = _guarded("invitation", "created", InvitationView, "A node or a user was invited.")
INVITATION_USED = _guarded("invitation", "used", InvitationView, "An invitation was traded for a key.")
INVITATION_REMOVED = _guarded("invitation", "removed", InvitationView, "An invitation was withdrawn, or has expired.")

EVENT_TYPES: tuple[EventType, ...] = tuple(value for value in list(globals().values()) if isinstance(value, EventType))
BY_TOPIC = {kind.topic: kind for kind in EVENT_TYPES}
