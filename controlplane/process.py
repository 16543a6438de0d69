"""What long-running processes have in common: real time and chance, signals, readiness, one lock per directory."""

import ctypes
import fcntl
import gc
import os
import random
import signal
import socket
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from twisted.internet.defer import ensureDeferred
from twisted.internet.error import ProcessExitedAlready
from twisted.logger import Logger

from controlplane.clock import Chance
from controlplane.errors import AlreadyExists
from controlplane.records.types import NANOSECONDS

GARBAGE_OBJECTS = 50_000
"""New objects after which the collector runs: cycles are rare here, and each run stops everything."""

LARGE_BLOCK = 1024 * 1024
"""Bytes from which on a block of memory is a map of its own, which is gone when it is freed."""

PR_SET_PDEATHSIG = 1
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Numbers of settings in glibc's `malloc.h`."""

log = Logger()


def real_chance() -> Chance:
    """Return real time and randomness; time follows the monotonic clock, so that nothing sees the wall clock jump."""
    start = time.time_ns() - int(time.monotonic() * NANOSECONDS)
    return Chance(lambda: start + int(time.monotonic() * NANOSECONDS), uuid4, random.random)


def lock_directory(directory: Path, who: str) -> int:
    """Take a directory for this process alone, until it ends; raises `AlreadyExists` when another one has it."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise AlreadyExists(
            f"another {who} runs on {directory}", next_step="stop it first, or use another --state-dir"
        ) from None
    return descriptor


def notify(state: str) -> None:
    """Tell systemd, when it asked to be told, e.g. READY=1 or STOPPING=1."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.connect("\0" + address[1:] if address.startswith("@") else address)
            channel.sendall(state.encode())
        except OSError as problem:
            log.warn("systemd could not be told {state}: {problem}", state=state, problem=problem)


def end_with_parent() -> None:
    """Have the kernel send SIGTERM to this process when its parent dies; for a child, before it runs its program."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def kill_child(transport: Any) -> None:
    """Kill a process that was spawned, given its transport; one that has ended, or is ours no longer, is let be."""
    with suppress(ProcessExitedAlready, PermissionError):
        transport.signalProcess("KILL")


def _calm_collector() -> None:
    """Have the garbage collector look at what is new, seldom: it took an eighth of the master's time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_OBJECTS, 20, 50)


def keep_heap_small() -> None:
    """Have the C library keep large blocks out of its heap; another library than glibc does as it likes.

    LMDB takes 3 MiB for every nested transaction and writes to a few pages of them. After the first ones glibc would
    take such blocks from the heap, each time a little elsewhere, until all of them had been touched for good.
    """
    change = getattr(ctypes.CDLL(None), "mallopt", None)
    if change is not None:
        change(M_MMAP_THRESHOLD, LARGE_BLOCK)
        change(M_TRIM_THRESHOLD, LARGE_BLOCK)


def run_until_stopped(
    reactor: Any, begin: Callable[[], Coroutine[Any, Any, None]], end: Callable[[], Coroutine[Any, Any, None]]
) -> int:
    """Run a process: begin, wait for SIGTERM or SIGINT, end in order; return the exit status."""
    status = [0]
    ending: list[bool] = []

    def stop(*_: Any) -> None:
        if ending:
            return
        ending.append(True)
        notify("STOPPING=1")
        ensureDeferred(end()).addErrback(
            lambda failure: log.failure("could not end in order", failure=failure)
        ).addBoth(lambda _: reactor.stop())

    def failed(failure: Any) -> None:
        status[0] = 1
        log.error("{problem}", problem=str(failure.value))
        stop()

    def started() -> None:
        _calm_collector()
        keep_heap_small()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: reactor.callFromThread(stop))
        ensureDeferred(begin()).addErrback(failed)

    # Twisted's timers follow the wall clock: when that jumps they would all be due at once, or not for a long time.
    reactor.seconds = time.monotonic
    reactor.callWhenRunning(started)
    reactor.run(installSignalHandlers=True)
    return status[0]
