"""What can be done with each type; written by scripts/contract from what procedures declare: do not edit."""

from controlplane.client.calls import Noun
from controlplane.records.definitions import DefinitionKind, OperationView, TypeView


class TypeCalls(Noun):
    """Procedures of `controlplane.type`."""

    async def get_type(
        self,
        type_name: str,
    ) -> TypeView:
        """Return a type by its name with version, as `process-1.0`."""
        return await self._calls.read(
            "controlplane.type.get_type",
            {
                "type_name": type_name,
            },
            TypeView,
        )

    async def list_type_operations(
        self,
        type_name: str,
    ) -> dict[str, OperationView]:
        """Return what workers of a type can be told to do while they run, by name, with JSON Schemas of the parameters."""
        return await self._calls.read(
            "controlplane.type.list_type_operations",
            {
                "type_name": type_name,
            },
            dict[str, OperationView],
        )

    async def list_types(
        self,
        kind: DefinitionKind | str | None = None,
    ) -> list[TypeView]:
        """Return the types that there are: what definitions of each kind may say."""
        return await self._calls.read(
            "controlplane.type.list_types",
            {
                "kind": kind,
            },
            list[TypeView],
        )
