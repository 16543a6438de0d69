"""What became of a call with an idempotency key, so that the same call gets the same answer again."""

from typing import Annotated, Any

import msgspec

from controlplane.records.types import Instant, Record

IDEMPOTENCY_KEY = "idempotency_key"
"""The keyword under which every procedure that writes takes one."""

IDEMPOTENCY_KEY_LENGTH_MAX = 255

IdempotencyKey = Annotated[str, msgspec.Meta(min_length=1, max_length=IDEMPOTENCY_KEY_LENGTH_MAX)]
"""Chosen by the caller, unique among its calls: a random UUID, say."""


class Refusal(Record, frozen=True, kw_only=True):
    """An error that a call ended with, in the form in which it can be raised again."""

    uri: str
    message: str
    subject: dict[str, Any] | None
    problems: tuple[tuple[str, str], ...]
    next_step: str | None


class Outcome(Record, frozen=True, kw_only=True):
    """The result of a call, or the error that it ended with."""

    principal: bytes
    """Digest of who called."""

    key: bytes
    """Digest of the idempotency key."""

    call: bytes
    """Digest of the procedure and its arguments."""

    procedure: str
    time: Instant
    result: Any = None
    refusal: Refusal | None = None
