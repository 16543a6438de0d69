"""What can be done with each action; written by scripts/contract from what procedures declare: do not edit."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from controlplane.client.calls import PAGE_SIZE, Key, Noun
from controlplane.records.actions import ActionView


class ActionCalls(Noun):
    """Procedures of `controlplane.action`."""

    async def cancel_action(
        self,
        cluster: Key,
        action_oid: Key,
        *,
        idempotency_key: str | None = None,
    ) -> ActionView:
        """Cancel an action of a cluster: what it began and can be taken back is taken back, and then it has ended.

        A child is cancelled with its parent, and by itself is not.
        """
        return await self._calls.write(
            "controlplane.action.cancel_action",
            {
                "cluster": cluster,
                "action_oid": action_oid,
            },
            ActionView,
            idempotency_key,
        )

    async def get_action(
        self,
        action_oid: Key,
    ) -> ActionView:
        """Return an action, running or over."""
        return await self._calls.read(
            "controlplane.action.get_action",
            {
                "action_oid": action_oid,
            },
            ActionView,
        )

    async def list_actions(
        self,
        filters: Mapping[str, Any] | None = None,
        sort: str | None = None,
        limit: int | None = None,
        marker: str | None = None,
    ) -> list[ActionView]:
        """Return actions, the oldest first unless `sort` says otherwise; those that ended long ago are forgotten.

        Those of one cluster, `cluster_oid` in `filters`, and the newest ones, `created:desc`, are found without
        reading the others. Children are listed by their `parent_oid` only.
        """
        return await self._calls.read(
            "controlplane.action.list_actions",
            {
                "filters": filters,
                "sort": sort,
                "limit": limit,
                "marker": marker,
            },
            list[ActionView],
        )

    def iterate_actions(
        self,
        filters: Mapping[str, Any] | None = None,
        sort: str | None = None,
        page_size: int = PAGE_SIZE,
    ) -> AsyncIterator[ActionView]:
        """Go through all that `list_actions` lists, page by page as it is needed."""
        return self._calls.pages(
            lambda limit, marker: self.list_actions(
                filters=filters,
                sort=sort,
                limit=limit,
                marker=marker,
            ),
            page_size,
        )
