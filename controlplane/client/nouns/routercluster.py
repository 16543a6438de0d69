"""What can be done with each routercluster; written by scripts/contract from what procedures declare: do not edit."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal

from controlplane.client.calls import PAGE_SIZE, Key, Noun
from controlplane.records.clusters import (
    ClusterChange,
    ClusterInput,
    ClusterRevisionView,
    ClusterStatus,
    ClusterUpdate,
    ClusterView,
    GroupInput,
    GroupView,
    MembershipInput,
    MembershipView,
)
from controlplane.records.statistics import Statistics
from controlplane.records.workers import WorkerStatus, WorkerView


class RouterclusterCalls(Noun):
    """Procedures of `controlplane.routercluster`."""

    async def add_routercluster_node(
        self,
        routercluster_oid: Key,
        node_oid: Key,
        config: MembershipInput | Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> MembershipView:
        """Let a node carry workers of a cluster, or change its limits; running or not.

        Above `softlimit` workers of this cluster other nodes are preferred; above `hardlimit` it takes none.
        """
        return await self._calls.write(
            "controlplane.routercluster.add_routercluster_node",
            {
                "routercluster_oid": routercluster_oid,
                "node_oid": node_oid,
                "config": config,
            },
            MembershipView,
            idempotency_key,
        )

    async def add_routercluster_workergroup(
        self,
        routercluster_oid: Key,
        workergroup: GroupInput | Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
    ) -> GroupView:
        """Add a worker group to a cluster, running or not; its workers start at once when the cluster runs."""
        return await self._calls.write(
            "controlplane.routercluster.add_routercluster_workergroup",
            {
                "routercluster_oid": routercluster_oid,
                "workergroup": workergroup,
            },
            GroupView,
            idempotency_key,
        )

    async def create_routercluster(
        self,
        routercluster: ClusterInput | Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
    ) -> ClusterView:
        """Create a router cluster, stopped. It belongs to whoever creates it."""
        return await self._calls.write(
            "controlplane.routercluster.create_routercluster",
            {
                "routercluster": routercluster,
            },
            ClusterView,
            idempotency_key,
        )

    async def delete_routercluster(
        self,
        routercluster_oid: Key,
        *,
        idempotency_key: str | None = None,
    ) -> ClusterView:
        """Delete a stopped router cluster with its memberships, groups and workers."""
        return await self._calls.write(
            "controlplane.routercluster.delete_routercluster",
            {
                "routercluster_oid": routercluster_oid,
            },
            ClusterView,
            idempotency_key,
        )

    async def get_routercluster(
        self,
        routercluster_oid: Key,
    ) -> ClusterView:
        """Return a router cluster and how it is, by its oid."""
        return await self._calls.read(
            "controlplane.routercluster.get_routercluster",
            {
                "routercluster_oid": routercluster_oid,
            },
            ClusterView,
        )

    async def get_routercluster_by_name(
        self,
        routercluster_name: Key,
    ) -> ClusterView:
        """Return a router cluster and how it is, by its name."""
        return await self._calls.read(
            "controlplane.routercluster.get_routercluster_by_name",
            {
                "routercluster_name": routercluster_name,
            },
            ClusterView,
        )

    async def get_routercluster_config(
        self,
        routercluster_oid: Key,
    ) -> ClusterRevisionView:
        """Return the newest configuration of a router cluster, as it was given and as it is in effect."""
        return await self._calls.read(
            "controlplane.routercluster.get_routercluster_config",
            {
                "routercluster_oid": routercluster_oid,
            },
            ClusterRevisionView,
        )

    async def get_routercluster_node(
        self,
        routercluster_oid: Key,
        node_oid: Key,
    ) -> MembershipView:
        """Return the limits of a node in a cluster."""
        return await self._calls.read(
            "controlplane.routercluster.get_routercluster_node",
            {
                "routercluster_oid": routercluster_oid,
                "node_oid": node_oid,
            },
            MembershipView,
        )

    async def get_routercluster_worker(
        self,
        routercluster_oid: Key,
        worker_oid: Key,
    ) -> WorkerView:
        """Return a worker of a cluster: where it runs, how it is, and where clients can connect to it."""
        return await self._calls.read(
            "controlplane.routercluster.get_routercluster_worker",
            {
                "routercluster_oid": routercluster_oid,
                "worker_oid": worker_oid,
            },
            WorkerView,
        )

    async def get_routercluster_workergroup(
        self,
        routercluster_oid: Key,
        workergroup_oid: Key,
    ) -> GroupView:
        """Return a worker group of a cluster, by its oid."""
        return await self._calls.read(
            "controlplane.routercluster.get_routercluster_workergroup",
            {
                "routercluster_oid": routercluster_oid,
                "workergroup_oid": workergroup_oid,
            },
            GroupView,
        )

    async def get_routercluster_workergroup_by_name(
        self,
        routercluster_name: Key,
        workergroup_name: str,
    ) -> GroupView:
        """Return a worker group of a cluster, by the names of both."""
        return await self._calls.read(
            "controlplane.routercluster.get_routercluster_workergroup_by_name",
            {
                "routercluster_name": routercluster_name,
                "workergroup_name": workergroup_name,
            },
            GroupView,
        )

    async def give_routercluster(
        self,
        routercluster_oid: Key,
        user_oid: Key,
        *,
        idempotency_key: str | None = None,
    ) -> ClusterView:
        """Make a user the owner of a cluster; the former owner keeps no right from having been it."""
        return await self._calls.write(
            "controlplane.routercluster.give_routercluster",
            {
                "routercluster_oid": routercluster_oid,
                "user_oid": user_oid,
            },
            ClusterView,
            idempotency_key,
        )

    async def list_routercluster_nodes(
        self,
        routercluster_oid: Key,
        return_names: bool | None = None,
        filter_by_status: Literal["online", "offline"] | None = None,
        limit: int | None = None,
        marker: str | None = None,
    ) -> list[str]:
        """Return the oids of the nodes that may carry a cluster, or with `return_names` their names in order."""
        return await self._calls.read(
            "controlplane.routercluster.list_routercluster_nodes",
            {
                "routercluster_oid": routercluster_oid,
                "return_names": return_names,
                "filter_by_status": filter_by_status,
                "limit": limit,
                "marker": marker,
            },
            list[str],
        )

    def iterate_routercluster_nodes(
        self,
        routercluster_oid: Key,
        return_names: bool | None = None,
        filter_by_status: Literal["online", "offline"] | None = None,
        page_size: int = PAGE_SIZE,
    ) -> AsyncIterator[str]:
        """Go through all that `list_routercluster_nodes` lists, page by page as it is needed."""
        return self._calls.pages(
            lambda limit, marker: self.list_routercluster_nodes(
                routercluster_oid=routercluster_oid,
                return_names=return_names,
                filter_by_status=filter_by_status,
                limit=limit,
                marker=marker,
            ),
            page_size,
        )

    async def list_routercluster_workergroups(
        self,
        routercluster_oid: Key,
        return_names: bool | None = None,
        filter_by_status: ClusterStatus | str | None = None,
        limit: int | None = None,
        marker: str | None = None,
    ) -> list[str]:
        """Return the oids of a cluster's worker groups, or with `return_names` their names, in order of the names."""
        return await self._calls.read(
            "controlplane.routercluster.list_routercluster_workergroups",
            {
                "routercluster_oid": routercluster_oid,
                "return_names": return_names,
                "filter_by_status": filter_by_status,
                "limit": limit,
                "marker": marker,
            },
            list[str],
        )

    def iterate_routercluster_workergroups(
        self,
        routercluster_oid: Key,
        return_names: bool | None = None,
        filter_by_status: ClusterStatus | str | None = None,
        page_size: int = PAGE_SIZE,
    ) -> AsyncIterator[str]:
        """Go through all that `list_routercluster_workergroups` lists, page by page as it is needed."""
        return self._calls.pages(
            lambda limit, marker: self.list_routercluster_workergroups(
                routercluster_oid=routercluster_oid,
                return_names=return_names,
                filter_by_status=filter_by_status,
                limit=limit,
                marker=marker,
            ),
            page_size,
        )

    async def list_routercluster_workers(
        self,
        routercluster_oid: Key,
        filter_by_status: WorkerStatus | str | None = None,
        limit: int | None = None,
        marker: str | None = None,
    ) -> list[str]:
        """Return the oids of a cluster's workers: its routers first, then group by group in order of the index."""
        return await self._calls.read(
            "controlplane.routercluster.list_routercluster_workers",
            {
                "routercluster_oid": routercluster_oid,
                "filter_by_status": filter_by_status,
                "limit": limit,
                "marker": marker,
            },
            list[str],
        )

    def iterate_routercluster_workers(
        self,
        routercluster_oid: Key,
        filter_by_status: WorkerStatus | str | None = None,
        page_size: int = PAGE_SIZE,
    ) -> AsyncIterator[str]:
        """Go through all that `list_routercluster_workers` lists, page by page as it is needed."""
        return self._calls.pages(
            lambda limit, marker: self.list_routercluster_workers(
                routercluster_oid=routercluster_oid,
                filter_by_status=filter_by_status,
                limit=limit,
                marker=marker,
            ),
            page_size,
        )

    async def list_routerclusters(
        self,
        return_names: bool | None = None,
        limit: int | None = None,
        marker: str | None = None,
    ) -> list[str]:
        """Return the oids of all router clusters, or with `return_names` their names in order.

        With `limit` one page; `marker` is the last entry of the page before.
        """
        return await self._calls.read(
            "controlplane.routercluster.list_routerclusters",
            {
                "return_names": return_names,
                "limit": limit,
                "marker": marker,
            },
            list[str],
        )

    def iterate_routerclusters(
        self,
        return_names: bool | None = None,
        page_size: int = PAGE_SIZE,
    ) -> AsyncIterator[str]:
        """Go through all that `list_routerclusters` lists, page by page as it is needed."""
        return self._calls.pages(
            lambda limit, marker: self.list_routerclusters(
                return_names=return_names,
                limit=limit,
                marker=marker,
            ),
            page_size,
        )

    async def remove_routercluster_node(
        self,
        routercluster_oid: Key,
        node_oid: Key,
        *,
        idempotency_key: str | None = None,
    ) -> MembershipView:
        """Take a node from a cluster, running or not; its workers are placed on the other nodes."""
        return await self._calls.write(
            "controlplane.routercluster.remove_routercluster_node",
            {
                "routercluster_oid": routercluster_oid,
                "node_oid": node_oid,
            },
            MembershipView,
            idempotency_key,
        )

    async def remove_routercluster_workergroup(
        self,
        routercluster_oid: Key,
        workergroup_oid: Key,
        *,
        idempotency_key: str | None = None,
    ) -> GroupView:
        """Remove a worker group from a cluster, running or not; its workers are stopped."""
        return await self._calls.write(
            "controlplane.routercluster.remove_routercluster_workergroup",
            {
                "routercluster_oid": routercluster_oid,
                "workergroup_oid": workergroup_oid,
            },
            GroupView,
            idempotency_key,
        )

    async def renew_routercluster_certificates(
        self,
        routercluster_oid: Key,
        *,
        idempotency_key: str | None = None,
    ) -> int:
        """Have all certificates of a cluster issued anew, for other keys, and the former taken back; returns how many.

        Nothing is interrupted. Agents that are away follow when they are back.
        """
        return await self._calls.write(
            "controlplane.routercluster.renew_routercluster_certificates",
            {
                "routercluster_oid": routercluster_oid,
            },
            int,
            idempotency_key,
        )

    async def scale_routercluster_workergroup(
        self,
        routercluster_oid: Key,
        workergroup_oid: Key,
        scale: int,
        *,
        idempotency_key: str | None = None,
    ) -> GroupView:
        """Change how many workers a group wants; returns at once, and events tell how it goes on."""
        return await self._calls.write(
            "controlplane.routercluster.scale_routercluster_workergroup",
            {
                "routercluster_oid": routercluster_oid,
                "workergroup_oid": workergroup_oid,
                "scale": scale,
            },
            GroupView,
            idempotency_key,
        )

    async def start_routercluster(
        self,
        routercluster_oid: Key,
        *,
        idempotency_key: str | None = None,
    ) -> ClusterChange:
        """Start a router cluster; returns at once, and events tell how it goes on."""
        return await self._calls.write(
            "controlplane.routercluster.start_routercluster",
            {
                "routercluster_oid": routercluster_oid,
            },
            ClusterChange,
            idempotency_key,
        )

    async def stat_routercluster(
        self,
        routercluster_oid: Key,
    ) -> Statistics:
        """Return how a cluster does now: workers by status, node and group, restarts, and what its routers count."""
        return await self._calls.read(
            "controlplane.routercluster.stat_routercluster",
            {
                "routercluster_oid": routercluster_oid,
            },
            Statistics,
        )

    async def stat_routercluster_workergroup(
        self,
        routercluster_oid: Key,
        workergroup_oid: Key,
    ) -> Statistics:
        """Return how one worker group does now, and what the routers behind it count."""
        return await self._calls.read(
            "controlplane.routercluster.stat_routercluster_workergroup",
            {
                "routercluster_oid": routercluster_oid,
                "workergroup_oid": workergroup_oid,
            },
            Statistics,
        )

    async def stop_routercluster(
        self,
        routercluster_oid: Key,
        *,
        idempotency_key: str | None = None,
    ) -> ClusterChange:
        """Stop a router cluster; returns at once, and an event tells when it is STOPPED."""
        return await self._calls.write(
            "controlplane.routercluster.stop_routercluster",
            {
                "routercluster_oid": routercluster_oid,
            },
            ClusterChange,
            idempotency_key,
        )

    async def update_routercluster(
        self,
        routercluster_oid: Key,
        routercluster: ClusterUpdate | Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
    ) -> ClusterView:
        """Change settings of a router cluster, running or not; what is not mentioned stays.

        A new `config` or number of `routers` reaches the workers one after the other, routers first.
        """
        return await self._calls.write(
            "controlplane.routercluster.update_routercluster",
            {
                "routercluster_oid": routercluster_oid,
                "routercluster": routercluster,
            },
            ClusterView,
            idempotency_key,
        )
