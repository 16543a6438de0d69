"""Writing the audit: a change that is done in the transaction of the change, a refused one as far as there is room.

Refused ones cost whoever is refused nothing, so they are counted: so many at once, and then one now and then, of each
caller and of all together. What is left out is told by number in the next one that is written.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from controlplane.core.audit_chain import BEGINNING, digest_of
from controlplane.core.masking import masked
from controlplane.errors import ControlPlaneError
from controlplane.records.audit import AuditChange, AuditEntry, AuditLink, Outcome
from controlplane.records.principals import Caller
from controlplane.records.protocol import ROTATE_KEY
from controlplane.records.types import Instant, Record, Seconds
from controlplane.services.procedures import Procedure
from controlplane.store.catalog import (
    AUDIT,
    BINDINGS,
    CLUSTERS,
    DEFINITIONS,
    GRANTS,
    GROUPS,
    INVITATIONS,
    MEMBERSHIPS,
    NODES,
    PRINCIPALS,
    RECEIVERS,
    REVISIONS,
    TEAM_MEMBERS,
    TEAMS,
)
from controlplane.store.database import View
from controlplane.store.tables import Table, Written, key_of

AUDITED_TABLES = frozenset(
    {
        PRINCIPALS,
        TEAMS,
        TEAM_MEMBERS,
        GRANTS,
        INVITATIONS,
        NODES,
        CLUSTERS,
        REVISIONS,
        GROUPS,
        MEMBERSHIPS,
        DEFINITIONS,
        BINDINGS,
        RECEIVERS,
    }
)
"""What is wanted, and who may do what; what is derived from it, and what agents report, is told by events."""

BODY_BYTES_MAX = 32 * 1024
"""Of one entry; the contents of a larger one are left out, and their length and digest are kept."""

CALLER_BURST = 20
CALLER_PAUSE_S = 60.0
ALL_BURST = 500
ALL_PAUSE_S = 10.0
CALLERS_REMEMBERED_MAX = 1_000

_encode = msgspec.json.Encoder(order="deterministic").encode


def is_audited(declared: Procedure) -> bool:
    """Say whether a procedure's calls are written down: all that change something but what agents report."""
    return declared.writes and (declared.needs != "agent" or declared.uri == ROTATE_KEY)


def append(view: View, kept: int, entry: Callable[[int], AuditEntry]) -> None:
    """Write an entry after the last one, and forget the oldest when there are too many."""
    rows = view.rows(AUDIT)
    last: AuditLink | None = None
    for key in rows.scan_keys(reverse=True):
        last = rows.get(key)
        break
    seq, previous = (1, BEGINNING) if last is None else (last.seq + 1, last.digest)
    said = entry(seq)
    body = _encode(said)
    if len(body) > BODY_BYTES_MAX:
        body = _encode(_shortened(said))
    rows.put(AuditLink(seq=seq, previous=previous, digest=digest_of(previous, body), body=body))
    if seq > kept:
        rows.remove_keys([key_of(seq - kept)])


def describe_changes(written: Iterable[Written]) -> tuple[AuditChange, ...]:
    """Return what was written, object by object: what is different, before and after."""
    return tuple(found for found in (_change(*one) for one in written) if found is not None)


def done_entry(
    seq: int, now: Instant, caller: Caller, peer: str | None, action: str, written: Iterable[Written]
) -> AuditEntry:
    """Return the entry of a change that is done."""
    return _entry(seq, now, "done", action, caller, peer, changes=describe_changes(written))


def refused_entry(
    seq: int,
    now: Instant,
    caller: Caller,
    peer: str | None,
    action: str,
    arguments: Mapping[str, Any] | None,
    problem: ControlPlaneError,
    left_out: int,
) -> AuditEntry:
    """Return the entry of a change that was refused."""
    return _entry(
        seq,
        now,
        "refused",
        action,
        caller,
        peer,
        arguments=None if arguments is None else _readable(arguments),
        error=problem.uri,
        message=problem.message,
        left_out=left_out,
    )


class Room:
    """How many refused ones may be written: a burst, and then one per pause, of each caller and of all."""

    def __init__(self, seconds: Callable[[], Seconds]) -> None:
        self._seconds = seconds
        self._all = (float(ALL_BURST), seconds())
        self._callers: OrderedDict[str, tuple[float, Seconds]] = OrderedDict()
        self._left_out = 0

    def take(self, who: str) -> int | None:
        """Return how many were left out before this one, or None when this one is to be left out, too."""
        now = self._seconds()
        mine, since = self._callers.pop(who, (float(CALLER_BURST), now))
        mine = min(float(CALLER_BURST), mine + (now - since) / CALLER_PAUSE_S)
        everybody = min(float(ALL_BURST), self._all[0] + (now - self._all[1]) / ALL_PAUSE_S)
        admitted = mine >= 1 and everybody >= 1
        self._callers[who] = (mine - admitted, now)
        self._all = (everybody - admitted, now)
        if len(self._callers) > CALLERS_REMEMBERED_MAX:
            self._callers.popitem(last=False)
        if not admitted:
            self._left_out += 1
            return None
        left_out, self._left_out = self._left_out, 0
        return left_out


def _entry(
    seq: int, now: Instant, outcome: Outcome, action: str, caller: Caller, peer: str | None, **more: Any
) -> AuditEntry:
    return AuditEntry(
        seq=seq,
        time=now,
        outcome=outcome,
        action=action,
        authid=caller.authid,
        authrole=caller.authrole,
        session=caller.session,
        peer=peer,
        **more,
    )


def _change(table: Table[Any], before: Record | None, after: Record | None) -> AuditChange | None:
    record = after if after is not None else before
    if record is None or before == after:
        return None
    fields = [
        name
        for name in record.__struct_fields__
        if before is None or after is None or getattr(before, name) != getattr(after, name)
    ]
    return AuditChange(
        type=table.noun,
        oid=_identity(record),
        name=getattr(record, "name", None) or getattr(record, "authid", None),
        before=_fields(before, fields),
        after=_fields(after, fields),
    )


def _identity(record: Any) -> str:
    if hasattr(record, "oid"):
        return str(record.oid)
    return "/".join(str(getattr(record, name)) for name in record.__struct_fields__ if name.endswith("_oid"))


def _fields(record: Record | None, names: list[str]) -> dict[str, Any] | None:
    if record is None:
        return None
    found = {name: value for name in names if (value := getattr(record, name)) is not None}
    written: dict[str, Any] = masked(msgspec.to_builtins(found, str_keys=True))
    return written


def _readable(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return what JSON can say of arguments, whatever they are, without the secrets in them."""
    try:
        found: dict[str, Any] = masked(msgspec.to_builtins(dict(value), str_keys=True))
        _encode(found)
    except (TypeError, ValueError, RecursionError, OverflowError):
        return {"unreadable": True}
    return found


def _shortened(entry: AuditEntry) -> AuditEntry:
    """Return the entry without the contents that make it too long."""
    return msgspec.structs.replace(
        entry,
        arguments=None if entry.arguments is None else _summary(entry.arguments),
        changes=tuple(
            msgspec.structs.replace(
                change,
                before=None if change.before is None else _summary(change.before),
                after=None if change.after is None else _summary(change.after),
            )
            for change in entry.changes[:100]
        ),
    )


def _summary(value: dict[str, Any]) -> dict[str, Any]:
    data = _encode(value)
    if len(data) <= 256:
        return value
    return {"length": len(data), "sha256": digest_of(b"", data).hex()}
