"""Agents whose workers are nothing at all, so that what is left is the control plane: a process with one or many."""

import json
import os
import sys
from typing import Any

from controlplane.quiet import leave_out_bjdata

leave_out_bjdata()

from controlplane.agent.process import AgentProcess  # noqa: E402
from controlplane.config import AgentSettings  # noqa: E402
from controlplane.drivers.driver import Unit  # noqa: E402
from controlplane.logs import begin_logging  # noqa: E402
from controlplane.process import real_chance  # noqa: E402
from controlplane.records.workers import Address  # noqa: E402


class NoopDriver:
    """Starts nothing, at once."""

    def __init__(self, name: str = "router") -> None:
        self.name = name
        self.units: dict[Any, Unit] = {}
        self._chance = real_chance()
        self.lost: Any = None

    async def open(self, lost):
        self.lost = lost
        return {}

    async def start(self, spec):
        unit = Unit(
            oid=spec.oid,
            digest=spec.digest,
            started=self._chance.now(),
            pid=os.getpid(),
            addresses=(Address(type="websocket", url="ws://127.0.0.1:1/"),),
        )
        self.units[spec.oid] = unit
        return unit

    def find(self, oid):
        return self.units.get(oid)

    async def stop(self, oid):
        self.units.pop(oid, None)

    async def statistics(self, oid):
        return {}

    async def close(self, keep):
        self.units.clear()


def main(url: str, directories: list[str], ca_file: str | None = None) -> None:
    from twisted.internet import reactor
    from twisted.internet.defer import ensureDeferred

    begin_logging("noop", "text", "error")
    agents = [
        AgentProcess(
            reactor,
            AgentSettings(state_dir=directory, url=url, ca_file=ca_file, drivers="router,process"),
            drivers={name: NoopDriver(name) for name in ("router", "process")},
        )
        for directory in directories
    ]

    def begin() -> None:
        for agent in agents:
            ensureDeferred(agent.begin())
        sys.stdout.write("ready\n")
        sys.stdout.flush()

    reactor.callWhenRunning(begin)
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]), *sys.argv[3:])
