"""What a driver has to know of its workers when it comes back: one file for each that runs.

A worker is written down when it serves and crossed out before it is ended, so whatever runs and is not in the notes is
incomplete or was to go.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Generic, TypeVar

import msgspec
from twisted.logger import Logger

from controlplane.drivers.files import write_whole
from controlplane.drivers.processes import boot
from controlplane.records.types import Oid, Record

N = TypeVar("N", bound=Record)

log = Logger()


class _Written(Record, frozen=True, kw_only=True):
    boot: str
    note: msgspec.Raw


class Notes(Generic[N]):
    """The notes of one driver directory."""

    def __init__(self, directory: Path, kind: type[N]) -> None:
        self._directory = directory
        self._kind = kind
        self._boot = boot()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def read(self) -> Iterator[N]:
        """Yield what was noted since the machine was started; what is older means other processes."""
        for file in sorted(self._directory.glob("*.json")):
            try:
                found = msgspec.json.decode(file.read_bytes(), type=_Written)
                note = msgspec.json.decode(found.note, type=self._kind)
            except (OSError, msgspec.MsgspecError):
                log.warn("{file} cannot be read; its worker is started anew", file=str(file))
            else:
                if found.boot == self._boot:
                    yield note
                    continue
            file.unlink(missing_ok=True)

    def note(self, oid: Oid, note: N) -> None:
        """Write a worker down in place of what was known of it."""
        written = _Written(boot=self._boot, note=msgspec.Raw(msgspec.json.encode(note)))
        write_whole(self._file(oid), msgspec.json.encode(written))

    def cross_out(self, oid: Oid) -> None:
        """Forget a worker."""
        self._file(oid).unlink(missing_ok=True)

    def _file(self, oid: Oid) -> Path:
        return self._directory / f"{oid.hex}.json"
