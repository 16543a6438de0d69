"""What is known of workers that are to be checked, before and after their agents were asked."""

import math
from collections.abc import Iterable, Mapping

from controlplane.records.nodes import Node
from controlplane.records.recoveries import Checked, Finding
from controlplane.records.types import Oid, Seconds
from controlplane.records.workers import Want, Worker, WorkerStatus

LOOK_LIMIT_S = 5.0
"""How long a look at one worker may take."""

LOOKS_PARALLEL_MAX = 32
"""Looks of one agent at a time."""

ANSWER_MARGIN_S = 3.0
CHECK_LIMIT_MAX_S = 60.0
"""However many workers a node has, nobody waits longer for its agent."""

ASKABLE = frozenset({WorkerStatus.STARTING, WorkerStatus.RUNNING, WorkerStatus.ERROR})


def check_limit(workers: int) -> Seconds:
    """Return how long an agent may take to look at so many workers."""
    return min(CHECK_LIMIT_MAX_S, LOOK_LIMIT_S * math.ceil(workers / LOOKS_PARALLEL_MAX) + ANSWER_MARGIN_S)


def questions_about(workers: Iterable[Worker], nodes: Mapping[Oid, Node]) -> dict[Oid, list[Worker]]:
    """Return the workers that agents can look at, by node.

    One that somebody has paused is not looked at: it answers nobody, and is as it is wanted.
    """
    found: dict[Oid, list[Worker]] = {}
    for worker in workers:
        if worker.want is Want.RUN and worker.status in ASKABLE and not worker.paused and worker.node_oid is not None:
            node = nodes.get(worker.node_oid)
            if node is not None and node.online:
                found.setdefault(node.oid, []).append(worker)
    return found


def findings(
    workers: Iterable[Worker], nodes: Mapping[Oid, Node], answers: Mapping[Oid, Mapping[Oid, Checked]]
) -> list[Finding]:
    """Return what is to be said of each worker that is wanted to run; `answers` are those that came, by node.

    A worker of which nobody says anything is not well, unless somebody has paused it on a node that is there.
    """
    found = []
    for worker in workers:
        if worker.want is not Want.RUN:
            continue
        said = answers.get(worker.node_oid, {}).get(worker.oid) if worker.node_oid is not None else None
        if said is not None:
            found.append(Finding(worker_oid=worker.oid, checked=said, asked=True))
        elif worker.paused and worker.status is WorkerStatus.RUNNING:
            found.append(Finding(worker_oid=worker.oid, checked=Checked(well=True), asked=False))
        else:
            checked = Checked(well=False, reason=_silence(worker, nodes))
            found.append(Finding(worker_oid=worker.oid, checked=checked, asked=False))
    return found


def _silence(worker: Worker, nodes: Mapping[Oid, Node]) -> str:
    node = nodes.get(worker.node_oid) if worker.node_oid is not None else None
    if node is None:
        return worker.reason or "it has no place"
    if not node.online:
        return f"its node {node.authid} is silent"
    return f"the agent of its node {node.authid} did not say how it is"
