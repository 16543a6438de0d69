"""The driver for containers, of any engine that speaks Docker's API.

A container is never changed: another configuration is another container, started beside the old one where it can be.
Ours carry labels that say whose they are and what for; what has no such label is never touched. The engine tells by
events what becomes of them, and everything is looked at anew whenever its stream of events had to be taken up again.
"""

import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from twisted.internet.defer import CancelledError, ensureDeferred
from twisted.logger import Logger

from controlplane.clock import limit
from controlplane.drivers.container import drafts, taking
from controlplane.drivers.container.engine import Ears, Engine, EngineProblem, container_of, reported
from controlplane.drivers.container.images import Images
from controlplane.drivers.container.logs import read_logs
from controlplane.drivers.container.looks import Looks
from controlplane.drivers.container.running import Note, Running, how_it_ended, insist
from controlplane.drivers.container.updates import updated
from controlplane.drivers.container.work import carry_out, figures, look
from controlplane.drivers.driver import Surroundings, Unit
from controlplane.drivers.endings import outlast, shielded
from controlplane.drivers.files import lock_driver, note_number, noted_number, remove_homes
from controlplane.drivers.following import LogPart
from controlplane.drivers.notes import Notes
from controlplane.drivers.operations import read_config, read_order
from controlplane.drivers.own_values import own_values
from controlplane.drivers.ports import Ports, interface_of
from controlplane.drivers.serving import End, Serving
from controlplane.errors import WorkerFailed
from controlplane.records.profiles import ContainerProperties
from controlplane.records.types import Oid
from controlplane.records.workers import Findings, WorkerSpec

STATISTICS_LIMIT_S = 1.9
DIRECTORY_MODE = 0o700
REBUILDS = "rebuilds"

log = Logger()


class ContainerDriver:
    """Runs containers; see `controlplane.drivers.driver.Driver`."""

    name = "container"

    def __init__(self, surroundings: Surroundings, reactor: Any) -> None:
        self._surroundings = surroundings
        self._reactor = reactor
        self._serving: Serving[Running] = Serving(
            surroundings.cores,
            self._over,
            lambda oid: self._notes.cross_out(oid),
            lambda oid, reason: self._lost(oid, reason),
        )
        self._by_container: dict[str, Running] = {}
        """Everything that has not ended, also what does not serve yet or any more."""

        self._lock: Callable[[], None] | None = None
        self._closing = False

    async def open(self, lost: Callable[[Oid, str], None]) -> Mapping[Oid, Unit]:
        """Make ready and adopt what runs; see `Driver`.

        Raises `Unavailable` when there is no engine. A worker that has ended while no agent was there is returned as
        well, and reported lost right after, with what it died of.
        """
        self._lost = lost
        directory = self._surroundings.directory
        directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        self._lock = lock_driver(directory)
        try:
            self._owner = drafts.owner_of(directory / "owner")
            labels = {drafts.OWNER: self._owner}
            ears = Ears(self._told, self._look_at_all, self._by_container.__contains__)
            self._engine = Engine(self._reactor, self._surroundings.engine, labels, ears)
            await self._engine.open()
        except BaseException:
            self._unlock()
            raise
        self._images = Images(self._reactor, self._engine)
        self._notes: Notes[Note] = Notes(directory / "notes", Note)
        self._ports = Ports(directory / "ports.json", self._surroundings.ports, "worker")
        found = {each["Id"]: each for each in await self._engine.list()}
        ended: dict[Oid, Unit] = {}
        for note in list(self._notes.read()):
            there = found.pop(note.container, None) or (await taking.there(self._engine, note) if note.taken else None)
            if not await self._adopt(note, there):
                ended[note.oid] = note.unit()
        for container in found:
            await self._engine.remove(container)
        remove_homes(directory / "workers", {oid.hex for oid in (*self._serving.running, *ended)})
        if self._by_container:
            self._look_at_all()  # What ended just after it was found to run was told of while nobody knew it.
        return {**ended, **self._serving.units()}

    async def start(self, spec: WorkerSpec) -> Unit:
        """Make the worker run with this configuration; see `Driver`."""
        config, properties = read_config(spec, ContainerProperties)
        await self._serving.endings.over(spec.oid)
        unit = self.find(spec.oid)
        if unit is not None and unit.digest == spec.digest:
            return unit
        with reported():
            if unit is None and config.adopts is not None:
                note = await taking.take(self._engine, spec, config.adopts, properties, self._surroundings.address)
                if note is not None and await self._adopt(note, {"State": "running"}):
                    self._notes.note(spec.oid, note)
                    return note.unit()
            return await self._replace(spec)

    async def update(self, spec: WorkerSpec) -> Unit | None:
        """Change limits of a container that runs, and how it is ended; see `Updates`."""
        running = self._serving.running.get(spec.oid)
        with reported():
            return None if running is None else await updated(self._engine, running, spec, self._notes)

    async def inspect(self, identity: str, snapshot: bool) -> Findings:
        """Return what profile a container of this node could have; see `Adopts`."""
        return await taking.findings(
            self._engine, identity, snapshot, frozenset(self._by_container), self._surroundings.ports
        )

    def find(self, oid: Oid) -> Unit | None:
        """Return what runs of a worker now."""
        return self._serving.unit(oid)

    async def stop(self, oid: Oid) -> None:
        """End the worker, and remove its container and its directory; see `Driver`."""
        await self._serving.stop(oid)
        self._serving.forget(oid)
        shutil.rmtree(self._home(oid), ignore_errors=True)

    async def statistics(self, oid: Oid) -> dict[str, Any]:
        """Return what the container uses: processor seconds, bytes, threads."""
        note = self._note(oid)
        asked = ensureDeferred(figures(self._engine, note.container))
        with reported():
            found: dict[str, Any] = await limit(self._reactor, asked, STATISTICS_LIMIT_S, "the container engine")
        own = own_values(self._home(oid), note.config)
        return {"kind": "container", **found, **own, "paused": self._serving.require(oid).paused}

    async def logs(self, oid: Oid, lines: int, length: int) -> str:
        """Return the last lines that a worker has written; see `Operates`."""
        running = self._serving.running.get(oid)
        if running is None or lines <= 0 or length <= 0:
            return ""
        container = running.container
        with reported():
            found: bytes = await self._engine.call(lambda client: client.logs(container, tail=lines))
        return found[-length:].decode(errors="replace")

    async def follow(self, oid: Oid, after: str | None, lines: int, length: int) -> LogPart:
        """Return what a worker has written after a position; see `Follows`."""
        running = self._serving.running.get(oid)
        with reported():
            return await read_logs(self._engine, None if running is None else running.container, after, lines, length)

    async def operate(self, oid: Oid, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out an operation on a running worker; see `Operates`."""
        order = read_order(self.name, operation, parameters)
        note = self._note(oid)
        with reported():
            if operation != "restart":
                return await carry_out(self._engine, self._serving.require(oid), operation, order)
            unit = await self._replace(WorkerSpec(oid=oid, digest=note.digest, config=note.config))
            return {"pid": unit.pid, "started": unit.started}

    async def kill(self, oid: Oid) -> None:
        """Kill what runs of a worker; see `Kills`."""
        await self._serving.stop(oid, hard=True)

    async def check(self, oid: Oid) -> None:
        """Look at a running worker; see `Checks`."""
        note = self._note(oid)
        with reported():
            await look(self._engine, note.container, self._serving.require(oid).looks)

    async def close(self, keep: bool) -> None:
        """Let go of everything; see `Driver`."""
        if self._lock is None:
            return
        self._closing = True
        await self._serving.close(keep)
        self._by_container.clear()
        if not keep:
            remove_homes(self._surroundings.directory / "workers")
        await self._engine.close()
        self._ports.close()
        self._unlock()

    # Starting

    async def _replace(self, spec: WorkerSpec) -> Unit:
        config, properties = read_config(spec, ContainerProperties)
        await self._serving.starts.acquire()
        try:
            note = await self._bring_up(spec, config, properties)
        finally:
            self._serving.starts.release()
        # The old one is still to go; that takes no turn of a start.
        await self._serving.endings.over(spec.oid)
        return note.unit()

    async def _bring_up(self, spec: WorkerSpec, config: Any, properties: ContainerProperties) -> Note:
        """Start a container and have it serve in the place of the one that does so now."""
        oid = spec.oid
        await self._images.provide(properties)
        if noted_number(self._home(oid) / REBUILDS) != config.rebuilds:
            await self.stop(oid)
        note_number(self._home(oid) / REBUILDS, config.rebuilds)
        slot = await self._serving.make_room(oid, config, properties)
        new = self._new(oid, uuid4().hex, properties)
        try:
            numbers = {name: port.number for name, port in properties.ports.items()}
            address = self._surroundings.address
            ports = await self._ports.take_all(self._reactor, address, numbers, f"{oid}/{slot}", new.run)
            values = drafts.values_of(oid, config, self._home(oid), address, ports)
            if any("{directory}" in each.source for each in properties.volumes):
                self._home(oid).mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
            made = drafts.Draft(values, ports, new.run, self._owner)
            await self._create(new, spec, properties, made)
            container = new.container
            if properties.files:
                packed = drafts.archive(properties, made)
                await self._engine.call(lambda client: client.put_archive(container, "/", packed))
            await self._engine.call(lambda client: client.start(container))
            looks = Looks(self._reactor, self._engine, new, properties, made, address)
            await new.outlast(looks.until_ready())
            state = (await self._engine.call(lambda client: client.inspect_container(container)))["State"]
            if not state.get("Running"):
                raise WorkerFailed(f"its container {await how_it_ended(self._engine, container)}")
        except Exception:
            await self._serving.undo(new)
            raise
        note = Note(
            oid=oid,
            digest=spec.digest,
            config=spec.config,
            run=new.run,
            slot=slot,
            container=str(container),
            pid=state.get("Pid") or None,
            started=time.time_ns(),
            ports=ports,
            addresses=drafts.addresses(properties, address, ports),
        )
        self._serving.replace(oid, config)
        self._serving.serve(new, slot)
        self._notes.note(oid, note)
        new.prober, new.looks = looks.prober, looks.all()
        new.serve(note)
        return note

    async def _create(
        self, new: Running, spec: WorkerSpec, properties: ContainerProperties, made: drafts.Draft
    ) -> None:
        """Make the container; what an engine made while we gave up is found by its label and removed."""
        address = self._surroundings.address
        if properties.ports:
            address = await interface_of(self._reactor, address)

        def create(client: Any) -> str:
            arguments = drafts.creation(client, spec.oid, spec.digest, properties, made, address)
            return str(client.create_container(**arguments)["Id"])

        async def make() -> EngineProblem | None:
            try:
                new.container = await self._engine.call(create)
            except EngineProblem as problem:
                return problem
            self._by_container[new.container] = new
            return None

        making = ensureDeferred(make())
        try:
            await shielded(making)
        except CancelledError:
            # What is made all the same is removed.
            self._serving.endings.begin(spec.oid, outlast(making))
            raise
        problem = await making
        if problem is not None:
            raise problem

    def _new(self, oid: Oid, run: str, properties: ContainerProperties) -> Running:
        new = Running(self._reactor, self._engine, oid, run, self._serving.ended)
        new.grace, new.stop_signal = properties.stop.grace, properties.stop.signal
        return new

    # Ending

    async def _over(self, running: Running, end: End) -> None:
        """End a container, however long its engine is away, and give back what it had of the machine."""
        await insist(self._reactor, running, end, lambda: self._closing)
        if running.container is not None:
            self._by_container.pop(running.container, None)
        self._ports.release_all(running.run)

    # What the engine tells

    def _told(self, event: Mapping[str, Any]) -> None:
        running = self._by_container.get(container_of(event))
        if running is not None:
            running.told(str(event.get("Action") or event.get("status")))

    def _look_at_all(self) -> None:
        ensureDeferred(self._look()).addErrback(lambda failure: log.failure("containers were not seen", failure))

    async def _look(self) -> None:
        """Hold what is believed against what the engine says."""
        try:
            listed = {each["Id"]: each for each in await self._engine.list()}
        except EngineProblem:
            return  # It went away once more, and is asked again when it is back.
        for container, running in list(self._by_container.items()):
            state = str(listed.get(container, {}).get("State", "gone"))
            if state == "paused" and not running.paused:
                running.told("pause")
            elif state == "running" and running.paused:
                running.told("unpause")
            elif state not in ("paused", "running", "created"):
                running.find_out()

    # Adopting

    async def _adopt(self, note: Note, there: Mapping[str, Any] | None) -> bool:
        """Go on with a worker of a former agent; returns whether it still runs."""
        spec = WorkerSpec(oid=note.oid, digest=note.digest, config=note.config)
        reason: str | None = "was removed by somebody else"
        try:
            config, properties = read_config(spec, ContainerProperties)
            if there is not None:
                reason = await how_it_ended(self._engine, note.container)
        except (WorkerFailed, EngineProblem) as problem:
            reason = str(problem)
        if there is None or reason is not None:
            self._notes.cross_out(note.oid)
            if there is not None:
                await self._engine.remove(note.container)
            self._reactor.callLater(0, self._lost, note.oid, f"{reason}; that was while no agent was here")
            return False
        running = self._new(note.oid, note.run, properties)
        running.container = note.container
        running.paused = there.get("State") == "paused"
        self._ports.adopt_all(note.ports, f"{note.oid}/{note.slot}", note.run)
        values = drafts.values_of(note.oid, config, self._home(note.oid), self._surroundings.address, note.ports)
        made = drafts.Draft(values, note.ports, note.run, self._owner)
        address = self._surroundings.address
        looks = Looks(self._reactor, self._engine, running, properties, made, address)
        running.prober, running.looks = looks.prober, looks.all()
        self._serving.serve(running, note.slot)
        self._by_container[note.container] = running
        running.serve(note)
        return True

    # Looking

    def _note(self, oid: Oid) -> Note:
        note = self._serving.require(oid).note
        assert note is not None  # Or it would not be said to serve.
        return note

    def _home(self, oid: Oid) -> Path:
        return self._surroundings.directory / "workers" / oid.hex

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock()
            self._lock = None
