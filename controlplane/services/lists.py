"""Listing, the same for every noun: in the order of the key, whole or in pages, reading only what is asked for."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Annotated
from uuid import UUID

import msgspec

Limit = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


def oid_text(key: bytes) -> str:
    """Return the oid that a key begins with, as text; faster than through `UUID`."""
    h = key[:16].hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def page_start(marker: UUID | None) -> bytes:
    """Return the first key after the object that the last page ended with."""
    return b"" if marker is None else marker.bytes + b"\0"


def page(items: Iterable[str], limit: int | None) -> list[str]:
    """Return one page of a list, or all of it."""
    return list(items if limit is None else islice(items, limit))


def after_name(names: Iterable[str], marker: str | None) -> Iterator[str]:
    """Yield the names that come after the one that the last page ended with."""
    return (name for name in names if marker is None or name > marker)
