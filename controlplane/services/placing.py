"""What policies say of where workers stand and who is sent to them: kept with the cluster, where passes find it."""

import msgspec

from controlplane.core.spreading import rules_of
from controlplane.records.balancing import LoadBalancePolicy
from controlplane.records.clusters import Cluster
from controlplane.records.health_policies import HealthPolicy
from controlplane.records.policies import AffinityPolicy, KeepingPolicy
from controlplane.services.balancing import balance_as_bound, rules_of_balance
from controlplane.services.bound import bound_policies
from controlplane.services.pipeline import WritingCall
from controlplane.services.standby import rules_of_standby
from controlplane.store.catalog import CLUSTERS, WORKERS


def place_as_bound(call: WritingCall, cluster: Cluster) -> None:
    """Have the workers of a cluster placed and balanced as its policies say now."""
    bound = bound_policies(call.view, cluster.oid)
    rules = [(each.name, each.rule) for each in bound]
    limits = [
        (rule.per_node_max, name)
        for name, rule in rules
        if isinstance(rule, AffinityPolicy | KeepingPolicy) and rule.per_node_max is not None
    ]
    per_node, limited_by = min(limits, default=(None, None))
    placement = rules_of(rules)
    fences = [
        rule.recovery.fence_after for _, rule in rules if isinstance(rule, HealthPolicy) and rule.recovery.fencing
    ]
    fence = min(fences, default=None)
    if fence != cluster.fence_after:
        cluster = call.rows(CLUSTERS).put(msgspec.structs.replace(cluster, fence_after=fence), cluster)
        for worker in list(call.rows(WORKERS).all(cluster.oid)):
            call.ledger.retell(worker)
        call.ledger.wake(cluster.oid)  # Who had to stay on a silent node may be placed elsewhere now.
    balanced = next(
        ((each.binding.policy_oid, each.name, each.rule) for each in bound if isinstance(each.rule, LoadBalancePolicy)),
        None,
    )
    if balance_as_bound(call.ledger.change, cluster, balanced, call.now):
        call.ledger.tell_balancer(cluster.oid)
    standby = rules_of_standby(bound)
    balance = None if balanced is None else rules_of_balance(balanced[0], balanced[2])
    found = {
        "per_node_max": per_node,
        "per_node_policy": limited_by,
        "placement": placement,
        "balance": balance,
        "standby": standby,
    }
    if any(getattr(cluster, name) != value for name, value in found.items()):
        changed = msgspec.structs.replace(cluster, **found, changed=call.now)
        call.rows(CLUSTERS).put(changed, cluster)
        call.ledger.wake(cluster.oid)
