"""One process of a worker, from the moment it is asked for to its end.

A worker of the control plane has a process after another, and for a moment two. Each is watched here, probed while it
serves, and brought to its end with whatever force it needs.
"""

import enum
import signal
from collections.abc import Callable
from typing import Protocol

from autobahn.wamp.exception import ApplicationError
from twisted.internet.defer import ensureDeferred
from twisted.logger import Logger

from controlplane.clock import DelayedCall, limit
from controlplane.drivers.processes import DescriptorReactor, Identity, Process, State, glance, identify
from controlplane.drivers.router.notes import WorkerNote
from controlplane.drivers.router.probes import ANSWER_LIMIT_S, Probe
from controlplane.drivers.router.workers import Description, Workers
from controlplane.errors import NoAnswer, WorkerFailed
from controlplane.records.types import Oid

END_LIMIT_S = 5.0
LEAVE_LIMIT_S = 1.0
"""How long a process may live after its node has said that it left."""

STALE_LIMIT_S = 60.0
"""How long a worker that has to be replaced is kept when nobody does."""

log = Logger()


class Phase(enum.Enum):
    """How far a process has come; it only ever moves forward."""

    STARTING = "starting"
    SERVING = "serving"
    STALE = "serving for the time being"
    STOPPING = "stopping"
    ENDED = "ended"


class Host(Protocol):
    """The node that a process belongs to."""

    @property
    def pid(self) -> int | None:
        """Of the node's controller, through which every question goes."""
        ...

    async def linked(self) -> bool:
        """Wait for a link that is just being made anew, and say whether there is one; without a node there is none."""
        ...


class Running:
    """One process of a worker; `ended(this, reason)` is called once, while `phase` still says what it was doing."""

    def __init__(
        self,
        reactor: DescriptorReactor,
        host: Host,
        workers: Workers,
        oid: Oid,
        worker_id: str,
        ended: Callable[["Running", str], None],
    ) -> None:
        self.oid = oid
        self.worker_id = worker_id
        self.phase = Phase.STARTING
        self.note: WorkerNote | None = None
        self.ending: str | None = None
        """What it died of."""

        self._reactor = reactor
        self._host = host
        self._workers = workers
        self._ended = ended
        self._process: Process | None = None
        self._probe: Probe | None = None
        self._timer: DelayedCall | None = None
        self._verdict: str | None = None

    def watch(self, identity: Identity) -> None:
        """Begin to watch the process, or raise `ProcessLookupError`."""
        self._process = Process(self._reactor, identity, self._on_end)

    def found(self, description: Description) -> Identity:
        """Begin to watch the process that the node describes; raises `WorkerFailed` when it is gone already."""
        identity = identify(description.pid) if description.pid else None
        if identity is not None:
            try:
                self.watch(identity)
            except ProcessLookupError:
                pass
            else:
                return identity
        raise WorkerFailed("the worker's process ended while it was being set up")

    def has_died(self) -> bool:
        """Say whether the process was found and has ended, also when that is just about to be noticed."""
        process = self._process
        return process is not None and (not process.watched or identify(process.pid) != process.identity)

    def serve(self, note: WorkerNote) -> None:
        """Take note that clients can connect, and see to it that it stays so."""
        self.note = note
        self.phase = Phase.SERVING
        self._probe = Probe(self._reactor, note.process.pid, self._ask, self._hung, lambda: self._host.pid)

    def outlive(self) -> None:
        """Keep serving for a while, until another has taken over."""
        self.phase = Phase.STALE
        self._timer = self._reactor.callLater(STALE_LIMIT_S, self.kill)

    def left_node(self) -> None:
        """Take note that the node knows the worker no more; its process should end now."""
        if self.phase in (Phase.SERVING, Phase.STALE) and not (self._timer and self._timer.active()):
            self._timer = self._reactor.callLater(LEAVE_LIMIT_S, self.kill, "left its node and was killed")

    def kill(self, verdict: str | None = None) -> None:
        """End the process at once; `verdict` is the reason that counts."""
        self._verdict = self._verdict or verdict
        if self._process is not None:
            self._process.send(signal.SIGKILL)

    async def stop(self) -> None:
        """End the process in order, by force if need be, and return when it is gone."""
        self.phase = Phase.STOPPING if self.phase is not Phase.ENDED else Phase.ENDED
        self._watch_no_more()
        if self._process is None:
            await self._find_and_kill()
            return
        state = glance(self._process.pid).state if self._process.watched else State.ENDED
        if state is State.HELD:
            self.kill()  # It would not hear that it shall stop.
        elif state is not State.ENDED:
            try:
                await self._workers.stop(self.worker_id)
            except (WorkerFailed, NoAnswer, ApplicationError):
                self.kill()
        await self._gone()

    async def discard(self) -> None:
        """End a process that serves nobody, and return when it is gone."""
        self.phase = Phase.STOPPING if self.phase is not Phase.ENDED else Phase.ENDED
        self._watch_no_more()
        if self._process is None:
            await self._find_and_kill()
        else:
            self.kill()
            await self._gone()

    def let_go(self) -> None:
        """Leave the process to itself."""
        self._watch_no_more()
        if self._process is not None:
            self._process.let_go()

    async def gone(self) -> None:
        """Return when the process has ended."""
        if self._process is not None:
            await self._process.end()

    async def _gone(self) -> None:
        try:
            await limit(self._reactor, ensureDeferred(self.gone()), END_LIMIT_S, self.worker_id)
        except NoAnswer:
            self.kill()
            await self.gone()

    async def _find_and_kill(self) -> None:
        """End a process of which nothing but the name is known yet; without its node it ends by itself."""
        while await self._host.linked():
            try:
                description = await self._workers.describe(self.worker_id)
                if description is None:
                    return
                self.found(description)
            except (WorkerFailed, NoAnswer):
                continue  # The link was lost once more, or the process is just gone.
            self.kill()
            await self.gone()
            return

    async def _ask(self) -> None:
        await self._workers.ask(self.worker_id, ANSWER_LIMIT_S)

    def _hung(self, reason: str) -> None:
        self._probe = None
        self.kill(reason)

    def _watch_no_more(self) -> None:
        if self._probe is not None:
            self._probe.close()
            self._probe = None
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _on_end(self, reason: str) -> None:
        self._watch_no_more()
        self.ending = self._verdict or reason
        self._ended(self, self.ending)
        self.phase = Phase.ENDED
