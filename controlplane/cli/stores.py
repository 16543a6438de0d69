"""Backup, restore and verification of a master's store."""

import os
from pathlib import Path

from controlplane.config import default_state_dir
from controlplane.master.layout import StateDirectory
from controlplane.process import lock_directory, real_chance
from controlplane.store.backups import back_up, put_back, verify


def backup_store(state_dir: str | None, file: str) -> None:
    """Write a backup, also while the master runs."""
    state = StateDirectory(Path(state_dir or default_state_dir()))
    size = back_up(state.store, Path(file))
    print(f"wrote {size} bytes to {file}")


def restore_store(state_dir: str | None, file: str) -> None:
    """Put a backup in the place of the store; the master must not run."""
    state = StateDirectory(Path(state_dir or default_state_dir()))
    lock = lock_directory(state.master, "master")
    try:
        former = put_back(Path(file), state.store, real_chance().new_oid)
    finally:
        os.close(lock)
    print(f"restored {file}" + (f"; the former store is kept in {former}" if former else ""))


def verify_store(state_dir: str | None, file: str | None) -> None:
    """Say whether a store or a backup is whole."""
    state = StateDirectory(Path(state_dir or default_state_dir()))
    records = verify(state.store, None if file is None else Path(file))
    print(f"{file or state.store} is whole: {records} records")
