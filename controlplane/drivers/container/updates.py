"""Changing a container while it runs: its limits, which the engine knows how to, and how it is ended."""

from typing import Any

import msgspec

from controlplane.core.updating import changed_paths, is_updatable
from controlplane.drivers.container.drafts import CPU_PERIOD_US, quota
from controlplane.drivers.container.engine import Engine
from controlplane.drivers.container.running import Note, Running
from controlplane.drivers.driver import Unit
from controlplane.drivers.notes import Notes
from controlplane.drivers.operations import read_config
from controlplane.records.profiles import ContainerProperties
from controlplane.records.workers import WorkerSpec


async def updated(engine: Engine, running: Running, spec: WorkerSpec, notes: Notes[Note]) -> Unit | None:
    """Give a container another configuration as it runs, None when it has to be replaced for that."""
    note = running.note
    if note is None:
        return None
    before, was = read_config(WorkerSpec(oid=note.oid, digest=note.digest, config=note.config), ContainerProperties)
    after, becomes = read_config(spec, ContainerProperties)
    if not is_updatable("container", before, after):
        return None
    changed = changed_paths(before.properties, after.properties)
    limits: dict[str, Any] = {}
    if "limits.memory" in changed:
        if was.limits.memory is None or becomes.limits.memory is None:
            return None  # Engines differ in what they take for no limit.
        limits |= {"mem_limit": becomes.limits.memory, "memswap_limit": becomes.limits.memory}
    if "limits.cpus" in changed:
        if becomes.limits.cpus is None:
            return None
        limits |= {"cpu_period": CPU_PERIOD_US, "cpu_quota": quota(becomes.limits.cpus)}
    if limits:
        await engine.call(lambda client: client.update_container(note.container, **limits))
    changed_note = msgspec.structs.replace(note, digest=spec.digest, config=spec.config)
    notes.note(spec.oid, changed_note)
    running.note = changed_note
    running.grace, running.stop_signal = becomes.stop.grace, becomes.stop.signal
    return running.unit()
