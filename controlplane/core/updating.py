"""Which changes of a worker's configuration reach it without another start of it.

Types say so of their properties (`UPDATABLE`); what a driver is asked to change in place differs in
nothing else. Whether it can on its machine is for the driver to say.
"""

from collections.abc import Mapping
from typing import Any

from controlplane.records.profiles import WorkerConfig

UPDATABLE: Mapping[str, tuple[str, ...]] = {
    "process": ("limits.memory", "limits.cpus", "limits.pids", "stop", "ready", "overlap"),
    "container": ("limits.memory", "limits.cpus", "stop", "ready", "overlap", "pull", "pull_timeout"),
}
"""By driver: properties of which another value reaches a worker without another start of it, where its node can do so.

A limit can be changed where there is one; one that is new, or taken away, may take another start.
"""


def changed_paths(before: Mapping[str, Any], after: Mapping[str, Any]) -> frozenset[str]:
    """Return which properties differ: those of `limits` one by one, all others as a whole."""
    found = {name for name in before.keys() | after.keys() if name != "limits" and before.get(name) != after.get(name)}
    one, other = before.get("limits") or {}, after.get("limits") or {}
    return frozenset(
        found | {f"limits.{name}" for name in one.keys() | other.keys() if one.get(name) != other.get(name)}
    )


def is_updatable(driver: str, before: WorkerConfig, after: WorkerConfig) -> bool:
    """Say whether a worker that runs with one configuration may be given another in place."""
    for name in WorkerConfig.__struct_fields__:
        if name != "properties" and getattr(before, name) != getattr(after, name):
            return False
    return changed_paths(before.properties, after.properties) <= frozenset(UPDATABLE[driver])
