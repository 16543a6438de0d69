"""Changing a process while it runs: its limits, where its control group is ours, and how it is ended."""

import msgspec

from controlplane.core.updating import changed_paths, is_updatable
from controlplane.drivers.operations import read_config
from controlplane.drivers.process.limits import Groups
from controlplane.drivers.process.running import Note
from controlplane.records.profiles import ProcessProperties
from controlplane.records.workers import WorkerSpec


def updated(note: Note, spec: WorkerSpec, groups: Groups) -> Note | None:
    """Return what a process is after it was changed, None when it has to be replaced; raises `WorkerFailed`."""
    before, was = read_config(WorkerSpec(oid=note.oid, digest=note.digest, config=note.config), ProcessProperties)
    after, becomes = read_config(spec, ProcessProperties)
    if not is_updatable("process", before, after):
        return None
    changed = changed_paths(before.properties, after.properties)
    if any(path.startswith("limits.") for path in changed):
        run = note.run.rpartition("/")[2]
        if note.taken or note.unkept or not groups.change(was.limits, becomes.limits, run):
            return None
    restopped = not note.taken and (note.restopped or "stop" in changed)
    return msgspec.structs.replace(note, digest=spec.digest, config=spec.config, restopped=restopped)
