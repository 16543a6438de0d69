"""Backups of a store: written while it is used, checked before they are put in place.

A backup is the environment as LMDB copies it, and behind that a footer: what it is, and a checksum of all before. LMDB
itself notices damage late, and then ends the process; with the checksum nothing damaged ever reaches it.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from twisted.internet.task import Clock

from controlplane.errors import AlreadyExists, StoreRefused
from controlplane.records.types import Oid
from controlplane.store.catalog import TABLES
from controlplane.store.database import Store, renew_epoch
from controlplane.store.lmdb import LmdbEngine

DATA_FILE = "data.mdb"
MAGIC = b"controlplane backup, version 1 \n"
FOOTER_LENGTH = len(MAGIC) + hashlib.sha256().digest_size
CHUNK_BYTES = 1 << 20


def back_up(store: Path, file: Path) -> int:
    """Write a consistent copy of a store to a new file and return its size in bytes."""
    if not (store / DATA_FILE).exists():
        raise StoreRefused(f"there is no store in {store}", next_step="name the state directory of a master")
    if file.exists():
        raise AlreadyExists(f"{file} exists already", next_step="name a new file")
    partial = file.with_name(file.name + ".partial")
    partial.unlink(missing_ok=True)
    engine = LmdbEngine(store)
    try:
        engine.backup(partial)
        _sign(partial)
        os.rename(partial, file)
    except OSError as problem:
        raise StoreRefused(f"{file} cannot be written: {problem}", next_step="name a file elsewhere") from problem
    finally:
        engine.close()
        partial.unlink(missing_ok=True)
    return file.stat().st_size


def put_back(file: Path, store: Path, new_oid: Callable[[], Oid]) -> Path | None:
    """Replace a store by a backup that was read whole first; return where the former store is kept, if there was one.

    The restored store gets an epoch of its own: agents that know newer assignments of the former one start afresh.
    """
    store.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=store.parent, prefix="restore-") as scratch:
        fresh = Path(scratch) / "store"
        fresh.mkdir(mode=0o700)
        _copy(file, fresh / DATA_FILE)
        engine = LmdbEngine(fresh)
        try:
            _check(engine, file, new_oid)
            renew_epoch(engine, new_oid())
        finally:
            engine.close()
        former = None
        if store.exists():
            former = store.with_name(f"{store.name}.before-{new_oid().hex[:8]}")
            os.rename(store, former)
        os.rename(fresh, store)
    return former


def _sign(path: Path) -> None:
    """Append what the file is and the checksum of its contents."""
    with open(path, "r+b") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
        file.write(MAGIC + digest)
        file.flush()
        os.fsync(file.fileno())


def _copy(file: Path, to: Path) -> None:
    """Copy the environment out of a backup whose checksum is right."""
    try:
        length = file.stat().st_size - FOOTER_LENGTH
        with open(file, "rb") as source, open(to, "xb") as target:
            digest = hashlib.sha256()
            while length > 0 and (chunk := source.read(min(CHUNK_BYTES, length))):
                digest.update(chunk)
                target.write(chunk)
                length -= len(chunk)
            footer = source.read()
            target.flush()
            os.fsync(target.fileno())
    except OSError as problem:
        raise StoreRefused(f"{file} cannot be read: {problem}", next_step="name a backup") from problem
    if not footer.startswith(MAGIC):
        raise StoreRefused(f"{file} is no backup, or not all of it is there", next_step="name a backup")
    if footer[len(MAGIC) :] != digest.digest():
        raise StoreRefused(f"{file} is damaged: its checksum is wrong", next_step="use another backup")


def _check(engine: LmdbEngine, file: Path, new_oid: Callable[[], Oid]) -> None:
    """Read every record, so that a backup that this program cannot use is refused before anything is replaced."""
    try:
        store = Store(engine, Clock(), new_oid, only_existing=True)
        with store.read() as view:
            for table in TABLES:
                for _ in view.rows(table).all():
                    pass
    except StoreRefused:
        raise
    except Exception as problem:
        raise StoreRefused(
            f"{file} has records that cannot be read: {problem}", next_step="use another one"
        ) from problem
