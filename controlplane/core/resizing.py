"""How many workers a cluster shall have after it was resized.

The arithmetic is that of Senlin's `resize`, without what surprised its users: a bound of zero is a bound, nothing that
is named is left out of the check, and a percentage of nothing shrinks nothing.
"""

from typing import NamedTuple

from controlplane.errors import Problem
from controlplane.records.policies import Adjustment

NUMBER_MAX = 1_000_000


class Size(NamedTuple):
    """How many workers are wanted, and between which bounds."""

    desired: int
    min_size: int
    max_size: int | None
    """None for no bound."""


class Resize(NamedTuple):
    """What was asked for."""

    adjustment: Adjustment | None = None
    number: float | None = None
    min_size: int | None = None
    max_size: int | None = None
    """-1 takes the bound away."""

    min_step: int | None = None
    strict: bool = True
    """Whether a size outside of the bounds is refused; else the nearest one inside is taken."""


def resized(now: Size, asked: Resize) -> Size | list[Problem]:
    """Return the size that a cluster is to have, or everything that is wrong with what was asked for."""
    problems = _unfit(asked)
    low = now.min_size if asked.min_size is None else asked.min_size
    high = _high(now, asked)
    if high is not None and low > high:
        field = "max_size" if asked.max_size is not None else "min_size"
        problems.append(Problem(f"$.{field}", f"makes the lower bound {low} and the upper one {high}"))
    if problems:
        return problems
    desired = now.desired
    if asked.adjustment is not None and asked.number is not None:
        desired = adjusted(now.desired, asked.adjustment, asked.number, asked.min_step)
    inside = max(low, desired if high is None else min(high, desired))
    if inside != desired and asked.strict:
        bounds = f"{low} and {'any number' if high is None else high}"
        return [Problem("$.number", f"would make it {desired} workers; between {bounds} are admitted")]
    return Size(inside, low, high)


def adjusted(current: int, adjustment: Adjustment, number: float, min_step: int | None = None) -> int:
    """Return how many workers there are to be, without a look at bounds; never less than none.

    A percentage of less than one worker is one, any other is rounded towards zero; `min_step` is for percentages.
    """
    if adjustment is Adjustment.EXACT_CAPACITY:
        return int(number)
    if adjustment is Adjustment.CHANGE_IN_CAPACITY:
        return max(0, current + int(number))
    if number == 0:
        return current
    exact = abs(current * number / 100)
    step = max(1 if 0 < exact < 1 else int(exact), min_step or 0)
    return max(0, current + (step if number > 0 else -step))


def _unfit(asked: Resize) -> list[Problem]:
    problems = []
    if (asked.adjustment is None) is not (asked.number is None):
        missing = "adjustment_type" if asked.adjustment is None else "number"
        problems.append(Problem(f"$.{missing}", "is missing: adjustment_type and number belong together"))
    if asked.adjustment is None and asked.number is None and asked.min_size is None and asked.max_size is None:
        problems.append(Problem("$", "says nothing: give adjustment_type and number, min_size or max_size"))
    if asked.number is not None and not abs(asked.number) <= NUMBER_MAX:
        problems.append(Problem("$.number", f"is not between -{NUMBER_MAX} and {NUMBER_MAX}"))
    elif asked.adjustment is not None and asked.number is not None:
        if asked.adjustment is Adjustment.EXACT_CAPACITY and asked.number < 0:
            problems.append(Problem("$.number", "is less than zero, as an exact number of workers"))
        if asked.adjustment is not Adjustment.CHANGE_IN_PERCENTAGE and asked.number != int(asked.number):
            problems.append(Problem("$.number", "is no whole number of workers"))
    if asked.min_step is not None and asked.adjustment is not Adjustment.CHANGE_IN_PERCENTAGE:
        problems.append(Problem("$.min_step", "is for CHANGE_IN_PERCENTAGE only"))
    return problems


def _high(now: Size, asked: Resize) -> int | None:
    if asked.max_size is None:
        return now.max_size
    return None if asked.max_size < 0 else asked.max_size
