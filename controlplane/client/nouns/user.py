"""What can be done with each user; written by scripts/contract from what procedures declare: do not edit."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal

from controlplane.client.calls import PAGE_SIZE, Key, Noun
from controlplane.records.principals import UserChanges, UserView


class UserCalls(Noun):
    """Procedures of `controlplane.user`."""

    async def create_user(
        self,
        authid: str,
        role: Literal["owner", "admin", "operator", "viewer"],
        pubkey: str | None = None,
        label: str | None = None,
        sessions_max: int | None = None,
        clusters_max: int | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> UserView:
        """Create a user who logs in with this key; without a key, invite the user to register one."""
        return await self._calls.write(
            "controlplane.user.create_user",
            {
                "authid": authid,
                "role": role,
                "pubkey": pubkey,
                "label": label,
                "sessions_max": sessions_max,
                "clusters_max": clusters_max,
            },
            UserView,
            idempotency_key,
        )

    async def disable_user(
        self,
        user_oid: Key,
        *,
        idempotency_key: str | None = None,
    ) -> UserView:
        """Refuse a user from now on; its sessions end at once, and everything of it stays."""
        return await self._calls.write(
            "controlplane.user.disable_user",
            {
                "user_oid": user_oid,
            },
            UserView,
            idempotency_key,
        )

    async def enable_user(
        self,
        user_oid: Key,
        *,
        idempotency_key: str | None = None,
    ) -> UserView:
        """Admit a user again who was disabled."""
        return await self._calls.write(
            "controlplane.user.enable_user",
            {
                "user_oid": user_oid,
            },
            UserView,
            idempotency_key,
        )

    async def get_own_user(
        self,
    ) -> UserView:
        """Return who calls."""
        return await self._calls.read(
            "controlplane.user.get_own_user",
            {},
            UserView,
        )

    async def get_user(
        self,
        user_oid: Key,
    ) -> UserView:
        """Return a user, by its oid."""
        return await self._calls.read(
            "controlplane.user.get_user",
            {
                "user_oid": user_oid,
            },
            UserView,
        )

    async def get_user_by_name(
        self,
        user_name: Key,
    ) -> UserView:
        """Return a user, by the name that it logs in with."""
        return await self._calls.read(
            "controlplane.user.get_user_by_name",
            {
                "user_name": user_name,
            },
            UserView,
        )

    async def list_users(
        self,
        return_names: bool | None = None,
        limit: int | None = None,
        marker: str | None = None,
    ) -> list[str]:
        """Return the oids of all users, or with `return_names` their names in order."""
        return await self._calls.read(
            "controlplane.user.list_users",
            {
                "return_names": return_names,
                "limit": limit,
                "marker": marker,
            },
            list[str],
        )

    def iterate_users(
        self,
        return_names: bool | None = None,
        page_size: int = PAGE_SIZE,
    ) -> AsyncIterator[str]:
        """Go through all that `list_users` lists, page by page as it is needed."""
        return self._calls.pages(
            lambda limit, marker: self.list_users(
                return_names=return_names,
                limit=limit,
                marker=marker,
            ),
            page_size,
        )

    async def remove_user(
        self,
        user_oid: Key,
        *,
        idempotency_key: str | None = None,
    ) -> UserView:
        """Remove a user with its memberships, rights and invitations; its sessions end at once, its clusters stay."""
        return await self._calls.write(
            "controlplane.user.remove_user",
            {
                "user_oid": user_oid,
            },
            UserView,
            idempotency_key,
        )

    async def rotate_key(
        self,
        pubkey: str,
        *,
        idempotency_key: str | None = None,
    ) -> UserView:
        """Announce a new key of one's own; the old one is void as soon as somebody logs in with the new one."""
        return await self._calls.write(
            "controlplane.user.rotate_key",
            {
                "pubkey": pubkey,
            },
            UserView,
            idempotency_key,
        )

    async def update_user(
        self,
        user_oid: Key,
        user: UserChanges | Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
    ) -> UserView:
        """Change the role, label or limits of a user; what is not mentioned stays. Sessions in a lost role end at once."""
        return await self._calls.write(
            "controlplane.user.update_user",
            {
                "user_oid": user_oid,
                "user": user,
            },
            UserView,
            idempotency_key,
        )
