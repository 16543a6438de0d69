"""How many workers of a cluster of processes are changed over at a time: never more than a batch of it."""

from collections.abc import Iterator
from typing import NamedTuple

from tests.simulation.mirror import Mirror, Row

EARLY_S = 0.001
"""By how much rounding may shorten a time."""


class Changing(NamedTuple):
    """A worker that was given another configuration."""

    digest: str
    runs_since: float | None
    """When it was first seen to run with it."""


class Batches:
    """The workers of every cluster that are being changed over."""

    def __init__(self) -> None:
        self._changing: dict[str, dict[str, Changing]] = {}
        self._entered: list[Row] = []
        """Workers that served and were given another configuration in this commit."""

    def changed(self, before: Row, after: Row | None, cluster: Row, now: float) -> None:
        """Take note of what has become of a worker."""
        changing = self._changing.setdefault(cluster["oid"], {})
        if (
            after is None
            or after["want"] != "RUN"
            or after["digest"] is None
            or after["node_oid"] != before["node_oid"]
        ):
            changing.pop(before["oid"], None)
            return
        known = changing.get(after["oid"])
        if before["digest"] not in (None, after["digest"]):
            if before["status"] == "RUNNING" and (known is None or _is_steady(known, cluster, now)):
                self._entered.append(after)
            # Who is given back what it was last seen with may never have begun to change.
            changing[after["oid"]] = Changing(after["digest"], now if after["seen_digest"] == after["digest"] else None)
        elif known is not None:
            runs = after["status"] == "RUNNING" and after["seen_digest"] == after["digest"]
            since = known.runs_since if known.runs_since is not None and runs else now if runs else None
            changing[after["oid"]] = Changing(after["digest"], since)

    def committed(self, mirror: Mirror, now: float, wall_jumped: float) -> Iterator[str]:
        """Look at those who were given another configuration in a commit, as things are at its end."""
        entered, self._entered = self._entered, []
        for worker in entered:
            cluster = mirror.clusters.get(worker["cluster_oid"])
            if cluster is not None:
                others = self._unproven(worker, cluster, mirror, now, wall_jumped)
                if others >= cluster["batch"]:
                    yield (
                        f"worker {worker['oid']} of {cluster['name']} is changed over while {others} others have not "
                        f"proven themselves; {cluster['batch']} at a time are admitted"
                    )

    def _unproven(self, worker: Row, cluster: Row, mirror: Mirror, now: float, wall_jumped: float) -> int:
        """Count the others that may not serve, or have not done so for long enough."""
        others = 0
        for oid, each in self._changing[cluster["oid"]].items():
            row = mirror.workers.get(oid)
            if row is None or oid == worker["oid"] or row["status"] in ("PENDING", "UNREACHABLE"):
                continue
            told = each.runs_since is None or each.runs_since > wall_jumped
            others += told and not _is_steady(each, cluster, now)
        return others


def _is_steady(worker: Changing, cluster: Row, now: float) -> bool:
    return worker.runs_since is not None and bool(now >= worker.runs_since + cluster["steady"] - EARLY_S)
