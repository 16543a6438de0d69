"""Limits of a process and its children: by control groups of version 2 where that is permitted, else as far as it goes.

A limit on one process is not a limit on all of them together, and the limit on a user's processes counts those of
other workers too: of the limits that every kernel knows for a single process, only that of open files means what is
asked for. The rest needs a control group that the agent may write to. What cannot be kept is said, and why.
"""

import os
import resource
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from controlplane.errors import WorkerFailed
from controlplane.records.profiles import ProcessLimits

PERIOD_US = 100_000
GROUP = "controlplane-{run}"
NAMED_IN = "CONTROLPLANE_CGROUP"
CONTROLLERS = {"memory": "memory", "cpus": "cpu", "pids": "pids"}
"""What keeps a limit, by the limit's name."""


class Kept(NamedTuple):
    """How the limits of one process are kept."""

    rlimits: tuple[tuple[int, int], ...] = ()
    group: Path | None = None
    settings: tuple[tuple[str, str], ...] = ()
    """Files of the group and what is written to them."""

    unkept: tuple[str, ...] = ()


class Groups:
    """The control groups of this node, if the agent may make any."""

    def __init__(self, parent: Path | None, obstacle: str = "") -> None:
        self._parent = parent
        self._obstacle = obstacle

    def plan(self, limits: ProcessLimits, run: str) -> Kept:
        """Return how limits are kept; raises `WorkerFailed` for one that cannot be and is required."""
        wanted = {name: getattr(limits, name) for name in CONTROLLERS if getattr(limits, name) is not None}
        kept, why = dict(wanted), self._obstacle
        unkept: tuple[str, ...] = ()
        if wanted and self._parent is not None:
            missing = [name for name in wanted if not self._controls(CONTROLLERS[name])]
            kept = {name: value for name, value in wanted.items() if name not in missing}
            unkept = tuple(missing)
            why = f"{self._parent} has no controller for it"
        elif wanted:
            kept, unkept = {}, tuple(wanted)
        if unkept and limits.required:
            raise WorkerFailed(
                f"this node cannot keep the limit{'s' if len(unkept) > 1 else ''} {', '.join(unkept)}: {why}",
                next_step='say "required": false in the limits, use the driver container, or prepare the node',
            )
        files = limits.open_files
        return Kept(
            rlimits=() if files is None else ((resource.RLIMIT_NOFILE, files),),
            group=self._parent / GROUP.format(run=run) if kept and self._parent is not None else None,
            settings=tuple(_settings(kept)),
            unkept=unkept,
        )

    def make(self, kept: Kept) -> None:
        """Make the group of a process; raises `WorkerFailed`."""
        if kept.group is None:
            return
        try:
            kept.group.mkdir(exist_ok=True)
            for name, value in kept.settings:
                (kept.group / name).write_text(value)
        except OSError as problem:
            self.remove(kept)
            raise WorkerFailed(
                f"the control group {kept.group} cannot be set up: {problem.strerror}", next_step="prepare the node"
            ) from None

    def change(self, before: ProcessLimits, after: ProcessLimits, run: str) -> bool:
        """Give the group of a running process other limits; False when it has none, or one would be lost.

        Raises `WorkerFailed` when it has one and the limits cannot be kept.
        """
        had, has = self.plan(before, run), self.plan(after, run)
        names = {name for name, _ in had.settings}
        if had.group is None or not had.group.exists() or {name for name, _ in has.settings} != names:
            return False
        try:
            for name, value in has.settings:
                (had.group / name).write_text(value)
        except OSError as problem:
            raise WorkerFailed(
                f"the limits of the control group {had.group} cannot be changed: {problem.strerror}",
                next_step="restart the worker, or prepare the node",
            ) from None
        return True

    def remove(self, kept: Kept) -> None:
        """Remove the group of a process that has ended, or that was not started."""
        if kept.group is not None:
            try:
                kept.group.rmdir()
            except OSError:
                pass  # Its keeper has removed it already.

    def _controls(self, controller: str) -> bool:
        if self._parent is None:
            return False
        if controller in _words(self._parent / "cgroup.subtree_control"):
            return True
        try:
            (self._parent / "cgroup.subtree_control").write_text(f"+{controller}")
        except OSError:
            return False
        return controller in _words(self._parent / "cgroup.subtree_control")


def find_groups(environment: Mapping[str, str] = os.environ, proc: Path = Path("/proc/self")) -> Groups:
    """Return where control groups for workers can be made: where the operator says, else beside the agent's own."""
    named = environment.get(NAMED_IN)
    if named:
        return _usable(Path(named))
    mount = _mount((proc / "mountinfo").read_text())
    own = _own((proc / "cgroup").read_text())
    if mount is None or own is None:
        return Groups(None, "it has no control groups of version 2")
    if own == "/":
        return _usable(mount)
    return _usable(mount / own.lstrip("/") / "..")


def _usable(parent: Path) -> Groups:
    parent = parent.resolve()
    if not (parent / "cgroup.controllers").exists():
        return Groups(None, f"{parent} is no control group of version 2")
    if not set(CONTROLLERS.values()) & set(_words(parent / "cgroup.controllers")):
        return Groups(None, f"the control groups of version 2 at {parent} have no controllers")
    if not os.access(parent, os.W_OK):
        return Groups(None, f"the agent may not make control groups in {parent}")
    return Groups(parent)


def _mount(mounts: str) -> Path | None:
    for line in mounts.splitlines():
        fields, _, rest = line.partition(" - ")
        if rest.split()[0:1] == ["cgroup2"]:
            return Path(fields.split()[4])
    return None


def _own(groups: str) -> str | None:
    return next((line[3:] for line in groups.splitlines() if line.startswith("0::")), None)


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []


def _settings(kept: Mapping[str, float]) -> list[tuple[str, str]]:
    found = []
    if "memory" in kept:
        found += [("memory.max", str(kept["memory"])), ("memory.oom.group", "1")]
    if "cpus" in kept:
        found.append(("cpu.max", f"{max(1_000, round(kept['cpus'] * PERIOD_US))} {PERIOD_US}"))
    if "pids" in kept:
        found.append(("pids.max", str(kept["pids"])))
    return found
