"""What profiles and policies have in common: named specs that are checked at once and never change."""

from collections.abc import Mapping
from typing import Any

import msgspec

from controlplane.core.masking import masked
from controlplane.core.policies import POLICY_TYPES
from controlplane.core.specs import complete_spec, spec_problems, type_name
from controlplane.core.worker_types import WORKER_TYPES
from controlplane.errors import InUse, InvalidConfiguration
from controlplane.records import events
from controlplane.records.clusters import Cluster
from controlplane.records.definitions import (
    Definition,
    DefinitionInput,
    DefinitionKind,
    DefinitionUpdate,
    DefinitionView,
    Spec,
)
from controlplane.records.events import EventType
from controlplane.records.types import mentioned
from controlplane.services.lists import select
from controlplane.services.pipeline import Call, WritingCall
from controlplane.services.quotas import require_room
from controlplane.services.views import definition_view
from controlplane.store.catalog import DEFINITIONS

FIELDS = {
    "oid": lambda d: d.oid,
    "name": lambda d: d.name,
    "type": lambda d: type_name(d.spec),
    "created": lambda d: d.created,
    "changed": lambda d: d.changed,
}
TYPES: Mapping[DefinitionKind, Mapping[str, Any]] = {
    DefinitionKind.PROFILE: WORKER_TYPES,
    DefinitionKind.POLICY: POLICY_TYPES,
}
ANNOUNCED: Mapping[tuple[DefinitionKind, str], EventType] = {
    (DefinitionKind.PROFILE, "created"): events.PROFILE_CREATED,
    (DefinitionKind.PROFILE, "updated"): events.PROFILE_UPDATED,
    (DefinitionKind.PROFILE, "deleted"): events.PROFILE_DELETED,
    (DefinitionKind.POLICY, "created"): events.POLICY_CREATED,
    (DefinitionKind.POLICY, "updated"): events.POLICY_UPDATED,
    (DefinitionKind.POLICY, "deleted"): events.POLICY_DELETED,
}
LIMITS = {DefinitionKind.PROFILE: "profiles_max", DefinitionKind.POLICY: "policies_max"}


def list_definitions(
    call: Call,
    kind: DefinitionKind,
    filters: dict[str, Any] | None,
    sort: str | None,
    limit: int | None,
    marker: str | None,
) -> list[DefinitionView]:
    """Return the definitions of a kind that a caller asked for."""
    found = select(
        (each for each in call.rows(DEFINITIONS).all() if each.kind is kind),
        filters=filters,
        sort=sort,
        limit=limit,
        marker=marker,
        fields=FIELDS,
        values={"type": TYPES[kind]},
        oid=lambda each: str(each.oid),
    )
    return [definition_view(each) for each in found]


def create_definition(call: WritingCall, kind: DefinitionKind, given: DefinitionInput) -> DefinitionView:
    """Check a definition and keep it."""
    spec = read_spec(kind, given.spec)
    rows = call.rows(DEFINITIONS)
    require_room(call.limits, LIMITS[kind], rows.count(kind.value) + 1, f"{kind.value} definitions")
    made = Definition(
        oid=call.new_oid(),
        kind=kind,
        name=given.name,
        spec=spec,
        metadata=given.metadata,
        owner_oid=call.identity.oid,
        created=call.now,
        changed=call.now,
    )
    rows.add(made)
    return _announced(call, "created", made)


def validate_definition(kind: DefinitionKind, given: DefinitionInput) -> DefinitionView:
    """Check a definition and return it as it would be."""
    spec = read_spec(kind, given.spec)
    return DefinitionView(
        oid=None,
        kind=kind,
        name=given.name,
        type=type_name(spec),
        spec=spec,
        metadata=given.metadata,
        owner_oid=None,
        created=None,
        changed=None,
    )


def update_definition(call: WritingCall, definition: Definition, changes: DefinitionUpdate) -> DefinitionView:
    """Change what can be changed of a definition."""
    given = mentioned(changes)
    changed = call.rows(DEFINITIONS).put(msgspec.structs.replace(definition, **given, changed=call.now), definition)
    return _announced(call, "updated", changed)


def delete_definition(call: WritingCall, definition: Definition, user: Cluster | None) -> DefinitionView:
    """Forget a definition, unless a cluster uses it."""
    if user is not None:
        what = "worker" if user.alone else "cluster"
        raise InUse(
            f"{definition.kind.value} {definition.name} is used by {what} {user.name}",
            subject={"type": what, "oid": str(user.oid), "name": user.name},
            next_step="call detach_policy first"
            if definition.kind is DefinitionKind.POLICY
            else f"delete the {what}, or have it use another one",
        )
    call.rows(DEFINITIONS).remove(definition)
    return _announced(call, "deleted", definition)


def read_spec(kind: DefinitionKind, given: Mapping[str, Any]) -> Spec:
    """Return a spec with all defaults; raises `InvalidConfiguration` with all that is wrong."""
    spec = complete_spec(given, TYPES[kind])
    if isinstance(spec, Spec):
        return spec
    problems = spec_problems(given, TYPES[kind])
    raise InvalidConfiguration(
        f"spec has {len(problems)} problem{'s' if len(problems) > 1 else ''}; "
        f"first, {problems[0].path}: {problems[0].message}",
        problems=problems,
        next_step="mend what is listed and call again",
    )


def _announced(call: WritingCall, what: str, definition: Definition) -> DefinitionView:
    view = definition_view(definition)
    spec = msgspec.structs.replace(view.spec, properties=masked(view.spec.properties))
    call.publish(ANNOUNCED[definition.kind, what], msgspec.structs.replace(view, spec=spec))
    return view
