"""Clusters, their groups and their memberships."""

import enum
from typing import Annotated, Any

import msgspec

from controlplane.records import patterns
from controlplane.records.balancing import BalanceRules
from controlplane.records.definitions import Labels
from controlplane.records.placement import PlacementRules
from controlplane.records.principals import Who
from controlplane.records.standby import StandbyRules
from controlplane.records.types import Description, Instant, Label, Line, Name, Oid, Record, Seconds, Tags
from controlplane.records.workers import Scale

GRACE_PERIOD_DEFAULT_S = 10.0
ROUTERS_MAX = 64
LIMIT_MAX = 10_000

ACTION_TIMEOUT_DEFAULT_S = 3600.0
STEADY_DEFAULT_S = 1.0

GracePeriod = Annotated[Seconds, msgspec.Meta(ge=0, le=86_400)]
Routers = Annotated[int, msgspec.Meta(ge=1, le=ROUTERS_MAX)]
Limit = Annotated[int, msgspec.Meta(ge=0, le=LIMIT_MAX)]
Timeout = Annotated[Seconds, msgspec.Meta(ge=1, le=30 * 86_400)]
Steady = Annotated[Seconds, msgspec.Meta(ge=0, le=3_600)]
Batch = Annotated[int, msgspec.Meta(ge=1, le=LIMIT_MAX)]
Size = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
SizeMax = Annotated[int, msgspec.Meta(ge=-1, le=1_000_000)]
Naming = Annotated[str, msgspec.Meta(pattern=patterns.NAMING)]
"""`$I` stands for the index of a worker, `$3I` for the index with three digits, `$R` and `$8R` for some letters."""


class ClusterStatus(enum.Enum):
    """Where a cluster is in its life; derived from what its workers do and from what is wanted."""

    STOPPED = "STOPPED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    DEGRADED = "DEGRADED"
    STOPPING = "STOPPING"
    ERROR = "ERROR"
    DELETING = "DELETING"
    """Its workers are being stopped, and then it is no more."""


class ClusterType(enum.Enum):
    """What a cluster is made of."""

    ROUTER = "router"
    """Frontends and the routers behind them."""

    GENERIC = "generic"
    """Workers of one profile that know nothing of each other."""


class Cluster(Record, frozen=True, kw_only=True):
    """What runs: workers in groups, in a router cluster with routers behind them."""

    oid: Oid
    name: str
    type: ClusterType = ClusterType.ROUTER
    label: Label | None = None
    description: Description | None = None
    tags: Tags | None = None
    owner_oid: Oid | None = None
    created: Instant
    changed: Instant
    run: bool = False
    """Whether it is wanted to run."""

    ready: Instant | None = None
    """When all its workers first ran since it was started; None before."""

    status: ClusterStatus = ClusterStatus.STOPPED
    """As last announced; always what `core.health.cluster_status` says of its workers."""

    revision: int = 1
    """Of its configuration."""

    routers: Routers = 1
    """How many router workers hold its realms."""

    grace_period: GracePeriod = GRACE_PERIOD_DEFAULT_S
    """How long a worker on a silent node is waited for before it is placed elsewhere, in seconds."""

    action_oid: Oid | None = None
    """The action that is changing it; there is no other one before this one has ended."""

    deleting: bool = False
    timeout: Seconds = ACTION_TIMEOUT_DEFAULT_S
    """How long an action may take, in seconds."""

    profile_oid: Oid | None = None
    """Where the configuration of a generic cluster was taken from."""

    naming: str | None = None
    """How workers are called; None for the name of the cluster and the index."""

    batch: Batch = 1
    """How many workers of a generic cluster that serve are given another configuration at a time."""

    steady: Steady = STEADY_DEFAULT_S
    """How long a worker of a generic cluster has to run with another configuration before the next one is changed."""

    per_node_max: int | None = None
    """How many of its workers may stand on one node, as its policies say; None for any number."""

    per_node_policy: Line | None = None
    """Name of the policy that says so."""

    placement: PlacementRules | None = None
    """What else its policies say of where its workers stand; None for nothing."""

    balance: BalanceRules | None = None
    """How workers leave its load balancer, as its policies say; None without one."""

    metadata: Labels = msgspec.field(default_factory=dict)
    alone: bool = False
    """Whether it is nothing but the place of one worker that is in no cluster: lists and names do not show it."""

    node_oid: Oid | None = None
    """The one node that such a worker stands on; None for any."""

    fence_after: Seconds | None = None
    """How long its workers may run while their agent hears nothing of the master, in seconds; None for ever."""

    standby: StandbyRules | None = None
    """What its policies say of workers that stand by for it; None for nothing."""


class ClusterRevision(Record, frozen=True, kw_only=True):
    """One configuration that a cluster has had and that workers may still run."""

    cluster_oid: Oid
    revision: int
    config: dict[str, Any] | None
    """As the user gave it; None for the default. Of a generic cluster the spec of its profile."""

    homes: dict[str, int]
    """Which router worker, by index, holds which realm."""

    called: str | None = None
    """What the cluster was called when it was given this configuration, which names its workers for themselves: another
    name later starts no worker anew. None for what it is called now."""


class Group(Record, frozen=True, kw_only=True):
    """How many workers of one kind a cluster wants; Crossbar.io's "worker group", which are frontends."""

    oid: Oid
    cluster_oid: Oid
    name: str
    label: Label | None = None
    description: Description | None = None
    tags: Tags | None = None
    scale: Size = 1
    min_size: int = 0
    max_size: int | None = None
    """Bounds of `scale` for who resizes the cluster; None for no bound."""

    created: Instant
    changed: Instant


class Membership(Record, frozen=True, kw_only=True):
    """Which node may carry workers of a cluster, and how many."""

    cluster_oid: Oid
    node_oid: Oid
    softlimit: int | None = None
    hardlimit: int | None = None
    created: Instant


class Tally(Record, frozen=True, kw_only=True):
    """How many workers of one group are in which state; kept in step with every change of a worker."""

    cluster_oid: Oid
    workergroup_oid: Oid | None
    counts: dict[str, int]
    restarts: int = 0


class ClusterInput(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Settings of a router cluster, as a caller gives them."""

    name: Name
    label: Label | None = None
    description: Description | None = None
    tags: Tags | None = None
    config: dict[str, Any] | None = None
    routers: Routers = 1
    grace_period: GracePeriod = GRACE_PERIOD_DEFAULT_S


class ClusterUpdate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Settings of a router cluster to change; what is not mentioned stays."""

    label: Label | None | msgspec.UnsetType = msgspec.UNSET
    description: Description | None | msgspec.UnsetType = msgspec.UNSET
    tags: Tags | None | msgspec.UnsetType = msgspec.UNSET
    config: dict[str, Any] | None | msgspec.UnsetType = msgspec.UNSET
    routers: Routers | msgspec.UnsetType = msgspec.UNSET
    grace_period: GracePeriod | msgspec.UnsetType = msgspec.UNSET


class GroupInput(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Settings of a worker group, as a caller gives them."""

    name: Name | None = None
    cluster_oid: Oid | None = None
    """Need not be repeated; refused when it is another cluster."""

    label: Label | None = None
    description: Description | None = None
    tags: Tags | None = None
    scale: Scale = 1


class MembershipInput(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Limits of a node in a cluster, as a caller gives them."""

    softlimit: Limit | None = None
    hardlimit: Limit | None = None


class ClusterView(Record, frozen=True, kw_only=True):
    """A router cluster as callers see it."""

    oid: Oid
    label: str | None
    description: str | None
    tags: Tags | None
    name: str
    status: ClusterStatus
    owner_oid: Oid | None
    changed: Instant
    created: Instant
    reason: str | None
    revision: int
    routers: int
    grace_period: Seconds


class ClusterRevisionView(Record, frozen=True, kw_only=True):
    """The newest configuration of a cluster as callers see it."""

    cluster_oid: Oid
    revision: int
    config: dict[str, Any] | None
    effective: dict[str, Any]
    """With the defaults for what was not given."""

    homes: dict[str, int]


class ClusterChange(Record, frozen=True, kw_only=True):
    """A cluster was told to start or to stop."""

    oid: Oid
    status: ClusterStatus
    changed: Instant
    who: Who


class ClusterTransition(Record, frozen=True, kw_only=True):
    """A cluster's status changed because of what its workers do."""

    oid: Oid
    name: str
    status: ClusterStatus
    changed: Instant
    reason: str | None = None


class GroupView(Record, frozen=True, kw_only=True):
    """A worker group as callers see it."""

    oid: Oid
    label: str | None
    description: str | None
    tags: Tags | None
    cluster_oid: Oid
    name: str
    scale: int
    status: ClusterStatus
    changed: Instant
    created: Instant


class MembershipView(Record, frozen=True, kw_only=True):
    """A node's place in a cluster as callers see it."""

    cluster_oid: Oid
    node_oid: Oid
    softlimit: int | None
    hardlimit: int | None


class GenericClusterInput(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Settings of a cluster of processes or containers, as a caller gives them."""

    name: Name
    profile: Line
    """Name, oid or beginning of the oid of a profile."""

    desired: Size | None = None
    """How many workers; `min_size` when it is not given."""

    min_size: Size = 0
    max_size: SizeMax = -1
    """-1 for no bound."""

    timeout: Timeout = ACTION_TIMEOUT_DEFAULT_S
    grace_period: GracePeriod = GRACE_PERIOD_DEFAULT_S
    naming: Naming | None = None
    batch: Batch = 1
    steady: Steady = STEADY_DEFAULT_S
    metadata: Labels = msgspec.field(default_factory=dict)
    label: Label | None = None
    description: Description | None = None
    tags: Tags | None = None


class GenericClusterUpdate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Settings of a cluster to change; what is not mentioned stays."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    profile: Line | msgspec.UnsetType = msgspec.UNSET
    """Another profile of the same type: workers are changed over, as many at a time as `batch` says."""

    timeout: Timeout | msgspec.UnsetType = msgspec.UNSET
    grace_period: GracePeriod | msgspec.UnsetType = msgspec.UNSET
    batch: Batch | msgspec.UnsetType = msgspec.UNSET
    steady: Steady | msgspec.UnsetType = msgspec.UNSET
    metadata: Labels | msgspec.UnsetType = msgspec.UNSET
    label: Label | None | msgspec.UnsetType = msgspec.UNSET
    description: Description | None | msgspec.UnsetType = msgspec.UNSET
    tags: Tags | None | msgspec.UnsetType = msgspec.UNSET


class GroupSize(Record, frozen=True, kw_only=True):
    """How many workers of one group are wanted."""

    oid: Oid
    name: str
    desired: int
    min_size: int
    max_size: int | None


class AnyClusterView(Record, frozen=True, kw_only=True):
    """A cluster of any type as callers see it."""

    oid: Oid
    name: str
    type: ClusterType
    status: ClusterStatus
    reason: str | None
    action_oid: Oid | None
    """The action that is changing it."""

    profile_oid: Oid | None
    desired: int
    """Workers wanted in all groups."""

    groups: tuple[GroupSize, ...]
    workers_by_status: dict[str, int]
    timeout: Seconds
    grace_period: Seconds
    naming: str | None
    batch: int
    steady: Seconds
    metadata: Labels
    revision: int
    label: str | None
    description: str | None
    tags: Tags | None
    owner_oid: Oid | None
    created: Instant
    changed: Instant
