"""Many nodes in one process: agents whose workers are nothing, or sessions alone that log in with the same keys.

It writes a line of JSON whenever all of them have become connected, or some are not any more.
"""

import json
import sys
from pathlib import Path
from typing import Any

from controlplane.quiet import leave_out_bjdata

leave_out_bjdata()

from controlplane.agent.agent import _Contact  # noqa: E402
from controlplane.agent.process import AGENT_ROLE, MANAGEMENT_REALM, AgentProcess  # noqa: E402
from controlplane.config import AgentSettings  # noqa: E402
from controlplane.connection import Connection  # noqa: E402
from controlplane.keys import KEY_FILE, read_key  # noqa: E402
from controlplane.logs import begin_logging  # noqa: E402
from controlplane.process import _calm_collector, real_chance  # noqa: E402
from controlplane.transports import Login  # noqa: E402
from tests.bench.noop import NoopDriver  # noqa: E402

LOOK_PERIOD_S = 0.02
BEGUN_PER_TURN = 10


class CountingDriver(NoopDriver):
    """Starts nothing, and counts how often."""

    starts = 0

    async def start(self, spec):
        CountingDriver.starts += 1
        return await super().start(spec)


class AgentMember:
    """A whole agent."""

    def __init__(self, reactor: Any, directory: str, url: str) -> None:
        settings = AgentSettings(state_dir=directory, url=url)
        self._process = AgentProcess(reactor, settings, drivers={"router": CountingDriver()})

    def begin(self) -> None:
        from twisted.internet.defer import ensureDeferred

        ensureDeferred(self._process.begin())

    def connected(self) -> bool:
        return self._process._agent._contact is _Contact.ATTACHED


class BareMember:
    """A session that does nothing."""

    def __init__(self, reactor: Any, directory: str, url: str) -> None:
        self._joined = False
        login = Login(url=url, realm=MANAGEMENT_REALM, authrole=AGENT_ROLE)
        self._connection = Connection(
            reactor,
            login,
            read_key(Path(directory) / KEY_FILE),
            joined=self._note,
            left=lambda: setattr(self, "_joined", False),
            random=real_chance().random,
        )

    async def _note(self, _session: Any) -> None:
        self._joined = True

    def begin(self) -> None:
        self._connection.start()

    def connected(self) -> bool:
        return self._joined


KINDS = {"agents": AgentMember, "bare": BareMember}


def main(kind: str, url: str, directories: list[str]) -> None:
    from twisted.internet import reactor

    begin_logging("members", "text", "error")
    members = [KINDS[kind](reactor, directory, url) for directory in directories]
    waiting = list(members)
    state = {"complete": False}

    def begin() -> None:
        for _ in range(min(BEGUN_PER_TURN, len(waiting))):
            waiting.pop().begin()
        if waiting:
            reactor.callLater(0, begin)

    def look() -> None:
        complete = all(member.connected() for member in members)
        if complete is not state["complete"]:
            state["complete"] = complete
            sys.stdout.write(json.dumps({"complete": complete, "starts": CountingDriver.starts}) + "\n")
            sys.stdout.flush()
        reactor.callLater(LOOK_PERIOD_S, look)

    def start() -> None:
        _calm_collector()
        begin()
        look()

    reactor.callWhenRunning(start)
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(Path(sys.argv[3]).read_text()))
