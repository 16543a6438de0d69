"""The Crossbar.io node that a master's realms live in: how it is started."""

import os

from controlplane.errors import InvalidConfiguration
from controlplane.master.layout import StateDirectory
from controlplane.paths import crossbar_executable


def router_command(state: StateDirectory) -> tuple[list[str], dict[str, str]]:
    """Return the command and the environment that run the router; the process of an earlier run is forgotten."""
    if not (state.router / "config.json").exists():
        raise InvalidConfiguration(f"there is no router in {state.root}", next_step="make one with 'controlplane init'")
    # Crossbar.io trips over the file of a process that was killed.
    (state.router / "node.pid").unlink(missing_ok=True)
    command = [crossbar_executable(), "start", "--cbdir", str(state.router), "--loglevel", "warn"]
    return command, {**os.environ, "PYTHONUNBUFFERED": "1"}
