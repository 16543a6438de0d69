"""Backups that are taken while a store is written to, each put back and looked at."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from uuid import UUID

from twisted.internet.task import Clock

from controlplane.store.backups import back_up, put_back
from controlplane.store.database import Store
from controlplane.store.lmdb import LmdbEngine
from controlplane.store.verification import find_problems
from tests.consistency import check_derived
from tests.crash.pouring import answered, state_after, state_in

WRITES_PER_SECOND = 1_000
BEGIN_WITHIN_S = 60.0


@contextmanager
def pouring(directory: Path) -> Iterator[Path]:
    """Have a store be written to; yields the file that says how many calls were answered."""
    counter = directory / "answered"
    command = [sys.executable, "-m", "tests.crash.pouring", str(directory / "store"), str(counter)]
    process = subprocess.Popen([*command, str(WRITES_PER_SECOND)])
    try:
        end = time.monotonic() + BEGIN_WITHIN_S
        while answered(counter) < WRITES_PER_SECOND / 2:
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        yield counter
        assert process.poll() is None, "the writer ended"
    finally:
        process.kill()
        process.wait()


def take(directory: Path, counter: Path, number: int) -> int:
    """Take a backup, put it back and hold it against the order of the changes; returns how many are in it."""
    file, restored = directory / f"backup{number}", directory / f"restored{number}"
    before = answered(counter)
    back_up(directory / "store", file)
    after = answered(counter)
    numbers = count(1)
    assert put_back(file, restored, lambda: UUID(int=next(numbers))) is None
    engine = LmdbEngine(restored)
    store = Store(engine, Clock(), lambda: UUID(int=next(numbers)), only_existing=True)
    try:
        with engine.read() as transaction:
            problems = list(find_problems(transaction))
            assert not problems, problems
        with store.read() as view:
            check_derived(view)
            last, names = state_in(view)
    finally:
        store.close()
    assert before <= last, f"{before} calls were answered before the backup began, and {last} are in it"
    assert names == state_after(last)
    assert last <= after + WRITES_PER_SECOND, "more than can have been written meanwhile"
    return last
