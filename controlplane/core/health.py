"""The status of a cluster or group, derived from what is wanted and from what its workers do."""

from collections.abc import Mapping

from controlplane.records.clusters import ClusterStatus
from controlplane.records.types import Instant
from controlplane.records.workers import Worker, WorkerStatus

NEW = "NEW"
"""Counted apart from STARTING: a worker that never ran in its place is growth, not damage."""

STANDBY = "STANDBY"
"""Workers that stand by are counted apart, those that do not run yet once more."""

ENDING = frozenset({WorkerStatus.STOPPING, WorkerStatus.STOPPED})
WANTED = ("PENDING", NEW, "STARTING", "RUNNING", "UNREACHABLE", "ERROR")


def state_of(worker: Worker) -> str:
    """Return under which word a worker is counted."""
    if worker.standby and worker.status not in ENDING:
        return STANDBY if worker.status is WorkerStatus.RUNNING else f"{STANDBY}_{worker.status.value}"
    if worker.status is WorkerStatus.STARTING and worker.fresh:
        return NEW
    return worker.status.value


def cluster_status(run: bool, ready: Instant | None, counts: Mapping[str, int], desired: int) -> ClusterStatus:
    """Return the status of a cluster of which `desired` workers are wanted and `counts` says what they do.

    `ready` is when all of them first ran since the start; until then what is missing is on its way, not lost.
    """
    if not run:
        active = sum(number for state, number in counts.items() if state != "STOPPED")
        return ClusterStatus.STOPPING if active else ClusterStatus.STOPPED
    running = counts.get("RUNNING", 0)
    if running >= desired:
        return ClusterStatus.RUNNING
    failed, starting = counts.get("ERROR", 0), counts.get("STARTING", 0)
    coming = counts.get(NEW, 0) + max(0, desired - sum(counts.get(state, 0) for state in WANTED))
    hurt = failed + starting + sum(counts.get(state, 0) for state in ("PENDING", "UNREACHABLE"))
    if ready is None:
        if coming or starting:
            return ClusterStatus.STARTING
        if running:
            return ClusterStatus.DEGRADED
        return ClusterStatus.ERROR if failed else ClusterStatus.STARTING
    if not hurt:
        return ClusterStatus.RUNNING
    if failed and not running and not coming and not starting:
        return ClusterStatus.ERROR
    return ClusterStatus.DEGRADED


def cluster_reason(counts: Mapping[str, int], desired: int) -> str | None:
    """Return in words what keeps a cluster from running wholly, or None when nothing does."""
    running = counts.get("RUNNING", 0)
    if running >= desired:
        return None
    words = [
        f"{counts[state]} {word}"
        for state, word in (
            ("ERROR", "failed"),
            ("UNREACHABLE", "unreachable"),
            ("PENDING", "without a place"),
            ("STARTING", "starting again"),
            (NEW, "starting"),
        )
        if counts.get(state)
    ]
    return f"{running} of {desired} workers run" + (f"; {', '.join(words)}" if words else "")
