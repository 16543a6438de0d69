"""Backups of a store: written while it is used, checked before they are put in place.

A backup is the environment as LMDB copies it, and behind that a footer: what it is, and a checksum of all before. A
backup is whole or it is refused: its checksum, its pages, every record, every index, and the events without a gap.
"""

import hashlib
import json
import os
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

from twisted.internet.task import Clock

from controlplane.errors import AlreadyExists, ControlPlaneError, StoreRefused
from controlplane.records.types import Oid
from controlplane.store.catalog import TABLES
from controlplane.store.database import Store, renew_epoch
from controlplane.store.files import check_file, sync_directory
from controlplane.store.lmdb import DATA_FILE, LOCK_FILE, LmdbEngine
from controlplane.store.verification import find_problems

MAGIC = b"controlplane backup, version 1 \n"
FOOTER_LENGTH = len(MAGIC) + hashlib.sha256().digest_size
CHUNK_BYTES = 1 << 20
PROBLEMS_SHOWN_MAX = 3


def back_up(store: Path, file: Path) -> int:
    """Write a consistent copy of a store to a new file and return its size in bytes."""
    if not (store / DATA_FILE).exists():
        raise StoreRefused(f"there is no store in {store}", next_step="name the state directory of a master")
    if file.exists():
        raise AlreadyExists(f"{file} exists already", next_step="name a new file")
    partial = file.with_name(file.name + ".partial")
    try:
        partial.unlink(missing_ok=True)
        _copy_apart(store, partial)
        check_file(partial)
        _sign(partial)
        os.rename(partial, file)
        sync_directory(file.absolute().parent)
    except OSError as problem:
        raise StoreRefused(f"{file} cannot be written: {problem}", next_step="name a file elsewhere") from problem
    finally:
        partial.unlink(missing_ok=True)
    return file.stat().st_size


def put_back(file: Path, store: Path, new_oid: Callable[[], Oid]) -> Path | None:
    """Replace a store by a backup that was read whole first; return where the former store is kept, if there was one.

    The restored store gets an epoch of its own: agents that know newer assignments of the former one start afresh. At
    every moment there is a store in its place, the former or the new one.
    """
    store.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=store.parent, prefix="restore-") as scratch:
        fresh = Path(scratch) / "store"
        _unpack(file, fresh)
        engine = _open_copy(file, fresh)
        try:
            _read_all(engine, file, new_oid)
            renew_epoch(engine, new_oid())
        finally:
            engine.close()
        former = None
        if (store / DATA_FILE).exists():
            former = store.with_name(f"{store.name}.before-{new_oid().hex[:8]}")
            former.mkdir(mode=0o700)
            os.link(store / DATA_FILE, former / DATA_FILE)
            sync_directory(former)
        os.replace(fresh / DATA_FILE, store / DATA_FILE)
        (store / LOCK_FILE).unlink(missing_ok=True)
        sync_directory(store)
        sync_directory(store.parent)
    return former


def verify(store: Path, file: Path | None = None) -> int:
    """Read a whole backup, or without one a copy of the store; returns the number of records, or raises why not."""
    with tempfile.TemporaryDirectory(prefix="verify-") as scratch:
        if file is None:
            file = Path(scratch) / "copy"
            back_up(store, file)
        fresh = Path(scratch) / "store"
        _unpack(file, fresh)
        engine = _open_copy(file, fresh)
        try:
            return _read_all(engine, file, lambda: Oid(int=0))
        finally:
            engine.close()


def _copy_apart(store: Path, to: Path) -> None:
    """Have another process copy the store: where it is damaged, LMDB may end the process that reads it."""
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            engine = LmdbEngine(store, check=False)
            engine.backup(to)
            status = 0
        except BaseException as problem:
            uri = getattr(problem, "uri", StoreRefused.uri)
            said = [uri, getattr(problem, "message", str(problem)), getattr(problem, "next_step", None)]
            os.write(writable, json.dumps(said).encode())
        finally:
            os._exit(status)
    os.close(writable)
    with open(readable, "rb") as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    if text:
        uri, message, next_step = json.loads(text)
        raise ControlPlaneError.known.get(uri, StoreRefused)(message, next_step=next_step)
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        raise StoreRefused(
            f"the store in {store} is damaged: reading it ends with {name}", next_step="restore an older backup"
        )


def _sign(path: Path) -> None:
    """Append what the file is and the checksum of its contents."""
    with open(path, "r+b") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
        file.write(MAGIC + digest)
        file.flush()
        os.fsync(file.fileno())


def _unpack(file: Path, directory: Path) -> None:
    """Copy the environment out of a backup whose checksum is right."""
    directory.mkdir(mode=0o700)
    try:
        length = file.stat().st_size - FOOTER_LENGTH
        with open(file, "rb") as source, open(directory / DATA_FILE, "xb") as target:
            digest = hashlib.sha256()
            while length > 0 and (chunk := source.read(min(CHUNK_BYTES, length))):
                digest.update(chunk)
                target.write(chunk)
                length -= len(chunk)
            footer = source.read(FOOTER_LENGTH + 1)
            target.flush()
            os.fsync(target.fileno())
    except OSError as problem:
        raise StoreRefused(f"{file} cannot be read: {problem}", next_step="name a backup") from problem
    if not footer.startswith(MAGIC):
        raise StoreRefused(f"{file} is no backup, or not all of it is there", next_step="name a backup")
    if footer[len(MAGIC) :] != digest.digest():
        raise StoreRefused(f"{file} is damaged: its checksum is wrong", next_step="use another backup")


def _open_copy(file: Path, directory: Path) -> LmdbEngine:
    try:
        return LmdbEngine(directory)
    except StoreRefused as problem:
        raise StoreRefused(
            f"{file} holds a store that was damaged before: {problem.message}", next_step="use another backup"
        ) from problem


def _read_all(engine: LmdbEngine, file: Path, new_oid: Callable[[], Oid]) -> int:
    """Read everything, so that a store that this program cannot use is refused before anything is replaced."""
    try:
        store = Store(engine, Clock(), new_oid, only_existing=True)
        with engine.read() as transaction:
            problems = list(find_problems(transaction))
        with store.read() as view:
            records = sum(1 for table in TABLES for _ in view.rows(table).scan_keys())
    except StoreRefused as problem:
        raise StoreRefused(f"{file}: {problem.message}", next_step=problem.next_step) from problem
    except Exception as problem:
        raise StoreRefused(
            f"{file} has records that cannot be read: {problem}", next_step="use another one"
        ) from problem
    if problems:
        raise StoreRefused(
            f"{file} is damaged: {'; '.join(problems[:PROBLEMS_SHOWN_MAX])}; {len(problems)} problems in all",
            next_step="use another one",
        )
    return records
