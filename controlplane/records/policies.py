"""What policies may say, and what ties one to a cluster."""

import enum
from typing import Annotated, Literal

import msgspec

from controlplane.records.health_policies import GivenUp
from controlplane.records.placement import SHARES_MAX, WEIGHT_DEFAULT, Weight, Zone
from controlplane.records.profiles import Part
from controlplane.records.types import Instant, Line, Oid, Record

Period = Annotated[float, msgspec.Meta(ge=0, le=30 * 86_400)]
Number = Annotated[float, msgspec.Meta(gt=0, le=1_000_000)]
Natural = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=10_000)]


class Adjustment(enum.Enum):
    """What the number of a resize means."""

    EXACT_CAPACITY = "EXACT_CAPACITY"
    CHANGE_IN_CAPACITY = "CHANGE_IN_CAPACITY"
    CHANGE_IN_PERCENTAGE = "CHANGE_IN_PERCENTAGE"


class Step(Part, frozen=True, kw_only=True):
    """How much a cluster grows or shrinks at a time."""

    type: Adjustment = Adjustment.CHANGE_IN_CAPACITY
    """What the number means."""

    number: Number = 1
    """How many workers, or how many in a hundred; always more than none, the event says in which direction."""

    min_step: Natural = 1
    """Of a percentage: at least so many workers."""

    best_effort: bool = False
    """Whether to go as far as the bounds of the cluster admit, instead of refusing what would leave them."""

    cooldown: Period = 0.0
    """Seconds after a scaling of the cluster, in either direction, in which this policy refuses another one."""


class ScalingPolicy(Part, frozen=True, kw_only=True):
    """How much a cluster is scaled when a call or a receiver does not say, and how often it may be."""

    event: Literal["CLUSTER_SCALE_IN", "CLUSTER_SCALE_OUT"]
    """Which actions it is about."""

    adjustment: Step = Step()
    """How much, and how often."""


class DeletionPolicy(Part, frozen=True, kw_only=True):
    """Which workers go when a cluster shrinks; sick ones always go first."""

    criteria: Literal["OLDEST_FIRST", "OLDEST_PROFILE_FIRST", "YOUNGEST_FIRST", "RANDOM"] = "RANDOM"
    """Which of the healthy ones are next."""

    reduce_desired_capacity: bool = True
    """Whether a cluster that workers were taken from wants so many less; else new ones take their places."""


class BatchPolicy(Part, frozen=True, kw_only=True):
    """How many workers are changed over at a time."""

    min_in_service: Natural = 1
    """So many are left alone, if there are more."""

    max_batch_size: Annotated[int, msgspec.Meta(ge=-1, le=10_000)] = -1
    """At most so many at a time; -1 for no bound, 0 means the same."""

    pause_time: Annotated[float, msgspec.Meta(ge=0, le=3_600)] = 60.0
    """Seconds that a changed worker has to run before the next ones are changed."""

    canary: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 0
    """So many are changed first, never more than a batch, and all others only when these have run for long enough."""


class AffinityPolicy(Part, frozen=True, kw_only=True):
    """How the workers of a cluster stand on nodes."""

    per_node_max: Positive = 1
    """At most so many on one node; what does not fit waits for a place."""


class KeepingPolicy(Part, frozen=True, kw_only=True):
    """How the workers of a cluster keep apart or together; affinity in its second version."""

    per_node_max: Positive | None = None
    """At most so many on one node; what does not fit waits for a place."""

    per_zone_max: Positive | None = None
    """At most so many in one zone; what does not fit waits for a place, and what runs is left alone."""

    together: Literal["node", "zone"] | None = None
    """Whether all stand on one node, or in one zone; what does not fit waits for a place."""


class ZoneShare(Part, frozen=True, kw_only=True):
    """How much of a cluster one zone carries."""

    name: Zone
    """As nodes are labelled."""

    weight: Weight = WEIGHT_DEFAULT
    """In proportion to those of the other zones; 0 takes the zone out, and what runs there goes first."""


class ZonePlacementPolicy(Part, frozen=True, kw_only=True):
    """In which zones the workers of a cluster stand, and in which proportion."""

    zones: Annotated[tuple[ZoneShare, ...], msgspec.Meta(min_length=1, max_length=SHARES_MAX)]
    """No worker is placed in a zone that is not named, or on a node without one."""


class RegionShare(Part, frozen=True, kw_only=True):
    """How much of a cluster one region carries."""

    name: Zone
    """As nodes are labelled."""

    weight: Weight = WEIGHT_DEFAULT
    """In proportion to those of the other regions; 0 takes the region out, and what runs there goes first."""

    cap: Annotated[int, msgspec.Meta(ge=-1, le=1_000_000)] = -1
    """Most workers of the cluster in the region; -1 for any number."""


class RegionPlacementPolicy(Part, frozen=True, kw_only=True):
    """In which regions the workers of a cluster stand, in which proportion, and how many at most."""

    regions: Annotated[tuple[RegionShare, ...], msgspec.Meta(min_length=1, max_length=SHARES_MAX)]
    """No worker is placed in a region that is not named, or on a node without one."""


class Binding(Record, frozen=True, kw_only=True):
    """A policy that a cluster obeys."""

    oid: Oid
    cluster_oid: Oid
    policy_oid: Oid
    type: str
    """Of the policy, with version."""

    priority: int
    """Those with lower numbers decide first."""

    enabled: bool = True
    used: Instant | None = None
    """When an action that it decided on ended last."""

    due: Instant | None = None
    """When a schedule acts next."""

    created: Instant
    changed: Instant
    given_up: dict[str, GivenUp] = msgspec.field(default_factory=dict)
    """Of a health policy: places in which it brings nobody back any more; `*` is the whole cluster."""


class BindingView(Record, frozen=True, kw_only=True):
    """A policy that a cluster obeys, as callers see it."""

    oid: Oid
    cluster_oid: Oid
    cluster_name: str
    policy_oid: Oid
    policy_name: str
    policy_type: str
    priority: int
    enabled: bool
    used: Instant | None
    due: Instant | None = None
    """When a schedule acts next."""

    created: Instant
    changed: Instant
    given_up: dict[str, GivenUp] = msgspec.field(default_factory=dict)
    """Of a health policy: what it brings back no more, group and index of the worker; `*` is the whole cluster."""

    action_oid: Oid | None = None
    """The action that attached, changed or detached it, where that is what the answer is about."""


class PolicySkipped(Record, frozen=True, kw_only=True):
    """That a schedule did not act when it should have, and why."""

    cluster_oid: Oid
    cluster_name: str
    policy_oid: Oid
    policy_name: str
    due: Instant
    reason: str


class Decision(Record, frozen=True, kw_only=True):
    """What a policy decided about an action, for whoever wants to know why."""

    policy_oid: Oid
    policy_name: Line
    said: str
