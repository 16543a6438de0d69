"""Methods for profiles, policies and their types."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from controlplane.client.senlin import resources, words
from controlplane.client.senlin.methods import Methods, key, read_query, refused
from controlplane.client.senlin.resources import Policy, PolicyType, Profile, ProfileType
from controlplane.errors import NoSuchObject
from controlplane.records.definitions import DefinitionKind, DefinitionView, TypeView

NAMELESS = "nameless"
MADE_FROM = frozenset({"name", "spec", "metadata"})
CHANGED = frozenset({"name", "metadata"})
ASKED = frozenset({"name", "type", "metadata"})


class Definitions(Methods):
    """Profiles, policies and their types.

    Names begin with a small letter and have 3 to 64 small letters, digits and underlines, and are unique; Senlin's may
    be anything and twins. A `spec` is `{"type": "process", "version": "1.0", "properties": {...}}`; the types are ours.
    """

    def profile_types(self, **query: Any) -> Iterator[ProfileType]:
        """Go through the types of profiles, whose names have their version: `process-1.0`. No query is known."""
        return self._types(DefinitionKind.PROFILE, ProfileType, query, "profile_types")

    def get_profile_type(self, profile_type: Any) -> ProfileType:
        """Return a type of profiles with its schema, which is JSON Schema here, and the operations it knows.

        Raises `ResourceNotFound`.
        """
        return cast(ProfileType, self._type(profile_type, DefinitionKind.PROFILE, ProfileType))

    def list_profile_type_operations(self, profile_type: Any) -> dict[str, Any]:
        """Return the operations that nodes of a type know, by name, each with `description` and `parameters`.

        A JSON Schema says which parameters there are. Raises `ResourceNotFound` for a type that there is not.
        """
        return dict(self.get_profile_type(profile_type).operations)

    def create_profile(self, **attrs: Any) -> Profile:
        """Create a profile from `name`, `spec` and `metadata`; the spec is checked, and all that is wrong is said."""
        words.refuse_unknown(attrs, MADE_FROM, "create_profile")
        return cast(Profile, resources.profile(self._do(lambda: self._client.profile.create_profile(attrs))))

    def update_profile(self, profile: Any, **attrs: Any) -> Profile:
        """Give a profile another `name` or `metadata`, which replaces the old one; its spec never changes."""
        words.refuse_unknown(attrs, CHANGED, "update_profile")
        return cast(
            Profile, resources.profile(self._do(lambda: self._client.profile.update_profile(key(profile), attrs)))
        )

    def delete_profile(self, profile: Any, ignore_missing: bool = True) -> None:
        """Delete a profile; raises `InUse` while a cluster has it, and `ResourceNotFound` unless that is ignored."""
        self._find(
            lambda named: self._do(lambda: self._client.profile.delete_profile(named)), key(profile), ignore_missing
        )

    def get_profile(self, profile: Any) -> Profile:
        """Return a profile, by its name, id or the beginning of its id; raises `ResourceNotFound`."""
        return cast(Profile, resources.profile(self._do(lambda: self._client.profile.get_profile(key(profile)))))

    def find_profile(self, name_or_id: str, ignore_missing: bool = True) -> Profile | None:
        """Return a profile, or None when there is none, or with `ignore_missing=False` raise `ResourceNotFound`."""
        return self._find(self.get_profile, name_or_id, ignore_missing)

    def profiles(self, **query: Any) -> Iterator[Profile]:
        """Go through the profiles: `name`, `type`, `metadata`, `sort`, `limit`, `marker`, `global_project`.

        `limit` is the length of a page, as in openstacksdk: all pages are gone through.
        """
        filters, sort, wanted = _asked(query, ASKED, "profiles")

        def made(page: list[DefinitionView]) -> Iterator[Profile]:
            return (resources.profile(view) for view in page if wanted.items() <= view.metadata.items())

        return self._pages(
            lambda limit, marker: self._client.profile.list_profiles(filters, sort, limit, marker), query, made
        )

    def validate_profile(self, **attrs: Any) -> Profile:
        """Return the profile that `create_profile` would make, without an id; nothing is kept.

        The same is checked as when it is created. `name` may be left out.
        """
        words.refuse_unknown(attrs, MADE_FROM, "validate_profile")
        given = {"name": NAMELESS, **attrs}
        return cast(Profile, resources.profile(self._do(lambda: self._client.profile.validate_profile(given))))

    def policy_types(self, **query: Any) -> Iterator[PolicyType]:
        """Go through the types of policies, whose names have their version: `scaling-1.0`. No query is known."""
        return self._types(DefinitionKind.POLICY, PolicyType, query, "policy_types")

    def get_policy_type(self, policy_type: Any) -> PolicyType:
        """Return a type of policies with its schema, which is JSON Schema here; raises `ResourceNotFound`."""
        return cast(PolicyType, self._type(policy_type, DefinitionKind.POLICY, PolicyType))

    def create_policy(self, **attrs: Any) -> Policy:
        """Create a policy from `name` and `spec` (and `metadata`, which Senlin's policies have not)."""
        words.refuse_unknown(attrs, MADE_FROM, "create_policy")
        return _policy(self._do(lambda: self._client.policy.create_policy(attrs)))

    def update_policy(self, policy: Any, **attrs: Any) -> Policy:
        """Give a policy another `name` or `metadata`; its spec never changes."""
        words.refuse_unknown(attrs, CHANGED, "update_policy")
        return _policy(self._do(lambda: self._client.policy.update_policy(key(policy), attrs)))

    def delete_policy(self, policy: Any, ignore_missing: bool = True) -> None:
        """Delete a policy; raises `InUse` while a cluster obeys it, and `ResourceNotFound` unless that is ignored."""
        self._find(
            lambda named: self._do(lambda: self._client.policy.delete_policy(named)), key(policy), ignore_missing
        )

    def get_policy(self, policy: Any) -> Policy:
        """Return a policy, by its name, id or the beginning of its id; raises `ResourceNotFound`."""
        return _policy(self._do(lambda: self._client.policy.get_policy(key(policy))))

    def find_policy(self, name_or_id: str, ignore_missing: bool = True) -> Policy | None:
        """Return a policy, or None when there is none, or with `ignore_missing=False` raise `ResourceNotFound`."""
        return self._find(self.get_policy, name_or_id, ignore_missing)

    def policies(self, **query: Any) -> Iterator[Policy]:
        """Go through the policies: `name`, `type`, `sort`, `limit` (the length of a page), `marker`."""
        filters, sort, _ = _asked(query, ASKED - {"metadata"}, "policies")
        return self._pages(
            lambda limit, marker: self._client.policy.list_policies(filters, sort, limit, marker),
            query,
            lambda page: (_policy(view) for view in page),
        )

    def validate_policy(self, **attrs: Any) -> Policy:
        """Return the policy that `create_policy` would make, without an id; nothing is kept."""
        words.refuse_unknown(attrs, MADE_FROM, "validate_policy")
        given = {"name": NAMELESS, **attrs}
        return _policy(self._do(lambda: self._client.policy.validate_policy(given)))

    def _types(self, kind: DefinitionKind, made: type[Any], query: Mapping[str, Any], method: str) -> Iterator[Any]:
        read_query(query, frozenset(), method)
        found: list[TypeView] = self._do(lambda: self._client.type.list_types(kind))
        return (resources.type_of(each, made) for each in found)

    def _type(self, named: Any, kind: DefinitionKind, made: type[Any]) -> Any:
        found = self._do(lambda: self._client.type.get_type(key(named)))
        if found.kind is not kind:
            raise NoSuchObject(
                f"{found.name} is no type of a {kind.value}",
                subject={"type": "type", "name": found.name},
                next_step=f"list the {kind.value} types",
            )
        return resources.type_of(found, made)


def _policy(view: DefinitionView) -> Policy:
    return cast(Policy, resources.profile(view, Policy))


def _asked(
    query: Mapping[str, Any], known: frozenset[str], method: str
) -> tuple[dict[str, Any], str | None, dict[str, Any]]:
    sort = read_query(query, known, method)
    wanted = query.get("metadata", {})
    try:
        wanted = dict(wanted)
    except (TypeError, ValueError):
        raise refused("metadata", "is no list of pairs", "give a dict, or a list of keys with their values") from None
    return {name: query[name] for name in ("name", "type") if name in query}, sort, wanted
