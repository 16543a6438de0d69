"""What can be done with each policy; written by scripts/contract from what procedures declare: do not edit."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from controlplane.client.calls import PAGE_SIZE, Key, Noun
from controlplane.records.definitions import DefinitionInput, DefinitionUpdate, DefinitionView


class PolicyCalls(Noun):
    """Procedures of `controlplane.policy`."""

    async def create_policy(
        self,
        definition: DefinitionInput | Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
    ) -> DefinitionView:
        """Create a policy; its spec is checked at once, and never changes."""
        return await self._calls.write(
            "controlplane.policy.create_policy",
            {
                "definition": definition,
            },
            DefinitionView,
            idempotency_key,
        )

    async def delete_policy(
        self,
        policy: Key,
        *,
        idempotency_key: str | None = None,
    ) -> DefinitionView:
        """Delete a policy that no cluster uses."""
        return await self._calls.write(
            "controlplane.policy.delete_policy",
            {
                "policy": policy,
            },
            DefinitionView,
            idempotency_key,
        )

    async def get_policy(
        self,
        policy: Key,
    ) -> DefinitionView:
        """Return a policy, by its name, oid, or the beginning of its oid."""
        return await self._calls.read(
            "controlplane.policy.get_policy",
            {
                "policy": policy,
            },
            DefinitionView,
        )

    async def list_policies(
        self,
        filters: Mapping[str, Any] | None = None,
        sort: str | None = None,
        limit: int | None = None,
        marker: str | None = None,
    ) -> list[DefinitionView]:
        """Return policies, in order of their oids unless `sort` says otherwise."""
        return await self._calls.read(
            "controlplane.policy.list_policies",
            {
                "filters": filters,
                "sort": sort,
                "limit": limit,
                "marker": marker,
            },
            list[DefinitionView],
        )

    def iterate_policies(
        self,
        filters: Mapping[str, Any] | None = None,
        sort: str | None = None,
        page_size: int = PAGE_SIZE,
    ) -> AsyncIterator[DefinitionView]:
        """Go through all that `list_policies` lists, page by page as it is needed."""
        return self._calls.pages(
            lambda limit, marker: self.list_policies(
                filters=filters,
                sort=sort,
                limit=limit,
                marker=marker,
            ),
            page_size,
        )

    async def update_policy(
        self,
        policy: Key,
        changes: DefinitionUpdate | Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
    ) -> DefinitionView:
        """Give a policy another name or other metadata; for another spec create another policy."""
        return await self._calls.write(
            "controlplane.policy.update_policy",
            {
                "policy": policy,
                "changes": changes,
            },
            DefinitionView,
            idempotency_key,
        )

    async def validate_policy(
        self,
        definition: DefinitionInput | Mapping[str, Any],
    ) -> DefinitionView:
        """Check a policy and return it as it would be, with all defaults; nothing is kept."""
        return await self._calls.read(
            "controlplane.policy.validate_policy",
            {
                "definition": definition,
            },
            DefinitionView,
        )
