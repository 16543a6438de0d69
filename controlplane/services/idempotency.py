"""Calls that may be repeated: the same key by the same principal gets the outcome of the first call again.

The outcome is stored in the transaction of the change: whatever a crash leaves behind, both are there or neither is.
A result is remembered, and so is an error that the procedure itself ended with: whoever repeats a call learns what
became of it, not what would become of it now. What says nothing of the call is not remembered, and the key stays
unused: no right, arguments that cannot be read, an object that is not there, a limit, no room, a defect of ours.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import cbor2
import msgspec

from controlplane.errors import (
    ControlPlaneError,
    IdempotencyConflict,
    InvalidArgument,
    LimitReached,
    Overloaded,
    Problem,
    StoreFull,
)
from controlplane.records.limits import Limits
from controlplane.records.outcomes import IDEMPOTENCY_KEY, IdempotencyKey, Outcome, Refusal
from controlplane.records.principals import Caller
from controlplane.records.types import NANOSECONDS, Instant
from controlplane.services.procedures import Procedure
from controlplane.store.catalog import OUTCOMES
from controlplane.store.database import Change

FORGOTTEN_PER_CALL_MAX = 4
"""More than the one that a call adds, so that what is out of date goes even while calls keep coming."""

SHOWN_LENGTH = 40
NOT_REMEMBERED = (LimitReached, Overloaded, StoreFull)


class Key:
    """An idempotency key as it came with one call."""

    __slots__ = ("_call", "_declared", "_key", "_principal", "_shown")

    def __init__(self, given: Any, caller: Caller, declared: Procedure, bound: Mapping[str, Any]) -> None:
        """Read a key; raises `InvalidArgument`."""
        path = f"$.{IDEMPOTENCY_KEY}"
        try:
            text = msgspec.convert(given, IdempotencyKey)
            encoded = text.encode()
        except msgspec.ValidationError as problem:
            raise declared.refuse([Problem(path, str(problem)[:1].lower() + str(problem)[1:])]) from None
        except UnicodeEncodeError:
            raise declared.refuse([Problem(path, "is no text that can be stored")]) from None
        try:
            arguments = cbor2.dumps([declared.uri, dict(bound)], canonical=True)
        except (cbor2.CBOREncodeError, ValueError, TypeError, RecursionError, OverflowError) as problem:
            raise InvalidArgument(
                f"the arguments cannot be compared with those of a repeated call: {type(problem).__name__}",
                problems=[Problem(path, "cannot be used with these arguments")],
                next_step="send plain values, or no idempotency key",
            ) from problem
        self._declared = declared
        self._principal = _digest(caller.authid.encode("utf-8", "surrogatepass"))
        self._key = _digest(encoded)
        self._call = _digest(arguments)
        self._shown = text if len(text) <= SHOWN_LENGTH else text[:SHOWN_LENGTH] + "..."

    def recall(self, change: Change, now: Instant, limits: Limits) -> Outcome | None:
        """Return what became of the first call, None when this is it; raises `IdempotencyConflict`."""
        outcome: Outcome | None = change.rows(OUTCOMES).find(self._principal, self._key)
        if outcome is None or outcome.time < now - limits.idempotency_keys_kept_s * NANOSECONDS:
            return None
        if outcome.call != self._call:
            other = outcome.procedure != self._declared.uri
            raise IdempotencyConflict(
                f"the idempotency key {self._shown!r} was used for "
                + (f"a call of {outcome.procedure.rpartition('.')[2]}" if other else "other arguments"),
                subject={"type": "idempotency key", "key": self._shown, "procedure": outcome.procedure},
                problems=[Problem(f"$.{IDEMPOTENCY_KEY}", "was used for another call")],
                next_step="use a new key for every call that is no repetition",
            )
        return outcome

    def keep(self, change: Change, now: Instant, limits: Limits, outcome: "Result | ControlPlaneError") -> None:
        """Remember what became of a call, and forget what is older than it has to be."""
        rows = change.rows(OUTCOMES)
        rows.put(
            Outcome(
                principal=self._principal,
                key=self._key,
                call=self._call,
                procedure=self._declared.uri,
                time=now,
                result=outcome.wire if isinstance(outcome, Result) else None,
                refusal=None if isinstance(outcome, Result) else _refusal(outcome),
            )
        )
        kept_since = now - limits.idempotency_keys_kept_s * NANOSECONDS
        for _ in range(FORGOTTEN_PER_CALL_MAX):
            oldest = next(rows.all_by("time"), None)
            if oldest is None or oldest.time >= kept_since:
                break
            rows.remove(oldest)
        for _ in range(FORGOTTEN_PER_CALL_MAX):
            if rows.count(self._principal) <= limits.idempotency_keys_max:
                break
            rows.remove(next(rows.all_by("principal", self._principal)))


class Result(msgspec.Struct, frozen=True):
    """A reply, in its wire form."""

    wire: Any


def outcome_of(stored: Outcome) -> Any:
    """Return the reply of the first call again, or raise the error that it ended with."""
    if stored.refusal is None:
        return stored.result
    said = stored.refusal
    kind = ControlPlaneError.known.get(said.uri, ControlPlaneError)
    error = kind(
        said.message,
        subject=said.subject,
        problems=[Problem(*problem) for problem in said.problems],
        next_step=said.next_step,
    )
    error.uri = said.uri
    raise error


def is_outcome(problem: ControlPlaneError) -> bool:
    """Say whether an error of a procedure is what became of the call, and not what kept it from happening."""
    return not isinstance(problem, NOT_REMEMBERED)


def _refusal(problem: ControlPlaneError) -> Refusal:
    return Refusal(
        uri=problem.uri,
        message=problem.message,
        subject=None if problem.subject is None else dict(problem.subject),
        problems=tuple((p.path, p.message) for p in problem.problems),
        next_step=problem.next_step,
    )


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=32).digest()
