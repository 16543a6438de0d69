"""Orders: one worker told to do one thing, which is done at most once."""

import enum
from typing import Annotated, Any, Literal

import msgspec

from controlplane.records.types import Instant, Natural, Oid, Record
from controlplane.records.workers import REASON_LENGTH_MAX

RESULT_BYTES_MAX = 128 * 1024
"""Of what came of one order."""

Reason = Annotated[str, msgspec.Meta(max_length=REASON_LENGTH_MAX)]


class OrderStatus(enum.Enum):
    """Where an order is in its life; the last three are its ends."""

    WAITING = "WAITING"
    """Nobody was told yet."""

    SENT = "SENT"
    """It is written down which run of which agent is told."""

    DONE = "DONE"
    FAILED = "FAILED"
    """It was not begun, or it was tried and did not succeed."""

    UNKNOWN = "UNKNOWN"
    """Its agent was told, and nobody will ever say what came of it. It is not tried again."""


class Order(Record, frozen=True, kw_only=True):
    """One worker that an operation is carried out on."""

    oid: Oid
    action_oid: Oid
    cluster_oid: Oid
    worker_oid: Oid
    begun: Instant
    """When its action was created."""

    status: OrderStatus = OrderStatus.WAITING
    node_oid: Oid | None = None
    boot: Oid | None = None
    """Run of the agent that is told; another run is never told the same."""

    sent: Instant | None = None
    """When the agent was told last."""

    tries: Natural = 0
    reason: str | None = None
    result: dict[str, Any] | None = None
    ended: Instant | None = None


class OrderReport(Record, frozen=True, kw_only=True):
    """What an agent says came of an order."""

    oid: Oid
    status: Literal["DONE", "FAILED", "UNKNOWN"]
    reason: Reason | None = None
    result: dict[str, Any] | None = None


class OperationResult(Record, frozen=True, kw_only=True):
    """What came of an operation on one worker, as callers see it."""

    worker_oid: Oid
    worker_name: str | None
    """None when there is no such worker any more."""

    status: OrderStatus
    reason: str | None
    result: dict[str, Any] | None
    """What the driver says of it: of `exec` the `code` and the `output`."""

    ended: Instant | None
