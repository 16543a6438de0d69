"""What can be done with each invitation; written by scripts/contract from what procedures declare: do not edit."""

from collections.abc import Sequence
from typing import Literal

from controlplane.client.calls import Key, Noun
from controlplane.records.principals import InvitationView


class InvitationCalls(Noun):
    """Procedures of `controlplane.invitation`."""

    async def invite_node(
        self,
        pubkey: str,
        node_name: str | None = None,
        tags: Sequence[str] | None = None,
        capacity: int | None = None,
        valid_for: float = 900.0,
        region: str | None = None,
        zone: str | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> InvitationView:
        """Let whoever has the secret half of this key pair one node, within so many seconds, 900 at most.

        The node gets what is given here, its place among them, and takes no more workers than `capacity`.
        """
        return await self._calls.write(
            "controlplane.invitation.invite_node",
            {
                "pubkey": pubkey,
                "node_name": node_name,
                "tags": tags,
                "capacity": capacity,
                "valid_for": valid_for,
                "region": region,
                "zone": zone,
            },
            InvitationView,
            idempotency_key,
        )

    async def invite_user(
        self,
        user_oid: Key,
        pubkey: str,
        valid_for: float = 86400.0,
        *,
        idempotency_key: str | None = None,
    ) -> InvitationView:
        """Let whoever has the secret half of this key register the key of a user, within so many seconds.

        A key that the user has already is void as soon as the new one is registered.
        """
        return await self._calls.write(
            "controlplane.invitation.invite_user",
            {
                "user_oid": user_oid,
                "pubkey": pubkey,
                "valid_for": valid_for,
            },
            InvitationView,
            idempotency_key,
        )

    async def list_invitations(
        self,
        kind: Literal["node", "user"] | None = None,
    ) -> list[InvitationView]:
        """Return the invitations that are open, or those of one kind."""
        return await self._calls.read(
            "controlplane.invitation.list_invitations",
            {
                "kind": kind,
            },
            list[InvitationView],
        )

    async def remove_invitation(
        self,
        invitation_oid: Key,
        *,
        idempotency_key: str | None = None,
    ) -> InvitationView:
        """Withdraw an invitation."""
        return await self._calls.write(
            "controlplane.invitation.remove_invitation",
            {
                "invitation_oid": invitation_oid,
            },
            InvitationView,
            idempotency_key,
        )
