"""The engine on zlmdb: one LMDB environment, one slot of it per table or index.

Facts that shape this file (zlmdb 26.10.1, all seen): the map does not grow by itself and a full one loses the
transaction, `Database` prints nothing while `Database.open` does, a failed open leaves its path registered in the
process, and zlmdb's own maps know no nested transactions. So zlmdb opens the environment and numbers the slots, and
records are read and written on the LMDB transaction that it hands out.
"""

import os
import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from uuid import UUID

import zlmdb
from zlmdb import lmdb

from controlplane.errors import StoreFull, StoreRefused
from controlplane.store.engine import Space, Transaction

MAP_SIZE_FIRST = 256 * 1024 * 1024
"""Bytes of address space, not of disk: the file is sparse and grows with what is written."""

MAP_FREE_MIN = 64 * 1024 * 1024
"""Bytes that must be free when a writing transaction begins; more than one group of calls can write."""

KEY_BYTES_MAX = 511
"""LMDB's limit. Records have shorter keys; a longer one can only be asked for, and is not there."""

_classes: dict[UUID, type[Any]] = {}


class LmdbEngine:
    """Durable storage in one directory, for one process at a time; others may read and copy it."""

    def __init__(self, directory: Path, *, sync: bool = True, map_size: int = MAP_SIZE_FIRST) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = str(directory)
        self._slots: dict[Space, bytes] = {}
        data = directory / "data.mdb"
        size = data.stat().st_size if data.exists() else 0
        try:
            database: Any = zlmdb.Database(self._path, maxsize=max(map_size, 2 * size), sync=sync)
        except Exception as problem:
            # zlmdb remembers the path of an open that failed and would refuse the next one in this process.
            zlmdb._database._LMDB_MYPID_ENVS.pop(self._path, None)
            raise StoreRefused(
                f"the store in {directory} cannot be opened: {problem}",
                next_step="restore a backup into an empty directory with 'controlplane restore'",
            ) from problem
        self._database = database
        self._env = database._env
        self._map_size: int = self._env.info()["map_size"]
        self._page_size: int = self._env.stat()["psize"]

    def attach(self, spaces: list[Space]) -> None:
        """Number the spaces; the numbers are kept in the environment."""
        for space in spaces:
            self._slots[space] = struct.pack(">H", self._database.attach_table(_map_class(space))._slot)

    def read(self) -> AbstractContextManager[Transaction]:
        """Return a snapshot."""
        return _LmdbTransaction(self._env, self._slots, write=False)

    def write(self) -> AbstractContextManager[Transaction]:
        """Return the writing transaction, after growing the map where it runs short."""
        self._make_room()
        return _LmdbTransaction(self._env, self._slots, write=True)

    def backup(self, path: Path) -> None:
        """Write a compacted copy; it is durable when this returns."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            self._env.copyfd(descriptor, compact=True)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def statistics(self) -> dict[str, Any]:
        """Return how much is used, and how much fits before the map grows."""
        return {"used": self._used(), "room": self._map_size}

    def close(self) -> None:
        """Close the environment."""
        self._database.__exit__(None, None, None)

    def _used(self) -> int:
        return int((self._env.info()["last_pgno"] + 1) * self._page_size)

    def _make_room(self) -> None:
        if self._map_size - self._used() < MAP_FREE_MIN:
            self._map_size *= 2
            self._env.set_mapsize(self._map_size)


class _LmdbTransaction:
    """A transaction from the moment that it is made; its `with` block says how it ends."""

    __slots__ = ("_env", "_raw", "_slots")

    def __init__(self, env: Any, slots: dict[Space, bytes], *, write: bool, parent: Any = None) -> None:
        self._env = env
        self._slots = slots
        self._raw = lmdb.Transaction(env, parent=parent, write=write)

    def __enter__(self) -> Transaction:
        return self

    def __exit__(self, kind: object, problem: BaseException | None, trace: object) -> None:
        if problem is not None:
            self._raw.abort()
            _explain(problem)
            return
        try:
            self._raw.commit()
        except lmdb.Error as failure:
            _explain(failure)
            raise

    def get(self, space: Space, key: bytes) -> bytes | None:
        if len(key) > KEY_BYTES_MAX - 2:
            return None
        found: bytes | None = self._raw.get(self._slots[space] + key)
        return found

    def put(self, space: Space, key: bytes, value: bytes) -> None:
        self._raw.put(self._slots[space] + key, value)

    def delete(self, space: Space, key: bytes) -> bool:
        return bool(self._raw.delete(self._slots[space] + key))

    def scan(
        self, space: Space, start: bytes = b"", stop: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        cursor, low, high = self._range(space, start, stop)
        step = cursor.prev if reverse else cursor.next
        found = _to_last(cursor, high) if reverse else cursor.set_range(low)
        while found:
            key: bytes = cursor.key()
            if not low <= key < high:
                return
            yield key[2:], cursor.value()
            found = step()

    def keys(
        self, space: Space, start: bytes = b"", stop: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[bytes]:
        cursor, low, high = self._range(space, start, stop)
        step = cursor.prev if reverse else cursor.next
        found = _to_last(cursor, high) if reverse else cursor.set_range(low)
        while found:
            key: bytes = cursor.key()
            if not low <= key < high:
                return
            yield key[2:]
            found = step()

    def child(self) -> AbstractContextManager[Transaction]:
        return _LmdbTransaction(self._env, self._slots, write=True, parent=self._raw)

    def _range(self, space: Space, start: bytes, stop: bytes | None) -> tuple[Any, bytes, bytes]:
        slot = self._slots[space]
        high = struct.pack(">H", struct.unpack(">H", slot)[0] + 1) if stop is None else slot + stop
        return self._raw.cursor(), (slot + start)[:KEY_BYTES_MAX], high


def _explain(problem: BaseException) -> None:
    if isinstance(problem, lmdb.MapFullError | lmdb.DiskError | lmdb.TxnFullError) or (
        isinstance(problem, lmdb.Error) and "No space left" in str(problem)
    ):
        raise StoreFull(
            f"the store has no room: {problem}", next_step="free disk space; reading goes on meanwhile"
        ) from problem


def _to_last(cursor: Any, high: bytes) -> bool:
    """Move to the last key before `high`."""
    if cursor.set_range(high):
        return bool(cursor.prev())
    return bool(cursor.last())


def _map_class(space: Space) -> type[Any]:
    """Return the zlmdb class of a space, always the same one: zlmdb refuses a second class with one UUID."""
    if space.uuid not in _classes:
        plain = type(space.name, (zlmdb.MapUuidCbor,), {"__doc__": space.name})
        declare: Any = zlmdb.table
        _classes[space.uuid] = declare(str(space.uuid), marshal=lambda v: v, parse=lambda v: v)(plain)
    return _classes[space.uuid]
