"""Workers that go: at once, or when what the deletion policy of their cluster has them wait for is over."""

from collections.abc import Callable, Iterable

import msgspec

from controlplane.core.farewells import SERVING, completed, farewell_of, untold, waited, with_waited
from controlplane.core.generic_clusters import worker_name
from controlplane.records import events
from controlplane.records.actions import Action, Outputs
from controlplane.records.clusters import Cluster
from controlplane.records.lifecycle import Farewell, LifecycleHook, WaitEnd
from controlplane.records.types import Instant, Oid
from controlplane.records.workers import Want, Worker
from controlplane.services.bound import bound_policies
from controlplane.services.ledger import Ledger
from controlplane.services.sizes import dismiss
from controlplane.store.catalog import CLUSTERS, GROUPS, WORKERS
from controlplane.store.database import View


def see_off(ledger: Ledger, cluster: Cluster, workers: Iterable[Worker]) -> tuple[Oid, ...]:
    """Have workers stopped and forgotten, each when nothing is waited for any more; return which."""
    rules = [each.rule for each in bound_policies(ledger.change, cluster.oid)]
    gone = []
    for worker in workers:
        farewell = farewell_of(rules, ledger.new_oid(), ledger.now) if worker.status in SERVING else None
        if is_leaving(worker):
            pass
        elif farewell is None:
            dismiss(ledger, [worker])
        else:
            changed = ledger.update_worker(worker, farewell=farewell)
            ledger.publish(events.WORKER_LEAVING, hook_of(ledger.change, changed, farewell))
            if farewell.url is not None:
                ledger.call_hook(worker.oid)
        gone.append(worker.oid)
    return tuple(gone)


def is_leaving(worker: Worker) -> bool:
    """Say whether a worker is on its way out, also when it waits for something first."""
    return worker.want is Want.REMOVE or worker.farewell is not None


def complete(ledger: Ledger, worker: Worker) -> Instant:
    """Have a worker that waits go after its grace period, and return when that is."""
    assert worker.farewell is not None
    rest = completed(worker.farewell, ledger.now)
    ledger.update_worker(worker, farewell=rest)
    ledger.wake(worker.cluster_oid)
    return rest.until


def note_told(ledger: Ledger, worker_oid: Oid, token: Oid) -> None:
    """Take note that the webhook of a worker was called."""
    now = ledger.now
    _change(ledger, worker_oid, token, lambda farewell: msgspec.structs.replace(farewell, told=now, problem=None))


def note_untold(ledger: Ledger, worker_oid: Oid, token: Oid, problem: str) -> None:
    """Take note that the webhook of a worker was not answered well."""
    _change(ledger, worker_oid, token, lambda farewell: untold(farewell, problem))


def _change(ledger: Ledger, worker_oid: Oid, token: Oid, change: Callable[[Farewell], Farewell]) -> None:
    worker = ledger.rows(WORKERS).find(worker_oid)
    if worker is not None and worker.farewell is not None and worker.farewell.token == token:
        changed = change(worker.farewell)
        if changed != worker.farewell:
            ledger.update_worker(worker, farewell=changed)
            ledger.wake(worker.cluster_oid)


def cut_short(view: View, action: Action) -> Outputs:
    """Return the outputs of an action that ends, with the workers that nobody said of yet that they may go."""
    workers = (view.rows(WORKERS).find(oid) for oid in action.leaving)
    left = ((worker, worker.farewell) for worker in workers if worker is not None)
    found = [waited(worker, farewell, WaitEnd.CUT_SHORT) for worker, farewell in left if farewell is not None]
    return with_waited(action.outputs, found)


def hook_of(view: View, worker: Worker, farewell: Farewell) -> LifecycleHook:
    """Return what others are told of a worker that is to go."""
    cluster = view.rows(CLUSTERS).get(worker.cluster_oid)
    group = None if worker.workergroup_oid is None else view.rows(GROUPS).find(worker.workergroup_oid)
    return LifecycleHook(
        lifecycle_action_token=farewell.token,
        worker_oid=worker.oid,
        worker_name=worker_name(cluster, worker, None if group is None else group.name),
        node_oid=worker.node_oid,
        cluster_oid=cluster.oid,
        cluster_name=cluster.name,
        until=farewell.until,
        waiting=farewell.waiting,
    )
