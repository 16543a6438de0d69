"""Units that run on nodes: what an agent is told to run, what it reports, and what the master keeps of both."""

import enum
from typing import Annotated, Any

import msgspec

from controlplane.records.balancing import Drain
from controlplane.records.definitions import Labels
from controlplane.records.health_policies import UrlLook
from controlplane.records.lifecycle import Farewell
from controlplane.records.metrics import Watch
from controlplane.records.standby import Promotion
from controlplane.records.types import Instant, Line, Natural, Oid, Record

REASON_LENGTH_MAX = 4_096


class WorkerStatus(enum.Enum):
    """Where a worker is in its life."""

    PENDING = "PENDING"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    UNREACHABLE = "UNREACHABLE"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"
    ERROR = "ERROR"


class Want(enum.Enum):
    """What the master wants of a worker."""

    RUN = "RUN"
    STOP = "STOP"
    """Stop it and keep its place, as a stopped cluster does."""

    REMOVE = "REMOVE"
    """Stop it and forget it."""


class Address(Record, frozen=True, kw_only=True):
    """Where clients can connect to a worker."""

    type: Line
    url: Annotated[str, msgspec.Meta(max_length=1_024)]


class WorkerSpec(Record, frozen=True, kw_only=True):
    """What a driver shall run."""

    oid: Oid
    digest: str
    """Identity of `config`: a worker that runs with another digest has to be replaced."""

    config: dict[str, Any]


class Entry(Record, frozen=True, kw_only=True):
    """One worker of an assignment; its configuration is listed beside, because many workers share one."""

    oid: Oid
    driver: str
    digest: str
    fence_after: float | None = None
    """Seconds without a word of the master after which the agent kills it; None for never."""


class WorkerReport(Record, frozen=True, kw_only=True):
    """What an agent says about one worker on its node."""

    oid: Oid
    status: WorkerStatus
    """STARTING, RUNNING, STOPPING or ERROR; a worker that is gone is reported as gone, not as stopped."""

    digest: Line | None = None
    """Of the configuration that runs now, which may not be the newest; None while nothing runs."""

    reason: Annotated[str, msgspec.Meta(max_length=REASON_LENGTH_MAX)] | None = None
    restarts: Natural = 0
    failures: Natural = 0
    """How often in a row it failed with the configuration that it is to have."""

    started: Natural | None = None
    pid: Natural | None = None
    realms: Annotated[tuple[Line, ...], msgspec.Meta(max_length=64)] = ()
    addresses: Annotated[tuple[Address, ...], msgspec.Meta(max_length=64)] = ()
    paused: bool = False
    """Whether it is held, as somebody wanted: it runs, and does nothing."""

    fence_after: float | None = None
    """Seconds without a word of the master after which it is killed, as the agent was told and has written down."""


class Assignment(Record, frozen=True, kw_only=True):
    """What one node shall run, whole or as the difference to an earlier version."""

    epoch: Oid
    """Identity of the store and the node: versions of different ones cannot be compared."""

    version: int
    base: int | None = None
    """Oldest version that this is the difference to; None when `workers` is everything."""

    workers: tuple[Entry, ...] = ()
    configs: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)
    """By digest."""

    removed: tuple[Oid, ...] = ()


class Question(Record, frozen=True, kw_only=True):
    """Something that the master wants to know from an agent at once."""

    oid: Oid
    kind: str
    """`statistics`; `check`; `poll`; `pass_on`, a call of the Crossbar.io node; `logs`; `adoption`; `operate`, an order
    that is reported on by itself; or `rotate_key`, which is none either: the agent makes a new key and uses it."""

    workers: tuple[Oid, ...] = ()
    within: float | None = None
    """Seconds after which nobody waits for the answer any more."""

    urls: dict[str, UrlLook] | None = None
    """Pages of workers to ask for, for `poll`."""

    passed: "PassedOn | None" = None
    look: "LookAtLogs | None" = None
    sought: "WorkerSought | None" = None
    command: "Command | None" = None
    """Of `operate`; the question has the oid of the order."""

    watch: Watch | None = None
    """Of `metrics`: workers are measured from now on, and the answer is what they used since it was asked for last."""


class Command(Record, frozen=True, kw_only=True):
    """An order as an agent is told."""

    worker_oid: Oid
    operation: Line
    parameters: dict[str, Any]
    boot: Oid
    """Run of the agent that is meant. It knows which orders it was given; another one cannot, and does nothing."""


class WorkerSought(Record, frozen=True, kw_only=True):
    """Something that runs already on a node and may become a worker."""

    driver: Line
    identity: Line
    """What its driver knows it by: a pid, or the name or id of a container."""

    snapshot: bool = False
    """Whether it is to be kept as it is, for others to be made from."""


class Findings(Record, frozen=True, kw_only=True):
    """What an agent says of something that runs already."""

    properties: dict[str, Any] = msgspec.field(default_factory=dict)
    """Of the profile that it could have."""

    adopts: dict[str, Any] = msgspec.field(default_factory=dict)
    """What tells it from everything else on its node, for ever."""

    refusal: Annotated[str, msgspec.Meta(max_length=REASON_LENGTH_MAX)] | None = None
    """Why it cannot become a worker."""

    problems: tuple[tuple[str, str], ...] = ()


class LookAtLogs(Record, frozen=True, kw_only=True):
    """Which part of a worker's output is asked for."""

    worker_oid: Oid
    lines: Natural
    length: Natural
    """Bytes at most."""

    after: str | None = None
    """Position of which the rest is asked for; None for the last lines."""


class WorkerLogs(Record, frozen=True, kw_only=True):
    """The end of what a worker has written."""

    worker_oid: Oid
    node_oid: Oid
    text: str
    next: str | None = None
    """Position after this text: pass it as `after` for what is written then. None when its driver cannot say."""

    gap: bool = False
    """Whether something that was written after the given position is kept no longer."""


class PassedOn(Record, frozen=True, kw_only=True):
    """A call that the Crossbar.io node of a machine is to answer."""

    procedure: str
    """The part of its name that comes after the node's own."""

    arguments: list[Any] = msgspec.field(default_factory=list)
    keywords: dict[str, Any] = msgspec.field(default_factory=dict)
    within: float


class Report(Record, frozen=True, kw_only=True):
    """What an agent observed since its last acknowledged report, or everything."""

    boot: Oid
    """Identity of this run of the agent."""

    sequence: Natural
    """Grows with every report of one boot; an older one that arrives late is ignored."""

    epoch: Oid | None = None
    version: Natural = 0
    """Newest assignment that the agent holds."""

    full: bool = False
    """Whether workers that are not mentioned do not run."""

    workers: tuple[WorkerReport, ...] = ()
    gone: tuple[Oid, ...] = ()


class Kept(Record, frozen=True, kw_only=True):
    """What a worker that has joined a cluster goes on with as it was started, until that is given another spec."""

    name: str
    """What it was told that it is called."""

    index: int
    profile_oid: Oid | None
    spec: dict[str, Any] | None
    """None for that of its cluster."""

    beside: str
    """Identity of the cluster's spec beside which it keeps its own."""


class Given(Record, frozen=True, kw_only=True):
    """What the digest of a worker was composed from, while somebody wants more of it than it has been given yet."""

    generation: int
    rebuilds: int
    kills: int
    adopts: dict[str, Any] | None


class Worker(Record, frozen=True, kw_only=True):
    """One place in a cluster: what is wanted of it, where, and how it was last seen.

    A worker keeps its oid when it is moved, restarted or given a new configuration.
    """

    oid: Oid
    cluster_oid: Oid
    workergroup_oid: Oid | None
    """None for the router workers that the control plane itself puts behind a router cluster, and for one that stands
    by: it is in no group yet."""

    index: int
    created: Instant
    want: Want = Want.RUN
    node_oid: Oid | None = None
    revision: int = 0
    """Of the cluster's configuration that it shall run."""

    links: dict[str, str] = msgspec.field(default_factory=dict)
    """Sockets of the workers that it depends on, by their index."""

    digest: str | None = None
    """Of the configuration that it shall run; None while it is not placed."""

    status: WorkerStatus = WorkerStatus.PENDING
    reason: str | None = None
    fresh: bool = True
    """Whether it has not run yet since it was wanted."""

    version: int = 0
    """Of its node's assignment, when what the node shall do about it last changed."""

    seen_digest: str | None = None
    restarts: int = 0
    """In all, on all nodes."""

    failures: int = 0
    """As last reported: in a row, with the configuration that it is to have."""

    generation: int = 0
    """Grows when somebody wants it restarted."""

    rebuilds: int = 0
    """Grows when somebody wants nothing to be left of what it has kept."""

    kills: int = 0
    """Grows when somebody wants it killed instead of ended in order."""

    renewals: int = 0
    """How often another process took the place of its first one, for whatever reason."""

    fence_after: float | None = None
    """Seconds of silence after which its agent has said that it kills it; None when it has not said so."""

    restarts_seen: int = 0
    """As last reported; an agent counts from zero when it starts."""

    started: Instant | None = None
    pid: int | None = None
    realms: tuple[str, ...] = ()
    addresses: tuple[Address, ...] = ()
    paused: bool = False
    """As last reported: it runs and is held, until somebody has it resumed."""

    farewell: Farewell | None = None
    """That it will go, and what it waits for first; it runs on until then, and its cluster does not count on it."""

    changed: Instant
    name: str | None = None
    """Its own; None for the one that its cluster gives it."""

    metadata: Labels = msgspec.field(default_factory=dict)
    kept: Kept | None = None
    protected: bool = False
    """Whether it is never taken out of its cluster or replaced."""

    made_for: Oid | None = None
    """The action that changed its cluster when it was added, or taken from those that stand by."""

    drain: Drain | None = None
    """What is waited for before it is stopped or changed; its load balancer sends nobody to it meanwhile."""

    adopts: dict[str, Any] | None = None
    """What it was before it was a worker: that runs on as long as it can."""

    standby: bool = False
    """Whether it stands by: it runs, and is none of those that its cluster wants until it takes the place of one."""

    promotion: Promotion | None = None
    """That it stood by before; None for one that never did."""

    given: Given | None = None
    """What its node is told until its turn comes to be changed; None when that is all that is wanted of it."""


class WorkerView(Record, frozen=True, kw_only=True):
    """A worker as callers see it."""

    oid: Oid
    cluster_oid: Oid
    workergroup_oid: Oid | None
    node_oid: Oid | None
    index: int
    status: str
    reason: str | None
    restarts: int
    started: Instant | None
    pid: int | None
    realms: tuple[str, ...]
    addresses: tuple[Address, ...]
    protected: bool = False
    """Whether it is never taken out of its cluster or replaced."""

    standby: bool = False
    """Whether it stands by, until its cluster needs it."""


class AnyWorkerView(Record, frozen=True, kw_only=True):
    """A worker of a cluster of any type as callers see it, with what it belongs to."""

    oid: Oid
    name: str
    """As its cluster names its workers."""

    cluster_oid: Oid
    cluster_name: str
    workergroup_oid: Oid | None
    workergroup_name: str | None
    profile_oid: Oid | None
    node_oid: Oid | None
    node_name: str | None
    index: int
    status: str
    reason: str | None
    leaving: bool
    """Whether it is on its way out."""

    restarts: int
    failures: int
    """In a row, with the configuration that it is to have."""

    revision: int
    """Of the cluster's configuration that it shall run."""

    updated: bool
    """Whether it runs with the configuration that it shall have."""

    started: Instant | None
    pid: int | None
    realms: tuple[str, ...]
    addresses: tuple[Address, ...]
    created: Instant
    changed: Instant
    alone: bool = False
    """Whether it is in no cluster; `cluster_oid` is then the place that it has for itself, which no list shows."""

    metadata: Labels = msgspec.field(default_factory=dict)
    paused: bool = False
    """Whether it is held until somebody has it resumed; nothing is wrong with it."""

    protected: bool = False
    """Whether it is never taken out of its cluster or replaced."""

    standby: bool = False
    """Whether it stands by, until its cluster needs it."""

    details: dict[str, Any] | None = None
    """What its agent says of it now; None when nobody asked, or when the agent did not answer in time."""


class CollectedAttribute(Record, frozen=True, kw_only=True):
    """What a path leads to in one worker."""

    worker_oid: Oid
    worker_name: str
    value: Any


Scale = Annotated[int, msgspec.Meta(ge=0, le=128)]
"""How many workers a group wants. Crossbar.io's master admits 1 to 128; 0 empties a group without removing it."""
