import os
from uuid import UUID

import pytest

from controlplane.agent.notebook import FILE_NAME, Notebook
from controlplane.records.workers import Assignment, Entry

ASSIGNMENT = Assignment(
    epoch=UUID(int=1),
    version=3,
    workers=(Entry(oid=UUID(int=2), driver="router", digest="d"),),
    configs={"d": {"kind": "router"}},
)


def test_what_was_written_is_read_again(tmp_path):
    notebook = Notebook(tmp_path)
    assert notebook.read() is None
    notebook.write(ASSIGNMENT)
    assert Notebook(tmp_path).read() == ASSIGNMENT


@pytest.mark.parametrize("cut", [0, 10, 40, -1])
def test_a_damaged_notebook_counts_as_none(tmp_path, cut):
    notebook = Notebook(tmp_path)
    notebook.write(ASSIGNMENT)
    path = tmp_path / FILE_NAME
    path.write_bytes(path.read_bytes()[:cut])
    assert notebook.read() is None


def test_an_assignment_is_on_the_disk_before_it_takes_the_place_of_the_former_one(tmp_path, monkeypatch):
    """The master is told that it is kept; a node that lost its power must not go on with an older one."""
    steps = []
    sync, replace = os.fsync, os.replace

    def watch_sync(descriptor):
        steps.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        sync(descriptor)

    def watch_replace(source, target):
        steps.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", watch_sync)
    monkeypatch.setattr(os, "replace", watch_replace)
    Notebook(tmp_path).write(ASSIGNMENT)
    assert steps == ["assignment.new", "replace", tmp_path.name]
