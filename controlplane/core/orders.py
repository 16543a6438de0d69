"""What is to be done about an order: a pure function from the order, its worker and its node.

An order is carried out at most once. Which run of which agent is told is written down before it is told, and that run
knows what it was told: it can be told again when it stays silent, and does nothing twice. Another run of the agent does
not know; then nobody does, and the order ends as unknown.
"""

import enum
from typing import NamedTuple

from controlplane.core.placement import is_lost, lost_at
from controlplane.records.nodes import Node
from controlplane.records.orders import Order, OrderStatus
from controlplane.records.types import NANOSECONDS, Instant, Seconds
from controlplane.records.workers import Want, Worker, WorkerStatus

AGAIN_FIRST_S = 2.0
AGAIN_MAX_S = 60.0
"""A line that stays carries everything: an agent that is asked again has most likely not finished yet."""

DOUBLINGS_MAX = 10


class Act(enum.Enum):
    """What is done about an order."""

    WAIT = enum.auto()
    TELL = enum.auto()
    FAIL = enum.auto()
    """End it as not begun."""

    GIVE_UP = enum.auto()
    """End it as unknown."""


class Step(NamedTuple):
    """What is done about an order now, and when to look at it again."""

    act: Act
    reason: str | None = None
    look_again_at: Instant | None = None


def next_step(order: Order, worker: Worker | None, node: Node | None, grace_period: Seconds, now: Instant) -> Step:
    """Return what to do about an order; `node` is where the worker stands, or where it was told when it was."""
    if order.status is OrderStatus.SENT:
        return _after_telling(order, node, grace_period, now)
    if worker is None or worker.want is not Want.RUN:
        return Step(Act.FAIL, "it is on its way out")
    if worker.status is not WorkerStatus.RUNNING:
        return Step(Act.FAIL, f"it does not run: it is {worker.status.value}" + _because(worker.reason))
    if node is None or not node.online or node.boot is None:
        return Step(Act.FAIL, "its node is silent")
    return Step(Act.TELL)


def _after_telling(order: Order, node: Node | None, grace_period: Seconds, now: Instant) -> Step:
    if node is None or node.boot != order.boot:
        return Step(Act.GIVE_UP, "its agent was started anew before it said what came of it")
    if is_lost(node, grace_period, now):
        return Step(Act.GIVE_UP, "its node was lost before it said what came of it")
    if not node.online:
        return Step(Act.WAIT, look_again_at=lost_at(node, grace_period))
    again_at = (order.sent or now) + int(pause_after(order.tries) * NANOSECONDS)
    return Step(Act.TELL) if now >= again_at else Step(Act.WAIT, look_again_at=again_at)


def pause_after(tries: int) -> Seconds:
    """Return how long an agent that was told so often is left alone."""
    return min(AGAIN_MAX_S, AGAIN_FIRST_S * 2.0 ** min(max(0, tries - 1), DOUBLINGS_MAX))


def _because(reason: str | None) -> str:
    return f" ({reason})" if reason else ""
