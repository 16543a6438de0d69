"""What can be done with each service; written by scripts/contract from what procedures declare: do not edit."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from controlplane.client.calls import PAGE_SIZE, Noun
from controlplane.records.services import BuildInfo, ServiceView


class ServiceCalls(Noun):
    """Procedures of `controlplane.service`."""

    async def get_build_info(
        self,
    ) -> BuildInfo:
        """Return the version of the program that answers, and of the contract that it keeps."""
        return await self._calls.read(
            "controlplane.service.get_build_info",
            {},
            BuildInfo,
        )

    async def list_services(
        self,
        filters: Mapping[str, Any] | None = None,
        sort: str | None = None,
        limit: int | None = None,
        marker: str | None = None,
    ) -> list[ServiceView]:
        """Return the master and all agents with their versions, and whether they are there; the master comes first."""
        return await self._calls.read(
            "controlplane.service.list_services",
            {
                "filters": filters,
                "sort": sort,
                "limit": limit,
                "marker": marker,
            },
            list[ServiceView],
        )

    def iterate_services(
        self,
        filters: Mapping[str, Any] | None = None,
        sort: str | None = None,
        page_size: int = PAGE_SIZE,
    ) -> AsyncIterator[ServiceView]:
        """Go through all that `list_services` lists, page by page as it is needed."""
        return self._calls.pages(
            lambda limit, marker: self.list_services(
                filters=filters,
                sort=sort,
                limit=limit,
                marker=marker,
            ),
            page_size,
        )
