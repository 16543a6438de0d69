"""An engine in memory that can lose what was not synced.

For simulations: it is as transactional as LMDB, and `power_cut` throws away every commit after the last sync, as a
machine does that loses power. Values are immutable bytes, so a snapshot is a copy of the key list alone.
"""

from bisect import bisect_left
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from controlplane.errors import StoreFull
from controlplane.store.engine import Space, Transaction


class MemoryEngine:
    """What a disk holds, with what has reached it and what is still in a cache."""

    def __init__(self) -> None:
        self._committed: dict[Space, _Sorted] = {}
        self._undo: list[tuple[Space, bytes, bytes | None]] = []
        self.sync_on_commit = True
        self.bytes_max: int | None = None
        self.commits = 0

    def attach(self, spaces: list[Space]) -> None:
        """Make room for the spaces that are not there yet."""
        for space in spaces:
            self._committed.setdefault(space, _Sorted())

    def read(self) -> AbstractContextManager[Transaction]:
        """Return a snapshot."""
        return _Block(self, _MemoryTransaction(self._committed, writable=False))

    def write(self) -> AbstractContextManager[Transaction]:
        """Return the writing transaction."""
        return _Block(self, _MemoryTransaction(self._committed, writable=True))

    def sync(self) -> None:
        """Make everything that was committed durable."""
        self._undo.clear()

    def power_cut(self) -> None:
        """Lose what was committed after the last sync."""
        for space, key, value in reversed(self._undo):
            self._committed[space].set(key, value)
        self._undo.clear()

    def backup(self, path: Path) -> None:
        """Refuse: nothing that is kept in memory is worth a backup."""
        raise StoreFull(f"a store in memory cannot be copied to {path}", next_step="use the LMDB engine")

    def statistics(self) -> dict[str, Any]:
        """Return how many bytes of keys and values there are."""
        used = sum(table.bytes for table in self._committed.values())
        return {"used": used, "room": self.bytes_max}

    def close(self) -> None:
        """Do nothing: the contents stay, as on a disk."""

    def _commit(self, transaction: "_MemoryTransaction") -> None:
        """Make the changes of a transaction the newest state; raises `StoreFull`, and undoes them."""
        if self.bytes_max is not None and self.statistics()["used"] > self.bytes_max:
            transaction.undo()
            raise StoreFull("the store has no room", next_step="free disk space; reading goes on meanwhile")
        self.commits += 1
        self._undo.extend(transaction.log)
        if self.sync_on_commit:
            self.sync()


class _Block:
    """A transaction that lasts as long as a `with` block."""

    __slots__ = ("_engine", "_transaction")

    def __init__(self, engine: MemoryEngine, transaction: "_MemoryTransaction") -> None:
        self._engine = engine
        self._transaction = transaction

    def __enter__(self) -> "Transaction":
        return self._transaction

    def __exit__(self, kind: type[BaseException] | None, problem: BaseException | None, trace: Any) -> None:
        if kind is not None:
            self._transaction.undo()
        elif self._transaction.writable:
            self._engine._commit(self._transaction)


class _Nested:
    """A transaction within another one, which is undone alone when an exception leaves its `with` block."""

    __slots__ = ("_mark", "_transaction")

    def __init__(self, transaction: "_MemoryTransaction") -> None:
        self._transaction = transaction
        self._mark = len(transaction.log)

    def __enter__(self) -> "Transaction":
        return self._transaction

    def __exit__(self, kind: type[BaseException] | None, problem: BaseException | None, trace: Any) -> None:
        if kind is not None:
            self._transaction.undo(self._mark)


class _Sorted:
    """A dictionary of bytes that can be walked in order of its keys."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.order: list[bytes] = []
        self.bytes = 0

    def set(self, key: bytes, value: bytes | None) -> bytes | None:
        before = self.values.get(key)
        if value is None:
            if before is not None:
                del self.values[key]
                del self.order[bisect_left(self.order, key)]
                self.bytes -= len(key) + len(before)
            return before
        if before is None:
            self.order.insert(bisect_left(self.order, key), key)
            self.bytes += len(key)
        self.values[key] = value
        self.bytes += len(value) - len(before or b"")
        return before

    def between(self, start: bytes, stop: bytes | None) -> list[bytes]:
        """Return the keys in a range, in order."""
        order = self.order
        low = bisect_left(order, start) if start else 0
        return order[low:] if stop is None else order[low : bisect_left(order, stop, low)]


class _MemoryTransaction:
    """Writes in place and keeps what it takes to undo; there is one thread and one writer."""

    __slots__ = ("_tables", "log", "writable")

    def __init__(self, tables: dict[Space, _Sorted], *, writable: bool) -> None:
        self._tables = tables
        self.writable = writable
        self.log: list[tuple[Space, bytes, bytes | None]] = []

    def get(self, space: Space, key: bytes) -> bytes | None:
        return self._tables[space].values.get(key)

    def put(self, space: Space, key: bytes, value: bytes) -> None:
        if not self.writable:
            raise _refusal()
        self.log.append((space, key, self._tables[space].set(key, value)))

    def delete(self, space: Space, key: bytes) -> bool:
        if not self.writable:
            raise _refusal()
        before = self._tables[space].set(key, None)
        self.log.append((space, key, before))
        return before is not None

    def scan(
        self, space: Space, start: bytes = b"", stop: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        table = self._tables[space]
        keys = table.between(start, stop)
        if reverse:
            keys.reverse()
        return zip(keys, map(table.values.__getitem__, keys), strict=True)

    def keys(
        self, space: Space, start: bytes = b"", stop: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[bytes]:
        table = self._tables[space]
        if not reverse:
            return iter(table.between(start, stop))
        order = table.order
        low = bisect_left(order, start) if start else 0
        high = len(order) if stop is None else bisect_left(order, stop)
        # Backwards whoever asks wants the last ones, often one alone.
        return map(order.__getitem__, range(high - 1, low - 1, -1))

    def child(self) -> AbstractContextManager[Transaction]:
        return _Nested(self)

    def undo(self, mark: int = 0) -> None:
        for space, key, value in reversed(self.log[mark:]):
            self._tables[space].set(key, value)
        del self.log[mark:]


def _refusal() -> PermissionError:
    return PermissionError("a snapshot cannot be changed")
