"""What workers use, as agents measure it and as the master keeps it for a while, in memory."""

from typing import Annotated

import msgspec

from controlplane.records.types import Instant, Line, Oid, Record, Seconds

OWN_VALUES_MAX = 32
"""Values of its own that are taken of one worker."""

OwnValues = Annotated[dict[Annotated[str, msgspec.Meta(max_length=64)], float], msgspec.Meta(max_length=OWN_VALUES_MAX)]


class Watch(Record, frozen=True, kw_only=True):
    """That an agent is to measure workers, and how long it goes on when nobody asks again."""

    period: Seconds
    keep: Seconds


class Usage(Record, frozen=True, kw_only=True):
    """What one worker used, on average since it was asked for last; None for what cannot be said yet."""

    cpu: float | None = None
    """Percent of one processor."""

    memory: float | None = None
    """Bytes."""

    values: OwnValues = msgspec.field(default_factory=dict)
    """Its own."""


class Aggregate(Record, frozen=True, kw_only=True):
    """One metric of several workers."""

    count: int
    sum: float
    minimum: float
    maximum: float

    @property
    def average(self) -> float:
        """Return the mean."""
        return self.sum / self.count


class GroupPoint(Record, frozen=True, kw_only=True):
    """One measurement of one group."""

    desired: int
    """Workers that were wanted."""

    warm: int
    """Workers that were measured, or should have been."""

    metrics: dict[str, Aggregate] = msgspec.field(default_factory=dict)


class MetricPoint(Record, frozen=True, kw_only=True):
    """One measurement of a cluster."""

    time: Instant
    groups: dict[str, GroupPoint]
    """By name."""


class PolicyState(Record, frozen=True, kw_only=True):
    """What a policy made of the last measurements."""

    policy_oid: Oid
    policy_name: Line
    desired: int | None
    """How many workers it wants; None for as many as there are."""

    said: str
    time: Instant


class ClusterMetrics(Record, frozen=True, kw_only=True):
    """What is known of what a cluster's workers use. It is kept in memory, and a master that was started anew begins
    with nothing."""

    cluster_oid: Oid
    cluster_name: str
    watched: bool
    """Whether a policy needs it; else nobody measures anything."""

    period: Seconds | None
    """Between two measurements."""

    points: tuple[MetricPoint, ...]
    """The newest last."""

    workers: dict[str, Usage]
    """The last measurement, by worker oid."""

    policies: tuple[PolicyState, ...]
