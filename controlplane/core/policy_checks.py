"""What is wrong with a policy that its types alone cannot say."""

from collections.abc import Iterator
from typing import Any

from controlplane.core.placeholders import PLACEHOLDER
from controlplane.core.scaling_checks import problems_of_steps
from controlplane.core.schedules import problems_of_schedule
from controlplane.errors import Problem
from controlplane.records.balancing import MEMBER_PLACES, FileTarget, LoadBalancePolicy
from controlplane.records.policies import (
    KeepingPolicy,
    RegionPlacementPolicy,
    RegionShare,
    ZonePlacementPolicy,
    ZoneShare,
)
from controlplane.records.scaling import MetricPolicy, SchedulePolicy


def policy_problems(rule: Any) -> Iterator[Problem]:
    """Yield what is wrong with the properties of a policy, with paths into them."""
    match rule:
        case ZonePlacementPolicy(zones=zones):
            yield from _of_shares(zones, "$.zones")
        case RegionPlacementPolicy(regions=regions):
            yield from _of_shares(regions, "$.regions")
        case KeepingPolicy() if rule == KeepingPolicy():
            yield Problem("$", "says nothing: give per_node_max, per_zone_max or together")
        case LoadBalancePolicy(target=FileTarget(each=each)):
            for _, name in PLACEHOLDER.findall(each):
                if name and name not in MEMBER_PLACES:
                    known = ", ".join(MEMBER_PLACES)
                    yield Problem("$.target.each", f"has {{{name}}}, which is none of {known}; write {{{{{name}}}}}")
        case MetricPolicy():
            yield from problems_of_steps(rule)
        case SchedulePolicy():
            yield from problems_of_schedule(rule)


def _of_shares(shares: tuple[ZoneShare | RegionShare, ...], path: str) -> Iterator[Problem]:
    seen: set[str] = set()
    for place, share in enumerate(shares):
        if share.name in seen:
            yield Problem(f"{path}[{place}].name", f"names {share.name} a second time")
        seen.add(share.name)
    if not any(share.weight for share in shares):
        yield Problem(path, "gives weight to nothing, so no worker would have a place")
