"""Router clusters, their groups and their memberships."""

import enum
from typing import Annotated, Any

import msgspec

from controlplane.records.principals import Who
from controlplane.records.types import Description, Instant, Label, Name, Oid, Record, Seconds, Tags
from controlplane.records.workers import Scale

GRACE_PERIOD_DEFAULT_S = 10.0
ROUTERS_MAX = 64
LIMIT_MAX = 10_000

GracePeriod = Annotated[Seconds, msgspec.Meta(ge=0, le=86_400)]
Routers = Annotated[int, msgspec.Meta(ge=1, le=ROUTERS_MAX)]
Limit = Annotated[int, msgspec.Meta(ge=0, le=LIMIT_MAX)]


class ClusterStatus(enum.Enum):
    """Where a cluster is in its life; derived from what its workers do and from what is wanted."""

    STOPPED = "STOPPED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    DEGRADED = "DEGRADED"
    STOPPING = "STOPPING"
    ERROR = "ERROR"


class Cluster(Record, frozen=True, kw_only=True):
    """What runs: frontends and the routers behind them."""

    oid: Oid
    name: str
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


class ClusterRevision(Record, frozen=True, kw_only=True):
    """One configuration that a cluster has had and that workers may still run."""

    cluster_oid: Oid
    revision: int
    config: dict[str, Any] | None
    """As the user gave it; None for the default."""

    homes: dict[str, int]
    """Which router worker, by index, holds which realm."""


class Group(Record, frozen=True, kw_only=True):
    """How many frontends a cluster wants; Crossbar.io's "worker group"."""

    oid: Oid
    cluster_oid: Oid
    name: str
    label: Label | None = None
    description: Description | None = None
    tags: Tags | None = None
    scale: Scale = 1
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
