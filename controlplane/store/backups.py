"""Backups of a store: written while it is used, checked before they are put in place."""

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
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    finally:
        engine.close()
    os.rename(partial, file)
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


def _copy(file: Path, to: Path) -> None:
    try:
        with open(file, "rb") as source, open(to, "xb") as target:
            while chunk := source.read(1 << 20):
                target.write(chunk)
            target.flush()
            os.fsync(target.fileno())
    except OSError as problem:
        raise StoreRefused(f"{file} cannot be read: {problem}", next_step="name a backup") from problem


def _check(engine: LmdbEngine, file: Path, new_oid: Callable[[], Oid]) -> None:
    """Read every record, so that a damaged or foreign file is refused before anything is replaced."""
    try:
        store = Store(engine, Clock(), new_oid, only_existing=True)
        with store.read() as view:
            for table in TABLES:
                for _ in view.rows(table).all():
                    pass
    except StoreRefused:
        raise
    except Exception as problem:
        raise StoreRefused(f"{file} is damaged: {problem}", next_step="use another backup") from problem
