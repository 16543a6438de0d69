"""What can be done with each profile; written by scripts/contract from what procedures declare: do not edit."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from controlplane.client.calls import PAGE_SIZE, Key, Noun
from controlplane.records.definitions import DefinitionInput, DefinitionUpdate, DefinitionView


class ProfileCalls(Noun):
    """Procedures of `controlplane.profile`."""

    async def create_profile(
        self,
        definition: DefinitionInput | Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
    ) -> DefinitionView:
        """Create a profile; its spec is checked at once, and never changes."""
        return await self._calls.write(
            "controlplane.profile.create_profile",
            {
                "definition": definition,
            },
            DefinitionView,
            idempotency_key,
        )

    async def delete_profile(
        self,
        profile: Key,
        *,
        idempotency_key: str | None = None,
    ) -> DefinitionView:
        """Delete a profile that no cluster uses."""
        return await self._calls.write(
            "controlplane.profile.delete_profile",
            {
                "profile": profile,
            },
            DefinitionView,
            idempotency_key,
        )

    async def get_profile(
        self,
        profile: Key,
    ) -> DefinitionView:
        """Return a profile, by its name, oid, or the beginning of its oid."""
        return await self._calls.read(
            "controlplane.profile.get_profile",
            {
                "profile": profile,
            },
            DefinitionView,
        )

    async def list_profiles(
        self,
        filters: Mapping[str, Any] | None = None,
        sort: str | None = None,
        limit: int | None = None,
        marker: str | None = None,
    ) -> list[DefinitionView]:
        """Return profiles, in order of their oids unless `sort` says otherwise."""
        return await self._calls.read(
            "controlplane.profile.list_profiles",
            {
                "filters": filters,
                "sort": sort,
                "limit": limit,
                "marker": marker,
            },
            list[DefinitionView],
        )

    def iterate_profiles(
        self,
        filters: Mapping[str, Any] | None = None,
        sort: str | None = None,
        page_size: int = PAGE_SIZE,
    ) -> AsyncIterator[DefinitionView]:
        """Go through all that `list_profiles` lists, page by page as it is needed."""
        return self._calls.pages(
            lambda limit, marker: self.list_profiles(
                filters=filters,
                sort=sort,
                limit=limit,
                marker=marker,
            ),
            page_size,
        )

    async def update_profile(
        self,
        profile: Key,
        changes: DefinitionUpdate | Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
    ) -> DefinitionView:
        """Give a profile another name or other metadata; for another spec create another profile."""
        return await self._calls.write(
            "controlplane.profile.update_profile",
            {
                "profile": profile,
                "changes": changes,
            },
            DefinitionView,
            idempotency_key,
        )

    async def validate_profile(
        self,
        definition: DefinitionInput | Mapping[str, Any],
    ) -> DefinitionView:
        """Check a profile and return it as it would be, with all defaults; nothing is kept."""
        return await self._calls.read(
            "controlplane.profile.validate_profile",
            {
                "definition": definition,
            },
            DefinitionView,
        )
