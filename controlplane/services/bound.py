"""Which policies a cluster obeys, read and in the order in which they are asked."""

from typing import Any

import msgspec

from controlplane.core.policies import POLICY_TYPES, Bound, read_rule
from controlplane.records.policies import ScalingPolicy
from controlplane.records.types import Oid
from controlplane.services.ledger import Ledger
from controlplane.store.catalog import BINDINGS, DEFINITIONS


def bound_policies(view: Any, cluster_oid: Oid) -> list[Bound]:
    """Return the enabled policies of a cluster in the order in which they are asked."""
    found = []
    for binding in view.rows(BINDINGS).all(cluster_oid):
        policy = view.rows(DEFINITIONS).find(binding.policy_oid)
        if binding.enabled and policy is not None:
            rule = read_rule(policy.spec.properties, POLICY_TYPES[binding.type])
            found.append(Bound(binding, policy.name, rule))
    return sorted(found, key=lambda each: (each.binding.priority, each.binding.created, each.binding.oid.bytes))


def note_scaling(ledger: Ledger, cluster_oid: Oid) -> None:
    """Take note that a scaling of a cluster has ended: its scaling policies rest from now on, in both directions."""
    rows = ledger.rows(BINDINGS)
    for each in bound_policies(ledger, cluster_oid):
        if isinstance(each.rule, ScalingPolicy):
            rows.put(msgspec.structs.replace(each.binding, used=ledger.now), each.binding)
