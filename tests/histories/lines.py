"""Sessions that clients call by: of a real router, or of a plane in this process."""

import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor, task
from twisted.internet.defer import Deferred, ensureDeferred

from controlplane.cli.dev import Installation
from controlplane.clock import sleep
from controlplane.errors import ControlPlaneError
from controlplane.keys import read_key
from controlplane.master.layout import StateDirectory
from controlplane.master.plane import Plane
from controlplane.records.principals import Caller
from controlplane.transports import Login
from controlplane.wamp import Session, join_once

ATTEMPTS = 600
PAUSE_S = 0.2


class RouterLine:
    """A session of the router."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def call(self, uri: str, within: float, *args: Any, **kwargs: Any) -> Deferred[Any]:
        return self._session.call(uri, within, *args, **kwargs)

    def abort(self) -> None:
        transport = self._session._inner._transport
        if transport is not None and transport.transport is not None:
            transport.transport.abortConnection()


class PlaneLine:
    """What stands for a session of a plane without a router."""

    def __init__(self, plane: Plane, caller: Caller) -> None:
        self._plane = plane
        self._caller = caller
        self._waiting: list[Deferred[Any]] = []

    def call(self, uri: str, within: float, *args: Any, **kwargs: Any) -> Deferred[Any]:
        answer = ensureDeferred(self._plane.invoke(self._caller, uri, args, kwargs))
        self._waiting.append(answer)
        return answer

    def abort(self) -> None:
        for answer in self._waiting:
            if not answer.called:
                answer.cancel()


class Installed(Installation):
    """A router and a master without agents, with a defect in the master if one is named."""

    def __init__(self, directory: Path, defect: str | None = None) -> None:
        super().__init__(StateDirectory(directory), 0)
        self.defect = defect
        self._lines: list[RouterLine] = []

    def _spawn(self, name: str, command: list[str], environment: dict[str, str] | None = None) -> None:
        if name == "master" and self.defect is not None:
            arguments = command[command.index("controlplane") + 1 :]
            command = [sys.executable, "-m", "tests.histories.planted", self.defect, *arguments]
        super()._spawn(name, command, environment)

    async def begin(self) -> None:
        """Start, and return when sessions can be joined and calls are answered."""
        self.prepare(task.Clock())
        self.start()
        await self.ready()

    async def ready(self) -> None:
        """Return when calls are answered."""
        for attempt in range(ATTEMPTS):
            try:
                await (await self.join()).call("controlplane.node.list_nodes", 5.0)
                return
            except ControlPlaneError:
                if attempt + 1 == ATTEMPTS:
                    raise
                await sleep(reactor, PAUSE_S)

    async def join(self) -> "RouterLine":
        """Join a session as administrator."""
        login = Login(url=f"ws://127.0.0.1:{self.port}/ws", realm="default", authid="admin", authrole="owner")
        for attempt in range(ATTEMPTS):
            try:
                line = RouterLine(await join_once(reactor, login, read_key(self.state.admin_key)))
                self._lines.append(line)
                return line
            except ControlPlaneError:
                if attempt + 1 == ATTEMPTS:
                    raise
                await sleep(reactor, PAUSE_S)
        raise AssertionError

    async def restart_master(self, defect: str | None = None) -> None:
        """End the master as kill -9 does, and start it again, with another defect or none."""
        self.kill_master()
        self.defect = defect
        self.spawn("master")
        await self.ready()

    def kill_master(self) -> None:
        master = self.children.pop("master")
        master.kill()
        master.wait()

    def end(self) -> None:
        for line in self._lines:
            line.abort()
        self.stop()
