"""What can be done with each receiver; written by scripts/contract from what procedures declare: do not edit."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from controlplane.client.calls import PAGE_SIZE, Key, Noun
from controlplane.records.actions import ActionView
from controlplane.records.receivers import NewReceiverView, ReceiverInput, ReceiverUpdate, ReceiverView


class ReceiverCalls(Noun):
    """Procedures of `controlplane.receiver`."""

    async def create_receiver(
        self,
        cluster: Key,
        definition: ReceiverInput | Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
    ) -> NewReceiverView:
        """Create a receiver: whoever sends a POST to its address starts its action, in the name of its creator.

        The address is told this once, and only a digest of it is kept. The rights of the creator are looked at
        whenever it is used.
        """
        return await self._calls.write(
            "controlplane.receiver.create_receiver",
            {
                "cluster": cluster,
                "definition": definition,
            },
            NewReceiverView,
            idempotency_key,
        )

    async def delete_receiver(
        self,
        cluster: Key,
        receiver: Key,
        *,
        idempotency_key: str | None = None,
    ) -> ReceiverView:
        """Delete a receiver; its address is void at once."""
        return await self._calls.write(
            "controlplane.receiver.delete_receiver",
            {
                "cluster": cluster,
                "receiver": receiver,
            },
            ReceiverView,
            idempotency_key,
        )

    async def find_receiver(
        self,
        receiver: Key,
    ) -> ReceiverView:
        """Return a receiver of any cluster, by its name, oid, or the beginning of its oid, without its token."""
        return await self._calls.read(
            "controlplane.receiver.find_receiver",
            {
                "receiver": receiver,
            },
            ReceiverView,
        )

    async def get_receiver(
        self,
        cluster: Key,
        receiver: Key,
    ) -> ReceiverView:
        """Return a receiver of a cluster, without its token."""
        return await self._calls.read(
            "controlplane.receiver.get_receiver",
            {
                "cluster": cluster,
                "receiver": receiver,
            },
            ReceiverView,
        )

    async def list_all_receivers(
        self,
        filters: Mapping[str, Any] | None = None,
        sort: str | None = None,
        limit: int | None = None,
        marker: str | None = None,
    ) -> list[ReceiverView]:
        """Return the receivers of all clusters, in order of their oids unless `sort` says otherwise."""
        return await self._calls.read(
            "controlplane.receiver.list_all_receivers",
            {
                "filters": filters,
                "sort": sort,
                "limit": limit,
                "marker": marker,
            },
            list[ReceiverView],
        )

    def iterate_all_receivers(
        self,
        filters: Mapping[str, Any] | None = None,
        sort: str | None = None,
        page_size: int = PAGE_SIZE,
    ) -> AsyncIterator[ReceiverView]:
        """Go through all that `list_all_receivers` lists, page by page as it is needed."""
        return self._calls.pages(
            lambda limit, marker: self.list_all_receivers(
                filters=filters,
                sort=sort,
                limit=limit,
                marker=marker,
            ),
            page_size,
        )

    async def list_receivers(
        self,
        cluster: Key,
        filters: Mapping[str, Any] | None = None,
        sort: str | None = None,
        limit: int | None = None,
        marker: str | None = None,
    ) -> list[ReceiverView]:
        """Return the receivers of a cluster, in order of their oids unless `sort` says otherwise."""
        return await self._calls.read(
            "controlplane.receiver.list_receivers",
            {
                "cluster": cluster,
                "filters": filters,
                "sort": sort,
                "limit": limit,
                "marker": marker,
            },
            list[ReceiverView],
        )

    def iterate_receivers(
        self,
        cluster: Key,
        filters: Mapping[str, Any] | None = None,
        sort: str | None = None,
        page_size: int = PAGE_SIZE,
    ) -> AsyncIterator[ReceiverView]:
        """Go through all that `list_receivers` lists, page by page as it is needed."""
        return self._calls.pages(
            lambda limit, marker: self.list_receivers(
                cluster=cluster,
                filters=filters,
                sort=sort,
                limit=limit,
                marker=marker,
            ),
            page_size,
        )

    async def rotate_receiver(
        self,
        cluster: Key,
        receiver: Key,
        *,
        idempotency_key: str | None = None,
    ) -> NewReceiverView:
        """Give a receiver another address; the old one is void at once."""
        return await self._calls.write(
            "controlplane.receiver.rotate_receiver",
            {
                "cluster": cluster,
                "receiver": receiver,
            },
            NewReceiverView,
            idempotency_key,
        )

    async def send_message(
        self,
        receiver: str,
        message_id: str,
        params: Mapping[str, Any] | None = None,
        token: str | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> ActionView:
        """Have a receiver of messages start its action, in the name of its owner; return the action.

        Whoever may operate the receiver's cluster needs no `token`, and everybody else the receiver's. A message
        counts once: sent again with the same `message_id` it returns the action that it started. One that was
        refused did not count, and may be sent again.
        """
        return await self._calls.write(
            "controlplane.receiver.send_message",
            {
                "receiver": receiver,
                "message_id": message_id,
                "params": params,
                "token": token,
            },
            ActionView,
            idempotency_key,
        )

    async def update_receiver(
        self,
        cluster: Key,
        receiver: Key,
        changes: ReceiverUpdate | Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
    ) -> ReceiverView:
        """Change a receiver; its address stays."""
        return await self._calls.write(
            "controlplane.receiver.update_receiver",
            {
                "cluster": cluster,
                "receiver": receiver,
                "changes": changes,
            },
            ReceiverView,
            idempotency_key,
        )
