"""The real master or agent as a process that may die at a named point.

`python -m tests.crash.doomed master|agent SETTINGS LOG` loads everything once. For every line with a point and a number
of passes that it reads, it forks a process that is the master or the agent, says its number, and when that has ended,
how. With a point and a number on the command line it is the process itself, for strace.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from controlplane.quiet import leave_out_bjdata

leave_out_bjdata()

import msgspec  # noqa: E402

from controlplane.agent.process import AgentProcess  # noqa: E402
from controlplane.config import AgentSettings, MasterSettings  # noqa: E402
from controlplane.logs import begin_logging  # noqa: E402
from controlplane.master import process as master_process  # noqa: E402
from controlplane.process import end_with_parent, run_until_stopped  # noqa: E402
from controlplane.records.limits import DEFAULT_LIMITS  # noqa: E402
from tests.crash.points import Fuse, arm_agent, arm_store, arm_wire  # noqa: E402
from tests.crash.workers import FolderDriver  # noqa: E402


def run_master(settings: MasterSettings, fuse: Fuse) -> int:
    arm_store(fuse)
    arm_wire(fuse)
    return master_process.main(settings, DEFAULT_LIMITS)


def run_agent(settings: AgentSettings, fuse: Fuse) -> int:
    from twisted.internet import reactor

    driver = FolderDriver(Path(settings.state_dir) / "workers")
    arm_agent(fuse, driver)
    arm_wire(fuse)
    agent = AgentProcess(reactor, settings, drivers={"router": driver})
    return run_until_stopped(reactor, agent.begin, agent.end)


def live(kind: str, settings: Any, point: str, passes: int) -> int:
    """Be the master or the agent until the end."""
    begin_logging(kind, settings.log_format, settings.log_level)
    return (run_master if kind == "master" else run_agent)(settings, Fuse(point, passes))


def breed(kind: str, settings: Any, log: Path) -> None:
    """Fork a life for every line that is read."""
    assert "twisted.internet.reactor" not in sys.modules, "a reactor cannot be shared"
    os.write(1, b"loaded\n")
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                end_with_parent()
                output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                os.dup2(output, 1)
                os.dup2(output, 2)
                status = live(kind, settings, *json.loads(line))
            finally:
                os._exit(status)
        os.write(1, b"%d\n" % child)
        os.write(1, b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def main() -> None:
    kind, text, log, *doom = sys.argv[1:]
    settings_of = {"master": MasterSettings, "agent": AgentSettings}
    settings = msgspec.convert(json.loads(text), settings_of[kind])
    if doom:
        sys.exit(live(kind, settings, doom[0], int(doom[1])))
    breed(kind, settings, Path(log))


if __name__ == "__main__":
    main()
