"""Reading, exporting and verifying the audit. The chain is verified here, so that the master need not be believed."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from controlplane.cli.client import CALL_WITHIN_S, one_shot
from controlplane.core.audit_chain import Verifier
from controlplane.errors import InvalidArgument, InvalidConfiguration
from controlplane.records.audit import ExportedLink
from controlplane.wamp import Session

LIST = "controlplane.audit.list_audit"
EXPORT = "controlplane.audit.export_audit"


def read_audit(connection: str | None, after: int, filters: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the entries that fit, oldest first."""

    async def work(session: Session) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        start: int | None = after
        while start is not None:
            page = await session.call(LIST, CALL_WITHIN_S, after=start, limit=1000, **filters)
            found.extend(record["entry"] for record in page["entries"])
            start = page["next"]
        return found

    entries: list[dict[str, Any]] = one_shot(connection, work)
    return entries


def export(connection: str | None, file: str) -> int:
    """Write the chain to a new file; return how many entries it has."""

    async def work(session: Session) -> int:
        count = 0
        with open(file, "x", opener=lambda path, flags: os.open(path, flags, 0o600)) as target:
            start: int | None = 0
            while start is not None:
                page = await session.call(EXPORT, CALL_WITHIN_S, after=start)
                for link in page["links"]:
                    target.write(json.dumps(link) + "\n")
                count += len(page["links"])
                start = page["next"]
        return count

    try:
        written: int = one_shot(connection, work)
    except OSError as problem:
        raise InvalidConfiguration(f"{file} cannot be written: {problem}", next_step="name a new file") from problem
    return written


def verify(connection: str | None, file: str | None, expect: str | None) -> str:
    """Return what was verified, in words; raises `InvalidConfiguration` when something is wrong."""
    known = _expected(expect)
    verifier = Verifier()
    seen: dict[int, str] = {}

    def take(links: list[ExportedLink]) -> None:
        seen.update((link.seq, link.digest) for link in links if known is not None and link.seq == known[0])
        if not verifier.verify(links):
            raise InvalidConfiguration(
                f"the audit is not whole: {verifier.problem}",
                next_step="compare it with an earlier export, and see who can write the store",
            )

    if file is not None:
        for link in _links_in(Path(file)):
            take([link])
    else:
        one_shot(connection, lambda session: _take_all(session, take))
    if known is not None and seen.get(known[0]) != known[1]:
        raise InvalidConfiguration(
            f"entry {known[0]} is not the one that was noted", next_step="compare it with an earlier export"
        )
    if verifier.last is None:
        return "there are no entries yet"
    return f"entries {verifier.first} to {verifier.last} are whole; note {verifier.last}:{verifier.digest}"


async def _take_all(session: Session, take: Any) -> None:
    start: int | None = 0
    while start is not None:
        page = await session.call(EXPORT, CALL_WITHIN_S, after=start)
        take([msgspec.convert(link, ExportedLink) for link in page["links"]])
        start = page["next"]


def _links_in(file: Path) -> Iterator[ExportedLink]:
    try:
        with open(file, "rb") as source:
            for number, line in enumerate(source, 1):
                try:
                    yield msgspec.json.decode(line, type=ExportedLink)
                except msgspec.DecodeError as problem:
                    raise InvalidConfiguration(
                        f"line {number} of {file} is no entry: {problem}", next_step="name an exported audit"
                    ) from problem
    except OSError as problem:
        raise InvalidConfiguration(f"{file} cannot be read: {problem}", next_step="name an exported audit") from problem


def _expected(text: str | None) -> tuple[int, str] | None:
    if text is None:
        return None
    number, _, digest = text.partition(":")
    if not number.isdecimal() or not digest:
        raise InvalidArgument(f"{text!r} is not NUMBER:DIGEST", next_step="give what 'audit verify' said earlier")
    return int(number), digest
