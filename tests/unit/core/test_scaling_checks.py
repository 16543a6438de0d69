"""What is wrong with the steps of a policy that scales by a metric."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.core.autoscaling import decide
from controlplane.core.resizing import Size
from controlplane.core.scaling_checks import problems_of_steps
from controlplane.records.scaling import StepIn, StepOut, StepScalingPolicy, TargetTrackingPolicy
from tests.unit.core.test_autoscaling import PERIOD, row


def steps(outs=(), ins=()) -> StepScalingPolicy:
    return StepScalingPolicy(
        period=PERIOD,
        scale_out=tuple(StepOut(above=above) for above in outs),
        scale_in=tuple(StepIn(below=below) for below in ins),
    )


@pytest.mark.parametrize(
    ("outs", "ins", "expected"),
    [
        ([70], [30], {}),
        ([70, 90], [], {}),
        ([], [30, 10], {}),
        ([0], [-1], {}),
        ([], [], {"$": "has no step: give scale_out, scale_in or both"}),
        ([70, 90, 70], [30], {"$.scale_out": "has two steps at one value"}),
        ([70], [30, 30], {"$.scale_in": "has two steps at one value"}),
        ([70, 70], [30, 30], dict.fromkeys(("$.scale_out", "$.scale_in"), "has two steps at one value")),
        ([70], [70], {"$.scale_in": "begins at 70, which is not below 70, where scale_out begins"}),
        ([90, 0.5], [0.25, 1.5], {"$.scale_in": "begins at 1.5, which is not below 0.5, where scale_out begins"}),
    ],
)
def test_steps_are_there_at_different_values_and_those_down_below_those_up(outs, ins, expected):
    found = list(problems_of_steps(steps(outs, ins)))
    assert dict(found) == expected
    assert len(found) == len(expected)


def test_a_policy_without_steps_has_nothing_wrong_with_them():
    assert list(problems_of_steps(TargetTrackingPolicy(target=50))) == []


VALUES = st.lists(st.integers(0, 9), max_size=3)


@given(VALUES, VALUES, st.integers(0, 9))
def test_only_steps_without_a_problem_never_want_more_and_fewer_workers_at_once(outs, ins, load):
    """One load that is at a step up and at a step down has no answer: that is what is refused."""
    if not list(problems_of_steps(steps(outs, ins))):
        both = [each for each in outs if load >= each], [each for each in ins if load <= each]
        assert not all(both)
        size = Size(4, 0, 90)
        found = decide(steps(outs, ins), row(load * 4, 4, 60), size, None, 0).desired
        assert found is None or (found > 4) is bool(both[0])
