"""Bits and pages that change behind the store's back. `scripts/crash --damages N` does it as often as it is told to."""

import itertools
import os
import subprocess
import sys

import pytest
from twisted.internet.task import Clock

from controlplane.errors import StoreRefused
from controlplane.store.backups import back_up, verify
from controlplane.store.catalog import CLUSTERS, EVENTS
from controlplane.store.database import Store
from controlplane.store.files import check_file
from controlplane.store.lmdb import DATA_FILE, LmdbEngine
from controlplane.store.tables import key_of
from controlplane.store.verification import find_problems
from tests.crash.damage import GOOD, KINDS, make_store, outcomes

DAMAGES = 350


def test_a_damaged_store_is_refused_or_read_as_it_was(tmp_path):
    found = outcomes(tmp_path, DAMAGES, seed=1)
    assert {outcome for _, outcome in found} == GOOD, found
    assert {kind for kind, _ in found} == set(KINDS)
    # What cannot be missed is not: half of a file.
    assert found["cut", "store refused"] == DAMAGES // len(KINDS)


@pytest.mark.parametrize("command", ["master", "backup", "verify", "restore"])
def test_a_user_is_told_what_is_wrong_with_a_damaged_store(tmp_path, command):
    """With words and an exit status; no traceback, no signal, and the file stays as it is."""
    store = tmp_path / "master" / "store"
    make_store(store)
    back_up(store, tmp_path / "backup")
    damaged = tmp_path / "backup" if command == "restore" else store / DATA_FILE
    content = damaged.read_bytes()
    damaged.write_bytes(content[: len(content) // 2])
    arguments = {"backup": ["new"], "restore": ["backup"]}.get(command, [])
    ended = subprocess.run(
        [sys.executable, "-m", "controlplane", command, *arguments, "--state-dir", "."],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
    )
    said = ended.stdout + ended.stderr
    assert ended.returncode == 1, said
    assert "error: " in said
    assert "next: " in said
    assert "Traceback" not in said
    assert not (tmp_path / "new").exists()
    assert damaged.read_bytes() == content[: len(content) // 2]


def test_a_store_and_a_backup_are_verified_by_a_command(tmp_path):
    make_store(tmp_path / "master" / "store")
    back_up(tmp_path / "master" / "store", tmp_path / "backup")
    for arguments in (["--state-dir", str(tmp_path)], [str(tmp_path / "backup")]):
        command = [sys.executable, "-m", "controlplane", "verify", *arguments]
        assert "is whole" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_an_index_that_does_not_fit_its_records_is_found(tmp_path):
    make_store(tmp_path / "store")
    engine = LmdbEngine(tmp_path / "store", sync=False)
    Store(engine, Clock(), lambda: None)
    space = CLUSTERS.index_spaces["name"]
    with engine.write() as transaction:
        assert transaction.delete(space, b"cluster_1")
        transaction.put(space, b"cluster_x", transaction.get(space, b"cluster_2"))
        transaction.delete(EVENTS.space, key_of(5))
        assert list(find_problems(transaction)) == [
            "a cluster is not found by its name",
            "events 5 to 5 are missing",
        ]
    engine.close()
    with pytest.raises(StoreRefused, match=r"not found by its name.*2 problems"):
        verify(tmp_path / "store")


def test_no_bit_of_the_flags_in_the_heads_ends_a_process(tmp_path):
    """LMDB believes what the heads say of its tables, and aborts."""
    make_store(tmp_path)
    content = (tmp_path / DATA_FILE).read_bytes()
    for head, table, bit in itertools.product((0, 4096), (48, 96), range(16)):
        changed = bytearray(content)
        changed[head + table + 4 + bit // 8] ^= 1 << bit % 8
        (tmp_path / DATA_FILE).write_bytes(changed)
        with pytest.raises(StoreRefused, match=r"flags|damaged"):
            check_file(tmp_path / DATA_FILE)
