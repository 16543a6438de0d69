"""The types that say what profiles and policies may say."""

from typing import Any

import msgspec

from controlplane.core.updating import UPDATABLE
from controlplane.errors import NoSuchObject
from controlplane.records.definitions import DefinitionKind, OperationView, TypeView
from controlplane.records.operations import OPERATIONS
from controlplane.services.definitions import TYPES
from controlplane.services.pipeline import Call
from controlplane.services.procedures import procedure

TYPE = "controlplane.type."


@procedure(TYPE + "list_types", needs="read")
def list_types(_call: Call, kind: DefinitionKind | None = None) -> list[TypeView]:
    """Return the types that there are: what definitions of each kind may say."""
    return [_view(each, type_) for each in TYPES if kind in (None, each) for type_ in TYPES[each].values()]


@procedure(TYPE + "get_type", needs="read", raises=(NoSuchObject,))
def get_type(_call: Call, type_name: str) -> TypeView:
    """Return a type by its name with version, as `process-1.0`."""
    for kind, types in TYPES.items():
        if type_name in types:
            return _view(kind, types[type_name])
    known = sorted(name for types in TYPES.values() for name in types)
    raise NoSuchObject(
        f"there is no type {type_name}",
        subject={"type": "type", "name": type_name},
        next_step=f"take one of {', '.join(known)}",
    )


@procedure(TYPE + "list_type_operations", needs="read", raises=(NoSuchObject,))
def list_type_operations(call: Call, type_name: str) -> dict[str, OperationView]:
    """Return what workers of a type can be told to do while they run, by name, with JSON Schemas of the parameters."""
    return get_type(call, type_name).operations


def _view(kind: DefinitionKind, type_: Any) -> TypeView:
    operations = OPERATIONS[type_.driver] if kind is DefinitionKind.PROFILE else {}
    return TypeView(
        name=type_.full_name,
        kind=kind,
        version=type_.version,
        description=type_.description,
        schema=msgspec.json.schema(type_.properties),
        updatable=UPDATABLE.get(type_.driver, ()) if kind is DefinitionKind.PROFILE else (),
        operations={
            name: OperationView(description=each.description, parameters=msgspec.json.schema(each.parameters))
            for name, each in operations.items()
        },
        support_status="SUPPORTED",
        since=type_.since,
    )
