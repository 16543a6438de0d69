"""What is wrong with a policy although all its fields are of the right types."""

import pytest

from controlplane.core.policy_checks import policy_problems
from controlplane.records.balancing import MEMBER_PLACES, CallbackTarget, FileTarget, LoadBalancePolicy
from controlplane.records.policies import (
    AffinityPolicy,
    BatchPolicy,
    KeepingPolicy,
    RegionPlacementPolicy,
    RegionShare,
    ZonePlacementPolicy,
    ZoneShare,
)
from controlplane.records.scaling import SchedulePolicy, StepIn, StepOut, StepScalingPolicy, TargetTrackingPolicy


def problems(rule) -> dict[str, str]:
    found = list(policy_problems(rule))
    said = dict(found)
    assert len(said) == len(found)
    return said


def zones(**weights: int) -> ZonePlacementPolicy:
    return ZonePlacementPolicy(zones=tuple(ZoneShare(name=name, weight=weight) for name, weight in weights.items()))


@pytest.mark.parametrize(
    "rule",
    [
        zones(a=1, b=0),
        RegionPlacementPolicy(regions=(RegionShare(name="a", weight=0), RegionShare(name="b", cap=0))),
        KeepingPolicy(per_node_max=1),
        KeepingPolicy(per_zone_max=1),
        KeepingPolicy(together="zone"),
        AffinityPolicy(),
        BatchPolicy(),
        LoadBalancePolicy(target=CallbackTarget(url="http://balancer/")),
        TargetTrackingPolicy(target=50),
        SchedulePolicy(cron="0 8 * * *", desired=3),
    ],
    ids=lambda rule: type(rule).__name__,
)
def test_nothing_is_wrong_with_a_policy_that_says_something(rule):
    assert problems(rule) == {}


@pytest.mark.parametrize(
    ("kind", "share", "field"),
    [(ZonePlacementPolicy, ZoneShare, "zones"), (RegionPlacementPolicy, RegionShare, "regions")],
)
def test_shares_name_a_place_once_and_give_weight_to_something(kind, share, field):
    def rule(*shares):
        return kind(**{field: tuple(share(name=name, weight=weight) for name, weight in shares)})

    assert problems(rule(("a", 1), ("b", 1), ("a", 0), ("b", 1))) == {
        f"$.{field}[2].name": "names a a second time",
        f"$.{field}[3].name": "names b a second time",
    }
    nowhere = {f"$.{field}": "gives weight to nothing, so no worker would have a place"}
    assert problems(rule(("a", 0), ("b", 0))) == nowhere
    assert problems(rule(("a", 0), ("a", 0))) == {f"$.{field}[1].name": "names a a second time", **nowhere}


def test_keeping_workers_has_to_say_how():
    assert problems(KeepingPolicy()) == {"$": "says nothing: give per_node_max, per_zone_max or together"}


def written(each: str, **more: str) -> dict[str, str]:
    return problems(LoadBalancePolicy(target=FileTarget(file="a.conf", each=each, **more)))


def test_what_is_written_for_a_worker_has_known_placeholders_only():
    assert written(" ".join(f"{{{name}}}" for name in MEMBER_PLACES)) == {}
    known = "name, oid, index, host, port, address, zone"
    assert written("server {name} {hots}") == {
        "$.target.each": f"has {{hots}}, which is none of {known}; write {{{{hots}}}}"
    }
    assert written("{port:http}") == {
        "$.target.each": f"has {{port:http}}, which is none of {known}; write {{{{port:http}}}}"
    }


def test_what_is_to_stand_there_in_braces_and_what_is_around_it_is_left_alone():
    assert written("{{hots}} {Name} { name } {}", before="{hots}", after="{hots}") == {}


def test_steps_and_times_are_looked_at_as_well():
    crossed = StepScalingPolicy(scale_out=(StepOut(above=20),), scale_in=(StepIn(below=30),))
    assert problems(crossed) == {"$.scale_in": "begins at 30, which is not below 20, where scale_out begins"}
    assert list(problems(SchedulePolicy(cron="0 8 * *", desired=3))) == ["$.cron"]
