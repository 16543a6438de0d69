"""An agent whose workers are processes that sleep: they can be killed, outlive their agent and are seen by their pid.

`python -m tests.sleepers LIFETIME_S URL DIRECTORY [CA_FILE]` runs the agent of the product with them until it gets
SIGTERM. No worker lives longer than LIFETIME_S, whatever becomes of its agent.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil

from controlplane.quiet import leave_out_bjdata

leave_out_bjdata()

from twisted.internet.defer import Deferred  # noqa: E402

from controlplane.agent.process import AgentProcess  # noqa: E402
from controlplane.config import AgentSettings  # noqa: E402
from controlplane.drivers.driver import Unit  # noqa: E402
from controlplane.logs import begin_logging  # noqa: E402
from controlplane.process import real_chance, run_until_stopped  # noqa: E402
from controlplane.records.workers import Address  # noqa: E402

ADDRESS = (Address(type="websocket", url="ws://127.0.0.1:1/"),)


class _Sleeper:
    """One process, watched through its pidfd, which works for those of a former agent too."""

    def __init__(self, driver: "SleepDriver", unit: Unit, child: subprocess.Popen | None) -> None:
        self.unit = unit
        self.gone: Deferred[None] = Deferred()
        self._driver = driver
        self._child = child
        self._descriptor = os.pidfd_open(unit.pid)
        driver.reactor.addReader(self)

    def fileno(self) -> int:
        return self._descriptor

    def logPrefix(self) -> str:  # noqa: N802
        return "sleeper"

    def doRead(self) -> None:  # noqa: N802
        self.release()
        if self._child is not None:
            self._child.wait()
        self._driver.ended(self)
        self.gone.callback(None)

    def connectionLost(self, _reason: Any) -> None:  # noqa: N802
        pass

    def release(self) -> None:
        """Watch it no more."""
        self._driver.reactor.removeReader(self)
        os.close(self._descriptor)


class SleepDriver:
    """Runs `sleep`; keeps a note of each, so that it is adopted by the next agent."""

    name = "router"

    def __init__(self, directory: Path, reactor: Any, lifetime_s: int) -> None:
        self.reactor = reactor
        self._directory = directory
        self._lifetime = str(lifetime_s)
        self._chance = real_chance()
        self._sleepers: dict[UUID, _Sleeper] = {}
        self._lost: Any = None
        directory.mkdir(parents=True, exist_ok=True)

    async def open(self, lost):
        self._lost = lost
        alive = {process.pid: process for process in sleepers_in(self._directory)}
        for note in self._directory.glob("*.json"):
            kept = json.loads(note.read_text())
            process = alive.get(kept["pid"])
            if process is not None and process.create_time() == kept["created"]:
                del alive[process.pid]
                unit = self._unit(UUID(note.stem), kept["digest"], kept["started"], process.pid)
                self._sleepers[unit.oid] = _Sleeper(self, unit, None)
            else:
                note.unlink()
        for unknown in alive.values():
            unknown.kill()
        return {oid: sleeper.unit for oid, sleeper in self._sleepers.items()}

    async def start(self, spec):
        await self.stop(spec.oid)
        child = subprocess.Popen(
            ["sleep", self._lifetime], cwd=self._directory, stdin=subprocess.DEVNULL, start_new_session=True
        )
        started = self._chance.now()
        note = {"pid": child.pid, "created": _created(child.pid), "digest": spec.digest, "started": started}
        self._note(spec.oid).write_text(json.dumps(note))
        unit = self._unit(spec.oid, spec.digest, started, child.pid)
        self._sleepers[spec.oid] = _Sleeper(self, unit, child)
        return unit

    def find(self, oid):
        sleeper = self._sleepers.get(oid)
        return sleeper.unit if sleeper else None

    async def stop(self, oid):
        sleeper = self._sleepers.pop(oid, None)
        if sleeper is not None:
            os.kill(sleeper.unit.pid, 9)
            await sleeper.gone
            self._note(oid).unlink(missing_ok=True)

    async def statistics(self, oid):
        return {}

    async def close(self, keep):
        for oid in list(self._sleepers):
            if keep:
                self._sleepers.pop(oid).release()
            else:
                await self.stop(oid)

    def ended(self, sleeper: _Sleeper) -> None:
        oid = sleeper.unit.oid
        if self._sleepers.get(oid) is sleeper:
            del self._sleepers[oid]
            self._note(oid).unlink(missing_ok=True)
            self._lost(oid, "its process ended")

    def _note(self, oid: UUID) -> Path:
        return self._directory / f"{oid}.json"

    def _unit(self, oid: UUID, digest: str, started: int, pid: int) -> Unit:
        return Unit(oid=oid, digest=digest, started=started, pid=pid, addresses=ADDRESS)


def sleepers_in(directory: Path) -> list[psutil.Process]:
    """Return the sleeping processes that were started in a directory or below it."""
    found = []
    for process in psutil.process_iter(["name", "status"]):
        if process.info["name"] == "sleep" and process.info["status"] != psutil.STATUS_ZOMBIE:
            try:
                if Path(process.cwd()).is_relative_to(directory):
                    found.append(process)
            except psutil.Error:
                continue
    return found


def worker_directory(agent: Path) -> Path:
    """Return where the workers of the agent with this state directory run."""
    return agent.resolve() / "sleepers"


def _created(pid: int) -> float:
    return psutil.Process(pid).create_time()


def main(lifetime_s: str, url: str, directory: str, ca_file: str | None = None) -> int:
    from twisted.internet import reactor

    begin_logging("agent", "text", "info")
    driver = SleepDriver(worker_directory(Path(directory)), reactor, int(lifetime_s))
    settings = AgentSettings(state_dir=directory, url=url, ca_file=ca_file)
    agent = AgentProcess(reactor, settings, drivers={"router": driver})
    return run_until_stopped(reactor, agent.begin, agent.end)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
