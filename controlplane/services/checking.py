"""Having agents look at workers now, and what follows from what they find."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from controlplane.core.checking import questions_about
from controlplane.errors import ActionConflict, Ambiguous, NoSuchObject
from controlplane.records import events
from controlplane.records.actions import Action, ActionKind, ActionView, Failed, Outputs, Phase
from controlplane.records.clusters import Cluster
from controlplane.records.nodes import Node
from controlplane.records.recoveries import Checked, Finding
from controlplane.records.types import Oid, from_wire
from controlplane.records.workers import Want, Worker, WorkerStatus
from controlplane.services.acting import begin, conclude
from controlplane.services.arguments import AnyCluster, AnyWorker
from controlplane.services.ledger import Ledger
from controlplane.services.lists import unfit
from controlplane.services.pipeline import WritingCall
from controlplane.services.procedures import procedure
from controlplane.services.recoveries import recover
from controlplane.services.views import action_view, worker_view
from controlplane.store.catalog import ACTIONS, CLUSTERS, NODES, WORKERS

CLUSTER = "controlplane.cluster."
WORKER = "controlplane.worker."
REASON_LENGTH_MAX = 1_000


class Asked(NamedTuple):
    """An action that wants to know how workers are."""

    action: Action
    workers: list[Worker]
    nodes: Mapping[Oid, Node]
    questions: Mapping[Oid, list[Worker]]
    """Workers that agents can look at, by node."""


@procedure(CLUSTER + "check_cluster", needs="operate", writes=True, raises=(NoSuchObject, Ambiguous, ActionConflict))
def check_cluster(call: WritingCall, cluster: AnyCluster) -> ActionView:
    """Have the agents look at every worker of a cluster now, and say in the outputs of the action which are well.

    The action succeeds when the agents have looked, whatever they found. A worker that is not well is in `ERROR` from
    then on; one of a silent node has failed.
    """
    action = begin(
        call.ledger, cluster, ActionKind.CLUSTER_CHECK, call.caller, {}, rows=call.rows, about={"phase": Phase.CHECK}
    )
    return action_view(action)


@procedure(WORKER + "check_worker", needs="operate", writes=True, raises=(NoSuchObject, Ambiguous, ActionConflict))
def check_worker(call: WritingCall, worker: AnyWorker) -> ActionView:
    """Have the agent of a worker look at it now, and say in the outputs of the action whether it is well."""
    require_wanted(worker)
    action = begin(
        call.ledger,
        call.rows(CLUSTERS).get(worker.cluster_oid),
        ActionKind.WORKER_CHECK,
        call.caller,
        {},
        rows=call.rows,
        worker=worker.oid,
        workers=[worker.oid],
        about={"phase": Phase.CHECK},
    )
    return action_view(action)


def require_wanted(worker: Worker) -> None:
    """Refuse to do something about a worker that shall not run; raises `InvalidArgument`."""
    if worker.want is not Want.RUN:
        raise unfit("$.worker", "is not wanted to run", "start its cluster, or name another one")


def asked_about(view: Any, cluster_oid: Oid) -> Asked | None:
    """Return what the action of a cluster wants to know, or None when it does not want to know anything."""
    cluster = view.rows(CLUSTERS).find(cluster_oid)
    action = None if cluster is None or cluster.action_oid is None else view.rows(ACTIONS).find(cluster.action_oid)
    if action is None or action.phase is not Phase.CHECK:
        return None
    workers = [
        worker
        for worker in view.rows(WORKERS).all(cluster_oid)
        # One that stands by and has no place is not missed.
        if (worker.oid in action.workers if action.workers else not worker.standby or worker.node_oid is not None)
    ]
    nodes = nodes_of(view, workers)
    return Asked(action, workers, nodes, questions_about(workers, nodes))


def nodes_of(view: Any, workers: Iterable[Worker]) -> dict[Oid, Node]:
    """Return the nodes that workers stand on."""
    oids = {worker.node_oid for worker in workers if worker.node_oid is not None}
    return {oid: node for oid in oids if (node := view.rows(NODES).find(oid)) is not None}


def read_answer(answer: Mapping[str, Any], workers: Iterable[Worker]) -> dict[Oid, Checked]:
    """Return what an agent says of those workers that it was asked for; what cannot be read counts as silence."""
    found = {}
    for worker in workers:
        try:
            said = from_wire(answer[str(worker.oid)], Checked)
        except (KeyError, msgspec.ValidationError):
            continue
        reason = None if said.reason is None else said.reason[:REASON_LENGTH_MAX]
        found[worker.oid] = msgspec.structs.replace(said, reason=reason)
    return found


def note_check(ledger: Ledger, cluster_oid: Oid, action_oid: Oid, found: Iterable[Finding]) -> None:
    """Take in what a check found: workers are marked, and its action ends or goes on to bring them back."""
    cluster = ledger.rows(CLUSTERS).find(cluster_oid)
    action = ledger.rows(ACTIONS).find(action_oid)
    if cluster is None or action is None or cluster.action_oid != action_oid or action.phase is not Phase.CHECK:
        return
    found = list(found)
    mark(ledger, found)
    if action.kind in (ActionKind.CLUSTER_CHECK, ActionKind.WORKER_CHECK):
        _conclude(ledger, cluster, action, found)
    else:
        _recover(ledger, cluster, action, found)


def mark(ledger: Ledger, found: Iterable[Finding]) -> None:
    """Have the status of workers be what their agents have just said of what still runs."""
    for finding in found:
        worker = ledger.rows(WORKERS).find(finding.worker_oid)
        said = finding.checked
        if not finding.asked or worker is None or said.started is None or said.started != worker.started:
            continue
        if worker.status is WorkerStatus.RUNNING and not said.well:
            failed = ledger.update_worker(worker, status=WorkerStatus.ERROR, reason=said.reason)
            ledger.publish(events.WORKER_FAILED, worker_view(failed))
        elif worker.status is WorkerStatus.ERROR and said.well:
            ledger.update_worker(worker, status=WorkerStatus.RUNNING, reason=None)


def _conclude(ledger: Ledger, cluster: Cluster, action: Action, found: list[Finding]) -> None:
    bad = tuple(
        Failed(worker_oid=each.worker_oid, reason=each.checked.reason) for each in found if not each.checked.well
    )
    outputs = Outputs(done=tuple(each.worker_oid for each in found if each.checked.well), failed=bad)
    reason = f"{len(bad)} of {len(found)} workers are not well; first, {_named(bad[0])}" if bad else None
    conclude(ledger, cluster, action, outputs, reason)


def _recover(ledger: Ledger, cluster: Cluster, action: Action, found: list[Finding]) -> None:
    sick = []
    for finding in found:
        worker = ledger.rows(WORKERS).find(finding.worker_oid)
        if not finding.checked.well and worker is not None and worker.want is Want.RUN:
            sick.append(worker)
    inputs = {**action.inputs, "found": [str(worker.oid) for worker in sick]}
    recover(ledger, cluster, msgspec.structs.replace(action, inputs=inputs), sick)


def _named(failed: Failed) -> str:
    return f"worker {failed.worker_oid}: {failed.reason}"
