"""Processes of this machine: who they are, whether they get the processor, and when and how they end.

A pid alone names nobody: it is reused. Here a process is its pid together with the moment it was started, and it is
watched and signalled through a pidfd, which stays with the one process whoever its parent is. A watched process that
ends is noticed by the kernel's word, within milliseconds, also when it is not a child of ours.
"""

import enum
import errno
import fcntl
import os
import signal
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from twisted.internet.defer import Deferred

from controlplane.clock import Clock
from controlplane.records.types import Record

STATE, USER_TICKS, SYSTEM_TICKS, START_TICKS = 0, 11, 12, 19
"""Fields of /proc/<pid>/stat, counted from behind the name."""

PIDFD_GET_INFO = 0xC040FF0B
PIDFD_INFO_EXIT = 1 << 3
PIDFD_INFO_SIZE = 64
PIDFD_INFO_EXIT_CODE_AT = 60
"""From linux/pidfd.h, as of Linux 6.15; older kernels refuse the request."""

DESCRIPTOR_MIN = 10
UNKNOWN_END = "its process ended"


class Identity(Record, frozen=True):
    """One process for ever: a pid means nothing without the moment when the process was started."""

    pid: int
    ticks: int
    """Since the machine was booted."""


class State(enum.Enum):
    """What the main thread of a process does."""

    HELD = "held"
    """Stopped by a signal or a debugger."""

    ENDED = "ended"
    OTHER = "other"


class Glance(NamedTuple):
    """What the kernel says about a process at one moment."""

    state: State
    busy_ns: int
    """How long its main thread has run or waited for a processor since it was started."""


class DescriptorReactor(Clock, Protocol):
    """What is needed of a reactor to watch descriptors."""

    def addReader(self, reader: object) -> None:  # noqa: N802
        """Call `doRead` when the descriptor is readable."""
        ...

    def removeReader(self, reader: object) -> None:  # noqa: N802
        """Do so no longer."""
        ...


class Process:
    """A process that is watched: `ended(reason)` is called once when it ends, unless it was let go of before."""

    def __init__(self, reactor: DescriptorReactor, identity: Identity, ended: Callable[[str], None]) -> None:
        """Begin to watch, or raise `ProcessLookupError` when the process is gone or its pid is another's by now."""
        self.identity = identity
        self._reactor = reactor
        self._ended = ended
        self._waiting: list[Deferred[None]] = []
        self._descriptor = os.pidfd_open(identity.pid)
        # Only now is it certain that whatever is found under the pid is what the descriptor stands for.
        # One that has ended and is not yet buried is watched as well: its end is read at once.
        if _holder(identity.pid) != identity:
            os.close(self._descriptor)
            raise ProcessLookupError(errno.ESRCH, "no such process")
        reactor.addReader(self)

    @property
    def pid(self) -> int:
        """Its number while it lives."""
        return self.identity.pid

    @property
    def watched(self) -> bool:
        """Whether it lives and is not let go of."""
        return self._descriptor >= 0

    def send(self, number: signal.Signals) -> None:
        """Send a signal to this process and to no other, even when its pid has been given away."""
        if self.watched:
            try:
                signal.pidfd_send_signal(self._descriptor, number)
            except ProcessLookupError:
                pass  # It has ended and that will be read from the descriptor.

    def end(self) -> Deferred[None]:
        """Return when the process has ended; at once when it is not watched any more."""
        done: Deferred[None] = Deferred(self._waiting_no_more)
        if self.watched:
            self._waiting.append(done)
        else:
            done.callback(None)
        return done

    def let_go(self) -> None:
        """Watch it no longer."""
        if self.watched:
            self._unwatch()
            self._release()

    def fileno(self) -> int:
        """For the reactor."""
        return self._descriptor

    def doRead(self) -> None:  # noqa: N802
        """For the reactor: a pidfd becomes readable when its process ends."""
        reason = _how_it_ended(self._descriptor, self.identity.pid)
        self._unwatch()
        try:
            self._ended(reason)
        finally:
            # Whoever waits for the end finds that it has been taken note of.
            self._release()

    def connectionLost(self, _reason: object) -> None:  # noqa: N802
        """For the reactor: it ends."""
        self.let_go()

    def logPrefix(self) -> str:  # noqa: N802
        """For the reactor."""
        return "process"

    def _unwatch(self) -> None:
        self._reactor.removeReader(self)
        os.close(self._descriptor)
        self._descriptor = -1

    def _release(self) -> None:
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            done.callback(None)

    def _waiting_no_more(self, done: Deferred[None]) -> None:
        if done in self._waiting:
            self._waiting.remove(done)


def boot() -> str:
    """Return the identity of this run of the machine; start times of different runs cannot be compared."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def identify(pid: int) -> Identity | None:
    """Return who has this pid now; None for nobody and for one that has ended and is not yet buried."""
    found = _holder(pid)
    return found if found is not None and glance(pid).state is not State.ENDED else None


def glance(pid: int) -> Glance:
    """Return what a process does, without asking it."""
    fields = _stat(pid)
    if fields is None:
        return Glance(State.ENDED, 0)
    state = {"T": State.HELD, "t": State.HELD, "Z": State.ENDED, "X": State.ENDED}.get(fields[STATE], State.OTHER)
    try:
        ran, waited, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
        busy = int(ran) + int(waited)
    except (OSError, ValueError):
        # A kernel without scheduler statistics does not say how long a process waited; what it used is better
        # than nothing.
        ticks = int(fields[USER_TICKS]) + int(fields[SYSTEM_TICKS])
        busy = ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    return Glance(state, busy)


def output_of(pid: int) -> Path | None:
    """Return the file that a process writes its output to."""
    try:
        return Path(os.readlink(f"/proc/{pid}/fd/1"))
    except OSError:
        return None


def connections(pid: int, port: int) -> int:
    """Return how many TCP connections to a port a process has accepted and not closed."""
    inodes = set()
    try:
        entries = list(os.scandir(f"/proc/{pid}/fd"))
    except OSError:
        return 0
    for entry in entries:
        try:
            target = os.readlink(entry.path)
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    count = 0
    for table in ("tcp", "tcp6"):
        try:
            text = Path(f"/proc/{pid}/net/{table}").read_text()
        except OSError:
            continue
        for line in text.splitlines()[1:]:
            fields = line.split()
            established = fields[3] == "01"
            if established and int(fields[1].rsplit(":", 1)[1], 16) == port and fields[9] in inodes:
                count += 1
    return count


def kill(identity: Identity, number: signal.Signals = signal.SIGKILL) -> bool:
    """Send a signal to a process that nobody watches, and to no other that has its pid by now; say whether it lives."""
    try:
        descriptor = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return False
    try:
        alive = identify(identity.pid) == identity
        if alive:
            signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False  # It ended by itself just now.
    finally:
        os.close(descriptor)
    return alive


def spawn(
    arguments: Sequence[str], environment: Mapping[str, str], output: int, inherited: Sequence[int] = ()
) -> Identity:
    """Start a program in a session of its own, so that it outlives us; `inherited` become its descriptors 3, 4, ...

    It must be watched with `Process`, which also buries it.
    """
    # Copies with high numbers, so that putting one in its place cannot overwrite another.
    copies = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, DESCRIPTOR_MIN) for each in (output, *inherited)]
    try:
        actions: list[tuple[int, ...] | tuple[int, int, str, int, int]] = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, copies[0], 1),
            (os.POSIX_SPAWN_DUP2, copies[0], 2),
        ]
        actions += [(os.POSIX_SPAWN_DUP2, copy, 3 + place) for place, copy in enumerate(copies[1:])]
        pid = os.posix_spawn(
            arguments[0],
            list(arguments),
            dict(environment),
            file_actions=actions,
            setsid=True,
            setsigdef=[signal.SIGPIPE, signal.SIGINT],
        )
    finally:
        for copy in copies:
            os.close(copy)
    found = _holder(pid)
    if found is None:
        raise ProcessLookupError(errno.ESRCH, "no such process")  # Impossible for a child before it is buried.
    return found


def _holder(pid: int) -> Identity | None:
    """Return who has this pid, dead or alive."""
    fields = _stat(pid)
    return Identity(pid, int(fields[START_TICKS])) if fields is not None else None


def _stat(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text[text.rindex(")") + 2 :].split()


def _how_it_ended(descriptor: int, pid: int) -> str:
    """Return how a process ended: by our burying it, from its remains, or from what the kernel keeps of it."""
    try:
        buried = os.waitid(os.P_PIDFD, descriptor, os.WEXITED | os.WNOHANG)
        if buried is not None:
            if buried.si_code == os.CLD_EXITED:
                return f"exited with code {buried.si_status}"
            return f"killed by signal {buried.si_status}"
    except ChildProcessError:
        pass  # Another's child.
    fields = _stat(pid)
    if fields is not None and fields[STATE] == "Z":
        return _in_words(int(fields[-1]))
    answer = bytearray(PIDFD_INFO_SIZE)
    struct.pack_into("Q", answer, 0, PIDFD_INFO_EXIT)
    try:
        fcntl.ioctl(descriptor, PIDFD_GET_INFO, answer)
    except OSError:
        return UNKNOWN_END
    if not struct.unpack_from("Q", answer, 0)[0] & PIDFD_INFO_EXIT:
        return UNKNOWN_END
    return _in_words(struct.unpack_from("i", answer, PIDFD_INFO_EXIT_CODE_AT)[0])


def _in_words(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"killed by signal {os.WTERMSIG(status)}"
    return f"exited with code {os.waitstatus_to_exitcode(status)}"
