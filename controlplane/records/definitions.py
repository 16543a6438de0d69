"""Types and definitions: what can be (code), and what is wanted (data): profiles of workers, and policies."""

import enum
from typing import Any, Literal

import msgspec

from controlplane.records.types import Instant, Line, Name, Oid, Record

Labels = dict[Line, Any]
"""Pairs that mean something to whoever made the object, and nothing to the control plane."""


class DefinitionKind(enum.Enum):
    """What a definition defines."""

    PROFILE = "profile"
    POLICY = "policy"


class Spec(Record, frozen=True, kw_only=True):
    """What is wanted, in the words of a type."""

    type: Line
    version: Line = "1.0"
    properties: dict[str, Any] = msgspec.field(default_factory=dict)


class Definition(Record, frozen=True, kw_only=True):
    """A named spec; the spec never changes, clusters keep a copy of it, and a new one is a new definition."""

    oid: Oid
    kind: DefinitionKind
    name: str
    spec: Spec
    metadata: Labels = msgspec.field(default_factory=dict)
    owner_oid: Oid | None = None
    created: Instant
    changed: Instant


class DefinitionInput(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A definition, as a caller gives it."""

    name: Name
    spec: dict[str, Any]
    metadata: Labels = msgspec.field(default_factory=dict)


class DefinitionUpdate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What of a definition can be changed; what is not mentioned stays, and `metadata` is replaced as a whole."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    metadata: Labels | msgspec.UnsetType = msgspec.UNSET


class DefinitionView(Record, frozen=True, kw_only=True):
    """A definition as callers see it; `oid` is None when it was only looked at, and not kept."""

    oid: Oid | None
    kind: DefinitionKind
    name: str
    type: str
    """Of its spec, with the version: `process-1.0`."""

    spec: Spec
    """Complete: with the defaults of what was not given."""

    metadata: Labels
    owner_oid: Oid | None
    created: Instant | None
    changed: Instant | None


class OperationView(Record, frozen=True, kw_only=True):
    """Something that workers of a type can be told to do."""

    description: str
    parameters: dict[str, Any]
    """JSON Schema."""


class TypeView(Record, frozen=True, kw_only=True):
    """A type as callers see it."""

    name: str
    """With the version: `process-1.0`."""

    kind: DefinitionKind
    version: str
    description: str
    schema: dict[str, Any]
    """Of the properties: JSON Schema."""

    updatable: tuple[str, ...]
    """Properties that reach a worker without replacing it."""

    operations: dict[str, OperationView]
    support_status: Literal["SUPPORTED", "EXPERIMENTAL", "DEPRECATED"]
    since: str
    """Version of the control plane that had it first."""
