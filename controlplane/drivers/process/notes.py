"""What the driver has to know of its workers when it comes back: one file for each that runs.

A worker is written down when it serves and crossed out before it is ended, so whatever runs and is not in the notes is
incomplete or was to go.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from twisted.logger import Logger

from controlplane.drivers.driver import Unit
from controlplane.drivers.files import write_whole
from controlplane.drivers.processes import Identity, boot
from controlplane.records.types import Instant, Oid, Record
from controlplane.records.workers import Address

log = Logger()


class Note(Record, frozen=True, kw_only=True):
    """A worker that serves."""

    oid: Oid
    digest: str
    config: dict[str, Any]
    run: str
    """Of the one process that there is for it now; every start has another."""

    slot: int
    keeper: Identity
    process: Identity
    started: Instant
    ports: dict[str, int]
    addresses: tuple[Address, ...]
    unkept: tuple[str, ...] = ()
    """Limits that this node cannot keep."""

    def unit(self) -> Unit:
        """Return what the agent is told."""
        return Unit(
            oid=self.oid, digest=self.digest, started=self.started, pid=self.process.pid, addresses=self.addresses
        )


class _Written(Record, frozen=True, kw_only=True):
    boot: str
    note: Note


class Notes:
    """The notes of one driver directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._boot = boot()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def read(self) -> Iterator[Note]:
        """Yield what was noted since the machine was started; what is older means other processes."""
        for file in sorted(self._directory.glob("*.json")):
            try:
                found = msgspec.json.decode(file.read_bytes(), type=_Written)
            except (OSError, msgspec.MsgspecError):
                log.warn("{file} cannot be read; its worker is started anew", file=str(file))
            else:
                if found.boot == self._boot:
                    yield found.note
                    continue
            file.unlink(missing_ok=True)

    def note(self, note: Note) -> None:
        """Write a worker down in place of what was known of it."""
        write_whole(self._file(note.oid), msgspec.json.encode(_Written(boot=self._boot, note=note)))

    def cross_out(self, oid: Oid) -> None:
        """Forget a worker."""
        self._file(oid).unlink(missing_ok=True)

    def _file(self, oid: Oid) -> Path:
        return self._directory / f"{oid.hex}.json"
