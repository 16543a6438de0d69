"""Policies that scale a cluster by themselves: by what its workers use, and at times that were said before."""

from typing import Annotated, Literal

import msgspec

from controlplane.records import patterns
from controlplane.records.profiles import Part
from controlplane.records.types import Line, Name

MetricName = Annotated[str, msgspec.Meta(pattern=patterns.METRIC)]
"""`cpu` (in percent of one processor), `memory` (in bytes), or a value that the workers themselves write."""

Value = Annotated[float, msgspec.Meta(ge=-1e15, le=1e15)]
PeriodLength = Annotated[float, msgspec.Meta(ge=1, le=3_600)]
Periods = Annotated[int, msgspec.Meta(ge=1, le=60)]
Pause = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
Workers = Annotated[int, msgspec.Meta(ge=1, le=10_000)]
Size = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]

STEPS_MAX = 20


class MetricPolicy(Part, frozen=True, kw_only=True):
    """What policies that scale by a metric have in common."""

    metric: MetricName = "cpu"
    """What is looked at: `cpu` is percent of one processor, `memory` bytes, any other name a value of the workers' own,
    which they write into the file that their profile names."""

    group: Name | None = None
    """Name of the group that is scaled; None for the only one."""

    period: PeriodLength = 15.0
    """Seconds between two measurements."""

    evaluation_periods: Periods = 2
    """So many measurements in a row have to say that there are too few workers."""

    scale_in_periods: Periods = 8
    """So many measurements in a row have to say that there are too many."""

    warm_up: Pause = 30.0
    """Seconds in which a worker that was started is not measured; as long as one warms up, nothing shrinks."""

    cooldown: Pause = 0.0
    """Seconds after a scaling of the cluster in which this policy is at rest. What was measured before the scaling is
    forgotten in any case."""


class StepOut(Part, frozen=True, kw_only=True):
    """How many workers are added when the metric is high."""

    above: Value
    """From this value on."""

    add: Workers = 1
    """So many workers."""


class StepIn(Part, frozen=True, kw_only=True):
    """How many workers are taken out when the metric is low."""

    below: Value
    """From this value down."""

    remove: Workers = 1
    """So many workers at most: the others would be above a step of `scale_out` at once, so fewer go then."""


class StepScalingPolicy(MetricPolicy, frozen=True, kw_only=True):
    """Adds and takes out workers in steps: the farther the metric is off, the more of them."""

    statistic: Literal["average", "minimum", "maximum", "sum"] = "average"
    """Of the workers' values."""

    scale_out: Annotated[tuple[StepOut, ...], msgspec.Meta(max_length=STEPS_MAX)] = ()
    """The highest one that is reached counts."""

    scale_in: Annotated[tuple[StepIn, ...], msgspec.Meta(max_length=STEPS_MAX)] = ()
    """The lowest one that is reached counts."""


class TargetTrackingPolicy(MetricPolicy, frozen=True, kw_only=True):
    """Has as many workers as keep the average of a metric at a target."""

    target: Annotated[float, msgspec.Meta(gt=0, le=1e15)]
    """What the metric of a worker is to be on average. It has to be one that more workers make smaller."""

    tolerance: Annotated[float, msgspec.Meta(ge=0, le=0.9)] = 0.1
    """Part of the target by which the metric may be off before anything is done."""

    scale_in: bool = True
    """Whether the cluster may shrink."""


class SchedulePolicy(Part, frozen=True, kw_only=True):
    """Scales a cluster at times that are said before."""

    cron: Line | None = None
    """Minute, hour, day of the month, month, day of the week: `0 8 * * 1-5`."""

    at: Line | None = None
    """One time instead, as in 2030-01-31T08:00:00, with an offset or in `timezone`."""

    timezone: Line = "UTC"
    """Name of the time zone, as in Europe/Berlin."""

    group: Name | None = None
    """Name of the group that is scaled; None for the only one."""

    desired: Size | None = None
    """How many workers there are to be."""

    change: Annotated[int, msgspec.Meta(ge=-10_000, le=10_000)] | None = None
    """Or how many more, or fewer."""

    min_size: Size | None = None
    """The new lower bound."""

    max_size: Annotated[int, msgspec.Meta(ge=-1, le=1_000_000)] | None = None
    """The new upper bound; -1 for none."""

    late_max: Pause = 300.0
    """Seconds by which it may be late, because nobody was there or another action ran; then this time is left out."""
