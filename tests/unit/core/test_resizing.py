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
