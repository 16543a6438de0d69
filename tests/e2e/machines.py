"""Several machines, played on one: every agent has a mount namespace of its own, and its sockets to itself."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from controlplane.cli.dev import FIRST_WORKER_PORT, PORTS_PER_NODE
from controlplane.cli.dev import Installation as Children
from controlplane.master.layout import StateDirectory
from tests.e2e.installation import Installation

RUNTIME = f"/tmp/controlplane-{os.getuid()}"
"""Where agents keep what identifies their machine, and sockets whose path is too long elsewhere."""

APART = ["unshare", "--mount", "sh", "-c", f'mount -t tmpfs -o mode=700 tmpfs {RUNTIME} && exec "$@"', "sh"]


def missing() -> str | None:
    """Return what is missing on this machine to play several, or None."""
    if shutil.which("stunnel") is None:
        return "stunnel is not installed (apt-get install stunnel4)"
    Path(RUNTIME).mkdir(mode=0o700, exist_ok=True)
    tried = subprocess.run([*APART, "true"], capture_output=True)
    return None if tried.returncode == 0 else "mount namespaces are not permitted here; run the tests as root"


class Machines(Children):
    """Agents as on machines of their own, at 127.0.1.1, 127.0.1.2, ..."""

    def __init__(self, state: StateDirectory, nodes: int, without_stunnel: frozenset[int] = frozenset()) -> None:
        super().__init__(state, nodes)
        self.without_stunnel = without_stunnel

    def spawn(self, name: str) -> None:
        if not name.startswith("node"):
            super().spawn(name)
            return
        number = int(name.removeprefix("node"))
        # Other tests, which may run at the same time, use the ports before.
        first = FIRST_WORKER_PORT + (40 + number) * PORTS_PER_NODE
        ports = ["--first-port", str(first), "--last-port", str(first + PORTS_PER_NODE - 1)]
        where = ["--url", f"ws://127.0.0.1:{self.port}/ws", "--address", address_of(number)]
        command = [sys.executable, "-m", "controlplane", "agent", "--state-dir", str(self.node_directory(number))]
        environment = dict(os.environ)
        if number in self.without_stunnel:
            environment["CONTROLPLANE_STUNNEL"] = "/nowhere/stunnel"
        self._spawn(name, [*APART, *command, *where, *ports], environment)


def address_of(number: int) -> str:
    return f"127.0.1.{number}"


def installation_of_machines(directory: Path, nodes: int, without_stunnel: frozenset[int]) -> Installation:
    made = Installation(directory, nodes)
    made.children = Machines(StateDirectory(directory), nodes, without_stunnel)
    return made
