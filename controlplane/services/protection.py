"""Protecting single workers, and taking it back; `protected` says what follows from it."""

from controlplane.errors import ActionConflict, Ambiguous, NoSuchObject
from controlplane.records import events
from controlplane.records.workers import AnyWorkerView, Want, Worker
from controlplane.services.all_workers import WORKER, view_any_worker
from controlplane.services.arguments import AnyWorker
from controlplane.services.lists import unfit
from controlplane.services.pipeline import WritingCall
from controlplane.services.procedures import procedure
from controlplane.services.views import worker_view


@procedure(WORKER + "protect_worker", needs="operate", writes=True, raises=(NoSuchObject, Ambiguous, ActionConflict))
def protect_worker(call: WritingCall, worker: AnyWorker) -> AnyWorkerView:
    """Have a worker stay: it is never chosen when its cluster shrinks, and calls that would replace it are refused.

    It is still placed elsewhere when its node is lost, restarted when it fails, given another profile with the others,
    and stopped with its cluster.
    """
    if worker.want is Want.REMOVE:
        raise ActionConflict(
            f"worker {worker.oid} is on its way out",
            subject={"type": "worker", "oid": str(worker.oid)},
            next_step="protect another one",
        )
    if worker.standby:
        raise unfit("$.worker", "stands by, where nobody chooses it to go", "protect it when its cluster has taken it")
    return _set(call, worker, protected=True)


@procedure(WORKER + "unprotect_worker", needs="operate", writes=True, raises=(NoSuchObject, Ambiguous))
def unprotect_worker(call: WritingCall, worker: AnyWorker) -> AnyWorkerView:
    """Have a worker be one like all others again."""
    return _set(call, worker, protected=False)


def _set(call: WritingCall, worker: Worker, *, protected: bool) -> AnyWorkerView:
    if worker.protected is not protected:
        worker = call.ledger.update_worker(worker, protected=protected)
        call.publish(events.WORKER_UPDATED, worker_view(worker))
        call.ledger.wake(worker.cluster_oid)
    return view_any_worker(call, worker)
