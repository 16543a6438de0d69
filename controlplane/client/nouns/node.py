"""What can be done with each node; written by scripts/contract from what procedures declare: do not edit."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal

from controlplane.client.calls import PAGE_SIZE, Key, Noun
from controlplane.records.nodes import NodeUpdate, NodeView


class NodeCalls(Noun):
    """Procedures of `controlplane.node`."""

    async def get_node(
        self,
        node_oid: Key,
    ) -> NodeView:
        """Return a node, by its oid."""
        return await self._calls.read(
            "controlplane.node.get_node",
            {
                "node_oid": node_oid,
            },
            NodeView,
        )

    async def get_node_by_name(
        self,
        node_name: Key,
    ) -> NodeView:
        """Return a node, by the name that it was paired under."""
        return await self._calls.read(
            "controlplane.node.get_node_by_name",
            {
                "node_name": node_name,
            },
            NodeView,
        )

    async def list_nodes(
        self,
        return_names: bool | None = None,
        filter_by_status: Literal["online", "offline"] | None = None,
        limit: int | None = None,
        marker: str | None = None,
    ) -> list[str]:
        """Return the oids of all nodes, or with `return_names` their names in order."""
        return await self._calls.read(
            "controlplane.node.list_nodes",
            {
                "return_names": return_names,
                "filter_by_status": filter_by_status,
                "limit": limit,
                "marker": marker,
            },
            list[str],
        )

    def iterate_nodes(
        self,
        return_names: bool | None = None,
        filter_by_status: Literal["online", "offline"] | None = None,
        page_size: int = PAGE_SIZE,
    ) -> AsyncIterator[str]:
        """Go through all that `list_nodes` lists, page by page as it is needed."""
        return self._calls.pages(
            lambda limit, marker: self.list_nodes(
                return_names=return_names,
                filter_by_status=filter_by_status,
                limit=limit,
                marker=marker,
            ),
            page_size,
        )

    async def pair_node(
        self,
        pubkey: str,
        authid: str,
        label: str | None = None,
        description: str | None = None,
        tags: Sequence[str] | None = None,
        region: str | None = None,
        zone: str | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> NodeView:
        """Pair a machine by its agent's public key and give it a name; its agent may connect from now on."""
        return await self._calls.write(
            "controlplane.node.pair_node",
            {
                "pubkey": pubkey,
                "authid": authid,
                "label": label,
                "description": description,
                "tags": tags,
                "region": region,
                "zone": zone,
            },
            NodeView,
            idempotency_key,
        )

    async def rotate_node_key(
        self,
        node_oid: Key,
        *,
        idempotency_key: str | None = None,
    ) -> NodeView:
        """Have a node's agent make a new key and log in with it; returns at once, and its workers go on.

        The old key is void as soon as the agent has logged in with the new one, which an event tells.
        """
        return await self._calls.write(
            "controlplane.node.rotate_node_key",
            {
                "node_oid": node_oid,
            },
            NodeView,
            idempotency_key,
        )

    async def unpair_node(
        self,
        node_oid: Key,
        *,
        idempotency_key: str | None = None,
    ) -> NodeView:
        """Take a machine out: its agent is cut off, and its workers are placed on other nodes of their clusters."""
        return await self._calls.write(
            "controlplane.node.unpair_node",
            {
                "node_oid": node_oid,
            },
            NodeView,
            idempotency_key,
        )

    async def update_node(
        self,
        node_oid: Key,
        changes: NodeUpdate | Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
    ) -> NodeView:
        """Change settings of a node; what is not mentioned stays.

        Workers that run are left where they are; those that wait for a place are looked at again.
        """
        return await self._calls.write(
            "controlplane.node.update_node",
            {
                "node_oid": node_oid,
                "changes": changes,
            },
            NodeView,
            idempotency_key,
        )
