"""Of whom a master has heard, and what it may not conclude before that: who ran when it went away may have ended since.

It has heard of a node when it answers the call with which the node's agent attaches, and has had a router ever since;
whether the answer still finds its way does not matter. So this owes nothing to what the master itself keeps of it.
"""

from collections.abc import Iterator

from controlplane.records.protocol import ATTACH_AGENT
from controlplane.store.catalog import ACTIONS, CHILDREN, WORKERS
from tests.simulation.mirror import Changed, Mirror, Row

ASKED = ("CLUSTER_CHECK", "WORKER_CHECK", "CLUSTER_OPERATION", "WORKER_OPERATION")
"""Actions that end with what agents answered when they were asked or told something, and with nothing known before."""

SHOWN = ("WORKER_CREATE", "WORKER_UPDATE", "WORKER_JOIN", "WORKER_RECOVER")
"""Children that have succeeded when their workers serve."""


class Word:
    """Nodes whose agents have told this run of the master what runs there."""

    def __init__(self) -> None:
        self._heard: set[str] = set()

    def cut_off(self) -> None:
        """Take note that the master was away: from now on it has heard of nobody."""
        self._heard.clear()

    def answered(self, authid: str, uri: str) -> None:
        """Take note that a call of an agent was answered, and with no error."""
        if uri == ATTACH_AGENT:
            self._heard.add(authid)

    def changed(self, change: Changed, mirror: Mirror) -> Iterator[str]:
        """Look at one row of a commit, when those before it are as they are."""
        before, after = change.before, change.after
        match change.noun:
            case ACTIONS.noun if before and after:
                yield from self._of_action(before, after, mirror)
            case CHILDREN.noun if after and after["status"] == "SUCCEEDED" != change.value("status")[0]:
                if after["kind"] in SHOWN and self._is_unheard(after["worker_oid"], mirror):
                    yield f"child {after['oid']} has SUCCEEDED, and the master has not heard of its worker yet"
            case WORKERS.noun if before and after and _is_changed_over(before, after):
                silent = self._taken_for_serving(after["cluster_oid"], mirror)
                if silent:
                    yield f"worker {after['oid']} is changed over, and the master has not heard of {silent} yet"
            case _:
                pass

    def _of_action(self, before: Row, after: Row, mirror: Mirror) -> Iterator[str]:
        if after["kind"] in ASKED or before["phase"] == "check" or after["ended"] == after["created"]:
            return  # Agents were asked, or what was done was over as soon as it was begun, and is about no worker.
        known = before["outputs"]["done"]
        unheard = [oid for oid in after["outputs"]["done"] if oid not in known and self._is_unheard(oid, mirror)]
        if unheard:
            yield f"action {after['name']} counts workers as done of which the master has not heard yet: {unheard}"
        silent = self._taken_for_serving(after["cluster_oid"], mirror)
        if not silent:
            return
        if after["status"] == "SUCCEEDED" != before["status"]:
            yield f"action {after['name']} has SUCCEEDED, and the master has not heard of {silent} yet"
        elif before["ending"] is None and "FAILED" in (after["status"], after["ending"]):
            yield f"action {after['name']} is given up, and the master has not heard of {silent} yet"

    def _taken_for_serving(self, cluster: str, mirror: Mirror) -> list[str]:
        """Return the workers of a cluster that are said to serve, which is only what another run of the master knew."""
        return [
            worker["oid"]
            for worker in mirror.workers_of[cluster].values()
            if worker["want"] == "RUN"
            and not worker["standby"]
            and worker["status"] == "RUNNING"
            and worker["seen_digest"] == worker["digest"]
            and self._is_unheard(worker["oid"], mirror)
        ]

    def _is_unheard(self, worker: str, mirror: Mirror) -> bool:
        """Say whether a worker stands on a node that counts as online, and of which nobody has heard."""
        row = mirror.workers.get(worker)
        node = None if row is None else mirror.nodes.get(row["node_oid"])
        return node is not None and bool(node["online"]) and node["oid"] not in self._heard


def _is_changed_over(before: Row, after: Row) -> bool:
    """Say whether a worker that serves is given another configuration, and not because its routers have moved."""
    return (
        before["want"] == after["want"] == "RUN"
        and before["status"] == "RUNNING"
        and before["seen_digest"] == before["digest"]
        and after["digest"] not in (None, before["digest"])
        and not before["standby"]
        and all(before[field] == after[field] for field in ("cluster_oid", "node_oid", "links"))
    )
