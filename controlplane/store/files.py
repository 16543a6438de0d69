"""The file of a store before LMDB sees it: LMDB trusts what it maps, and a damaged page ends the process.

The whole file is looked at, by a walker that never hands it to LMDB: both heads, every page that can be reached, the
order of the keys, the counters, that each page is either in use or free, and that the two heads are of commits that
follow each other. That takes less time than reading the records would. What it cannot see is a change inside a value;
each has a checksum of its own (`lmdb.py`).
"""

import os
from pathlib import Path
from typing import Any, BinaryIO

from zlmdb._lmdb_vendor import verify  # What `zlmdb.lmdb` is an alias of, which type checkers do not see.

from controlplane.errors import StoreRefused

PROBLEMS_SHOWN_MAX = 3
HEAD_SHOWN_LENGTH = 16
RESTORE = "restore a backup with 'controlplane restore', or move the file away if there never was a store"


def check_file(path: Path) -> None:
    """Return when LMDB can be trusted with a file that nobody writes to; raises `StoreRefused` with the reason."""
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD_SHOWN_LENGTH)
            problems = _walk(file, path.stat().st_size) if head else ["it is empty"]
    except verify.VerifyError as problem:
        raise _refused(path, f"{problem}; it begins with {head!r}") from problem
    except OSError as problem:
        raise StoreRefused(
            f"the store {path} cannot be read: {problem}", next_step="see to the disk, or restore a backup"
        ) from problem
    except Exception as problem:
        raise _refused(path, f"it is damaged: {problem}") from problem
    if problems:
        more = f", and {len(problems) - PROBLEMS_SHOWN_MAX} more" if len(problems) > PROBLEMS_SHOWN_MAX else ""
        raise _refused(path, f"it is damaged: {'; '.join(problems[:PROBLEMS_SHOWN_MAX])}{more}")


def sync_directory(directory: Path) -> None:
    """Make names that were made, changed or removed in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _walk(file: BinaryIO, size: int) -> list[str]:
    walker: Any = verify._Verifier(file, size)
    problems: list[str] = walker.verify()
    heads = [walker._read_meta(number, walker.psize) for number in range(2)]
    # LMDB takes the flags of its free list from the first head whichever is the last one, and ends the process when
    # they, or those of the table, are not what this program always sets.
    if {(head.free.flags, head.main.flags) for head in heads} != {(verify.MDB_INTEGERKEY, 0)}:
        problems.append("its heads have flags that this program never sets")
    # No page says which commit is the last one: a head that went back would be taken for it.
    commits = sorted(head.txnid for head in heads)
    if commits != [0, 0] and commits[1] - commits[0] != 1:
        problems.append(f"its heads are of commits {commits[0]} and {commits[1]}, which do not follow each other")
    return problems


def _refused(path: Path, reason: str) -> StoreRefused:
    return StoreRefused(f"the store {path} cannot be opened: {reason}", next_step=RESTORE)
