"""An agent whose disk is full does what it is told all the same, and writes it down when there is room."""

import errno

import pytest

from controlplane.agent.notebook import Notebook
from controlplane.records.workers import Assignment
from tests.simulation.world import World


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_an_assignment_that_cannot_be_kept_on_disk_is_carried_out_and_kept_later():
    world = World(nodes=1)
    machine = world.machines[0]
    write = machine.directory.write
    machine.directory.write = full
    cluster = world.call("create_routercluster", {"name": "demo"})["oid"]
    world.call("add_routercluster_node", cluster, str(machine.oid))
    world.call("add_routercluster_workergroup", cluster, {"name": "web", "scale": 2})
    world.call("start_routercluster", cluster)
    world.wait_for_status(cluster, "RUNNING", 5)
    assert len(machine.units) == 3
    assert machine.directory.read() is None
    machine.directory.write = write
    world.run(6)
    assert {entry.oid for entry in machine.directory.read().workers} == set(machine.units)


def test_a_note_that_cannot_be_written_leaves_the_former_one(tmp_path, monkeypatch):
    notebook = Notebook(tmp_path)
    first = Assignment(epoch="00000000-0000-4000-8000-000000000001", version=1)
    notebook.write(first)
    monkeypatch.setattr("controlplane.agent.notebook.os.replace", full)
    with pytest.raises(OSError, match="No space left"):
        notebook.write(Assignment(epoch="00000000-0000-4000-8000-000000000001", version=2))
    assert notebook.read().version == 1
    assert [path.name for path in tmp_path.iterdir()] == ["assignment.cbor"]


def test_a_note_that_cannot_be_read_is_none(tmp_path):
    (tmp_path / "assignment.cbor").mkdir()
    assert Notebook(tmp_path).read() is None
