"""Profiles, which say what workers are."""

from typing import Any

from controlplane.errors import AlreadyExists, Ambiguous, InUse, InvalidConfiguration, LimitReached, NoSuchObject
from controlplane.records.definitions import DefinitionKind, DefinitionView
from controlplane.services.arguments import DefinitionChanges, ExistingProfile, ProfileSettings
from controlplane.services.definitions import (
    create_definition,
    delete_definition,
    list_definitions,
    update_definition,
    validate_definition,
)
from controlplane.services.lists import Limit
from controlplane.services.pipeline import Call, WritingCall
from controlplane.services.procedures import procedure
from controlplane.services.views import definition_view
from controlplane.store.catalog import CLUSTERS

PROFILE = "controlplane.profile."


@procedure(PROFILE + "list_profiles", needs="manage")
def list_profiles(
    call: Call,
    filters: dict[str, Any] | None = None,
    sort: str | None = None,
    limit: Limit | None = None,
    marker: str | None = None,
) -> list[DefinitionView]:
    """Return profiles, in order of their oids unless `sort` says otherwise."""
    return list_definitions(call, DefinitionKind.PROFILE, filters, sort, limit, marker)


@procedure(PROFILE + "get_profile", needs="manage", raises=(NoSuchObject, Ambiguous))
def get_profile(_call: Call, profile: ExistingProfile) -> DefinitionView:
    """Return a profile, by its name, oid, or the beginning of its oid."""
    return definition_view(profile)


@procedure(
    PROFILE + "create_profile",
    needs="manage",
    writes=True,
    raises=(InvalidConfiguration, AlreadyExists, LimitReached),
)
def create_profile(call: WritingCall, definition: ProfileSettings) -> DefinitionView:
    """Create a profile; its spec is checked at once, and never changes."""
    return create_definition(call, DefinitionKind.PROFILE, definition)


@procedure(PROFILE + "validate_profile", needs="manage", raises=(InvalidConfiguration,))
def validate_profile(_call: Call, definition: ProfileSettings) -> DefinitionView:
    """Check a profile and return it as it would be, with all defaults; nothing is kept."""
    return validate_definition(DefinitionKind.PROFILE, definition)


@procedure(
    PROFILE + "update_profile",
    needs="manage",
    writes=True,
    raises=(NoSuchObject, Ambiguous, InvalidConfiguration, AlreadyExists),
)
def update_profile(call: WritingCall, profile: ExistingProfile, changes: DefinitionChanges) -> DefinitionView:
    """Give a profile another name or other metadata; for another spec create another profile."""
    return update_definition(call, profile, changes)


@procedure(PROFILE + "delete_profile", needs="manage", writes=True, raises=(NoSuchObject, Ambiguous, InUse))
def delete_profile(call: WritingCall, profile: ExistingProfile) -> DefinitionView:
    """Delete a profile that no cluster uses."""
    user = next(iter(call.rows(CLUSTERS).all_by("profile", profile.oid)), None)
    return delete_definition(call, profile, user)
