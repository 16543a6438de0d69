"""Actions: every change that takes its time, as a record that survives the master."""

import enum
from typing import Any

import msgspec

from controlplane.records.lifecycle import Leaving, Waited
from controlplane.records.policies import Decision
from controlplane.records.recoveries import Chain, Recovery
from controlplane.records.types import Instant, Oid, Record, Seconds

WORKERS_LISTED_MAX = 1_000
"""Workers that an action names one by one; the others are counted."""


class ActionKind(enum.Enum):
    """What an action does."""

    CLUSTER_CREATE = "CLUSTER_CREATE"
    CLUSTER_UPDATE = "CLUSTER_UPDATE"
    CLUSTER_RESIZE = "CLUSTER_RESIZE"
    CLUSTER_SCALE_OUT = "CLUSTER_SCALE_OUT"
    CLUSTER_SCALE_IN = "CLUSTER_SCALE_IN"
    CLUSTER_CHECK = "CLUSTER_CHECK"
    CLUSTER_RECOVER = "CLUSTER_RECOVER"
    CLUSTER_REMOVE_WORKERS = "CLUSTER_REMOVE_WORKERS"
    CLUSTER_REPLACE_WORKERS = "CLUSTER_REPLACE_WORKERS"
    CLUSTER_ADD_WORKERS = "CLUSTER_ADD_WORKERS"
    CLUSTER_DELETE = "CLUSTER_DELETE"
    CLUSTER_ATTACH_POLICY = "CLUSTER_ATTACH_POLICY"
    CLUSTER_UPDATE_POLICY = "CLUSTER_UPDATE_POLICY"
    CLUSTER_DETACH_POLICY = "CLUSTER_DETACH_POLICY"
    WORKER_CREATE = "WORKER_CREATE"
    WORKER_UPDATE = "WORKER_UPDATE"
    WORKER_DELETE = "WORKER_DELETE"
    CLUSTER_OPERATION = "CLUSTER_OPERATION"
    WORKER_OPERATION = "WORKER_OPERATION"
    WORKER_CHECK = "WORKER_CHECK"
    WORKER_RECOVER = "WORKER_RECOVER"
    WORKER_JOIN = "WORKER_JOIN"
    """A child's alone, as the next one: a worker that ran in no cluster comes into one."""

    WORKER_LEAVE = "WORKER_LEAVE"


OPERATIONS = frozenset({ActionKind.CLUSTER_OPERATION, ActionKind.WORKER_OPERATION})
"""Actions that change nothing of what is wanted: workers are told to do something, each once."""


class ActionStatus(enum.Enum):
    """Where an action is in its life; the last three are its ends."""

    WAITING = "WAITING"
    """Of a child: its worker's turn has not come, or there is no place for it yet."""

    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class Phase(enum.Enum):
    """What a running action is about."""

    CHECK = "check"
    """The agents are asked how workers are."""

    CONVERGE = "converge"
    """What is wanted is stored, and workers are on their way."""

    ROLL_BACK = "roll back"
    """It failed, and what it changed is taken back."""

    LIFECYCLE = "WAITING_LIFECYCLE_COMPLETION"
    """Workers are to go, and wait until somebody says that they may, or for their grace period."""

    OVER = "over"


class Failed(Record, frozen=True, kw_only=True):
    """A worker that did not become what the action wanted, and why."""

    worker_oid: Oid
    reason: str | None


class Outputs(Record, frozen=True, kw_only=True):
    """What became of the workers that an action was about; the first thousand of each kind by name."""

    done: tuple[Oid, ...] = ()
    failed: tuple[Failed, ...] = ()
    undone: tuple[Oid, ...] = ()
    """Workers of its own that were taken back because it failed."""

    removed: tuple[Oid, ...] = ()
    unknown: tuple[Failed, ...] = ()
    """Workers that were told to do something, and of which nobody can say whether they did: it is not tried again."""

    lifecycle: tuple[Leaving, ...] = ()
    """Workers that will go and wait for something first."""

    waited: tuple[Waited, ...] = ()
    """Workers that did so, and how that ended."""


class Children(Record, frozen=True, kw_only=True):
    """How many actions of single workers an action of a cluster consists of, and how they stand."""

    total: int = 0
    waiting: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0


class Pace(Record, frozen=True, kw_only=True):
    """How fast workers are changed over."""

    batch: int
    """So many at a time."""

    steady: Seconds
    """So long each has to run before the next ones are changed."""

    canary: int = 0
    """So many have to have run for that long before there are as many at a time."""


class Action(Record, frozen=True, kw_only=True):
    """An intention with a result. While it runs it holds the lock of its cluster."""

    oid: Oid
    name: str
    kind: ActionKind
    cluster_oid: Oid
    cluster_name: str
    group_oid: Oid | None = None
    worker_oid: Oid | None = None
    """The one worker that it is about, of an action of a worker."""

    parent_oid: Oid | None = None
    """Of a child, the action of the cluster; children are stored as such, and look like actions to callers."""

    children: Children | None = None
    """None for an action that has none."""

    cause: str = "call"
    """Who wanted it: `call`, `receiver`, `policy`; `derived` for a child."""

    who: str
    """Login name of the caller, or name of the receiver or policy."""

    inputs: dict[str, Any] = msgspec.field(default_factory=dict)
    """As they were given, with defaults."""

    before: dict[str, Any] = msgspec.field(default_factory=dict)
    """What it changed, as it was: what a roll back returns to."""

    outputs: Outputs = Outputs()
    status: ActionStatus = ActionStatus.RUNNING
    phase: Phase = Phase.CONVERGE
    reason: str | None = None
    done: int = 0
    total: int = 0
    decisions: tuple[Decision, ...] = ()
    """What policies had to say."""

    leaving: tuple[Oid, ...] = ()
    """Workers that are on their way out."""

    workers: tuple[Oid, ...] = ()
    """Workers that were there before and that it is about."""

    command: dict[str, Any] = msgspec.field(default_factory=dict)
    """Of an operation, what workers are told: parameters with secrets in them, which `inputs` do not show."""

    pace: Pace | None = None
    """How fast it goes, when a policy decided that; None for the cluster's own pace."""

    marks: bool = False
    """Whether workers that are made for it are marked as such; those of former versions are told by their age."""

    ending: ActionStatus | None = None
    """What it will have been when everything is taken back; None while it goes forward."""

    chain: Chain | None = None
    """What a recovery does about a worker."""

    recoveries: tuple[Recovery, ...] = ()
    """Workers that are being brought back in their places."""

    timeout: Seconds
    created: Instant
    started: Instant | None = None
    """Of a child, when something was begun about its worker; other actions start as soon as they are created."""

    since: Instant | None = None
    """From when on its time is counted, when a clock that was set back puts `created` in the time to come."""

    ended: Instant | None = None


class ActionView(Record, frozen=True, kw_only=True):
    """An action as callers see it."""

    oid: Oid
    name: str
    action: ActionKind
    target: Oid
    """The cluster, or the worker, that it is about."""

    cluster_oid: Oid
    cluster_name: str
    cause: str
    who: str
    inputs: dict[str, Any]
    outputs: Outputs
    decisions: tuple[Decision, ...]
    status: ActionStatus
    phase: Phase
    reason: str | None
    done: int
    """Workers that have got where the action wants them, of `total`."""

    total: int
    timeout: Seconds
    created: Instant
    ended: Instant | None
    parent_oid: Oid | None = None
    """The action that it is a part of; None for one that somebody wanted by itself."""

    children: Children | None = None
    """How the actions of single workers stand that it consists of; `list_actions` shows them by `parent_oid`."""

    started: Instant | None = None
    """When it was begun; None while it waits."""
