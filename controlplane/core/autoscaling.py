"""How many workers a cluster is to have, judged by what its workers use. Pure functions.

Growing is prompt and shrinking cautious: a few measurements in a row are enough to grow, a longer row is needed to
shrink, in which every worker was measured and none was warming up. What would be left after shrinking is projected
first: the same load on fewer workers must not be a reason to grow again. So at a constant load, which workers share,
a cluster comes to rest and stays there.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from controlplane.core.counting import figure, so_many
from controlplane.core.resizing import Size
from controlplane.records.metrics import Aggregate
from controlplane.records.scaling import MetricPolicy, StepIn, StepScalingPolicy, TargetTrackingPolicy
from controlplane.records.types import NANOSECONDS, Instant

LATE_FACTOR = 2.5
"""Measurements that lie farther apart than so many periods are not in a row."""

ROUNDING = 1e-9
"""Part of a worker that is none: sums of fractions are not exact."""


class Measured(NamedTuple):
    """One metric of one group at one time."""

    time: Instant
    desired: int
    warm: int
    found: Aggregate | None
    """None when no worker had it."""


class Verdict(NamedTuple):
    """What a policy wants, and why."""

    desired: int | None
    """How many workers; None for as many as there are."""

    said: str


def decide(rule: MetricPolicy, row: Sequence[Measured], size: Size, since: Instant | None, now: Instant) -> Verdict:
    """Return what a policy wants of a group of this size, of which it was measured what is in `row`, the oldest first.

    What was measured until `since`, when the cluster was scaled last, is of another cluster and does not count.
    """
    if since is not None:
        rest = rule.cooldown - (now - since) / NANOSECONDS
        if rest > 0:
            return Verdict(None, f"rests for another {rest:.1f} s")
        row = [each for each in row if each.time > since]
    few = _newest(row, rule.evaluation_periods, rule.period, now)
    if few is None:
        return Verdict(None, f"waits for {rule.evaluation_periods} measurements in a row")
    grown = _grown(rule, few, size)
    if grown is not None:
        return grown
    many = _newest(row, rule.scale_in_periods, rule.period, now)
    if many is None:
        return Verdict(None, f"{_shown(rule, few[-1])}: nothing to add, and too few measurements to take anything out")
    if any(each.found is None or each.found.count < size.desired for each in many):
        return Verdict(None, f"{_shown(rule, few[-1])}: nothing is taken out until {_all(size.desired)} measured")
    return _shrunk(rule, many, size) or Verdict(None, f"{_shown(rule, few[-1])}: as it is to be")


def combine(verdicts: Iterable[Verdict], size: Size) -> int:
    """Return the size that several policies agree on: one is enough to grow, and all are needed to shrink."""
    asked = [size.desired if verdict.desired is None else verdict.desired for verdict in verdicts]
    wanted = max(asked, default=size.desired)
    if wanted == size.desired:
        return wanted
    bounded = max(size.min_size, wanted if size.max_size is None else min(size.max_size, wanted))
    # A cluster that stands outside of its bounds was put there by somebody: no policy moves it the other way.
    return max(size.desired, bounded) if wanted > size.desired else min(size.desired, bounded)


def within_bounds(verdict: Verdict, size: Size) -> Verdict:
    """Return a verdict that says so when the bounds of the cluster do not admit all that it wants."""
    wanted = verdict.desired
    if wanted is None:
        return verdict
    if size.max_size is not None and wanted > max(size.max_size, size.desired):
        return Verdict(wanted, f"{verdict.said}, and at most {size.max_size} are admitted")
    if wanted < min(size.min_size, size.desired):
        return Verdict(wanted, f"{verdict.said}, and at least {size.min_size} have to stay")
    return verdict


def _newest(row: Sequence[Measured], count: int, period: float, now: Instant) -> list[Measured] | None:
    """Return the newest measurements if there are so many in a row, and they are new."""
    newest = list(row[-count:])
    times = [*(each.time for each in newest), now]
    longest = period * LATE_FACTOR * NANOSECONDS
    if len(newest) < count or any(after - before > longest for before, after in itertools.pairwise(times)):
        return None
    return newest


def _grown(rule: MetricPolicy, row: Sequence[Measured], size: Size) -> Verdict | None:
    """Return how many workers there have to be, if all measurements say that there are too few."""
    steps = []
    for each in row:
        if each.found is None:
            return None
        wanted = _needed(rule, each, each.found, size)
        if wanted <= size.desired:
            return None
        steps.append(wanted)
    said = f"{_shown(rule, row[-1])}{_above(rule, row[-1], size)}"
    return Verdict(min(steps), f"{said}: {so_many(min(steps), 'worker')} instead of {size.desired}")


def _needed(rule: MetricPolicy, each: Measured, found: Aggregate, size: Size) -> int:
    """Return how many workers one measurement asks for; as many as there are when not more."""
    if isinstance(rule, StepScalingPolicy):
        value = _spread(rule, each, found, size)
        reached = [step for step in rule.scale_out if value >= step.above]
        step = max(reached, key=lambda step: step.above, default=None)
        return size.desired + (step.add if step is not None else 0)
    if isinstance(rule, TargetTrackingPolicy) and found.average > rule.target * (1 + rule.tolerance):
        return max(size.desired, _carriers(found.average, max(each.warm, found.count), rule.target))
    return size.desired


def _shrunk(rule: MetricPolicy, row: Sequence[Measured], size: Size) -> Verdict | None:
    """Return how many workers are enough, if all measurements say that there are too many."""
    wanted = []
    for each in row:
        assert each.found is not None  # All workers were measured.
        wanted.append(_enough(rule, each.found, size))
    most = max(wanted)
    if most >= size.desired:
        return None
    said = f"{_shown(rule, row[-1])}{_below(rule, row[-1])}"
    return Verdict(most, f"{said}: {so_many(most, 'worker')} instead of {size.desired}")


def _enough(rule: MetricPolicy, found: Aggregate, size: Size) -> int:
    """Return with how many workers one measurement would be content; at most as many as there are."""
    if isinstance(rule, TargetTrackingPolicy):
        if not rule.scale_in or found.average >= rule.target * (1 - rule.tolerance):
            return size.desired
        return min(size.desired, max(1, _carriers(found.average, size.desired, rule.target)))
    if not isinstance(rule, StepScalingPolicy):
        return size.desired
    value = statistic(rule, found)
    step: StepIn | None = min(
        (step for step in rule.scale_in if value <= step.below), key=lambda step: step.below, default=None
    )
    if step is None:
        return size.desired
    left = max(0, size.desired - step.remove)
    limit = min((out.above for out in rule.scale_out), default=None)
    if limit is None or rule.statistic == "sum" or value <= 0:
        return left
    # The same load on fewer workers has to stay below what would have them added again.
    while left < size.desired and (left == 0 or value * size.desired / left >= limit):
        left += 1
    return left


def statistic(rule: StepScalingPolicy, found: Aggregate) -> float:
    """Return what a policy looks at of the values of the workers."""
    match rule.statistic:
        case "average":
            return found.average
        case "minimum":
            return found.minimum
        case "maximum":
            return found.maximum
        case "sum":
            return found.sum


def _spread(rule: StepScalingPolicy, each: Measured, found: Aggregate, size: Size) -> float:
    """Return what the value will be when those that warm up carry their part, too: they were added for that."""
    value = statistic(rule, found)
    if rule.statistic == "sum" or value <= 0 or each.warm >= size.desired:
        return value
    return value * max(each.warm, found.count) / size.desired


def _carriers(average: float, count: int, target: float) -> int:
    """Return how many workers carry what so many carry now, when each carries the target."""
    return math.ceil(max(0.0, average) * count / target - ROUNDING)


def _shown(rule: MetricPolicy, each: Measured) -> str:
    if each.found is None and not each.warm:
        return "no worker has run for long enough to be measured"
    if each.found is None:
        return f"no worker has a value {rule.metric}"
    value = statistic(rule, each.found) if isinstance(rule, StepScalingPolicy) else each.found.average
    word = rule.statistic if isinstance(rule, StepScalingPolicy) else "average"
    return f"{word} of {rule.metric} is {figure(value)}"


def _above(rule: MetricPolicy, each: Measured, size: Size) -> str:
    """Return what a value was compared with that asks for more workers."""
    if isinstance(rule, TargetTrackingPolicy):
        return f", and {figure(rule.target)} is the target"
    if isinstance(rule, StepScalingPolicy) and each.found is not None:
        value = _spread(rule, each, each.found, size)
        reached = max((step.above for step in rule.scale_out if value >= step.above), default=None)
        if reached is not None:
            return f", not below {figure(reached)}"
    return ""


def _below(rule: MetricPolicy, each: Measured) -> str:
    """Return what a value was compared with that asks for fewer workers."""
    if isinstance(rule, TargetTrackingPolicy):
        return f", and {figure(rule.target)} is the target"
    if isinstance(rule, StepScalingPolicy) and each.found is not None:
        value = statistic(rule, each.found)
        reached = min((step.below for step in rule.scale_in if value <= step.below), default=None)
        if reached is not None:
            return f", not above {figure(reached)}"
    return ""


def _all(number: int) -> str:
    return "its only worker is" if number == 1 else f"all {number} workers are"
