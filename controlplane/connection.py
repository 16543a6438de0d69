"""A session that is joined again whenever it is lost."""

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from autobahn.wamp.cryptosign import CryptosignKey
from automat import TypeMachineBuilder
from twisted.internet.defer import ensureDeferred
from twisted.logger import Logger

from controlplane.clock import DelayedCall
from controlplane.errors import ControlPlaneError, NoAnswer
from controlplane.records.types import Seconds
from controlplane.transports import CONNECT_WITHIN_S, Inner, Login, open_transport
from controlplane.wamp import JOIN_WITHIN_S, Session
from controlplane.wire_errors import refusal

RETRY_PAUSE_MIN_S = 0.2
RETRY_PAUSE_ALONE_MAX_S = 1.5
"""Where nobody answers: an attempt costs nobody anything then, and whoever comes back is wanted at once."""

RETRY_PAUSE_MAX_S = 5.0
"""Where somebody refuses, or takes long to answer: many are not to ask faster than they can be answered."""

PAUSES_PER_WAIT = 4
"""How many times longer than what it took to be answered a pause may become."""

log = Logger()


class _Behaviour(Protocol):
    """What can happen to a connection."""

    def start(self) -> None:
        """Begin to connect."""

    def connected(self) -> None:
        """A session is joined."""

    def lost(self) -> None:
        """The attempt or the session is over."""

    def due(self) -> None:
        """The pause is over."""

    def stop(self) -> None:
        """Connect no more."""


class _Core:
    """What the states of a connection share."""

    def __init__(self, connection: "Connection") -> None:
        self.connection = connection


def _machine() -> Callable[[_Core], _Behaviour]:
    builder = TypeMachineBuilder(_Behaviour, _Core)
    idle = builder.state("idle")
    connecting = builder.state("connecting")
    online = builder.state("online")
    waiting = builder.state("waiting")
    stopped = builder.state("stopped")

    @idle.upon(_Behaviour.start).to(connecting)
    def begin(_behaviour: _Behaviour, core: _Core) -> None:
        core.connection._attempt()

    @connecting.upon(_Behaviour.connected).to(online)
    def settle(_behaviour: _Behaviour, core: _Core) -> None:
        core.connection._online()

    @connecting.upon(_Behaviour.lost).to(waiting)
    def wait(_behaviour: _Behaviour, core: _Core) -> None:
        core.connection._wait()

    @online.upon(_Behaviour.lost).to(waiting)
    def wait_again(_behaviour: _Behaviour, core: _Core) -> None:
        core.connection._offline()
        core.connection._wait()

    @waiting.upon(_Behaviour.due).to(connecting)
    def retry(_behaviour: _Behaviour, core: _Core) -> None:
        core.connection._attempt()

    @online.upon(_Behaviour.stop).to(stopped)
    def close(_behaviour: _Behaviour, core: _Core) -> None:
        core.connection._close()
        core.connection._offline()

    @waiting.upon(_Behaviour.stop).to(stopped)
    def give_up(_behaviour: _Behaviour, core: _Core) -> None:
        core.connection._close()

    @connecting.upon(_Behaviour.stop).to(stopped)
    def abandon(_behaviour: _Behaviour, core: _Core) -> None:
        core.connection._close()

    idle.upon(_Behaviour.stop).to(stopped).returns(None)
    for state in (idle, waiting, stopped):
        state.upon(_Behaviour.lost).loop().returns(None)
        state.upon(_Behaviour.connected).loop().returns(None)
    for state in (idle, connecting, online, stopped):
        state.upon(_Behaviour.due).loop().returns(None)
    stopped.upon(_Behaviour.stop).loop().returns(None)
    for state in (connecting, online, waiting, stopped):
        state.upon(_Behaviour.start).loop().returns(None)
    return builder.build()


_make_machine = _machine()


class Connection:
    """A session that is joined again whenever it is lost."""

    def __init__(
        self,
        reactor: Any,
        login: Login,
        key: CryptosignKey | None,
        *,
        joined: Callable[[Session], Coroutine[Any, Any, None]],
        left: Callable[[], None],
        random: Callable[[], float],
        refused: Callable[[ControlPlaneError], None] = lambda _: None,
    ) -> None:
        """Make ready; `refused` hears why the other side does not let this one in."""
        self._reactor = reactor
        self.login = login
        """Where the next attempt connects to."""

        self.key = key
        """What the next attempt logs in with."""

        self._joined = joined
        self._left = left
        self._random = random
        self._refused = refused
        self._failures = 0
        self._session: Session | None = None
        self._current: _Attempted | None = None
        self._timer: DelayedCall | None = None
        self._machine = _make_machine(_Core(self))

    def start(self) -> None:
        """Begin to connect."""
        self._machine.start()

    def stop(self) -> None:
        """Leave, and connect no more."""
        self._machine.stop()

    def _attempt(self) -> None:
        self._current = attempt = _Attempted(self)
        self._timer = self._reactor.callLater(CONNECT_WITHIN_S + JOIN_WITHIN_S, attempt.give_up)
        try:
            opening = open_transport(self._reactor, self.login, self.key, attempt)
        except ControlPlaneError as problem:
            attempt.left("controlplane.error.no_route", str(problem))
            return
        opening.addCallbacks(attempt.connected, attempt.failed)

    def _online(self) -> None:
        self._cancel_timer()
        inner = self._current.inner if self._current else None
        if inner is None:
            return
        self._session = session = Session(inner, self._reactor)
        ensureDeferred(self._joined(session)).addCallbacks(
            self._settled, lambda failure: self._unusable(failure, session)
        )

    def _settled(self, _: Any) -> None:
        self._failures = 0

    def _unusable(self, failure: Any, session: Session) -> None:
        log.error("the session could not be set up: {problem}", problem=failure.value)
        if self._session is session:
            session.leave()

    def _offline(self) -> None:
        self._session = None
        self._left()

    def _wait(self) -> None:
        self._cancel_timer()
        if self._current is not None:
            self._current.abort()
        longest = self._current.longest_pause(self._reactor.seconds()) if self._current else RETRY_PAUSE_ALONE_MAX_S
        pause = min(longest, RETRY_PAUSE_MIN_S * 2.0 ** min(self._failures, 10))
        self._failures += 1
        self._timer = self._reactor.callLater(pause * (0.5 + self._random()), self._machine.due)

    def _close(self) -> None:
        self._cancel_timer()
        if self._session is not None:
            self._session.leave()
        elif self._current is not None:
            self._current.abort()

    def _cancel_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _hear_joined(self, attempt: "_Attempted") -> None:
        if attempt is self._current:
            self._machine.connected()

    def _hear_left(self, attempt: "_Attempted", reason: str, message: str) -> None:
        if attempt is self._current:
            level = log.info if self._failures else log.warn
            level("no session at {url}: {message} [{reason}]", url=self.login.url, message=message, reason=reason)
            self._machine.lost()


class _Attempted:
    """One attempt of a connection; what it says after the next one began does not count."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._protocol: Any = None
        self._connected_at: Seconds | None = None
        self._refused = False
        self.inner: Inner | None = None
        self._over = False

    def longest_pause(self, now: Seconds) -> Seconds:
        """Return how long to wait at most before the next attempt."""
        if self._refused:
            return RETRY_PAUSE_MAX_S
        if self._connected_at is None or self.inner is not None:
            return RETRY_PAUSE_ALONE_MAX_S
        return min(RETRY_PAUSE_MAX_S, max(RETRY_PAUSE_ALONE_MAX_S, PAUSES_PER_WAIT * (now - self._connected_at)))

    def connected(self, protocol: Any) -> None:
        self._protocol = protocol
        self._connected_at = self._connection._reactor.seconds()
        if self._over:
            self.abort()

    def failed(self, failure: Any) -> None:
        self.left("controlplane.error.no_answer", str(failure.value))

    def give_up(self) -> None:
        self.left("controlplane.error.no_answer", "no session within the time limit")

    def joined(self, inner: Inner) -> None:
        if self._over:
            self.abort()
            return
        self.inner = inner
        self._connection._hear_joined(self)

    def left(self, reason: str, message: str) -> None:
        if not self._over:
            self._over = True
            problem = refusal(reason, message)
            self._refused = self.inner is None and not isinstance(problem, NoAnswer)
            self._connection._hear_left(self, reason, message)
            if self._refused:
                self._connection._refused(problem)

    def abort(self) -> None:
        self._over = True
        transport = getattr(self._protocol, "transport", None)
        # Of one that is lost already, TLS cannot be ended any more: Twisted trips over it.
        if transport is not None and getattr(transport, "connected", True):
            transport.abortConnection() if hasattr(transport, "abortConnection") else transport.loseConnection()
