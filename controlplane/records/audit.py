"""Who changed what, or tried to: entries that are chained, so that none can be altered, left out or slipped in."""

from typing import Annotated, Any, Literal

import msgspec

from controlplane.records.types import Instant, Record

Outcome = Literal["done", "refused"]


class AuditChange(Record, frozen=True, kw_only=True):
    """What became of one object."""

    type: str
    oid: str
    """Of an object that belongs to two others, the oids of both with a slash between."""

    name: str | None
    before: dict[str, Any] | None
    """What is different now, as it was; None of an object that was made."""

    after: dict[str, Any] | None
    """What is different now; None of an object that is gone."""


class AuditEntry(Record, frozen=True, kw_only=True):
    """One change that was done, or one that was refused."""

    seq: int
    time: Instant
    outcome: Outcome
    action: str
    """URI of the procedure; `login` for a login that was refused."""

    authid: str
    authrole: str
    session: int
    peer: str | None
    """Where the caller's connection came from."""

    arguments: dict[str, Any] | None = None
    """Of a call that was refused."""

    error: str | None = None
    """URI of the error that a refused one ended with."""

    message: str | None = None
    changes: tuple[AuditChange, ...] = ()
    left_out: int = 0
    """Refused ones before this one that were too many to be written."""


class AuditLink(Record, frozen=True, kw_only=True):
    """An entry as it is kept: `digest` is SHA-256 of `previous` followed by `body`, which is the entry as JSON."""

    seq: int
    previous: bytes
    digest: bytes
    body: bytes


class AuditRecord(Record, frozen=True, kw_only=True):
    """An entry as callers see it."""

    seq: int
    digest: str
    entry: AuditEntry


class AuditPage(Record, frozen=True, kw_only=True):
    """Entries after a number, oldest first."""

    entries: tuple[AuditRecord, ...]
    oldest: int
    last: int
    next: int | None
    """Pass this as `after` for the next page; None when there is none."""


class ExportedLink(Record, frozen=True, kw_only=True):
    """A link of the chain as it is exported: all that is needed to verify it, in hexadecimal and as it was hashed."""

    seq: int
    previous: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]
    digest: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]
    body: str


class ExportPage(Record, frozen=True, kw_only=True):
    """Links after a number, oldest first."""

    links: tuple[ExportedLink, ...]
    last: int
    next: int | None
