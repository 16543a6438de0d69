"""Where the workers of a cluster stand, as its policies say: kept with the cluster, where passes find it."""

import msgspec

from controlplane.core.spreading import rules_of
from controlplane.records.clusters import Cluster
from controlplane.records.policies import AffinityPolicy, KeepingPolicy
from controlplane.services.bound import bound_policies
from controlplane.services.pipeline import WritingCall
from controlplane.store.catalog import CLUSTERS


def place_as_bound(call: WritingCall, cluster: Cluster) -> None:
    """Have the workers of a cluster placed as its policies say now."""
    rules = [(each.name, each.rule) for each in bound_policies(call.view, cluster.oid)]
    limits = [rule.per_node_max for _, rule in rules if isinstance(rule, AffinityPolicy | KeepingPolicy)]
    per_node = min((limit for limit in limits if limit is not None), default=None)
    placement = rules_of(rules)
    if (per_node, placement) != (cluster.per_node_max, cluster.placement):
        changed = msgspec.structs.replace(cluster, per_node_max=per_node, placement=placement, changed=call.now)
        call.rows(CLUSTERS).put(changed, cluster)
        call.ledger.wake(cluster.oid)
