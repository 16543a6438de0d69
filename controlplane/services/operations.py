"""What can be done to workers that run, and seen of what they write: passed on to the agents of their nodes."""

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

import msgspec

from controlplane.core.access import allowed, grants
from controlplane.core.profile_checks import read_properties
from controlplane.core.worker_types import worker_type
from controlplane.errors import (
    ActionConflict,
    Ambiguous,
    ControlPlaneError,
    InvalidArgument,
    NoAnswer,
    NoSuchObject,
    NotAttached,
    NotAuthorized,
    NotOffered,
    Problem,
    WorkerFailed,
)
from controlplane.records.actions import Action, ActionKind, ActionView
from controlplane.records.clusters import Cluster, ClusterType
from controlplane.records.definitions import Spec
from controlplane.records.operations import OPERATIONS, Execute
from controlplane.records.orders import OperationResult, Order, OrderStatus
from controlplane.records.types import Line, Oid
from controlplane.records.workers import WorkerLogs
from controlplane.services.acting import begin, require_action_of
from controlplane.services.all_workers import list_workers
from controlplane.services.arguments import AnyCluster, AnyWorker, ClusterOrPlace, ExistingAction
from controlplane.services.identity import granted_on
from controlplane.services.lists import Limit, Values, select, unfit
from controlplane.services.ordering import give_orders
from controlplane.services.pipeline import Call, WritingCall
from controlplane.services.procedures import Ask, procedure
from controlplane.services.views import action_view
from controlplane.store.catalog import CLUSTERS, NODES, ORDERS, REVISIONS

CLUSTER = "controlplane.cluster."
WORKER = "controlplane.worker."
PARALLEL_DEFAULT = 10
WORKERS_MAX = 10_000
"""On which one operation is carried out."""

LOGS_WITHIN_S = 10.0
LINES_DEFAULT = 100
LENGTH_DEFAULT = 65_536

SECRET_OPERATIONS = frozenset({Execute})
"""By their parameters: whoever may do these sees and does whatever the worker can, and what they say is shown to
nobody else."""

Parallel = Annotated[int, msgspec.Meta(ge=1, le=1_000)]
Lines = Annotated[int, msgspec.Meta(ge=1, le=100_000)]
POSITION_LENGTH_MAX = 128
Position = Annotated[str, msgspec.Meta(max_length=POSITION_LENGTH_MAX)]
Length = Annotated[int, msgspec.Meta(ge=1, le=1_048_576)]

FIELDS: Mapping[str, Callable[[OperationResult], Any]] = {
    "worker_oid": lambda r: r.worker_oid,
    "worker_name": lambda r: r.worker_name,
    "status": lambda r: r.status,
    "ended": lambda r: r.ended,
}
VALUES: Values = {"status": OrderStatus}


@procedure(
    CLUSTER + "perform_cluster_operation",
    needs="operate",
    writes=True,
    raises=(NoSuchObject, Ambiguous, ActionConflict, NotOffered, NotAuthorized),
)
def perform_cluster_operation(
    call: WritingCall,
    cluster: AnyCluster,
    operation: Line,
    parameters: dict[str, Any] | None = None,
    filters: dict[str, Any] | None = None,
    parallel: Parallel = PARALLEL_DEFAULT,
) -> ActionView:
    """Carry out an operation on the workers of a cluster, or on those that `filters` fit, so many at a time.

    `get_type` tells which operations workers know, and their parameters. Each worker does it at most once: one of which
    nobody can say whether it did is listed as `unknown`, and not tried again. `exec` needs the right to manage.
    """
    oids = [view.oid for view in list_workers(call, cluster, filters) if not view.leaving]
    if not oids:
        raise unfit("$.filters", "fit no worker of the cluster", "list its workers, and name what they have")
    if len(oids) > WORKERS_MAX:
        raise unfit("$.filters", f"fit {len(oids)} workers; {WORKERS_MAX} are admitted", "make them narrower")
    return _perform(call, cluster, ActionKind.CLUSTER_OPERATION, oids, operation, parameters, parallel, filters)


@procedure(
    WORKER + "perform_worker_operation",
    needs="operate",
    writes=True,
    raises=(NoSuchObject, Ambiguous, ActionConflict, NotOffered, NotAuthorized),
)
def perform_worker_operation(
    call: WritingCall,
    worker: AnyWorker,
    operation: Line,
    parameters: dict[str, Any] | None = None,
) -> ActionView:
    """Carry out an operation on one worker, of a cluster or alone; at most once, as on a whole cluster."""
    cluster: Cluster = call.rows(CLUSTERS).get(worker.cluster_oid)
    return _perform(call, cluster, ActionKind.WORKER_OPERATION, [worker.oid], operation, parameters, 1, None)


@procedure(CLUSTER + "list_operation_results", needs="manage", raises=(NoSuchObject, Ambiguous))
def list_operation_results(
    call: Call,
    cluster: ClusterOrPlace,
    action_oid: ExistingAction,
    filters: dict[str, Any] | None = None,
    sort: str | None = None,
    limit: Limit | None = None,
    marker: str | None = None,
) -> list[OperationResult]:
    """Return what came of an operation worker by worker, in order of their oids unless `sort` says otherwise.

    What commands said is in it. The newest twenty operations of a cluster are remembered.
    """
    action = action_oid
    require_action_of(cluster, action)
    if action.parent_oid is not None:
        raise unfit("$.action_oid", f"is a child of action {action.parent_oid}", "name its parent")
    return select(
        _results(call, cluster, action),
        filters=filters,
        sort=sort,
        limit=limit,
        marker=marker,
        fields=FIELDS,
        values=VALUES,
        oid=lambda each: str(each.worker_oid),
    )


@procedure(
    WORKER + "get_worker_logs",
    needs="manage",
    raises=(NoSuchObject, Ambiguous, NotAttached, NotOffered, NoAnswer, WorkerFailed),
)
def get_worker_logs(
    call: Call,
    worker: AnyWorker,
    lines: Lines = LINES_DEFAULT,
    length: Length = LENGTH_DEFAULT,
    after: Position | None = None,
) -> WorkerLogs:
    """Return the last lines that a worker has written, at most `length` bytes of them.

    With the `next` of another answer as `after` it returns what was written then, the oldest first.
    """
    node = None if worker.node_oid is None else call.rows(NODES).find(worker.node_oid)
    subject = {"type": "worker", "oid": str(worker.oid)}
    if node is None:
        raise WorkerFailed("the worker has no place", subject=subject, next_step="see why with get_worker")
    if not node.online:
        raise NotAttached(f"node {node.authid} is offline", subject=subject, next_step="try again when it is online")

    def complete(answers: Mapping[Oid, Mapping[str, Any]]) -> WorkerLogs:
        answer = answers.get(node.oid)
        if answer is None:
            raise NoAnswer(f"node {node.authid} did not answer", subject=subject, next_step="try again")
        if "error" in answer:
            raise _told(answer, subject)
        position = answer.get("next")
        return WorkerLogs(
            worker_oid=worker.oid,
            node_oid=node.oid,
            text=str(answer.get("text", ""))[-length:],
            next=position[:POSITION_LENGTH_MAX] if isinstance(position, str) else None,
            gap=answer.get("gap") is True,
        )

    look = {"worker_oid": str(worker.oid), "lines": lines, "length": length, "after": after}
    return Ask({node.oid: {"look": look}}, LOGS_WITHIN_S, complete)  # type: ignore[return-value]


def require_operation(call: Call, cluster: Cluster, operation: str | None, parameters: dict[str, Any] | None) -> None:
    """Refuse an operation that could never be performed, or not by this caller: somebody is to have it done later.

    Raises what performing it would.
    """
    secret, _ = _read(call, cluster, operation or "", parameters or {})
    if secret:
        _require_manage(call, cluster)


def _perform(
    call: WritingCall,
    cluster: Cluster,
    kind: ActionKind,
    oids: list[Oid],
    operation: str,
    parameters: dict[str, Any] | None,
    parallel: int,
    filters: dict[str, Any] | None,
) -> ActionView:
    secret, read = _read(call, cluster, operation, parameters or {})
    if secret:
        _require_manage(call, cluster)
    inputs: dict[str, Any] = {"operation": operation, "parallel": parallel}
    if not secret:
        inputs["parameters"] = read
    if filters:
        inputs["filters"] = filters
    command = {"operation": operation, "parameters": read, "parallel": parallel}
    action = begin(
        call.ledger,
        cluster,
        kind,
        call.caller,
        inputs,
        worker=oids[0] if kind is ActionKind.WORKER_OPERATION else None,
        command=command,
        total=len(oids),
        rows=call.rows,
    )
    return action_view(give_orders(call.ledger, action, oids))


def _read(call: Call, cluster: Cluster, operation: str, parameters: dict[str, Any]) -> tuple[bool, dict[str, Any]]:
    """Return whether an operation is secret, and its parameters with their defaults; raises what is wrong with them."""
    known = OPERATIONS.get(_driver(call, cluster), {})
    subject = {"type": "cluster", "oid": str(cluster.oid), "name": cluster.name}
    if not known:
        raise NotOffered(
            f"workers of cluster {cluster.name} know no operations",
            subject=subject,
            next_step="look at them through their Crossbar.io nodes",
        )
    if operation not in known:
        message = f"has to be one of {', '.join(known)}"
        raise InvalidArgument(
            f"operation {message}", subject=subject, problems=[Problem("$.operation", message)], next_step="use one"
        )
    kind = known[operation].parameters
    read, problems = read_properties(parameters, kind, "$.parameters")
    if read is None:
        raise InvalidArgument(
            f"{operation}: {problems[0].path}: {problems[0].message}",
            subject=subject,
            problems=problems,
            next_step="mend what is listed and call again",
        )
    return kind in SECRET_OPERATIONS, msgspec.to_builtins(read, str_keys=True)


def _driver(call: Call, cluster: Cluster) -> str:
    if cluster.type is ClusterType.ROUTER:
        return "router"
    revision = call.rows(REVISIONS).get(cluster.oid, cluster.revision)
    return worker_type(msgspec.convert(revision.config, Spec)).driver


def _require_manage(call: Call, cluster: Cluster) -> None:
    if allowed(call.caller.authrole, "manage") or grants(granted_on(call.view, call.identity.oid, cluster), "manage"):
        return
    raise NotAuthorized(
        f"{call.caller.authid} may not run commands in workers of cluster {cluster.name}",
        subject={"type": "cluster", "oid": str(cluster.oid), "name": cluster.name},
        next_step="ask an administrator for the right 'manage'",
    )


def _results(call: Call, cluster: Cluster, action: Action) -> Iterable[OperationResult]:
    names = {view.oid: view.name for view in list_workers(call, cluster)}
    orders: Iterable[Order] = call.rows(ORDERS).all(cluster.oid, action.created, action.oid)
    for order in orders:
        yield OperationResult(
            worker_oid=order.worker_oid,
            worker_name=names.get(order.worker_oid),
            status=order.status,
            reason=order.reason,
            result=order.result,
            ended=order.ended,
        )


def _told(answer: Mapping[str, Any], subject: Mapping[str, Any]) -> ControlPlaneError:
    """Return what an agent said went wrong, as an error of ours."""
    kind = ControlPlaneError.known.get(str(answer["error"]), WorkerFailed)
    return kind(str(answer.get("message", "")), subject=dict(subject), next_step="see how the worker is, and try again")
