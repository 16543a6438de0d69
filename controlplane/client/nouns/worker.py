"""What can be done with each worker; written by scripts/contract from what procedures declare: do not edit."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from controlplane.client.calls import PAGE_SIZE, Key, Noun
from controlplane.records.workers import AnyWorkerView


class WorkerCalls(Noun):
    """Procedures of `controlplane.worker`."""

    async def get_worker(
        self,
        worker: str,
        details: bool = False,
    ) -> AnyWorkerView:
        """Return a worker, by its oid, its name, or the beginning of its oid; with `details` its agent is asked."""
        return await self._calls.read(
            "controlplane.worker.get_worker",
            {
                "worker": worker,
                "details": details,
            },
            AnyWorkerView,
        )

    async def list_workers(
        self,
        cluster: Key | None = None,
        filters: Mapping[str, Any] | None = None,
        sort: str | None = None,
        limit: int | None = None,
        marker: str | None = None,
    ) -> list[AnyWorkerView]:
        """Return workers of all clusters, or of one, cluster by cluster unless `sort` says otherwise."""
        return await self._calls.read(
            "controlplane.worker.list_workers",
            {
                "cluster": cluster,
                "filters": filters,
                "sort": sort,
                "limit": limit,
                "marker": marker,
            },
            list[AnyWorkerView],
        )

    def iterate_workers(
        self,
        cluster: Key | None = None,
        filters: Mapping[str, Any] | None = None,
        sort: str | None = None,
        page_size: int = PAGE_SIZE,
    ) -> AsyncIterator[AnyWorkerView]:
        """Go through all that `list_workers` lists, page by page as it is needed."""
        return self._calls.pages(
            lambda limit, marker: self.list_workers(
                cluster=cluster,
                filters=filters,
                sort=sort,
                limit=limit,
                marker=marker,
            ),
            page_size,
        )
