"""The engine on zlmdb: one LMDB environment, one slot of it per table or index.

Every value ends with a checksum of itself and of its key: LMDB has none, and what a disk changed behind its back would
be taken for what was written. A store is made whole under another name and then moved to its place, so a file that is
there and is no store is damaged or foreign, and never overwritten.

Facts that shape this file (zlmdb 26.10.1, all seen): the map does not grow by itself and a full one loses the
transaction, `Database` prints nothing while `Database.open` does, a failed open leaves its path registered in the
process, and zlmdb's own maps know no nested transactions. So zlmdb opens the environment and numbers the slots, and
records are read and written on the LMDB transaction that it hands out.
"""

import errno
import json
import os
import shutil
import struct
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NoReturn
from uuid import UUID

import zlmdb
from zlmdb import lmdb

from controlplane.errors import StoreDamaged, StoreFailed, StoreFull, StoreRefused
from controlplane.store.engine import Space, Transaction
from controlplane.store.files import check_file, sync_directory

DATA_FILE = "data.mdb"
LOCK_FILE = "lock.mdb"
LOCK_BYTES = 8192
"""What LMDB makes the lock file; it is mapped and written to, which must not run into a full disk."""

MAP_SIZE_FIRST = 256 * 1024 * 1024
"""Bytes of address space, not of disk: the file is sparse and grows with what is written."""

MAP_FREE_MIN = 64 * 1024 * 1024
"""Bytes that must be free when a writing transaction begins; more than one group of calls can write."""

MAP_SIZE_MAX = 64 * 1024 * 1024 * 1024
"""Bytes that a store may grow to unless something else is said."""

KEY_BYTES_MAX = 511
"""LMDB's limit. Records have shorter keys; a longer one can only be asked for, and is not there."""

SHORT_WRITE = -30772
"""LMDB's MDB_SHORT_WRITE, for which the binding has no class."""

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

CHECKSUM = struct.Struct("<I")
CHECKSUM_LENGTH = CHECKSUM.size
crc32 = zlib.crc32

DIRECTORY = Space(UUID(int=0), "directory of tables")
DIRECTORY_KEY = b"\xff\xffdirectory"
"""Behind every slot. A store has it from its beginning, so a file without it is another program's."""

_classes: dict[UUID, type[Any]] = {}


class LmdbEngine:
    """Durable storage in one directory, for one process at a time; others may read and copy it."""

    def __init__(
        self,
        directory: Path,
        *,
        sync: bool = True,
        map_size: int = MAP_SIZE_FIRST,
        map_size_max: int = MAP_SIZE_MAX,
        check: bool = True,
    ) -> None:
        """Open the store, or make an empty one where none is; raises `StoreRefused` and `StoreFull`.

        `check` looks through the whole file first; only who knows that somebody else writes to it leaves that out.
        """
        self._directory = directory
        self._slots: dict[Space, bytes] = {}
        data = directory / DATA_FILE
        try:
            if not data.exists():
                _make_store(directory, sync=sync)
            elif check:
                check_file(data)
            _allocate_lock(directory)
            size = data.stat().st_size
        except OSError as problem:
            raise _of_system(problem, f"the store in {directory}") from problem
        self._map_size_max = max(map_size_max, size)
        self._database = _open_database(directory, min(max(map_size, 2 * size), self._map_size_max), sync=sync)
        self._env = self._database._env
        self._map_size: int = self._env.info()["map_size"]
        self._page_size: int = self._env.stat()["psize"]

    def attach(self, spaces: list[Space]) -> None:
        """Number the spaces; the numbers are kept in the environment."""
        known = self._read_directory()
        for space in spaces:
            try:
                slot = self._database.attach_table(_map_class(space))._slot
            except lmdb.Error as problem:
                self._explain(problem)
            except Exception as problem:
                raise self._damaged("what zlmdb keeps of its tables cannot be read") from problem
            if known.setdefault(str(space.uuid), slot) != slot:
                raise self._damaged(f"its table {space.name} is not where it was")
            self._slots[space] = struct.pack(">H", slot)
        self._write_directory(known)

    def read(self) -> AbstractContextManager[Transaction]:
        """Return a snapshot."""
        return _LmdbTransaction(self, self._slots, write=False)

    def write(self) -> AbstractContextManager[Transaction]:
        """Return the writing transaction, after growing the map where it runs short."""
        self._make_room()
        return _LmdbTransaction(self, self._slots, write=True)

    def backup(self, path: Path) -> None:
        """Write a compacted copy; it is durable when this returns."""
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as problem:
            raise _of_system(problem, str(path)) from problem
        try:
            self._env.copyfd(descriptor, compact=True)
            os.fsync(descriptor)
        except lmdb.Error as problem:
            self._explain(problem)
        except OSError as problem:
            raise _of_system(problem, str(path)) from problem
        finally:
            os.close(descriptor)

    def statistics(self) -> dict[str, Any]:
        """Return how much is used, and how much fits before the map grows."""
        return {"used": self._used(), "room": self._map_size}

    def close(self) -> None:
        """Close the environment."""
        self._database.__exit__(None, None, None)

    def _read_directory(self) -> dict[str, int]:
        """Return the slot of every space; zlmdb keeps it too, but would not notice when it changed."""
        try:
            with lmdb.Transaction(self._env) as raw:
                sealed = raw.get(DIRECTORY_KEY)
        except lmdb.Error as problem:
            self._explain(problem)
        if sealed is None:
            raise StoreRefused(
                f"the store in {self._directory} belongs to another program",
                next_step="use another --state-dir, or restore a backup",
            )
        found: dict[str, int] = json.loads(_unsealed(DIRECTORY, DIRECTORY_KEY, sealed))
        return found

    def _write_directory(self, known: dict[str, int]) -> None:
        if known == self._read_directory():
            return
        try:
            with lmdb.Transaction(self._env, write=True) as raw:
                raw.put(DIRECTORY_KEY, _sealed(DIRECTORY_KEY, json.dumps(known).encode()))
        except lmdb.Error as problem:
            self._explain(problem)

    def _damaged(self, reason: str) -> StoreDamaged:
        return StoreDamaged(f"the store in {self._directory} is damaged: {reason}", next_step="restore a backup")

    def _used(self) -> int:
        return int((self._env.info()["last_pgno"] + 1) * self._page_size)

    def _make_room(self) -> None:
        if self._map_size - self._used() < MAP_FREE_MIN and self._map_size < self._map_size_max:
            self._map_size = min(2 * self._map_size, self._map_size_max)
            self._env.set_mapsize(self._map_size)

    def _explain(self, problem: BaseException) -> NoReturn:
        """Raise what LMDB says as an error of ours; what is no error of LMDB is raised as it is."""
        where = f"the store in {self._directory}"
        match problem:
            case lmdb.MapFullError() | lmdb.TxnFullError():
                raise StoreFull(
                    f"{where} may not grow beyond {self._map_size_max} bytes",
                    next_step="delete what is not needed, or restart the master with a larger --limit store_bytes_max",
                ) from problem
            case lmdb.CorruptedError() | lmdb.PageNotFoundError() | lmdb.InvalidError():
                raise self._damaged(str(problem)) from problem
            case lmdb.PanicError():
                raise StoreFailed(
                    f"{where} cannot be used after the disk failed: {problem}", next_step="restart the master"
                ) from problem
            case lmdb.Error() if problem.code == SHORT_WRITE:
                # What a disk does with the write that uses up its last blocks.
                raise _of_system(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), where) from problem
            case lmdb.Error() if problem.code > 0:
                raise _of_system(OSError(problem.code, os.strerror(problem.code)), where) from problem
        raise problem


class _LmdbTransaction:
    """A transaction from the moment that it is made; its `with` block says how it ends."""

    __slots__ = ("_engine", "_raw", "_slots")

    def __init__(self, engine: LmdbEngine, slots: dict[Space, bytes], *, write: bool, parent: Any = None) -> None:
        self._engine = engine
        self._slots = slots
        try:
            self._raw = lmdb.Transaction(engine._env, parent=parent, write=write)
        except lmdb.Error as failure:
            engine._explain(failure)

    def __enter__(self) -> Transaction:
        return self

    def __exit__(self, kind: object, problem: BaseException | None, trace: object) -> None:
        if problem is not None:
            self._raw.abort()
            if isinstance(problem, lmdb.Error):
                self._engine._explain(problem)
            return
        try:
            self._raw.commit()
        except lmdb.Error as failure:
            self._engine._explain(failure)

    def get(self, space: Space, key: bytes) -> bytes | None:
        if len(key) > KEY_BYTES_MAX - 2:
            return None
        place = self._slots[space] + key
        found: bytes | None = self._raw.get(place)
        return None if found is None else _unsealed(space, place, found)

    def put(self, space: Space, key: bytes, value: bytes) -> None:
        place = self._slots[space] + key
        self._raw.put(place, _sealed(place, value))

    def delete(self, space: Space, key: bytes) -> bool:
        return bool(self._raw.delete(self._slots[space] + key))

    def scan(
        self, space: Space, start: bytes = b"", stop: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        cursor, low, high = self._range(space, start, stop)
        step = cursor.prev if reverse else cursor.next
        found = _to_last(cursor, high) if reverse else cursor.set_range(low)
        while found:
            key: bytes
            key, value = cursor.item()
            if not low <= key < high:
                return
            yield key[2:], _unsealed(space, key, value)
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
        return _LmdbTransaction(self._engine, self._slots, write=True, parent=self._raw)

    def _range(self, space: Space, start: bytes, stop: bytes | None) -> tuple[Any, bytes, bytes]:
        slot = self._slots[space]
        high = struct.pack(">H", struct.unpack(">H", slot)[0] + 1) if stop is None else slot + stop
        return self._raw.cursor(), (slot + start)[:KEY_BYTES_MAX], high


def _sealed(place: bytes, value: bytes) -> bytes:
    """Return a value with the checksum of it and of its place."""
    return value + CHECKSUM.pack(crc32(value, crc32(place)))


def _unsealed(space: Space, place: bytes, sealed: bytes) -> bytes:
    """Return a value without its checksum; raises `StoreDamaged` when that is wrong."""
    value = sealed[:-CHECKSUM_LENGTH]
    if sealed[-CHECKSUM_LENGTH:] != CHECKSUM.pack(crc32(value, crc32(place))):
        raise StoreDamaged(
            f"an entry of the store, {space.name}, is damaged: its checksum is wrong",
            subject={"type": space.name, "key": place[2:].hex()},
            next_step="restore a backup",
        )
    return value


def _open_database(directory: Path, map_size: int, *, sync: bool) -> Any:
    path = str(directory)
    try:
        return zlmdb.Database(path, maxsize=map_size, sync=sync)
    except Exception as problem:
        # zlmdb remembers the path of an open that failed and would refuse the next one in this process.
        zlmdb._database._LMDB_MYPID_ENVS.pop(path, None)
        code = getattr(problem, "code", 0)
        if code in NO_ROOM:
            raise _of_system(OSError(code, os.strerror(code)), f"the store in {path}") from problem
        raise StoreRefused(
            f"the store in {directory} cannot be opened: {problem}",
            next_step="restore a backup with 'controlplane restore'",
        ) from problem


def _make_store(directory: Path, *, sync: bool) -> None:
    """Make an empty store under another name, and move it to its place when it is whole."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = directory / "new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    _allocate_lock(fresh)
    database = _open_database(fresh, MAP_SIZE_FIRST, sync=sync)
    with lmdb.Transaction(database._env, write=True) as raw:
        raw.put(DIRECTORY_KEY, _sealed(DIRECTORY_KEY, b"{}"))
    database.__exit__(None, None, None)
    os.rename(fresh / DATA_FILE, directory / DATA_FILE)
    shutil.rmtree(fresh)
    if sync:
        with open(directory / DATA_FILE, "rb") as file:
            os.fsync(file.fileno())
        sync_directory(directory)
        sync_directory(directory.parent)


def _allocate_lock(directory: Path) -> None:
    """Give the lock file its blocks: written to through a map, a hole in it on a full disk would end the process."""
    descriptor = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, LOCK_BYTES)
    finally:
        os.close(descriptor)


def _of_system(problem: OSError, where: str) -> StoreFull | StoreFailed | StoreRefused:
    """Return an error of the operating system as one of ours."""
    if problem.errno in NO_ROOM:
        return StoreFull(
            f"there is no room for {where}: {problem.strerror}",
            next_step="free disk space; reading goes on meanwhile",
        )
    if problem.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
        return StoreRefused(f"{where} cannot be opened: {problem}", next_step="see who may write there")
    return StoreFailed(
        f"the disk failed at {where}: {problem.strerror}; whether the change is stored is not certain",
        next_step="look at the current state before trying again, and see to the disk",
    )


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
