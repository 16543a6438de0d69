"""Which policies a cluster obeys, read and in the order in which they are asked."""

from typing import Any

import msgspec

from controlplane.core.policies import POLICY_TYPES, Bound, read_rule
from controlplane.records.policies import ScalingPolicy
from controlplane.records.scaling import MetricPolicy
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


def note_scaling(ledger: Ledger, cluster_oid: Oid, *, whole: bool = True) -> None:
    """Take note that a scaling of a cluster has ended: its scaling policies rest from now on, in both directions.

    When it was not a `whole` one but a resize by hand, those that measure begin anew, and the others are left alone.
    """
    rows = ledger.rows(BINDINGS)
    concerned = (MetricPolicy, ScalingPolicy) if whole else (MetricPolicy,)
    for each in bound_policies(ledger, cluster_oid):
        if isinstance(each.rule, concerned):
            rows.put(msgspec.structs.replace(each.binding, used=ledger.now), each.binding)
