"""How one container is looked at: until it is ready, and again and again whether it still is well."""

from collections.abc import Sequence
from typing import Any

from controlplane.clock import sleep
from controlplane.core.placeholders import fill
from controlplane.drivers.checks import Look, NotWell, Place, Prober, look_of, looks_of, until_well
from controlplane.drivers.container.drafts import Draft
from controlplane.drivers.container.engine import Engine, EngineProblem
from controlplane.drivers.container.running import Running
from controlplane.drivers.container.work import execute
from controlplane.errors import WorkerFailed
from controlplane.records.operations import Execute
from controlplane.records.profiles import CommandCheck, ContainerProperties, DelayCheck, HttpCheck, LogCheck, TcpCheck

SAID_MAX = 200


class Looks:
    """The looks at one container."""

    def __init__(
        self, reactor: Any, engine: Engine, running: Running, properties: ContainerProperties, made: Draft, address: str
    ) -> None:
        self._reactor = reactor
        self._engine = engine
        self._running = running
        self._properties = properties
        self._made = made
        self._place = Place(reactor, address, made.ports, self._run)

    async def until_ready(self) -> None:
        """Return when it is ready; raises `WorkerFailed` when that takes too long."""
        ready = self._properties.ready
        match ready.check:
            case DelayCheck(seconds=seconds):
                await sleep(self._reactor, seconds)
            case LogCheck(text=text):
                await until_well(self._reactor, lambda: self._look_at_log(text), ready)
            case TcpCheck() | HttpCheck() | CommandCheck() as check:
                await until_well(self._reactor, look_of(check, self._place), ready)

    def prober(self) -> Prober | None:
        """Begin to look whether it is well; None when nobody wants that, or the engine does it and tells us."""
        health = self._properties.health
        if health is None or isinstance(health.check, CommandCheck):
            return None
        return Prober(self._reactor, look_of(health.check, self._place), health, self._running.condemn)

    def all(self) -> tuple[Look, ...]:
        """Return what to look at when somebody wants to know whether it is well."""
        return looks_of(self._properties, self._place)

    async def _look_at_log(self, text: str) -> None:
        container = self._running.container
        try:
            said: bytes = await self._engine.call(lambda client: client.logs(container))
        except EngineProblem as problem:
            raise NotWell(str(problem)) from None
        if text.encode() not in said:
            raise NotWell(f"it did not write {text!r}")

    async def _run(self, command: Sequence[str]) -> None:
        filled = tuple(fill(text, self._made.values) for text in command)
        try:
            answer = await execute(self._engine, self._running.container, Execute(command=filled))
        except (WorkerFailed, EngineProblem) as problem:
            raise NotWell(str(problem)) from None
        if answer["code"]:
            said = answer["output"].strip()[-SAID_MAX:]
            raise NotWell(f"the command ended with code {answer['code']}" + (f": {said}" if said else ""))
