"""Backups under a thousand writes per second. `scripts/crash --backups N` does the same as often as it is told to."""

import os
import signal
from itertools import count
from uuid import UUID

import pytest

from controlplane.errors import StoreDamaged, StoreRefused
from controlplane.store.backups import back_up, put_back, verify
from controlplane.store.lmdb import DATA_FILE
from tests.crash.backups import pouring, take
from tests.crash.damage import make_store

BACKUPS = 6


def test_a_backup_of_a_store_that_is_written_to_is_a_state_that_was_committed(tmp_path):
    with pouring(tmp_path) as counter:
        lasts = [take(tmp_path, counter, number) for number in range(BACKUPS)]
    assert lasts == sorted(lasts)
    assert lasts[0] < lasts[-1], "nothing was written meanwhile"


def test_a_damaged_store_is_not_backed_up_and_nothing_is_ended_by_a_signal(tmp_path):
    make_store(tmp_path / "store")
    data = tmp_path / "store" / DATA_FILE
    content = data.read_bytes()
    for at in range(2 * 4096, len(content), 5 * 4096):
        data.write_bytes(content[:at] + os.urandom(4096) + content[at + 4096 :])
        try:
            back_up(tmp_path / "store", tmp_path / "backup")
        except (StoreRefused, StoreDamaged) as problem:
            assert problem.next_step
        else:
            # A page that no record needs.
            assert verify(tmp_path / "store") == verify(tmp_path / "store", tmp_path / "backup") > 100
            (tmp_path / "backup").unlink()
        assert not list(tmp_path.glob("*.partial"))
    data.write_bytes(content[: len(content) // 2])
    with pytest.raises((StoreRefused, StoreDamaged), match="damaged"):
        back_up(tmp_path / "store", tmp_path / "backup")


@pytest.mark.parametrize("call", ["mkdir", "link", "replace", "unlink"])
def test_a_restore_that_is_killed_leaves_the_former_store_or_the_new_one(tmp_path, call):
    """At the moment after each of the calls that bring the new store into the place of the former one."""
    store = tmp_path / "master" / "store"
    make_store(store)
    back_up(store, tmp_path / "backup")
    records = verify(store)
    child = os.fork()
    if child == 0:
        real = getattr(os, call)

        def doomed(*arguments, **options):
            real(*arguments, **options)
            if str(arguments[0]).startswith(str(store)) or str(arguments[-1]).startswith(str(store)):
                os.kill(os.getpid(), signal.SIGKILL)

        setattr(os, call, doomed)
        try:
            numbers = count(1)
            put_back(tmp_path / "backup", store, lambda: UUID(int=next(numbers) << 96))
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"{call} was not called"
    assert verify(store) == records
