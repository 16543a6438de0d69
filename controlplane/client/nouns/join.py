"""What can be done with each join; written by scripts/contract from what procedures declare: do not edit."""

from controlplane.client.calls import Noun
from controlplane.records.principals import JoinedNode, JoinedUser


class JoinCalls(Noun):
    """Procedures of `controlplane.join`."""

    async def join_node(
        self,
        pubkey: str,
        node_name: str | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> JoinedNode:
        """Trade an invitation for the pairing of a node, which logs in with this key from now on.

        `node_name` counts when the invitation is for no name in particular.
        """
        return await self._calls.write(
            "controlplane.join.join_node",
            {
                "pubkey": pubkey,
                "node_name": node_name,
            },
            JoinedNode,
            idempotency_key,
        )

    async def register_key(
        self,
        pubkey: str,
        *,
        idempotency_key: str | None = None,
    ) -> JoinedUser:
        """Trade an invitation for the key of a user, who logs in with it from now on."""
        return await self._calls.write(
            "controlplane.join.register_key",
            {
                "pubkey": pubkey,
            },
            JoinedUser,
            idempotency_key,
        )
