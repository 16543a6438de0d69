# mypy: allow-untyped-calls
"""Who may be connected to the uplink's port: a few at a time, and those that do not log in not for long."""

from collections.abc import Callable
from typing import Protocol

from autobahn.twisted.rawsocket import WampRawSocketServerFactory, WampRawSocketServerProtocol
from autobahn.wamp.serializer import CBORSerializer
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from controlplane.clock import Clock, DelayedCall

LOGIN_LIMIT_S = 10.0
CONNECTIONS_MAX = 8

log = Logger()


class Login(Protocol):
    """What is said of a connection by whoever answers on it."""

    @property
    def has_joined(self) -> bool:
        """Whether somebody has proved the node's key on it."""
        ...


class _Connection(WampRawSocketServerProtocol):
    """A connection that must have logged in within a time."""

    factory: "Connections"
    _deadline: DelayedCall

    @property
    def has_joined(self) -> bool:
        """Whether somebody has proved the node's key on it."""
        login: Login | None = self._session
        return login is not None and login.has_joined

    def connectionMade(self) -> None:  # noqa: N802
        super().connectionMade()
        self.factory.add(self)
        self._deadline = self.factory.clock.callLater(LOGIN_LIMIT_S, self._check)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        self.factory.connections.remove(self)
        if self._deadline.active():
            self._deadline.cancel()
        super().connectionLost(reason)

    def _check(self) -> None:
        if not self.has_joined:
            log.warn("a connection to the uplink of node {node} did not log in", node=self.factory.node_id)
            self.abort()


class Connections(WampRawSocketServerFactory):
    """Makes connections; of too many, the one that has waited longest for its login has to go."""

    protocol = _Connection
    noisy = False

    def __init__(self, answer: Callable[[], Login], clock: Clock, node_id: str) -> None:
        """`answer()` makes what answers on a connection, an autobahn `ITransportHandler`."""
        super().__init__(answer, [CBORSerializer()])
        self.clock = clock
        self.node_id = node_id
        self.connections: list[_Connection] = []

    def add(self, new: _Connection) -> None:
        """Take note of a connection."""
        self.connections.append(new)
        if len(self.connections) > CONNECTIONS_MAX:
            waiting = (each for each in self.connections if not each.has_joined)
            next(waiting, new).abort()
