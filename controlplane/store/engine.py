"""What the store needs of an engine: ordered bytes, nested transactions, and commits that are durable when they return.

LMDB stands behind this (`lmdb.py`), an engine in memory that can lose what was not synced (`memory.py`), and later one
that is replicated. One suite of tests runs against each of them.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """A range of keys of its own: one table or one index.

    Each is declared once and is equal to itself alone: it is looked up at every access, and a UUID is slow to hash.
    """

    uuid: UUID
    name: str


class Transaction(Protocol):
    """A consistent view of the engine, and for a writing one the changes made in it.

    Leaving its `with` block commits, and returns when the changes are durable; leaving it by an exception undoes them.
    """

    def get(self, space: Space, key: bytes) -> bytes | None:
        """Return the value, or None."""
        ...

    def put(self, space: Space, key: bytes, value: bytes) -> None:
        """Insert or replace; raises `StoreFull` when there is no room."""
        ...

    def delete(self, space: Space, key: bytes) -> bool:
        """Remove, and say whether there was anything to remove."""
        ...

    def scan(
        self, space: Space, start: bytes = b"", stop: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values with start <= key < stop, in order of the key. Changes meanwhile are not allowed."""
        ...

    def keys(
        self, space: Space, start: bytes = b"", stop: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[bytes]:
        """Yield keys only, with start <= key < stop."""
        ...

    def child(self) -> AbstractContextManager["Transaction"]:
        """Return a nested transaction: undone alone, or committed into this one."""
        ...


class Engine(Protocol):
    """Ordered, durable key-value storage with one writer."""

    def attach(self, spaces: list[Space]) -> None:
        """Make these spaces usable; new ones are created."""
        ...

    def read(self) -> AbstractContextManager[Transaction]:
        """Return a snapshot of what was committed last."""
        ...

    def write(self) -> AbstractContextManager[Transaction]:
        """Return the one writing transaction; room for it has been made."""
        ...

    def backup(self, path: Path) -> None:
        """Write a consistent copy to a new file while reading and writing go on."""
        ...

    def statistics(self) -> dict[str, Any]:
        """Return sizes in bytes: {"used", "room"}."""
        ...

    def close(self) -> None:
        """Let go of the files."""
        ...


def after(prefix: bytes) -> bytes | None:
    """Return the first key that is greater than every key with this prefix, or None when there is none."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else None
