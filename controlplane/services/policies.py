"""Policies, which say what clusters obey."""

from typing import Any

from controlplane.errors import AlreadyExists, Ambiguous, InUse, InvalidConfiguration, LimitReached, NoSuchObject
from controlplane.records.definitions import DefinitionKind, DefinitionView
from controlplane.services.arguments import DefinitionChanges, ExistingPolicy, PolicySettings
from controlplane.services.definitions import (
    create_definition,
    delete_definition,
    list_definitions,
    update_definition,
    validate_definition,
)
from controlplane.services.lists import Limit
from controlplane.services.pipeline import Call, WritingCall
from controlplane.services.placing import place_as_bound
from controlplane.services.procedures import procedure
from controlplane.services.views import definition_view
from controlplane.store.catalog import BINDINGS, CLUSTERS

POLICY = "controlplane.policy."


@procedure(POLICY + "list_policies", needs="manage")
def list_policies(
    call: Call,
    filters: dict[str, Any] | None = None,
    sort: str | None = None,
    limit: Limit | None = None,
    marker: str | None = None,
) -> list[DefinitionView]:
    """Return policies, in order of their oids unless `sort` says otherwise."""
    return list_definitions(call, DefinitionKind.POLICY, filters, sort, limit, marker)


@procedure(POLICY + "get_policy", needs="manage", raises=(NoSuchObject, Ambiguous))
def get_policy(_call: Call, policy: ExistingPolicy) -> DefinitionView:
    """Return a policy, by its name, oid, or the beginning of its oid."""
    return definition_view(policy)


@procedure(
    POLICY + "create_policy",
    needs="manage",
    writes=True,
    raises=(InvalidConfiguration, AlreadyExists, LimitReached),
)
def create_policy(call: WritingCall, definition: PolicySettings) -> DefinitionView:
    """Create a policy; its spec is checked at once, and never changes."""
    return create_definition(call, DefinitionKind.POLICY, definition)


@procedure(POLICY + "validate_policy", needs="manage", raises=(InvalidConfiguration,))
def validate_policy(_call: Call, definition: PolicySettings) -> DefinitionView:
    """Check a policy and return it as it would be, with all defaults; nothing is kept."""
    return validate_definition(DefinitionKind.POLICY, definition)


@procedure(
    POLICY + "update_policy",
    needs="manage",
    writes=True,
    raises=(NoSuchObject, Ambiguous, InvalidConfiguration, AlreadyExists),
)
def update_policy(call: WritingCall, policy: ExistingPolicy, changes: DefinitionChanges) -> DefinitionView:
    """Give a policy another name or other metadata; for another spec create another policy."""
    view = update_definition(call, policy, changes)
    for binding in list(call.rows(BINDINGS).all_by("policy", policy.oid)):
        # Workers that wait for a place are told which policy keeps them waiting.
        place_as_bound(call, call.rows(CLUSTERS).get(binding.cluster_oid))
    return view


@procedure(POLICY + "delete_policy", needs="manage", writes=True, raises=(NoSuchObject, Ambiguous, InUse))
def delete_policy(call: WritingCall, policy: ExistingPolicy) -> DefinitionView:
    """Delete a policy that no cluster uses."""
    bound = next(iter(call.rows(BINDINGS).all_by("policy", policy.oid)), None)
    user = None if bound is None else call.rows(CLUSTERS).find(bound.cluster_oid)
    return delete_definition(call, policy, user)
