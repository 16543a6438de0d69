"""What can be done with each agent; written by scripts/contract from what procedures declare: do not edit."""

from collections.abc import Mapping
from typing import Any

from controlplane.client.calls import Key, Noun
from controlplane.records.nodes import NodeFacts
from controlplane.records.orders import OrderReport
from controlplane.records.protocol import Attachment, Receipt
from controlplane.records.tunnels import TunnelPlan, TunnelState
from controlplane.records.workers import Report


class AgentCalls(Noun):
    """Procedures of `controlplane.agent`."""

    async def answer_question(
        self,
        question_oid: Key,
        answer: Mapping[str, Any],
    ) -> None:
        """Answer what the master asked."""
        return await self._calls.read(
            "controlplane.agent.answer_question",
            {
                "question_oid": question_oid,
                "answer": answer,
            },
            type(None),
        )

    async def attach_agent(
        self,
        facts: NodeFacts | Mapping[str, Any],
        report: Report | Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
    ) -> Attachment:
        """Say that a node's agent is there, what its machine is, and what runs on it now."""
        return await self._calls.write(
            "controlplane.agent.attach_agent",
            {
                "facts": facts,
                "report": report,
            },
            Attachment,
            idempotency_key,
        )

    async def renew_lease(
        self,
    ) -> None:
        """Hear that the master is there: what is to be killed without a master may go on."""
        return await self._calls.read(
            "controlplane.agent.renew_lease",
            {},
            type(None),
        )

    async def report_order(
        self,
        report: OrderReport | Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
    ) -> None:
        """Say what came of something that one's node was told to do; what is known already is not changed."""
        return await self._calls.write(
            "controlplane.agent.report_order",
            {
                "report": report,
            },
            type(None),
            idempotency_key,
        )

    async def report_workers(
        self,
        report: Report | Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
    ) -> Receipt:
        """Say what changed on a node since the last report."""
        return await self._calls.write(
            "controlplane.agent.report_workers",
            {
                "report": report,
            },
            Receipt,
            idempotency_key,
        )

    async def rotate_key(
        self,
        pubkey: str,
        *,
        idempotency_key: str | None = None,
    ) -> None:
        """Announce a new key of one's own node; the old one is void as soon as the agent logged in with the new one."""
        return await self._calls.write(
            "controlplane.agent.rotate_key",
            {
                "pubkey": pubkey,
            },
            type(None),
            idempotency_key,
        )

    async def sync_tunnels(
        self,
        state: TunnelState | Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
    ) -> TunnelPlan:
        """Say what an agent has of its tunnels, and return what it has to keep."""
        return await self._calls.write(
            "controlplane.agent.sync_tunnels",
            {
                "state": state,
            },
            TunnelPlan,
            idempotency_key,
        )
