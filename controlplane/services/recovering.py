"""Bringing workers back that are not well: in their places, or as new ones elsewhere."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import msgspec

from controlplane.core.profile_checks import read_properties
from controlplane.core.removal import SICK
from controlplane.errors import ActionConflict, Ambiguous, InvalidArgument, NoSuchObject, Problem
from controlplane.records.actions import WORKERS_LISTED_MAX, ActionKind, ActionView, Phase
from controlplane.records.clusters import Cluster
from controlplane.records.recoveries import CHAIN_LENGTH_MAX, Chain, Operation, OperationParameters
from controlplane.records.types import Line, Oid
from controlplane.records.workers import Worker
from controlplane.services.acting import begin
from controlplane.services.arguments import AnyCluster, AnyWorker
from controlplane.services.checking import require_wanted
from controlplane.services.pipeline import WritingCall
from controlplane.services.procedures import procedure
from controlplane.services.recoveries import recover
from controlplane.services.views import action_view
from controlplane.store.catalog import CLUSTERS, WORKERS

CLUSTER = "controlplane.cluster."
WORKER = "controlplane.worker."

_RECREATE = (Operation.RECREATE,)
Operations = Line | Annotated[list[Line], msgspec.Meta(min_length=1, max_length=CHAIN_LENGTH_MAX)]


@procedure(
    CLUSTER + "recover_cluster",
    needs="operate",
    writes=True,
    raises=(NoSuchObject, Ambiguous, ActionConflict),
)
def recover_cluster(
    call: WritingCall,
    cluster: AnyCluster,
    operation: Operations | None = None,
    operation_params: dict[str, Any] | None = None,
    check: bool = False,
) -> ActionView:
    """Bring every worker of a cluster back that has failed, cannot be reached or has no place; healthy ones stay.

    The `operation` is `REBOOT`, `REBUILD` or `RECREATE`, or a list of them to try one after the other; without one
    workers are recreated. Protected ones never are: they are tried again where they are. With `check` agents look first
    which workers are not well.
    """
    chain = read_chain(operation, operation_params)
    inputs = _inputs(chain, check)
    if check:
        return _begin(call, cluster, ActionKind.CLUSTER_RECOVER, inputs, chain, check=True)
    sick = [worker for worker in call.rows(WORKERS).all(cluster.oid) if worker.status in SICK and not worker.standby]
    if chain.operations == _RECREATE:
        sick = [worker for worker in sick if worker.workergroup_oid is not None and not worker.protected]
    inputs["workers"] = [str(worker.oid) for worker in sick[:WORKERS_LISTED_MAX]]
    return _begin(call, cluster, ActionKind.CLUSTER_RECOVER, inputs, chain, sick)


@procedure(
    WORKER + "recover_worker",
    needs="operate",
    writes=True,
    raises=(NoSuchObject, Ambiguous, ActionConflict),
)
def recover_worker(
    call: WritingCall,
    worker: AnyWorker,
    operation: Operations | None = None,
    operation_params: dict[str, Any] | None = None,
    check: bool = False,
) -> ActionView:
    """Bring one worker back, whatever it does now; with `check` only when its agent finds it not well."""
    chain = read_chain(operation, operation_params)
    require_wanted(worker)
    cluster = call.rows(CLUSTERS).get(worker.cluster_oid)
    inputs = _inputs(chain, check)
    return _begin(call, cluster, ActionKind.WORKER_RECOVER, inputs, chain, [worker], check=check, worker=worker.oid)


def read_chain(operation: str | Iterable[str] | None, params: Mapping[str, Any] | None) -> Chain:
    """Return what is to be done about workers, as a caller says it; raises `InvalidArgument` with all problems."""
    names = [operation] if isinstance(operation, str) else list(operation or ())
    problems = [
        Problem("$.operation", f"{name[:40]!r} is none of {', '.join(each.value for each in Operation)}")
        for name in names
        if name.upper() not in Operation.__members__
    ]
    found, wrong = read_properties(dict(params or {}), OperationParameters, "$.operation_params")
    problems += wrong
    if problems or found is None:
        raise InvalidArgument(
            f"{problems[0].path.removeprefix('$.')}: {problems[0].message}",
            problems=problems,
            next_step="mend what is listed and call again",
        )
    operations = tuple(Operation(name.upper()) for name in names) or _RECREATE
    return Chain(operations=operations, patience=found.timeout, hard=found.type == "HARD")


def _begin(
    call: WritingCall,
    cluster: Cluster,
    kind: ActionKind,
    inputs: dict[str, Any],
    chain: Chain,
    workers: list[Worker] | None = None,
    check: bool = False,
    worker: Oid | None = None,
) -> ActionView:
    named = [worker.oid for worker in workers or ()]
    about = {"chain": chain, **({"phase": Phase.CHECK} if check else {})}
    action = begin(
        call.ledger, cluster, kind, call.caller, inputs, rows=call.rows, worker=worker, workers=named, about=about
    )
    if not check:
        action = recover(call.ledger, call.rows(CLUSTERS).get(cluster.oid), action, workers or ())
    return action_view(action)


def _inputs(chain: Chain, check: bool) -> dict[str, Any]:
    return {
        "operation": [each.value for each in chain.operations],
        "timeout": chain.patience,
        "type": "HARD" if chain.hard else "SOFT",
        "check": check,
    }
