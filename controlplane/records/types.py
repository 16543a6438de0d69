"""What all records have in common: identifiers, instants, and the two ways they travel.

A record is a frozen `msgspec.Struct`. Its annotations are at once the wire form (plain dicts, UUIDs as text), the
validation of what comes in, and the JSON Schema in `schema/`.
"""

from typing import Annotated, Any, TypeVar
from uuid import UUID

import cbor2
import msgspec

Oid = UUID
"""Identity of an object, for ever: a random UUID, as text on the wire and 16 bytes in keys."""

Instant = int
"""Nanoseconds since the Unix epoch."""

Seconds = float
"""A duration."""

NANOSECONDS = 1_000_000_000
"""In a second."""

MANAGEMENT_REALM = "default"
GLOBAL_REALM = "com.crossbario.fabric"
"""Names of Crossbar.io's own master, whose shell and edge nodes ask for them."""

MANAGEMENT_REALM_OID = UUID("c0a7e1d0-0000-4000-8000-0000000d0de5")
"""Crossbar.io has several management realms, each with an oid; here there is the one."""

NAME_PATTERN = r"^[a-z][a-z0-9_]{2,63}$(?!\n)"
"""Names of clusters; the rule is that of Crossbar.io's own master."""

LABEL_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,127}$(?!\n)"
"""In Python `$` stands before a line feed at the end as well; in the JSON Schema that is published it does not."""

PUBLIC_KEY_PATTERN = r"^[0-9a-f]{64}$(?!\n)"

Name = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]
Authid = Annotated[str, msgspec.Meta(pattern=LABEL_PATTERN)]
PublicKey = Annotated[str, msgspec.Meta(pattern=PUBLIC_KEY_PATTERN)]
"""An Ed25519 public key: 32 bytes in lower-case hexadecimal."""

Label = Annotated[str, msgspec.Meta(max_length=256)]
Description = Annotated[str, msgspec.Meta(max_length=4096)]
LINE_LENGTH_MAX = 256
Line = Annotated[str, msgspec.Meta(max_length=LINE_LENGTH_MAX)]
"""A short text of a program: a version, an address, a path."""

Natural = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""A whole number that every serializer can carry."""

Whole = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""The same, below zero too."""

Tags = Annotated[tuple[Annotated[str, msgspec.Meta(max_length=64)], ...], msgspec.Meta(max_length=64)]

R = TypeVar("R")


class Record(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A fact about the control plane that is stored or sent.

    The collector of cycles passes records over: they never change, and hold plain values and other records alone.
    """


def mentioned(changes: msgspec.Struct) -> dict[str, Any]:
    """Return the settings that a caller gave, of those that can be given or left out."""
    return {name: value for name in changes.__struct_fields__ if (value := getattr(changes, name)) is not msgspec.UNSET}


def to_wire(record: Any) -> Any:
    """Return plain dicts, lists and scalars, as WAMP serializers and JSON want them."""
    return msgspec.to_builtins(record, str_keys=True)


def from_wire(value: Any, kind: type[R]) -> R:
    """Return the typed record, or raise `msgspec.ValidationError` with the path of the first problem."""
    return msgspec.convert(value, kind)


def to_bytes(record: Any) -> bytes:
    """Return the stored form: CBOR, readable with any CBOR tool; raises `ValueError` for what could not be read again.

    A record is made without a look at its fields. One that is stored and cannot be read is in everybody's way for ever.
    """
    return stored_form(record)[0]


def stored_form(record: R) -> tuple[bytes, R]:
    """Return what `to_bytes` does, and the record as `from_bytes` reads it again; raises `ValueError`."""
    data = cbor2.dumps(msgspec.to_builtins(record, builtin_types=(bytes,)))
    try:
        # By way of another form that is much faster to read, and makes lists of tuples as CBOR does.
        return data, msgspec.msgpack.decode(msgspec.msgpack.encode(record), type=type(record))
    except OverflowError:
        return data, from_bytes(data, type(record))  # That form has no integers of more than 64 bits.


def carries(value: Any, bytes_max: int) -> bool:
    """Say whether a plain value certainly takes no more bytes than that in CBOR; when not, it has to be tried.

    MessagePack is ten times faster to write, and nothing takes more than twice as much in CBOR as there.
    """
    try:
        return 2 * len(msgspec.msgpack.encode(value)) <= bytes_max
    except (TypeError, ValueError, RecursionError, OverflowError):
        return False


def from_bytes(data: bytes, kind: type[R]) -> R:
    """Return the record that `to_bytes` wrote."""
    return msgspec.convert(cbor2.loads(data), kind)
