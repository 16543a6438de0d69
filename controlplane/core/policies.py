"""What policies decide: pure functions from what is bound to a cluster to what an action does.

Policies are asked in a fixed order: of scaling, batch, regions, zones, affinity, deletion; of one kind by
priority and then by the time at which they were attached. What each decided is kept with the action.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from controlplane.core.counting import so_many
from controlplane.core.removal import SICK, surplus
from controlplane.core.resizing import Size, adjusted
from controlplane.core.spreading import apportion, area_of, rules_of
from controlplane.records.actions import Pace
from controlplane.records.balancing import LoadBalancePolicy
from controlplane.records.health_policies import HealthPolicy
from controlplane.records.lifecycle import HookedDeletionPolicy
from controlplane.records.nodes import Node
from controlplane.records.placement import PlacementRules, Share
from controlplane.records.policies import (
    Adjustment,
    AffinityPolicy,
    BatchPolicy,
    Binding,
    Decision,
    DeletionPolicy,
    KeepingPolicy,
    RegionPlacementPolicy,
    ScalingPolicy,
    ZonePlacementPolicy,
)
from controlplane.records.profiles import Part
from controlplane.records.scaling import SchedulePolicy, StepScalingPolicy, TargetTrackingPolicy
from controlplane.records.standby import StandbyPolicy
from controlplane.records.types import NANOSECONDS, Instant, Oid, Seconds
from controlplane.records.workers import Worker, WorkerStatus

GONE_OR_SICK = SICK | {WorkerStatus.STOPPED}


class PolicyType(NamedTuple):
    """One version of one kind of policies."""

    name: str
    version: str
    properties: type[Part]
    priority: int
    """When it is asked; lower numbers first."""

    singleton: bool
    """Whether a cluster has at most one of the kind."""

    description: str
    since: str

    @property
    def full_name(self) -> str:
        """Return the name with the version, which is how types are looked up."""
        return f"{self.name}-{self.version}"


POLICY_TYPES: Mapping[str, PolicyType] = {
    kind.full_name: kind
    for kind in (
        PolicyType("scaling", "1.0", ScalingPolicy, 100, False, "How much and how often a cluster is scaled.", "0.1"),
        PolicyType("step_scaling", "1.0", StepScalingPolicy, 110, False, "Scales in steps by a metric.", "0.1"),
        PolicyType("target_tracking", "1.0", TargetTrackingPolicy, 120, False, "Keeps a metric at a target.", "0.1"),
        PolicyType("schedule", "1.0", SchedulePolicy, 130, False, "Scales at times that are said before.", "0.1"),
        PolicyType("batch", "1.0", BatchPolicy, 200, True, "How many workers are changed over at a time.", "0.1"),
        PolicyType("region_placement", "1.0", RegionPlacementPolicy, 200, True, "Which regions carry how much.", "0.1"),
        PolicyType("zone_placement", "1.0", ZonePlacementPolicy, 300, True, "Which zones carry how much.", "0.1"),
        PolicyType("affinity", "1.0", AffinityPolicy, 300, True, "How many workers stand on one node.", "0.1"),
        PolicyType("affinity", "1.1", KeepingPolicy, 300, True, "How workers keep apart or together.", "0.1"),
        PolicyType("standby", "1.0", StandbyPolicy, 450, True, "Keeps workers ready to be taken at once.", "0.1"),
        PolicyType("load_balance", "1.0", LoadBalancePolicy, 500, True, "Keeps a balancer in step.", "0.1"),
        PolicyType("health", "1.0", HealthPolicy, 600, True, "How sick workers are found and brought back.", "0.1"),
        PolicyType("deletion", "1.0", DeletionPolicy, 400, True, "Which workers go when a cluster shrinks.", "0.1"),
        PolicyType(
            "deletion", "1.1", HookedDeletionPolicy, 400, True, "Which workers go, and what they wait for.", "0.1"
        ),
    )
}
"""By name with version."""


class Bound(NamedTuple):
    """A policy that a cluster obeys, read."""

    binding: Binding
    name: str
    rule: Any


class Scaling(NamedTuple):
    """By how many workers a cluster is scaled, and who decided that."""

    number: int
    decisions: tuple[Decision, ...]
    wait_s: Seconds | None = None
    """Seconds that have to pass first; the action is refused until then."""


def decide_scaling(bound: Iterable[Bound], event: str, size: Size, count: int | None, now: Instant) -> Scaling:
    """Return by how many workers an action scales: by `count` when it is given, else as the first policy says.

    A policy that rests refuses. One that does its best cuts the number down to what the bounds of the cluster admit.
    """
    growing = event == "CLUSTER_SCALE_OUT"
    decisions: list[Decision] = []
    chosen = count
    best_effort = False
    for each in bound:
        if not isinstance(each.rule, ScalingPolicy) or each.rule.event != event:
            continue
        step = each.rule.adjustment
        # What is said to be in the time to come was before the clock was set back: nobody waits for it to come again.
        used = None if each.binding.used is None or each.binding.used > now else each.binding.used
        rest = 0.0 if used is None else step.cooldown - (now - used) / NANOSECONDS
        if rest > 0:
            decisions.append(_decision(each, f"refused: it rests for another {rest:.1f} s"))
            return Scaling(0, tuple(decisions), rest)
        best_effort |= step.best_effort
        if chosen is None:
            chosen = _count(step.type, step.number, step.min_step, size.desired, growing)
            decisions.append(_decision(each, f"{'adds' if growing else 'removes'} {so_many(chosen, 'worker')}"))
    chosen = 1 if chosen is None else chosen
    if best_effort:
        room = size.desired - size.min_size
        if growing:
            room = chosen if size.max_size is None else size.max_size - size.desired
        chosen = max(0, min(chosen, room))
    return Scaling(chosen, tuple(decisions))


def choose_victims(
    bound: Sequence[Bound],
    workers: Iterable[Worker],
    count: int,
    random: Callable[[], int],
    nodes: Mapping[Oid, Node],
) -> tuple[list[Worker], tuple[Decision, ...]] | None:
    """Return the workers that go as policies say, or None when none of them says anything.

    Regions and zones come first: what a deletion policy says is obeyed within each of them.
    """
    rules = rules_of((each.name, each.rule) for each in bound)
    found = next((each for each in bound if isinstance(each.rule, DeletionPolicy)), None)
    if rules is None and found is None:
        return None
    orders: Mapping[str, Callable[[Worker], Any]] = {
        "OLDEST_FIRST": lambda worker: worker.created,
        "OLDEST_PROFILE_FIRST": lambda worker: (worker.revision, worker.created),
        "YOUNGEST_FIRST": lambda worker: -worker.created,
        "RANDOM": lambda _: random(),
    }
    first = (lambda worker: -worker.index) if found is None else orders[found.rule.criteria]
    here = [worker for worker in workers if worker.farewell is None]
    ordered = sorted(here, key=lambda worker: (first(worker), worker.oid.bytes))
    place = {worker.oid: number for number, worker in enumerate(ordered)}
    victims = surplus(
        ordered, count, rules or PlacementRules(), nodes, lambda worker: place[worker.oid], _is_gone_or_sick
    )
    decisions = _from_where(bound, victims, nodes)
    if found is not None:
        sick = sum(map(_is_gone_or_sick, victims))
        said = f"{found.rule.criteria}: takes out {len(victims)} workers, {sick} of them because they are sick"
        decisions = (*decisions, _decision(found, said))
    return victims, decisions


def plan_growth(bound: Sequence[Bound], total: int) -> tuple[Decision, ...]:
    """Return where policies want so many workers, if there is room; what is said, not what is done."""
    rules = rules_of((each.name, each.rule) for each in bound) or PlacementRules()
    decisions = []
    for each in bound:
        shares = _shares(rules, each.rule)
        if shares:
            given = apportion(shares, total)
            wanted = ", ".join(f"{number} in {name}" for name, number in given.items())
            left = total - sum(given.values())
            more = f", and has no room for {left} more" if left else ""
            decisions.append(_decision(each, f"wants of {so_many(total, 'worker')} {wanted}{more}"))
    return tuple(decisions)


def _shares(rules: PlacementRules, rule: Any) -> tuple[Share, ...]:
    match rule:
        case RegionPlacementPolicy():
            return rules.regions
        case ZonePlacementPolicy():
            return rules.zones
    return ()


def _from_where(bound: Iterable[Bound], victims: Iterable[Worker], nodes: Mapping[Oid, Node]) -> tuple[Decision, ...]:
    """Say for policies that spread a cluster from where workers are taken."""
    homes = [area_of(node) for worker in victims if worker.node_oid and (node := nodes.get(worker.node_oid))]
    decisions = []
    for each in bound:
        match each.rule:
            case RegionPlacementPolicy():
                names = Counter(home.region or "no region" for home in homes)
            case ZonePlacementPolicy():
                names = Counter(home.zone or "no zone" for home in homes)
            case _:
                continue
        said = ", ".join(f"{number} from {name}" for name, number in sorted(names.items()))
        decisions.append(_decision(each, f"takes out {said or 'none that has a place'}"))
    return tuple(decisions)


def _is_gone_or_sick(worker: Worker) -> bool:
    return worker.status in GONE_OR_SICK


def batch_size(rule: BatchPolicy, total: int) -> int:
    """Return how many of so many workers may be changed over at a time."""
    size = total - rule.min_in_service if total > rule.min_in_service else (total + 1) // 2
    if rule.max_batch_size > 0:
        size = min(size, rule.max_batch_size)
    return max(1, size)


def plan_batches(bound: Iterable[Bound], total: int) -> tuple[Pace, tuple[Decision, ...]] | None:
    """Return how many workers are changed over at a time and how long each has to run, or None without a policy."""
    found = next((each for each in bound if isinstance(each.rule, BatchPolicy)), None)
    if found is None:
        return None
    size = batch_size(found.rule, total)
    canary = min(found.rule.canary, size)
    first = f"{canary} first, then " if canary else ""
    said = f"changes {first}{size} of {total} workers at a time, each {found.rule.pause_time:g} s before the next"
    return Pace(batch=size, steady=found.rule.pause_time, canary=canary), (_decision(found, said),)


def read_rule(properties: Mapping[str, Any], kind: PolicyType) -> Any:
    """Return the rule that a policy's stored properties are."""
    return msgspec.convert(properties, kind.properties)


def _count(kind: Adjustment, number: float, min_step: int, current: int, growing: bool) -> int:
    signed = number if growing or kind is Adjustment.EXACT_CAPACITY else -number
    after = adjusted(current, kind, signed, min_step)
    return max(0, after - current if growing else current - after)


def _decision(each: Bound, said: str) -> Decision:
    return Decision(policy_oid=each.binding.policy_oid, policy_name=each.name, said=said)
