"""What can be done with each migration; written by scripts/contract from what procedures declare: do not edit."""

from collections.abc import Mapping
from typing import Any

from controlplane.client.calls import Noun
from controlplane.records.imports import (
    ImportedCluster,
    ImportedGroup,
    ImportedMembership,
    ImportedNode,
    ImportedUser,
    Taken,
)


class MigrationCalls(Noun):
    """Procedures of `controlplane.migration`."""

    async def import_object(
        self,
        imported: ImportedUser | Mapping[str, Any] | ImportedNode | ImportedCluster | ImportedGroup | ImportedMembership,
        *,
        idempotency_key: str | None = None,
    ) -> Taken:
        """Take one object over from another master, as `controlplane import` does; a second time changes nothing."""
        return await self._calls.write(
            "controlplane.migration.import_object",
            {
                "imported": imported,
            },
            Taken,
            idempotency_key,
        )
