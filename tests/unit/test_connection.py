"""A connection that is lost is tried again: how soon, and what ends an attempt."""

import socket

import pytest_twisted
from autobahn.twisted.websocket import WampWebSocketClientFactory
from autobahn.wamp.serializer import CBORSerializer
from autobahn.wamp.types import ComponentConfig
from autobahn.websocket.protocol import WebSocketProtocol
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionLost
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from controlplane.connection import RETRY_PAUSE_ALONE_MAX_S, RETRY_PAUSE_MAX_S, Connection
from controlplane.errors import NoAnswer
from controlplane.transports import CONNECT_WITHIN_S, LINE_SILENT_MAX_S, Inner, Login, open_transport
from controlplane.wamp import JOIN_WITHIN_S, Session

LOGIN = Login(url="ws://127.0.0.1:7777/ws", realm="default")
MOST = 1.5
"""Chance adds half of a pause at most."""


class Wire(StringTransport):
    """Tells of its end as a real one does, and lets a producer be taken away that there never was."""

    def __init__(self, protocol):
        super().__init__()
        self._protocol = protocol

    def abortConnection(self):  # noqa: N802
        if not self.disconnecting:
            super().abortConnection()
            self._protocol.connectionLost(Failure(ConnectionLost()))

    def unregisterProducer(self):  # noqa: N802
        self.producer = None


class Attempts:
    """A connection whose lines are made and broken by the test."""

    def __init__(self, random=0.999):
        self.reactor = MemoryReactorClock()

        async def joined(_session):
            pass

        self.connection = Connection(self.reactor, LOGIN, None, joined=joined, left=lambda: None, random=lambda: random)
        self.connection.start()

    def count(self):
        return len(self.reactor.tcpClients)

    def refuse_line(self):
        self.reactor.tcpClients[-1][2].clientConnectionFailed(None, Failure(ConnectError()))

    def make_line(self):
        protocol = self.reactor.tcpClients[-1][2].buildProtocol(None)
        protocol.makeConnection(Wire(protocol))
        return protocol

    def pause(self):
        """How long it takes until the next attempt."""
        before, waited = self.count(), 0.0
        while self.count() == before:
            self.reactor.advance(0.01)
            waited += 0.01
            assert waited < 60
        return waited


def test_whoever_finds_nobody_never_waits_long_however_long_that_lasts():
    attempts = Attempts()
    pauses = []
    for _ in range(30):
        attempts.refuse_line()
        pauses.append(attempts.pause())
    assert pauses[0] < pauses[1] < pauses[2]
    assert max(pauses) <= RETRY_PAUSE_ALONE_MAX_S * MOST + 0.02
    assert pauses[-1] >= RETRY_PAUSE_ALONE_MAX_S


def test_pauses_differ_by_chance():
    few, many = Attempts(random=0.0), Attempts(random=0.999)
    few.refuse_line()
    many.refuse_line()
    assert few.pause() < many.pause()


def test_whoever_is_answered_slowly_waits_longer():
    attempts = Attempts()
    for _ in range(12):
        protocol = attempts.make_line()
        attempts.reactor.advance(3.0)
        protocol.connectionLost(Failure(ConnectionLost()))
        pause = attempts.pause()
    assert RETRY_PAUSE_MAX_S <= pause <= RETRY_PAUSE_MAX_S * MOST + 0.02


def test_whoever_is_refused_waits_longer():
    attempts = Attempts()
    for _ in range(12):
        attempts.make_line()
        attempts.connection._current.left("controlplane.error.unknown_key", "nobody has this key")
        pause = attempts.pause()
    assert RETRY_PAUSE_MAX_S <= pause <= RETRY_PAUSE_MAX_S * MOST + 0.02


def test_an_attempt_that_nothing_comes_of_is_given_up():
    attempts = Attempts()
    line = attempts.make_line().transport
    attempts.reactor.advance(CONNECT_WITHIN_S + JOIN_WITHIN_S + 0.1)
    assert line.disconnecting or line.disconnected
    attempts.pause()


@pytest_twisted.ensureDeferred
async def test_the_kernel_gives_up_a_line_whose_other_end_confirms_nothing():
    port = reactor.listenTCP(0, Factory.forProtocol(Protocol), interface="127.0.0.1")
    login = Login(url=f"ws://127.0.0.1:{port.getHost().port}/ws", realm="default")
    over: Deferred = Deferred()

    class Owner:
        def joined(self, inner):
            raise AssertionError("nobody is there to join")

        def left(self, reason, message):
            if not over.called:
                over.callback(None)

    try:
        protocol = await open_transport(reactor, login, None, Owner())
        handle = protocol.transport.getHandle()
        assert handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == LINE_SILENT_MAX_S * 1000
        protocol.transport.abortConnection()
        await over
    finally:
        port.stopListening()


class Nobody:
    def joined(self, inner):
        pass

    def left(self, reason, message):
        pass


def session_over(state):
    """A session that joined over a real WebSocket protocol, whose line is in this state."""
    factory = WampWebSocketClientFactory(lambda: None, serializers=[CBORSerializer()])
    line = factory.buildProtocol(None)
    line.makeConnection(StringTransport())
    line._serializer = CBORSerializer()
    inner = Inner(ComponentConfig(realm="default", extra={"owner": Nobody(), "login": LOGIN, "key": None}))
    line._session, line.state = inner, state
    inner._transport, inner._session_id = line, 7
    clock = Clock()
    return Session(inner, clock), inner, clock


def outcome_of(deferred):
    outcome = []
    deferred.addBoth(outcome.append)
    return outcome


def test_a_session_whose_line_just_closed_answers_with_an_error_of_its_own():
    """Autobahn detaches a session only later, and its WebSocket refuses to send with an exception of its own."""
    session, _, _ = session_over(WebSocketProtocol.STATE_CLOSED)
    (failure,) = outcome_of(session.call("controlplane.node.list_nodes"))
    assert failure.check(NoAnswer)
    session.publish("controlplane.agent.on_tick", {})
    session.leave()


def test_whoever_waits_for_an_answer_is_told_when_the_line_is_lost():
    session, inner, _ = session_over(WebSocketProtocol.STATE_OPEN)
    outcome = outcome_of(session.call("controlplane.node.list_nodes"))
    assert outcome == []
    inner.onClose(False)
    assert outcome[0].check(NoAnswer)


def test_whoever_waits_for_an_answer_is_told_when_the_time_is_over_whatever_became_of_the_line():
    session, inner, clock = session_over(WebSocketProtocol.STATE_OPEN)
    outcome = outcome_of(session.call("controlplane.node.list_nodes", 4.0))
    inner._transport = None
    clock.advance(4.1)
    assert outcome[0].check(NoAnswer)
