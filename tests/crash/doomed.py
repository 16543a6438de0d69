"""The real master or agent as a process that may die at a named point.

`python -m tests.crash.doomed master|agent SETTINGS` loads everything, says so, and waits for one line with the point
and the number of passes, so that the next life of a process is ready the moment that the last one has ended.
"""

import json
import sys
from pathlib import Path

from controlplane.quiet import leave_out_bjdata

leave_out_bjdata()

import msgspec  # noqa: E402

from controlplane.config import AgentSettings, MasterSettings  # noqa: E402
from controlplane.logs import begin_logging  # noqa: E402
from controlplane.records.limits import DEFAULT_LIMITS  # noqa: E402
from tests.crash.points import Fuse, arm_agent, arm_store, arm_wire  # noqa: E402


def run_master(settings: MasterSettings, fuse_of_line) -> int:
    from controlplane.master import process

    fuse = fuse_of_line()
    arm_store(fuse)
    arm_wire(fuse)
    return process.main(settings, DEFAULT_LIMITS)


def run_agent(settings: AgentSettings, fuse_of_line) -> int:
    from twisted.internet import reactor

    from controlplane.agent.process import AgentProcess
    from controlplane.process import run_until_stopped
    from tests.crash.workers import FolderDriver

    fuse = fuse_of_line()
    driver = FolderDriver(Path(settings.state_dir) / "workers")
    arm_agent(fuse, driver)
    arm_wire(fuse)
    agent = AgentProcess(reactor, settings, drivers={"router": driver})
    return run_until_stopped(reactor, agent.begin, agent.end)


def main() -> int:
    kind, text = sys.argv[1:3]
    settings_of = {"master": MasterSettings, "agent": AgentSettings}
    settings = msgspec.convert(json.loads(text), settings_of[kind])
    begin_logging(kind, settings.log_format, settings.log_level)

    def fuse_of_line() -> Fuse:
        print("loaded", flush=True)  # noqa: T201
        line = sys.stdin.readline()
        if not line:
            sys.exit(0)
        return Fuse(*json.loads(line))

    return (run_master if kind == "master" else run_agent)(settings, fuse_of_line)


if __name__ == "__main__":
    sys.exit(main())
