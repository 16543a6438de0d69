"""The TCP ports of this node's workers: one for all frontends of a cluster, kept over restarts, never anybody else's.

Which port a cluster has is written down; whether it is ours right now is a lock that the kernel takes back by itself,
an unbound name on which no other agent of this machine can listen meanwhile. Nothing is said by a name about programs
that are no agents, so a port is tried before it is given away.
"""

import errno
import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from twisted.logger import Logger

from controlplane.drivers.files import write_whole
from controlplane.errors import WorkerFailed

EVERYWHERE = ("", "0.0.0.0", "::")
LOCK_NAME = "\0controlplane.port.{port}"

log = Logger()


class Ports:
    """Who listens where on this node."""

    def __init__(self, file: Path, allowed: tuple[int, int], noun: str = "cluster") -> None:
        """`noun` says in messages for whom ports are taken."""
        self._file = file
        self._noun = noun
        self._first, self._last = allowed
        self._clusters: dict[str, int] = _read(file)
        self._users: dict[str, tuple[str, int]] = {}
        """By worker: its cluster and port."""

        self._locks: dict[int, socket.socket] = {}

    def take(self, cluster: str, worker: str, wanted: int | None, interface: str) -> int:
        """Return the port for a worker of a cluster; raises `WorkerFailed` when that must not be used.

        `wanted` is what its configuration names; without one it is the port that the cluster had, or a free one.
        """
        port = self._wanted(cluster, wanted, interface) if wanted else self._found(cluster, interface)
        self._users[worker] = (cluster, port)
        if self._clusters.get(cluster) != port:
            self._clusters = {name: used for name, used in self._clusters.items() if used != port} | {cluster: port}
            write_whole(self._file, json.dumps(self._clusters, indent=1, sort_keys=True).encode(), durable=True)
        return port

    def adopt(self, cluster: str, worker: str, port: int) -> None:
        """Take note of a worker that listens already."""
        if not self._lock(port):
            log.warn(
                "another agent of this machine has reserved port {port}, on which {worker} listens",
                port=port,
                worker=worker,
            )
        self._users[worker] = (cluster, port)

    async def take_all(
        self, reactor: Any, address: str, wanted: Mapping[str, int | None], owner: str, run: str
    ) -> dict[str, int]:
        """Return the ports of one that is started, by their names; `run` says which one of its `owner`."""
        interface = await interface_of(reactor, address) if wanted else ""
        return {
            name: self.take(f"{owner}/{name}", f"{run}/{name}", number, interface) for name, number in wanted.items()
        }

    def adopt_all(self, ports: Mapping[str, int], owner: str, run: str) -> None:
        """Take note of all ports of one that runs already."""
        for name, port in ports.items():
            self.adopt(f"{owner}/{name}", f"{run}/{name}", port)

    def release(self, worker: str) -> None:
        """Take note that a worker listens no more; its cluster keeps the port for another time."""
        _, port = self._users.pop(worker, (None, None))
        if port is not None and not any(used == port for _, used in self._users.values()):
            self._unlock(port)

    def release_all(self, run: str) -> None:
        """Do so for all ports of one that was started or adopted."""
        for worker in [name for name in self._users if name.startswith(run + "/")]:
            self.release(worker)

    def close(self) -> None:
        """Give all locks back."""
        self._users.clear()
        for port in list(self._locks):
            self._unlock(port)

    def _wanted(self, cluster: str, port: int, interface: str) -> int:
        if not self._first <= port <= self._last:
            raise WorkerFailed(
                f"port {port} is not one that workers of this node may listen on: {self._first} to {self._last}",
                next_step="leave the port out of the configuration, or change the agent's settings",
            )
        obstacle = self._obstacle(cluster, port, interface)
        if obstacle is not None:
            raise WorkerFailed(
                f"port {port} of {self._whose(cluster)} cannot be used on this node: {obstacle}",
                next_step="leave the port out of one configuration, or give it another",
            )
        return port

    def _found(self, cluster: str, interface: str) -> int:
        obstacles = []
        for port in self._candidates(cluster):
            obstacle = self._obstacle(cluster, port, interface)
            if obstacle is None:
                return port
            obstacles.append(f"{port}: {obstacle}")
        raise WorkerFailed(
            f"no port from {self._first} to {self._last} is free on this node; " + "; ".join(obstacles[:3]),
            next_step="let the agent use more ports",
        )

    def _candidates(self, cluster: str) -> Iterator[int]:
        """Yield the port that the cluster had, then those of nobody, then those of clusters that do not run here."""
        had = self._clusters.get(cluster)
        if had is not None and self._first <= had <= self._last:
            yield had
        others = set(self._clusters.values())
        every = range(self._first, self._last + 1)
        yield from (port for port in every if port not in others)
        yield from (port for port in every if port in others and port != had)

    def _obstacle(self, cluster: str, port: int, interface: str) -> str | None:
        """Return why the port must not be used; the cluster has its lock when there is no reason."""
        users = {name for name, used in self._users.values() if used == port}
        if cluster in users:
            return None
        if users:
            return f"{self._whose(min(users))} listens there"
        if not self._lock(port):
            return "another agent of this machine has reserved it"
        if not _is_free(interface, port):
            self._unlock(port)
            return "another program listens there"
        return None

    def _whose(self, owner: str) -> str:
        """Return in words for whom a port is, without what only `take_all` knows of that."""
        return f"{self._noun} {owner.partition('/')[0]}"

    def _lock(self, port: int) -> bool:
        if port in self._locks:
            return True
        lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            lock.bind(LOCK_NAME.format(port=port))
        except OSError as error:
            lock.close()
            if error.errno == errno.EADDRINUSE:
                return False
            raise
        self._locks[port] = lock
        return True

    def _unlock(self, port: int) -> None:
        lock = self._locks.pop(port, None)
        if lock is not None:
            lock.close()


async def interface_of(reactor: Any, address: str) -> str:
    """Return the address to listen on for a host name or an address; raises `WorkerFailed`."""
    if address in EVERYWHERE or ":" in address:
        return address
    try:
        found: str = await reactor.resolve(address)
    except OSError as error:
        raise WorkerFailed(f"workers cannot listen on {address}: {error}") from None
    return found


def _is_free(interface: str, port: int) -> bool:
    """Say whether we could listen alone; a socket that lets others share its port would find room beside a stranger."""
    family = socket.AF_INET6 if ":" in interface else socket.AF_INET
    with socket.socket(family) as tried:
        # Connections that were closed a moment ago are no obstacle.
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((interface, port))
            tried.listen(1)
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise WorkerFailed(f"workers cannot listen on {interface}: {os.strerror(error.errno or 0)}") from None
    return True


def _read(file: Path) -> dict[str, int]:
    try:
        found = json.loads(file.read_bytes())
        return {str(cluster): int(port) for cluster, port in found.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError, TypeError):
        log.warn("{file} cannot be read; clusters get new ports", file=str(file))
        return {}
