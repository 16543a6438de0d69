"""What can be done with each team; written by scripts/contract from what procedures declare: do not edit."""

from collections.abc import AsyncIterator

from controlplane.client.calls import PAGE_SIZE, Key, Noun
from controlplane.records.principals import TeamView


class TeamCalls(Noun):
    """Procedures of `controlplane.team`."""

    async def add_team_member(
        self,
        team_oid: Key,
        user_oid: Key,
        *,
        idempotency_key: str | None = None,
    ) -> TeamView:
        """Make a user a member of a team; a member stays one."""
        return await self._calls.write(
            "controlplane.team.add_team_member",
            {
                "team_oid": team_oid,
                "user_oid": user_oid,
            },
            TeamView,
            idempotency_key,
        )

    async def create_team(
        self,
        team_name: str,
        label: str | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> TeamView:
        """Create a team without members."""
        return await self._calls.write(
            "controlplane.team.create_team",
            {
                "team_name": team_name,
                "label": label,
            },
            TeamView,
            idempotency_key,
        )

    async def get_team(
        self,
        team_oid: Key,
    ) -> TeamView:
        """Return a team and its members."""
        return await self._calls.read(
            "controlplane.team.get_team",
            {
                "team_oid": team_oid,
            },
            TeamView,
        )

    async def list_teams(
        self,
        return_names: bool | None = None,
        limit: int | None = None,
        marker: str | None = None,
    ) -> list[str]:
        """Return the oids of all teams, or with `return_names` their names in order."""
        return await self._calls.read(
            "controlplane.team.list_teams",
            {
                "return_names": return_names,
                "limit": limit,
                "marker": marker,
            },
            list[str],
        )

    def iterate_teams(
        self,
        return_names: bool | None = None,
        page_size: int = PAGE_SIZE,
    ) -> AsyncIterator[str]:
        """Go through all that `list_teams` lists, page by page as it is needed."""
        return self._calls.pages(
            lambda limit, marker: self.list_teams(
                return_names=return_names,
                limit=limit,
                marker=marker,
            ),
            page_size,
        )

    async def remove_team(
        self,
        team_oid: Key,
        *,
        idempotency_key: str | None = None,
    ) -> TeamView:
        """Remove a team and what was granted to it."""
        return await self._calls.write(
            "controlplane.team.remove_team",
            {
                "team_oid": team_oid,
            },
            TeamView,
            idempotency_key,
        )

    async def remove_team_member(
        self,
        team_oid: Key,
        user_oid: Key,
        *,
        idempotency_key: str | None = None,
    ) -> TeamView:
        """Take a user out of a team."""
        return await self._calls.write(
            "controlplane.team.remove_team_member",
            {
                "team_oid": team_oid,
                "user_oid": user_oid,
            },
            TeamView,
            idempotency_key,
        )
