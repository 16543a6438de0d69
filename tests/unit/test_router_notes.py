"""What the driver writes down, and what its processes write."""

import os
from uuid import uuid4

import pytest
from twisted.internet.task import Clock

from controlplane.drivers.processes import Identity
from controlplane.drivers.router import notes as notes_module
from controlplane.drivers.router.notes import Notes, WorkerNote
from controlplane.drivers.router.outputs import KEPT_LENGTH, LENGTH_MAX, LOOK_EVERY_S, OutputFile
from controlplane.records.workers import Address


@pytest.fixture
def file(tmp_path):
    return tmp_path / "workers.json"


def note(oid):
    return WorkerNote(
        oid=oid,
        digest="d",
        kind="proxy",
        worker_id="w1",
        process=Identity(7, 8),
        started=9,
        cluster="c",
        port=9000,
        leans_on=("/a.sock",),
        realms=("realm1",),
        addresses=(Address(type="rawsocket", url="rs://h:9000"),),
    )


def test_everything_is_found_again(file):
    written = Notes(file)
    kept, crossed = note(uuid4()), note(uuid4())
    written.note_node(Identity(1, 2))
    written.note(kept)
    written.note(crossed)
    written.cross_out(crossed.oid)
    found = Notes(file)
    assert found.node == Identity(1, 2)
    assert found.workers == {kept.oid: kept}
    assert found.workers[kept.oid].unit().addresses == kept.addresses


def test_no_two_starts_have_the_same_identity_also_after_a_restart(file):
    oid = uuid4()
    written = Notes(file)
    first = [written.next_worker_id(oid) for _ in range(3)]
    written.note(note(oid))
    assert len({*first, Notes(file).next_worker_id(oid)}) == 4
    assert all(len(each) <= 64 and each[0] == "w" for each in first)


def test_nothing_is_believed_after_the_machine_was_restarted(file, monkeypatch):
    Notes(file).note(note(uuid4()))
    monkeypatch.setattr(notes_module, "boot", lambda: "another")
    found = Notes(file)
    assert found.workers == {}
    assert found.node is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"boot": 7}', b"\xff"])
def test_damaged_notes_are_no_notes(file, content):
    file.write_bytes(content)
    assert Notes(file).workers == {}


def test_an_output_that_is_too_long_is_cut_while_it_is_written(tmp_path):
    clock = Clock()
    output = OutputFile(clock, tmp_path / "log")
    assert output.last_line() is None
    descriptor = output.descriptor()
    output.watch()
    os.write(descriptor, b"first\n" + b"x" * LENGTH_MAX + b"\nlast\n\n")
    assert output.last_line() == "last"
    clock.advance(LOOK_EVERY_S)
    os.write(descriptor, b"after\n")
    assert output.path.read_bytes() == b"after\n"
    older = (tmp_path / "log.1").read_bytes()
    assert len(older) == KEPT_LENGTH
    assert older.endswith(b"last\n\n")
    assert output.path.stat().st_mode & 0o077 == 0
    os.close(descriptor)
    output.let_go()
    assert clock.getDelayedCalls() == []
