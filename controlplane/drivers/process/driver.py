"""The driver for processes: each with a keeper of its own that outlives the agent.

A process is never changed. Another configuration is another process, started beside the old one where it can be, on
ports of its own; the old one is ended when the new one is ready.
"""

import os
import shutil
import signal
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import Logger

from controlplane.clock import limit, sleep
from controlplane.core.placeholders import fill
from controlplane.drivers.checks import Place, Prober, look_at_all, look_of, looks_of, run_command, until_well
from controlplane.drivers.driver import Surroundings, Unit
from controlplane.drivers.files import lock_driver, note_number, noted_number, remove_homes
from controlplane.drivers.following import LogPart, follow
from controlplane.drivers.notes import Notes
from controlplane.drivers.operations import NOT_RUNNING, read_config, read_order, tail
from controlplane.drivers.own_values import own_values
from controlplane.drivers.ports import Ports
from controlplane.drivers.process.adoption import inspect, note_of
from controlplane.drivers.process.drafts import Draft, addresses, draft, plan
from controlplane.drivers.process.figures import figures
from controlplane.drivers.process.guarding import Guarding, fence_file
from controlplane.drivers.process.limits import Groups, find_groups
from controlplane.drivers.process.remains import end_marked
from controlplane.drivers.process.running import Note, Running
from controlplane.drivers.process.taken import Taken
from controlplane.drivers.process.updates import updated
from controlplane.drivers.processes import State, glance, identify
from controlplane.drivers.serving import End, Serving
from controlplane.errors import NoAnswer, WorkerFailed
from controlplane.records.operations import SendSignal
from controlplane.records.profiles import (
    CommandCheck,
    DelayCheck,
    HttpCheck,
    LogCheck,
    ProcessProperties,
    TcpCheck,
    WorkerConfig,
)
from controlplane.records.types import Oid, Seconds
from controlplane.records.workers import Findings, WorkerSpec

DIRECTORY_MODE = 0o700

log = Logger()


class _Places(NamedTuple):
    """Where things of one worker are."""

    home: Path

    @property
    def log(self) -> Path:
        return self.home / "log"

    @property
    def rebuilds(self) -> Path:
        """How often it was wanted that nothing be left of what it has kept."""
        return self.home / "rebuilds"

    @property
    def own(self) -> Path:
        """The worker's own directory."""
        return self.home / "files"


class ProcessDriver:
    """Runs processes; see `controlplane.drivers.driver.Driver`."""

    name = "process"

    def __init__(self, surroundings: Surroundings, reactor: Any) -> None:
        self._surroundings = surroundings
        self._reactor = reactor
        self._serving: Serving[Running] = Serving(
            surroundings.cores,
            self._over,
            lambda oid: self._notes.cross_out(oid),
            lambda oid, reason: self._lost(oid, reason),
        )
        self._begun: set[Running] = set()
        """What is to serve and does not yet."""

        self._guarding = Guarding(surroundings.directory)
        self._groups: Groups | None = None
        self._unlock: Callable[[], None] | None = None

    async def open(self, lost: Callable[[Oid, str], None]) -> Mapping[Oid, Unit]:
        """Make ready and adopt what runs; see `Driver`.

        A worker that has ended while no agent was there is returned as well, and reported lost right after, with what
        it died of.
        """
        self._lost = lost
        directory = self._surroundings.directory
        directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        self._unlock = lock_driver(directory)
        self._guarding.open()
        self._notes = Notes(directory / "notes", Note)
        self._ports = Ports(directory / "ports.json", self._surroundings.ports, "worker")
        ended: dict[Oid, Unit] = {}
        for note in list(self._notes.read()):
            if not self._adopt(note):
                ended[note.oid] = note.unit()
        spared = frozenset(running.mark for running in self._serving.running.values())
        await end_marked(self._reactor, f"{directory}/workers/", spared)
        remove_homes(directory / "workers", {oid.hex for oid in (*self._serving.running, *ended)})
        return {**ended, **self._serving.units()}

    async def start(self, spec: WorkerSpec) -> Unit:
        """Make the worker run with this configuration; see `Driver`."""
        config, properties = read_config(spec, ProcessProperties)
        await self._serving.endings.over(spec.oid)
        unit = self.find(spec.oid)
        if unit is not None and unit.digest == spec.digest:
            return unit
        if unit is None and config.adopts is not None and self._take(spec, config.adopts, properties):
            return self._note(spec.oid).unit()
        return await self._replace(spec)

    async def update(self, spec: WorkerSpec) -> Unit | None:
        """Change limits of a worker that runs, and how it is ended; see `Updates`."""
        running = self._serving.running.get(spec.oid)
        self._groups = self._groups or find_groups()
        note = None if running is None or running.note is None else updated(running.note, spec, self._groups)
        if running is None or note is None:
            return None
        _, properties = read_config(spec, ProcessProperties)
        self._notes.note(spec.oid, note)
        running.note = note
        running.grace, running.stop_signal = properties.stop.grace, signal.Signals[properties.stop.signal]
        return note.unit()

    async def inspect(self, identity: str, snapshot: bool) -> Findings:
        """Return what profile a process of this node could have; see `Adopts`."""
        notes = (running.note for running in self._serving.running.values())
        return inspect(
            identity, snapshot, frozenset(note.process for note in notes if note is not None), self._surroundings.ports
        )

    def find(self, oid: Oid) -> Unit | None:
        """Return what runs of a worker now."""
        return self._serving.unit(oid)

    async def stop(self, oid: Oid) -> None:
        """End the worker, and remove its directory and its logs; see `Driver`."""
        await self._serving.stop(oid)
        self._serving.forget(oid)
        self._guarding.forget(oid)
        shutil.rmtree(self._places(oid).home, ignore_errors=True)

    async def statistics(self, oid: Oid) -> dict[str, Any]:
        """Return what the worker and its children use: processor seconds, bytes, threads, open files."""
        note = self._note(oid)
        own = own_values(self._places(oid).own, note.config)
        return {"kind": "process", **figures(note.keeper.pid, note.taken), **own, "unkept_limits": list(note.unkept)}

    async def logs(self, oid: Oid, lines: int, length: int) -> str:
        """Return the last lines that a worker has written; see `Operates`."""
        return tail(self._logs(oid), lines, length)

    async def follow(self, oid: Oid, after: str | None, lines: int, length: int) -> LogPart:
        """Return what a worker has written after a position; see `Follows`."""
        return follow(self._logs(oid), after, lines, length)

    async def operate(self, oid: Oid, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out an operation on a running worker; see `Operates`."""
        order = read_order(self.name, operation, parameters)
        note = self._note(oid)
        if isinstance(order, SendSignal):
            try:
                self._serving.require(oid).send(signal.Signals[order.signal])
            except ProcessLookupError:
                raise WorkerFailed(NOT_RUNNING) from None
            return {}
        unit = await self._replace(WorkerSpec(oid=oid, digest=note.digest, config=note.config))
        return {"pid": unit.pid, "started": unit.started}

    async def kill(self, oid: Oid) -> None:
        """Kill what runs of a worker; see `Kills`."""
        await self._serving.stop(oid, hard=True)

    def guard(self, fences: Mapping[Oid, Seconds]) -> None:
        """Have keepers end workers whose leases are over; see `Guards`."""
        self._guarding.keep(fences)
        kept = (*self._serving.running.values(), *self._begun)
        changed = {oid for oid in {running.oid for running in kept} if self._tell_fence(oid)}
        for running in kept:
            if running.oid in changed:
                running.look_at_lease()

    def _tell_fence(self, oid: Oid) -> bool:
        try:
            return self._guarding.tell(oid, self._places(oid).home)
        except OSError as problem:
            log.error(
                "the keeper of worker {oid} cannot be told of its lease: {problem}", oid=str(oid), problem=problem
            )
            return False

    def renew(self, contact: Seconds) -> None:
        """Have the time of leases counted from this moment; see `Guards`."""
        self._guarding.renew(contact)

    async def check(self, oid: Oid) -> None:
        """Look at a running worker; see `Checks`."""
        note = self._note(oid)
        state = glance(note.process.pid).state if identify(note.process.pid) == note.process else State.ENDED
        if state is State.HELD:
            raise WorkerFailed("its process is stopped by a signal or a debugger")
        if state is State.ENDED:
            raise WorkerFailed("its process has ended")
        await look_at_all(self._serving.require(oid).looks)

    async def close(self, keep: bool) -> None:
        """Let go of everything; see `Driver`."""
        if self._unlock is None:
            return
        await self._serving.close(keep)
        if not keep:
            remove_homes(self._surroundings.directory / "workers")
        self._ports.close()
        self._unlock()
        self._unlock = None

    # Starting

    async def _replace(self, spec: WorkerSpec) -> Unit:
        config, properties = read_config(spec, ProcessProperties)
        await self._serving.starts.acquire()
        try:
            note = await self._bring_up(spec, properties, config)
        finally:
            self._serving.starts.release()
        # The old one is still to go; that takes no turn of a start.
        await self._serving.endings.over(spec.oid)
        return note.unit()

    async def _bring_up(self, spec: WorkerSpec, properties: ProcessProperties, config: WorkerConfig) -> Note:
        """Start a process and have it serve in the place of the one that does so now."""
        oid = spec.oid
        await self._clear(oid, config.rebuilds)
        slot = await self._serving.make_room(oid, config, properties)
        places = self._places(oid)
        for each in (self._surroundings.directory / "workers", places.home, places.own):
            each.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        note_number(places.rebuilds, config.rebuilds)
        new = Running(self._reactor, oid, f"{places.home}/{uuid4().hex[:12]}", places.home, self._serving.ended)
        new.grace, new.stop_signal = properties.stop.grace, signal.Signals[properties.stop.signal]
        try:
            numbers = {name: port.number for name, port in properties.ports.items()}
            address = self._surroundings.address
            ports = await self._ports.take_all(self._reactor, address, numbers, f"{oid}/{slot}", new.mark)
            made = draft(oid, config, properties, places.own, address, ports, new.mark)
            if made.user is not None:
                os.chown(places.own, made.user.uid, made.user.gid)
            self._groups = self._groups or find_groups()
            new.kept = self._groups.plan(properties.limits, Path(new.mark).name)
            self._groups.make(new.kept)
            environment = {"PATH": made.env["PATH"]}
            self._guarding.tell(oid, places.home)
            self._begun.add(new)
            told = plan(
                made,
                properties,
                new.kept,
                places.log,
                new.word,
                self._guarding.contact_file,
                fence_file(places.home),
            )
            begun = await new.begin(told, places.log, environment)
            await new.outlast(self._until_ready(new, properties, made, ports))
        except Exception:
            await self._serving.undo(new)
            raise
        finally:
            self._begun.discard(new)
        note = Note(
            oid=oid,
            digest=spec.digest,
            config=spec.config,
            run=new.mark,
            slot=slot,
            keeper=begun.keeper,
            process=begun.process,
            started=time.time_ns(),
            ports=ports,
            addresses=addresses(properties, address, ports),
            unkept=new.kept.unkept,
        )
        self._serving.replace(oid, config)
        self._serving.serve(new, slot)
        self._notes.note(oid, note)
        new.looks = looks_of(properties, self._place(made, ports))
        new.serve(note, lambda: self._prober(new, properties, made, ports))
        return note

    async def _until_ready(
        self, new: Running, properties: ProcessProperties, made: Draft, ports: Mapping[str, int]
    ) -> None:
        ready = properties.ready
        match ready.check:
            case DelayCheck(seconds=seconds):
                await sleep(self._reactor, seconds)
            case LogCheck(text=text):
                try:
                    await limit(self._reactor, ensureDeferred(new.said()), ready.timeout, "the worker")
                except NoAnswer:
                    raise WorkerFailed(
                        f"it was not ready within {ready.timeout:g} s: it did not write {text!r}"
                    ) from None
            case TcpCheck() | HttpCheck() | CommandCheck() as check:
                await until_well(self._reactor, look_of(check, self._place(made, ports)), ready)

    def _place(self, made: Draft, ports: Mapping[str, int]) -> Place:
        def run(command: Sequence[str]) -> Coroutine[Deferred[Any], Any, None]:
            filled = [fill(text, made.values) for text in command]
            user = (made.user.uid, made.user.gid) if made.user is not None else None
            return run_command(self._reactor, filled, made.env, made.cwd, user)

        return Place(self._reactor, self._surroundings.address, ports, run)

    def _prober(
        self, running: Running, properties: ProcessProperties, made: Draft, ports: Mapping[str, int]
    ) -> Prober | None:
        if properties.health is None:
            return None
        look = look_of(properties.health.check, self._place(made, ports))
        return Prober(self._reactor, look, properties.health, running.condemn)

    # Ending

    async def _clear(self, oid: Oid, rebuilds: int) -> None:
        """End a worker and leave nothing of what it has kept, when that is wanted and was not done yet."""
        if noted_number(self._places(oid).rebuilds) != rebuilds:
            await self.stop(oid)

    async def _over(self, running: Running, end: End) -> None:
        """End a process, and give back what it had of the machine."""
        try:
            await end()
        finally:
            self._ports.release_all(running.mark)
            if self._groups is not None:
                self._groups.remove(running.kept)

    # Adopting

    def _take(self, spec: WorkerSpec, adopts: Mapping[str, Any], properties: ProcessProperties) -> bool:
        """Have a process that runs already be a worker; returns whether it still runs."""
        home = self._places(spec.oid).home
        note = note_of(spec, adopts, properties, home, self._surroundings.address)
        if note is None:
            return False
        home.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        if self._adopt(note):
            self._notes.note(spec.oid, note)
        return spec.oid in self._serving.running

    def _adopt(self, note: Note) -> bool:
        """Go on with a worker of a former agent; returns whether it still runs."""
        places = self._places(note.oid)
        kind = Taken if note.taken else Running
        running = kind(self._reactor, note.oid, note.run, places.home, self._serving.ended)
        spec = WorkerSpec(oid=note.oid, digest=note.digest, config=note.config)
        try:
            config, properties = read_config(spec, ProcessProperties)
            made = draft(note.oid, config, properties, places.own, self._surroundings.address, note.ports, note.run)
            running.adopt(note)
        except (ProcessLookupError, WorkerFailed) as problem:
            reason = running.how_it_ended() if isinstance(problem, ProcessLookupError) else problem.message
            self._notes.cross_out(note.oid)
            running.word.unlink(missing_ok=True)
            self._reactor.callLater(0, self._lost, note.oid, f"{reason}; that was while no agent was here")
            return False
        running.grace, running.stop_signal = properties.stop.grace, signal.Signals[properties.stop.signal]
        self._ports.adopt_all(note.ports, f"{note.oid}/{note.slot}", note.run)
        self._serving.serve(running, note.slot)
        running.looks = looks_of(properties, self._place(made, note.ports))
        running.serve(note, lambda: self._prober(running, properties, made, note.ports))
        return True

    # Looking

    def _note(self, oid: Oid) -> Note:
        note = self._serving.require(oid).note
        assert note is not None  # Or it would not be said to serve.
        return note

    def _logs(self, oid: Oid) -> list[Path]:
        """Return the files with what a worker has written, the newest first."""
        log_file = self._places(oid).log
        return [log_file, *sorted(log_file.parent.glob("log.[0-9]*"), key=lambda file: int(file.suffix[1:]))]

    def _places(self, oid: Oid) -> _Places:
        return _Places(self._surroundings.directory / "workers" / oid.hex)
