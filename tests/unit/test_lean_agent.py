"""What an agent carries along: nothing of drivers that nobody named, and nothing of what they need."""

import subprocess
import sys

PROGRAM = """
import sys
from importlib.metadata import entry_points
import controlplane.agent.process
for entry in entry_points(group="controlplane.drivers"):
    if entry.name in sys.argv[1:]:
        entry.load()
heavy = {"crossbar", "docker", "requests", "twisted.web.client", "controlplane.drivers.router.driver"}
print(*sorted(heavy & set(sys.modules)))
"""


def carried(*drivers):
    done = subprocess.run([sys.executable, "-c", PROGRAM, *drivers], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_an_agent_for_processes_and_containers_carries_nothing_of_routers_or_engines():
    assert carried("process", "container") == []


def test_an_agent_for_routers_does_not_import_crossbar():
    assert carried("router") == ["controlplane.drivers.router.driver"]
