"""What can be done with each audit; written by scripts/contract from what procedures declare: do not edit."""

from typing import Literal

from controlplane.client.calls import Noun
from controlplane.records.audit import AuditPage, ExportPage


class AuditCalls(Noun):
    """Procedures of `controlplane.audit`."""

    async def export_audit(
        self,
        after: int = 0,
        limit: int = 1000,
    ) -> ExportPage:
        """Return links of the chain after a number, with all that is needed to verify them, one page at a time."""
        return await self._calls.read(
            "controlplane.audit.export_audit",
            {
                "after": after,
                "limit": limit,
            },
            ExportPage,
        )

    async def list_audit(
        self,
        after: int = 0,
        limit: int = 100,
        authid: str | None = None,
        action_prefix: str | None = None,
        outcome: Literal["done", "refused"] | None = None,
        object_oid: str | None = None,
        since: int | None = None,
        until: int | None = None,
    ) -> AuditPage:
        """Return entries with a number above `after`, oldest first, one page at a time; the other arguments pick some.

        A page may have few entries, or none, and still be followed by another one: go on with `next` until that is
        None.
        """
        return await self._calls.read(
            "controlplane.audit.list_audit",
            {
                "after": after,
                "limit": limit,
                "authid": authid,
                "action_prefix": action_prefix,
                "outcome": outcome,
                "object_oid": object_oid,
                "since": since,
                "until": until,
            },
            AuditPage,
        )
