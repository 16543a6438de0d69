"""Limits of processes: what is written into control groups of version 2, and what is said where there are none.

The control groups here are a directory of plain files; a kernel that keeps them is not at hand everywhere.
"""

import resource
from pathlib import Path

import pytest

from controlplane.drivers.process.limits import Groups, find_groups
from controlplane.errors import WorkerFailed
from controlplane.records.profiles import ProcessLimits

LIMITS = ProcessLimits(memory=64 * 2**20, cpus=1.5, pids=10, open_files=99)


@pytest.fixture
def machine(tmp_path):
    """A machine whose agent is in /system/agent, below a group that was given to it."""

    class Machine:
        proc, mount, parent = tmp_path / "proc", tmp_path / "groups", tmp_path / "groups" / "system"
        controllers = "cpu memory pids"

        def make(self, own="/system/agent"):
            self.proc.mkdir()
            (self.parent / "agent").mkdir(parents=True)
            (self.proc / "cgroup").write_text(f"4:memory:/elsewhere\n0::{own}\n")
            (self.proc / "mountinfo").write_text(
                f"30 20 0:1 / /proc rw - proc proc rw\n31 20 0:2 / {self.mount} rw shared:9 - cgroup2 cgroup2 rw\n"
            )
            for each in (self.mount, self.parent):
                (each / "cgroup.controllers").write_text(self.controllers)
                (each / "cgroup.subtree_control").write_text(self.controllers)
            return find_groups({}, self.proc)

    return Machine()


def test_limits_become_settings_of_a_group_beside_the_agent(machine):
    groups = machine.make()
    kept = groups.plan(LIMITS, "r1")
    assert kept.rlimits == ((resource.RLIMIT_NOFILE, 99),)
    assert kept.unkept == ()
    groups.make(kept)
    assert kept.group == machine.parent / "controlplane-r1"
    found = {file.name: file.read_text() for file in kept.group.iterdir()}
    assert found == {
        "memory.max": str(64 * 2**20),
        "memory.oom.group": "1",
        "cpu.max": "150000 100000",
        "pids.max": "10",
    }


def test_without_limits_there_is_no_group(machine):
    kept = machine.make().plan(ProcessLimits(), "r1")
    assert (kept.group, kept.settings, kept.rlimits) == (None, (), ())


def test_an_agent_in_the_topmost_group_uses_that(machine):
    kept = machine.make(own="/").plan(LIMITS, "r1")
    assert kept.group == machine.mount / "controlplane-r1"


def test_the_operator_says_where(machine, tmp_path):
    machine.make()
    elsewhere = machine.mount / "given"
    elsewhere.mkdir()
    for name in ("cgroup.controllers", "cgroup.subtree_control"):
        (elsewhere / name).write_text("memory")
    groups = find_groups({"CONTROLPLANE_CGROUP": str(elsewhere)}, machine.proc)
    assert groups.plan(ProcessLimits(memory=64 * 2**20), "r1").group == elsewhere / "controlplane-r1"


def test_a_controller_that_is_missing_is_named(machine):
    machine.controllers = "memory"
    with pytest.raises(WorkerFailed, match=r"cannot keep the limit pids: .*/system has no controller for it"):
        machine.make().plan(ProcessLimits(pids=3), "r1")


@pytest.mark.parametrize(
    ("groups", "why"),
    [
        (Groups(None, "it has no control groups of version 2"), "it has no control groups of version 2"),
        (find_groups({"CONTROLPLANE_CGROUP": "/no/such/group"}), "/no/such/group is no control group of version 2"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_the_reason_unless_it_is_not_required(groups, why):
    with pytest.raises(WorkerFailed, match=f"this node cannot keep the limits memory, cpus, pids: {why}") as caught:
        groups.plan(LIMITS, "r1")
    assert '"required": false' in caught.value.next_step
    limits = ProcessLimits(memory=64 * 2**20, open_files=99, required=False)
    kept = groups.plan(limits, "r1")
    assert (kept.unkept, kept.group, kept.rlimits) == (("memory",), None, ((resource.RLIMIT_NOFILE, 99),))


def test_this_machine_says_what_it_can(tmp_path):
    groups = find_groups()
    kept = groups.plan(ProcessLimits(memory=64 * 2**20, required=False), "r1")
    assert (kept.group is None) == (kept.unkept == ("memory",))


def test_a_group_that_cannot_be_made_is_said(machine):
    groups = machine.make()
    kept = groups.plan(LIMITS, "r1")._replace(group=Path("/proc/no-such-place"))
    with pytest.raises(WorkerFailed, match="the control group /proc/no-such-place cannot be set up"):
        groups.make(kept)


def test_limits_of_a_process_that_runs_are_changed_where_there_are_some(machine):
    groups = machine.make()
    kept = groups.plan(LIMITS, "r1")
    lower = ProcessLimits(memory=32 * 2**20, cpus=0.5, pids=5, open_files=99)
    assert not groups.change(LIMITS, lower, "r1")
    groups.make(kept)
    assert groups.change(LIMITS, lower, "r1")
    written = [(kept.group / name).read_text() for name in ("memory.max", "cpu.max", "pids.max")]
    assert written == [str(32 * 2**20), "50000 100000", "5"]
    assert not groups.change(lower, ProcessLimits(memory=32 * 2**20), "r1")
    assert not groups.change(ProcessLimits(pids=5), lower, "r1")
    assert not groups.change(ProcessLimits(), lower, "r1")
    assert (kept.group / "pids.max").read_text() == "5"


def test_a_limit_that_cannot_be_changed_is_told_of(machine):
    groups = machine.make()
    kept = groups.plan(LIMITS, "r1")
    groups.make(kept)
    (kept.group / "pids.max").unlink()
    (kept.group / "pids.max").mkdir()
    with pytest.raises(WorkerFailed, match="cannot be changed"):
        groups.change(LIMITS, ProcessLimits(memory=32 * 2**20, cpus=0.5, pids=5), "r1")
