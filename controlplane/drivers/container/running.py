"""One container of a worker, from the moment it is made to its end."""

import signal
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.logger import Logger

from controlplane.clock import Clock, limit, sleep
from controlplane.drivers.checks import Look, Prober
from controlplane.drivers.container.engine import Engine, EngineAway, EngineProblem, Missing
from controlplane.drivers.driver import Unit
from controlplane.drivers.serving import Phase
from controlplane.errors import NoAnswer, WorkerFailed
from controlplane.records.types import Instant, Oid, Record, Seconds
from controlplane.records.workers import Address

LOOK_EVERY_S = 1.0
"""How often a container is looked at that is to end, should its event be lost."""

REFUSALS_MAX = 10
REFUSAL_PAUSE_S = 1.0
"""An engine refuses to remove what it is just removing."""

KILL_LIMIT_S = 30.0
AWAY_PAUSE_S = 1.0
LAST_LINES = 5
LAST_WORDS_MAX = 600


log = Logger()


class Note(Record, frozen=True, kw_only=True):
    """A worker that serves, for the next agent."""

    oid: Oid
    digest: str
    config: dict[str, Any]
    run: str
    slot: int
    container: str
    """Its identity with the engine."""

    pid: int | None
    started: Instant
    ports: dict[str, int] = msgspec.field(default_factory=dict)
    addresses: tuple[Address, ...] = ()
    taken: bool = False
    """Whether it was not made by us: it bears no mark of ours, and its volumes stay when it goes."""

    def unit(self) -> Unit:
        """Return what the agent is told."""
        return Unit(oid=self.oid, digest=self.digest, started=self.started, pid=self.pid, addresses=self.addresses)


class Running:
    """One container; `ended(this, reason)` is called once, while `phase` still says what it was doing."""

    def __init__(
        self, clock: Clock, engine: Engine, oid: Oid, run: str, ended: Callable[["Running", str], None]
    ) -> None:
        self.oid = oid
        self.run = run
        self.container: str | None = None
        self.phase = Phase.STARTING
        self.note: Note | None = None
        self.ending: str | None = None
        """What it died of."""

        self.paused = False
        self.looks: tuple[Look, ...] = ()
        """What to look at when somebody wants to know whether it is well."""

        self.stop_signal = "SIGTERM"
        self.grace: Seconds = 0.0
        self.prober: Callable[[], Prober | None] = lambda: None
        """Begins to look after it."""

        self._probing: Prober | None = None
        self._clock = clock
        self._engine = engine
        self._ended = ended
        self._gone: list[Deferred[None]] = []
        self._outlasting: Deferred[None] | None = None
        self._verdict: str | None = None
        self._finding_out = False

    def unit(self) -> Unit | None:
        """Return what the agent is told, or None before it serves."""
        return None if self.note is None else msgspec.structs.replace(self.note.unit(), paused=self.paused)

    def serve(self, note: Note) -> None:
        """Take note that it serves, and begin to look after it."""
        self.note = note
        self.phase = Phase.SERVING
        self._probe()

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
            raise WorkerFailed(f"its container {self.ending}")

    def told(self, action: str) -> None:
        """Hear what the engine says about it."""
        if action == "die":
            self.find_out()
        elif action == "pause":
            self.paused = True
            self._rest()
        elif action == "unpause":
            self.paused = False
            self._probe()
        elif action == "health_status: unhealthy" and self.phase is Phase.SERVING:
            self.condemn("failed its health check and was killed")

    def condemn(self, verdict: str) -> None:
        """End it at once, for a reason that counts."""
        self._verdict = self._verdict or verdict
        self._rest()
        ensureDeferred(self._kill()).addErrback(lambda _: None)

    def find_out(self) -> None:
        """Ask the engine whether it has ended, and how."""
        if not self._finding_out and self.phase is not Phase.ENDED and self.container is not None:
            self._finding_out = True
            ensureDeferred(self._ask())

    async def stop(self) -> None:
        """End it in order, by force if need be, and return when nothing is left of it."""
        await self._end(self.stop_signal, self.grace)

    async def discard(self) -> None:
        """End one that serves nobody, and return when nothing is left of it."""
        await self._end("SIGKILL", 0.0)

    def let_go(self) -> None:
        """Leave it to the engine."""
        self._rest()

    async def _end(self, number: str, patience: Seconds) -> None:
        self.phase = Phase.STOPPING if self.phase is not Phase.ENDED else Phase.ENDED
        self._rest()
        if self.container is None:
            return
        if self.phase is not Phase.ENDED and patience > 0:
            await self._insist(self._ask_to_end(number))
            try:
                await limit(self._clock, ensureDeferred(self._wait()), patience, "the container")
            except NoAnswer:
                pass  # By force, then.
        await self._insist(self._remove())
        if self.phase is not Phase.ENDED:
            self._note_end("was removed")

    async def _insist(self, work: Coroutine[Deferred[Any], Any, None]) -> None:
        """Do something about it, waiting for an engine that is away; one that is not there any more is what we want."""
        try:
            await work
        except Missing:
            pass
        except EngineAway:
            await sleep(self._clock, AWAY_PAUSE_S)
            raise

    async def _ask_to_end(self, number: str) -> None:
        container = self.container
        try:
            if self.paused:
                await self._engine.call(lambda client: client.unpause(container))
            await self._engine.call(lambda client: client.kill(container, signal=number))
        except (Missing, EngineAway):
            raise
        except EngineProblem:
            pass  # It does not run any more.

    async def _remove(self) -> None:
        container, ours = self.container, self.note is None or not self.note.taken
        await self._engine.call(lambda client: client.remove_container(container, v=ours, force=True), KILL_LIMIT_S)

    async def _kill(self) -> None:
        container = self.container
        try:
            if self.paused:
                await self._engine.call(lambda client: client.unpause(container))
            await self._engine.call(lambda client: client.kill(container, signal="SIGKILL"))
        finally:
            self.find_out()

    async def _wait(self) -> None:
        while self.phase is not Phase.ENDED:
            gone: Deferred[None] = Deferred()
            self._gone.append(gone)
            try:
                await limit(self._clock, gone, LOOK_EVERY_S, "the container")
            except NoAnswer:
                self.find_out()

    async def _ask(self) -> None:
        """Find out whether it has ended and what of."""
        try:
            reason = await how_it_ended(self._engine, self.container)
        except Missing:
            reason = "was removed by somebody else"
        except EngineProblem:
            return  # Another time: everything is looked at when the engine is back.
        finally:
            self._finding_out = False
        if reason is not None:
            self._note_end(reason)

    def _note_end(self, reason: str) -> None:
        if self.phase is Phase.ENDED:
            return
        self._rest()
        self.ending = self._verdict or reason
        if self._outlasting is not None:
            self._outlasting.cancel()
        try:
            self._ended(self, self.ending)
        finally:
            self.phase = Phase.ENDED
            gone, self._gone = self._gone, []
            for each in gone:
                if not each.called:
                    each.callback(None)

    def _probe(self) -> None:
        if self.phase is Phase.SERVING and not self.paused and self._probing is None:
            self._probing = self.prober()

    def _rest(self) -> None:
        if self._probing is not None:
            self._probing.close()
            self._probing = None


async def insist(
    clock: Clock,
    running: Running,
    end: Callable[[], Coroutine[Deferred[Any], Any, None]],
    hurried: Callable[[], bool],
) -> None:
    """End a container, however long its engine is away; when `hurried`, what stays is found by its label later."""
    refusals = 0
    while True:
        try:
            await end()
            return
        except EngineAway:
            if hurried():
                return
        except EngineProblem as problem:
            refusals += 1
            if refusals == REFUSALS_MAX or hurried():
                log.error("a container of worker {oid} stays: {problem}", oid=str(running.oid), problem=str(problem))
                return
            await sleep(clock, REFUSAL_PAUSE_S)


async def how_it_ended(engine: Engine, container: str | None) -> str | None:
    """Return in words how a container has ended, with its last ones; None while it runs."""
    state = (await engine.call(lambda client: client.inspect_container(container)))["State"]
    if state.get("Running") or state.get("Status") == "created":
        return None
    code = int(state.get("ExitCode", 0))
    if state.get("OOMKilled"):
        how = "was killed for want of memory (limits.memory)"
    elif code > 128 and code - 128 in set(signal.Signals):
        how = f"exited with code {code}, as after signal {code - 128}"
    else:
        how = f"exited with code {code}"
    try:
        output = await engine.call(lambda client: client.logs(container, tail=LAST_LINES))
    except EngineProblem:
        return how
    lines = [line.strip() for line in output.decode(errors="replace").split("\n") if line.strip()]
    said = " | ".join(lines)[-LAST_WORDS_MAX:]
    return f"{how}; last it said: {said}" if said else how
