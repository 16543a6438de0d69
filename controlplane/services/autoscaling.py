"""What policies make of measurements: a scaling like any other, in a transaction of its own."""

from typing import NamedTuple

from controlplane.core.autoscaling import Verdict, combine, decide, within_bounds
from controlplane.core.policies import Bound
from controlplane.core.resizing import Size
from controlplane.records.actions import ActionKind, ActionView
from controlplane.records.clusters import Cluster, Group
from controlplane.records.metrics import PolicyState
from controlplane.records.policies import Decision
from controlplane.records.types import Instant, Oid
from controlplane.services.cluster_actions import scale
from controlplane.services.ledger import groups_of
from controlplane.services.metrics import Window, metric_policies
from controlplane.services.pipeline import WritingCall
from controlplane.services.protected import count_protected
from controlplane.store.catalog import CLUSTERS
from controlplane.store.database import View


class Wanted(NamedTuple):
    """That a group is to have another size, and why."""

    cluster: Cluster
    group: Group
    desired: int
    policies: tuple[tuple[Bound, Verdict], ...]
    """Those that have a say about the group."""


def judge(view: View, cluster_oid: Oid, window: Window, now: Instant) -> list[Wanted]:
    """Return what policies want to be changed, and take down what each of them says."""
    cluster = view.rows(CLUSTERS).find(cluster_oid)
    policies = [] if cluster is None or not cluster.run else metric_policies(view, cluster_oid)
    window.states = {
        oid: state for oid, state in window.states.items() if oid in {p.binding.policy_oid for p in policies}
    }
    if cluster is None or not policies:
        return []
    groups = groups_of(view, cluster_oid)
    wanted = []
    for group in groups:
        low = max(group.min_size, count_protected(view, group))
        size = Size(group.scale, low, group.max_size)
        said = []
        for each in policies:
            if each.rule.group == group.name or (each.rule.group is None and len(groups) == 1):
                row = window.row(group.name, each.rule.metric)
                verdict = within_bounds(decide(each.rule, row, size, each.binding.used, now), size)
                said.append((each, verdict))
                _take_down(window, each, verdict, now)
        desired = combine((verdict for _, verdict in said), size)
        if desired != group.scale:
            wanted.append(Wanted(cluster, group, desired, tuple(said)))
    for each in policies:
        if each.rule.group not in (*(group.name for group in groups), *([None] if len(groups) == 1 else [])):
            _take_down(window, each, Verdict(None, "names none of the cluster's groups"), now)
    return wanted


def scale_by_policies(call: WritingCall, cluster_oid: Oid, window: Window) -> ActionView | None:
    """Begin the first thing that policies want to be changed as things are now; None when there is nothing any more."""
    wanted = next(iter(judge(call.view, cluster_oid, window, call.now)), None)
    if wanted is None:
        return None
    step = wanted.desired - wanted.group.scale
    kind = ActionKind.CLUSTER_SCALE_OUT if step > 0 else ActionKind.CLUSTER_SCALE_IN
    decisions = tuple(
        Decision(policy_oid=each.binding.policy_oid, policy_name=each.name, said=verdict.said)
        for each, verdict in wanted.policies
    )
    return scale(call, wanted.cluster, wanted.group.name, kind, abs(step), decisions)


def note_refusal(window: Window, wanted: Wanted, reason: str, now: Instant) -> None:
    """Take down that a scaling was not possible now; it is tried again."""
    for each, verdict in wanted.policies:
        if verdict.desired is not None:
            _take_down(window, each, Verdict(verdict.desired, f"{verdict.said}; waits: {reason}"), now)


def leading(wanted: Wanted) -> Bound:
    """Return the policy in whose name a group is scaled: the one that wants most."""
    return max(wanted.policies, key=lambda said: -1 if said[1].desired is None else said[1].desired)[0]


def _take_down(window: Window, each: Bound, verdict: Verdict, now: Instant) -> None:
    window.states[each.binding.policy_oid] = PolicyState(
        policy_oid=each.binding.policy_oid, policy_name=each.name, desired=verdict.desired, said=verdict.said, time=now
    )
