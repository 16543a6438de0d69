"""The keeper of one worker: a small process that starts it, writes its log, and says how it ended.

A worker outlives the agent, and somebody has to read its output, bury its children and note its exit status while no
agent is there. One keeper per worker does that. Everything the worker has started becomes a child of the keeper when
its own parent is gone (it is a subreaper), so nothing escapes when the worker is ended: the keeper kills until it has
no children left.

It is run with `python -I -S` and is given the descriptors 3, what to run, and 4, where to say how that went:
`started PID`, `ready` when the text that was asked for was written, or `failed WHY`. SIGTERM has it end the worker in
order, SIGQUIT at once; other signals are passed on. When it ends it leaves a file: how the worker ended, and its last
words.

A worker may have a lease, which the agent renews in a file as long as it hears of its master. The keeper ends a worker
whose lease is over, and does not start it: then another one runs elsewhere soon, or does so already. SIGURG has it look
whether there is a lease; a keeper that does not know of them ignores that one.

There are as many of these as workers, so every import counts: `_signal` without the `enum` of `signal` saves half a
megabyte, and what to run comes by `marshal`, from an agent with the same interpreter.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import marshal
import os
import select
import sys
import time

TYPE_CHECKING = False
"""Without the megabyte that `typing` is."""

if TYPE_CHECKING:
    from typing import Any

    _signal: Any
else:
    import _signal

PLAN, REPORT = 3, 4
PR_SET_CHILD_SUBREAPER = 36
CHUNK = 65_536
LAST_WORDS_LENGTH = 2_048
LOOK_AGAIN_S = 0.02
"""While children are being killed."""

BEAT_S = 1.0
"""How often a lease is looked at in any case: what a poll waits for does not go on while the machine sleeps."""

AGENT_FIRST_S = 2.0
"""How much later than an agent a keeper ends its worker: one that is there knows best, and reports it as what it is."""

CONTACT_FORMAT = "{contact:020.6f} {contact:020.6f}\n"
"""When the master was last heard of, in seconds since the machine was started; twice, as it may be half written."""

LEASE_OVER = b"nothing was heard of the master for as long as it may run without"

PASSED_ON = (_signal.SIGHUP, _signal.SIGINT, _signal.SIGUSR1, _signal.SIGUSR2)
ENDED_FORMAT = "{status} {when} {memory}\n"
START_FAILED = 127
UMASK = 0o022
DESCRIPTORS_MAX = 2**20


class Log:
    """The files that the worker's output goes to; those of a process that it replaces go to the same ones."""

    def __init__(self, path: str, size: int, count: int) -> None:
        self._path = path
        self._size = size
        self._count = count
        self._descriptor = -1
        self._lost = 0

    def write(self, data: bytes) -> None:
        """Write without ever failing: on a full disk output is counted instead of kept."""
        try:
            self._open()
            if self._lost:
                note = b"\n[%d bytes of output could not be written]\n" % self._lost
                self._lost -= self._lost if os.write(self._descriptor, note) else 0
            while data:
                room = self._size - os.fstat(self._descriptor).st_size
                end = len(data) if len(data) <= room else data.rfind(b"\n", 0, max(0, room)) + 1
                if end or room >= self._size:
                    data = data[os.write(self._descriptor, data[: end or room]) :]
                else:
                    self._rotate()
        except OSError:
            self._lost += len(data)

    def _open(self) -> None:
        """Go on with the file that is there, also when another keeper of the same worker has begun a new one."""
        if self._descriptor >= 0 and not self._is_current():
            os.close(self._descriptor)
            self._descriptor = -1
        if self._descriptor < 0:
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def _is_current(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False

    def _rotate(self) -> None:
        lock = os.open(self._path + ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self._is_current():
                for number in range(self._count - 1, 1, -1):
                    _rename(f"{self._path}.{number - 1}", f"{self._path}.{number}")
                if self._count > 1:
                    _rename(self._path, self._path + ".1")
                else:
                    os.unlink(self._path)
        finally:
            os.close(lock)
        self._open()


class Lease:
    """How long the worker may run without a word of the master."""

    def __init__(self, contact: str, fence: str) -> None:
        """The first file says when the master was last heard of, the second one how long ago that may be."""
        self._contact_file = contact
        self._fence_file = fence
        self._fence: float | None = None
        self._contact: float | None = None

    def look(self) -> None:
        """Find out whether there is a lease."""
        try:
            self._fence = float(_content(self._fence_file))
        except ValueError:
            self._fence = None

    def left(self, more: float = 0.0) -> float | None:
        """Return how many seconds there are, and some more; None for no end."""
        if self._fence is None:
            return None
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        if self._contact is None or now >= self._contact + self._fence:
            self._renew(now)
        return 0.0 if self._contact is None else max(0.0, self._contact + self._fence + more - now)

    def _renew(self, now: float) -> None:
        try:
            one, other = (float(said) for said in _content(self._contact_file).split())
        except ValueError:
            return
        if one == other and one <= now + BEAT_S:
            self._contact = one


class Keeper:
    """Runs one worker from its start to its end."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._plan = plan
        self._log = Log(plan["log"], plan["log_size"], plan["log_count"])
        self._lease = Lease(plan["contact"], plan["fence"])
        self._last_words = b""
        self._sought: bytes | None = plan["ready_text"]
        self._seen = b""
        self._status: int | None = None
        self._kill_at: float | None = None
        self._pid = -1

    def run(self) -> None:
        """Start the worker, and return when nothing is left of it."""
        signals, wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_blocking(wakeup, False)
        for number in (_signal.SIGTERM, _signal.SIGQUIT, _signal.SIGCHLD, _signal.SIGURG, *PASSED_ON):
            _signal.signal(number, lambda *_: None)
        _signal.set_wakeup_fd(wakeup)
        self._lease.look()
        if self._lease.left() == 0.0:
            _say(b"failed be started: " + LEASE_OVER)
            return
        output, written = os.pipe2(os.O_CLOEXEC)
        if not self._start(written):
            return
        os.close(written)
        os.set_blocking(output, False)
        poll = select.poll()
        poll.register(signals, select.POLLIN)
        poll.register(output, select.POLLIN)
        ending = False
        while not ending:
            for descriptor, _ in poll.poll(self._patience()):
                if descriptor == signals:
                    for number in _read(signals):
                        self._hear(number)
                elif not self._copy(output):
                    poll.unregister(output)
            alive = self._bury()
            if self._status is not None:
                # The worker is its first process. Whatever else it started has nobody to serve.
                ending = not alive
                self._kill_all()
            elif self._is_to_be_killed():
                self._kill_all()
        while self._copy(output, to_the_end=True):
            pass
        self._leave_word()

    def _start(self, written: int) -> bool:
        problem, told = os.pipe2(os.O_CLOEXEC)
        self._pid = os.fork()
        if self._pid == 0:
            _become(self._plan, written, told)
        os.close(told)
        why = b""
        while chunk := os.read(problem, CHUNK):
            why += chunk
        os.close(problem)
        if why:
            os.waitpid(self._pid, 0)
            _say(b"failed " + why)
            return False
        _say(b"started %d" % self._pid)
        if self._sought is None:
            os.close(REPORT)
        return True

    def _patience(self) -> float | None:
        """Return after how many milliseconds to look without being woken."""
        if self._status is not None:
            return LOOK_AGAIN_S * 1000
        pauses = [] if self._kill_at is None else [self._kill_at - time.monotonic()]
        left = self._lease.left(AGENT_FIRST_S)
        if left is not None:
            pauses += [left, BEAT_S]
        return max(LOOK_AGAIN_S, min(pauses)) * 1000 if pauses else None

    def _is_to_be_killed(self) -> bool:
        if self._kill_at != 0.0 and self._lease.left(AGENT_FIRST_S) == 0.0:
            self._kill_at = 0.0
            self._note(b"killed by its keeper: " + LEASE_OVER)
        return self._kill_at is not None and time.monotonic() >= self._kill_at

    def _note(self, text: bytes) -> None:
        """Have users read what becomes of the worker, where they read what it says."""
        line = b"\n[" + text + b"]\n"
        self._log.write(line)
        self._last_words = (self._last_words + line)[-LAST_WORDS_LENGTH:]

    def _hear(self, number: int) -> None:
        if number == _signal.SIGTERM and self._kill_at is None:
            self._kill_at = time.monotonic() + self._plan["grace"]
            self._send(self._plan["signal"])
            self._send(_signal.SIGCONT)
        elif number == _signal.SIGQUIT:
            self._kill_at = 0.0
        elif number == _signal.SIGURG:
            self._lease.look()
        elif number in PASSED_ON:
            self._send(number)

    def _send(self, number: int) -> None:
        if self._status is None:
            try:
                os.kill(self._pid, number)
            except OSError:
                pass  # It has just become another user's, or there is no such right; it is killed in the end.

    def _copy(self, output: int, to_the_end: bool = False) -> bool:
        """Write down what was said; returns whether there may be more."""
        try:
            data = os.read(output, CHUNK)
        except BlockingIOError:
            return not to_the_end
        if not data:
            return False
        self._log.write(data)
        self._last_words = (self._last_words + data)[-LAST_WORDS_LENGTH:]
        if self._sought is not None:
            self._seen += data
            if self._sought in self._seen:
                self._sought = None
                self._seen = b""
                _say(b"ready")
                os.close(REPORT)
            else:
                self._seen = self._seen[-len(self._sought) :]
        return True

    def _bury(self) -> bool:
        """Take the status of whatever has ended; returns whether there are children left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._pid:
                self._status = status

    def _kill_all(self) -> None:
        for path in self._plan["cgroup_kill"]:
            _write(path, b"1")
        for pid in _descendants(os.getpid()):
            try:
                os.kill(pid, _signal.SIGKILL)
            except OSError:
                pass

    def _leave_word(self) -> None:
        memory = int(any(_has_killed(_content(path)) for path in self._plan["cgroup_events"]))
        said = ENDED_FORMAT.format(status=self._status, when=time.time_ns(), memory=memory).encode() + self._last_words
        path = self._plan["ended"]
        try:
            descriptor = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.write(descriptor, said)
            os.close(descriptor)
            os.rename(path + ".new", path)
        except OSError:
            pass  # The directory is gone, or the disk is full: the agent finds that the keeper has ended.
        for path in self._plan["cgroup_directories"]:
            try:
                os.rmdir(path)
            except OSError:
                pass


def _become(plan: dict[str, Any], written: int, told: int) -> None:
    """Become the worker; does not return."""
    doing = "be set up"
    try:
        _signal.set_wakeup_fd(-1)
        os.setsid()
        for each in range(1, 32):
            if each not in (_signal.SIGKILL, _signal.SIGSTOP):
                _signal.signal(each, _signal.SIG_DFL)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
        doing = "be limited"
        for path in plan["cgroup_procs"]:
            _put(path, str(os.getpid()).encode())
        if plan["rlimits"]:
            import resource

            for kind, most in plan["rlimits"]:
                resource.setrlimit(kind, (most, most))
        doing = "enter " + plan["cwd"]
        # As the agent's user: directories above a worker's own are closed to others.
        os.chdir(plan["cwd"])
        if plan["user"] is not None:
            doing = f"become user {plan['user'][0]}"
            uid, gid, groups = plan["user"]
            os.setgroups(groups)
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
        os.umask(UMASK)
        os.dup2(written, 1)
        os.dup2(written, 2)
        doing = "run " + plan["command"][0]
        _execute(plan["command"], plan["env"])
    except OSError as problem:
        why = os.strerror(problem.errno) if problem.errno else str(problem)
        os.write(told, f"{doing}: {why}".encode(errors="replace"))
    except BaseException as problem:
        os.write(told, f"{doing}: {problem!r}".encode(errors="replace"))
    finally:
        os._exit(START_FAILED)


def _execute(command: list[str], env: dict[str, str]) -> None:
    """Become a program; that of `os` imports a module, which may be where only the agent's user can go."""
    program = command[0]
    if "/" in program:
        os.execve(program, command, env)
    found: OSError = FileNotFoundError(errno.ENOENT, "")
    for directory in env.get("PATH", "").split(":"):
        try:
            os.execve((directory or ".") + "/" + program, command, env)
        except OSError as problem:
            if problem.errno not in (errno.ENOENT, errno.ENOTDIR):
                found = problem
    raise found


def _descendants(pid: int) -> list[int]:
    """Return the processes below one, nearest first."""
    found = []
    waiting = [pid]
    while waiting:
        each = waiting.pop()
        try:
            threads = os.listdir(f"/proc/{each}/task")
        except OSError:
            continue
        for thread in threads:
            children = [int(child) for child in _content(f"/proc/{each}/task/{thread}/children").split()]
            found += children
            waiting += children
    return found


def _has_killed(events: bytes) -> bool:
    """Say whether the kernel has killed for want of memory, by its own counts."""
    counts = dict(line.split() for line in events.splitlines() if line)
    return int(counts.get(b"oom_kill", 0)) > 0


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, CHUNK)
    except BlockingIOError:
        return b""


def _content(path: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    try:
        return os.read(descriptor, CHUNK)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def _put(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


def _write(path: str, data: bytes) -> None:
    try:
        _put(path, data)
    except OSError:
        pass


def _rename(old: str, new: str) -> None:
    try:
        os.rename(old, new)
    except FileNotFoundError:
        pass


def _say(line: bytes) -> None:
    try:
        os.write(REPORT, line + b"\n")
    except OSError as problem:
        if problem.errno != errno.EPIPE:
            raise


def main() -> None:
    """Keep the worker that is described."""
    os.closerange(REPORT + 1, DESCRIPTORS_MAX)
    for descriptor in (PLAN, REPORT):
        os.set_inheritable(descriptor, False)
    with os.fdopen(PLAN, "rb") as file:
        plan = marshal.load(file)
    os.chdir("/")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        _say(b"failed be kept: " + os.strerror(ctypes.get_errno()).encode())
        sys.exit(1)
    Keeper(plan).run()
