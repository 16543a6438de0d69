import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.core.resizing import Resize, Size, adjusted, resized
from controlplane.records.policies import Adjustment

EXACT, CHANGE, PERCENT = Adjustment.EXACT_CAPACITY, Adjustment.CHANGE_IN_CAPACITY, Adjustment.CHANGE_IN_PERCENTAGE
NOW = Size(5, 2, 10)


@pytest.mark.parametrize(
    ("current", "adjustment", "number", "min_step", "becomes"),
    [
        (5, EXACT, 7, None, 7),
        (5, EXACT, 0, None, 0),
        (5, CHANGE, 2, None, 7),
        (5, CHANGE, -2, None, 3),
        (5, CHANGE, -9, None, 0),
        (5, PERCENT, 30, None, 6),
        (5, PERCENT, -30, None, 4),
        (5, PERCENT, -50, None, 3),
        (5, PERCENT, 1, None, 6),
        (5, PERCENT, -1, None, 4),
        (5, PERCENT, 20, 3, 8),
        (5, PERCENT, -20, 3, 2),
        (5, PERCENT, 100, 3, 10),
        (5, PERCENT, 0, 3, 5),
        (0, PERCENT, 50, 2, 2),
        (0, PERCENT, 50, None, 0),
        (3, PERCENT, -200, None, 0),
    ],
)
def test_the_arithmetic_is_senlins_without_its_surprises(current, adjustment, number, min_step, becomes):
    assert adjusted(current, adjustment, number, min_step) == becomes


@pytest.mark.parametrize(
    ("asked", "becomes"),
    [
        (Resize(CHANGE, 2), Size(7, 2, 10)),
        (Resize(EXACT, 20, strict=False), Size(10, 2, 10)),
        (Resize(EXACT, 0, strict=False), Size(2, 2, 10)),
        (Resize(EXACT, 20, max_size=20), Size(20, 2, 20)),
        (Resize(EXACT, 99, max_size=-1), Size(99, 2, None)),
        (Resize(min_size=6, strict=False), Size(6, 6, 10)),
        (Resize(max_size=3, strict=False), Size(3, 2, 3)),
        (Resize(min_size=0), Size(5, 0, 10)),
    ],
)
def test_bounds_are_kept_and_changed(asked, becomes):
    assert resized(NOW, asked) == becomes


@pytest.mark.parametrize(
    ("asked", "paths"),
    [
        (Resize(), ["$"]),
        (Resize(EXACT), ["$.number"]),
        (Resize(number=1), ["$.adjustment_type"]),
        (Resize(EXACT, -1), ["$.number"]),
        (Resize(CHANGE, 1.5), ["$.number"]),
        (Resize(EXACT, math.nan), ["$.number"]),
        (Resize(PERCENT, math.inf), ["$.number"]),
        (Resize(CHANGE, 1, min_step=2), ["$.min_step"]),
        (Resize(EXACT, 11), ["$.number"]),
        (Resize(EXACT, 1), ["$.number"]),
        (Resize(min_size=6), ["$.number"]),
        (Resize(max_size=1, strict=False), ["$.max_size"]),
        (Resize(min_size=11, strict=False), ["$.min_size"]),
        (Resize(CHANGE, 1.5, min_size=11, min_step=1), ["$.number", "$.min_step", "$.min_size"]),
    ],
)
def test_everything_that_is_wrong_is_told(asked, paths):
    problems = resized(NOW, asked)
    assert not isinstance(problems, Size)
    assert [problem.path for problem in problems] == paths


@given(
    st.integers(0, 50),
    st.sampled_from(Adjustment),
    st.integers(-300, 300),
    st.integers(0, 20),
    st.integers(0, 50) | st.none(),
)
def test_whatever_is_not_refused_lies_within_its_bounds(desired, adjustment, number, low, high):
    size = resized(Size(desired, 0, None), Resize(adjustment, number, low, high, strict=False))
    if isinstance(size, Size):
        assert size.min_size == low
        assert size.max_size == high
        assert low <= size.desired
        assert high is None or size.desired <= high
    else:
        assert (high is not None and low > high) or (adjustment is EXACT and number < 0)


def told(asked, now=NOW):
    return [tuple(problem) for problem in resized(now, asked)]


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        (Resize(), ("$", "says nothing: give adjustment_type and number, min_size or max_size")),
        (Resize(CHANGE), ("$.number", "is missing: adjustment_type and number belong together")),
        (Resize(number=1), ("$.adjustment_type", "is missing: adjustment_type and number belong together")),
        (Resize(CHANGE, 1_000_001), ("$.number", "is not between -1000000 and 1000000")),
        (Resize(EXACT, -1), ("$.number", "is less than zero, as an exact number of workers")),
        (Resize(CHANGE, 0.5), ("$.number", "is no whole number of workers")),
        (Resize(CHANGE, 1, min_step=1), ("$.min_step", "is for CHANGE_IN_PERCENTAGE only")),
        (Resize(min_size=11), ("$.min_size", "makes the lower bound 11 and the upper one 10")),
        (Resize(max_size=1), ("$.max_size", "makes the lower bound 2 and the upper one 1")),
        (Resize(CHANGE, 6), ("$.number", "would make it 11 workers; between 2 and 10 are admitted")),
        (Resize(EXACT, 1, max_size=-1), ("$.number", "would make it 1 workers; between 2 and any number are admitted")),
    ],
)
def test_what_is_wrong_is_said_in_words(asked, problem):
    assert told(asked) == [problem]


def test_the_greatest_number_is_admitted():
    assert resized(NOW, Resize(EXACT, 1_000_000, max_size=-1)) == Size(1_000_000, 2, None)
    assert resized(NOW, Resize(CHANGE, -1_000_000, strict=False)) == Size(2, 2, 10)


def test_a_step_of_at_least_so_many_is_made_by_resizing_too():
    assert resized(NOW, Resize(PERCENT, 1, min_step=4)) == Size(9, 2, 10)


def test_one_worker_and_a_part_of_another_are_one():
    assert adjusted(10, PERCENT, 15) == 11
    assert adjusted(10, PERCENT, 10) == 11
