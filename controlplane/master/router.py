"""The Crossbar.io node that a master's realms live in: how it is started, and started anew for a new certificate."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from controlplane.certificates import today
from controlplane.errors import InvalidConfiguration
from controlplane.master.certificates import endpoint_tls, refuse_open_listeners, served_files
from controlplane.master.layout import StateDirectory, public_endpoint, write_router_config
from controlplane.paths import crossbar_executable
from controlplane.process import end_with_parent

LOOK_EVERY_S = 5.0
END_WITHIN_S = 30.0
PYTHON_PATH = Path(__file__).with_name("routerpath")


def router_command(state: StateDirectory) -> tuple[list[str], dict[str, str]]:
    """Return the command and the environment that run the router; the process of an earlier run is forgotten."""
    config = _config(state)
    _refresh(state, config)
    refuse_open_listeners(config)
    # Crossbar.io trips over the file of a process that was killed.
    (state.router / "node.pid").unlink(missing_ok=True)
    command = [crossbar_executable(), "start", "--cbdir", str(state.router), "--loglevel", "warn"]
    path = os.pathsep.join(filter(None, (str(PYTHON_PATH), os.environ.get("PYTHONPATH"))))
    return command, {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": path}


def run_router(state: StateDirectory, look_every: float = LOOK_EVERY_S) -> int:
    """Run the router in the foreground until it ends or is told to; return its exit status.

    Crossbar.io reads certificates only when it starts. So the router is started anew when they have changed: when ours
    was due and has been renewed, or whoever issues them has. Agents and consoles connect again; workers do not notice.
    """
    command, environment = router_command(state)
    if "tls" not in public_endpoint(_config(state)):
        os.execve(command[0], command, environment)
    child: _Child | None = None
    told: list[bool] = []

    def stop(*_: Any) -> None:
        told.append(True)
        if child is not None:
            child.terminate()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    while True:
        served = served_files(_config(state))
        child = _Child(command, environment)
        while not child.ends_within(look_every) or told:
            if told:
                child.terminate()
                return child.end()
            if _have_changed(state, served):
                break
        else:
            return child.end()
        sys.stderr.write("the certificate has changed: the router is started anew\n")
        child.terminate()
        child.end()
        command, environment = router_command(state)


class _Child:
    """The router's process."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        # In a session of its own, so that Ctrl-C reaches us alone.
        self._process = subprocess.Popen(command, env=environment, preexec_fn=end_with_parent, start_new_session=True)
        self._descriptor = os.pidfd_open(self._process.pid)

    def terminate(self) -> None:
        """Ask it to end."""
        self._process.terminate()

    def ends_within(self, seconds: float) -> bool:
        """Say whether it ends in that time."""
        return bool(select.select([self._descriptor], [], [], seconds)[0])

    def end(self) -> int:
        """Return its exit status when it has ended, by force if it takes too long."""
        if not self.ends_within(END_WITHIN_S):
            self._process.kill()
        os.close(self._descriptor)
        return self._process.wait()


def _have_changed(state: StateDirectory, served: str) -> bool:
    """Say whether the router would serve something else now; a certificate of our own that is due is renewed first."""
    config = _config(state)
    ours = public_endpoint(config).get("tls", {}).get("certificate") == str(state.certificates.certificate)
    try:
        if ours:
            state.certificates.renew_if_due(today())
        return served_files(config) != served
    except (OSError, ValueError, InvalidConfiguration):
        return False  # They are being replaced just now, or somebody made a mistake: what is served stays.


def _refresh(state: StateDirectory, config: dict[str, Any]) -> None:
    """Bring the files with the chain in step with the certificate, which may have been renewed with another chain."""
    endpoint = public_endpoint(config)
    tls = endpoint.get("tls")
    if tls is None:
        return
    if tls["certificate"] == str(state.certificates.certificate):
        state.certificates.renew_if_due(today())
    current = endpoint_tls(state.certificates.directory, Path(tls["certificate"]), Path(tls["key"]))
    if current != tls:
        endpoint["tls"] = current
        write_router_config(state, config)


def _config(state: StateDirectory) -> dict[str, Any]:
    config = state.config()
    if config is None:
        raise InvalidConfiguration(f"there is no router in {state.root}", next_step="make one with 'controlplane init'")
    return config
