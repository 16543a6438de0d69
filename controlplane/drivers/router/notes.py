"""What the driver has to know of its workers when it comes back: who they are, and with what they were started.

A worker is written down when it serves and crossed out before it is stopped, so whatever runs and is not in the notes
is incomplete or was to go.
"""

from pathlib import Path

import msgspec
from twisted.logger import Logger

from controlplane.drivers.driver import Unit
from controlplane.drivers.files import write_whole
from controlplane.drivers.processes import Identity, boot
from controlplane.records.types import Instant, Oid, Record
from controlplane.records.workers import Address

log = Logger()


class WorkerNote(Record, frozen=True, kw_only=True):
    """A worker that serves."""

    oid: Oid
    digest: str
    kind: str
    worker_id: str
    """Of the one process that Crossbar.io runs for it now; every start has another."""

    process: Identity
    started: Instant
    cluster: str
    port: int | None = None
    socket: str | None = None
    """Where frontends reach a router."""

    leans_on: tuple[str, ...] = ()
    """Sockets of routers to which a proxy has sessions of its own."""

    realms: tuple[str, ...] = ()
    addresses: tuple[Address, ...] = ()

    def unit(self) -> Unit:
        """Return what the agent is told."""
        return Unit(
            oid=self.oid,
            digest=self.digest,
            started=self.started,
            pid=self.process.pid,
            realms=self.realms,
            addresses=self.addresses,
        )


class _Written(Record, frozen=True, kw_only=True):
    boot: str
    node: Identity | None = None
    starts: int = 0
    workers: tuple[WorkerNote, ...] = ()


class Notes:
    """The notes of one driver directory."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._boot = boot()
        found = _read(file)
        if found is None or found.boot != self._boot:
            # After a restart of the machine nothing of it runs any more, and pids mean other processes.
            found = _Written(boot=self._boot)
        self.node: Identity | None = found.node
        self.workers: dict[Oid, WorkerNote] = {note.oid: note for note in found.workers}
        self._starts = found.starts

    def next_worker_id(self, oid: Oid) -> str:
        """Return an identity for the next process of a worker."""
        self._starts += 1
        return f"w{oid.hex}_{self._starts}"

    def note_node(self, node: Identity | None) -> None:
        """Write down which process is the node."""
        self.node = node
        self._write()

    def note(self, worker: WorkerNote) -> None:
        """Write a worker down in place of what was known of it."""
        self.workers[worker.oid] = worker
        self._write()

    def cross_out(self, oid: Oid) -> None:
        """Forget a worker."""
        if self.workers.pop(oid, None) is not None:
            self._write()

    def _write(self) -> None:
        written = _Written(boot=self._boot, node=self.node, starts=self._starts, workers=tuple(self.workers.values()))
        write_whole(self._file, msgspec.json.encode(written))


def _read(file: Path) -> _Written | None:
    try:
        return msgspec.json.decode(file.read_bytes(), type=_Written)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError:
        log.warn("{file} cannot be read; workers that run are started anew", file=str(file))
        return None
