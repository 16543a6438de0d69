"""The agent's side of the holder: a listening socket on loopback whose port outlives the agent.

There is one holder per directory: it has a lock on a file there from before it starts until the kernel ends it.
"""

import fcntl
import os
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from twisted.logger import Logger

from controlplane.clock import DelayedCall, sleep
from controlplane.drivers.processes import DescriptorReactor, Identity, Process, identify, kill, spawn
from controlplane.drivers.router import holder
from controlplane.errors import WorkerFailed

LOOPBACK = "127.0.0.1"
ANSWER_LIMIT_S = 2.0
QUEUE_LENGTH = 16
ATTEMPTS_MAX = 50
ATTEMPT_PAUSE_S = 0.1
RESTART_PAUSE_S = 1.0
LOCK, SOCKET = "holder.lock", "holder.sock"

log = Logger()


class HeldSocket:
    """A listening socket on loopback, and the process that keeps its port while we are away."""

    def __init__(self, reactor: DescriptorReactor, directory: Path) -> None:
        self._reactor = reactor
        self._directory = directory
        self._socket: socket.socket | None = None
        self._holder: Process | None = None
        self._restart: DelayedCall | None = None

    async def open(self, preferred_port: int) -> socket.socket:
        """Take the socket over from a holder that runs, or make one and a holder for it.

        `preferred_port` is what a new socket listens on if that is free; 0 for any.
        """
        for _ in range(ATTEMPTS_MAX):
            with self._locked() as lock:
                if lock is not None:
                    self._socket = _listen(preferred_port)
                    self._start_holder(lock)
                    return self._socket
            taken = self._take()
            if taken is not None:
                self._socket = taken
                return taken
            await sleep(self._reactor, ATTEMPT_PAUSE_S)  # A holder is just beginning or just ending.
        raise WorkerFailed(
            f"the process that holds the port of this node's uplink does not answer, in {self._directory}",
            next_step=f"end the process that has locked the file {LOCK} there",
        )

    @property
    def port(self) -> int:
        """The number of the port."""
        if self._socket is None:
            raise RuntimeError("the socket is not open")
        port: int = self._socket.getsockname()[1]
        return port

    def let_go(self) -> None:
        """Leave the socket to the holder alone."""
        if self._restart is not None and self._restart.active():
            self._restart.cancel()
        process, self._holder = self._holder, None
        if process is not None:
            process.let_go()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def close(self) -> None:
        """Give the port up, and return when no holder is left."""
        process, self._holder = self._holder, None
        self.let_go()
        if process is not None and process.watched:
            patience = ANSWER_LIMIT_S if self._ask_to_end() else 0
            late = self._reactor.callLater(patience, kill, process.identity)
            await process.end()
            if late.active():
                late.cancel()
        (self._directory / SOCKET).unlink(missing_ok=True)

    @contextmanager
    def _locked(self) -> Iterator[int | None]:
        """Give the lock as a descriptor; None while a holder has it."""
        with open(self._directory / LOCK, "wb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
            else:
                # A holder that is given the descriptor keeps the lock when we close ours.
                yield file.fileno()

    def _start_holder(self, lock: int) -> None:
        """Start a holder for our socket."""
        if self._socket is None:
            return
        path = self._directory / SOCKET
        path.unlink(missing_ok=True)
        output = os.open(os.devnull, os.O_WRONLY)
        with socket.socket(socket.AF_UNIX) as asked, self._short_path() as short:
            asked.bind(short)
            try:
                found = spawn(
                    [sys.executable, "-I", "-S", holder.__file__, str(self._directory)],
                    {},
                    output,
                    (lock, self._socket.fileno(), asked.fileno()),
                )
            finally:
                os.close(output)
        self._watch(found)

    def _take(self) -> socket.socket | None:
        """Ask a holder for the socket; one that does not answer is killed."""
        found: Identity | None = None
        with socket.socket(socket.AF_UNIX) as asking, self._short_path() as short:
            asking.settimeout(ANSWER_LIMIT_S)
            try:
                asking.connect(short)
                pid, _, _ = struct.unpack("3i", asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
                found = identify(pid)
                asking.sendall(holder.TAKE)
                _, descriptors, _, _ = socket.recv_fds(asking, 1, 1)
            except TimeoutError:
                if found is not None:
                    log.warn("the holder of the uplink's port does not answer and is killed", pid=found.pid)
                    kill(found)
                return None
            except OSError:
                return None
        if not descriptors or found is None:
            return None
        self._watch(found)
        return socket.socket(fileno=descriptors[0])

    def _ask_to_end(self) -> bool:
        with socket.socket(socket.AF_UNIX) as asking, self._short_path() as short:
            asking.settimeout(ANSWER_LIMIT_S)
            try:
                asking.connect(short)
                asking.sendall(holder.END)
            except OSError:
                return False
        return True

    def _watch(self, found: Identity) -> None:
        try:
            self._holder = Process(self._reactor, found, self._on_ended)
        except ProcessLookupError:
            self._on_ended("its process ended")

    def _on_ended(self, reason: str) -> None:
        self._holder = None
        if self._socket is not None:
            log.warn("the holder of the uplink's port is gone ({reason}); another is started", reason=reason)
            self._restart = self._reactor.callLater(RESTART_PAUSE_S, self._start_again)

    def _start_again(self) -> None:
        with self._locked() as lock:
            if lock is not None:
                self._start_holder(lock)

    @contextmanager
    def _short_path(self) -> Iterator[str]:
        """Give a name of the holder's socket that is short enough wherever the directory is."""
        directory = os.open(self._directory, os.O_PATH | os.O_DIRECTORY)
        try:
            yield f"/proc/self/fd/{directory}/{SOCKET}"
        finally:
            os.close(directory)


def _listen(preferred_port: int) -> socket.socket:
    for port in (preferred_port, 0):
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((LOOPBACK, port))
            listening.listen(QUEUE_LENGTH)
        except OSError:
            listening.close()
            continue
        listening.setblocking(False)
        return listening
    raise WorkerFailed("there is no free port on the loopback interface for the uplink of this node")
