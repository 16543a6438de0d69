"""Profiles, which say what workers are, and the types that say what profiles may say."""

from collections.abc import Mapping
from typing import Any

import msgspec

from controlplane.core.worker_types import WORKER_TYPES, WorkerType, complete_spec
from controlplane.errors import AlreadyExists, InUse, InvalidConfiguration, LimitReached, NoSuchObject
from controlplane.records import events
from controlplane.records.definitions import Definition, DefinitionKind, DefinitionView, OperationView, Spec, TypeView
from controlplane.records.profiles import OPERATIONS
from controlplane.services.arguments import ExistingProfile, ProfileChanges, ProfileDefinition
from controlplane.services.lists import Limit, select
from controlplane.services.pipeline import Call, WritingCall
from controlplane.services.procedures import procedure
from controlplane.services.quotas import require_room
from controlplane.services.views import definition_view
from controlplane.store.catalog import CLUSTERS, DEFINITIONS

PROFILE = "controlplane.profile."
TYPE = "controlplane.type."
FIELDS = {
    "oid": lambda d: d.oid,
    "name": lambda d: d.name,
    "type": lambda d: f"{d.spec.type}-{d.spec.version}",
    "created": lambda d: d.created,
    "changed": lambda d: d.changed,
}


@procedure(TYPE + "list_types", needs="read")
def list_types(_call: Call, kind: DefinitionKind | None = None) -> list[TypeView]:
    """Return the types that there are: what definitions of each kind may say."""
    return [_type_view(each) for each in WORKER_TYPES.values() if kind in (None, DefinitionKind.PROFILE)]


@procedure(TYPE + "get_type", needs="read", raises=(NoSuchObject,))
def get_type(_call: Call, type_name: str) -> TypeView:
    """Return a type by its name with version, as `process-1.0`."""
    found = WORKER_TYPES.get(type_name)
    if found is None:
        raise NoSuchObject(
            f"there is no type {type_name}",
            subject={"type": "type", "name": type_name},
            next_step=f"take one of {', '.join(sorted(WORKER_TYPES))}",
        )
    return _type_view(found)


@procedure(PROFILE + "list_profiles", needs="manage")
def list_profiles(
    call: Call,
    filters: dict[str, Any] | None = None,
    sort: str | None = None,
    limit: Limit | None = None,
    marker: str | None = None,
) -> list[DefinitionView]:
    """Return profiles, in order of their oids unless `sort` says otherwise."""
    found = select(
        (each for each in call.rows(DEFINITIONS).all() if each.kind is DefinitionKind.PROFILE),
        filters=filters,
        sort=sort,
        limit=limit,
        marker=marker,
        fields=FIELDS,
        oid=lambda each: str(each.oid),
    )
    return [definition_view(each) for each in found]


@procedure(PROFILE + "get_profile", needs="manage", raises=(NoSuchObject,))
def get_profile(_call: Call, profile: ExistingProfile) -> DefinitionView:
    """Return a profile, by its name, oid, or the beginning of its oid."""
    return definition_view(profile)


@procedure(
    PROFILE + "create_profile",
    needs="manage",
    writes=True,
    raises=(InvalidConfiguration, AlreadyExists, LimitReached),
)
def create_profile(call: WritingCall, definition: ProfileDefinition) -> DefinitionView:
    """Create a profile; its spec is checked at once, and never changes."""
    spec = read_spec(definition.spec)
    rows = call.rows(DEFINITIONS)
    require_room(call.limits, "profiles_max", rows.count(DefinitionKind.PROFILE.value) + 1, "profiles")
    made = Definition(
        oid=call.new_oid(),
        kind=DefinitionKind.PROFILE,
        name=definition.name,
        spec=spec,
        metadata=definition.metadata,
        owner_oid=call.identity.oid,
        created=call.now,
        changed=call.now,
    )
    rows.add(made)
    view = definition_view(made)
    call.publish(events.PROFILE_CREATED, view)
    return view


@procedure(PROFILE + "validate_profile", needs="manage", raises=(InvalidConfiguration,))
def validate_profile(_call: Call, definition: ProfileDefinition) -> DefinitionView:
    """Check a profile and return it as it would be, with all defaults; nothing is kept."""
    spec = read_spec(definition.spec)
    return DefinitionView(
        oid=None,
        kind=DefinitionKind.PROFILE,
        name=definition.name,
        type=f"{spec.type}-{spec.version}",
        spec=spec,
        metadata=definition.metadata,
        owner_oid=None,
        created=None,
        changed=None,
    )


@procedure(
    PROFILE + "update_profile",
    needs="manage",
    writes=True,
    raises=(NoSuchObject, InvalidConfiguration, AlreadyExists),
)
def update_profile(call: WritingCall, profile: ExistingProfile, changes: ProfileChanges) -> DefinitionView:
    """Give a profile another name or other metadata; for another spec create another profile."""
    given = {
        name: getattr(changes, name)
        for name in changes.__struct_fields__
        if getattr(changes, name) is not msgspec.UNSET
    }
    changed = call.rows(DEFINITIONS).put(msgspec.structs.replace(profile, **given, changed=call.now), profile)
    view = definition_view(changed)
    call.publish(events.PROFILE_UPDATED, view)
    return view


@procedure(PROFILE + "delete_profile", needs="manage", writes=True, raises=(NoSuchObject, InUse))
def delete_profile(call: WritingCall, profile: ExistingProfile) -> DefinitionView:
    """Delete a profile that no cluster uses."""
    user = next(iter(call.rows(CLUSTERS).all_by("profile", profile.oid)), None)
    if user is not None:
        raise InUse(
            f"profile {profile.name} is used by cluster {user.name}",
            subject={"type": "cluster", "oid": str(user.oid), "name": user.name},
            next_step="delete the cluster, or give it another profile",
        )
    call.rows(DEFINITIONS).remove(profile)
    view = definition_view(profile)
    call.publish(events.PROFILE_DELETED, view)
    return view


def read_spec(given: Mapping[str, Any]) -> Spec:
    """Return a spec with all defaults; raises `InvalidConfiguration` with all that is wrong."""
    spec = complete_spec(given)
    if isinstance(spec, Spec):
        return spec
    problems = [problem._replace(path=problem.path.replace("$", "$.spec", 1)) for problem in spec]
    raise InvalidConfiguration(
        f"spec has {len(problems)} problem{'s' if len(problems) > 1 else ''}; "
        f"first, {problems[0].path}: {problems[0].message}",
        problems=problems,
        next_step="mend what is listed and call again",
    )


def _type_view(kind: WorkerType) -> TypeView:
    return TypeView(
        name=kind.full_name,
        kind=DefinitionKind.PROFILE,
        version=kind.version,
        description=kind.description,
        schema=msgspec.json.schema(kind.properties),
        updatable=(),
        operations={
            name: OperationView(description=operation.description, parameters=msgspec.json.schema(operation.parameters))
            for name, operation in OPERATIONS[kind.driver].items()
        },
        support_status="SUPPORTED",
        since=kind.since,
    )
