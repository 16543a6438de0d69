"""What is wrong with a policy that scales by a metric although all its fields are of the right types."""

from collections.abc import Iterator

from controlplane.errors import Problem
from controlplane.records.scaling import MetricPolicy, StepScalingPolicy


def problems_of_steps(rule: MetricPolicy) -> Iterator[Problem]:
    """Yield what is wrong with the steps of a policy."""
    if not isinstance(rule, StepScalingPolicy):
        return
    if not rule.scale_out and not rule.scale_in:
        yield Problem("$", "has no step: give scale_out, scale_in or both")
    for name, values in (
        ("scale_out", [step.above for step in rule.scale_out]),
        ("scale_in", [step.below for step in rule.scale_in]),
    ):
        if len(set(values)) < len(values):
            yield Problem(f"$.{name}", "has two steps at one value")
    low = max((step.below for step in rule.scale_in), default=None)
    high = min((step.above for step in rule.scale_out), default=None)
    if low is not None and high is not None and low >= high:
        yield Problem("$.scale_in", f"begins at {low:g}, which is not below {high:g}, where scale_out begins")
