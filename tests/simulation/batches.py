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


class Pace(NamedTuple):
    """How fast a cluster may be changed over."""

    batch: int
    steady: float


def pace_of(cluster: Row, mirror: Mirror) -> Pace:
    """Return the pace of a cluster: that of its action, when a policy had a say in it, or its own."""
    action = mirror.actions.get(cluster["action_oid"] or "")
    said = cluster if action is None or action["pace"] is None else action["pace"]
    return Pace(said["batch"], said["steady"])


class Batches:
    """The workers of every cluster that are being changed over."""

    def __init__(self) -> None:
        self._changing: dict[str, dict[str, Changing]] = {}
        self._entered: list[tuple[Row, Pace]] = []
        """Workers that served and were given another configuration in this commit."""

    def changed(self, before: Row, after: Row | None, pace: Pace, now: float) -> None:
        """Take note of what has become of a worker of a cluster that changes at a pace."""
        changing = self._changing.setdefault(before["cluster_oid"], {})
        if (
            after is None
            or after["standby"]
            or after["want"] != "RUN"
            or after["digest"] is None
            or after["node_oid"] != before["node_oid"]
        ):
            changing.pop(before["oid"], None)
            return
        known = changing.get(after["oid"])
        if known is not None and _is_steady(known, pace, now):
            # It has proven itself; what it does from now on is no part of a change.
            del changing[after["oid"]]
            known = None
        if before["digest"] not in (None, after["digest"]):
            # Who does not run yet with what it was given is being changed already, whatever it is given now.
            served = before["status"] in ("RUNNING", "UNREACHABLE") and before["seen_digest"] == before["digest"]
            if served and known is None:
                self._entered.append((after, pace))
            # Who is given back what it was last seen with may never have begun to change.
            changing[after["oid"]] = Changing(after["digest"], now if after["seen_digest"] == after["digest"] else None)
        elif known is not None:
            runs = (after["status"] == "RUNNING" and after["seen_digest"] == after["digest"]) or (
                known.runs_since is not None and _is_silent_as_it_was(after)
            )
            since = known.runs_since if known.runs_since is not None and runs else now if runs else None
            changing[after["oid"]] = Changing(after["digest"], since)

    def committed(self, mirror: Mirror, now: float, wall_jumped: float) -> Iterator[str]:
        """Look at those who were given another configuration in a commit, as things are at its end."""
        entered, self._entered = self._entered, []
        for worker, pace in entered:
            others = self._unproven(worker, pace, mirror, now, wall_jumped)
            if others >= pace.batch:
                yield (
                    f"worker {worker['oid']} is changed over while {others} others have not proven themselves; "
                    f"{pace.batch} at a time are admitted"
                )

    def _unproven(self, worker: Row, pace: Pace, mirror: Mirror, now: float, wall_jumped: float) -> int:
        """Count the others that may not serve, or have not done so for long enough."""
        others = 0
        for oid, each in self._changing[worker["cluster_oid"]].items():
            row = mirror.workers.get(oid)
            if row is None or oid == worker["oid"] or row["status"] == "PENDING" or _is_silent_as_it_was(row):
                continue
            told = each.runs_since is None or each.runs_since > wall_jumped
            others += told and not _is_steady(each, pace, now)
        return others


def _is_silent_as_it_was(worker: Row) -> bool:
    """Say whether a worker that cannot be reached ran as it shall when it was seen last."""
    return bool(worker["status"] == "UNREACHABLE" and worker["seen_digest"] == worker["digest"])


def _is_steady(worker: Changing, pace: Pace, now: float) -> bool:
    return worker.runs_since is not None and now >= worker.runs_since + pace.steady - EARLY_S
