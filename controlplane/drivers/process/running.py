"""One process of a worker with its keeper, from the moment it is asked for to its end."""

import marshal
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred

from controlplane.clock import limit
from controlplane.drivers.checks import Look, Prober
from controlplane.drivers.driver import Unit
from controlplane.drivers.process import shim
from controlplane.drivers.process.limits import Kept
from controlplane.drivers.process.remains import MARK, end_marked
from controlplane.drivers.processes import DescriptorReactor, Identity, Process, State, glance, identify, kill, spawn
from controlplane.drivers.serving import Phase
from controlplane.errors import NoAnswer, WorkerFailed
from controlplane.records.types import Instant, Oid, Record, Seconds
from controlplane.records.workers import Address

START_LIMIT_S = 30.0
"""For the keeper alone; 30 ms are usual on an idle machine."""

BOOTSTRAP = f"import sys; sys.path.append({str(Path(shim.__file__).parent)!r}); import shim; shim.main()"
"""Imported, for to compile it would take more time and memory than all the rest of it."""

END_MARGIN_S = 5.0
"""How much longer than its worker a keeper may take to end."""

LAST_LINES_MAX = 5
LAST_WORDS_MAX = 600
UNKNOWN_END = "its keeper was killed, and so was what it kept"


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

    taken: bool = False
    """Whether it was not started by us: it has no keeper, and stands in that one's place itself."""

    restopped: bool = False
    """Whether it is to be ended otherwise than its keeper was told."""

    def unit(self) -> Unit:
        """Return what the agent is told."""
        return Unit(
            oid=self.oid, digest=self.digest, started=self.started, pid=self.process.pid, addresses=self.addresses
        )


class Begun(NamedTuple):
    """What there is of a process that was started."""

    keeper: Identity
    process: Identity


class Running:
    """One process of a worker; `ended(this, reason)` is called once, while `phase` still says what it was doing."""

    def __init__(
        self, reactor: DescriptorReactor, oid: Oid, mark: str, files: Path, ended: Callable[["Running", str], None]
    ) -> None:
        """`mark` is the identity of this process among all of this machine, `files` where its keeper leaves word."""
        self.oid = oid
        self.mark = mark
        self.phase = Phase.STARTING
        self.note: Note | None = None
        self.ending: str | None = None
        """What it died of."""

        self.kept: Kept = Kept()
        self.looks: tuple[Look, ...] = ()
        """What to look at when somebody wants to know whether it is well."""

        self.grace: Seconds = 0.0
        self.stop_signal = signal.SIGTERM
        self.prober: Prober | None = None
        self._reactor = reactor
        self._file = files / f"{Path(mark).name}.ended"
        self._ended = ended
        self._keeper: Process | None = None
        self._reports: _Reports | None = None
        self._outlasting: Deferred[None] | None = None
        self._verdict: str | None = None

    def unit(self) -> Unit | None:
        """Return what the agent is told, or None before it serves."""
        return None if self.note is None else self.note.unit()

    @property
    def word(self) -> Path:
        """Where its keeper says how it ended."""
        return self._file

    async def begin(self, plan: Mapping[str, Any], log: Path, environment: Mapping[str, str]) -> Begun:
        """Start the process and return when it runs its program; raises `WorkerFailed`."""
        heard, told = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        described = os.memfd_create("plan", os.MFD_CLOEXEC)
        output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.set_blocking(told, True)
            os.write(described, marshal.dumps(dict(plan)))
            os.lseek(described, 0, os.SEEK_SET)
            arguments = [sys.executable, "-I", "-S", "-c", BOOTSTRAP, self.mark]
            keeper = spawn(arguments, {**environment, MARK: self.mark}, output, (described, told))
        except OSError as problem:
            os.close(heard)
            raise WorkerFailed(f"no process can be started: {problem.strerror}") from None
        finally:
            for descriptor in (told, described, output):
                os.close(descriptor)
        self._reports = _Reports(self._reactor, heard)
        self._watch(keeper)
        pid = await limit(self._reactor, self._reports.wait("started"), START_LIMIT_S, "the keeper of the worker")
        # One that has ended already is known by its keeper alone.
        return Begun(keeper, identify(int(pid)) or Identity(int(pid), 0))

    async def said(self) -> None:
        """Return when the process has written what it was to write."""
        if self._reports is not None:
            try:
                await self._reports.wait("ready")
            except WorkerFailed:
                # Its keeper says no more, so it is about to end, and how will be known then.
                if self._keeper is not None:
                    await self._keeper.end()
                raise

    async def outlast(self, work: Coroutine[Deferred[Any], Any, None]) -> None:
        """Do something while it lives; raises `WorkerFailed` as soon as it has ended."""
        waiting = self._outlasting = ensureDeferred(work)
        if self.ending is not None:
            waiting.cancel()
        try:
            await waiting
        except (CancelledError, WorkerFailed):
            if self.ending is None:
                raise
        finally:
            self._outlasting = None
        if self.ending is not None:
            raise WorkerFailed(f"its process {self.ending}")

    def adopt(self, note: Note) -> None:
        """Go on with a process of a former agent, or raise `ProcessLookupError`."""
        if identify(note.keeper.pid) != note.keeper:
            raise ProcessLookupError
        self._watch(note.keeper)
        self.note = note

    def serve(self, note: Note, prober: Callable[[], Prober | None]) -> None:
        """Take note that it serves, and begin to look after it."""
        self.note = note
        self.phase = Phase.SERVING
        if self._reports is not None:
            self._reports.close()
        self.prober = prober()

    def condemn(self, verdict: str) -> None:
        """End it at once, for a reason that counts."""
        self._verdict = self._verdict or verdict
        self._send(signal.SIGQUIT)
        self._reactor.callLater(END_MARGIN_S, self._send, signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """Send the worker's own process a signal; raises `ProcessLookupError` when it is gone."""
        if self.note is None or not kill(self.note.process, number):
            raise ProcessLookupError

    def look_at_lease(self) -> None:
        """Have its keeper look whether there is a lease, and how long it is."""
        self._send(signal.SIGURG)

    async def stop(self) -> None:
        """End the process in order, by force if need be, and return when nothing is left of it."""
        if self.note is not None and self.note.restopped and self._keeper is not None:
            # Its keeper was told of another way, so we go this one ourselves.
            self.phase = Phase.STOPPING if self.phase is not Phase.ENDED else Phase.ENDED
            self._rest()
            if kill(self.note.process, self.stop_signal):
                try:
                    await limit(self._reactor, self._keeper.end(), self.grace, "the worker")
                except NoAnswer:
                    pass  # By force, then.
            await self.discard()
            return
        await self._end(signal.SIGTERM, self.grace + END_MARGIN_S)

    async def discard(self) -> None:
        """End a process that serves nobody, and return when nothing is left of it."""
        await self._end(signal.SIGQUIT, END_MARGIN_S)

    def let_go(self) -> None:
        """Leave the process to its keeper."""
        self._rest()
        if self._keeper is not None:
            self._keeper.let_go()

    async def _end(self, number: signal.Signals, patience: Seconds) -> None:
        self.phase = Phase.STOPPING if self.phase is not Phase.ENDED else Phase.ENDED
        self._rest()
        keeper = self._keeper
        if keeper is not None and keeper.watched:
            held = glance(keeper.pid).state is State.HELD
            self._send(signal.SIGKILL if held else number)
            try:
                await limit(self._reactor, keeper.end(), patience, "the keeper")
            except NoAnswer:
                self._send(signal.SIGKILL)
                await keeper.end()
        if not self._file.exists():
            # A keeper that came to its end in order has left nothing.
            await end_marked(self._reactor, self.mark)
        self._file.unlink(missing_ok=True)

    def _watch(self, keeper: Identity) -> None:
        self._keeper = Process(self._reactor, keeper, self._on_end)

    def _send(self, number: signal.Signals) -> None:
        if self._keeper is not None:
            self._keeper.send(number)

    def _rest(self) -> None:
        if self.prober is not None:
            self.prober.close()
            self.prober = None
        if self._reports is not None:
            self._reports.close()

    def _on_end(self, reason: str) -> None:
        self._rest()
        self.ending = self._verdict or self.how_it_ended(reason)
        if self._outlasting is not None:
            self._outlasting.cancel()
        self._ended(self, self.ending)
        self.phase = Phase.ENDED

    def how_it_ended(self, _reason: str = UNKNOWN_END) -> str:
        """Return what it died of: its keeper knows more than the kernel says of the keeper."""
        return how_it_ended(self._file)


class _Reports:
    """What a keeper says while it starts its worker: lines of a word and what belongs to it."""

    def __init__(self, reactor: DescriptorReactor, descriptor: int) -> None:
        self._reactor = reactor
        self._descriptor = descriptor
        self._buffer = b""
        self._said: dict[str, str] = {}
        self._over = False
        self._waiting: dict[str, Deferred[str]] = {}
        reactor.addReader(self)

    def wait(self, word: str) -> Deferred[str]:
        """Return what a line says that begins with this word; fails with `WorkerFailed` when there will be none."""

        def give_up(_: object) -> None:
            self._waiting.pop(word, None)

        found = self._waiting[word] = Deferred(give_up)
        self._settle()
        return found

    def close(self) -> None:
        """Listen no more."""
        if self._descriptor >= 0:
            self._reactor.removeReader(self)
            os.close(self._descriptor)
            self._descriptor = -1
        self._over = True
        self._settle()

    def fileno(self) -> int:
        """For the reactor."""
        return self._descriptor

    def logPrefix(self) -> str:  # noqa: N802
        """For the reactor."""
        return "keeper"

    def connectionLost(self, _reason: object) -> None:  # noqa: N802
        """For the reactor: it ends."""
        self.close()

    def doRead(self) -> None:  # noqa: N802
        """For the reactor: something was said."""
        try:
            data = os.read(self._descriptor, 65_536)
        except BlockingIOError:
            return
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            word, _, rest = line.decode(errors="replace").partition(" ")
            self._said[word] = rest
        if not data:
            self.close()
        else:
            self._settle()

    def _settle(self) -> None:
        for word in list(self._waiting):
            if word in self._said:
                self._waiting.pop(word).callback(self._said[word])
            elif "failed" in self._said:
                self._waiting.pop(word).errback(WorkerFailed(f"its process could not {self._said['failed']}"))
            elif self._over:
                self._waiting.pop(word).errback(WorkerFailed("its process ended"))


def how_it_ended(file: Path) -> str:
    """Return in words what a keeper has left about the end of its worker, with the worker's last ones."""
    try:
        first, _, last = file.read_bytes().partition(b"\n")
        status, _, memory = (int(number) for number in first.split())
    except (OSError, ValueError):
        return UNKNOWN_END
    if os.WIFSIGNALED(status):
        how = f"was killed by signal {os.WTERMSIG(status)}"
        if memory:
            how += " for want of memory (limits.memory)"
    else:
        how = f"exited with code {os.waitstatus_to_exitcode(status)}"
    lines = [line.strip() for line in last.decode(errors="replace").split("\n") if line.strip()]
    said = " | ".join(lines[-LAST_LINES_MAX:])[-LAST_WORDS_MAX:]
    return f"{how}; last it said: {said}" if said else how
