"""Orders from their beginning to their end: who is told, what agents say, and what that means for their action."""

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import msgspec

from controlplane.core.orders import Act, next_step
from controlplane.records.actions import WORKERS_LISTED_MAX, Action, ActionKind, ActionStatus, Children, Failed
from controlplane.records.clusters import Cluster
from controlplane.records.orders import Order, OrderStatus
from controlplane.records.types import NANOSECONDS, Oid, Seconds, from_wire
from controlplane.records.workers import Command
from controlplane.services.children import add_waiting, move_one
from controlplane.services.ledger import Ledger
from controlplane.store.catalog import ACTIONS, NODES, ORDERS, PENDING_ORDERS, WORKERS

OPERATIONS_KEPT_MAX = 20
"""Of one cluster: what came of older ones, worker by worker, is forgotten."""

NOT_BEGUN = "it was not begun before the action ended"
NO_ANSWER = "its agent has not said what came of it"


def give_orders(ledger: Ledger, action: Action, workers: Iterable[Oid]) -> Action:
    """Write down what is to be done on which workers; passes over the cluster see to it. An order is a child, too."""
    rows = ledger.rows(ORDERS)
    _forget_old(ledger, action.cluster_oid)
    given = {worker_oid: ledger.new_oid() for worker_oid in workers}
    for worker_oid, oid in given.items():
        rows.add(
            Order(
                oid=oid,
                action_oid=action.oid,
                cluster_oid=action.cluster_oid,
                worker_oid=worker_oid,
                begun=action.created,
            )
        )
    return _keep(ledger, action, add_waiting(ledger, action, ActionKind.WORKER_OPERATION, given))


def pass_orders_on(ledger: Ledger, cluster: Cluster, action: Action) -> tuple[Action, Seconds | None]:
    """Have agents told what they can be told now; return the action as it is then, and when to look again."""
    looks: list[int] = []
    under_way = 0
    for order in list(_pending(ledger, action, OrderStatus.SENT)):
        ended = _step(ledger, cluster, action, order, looks)
        under_way += not ended
    room = max(0, int(action.command["parallel"]) - under_way)
    # Those that end without anybody being told make room for others.
    for order in list(_pending(ledger, action, OrderStatus.WAITING)):
        if room <= 0:
            break
        room -= not _step(ledger, cluster, action, order, looks)
    current = ledger.rows(ACTIONS).get(action.oid)
    wait = min(looks, default=None)
    return current, None if wait is None else max(0.0, (wait - ledger.now) / NANOSECONDS)


def is_over(ledger: Ledger, action: Action) -> bool:
    """Say whether nothing is known any more that could still be heard of an operation."""
    return next(ledger.rows(ORDERS).keys_by("pending", action.oid), None) is None


def end_orders(ledger: Ledger, action: Action) -> Action:
    """End what has not ended of an operation, and return its action: nobody is told any more."""
    for order in list(_pending(ledger, action, OrderStatus.WAITING)):
        end_order(ledger, order, OrderStatus.FAILED, NOT_BEGUN)
    for order in list(_pending(ledger, action, OrderStatus.SENT)):
        end_order(ledger, order, OrderStatus.UNKNOWN, NO_ANSWER)
    return ledger.rows(ACTIONS).get(action.oid)


def end_order(
    ledger: Ledger, order: Order, status: OrderStatus, reason: str | None, result: dict[str, Any] | None = None
) -> None:
    """Write down what came of an order, and count it in its action."""
    ended = msgspec.structs.replace(order, status=status, reason=reason, result=result, ended=ledger.now)
    ledger.rows(ORDERS).put(ended, order)
    action = ledger.rows(ACTIONS).find(order.action_oid)
    if action is None:
        return
    succeeded = status is OrderStatus.DONE
    outcome = ActionStatus.SUCCEEDED if succeeded else ActionStatus.FAILED
    children = move_one(ledger, action, order.oid, outcome, None if succeeded else reason)
    outputs, done = action.outputs, action.done
    failed = Failed(worker_oid=order.worker_oid, reason=reason)
    match status:
        case OrderStatus.DONE:
            done += 1
            outputs = msgspec.structs.replace(outputs, done=_listed(outputs.done, order.worker_oid))
        case OrderStatus.FAILED:
            outputs = msgspec.structs.replace(outputs, failed=_listed(outputs.failed, failed))
        case _:
            outputs = msgspec.structs.replace(outputs, unknown=_listed(outputs.unknown, failed))
    ledger.rows(ACTIONS).put(msgspec.structs.replace(action, outputs=outputs, done=done, children=children), action)
    ledger.wake(order.cluster_oid)


def why_not(action: Action, name_of: Callable[[Oid], str]) -> str | None:
    """Return why an operation that is over has not succeeded, or None when it has."""
    missing = action.total - action.done
    if not missing:
        return None
    first = next(iter((*action.outputs.failed, *action.outputs.unknown)), None)
    told = f"; first, worker {name_of(first.worker_oid)}: {first.reason}" if first is not None else ""
    unsure = len(action.outputs.unknown)
    doubt = f", {unsure} of which may have done it" if unsure else ""
    return f"{missing} of {action.total} workers did not do it{doubt}{told}"


def _step(ledger: Ledger, cluster: Cluster, action: Action, order: Order, looks: list[int]) -> bool:
    """Do what is to be done about an order, and say whether it has ended."""
    worker = ledger.rows(WORKERS).find(order.worker_oid)
    standing = None if worker is None else worker.node_oid
    node_oid = order.node_oid if order.status is OrderStatus.SENT else standing
    node = None if node_oid is None else ledger.rows(NODES).find(node_oid)
    step = next_step(order, worker, node, cluster.grace_period, ledger.now)
    match step.act:
        case Act.FAIL:
            end_order(ledger, order, OrderStatus.FAILED, step.reason)
        case Act.GIVE_UP:
            end_order(ledger, order, OrderStatus.UNKNOWN, step.reason)
        case Act.WAIT:
            if step.look_again_at is not None:
                looks.append(step.look_again_at)
        case Act.TELL if node is not None and node.boot is not None:
            told = msgspec.structs.replace(
                order,
                status=OrderStatus.SENT,
                node_oid=node.oid,
                boot=node.boot,
                sent=ledger.now,
                tries=order.tries + 1,
            )
            ledger.rows(ORDERS).put(told, order)
            if order.status is OrderStatus.WAITING:
                current = ledger.rows(ACTIONS).get(action.oid)
                _keep(ledger, current, move_one(ledger, current, order.oid, ActionStatus.RUNNING, None))
            ledger.tell(node.oid, order.oid, _command(action, told))
            again = next_step(told, worker, node, cluster.grace_period, ledger.now)
            if again.look_again_at is not None:
                looks.append(again.look_again_at)
    return step.act in (Act.FAIL, Act.GIVE_UP)


def _keep(ledger: Ledger, action: Action, children: Children | None) -> Action:
    if children == action.children:
        return action
    kept: Action = ledger.rows(ACTIONS).put(msgspec.structs.replace(action, children=children), action)
    return kept


def _command(action: Action, order: Order) -> Command:
    return from_wire(
        {
            "worker_oid": str(order.worker_oid),
            "operation": action.command["operation"],
            "parameters": action.command["parameters"],
            "boot": str(order.boot),
        },
        Command,
    )


def _pending(ledger: Ledger, action: Action, status: OrderStatus) -> Iterable[Order]:
    found: Iterable[Order] = ledger.rows(ORDERS).all_by("pending", action.oid, PENDING_ORDERS[status])
    return found


def _listed(those: tuple[Any, ...], another: Any) -> tuple[Any, ...]:
    return (*those, another)[:WORKERS_LISTED_MAX]


def _forget_old(ledger: Ledger, cluster_oid: Oid) -> None:
    """Keep what came of the newest operations of a cluster alone."""
    rows = ledger.rows(ORDERS)
    begun: dict[int, list[Order]] = {}
    for order in rows.all(cluster_oid):
        begun.setdefault(order.begun, []).append(order)
    for instant in islice(begun, max(0, len(begun) - OPERATIONS_KEPT_MAX + 1)):
        for order in begun[instant]:
            rows.remove(order)
