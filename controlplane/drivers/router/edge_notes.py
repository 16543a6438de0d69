"""What the master writes down of the workers on a node that has no agent, so that it finds them again.

A worker is written down when it serves and crossed out before it is stopped, as an agent does on its own machine.
"""

from pathlib import Path

import msgspec
from twisted.logger import Logger

from controlplane.drivers.driver import Unit
from controlplane.drivers.files import write_whole
from controlplane.drivers.router import plans
from controlplane.drivers.router.plans import Backend, Frontend
from controlplane.drivers.router.workers import Description
from controlplane.records.types import Instant, Oid, Record
from controlplane.records.workers import Address, WorkerSpec

log = Logger()


class EdgeWorker(Record, frozen=True, kw_only=True):
    """A worker that serves on a node without an agent."""

    unit: Unit
    kind: str
    worker_id: str
    """Of the one process that Crossbar.io runs for it now; every start has another."""

    cluster: str
    process_started: Instant
    """As the node says: together with the pid it tells one process from any other."""

    port: int | None = None
    socket: str | None = None
    """Where frontends reach a router."""

    leans_on: tuple[str, ...] = ()
    """Sockets of routers to which a proxy has sessions of its own."""


def edge_worker(
    spec: WorkerSpec,
    config: Backend | Frontend,
    worker_id: str,
    described: Description,
    port: int | None,
    addresses: tuple[Address, ...],
) -> EdgeWorker:
    """Return what is written down of a worker that serves with this configuration."""
    unit = Unit(
        oid=spec.oid,
        digest=spec.digest,
        started=described.started,
        pid=described.pid,
        realms=plans.realm_names(config),
        addresses=addresses,
    )
    is_router = isinstance(config, Backend)
    return EdgeWorker(
        unit=unit,
        kind="router" if is_router else "proxy",
        worker_id=worker_id,
        cluster=config.cluster,
        process_started=described.started,
        port=port,
        socket=config.socket if isinstance(config, Backend) else None,
        leans_on=() if isinstance(config, Backend) else tuple(sorted(plans.leaned_on(config))),
    )


class _Written(Record, frozen=True, kw_only=True):
    starts: int = 0
    workers: tuple[EdgeWorker, ...] = ()
    ports: dict[str, int] = msgspec.field(default_factory=dict)
    """By cluster; kept when its workers stop, so that clients find it again."""


class EdgeNotes:
    """The notes of one node."""

    def __init__(self, file: Path) -> None:
        self._file = file
        found = _read(file)
        self.workers: dict[Oid, EdgeWorker] = {worker.unit.oid: worker for worker in found.workers}
        self.ports: dict[str, int] = dict(found.ports)
        self._starts = found.starts

    def next_start(self) -> int:
        """Return a number that no start on this node had before."""
        self._starts += 1
        self._write()
        return self._starts

    def note(self, worker: EdgeWorker) -> None:
        """Write a worker down in place of what was known of it."""
        self.workers[worker.unit.oid] = worker
        if worker.port is not None:
            self.ports = {name: port for name, port in self.ports.items() if port != worker.port}
            self.ports[worker.cluster] = worker.port
        self._write()

    def cross_out(self, oid: Oid) -> None:
        """Forget a worker."""
        if self.workers.pop(oid, None) is not None:
            self._write()

    def _write(self) -> None:
        written = _Written(starts=self._starts, workers=tuple(self.workers.values()), ports=self.ports)
        write_whole(self._file, msgspec.json.encode(written))


def _read(file: Path) -> _Written:
    try:
        return msgspec.json.decode(file.read_bytes(), type=_Written)
    except FileNotFoundError:
        return _Written()
    except msgspec.MsgspecError:
        log.warn("{file} cannot be read; workers that run are started anew", file=str(file))
        return _Written()
