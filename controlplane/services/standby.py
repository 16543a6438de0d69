"""Workers that stand by for a cluster: whether it can have any, and the news of those that are taken."""

from collections.abc import Iterable
from typing import Any

import msgspec

from controlplane.core.policies import Bound
from controlplane.core.situation import Plan
from controlplane.records import events
from controlplane.records.clusters import Cluster, ClusterType
from controlplane.records.limits import Limits
from controlplane.records.policies import Decision
from controlplane.records.standby import StandbyPolicy, StandbyRules, WorkerPromotion
from controlplane.services.ledger import Ledger, groups_of
from controlplane.services.lists import unfit
from controlplane.services.quotas import require_room
from controlplane.store.catalog import ACTIONS
from controlplane.store.database import View

DECISIONS_KEPT_MAX = 100
"""Of one action; a pool that is filled while it runs may help more than once."""


def require_standby(view: View, limits: Limits, cluster: Cluster, rule: Any) -> None:
    """Refuse to have workers stand by where they cannot, or more than there may be.

    Raises `InvalidArgument` and `LimitReached`.
    """
    if not isinstance(rule, StandbyPolicy):
        return
    if cluster.type is not ClusterType.GENERIC:
        raise unfit(
            "$.cluster",
            "is a router cluster: its workers share a port, so none of them could run there and serve nobody",
            "scale one of its groups",
        )
    wanted = sum(group.scale for group in groups_of(view, cluster.oid)) + rule.size
    owner = {"type": "cluster", "oid": str(cluster.oid), "name": cluster.name}
    require_room(limits, "workers_max", wanted, "workers", owner)


def rules_of_standby(bound: Iterable[Bound]) -> StandbyRules | None:
    """Return what passes over a cluster are to know of those that stand by; None for nothing."""
    for each in bound:
        if isinstance(each.rule, StandbyPolicy) and each.rule.size:
            return StandbyRules(
                policy_oid=each.binding.policy_oid,
                policy_name=each.name,
                size=each.rule.size,
                recovery=each.rule.recovery,
            )
    return None


def note_taken(ledger: Ledger, cluster: Cluster, plan: Plan) -> None:
    """Tell of the workers that a pass has taken, and write into a running action what their policy could do for it."""
    rules = cluster.standby
    if rules is None:
        return
    for taken in plan.taken:
        told = WorkerPromotion(
            oid=taken.worker,
            cluster_oid=cluster.oid,
            cluster_name=cluster.name,
            policy_oid=rules.policy_oid,
            policy_name=rules.policy_name,
            instead_of=taken.instead_of,
            reason=taken.reason,
        )
        ledger.publish(events.WORKER_PROMOTED, told)
    action = None if cluster.action_oid is None else ledger.rows(ACTIONS).find(cluster.action_oid)
    if action is None or len(action.decisions) >= DECISIONS_KEPT_MAX:
        return
    said = [plan.pool_said] if plan.pool_said else []
    said += [
        f"worker {taken.worker} takes the place of {taken.instead_of}: {taken.reason}"
        for taken in plan.taken
        if taken.instead_of is not None
    ]
    if said:
        more = [Decision(policy_oid=rules.policy_oid, policy_name=rules.policy_name, said=each) for each in said]
        decisions = (*action.decisions, *more)[:DECISIONS_KEPT_MAX]
        ledger.rows(ACTIONS).put(msgspec.structs.replace(action, decisions=decisions), action)
