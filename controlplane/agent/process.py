"""The agent as a process: this machine, its drivers, and a session with the master's realm.

Nothing that an edge node does not need is imported here: no store, no command line, no crossbar.
"""

import os
import socket
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.defer import ensureDeferred
from twisted.logger import Logger

from controlplane import __version__
from controlplane.agent.agent import ANSWER_WITHIN_S, Agent
from controlplane.agent.leases import Machine
from controlplane.agent.membership import Keys, Pins, join, known_master, rotate
from controlplane.agent.notebook import Notebook
from controlplane.agent.pages import poll_pages
from controlplane.agent.stunnel import Stunnel, find_stunnel
from controlplane.agent.tunnels import Tunnels
from controlplane.config import AgentSettings
from controlplane.connection import Connection
from controlplane.drivers.driver import Driver, Surroundings
from controlplane.errors import ControlPlaneError, InvalidConfiguration, NodeUnpaired, UnknownKey
from controlplane.keys import public_key
from controlplane.paths import machine_identity, short_directory
from controlplane.process import lock_directory, notify, real_chance, run_until_stopped
from controlplane.records.nodes import NodeFacts
from controlplane.records.protocol import ASSIGNMENT_TOPIC, QUESTION_TOPIC, TICK_TOPIC, TUNNELS_TOPIC
from controlplane.tokens import read_token
from controlplane.transports import Login, require_protected
from controlplane.wamp import Session

DRIVER_GROUP = "controlplane.drivers"
MANAGEMENT_REALM = "default"
AGENT_ROLE = "agent"
DEFAULT_URL = "ws://127.0.0.1:8080/ws"

log = Logger()


class AgentProcess:
    """The agent's process."""

    def __init__(self, reactor: Any, settings: AgentSettings, drivers: Mapping[str, Driver] | None = None) -> None:
        """Make ready; `drivers` take the place of the installed ones."""
        directory = Path(settings.state_dir).resolve()
        lock_directory(directory, "agent")
        self._settings = settings
        self._directory = directory
        self._keys = Keys(directory)
        self._reactor = reactor
        self._token = read_token(settings.join) if settings.join else None
        chance = real_chance()
        surroundings = Surroundings(
            directory=directory,
            sockets=short_directory(directory / "sockets"),
            address=settings.address,
            ports=(settings.first_port, settings.last_port),
            cores=os.cpu_count() or 1,
            engine=settings.engine,
        )
        if drivers is None:
            drivers = _load_drivers(settings.drivers.split(","), surroundings, reactor)
        stunnel = find_stunnel()
        facts = _facts(settings, surroundings, stunnel)
        self._agent = Agent(reactor, chance, facts, drivers, Notebook(directory), Machine(reactor, directory))
        self._agent.rotate = self._rotate
        self._agent.poll = lambda looks: poll_pages(reactor, looks)
        self._agent.trust = self._trust
        self._session: Session | None = None
        self._tunnels: Tunnels | None = None
        if stunnel is not None:
            name = public_key(self._keys.current)
            self._tunnels = Tunnels(
                reactor, directory / "tunnels", surroundings.sockets, stunnel, surroundings.ports, name
            )
        joined = self._token or known_master(directory)
        keys = tuple(key for key in settings.server_keys.split(",") if key)
        self._pins = Pins(directory, keys or (joined.server_keys if joined else ()))
        login = Login(
            url=settings.url or (joined.url if joined else DEFAULT_URL),
            realm=MANAGEMENT_REALM,
            authrole=AGENT_ROLE,
            ca_file=settings.ca_file,
            server_keys=self._pins.keys,
        )
        require_protected(login)
        self._connection = Connection(
            reactor,
            login,
            self._keys.in_use,
            joined=self._joined,
            left=self._left,
            random=chance.random,
            refused=self._refused,
        )

    async def begin(self) -> None:
        """Adopt what runs, and connect."""
        if self._token is not None:
            name = self._settings.name or socket.gethostname()
            await join(self._reactor, self._token, self._directory, self._keys.current, name)
        log.info("the public key of this node is {key}", key=public_key(self._keys.current))
        if self._tunnels is None:
            log.info("stunnel is not installed: clusters of this node have all their workers on this machine")
        else:
            await self._tunnels.open()
        await self._agent.open()
        self._connection.start()
        notify("READY=1")
        log.info("the agent {version} is ready", version=__version__)

    async def end(self) -> None:
        """Leave the router; stop the workers unless they are to go on."""
        self._connection.stop()
        await self._agent.close(self._settings.keep_workers)
        if self._tunnels is not None:
            await self._tunnels.close(self._settings.keep_workers)
        log.info("the agent has ended in order")

    async def _joined(self, session: Session) -> None:
        self._session = session
        self._keys.accepted()
        for topic in (ASSIGNMENT_TOPIC, QUESTION_TOPIC, TICK_TOPIC):
            await session.subscribe(topic, self._heard)
        if self._tunnels is not None:
            await session.subscribe(TUNNELS_TOPIC, self._heard)
            self._tunnels.joined(session)
        self._agent.joined(session)

    def _heard(self, topic: str, payload: Mapping[str, Any]) -> None:
        if topic != TUNNELS_TOPIC:
            self._agent.heard(topic, payload)
        if self._tunnels is not None:
            self._tunnels.heard(topic, payload)

    def _left(self) -> None:
        self._session = None
        self._connection.key = self._keys.in_use
        self._agent.left()
        if self._tunnels is not None:
            self._tunnels.left()

    def _refused(self, problem: ControlPlaneError) -> None:
        if isinstance(problem, UnknownKey):
            self._keys.refused()
            self._connection.key = self._keys.in_use
        # An unknown key alone says nothing: it may be another master, or one that was put back from a backup.
        if isinstance(problem, NodeUnpaired):
            self._agent.dismiss()
            if self._tunnels is not None:
                self._tunnels.dismiss()

    def _trust(self, keys: tuple[str, ...]) -> None:
        """Know the router by other keys the next time."""
        if self._pins.learn(keys):
            log.info("the router is known by the keys {keys} from now on", keys=", ".join(keys))
            self._connection.login = msgspec.structs.replace(self._connection.login, server_keys=keys)

    def _rotate(self) -> None:
        session = self._session
        if session is not None:
            ensureDeferred(rotate(self._keys, session, ANSWER_WITHIN_S, session.leave))


def main(settings: AgentSettings) -> int:
    """Run the agent until it is told to stop."""
    from twisted.internet import reactor

    agent = AgentProcess(reactor, settings)
    return run_until_stopped(reactor, agent.begin, agent.end)


def _facts(settings: AgentSettings, surroundings: Surroundings, stunnel: Stunnel | None) -> NodeFacts:
    return NodeFacts(
        version=__version__,
        machine=machine_identity(),
        address=settings.address,
        sockets=str(surroundings.sockets),
        drivers=tuple(settings.drivers.split(",")),
        ports=surroundings.ports,
        capacity=settings.capacity,
        cores=surroundings.cores,
        stunnel=stunnel.version if stunnel is not None else None,
    )


def _load_drivers(names: list[str], surroundings: Surroundings, reactor: Any) -> dict[str, Driver]:
    installed = {entry.name: entry for entry in entry_points(group=DRIVER_GROUP)}
    drivers: dict[str, Driver] = {}
    for name in names:
        if name not in installed:
            raise InvalidConfiguration(
                f"there is no driver {name!r}; installed are {', '.join(sorted(installed))}",
                next_step="install the package that brings it, or leave it out",
            )
        directory = surroundings.directory / "drivers" / name
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        drivers[name] = installed[name].load()(surroundings._replace(directory=directory), reactor)
    return drivers
