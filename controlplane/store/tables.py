"""Typed tables: records in CBOR under ordered keys, with unique keys that are enforced and indexes that are kept.

zlmdb's own indexes are not used: it lets a second record take over a unique key, and fails to delete a record whose
indexed field is None. Here an index is a space of its own that maps its key to the record's key; None means that the
record is not in the index.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID, uuid5

from controlplane.errors import AlreadyExists, NoSuchObject
from controlplane.records.types import from_bytes, stored_form
from controlplane.store.engine import Space, Transaction, after

DECODED_MAX = 512
"""Records of one table that are kept decoded, at most: the same few are written and read again and again."""

DECODED_LENGTH_MAX = 4_096
"""Bytes of a record beyond which it is not kept."""

NO_OID = bytes(16)

R = TypeVar("R")
KeyOf = Callable[[R], bytes | None]


def key_of(*parts: UUID | int | str | bytes | None) -> bytes:
    """Return an ordered key: UUIDs as 16 bytes (None as zeros), integers as 8, text and bytes as they are, last."""
    key = b""
    for part in parts:
        if type(part) is UUID:  # Most are. To ask for the type alone is faster than to allow for other classes.
            key += part.int.to_bytes(16, "big")
        elif type(part) is bytes:
            key += part
        elif part is None:
            key += NO_OID
        elif isinstance(part, UUID):
            key += part.int.to_bytes(16, "big")
        elif isinstance(part, int):
            key += part.to_bytes(8, "big")
        else:
            key += part.encode() if isinstance(part, str) else part
    return key


COUNTS = Space(UUID("c0a7e1d0-0000-4000-8000-000000000002"), "counts")
"""How many records a counted table has for each owner, so that nobody has to walk them to know."""


class Index(NamedTuple):
    """A second way to find records; a unique one admits one record per key."""

    name: str
    key: Callable[[Any], bytes | None]
    unique: bool = False


class Table(Generic[R]):
    """Records of one kind: where they are kept and how they are found."""

    def __init__(
        self,
        uuid: str,
        kind: type[R],
        noun: str,
        key: Callable[[R], bytes],
        *,
        unique: Mapping[str, KeyOf[R]] | None = None,
        indexes: Mapping[str, KeyOf[R]] | None = None,
        counted: Callable[[R], bytes] | None = None,
        found_by: str | None = None,
    ) -> None:
        """Declare a table; `counted` gives the owner under which a record is counted.

        Records lie in the order of their keys, so those that are read together belong together. Where that leaves no
        key to find one by, `found_by` names the unique index that `find`, `get` and `has` use instead.
        """
        self.kind = kind
        self.found_by = found_by
        self.noun = noun
        self.key = key
        self.counted = counted
        self.space = Space(UUID(uuid), noun)
        self._decoded: dict[bytes, R] = {}
        """By their stored form: those that were read or written last."""

        self._decoded_before: dict[bytes, R] = {}
        """Those that were before; whichever is not asked for meanwhile is forgotten with the next change of guard."""

        self.indexes = [
            *(Index(name, of, unique=True) for name, of in (unique or {}).items()),
            *(Index(name, of) for name, of in (indexes or {}).items()),
        ]
        self.index_spaces = {
            index.name: Space(uuid5(self.space.uuid, index.name), f"{noun} by {index.name}") for index in self.indexes
        }

    def spaces(self) -> list[Space]:
        """Return every space that the table needs."""
        return [self.space, *self.index_spaces.values()]

    def place(self, record: R, index: str | None) -> bytes | None:
        """Return where a record stands in the table or in one of its indexes; None when it is not in that."""
        if index is None:
            return self.key(record)
        entry = next(each for each in self.indexes if each.name == index)
        key = entry.key(record)
        return key if key is None or entry.unique else key + self.key(record)

    def decode(self, data: bytes) -> R:
        """Return the record that these bytes are, which may be one that was returned before: records never change."""
        found = self._decoded.get(data)
        if found is None:
            found = self._decoded_before.get(data)
            if found is None:
                found = from_bytes(data, self.kind)
            self._keep(data, found)
        return found

    def encode(self, record: R) -> bytes:
        """Return the bytes that a record is stored as, which will soon be read; raises `ValueError`."""
        data, again = stored_form(record)
        self._keep(data, again)
        return data

    def _keep(self, data: bytes, record: R) -> None:
        if len(data) > DECODED_LENGTH_MAX:
            return
        if len(self._decoded) >= DECODED_MAX // 2:
            self._decoded_before, self._decoded = self._decoded, {}
        self._decoded[data] = record


class Written(NamedTuple):
    """What became of one record."""

    table: "Table[Any]"
    before: Any
    after: Any


class Rows(Generic[R]):
    """A table in one transaction."""

    __slots__ = ("_table", "_transaction")

    def __init__(self, table: Table[R], transaction: Transaction) -> None:
        self._table = table
        self._transaction = transaction

    def find(self, *key: UUID | int | str | bytes | None) -> R | None:
        """Return the record with this key, or None."""
        if self._table.found_by is not None:
            return self.find_by(self._table.found_by, *key)
        data = self._transaction.get(self._table.space, key_of(*key))
        return None if data is None else self._table.decode(data)

    def get(self, *key: UUID | int | str | bytes | None) -> R:
        """Return the record with this key; raises `NoSuchObject`."""
        found = self.find(*key)
        if found is None:
            raise self._missing("/".join(str(part) for part in key))
        return found

    def find_by(self, index: str, *key: UUID | int | str | bytes | None) -> R | None:
        """Return the record with this unique key, or None."""
        primary = self._transaction.get(self._table.index_spaces[index], key_of(*key))
        if primary is None:
            return None
        data = self._transaction.get(self._table.space, primary)
        return None if data is None else self._table.decode(data)

    def get_by(self, index: str, *key: UUID | int | str | bytes | None) -> R:
        """Return the record with this unique key; raises `NoSuchObject`."""
        found = self.find_by(index, *key)
        if found is None:
            raise self._missing(f"{index} {key[-1]!s}")
        return found

    def has(self, *key: UUID | int | str | bytes | None) -> bool:
        """Say whether there is a record with this key, without reading it."""
        found_by = self._table.found_by
        space = self._table.space if found_by is None else self._table.index_spaces[found_by]
        return self._transaction.get(space, key_of(*key)) is not None

    def count(self, *owner: UUID | int | str | bytes | None) -> int:
        """Return how many records a counted table has of one owner."""
        number = self._transaction.get(COUNTS, self._table.space.uuid.bytes + key_of(*owner))
        return 0 if number is None else int.from_bytes(number, "big")

    def all(self, *prefix: UUID | int | str | bytes | None, reverse: bool = False) -> Iterator[R]:
        """Yield the records whose key begins with these parts, in order of their keys."""
        start = key_of(*prefix)
        for _, data in self._transaction.scan(self._table.space, start, after(start), reverse=reverse):
            yield self._table.decode(data)

    def all_by(self, index: str, *prefix: UUID | int | str | bytes | None, reverse: bool = False) -> Iterator[R]:
        """Yield the records whose index key begins with these parts, in order of that key."""
        for _, primary in self.keys_by(index, *prefix, reverse=reverse):
            data = self._transaction.get(self._table.space, primary)
            if data is not None:
                yield self._table.decode(data)

    def walk(self, index: str | None = None, first: R | None = None, *, reverse: bool = False) -> Iterator[R]:
        """Yield records in order of their keys, or of an index, from the one on that is `first`, itself included."""
        table = self._table
        space = table.space if index is None else table.index_spaces[index]
        at = None if first is None else table.place(first, index)
        stop = at + b"\0" if at is not None and reverse else None
        for _, found in self._transaction.scan(space, b"" if reverse else at or b"", stop, reverse=reverse):
            data = found if index is None else self._transaction.get(table.space, found)
            if data is not None:
                yield table.decode(data)

    def scan_keys(self, start: bytes = b"", stop: bytes | None = None, *, reverse: bool = False) -> Iterator[bytes]:
        """Yield keys in a range, without reading the records."""
        return self._transaction.keys(self._table.space, start, stop, reverse=reverse)

    def keys_by(
        self,
        index: str,
        *prefix: UUID | int | str | bytes | None,
        start: bytes | None = None,
        reverse: bool = False,
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield (index key, record key) whose index key begins with these parts, from `start` on if it is given."""
        low = key_of(*prefix)
        space = self._table.index_spaces[index]
        return self._transaction.scan(space, low if start is None else start, after(low), reverse=reverse)

    def add(self, record: R) -> R:
        """Insert a new record; raises `AlreadyExists` when its key or one of its unique keys is taken."""
        key = self._table.key(record)
        if self._transaction.get(self._table.space, key) is not None:
            raise AlreadyExists(f"this {self._table.noun} exists already", next_step="use the existing one")
        self._write(key, record, None)
        return record

    def put(self, record: R, old: R | None = None) -> R:
        """Insert or replace; pass the record as it was read when you have it. Raises `AlreadyExists`."""
        key = self._table.key(record)
        if old is None and (self._table.indexes or self._table.counted):
            data = self._transaction.get(self._table.space, key)
            old = None if data is None else self._table.decode(data)
        self._write(key, record, old)
        return record

    def remove(self, record: R) -> None:
        """Delete a record and its index entries; a record that is not there is no error."""
        key = self._table.key(record)
        data = self._transaction.get(self._table.space, key)
        if data is None:
            return
        stored = self._table.decode(data)
        for index in self._table.indexes:
            self._forget(index, index.key(stored), key)
        self._transaction.delete(self._table.space, key)
        self._tally(stored, -1)

    def remove_keys(self, keys: Iterable[bytes]) -> None:
        """Delete records of a table without indexes by their keys."""
        for key in keys:
            self._transaction.delete(self._table.space, key)

    def _write(self, key: bytes, record: R, old: R | None) -> None:
        for index in self._table.indexes:
            now = index.key(record)
            before = None if old is None else index.key(old)
            if now == before and old is not None:
                continue
            if now is not None:
                self._enter(index, now, key)
            if before is not None:
                self._forget(index, before, key)
        self._transaction.put(self._table.space, key, self._table.encode(record))
        if old is None:
            self._tally(record, +1)

    def _tally(self, record: R, step: int) -> None:
        if self._table.counted is None:
            return
        owner = self._table.counted(record)
        number = max(0, self.count(owner) + step)
        key = self._table.space.uuid.bytes + owner
        if number:
            self._transaction.put(COUNTS, key, number.to_bytes(8, "big"))
        else:
            self._transaction.delete(COUNTS, key)

    def _enter(self, index: Index, value: bytes, key: bytes) -> None:
        space = self._table.index_spaces[index.name]
        if index.unique:
            holder = self._transaction.get(space, value)
            if holder is not None and holder != key:
                noun = self._table.noun
                raise AlreadyExists(
                    f"another {noun} has this {index.name}",
                    subject={"type": noun, "oid": str(UUID(bytes=holder[:16]))},
                    next_step=f"choose another {index.name}, or use the {noun} that has it",
                )
            self._transaction.put(space, value, key)
        else:
            self._transaction.put(space, value + key, key)

    def _forget(self, index: Index, value: bytes | None, key: bytes) -> None:
        if value is None:
            return
        space = self._table.index_spaces[index.name]
        if not index.unique:
            self._transaction.delete(space, value + key)
        elif self._transaction.get(space, value) == key:
            self._transaction.delete(space, value)

    def _missing(self, shown: str) -> NoSuchObject:
        noun = self._table.noun
        return NoSuchObject(
            f"there is no {noun} {shown}", subject={"type": noun, "oid": shown}, next_step=f"list the {noun}s there are"
        )


class RecordedRows(Rows[R]):
    """A table in one transaction, with a list of what is written to it."""

    __slots__ = ("_written",)

    def __init__(self, table: Table[R], transaction: Transaction, written: list[Written]) -> None:
        super().__init__(table, transaction)
        self._written = written

    def remove(self, record: R) -> None:
        """Delete a record and its index entries; a record that is not there is no error."""
        data = self._transaction.get(self._table.space, self._table.key(record))
        super().remove(record)
        if data is not None:
            self._written.append(Written(self._table, self._table.decode(data), None))

    def _write(self, key: bytes, record: R, old: R | None) -> None:
        super()._write(key, record, old)
        self._written.append(Written(self._table, old, record))
