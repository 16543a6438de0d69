"""Looking at the audit: who changed what, or tried to."""

from collections.abc import Iterator
from typing import Annotated

import msgspec

from controlplane.records.audit import (
    AuditEntry,
    AuditLink,
    AuditPage,
    AuditRecord,
    ExportedLink,
    ExportPage,
    Outcome,
)
from controlplane.records.types import Instant
from controlplane.services.pipeline import Call
from controlplane.services.procedures import procedure
from controlplane.store.catalog import AUDIT
from controlplane.store.tables import key_of

AUDIT_URI = "controlplane.audit."
ENTRIES_PER_PAGE_MAX = 1_000
ENTRIES_READ_PER_CALL_MAX = 5_000
"""Of those that a filter passes over, so that one call does not hold up the others."""

PAGE_BYTES_MAX = 4 * 1024 * 1024

Sequence = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
PageLength = Annotated[int, msgspec.Meta(ge=1, le=ENTRIES_PER_PAGE_MAX)]


@procedure(AUDIT_URI + "list_audit", needs="administer")
def list_audit(
    call: Call,
    after: Sequence = 0,
    limit: PageLength = 100,
    authid: str | None = None,
    action_prefix: str | None = None,
    outcome: Outcome | None = None,
    object_oid: str | None = None,
    since: Instant | None = None,
    until: Instant | None = None,
) -> AuditPage:
    """Return entries with a number above `after`, oldest first, one page at a time; the other arguments pick some.

    A page may have few entries, or none, and still be followed by another one: go on with `next` until that is None.
    """
    found: list[AuditRecord] = []
    oldest, last = _ends(call)
    seen, read, size = after, 0, 0
    for link in _links(call, after):
        seen, read = link.seq, read + 1
        entry = msgspec.json.decode(link.body, type=AuditEntry)
        if (
            authid in (None, entry.authid)
            and outcome in (None, entry.outcome)
            and (action_prefix is None or entry.action.startswith(action_prefix))
            and (object_oid is None or any(object_oid in change.oid.split("/") for change in entry.changes))
            and (since is None or entry.time >= since)
            and (until is None or entry.time < until)
        ):
            found.append(AuditRecord(seq=link.seq, digest=link.digest.hex(), entry=entry))
            size += len(link.body)
        if len(found) >= limit or read >= ENTRIES_READ_PER_CALL_MAX or size >= PAGE_BYTES_MAX:
            break
    return AuditPage(entries=tuple(found), oldest=oldest, last=last, next=seen if seen < last else None)


@procedure(AUDIT_URI + "export_audit", needs="administer")
def export_audit(call: Call, after: Sequence = 0, limit: PageLength = ENTRIES_PER_PAGE_MAX) -> ExportPage:
    """Return links of the chain after a number, with all that is needed to verify them, one page at a time."""
    found: list[ExportedLink] = []
    _, last = _ends(call)
    seen, size = after, 0
    for link in _links(call, after):
        seen = link.seq
        found.append(
            ExportedLink(seq=link.seq, previous=link.previous.hex(), digest=link.digest.hex(), body=link.body.decode())
        )
        size += len(link.body)
        if len(found) >= limit or size >= PAGE_BYTES_MAX:
            break
    return ExportPage(links=tuple(found), last=last, next=seen if seen < last else None)


def _links(call: Call, after: int) -> Iterator[AuditLink]:
    rows = call.rows(AUDIT)
    for key in rows.scan_keys(key_of(after + 1)):
        yield rows.get(key)


def _ends(call: Call) -> tuple[int, int]:
    rows = call.rows(AUDIT)
    oldest = next((int.from_bytes(key, "big") for key in rows.scan_keys()), 0)
    last = next((int.from_bytes(key, "big") for key in rows.scan_keys(reverse=True)), 0)
    return oldest, last
