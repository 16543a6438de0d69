"""What can be done with each grant; written by scripts/contract from what procedures declare: do not edit."""

from typing import Literal

from controlplane.client.calls import Key, Noun
from controlplane.records.principals import GrantView


class GrantCalls(Noun):
    """Procedures of `controlplane.grant`."""

    async def add_grant(
        self,
        routercluster_oid: Key,
        holder_oid: Key,
        right: Literal["operate", "manage"],
        *,
        idempotency_key: str | None = None,
    ) -> GrantView:
        """Grant a user or a team a right on one cluster, in the place of the one that it had there.

        `operate` starts, stops and scales it; `manage` also changes and deletes it, and grants rights on it.
        """
        return await self._calls.write(
            "controlplane.grant.add_grant",
            {
                "routercluster_oid": routercluster_oid,
                "holder_oid": holder_oid,
                "right": right,
            },
            GrantView,
            idempotency_key,
        )

    async def list_grants(
        self,
        routercluster_oid: Key,
    ) -> list[GrantView]:
        """Return who was granted which right on a cluster; its owner and who has the right everywhere are not listed."""
        return await self._calls.read(
            "controlplane.grant.list_grants",
            {
                "routercluster_oid": routercluster_oid,
            },
            list[GrantView],
        )

    async def remove_grant(
        self,
        routercluster_oid: Key,
        holder_oid: Key,
        *,
        idempotency_key: str | None = None,
    ) -> GrantView:
        """Take back what a user or a team was granted on one cluster."""
        return await self._calls.write(
            "controlplane.grant.remove_grant",
            {
                "routercluster_oid": routercluster_oid,
                "holder_oid": holder_oid,
            },
            GrantView,
            idempotency_key,
        )
