"""How a router is reached: where and as whom, one attempt at a session, and the line that it goes over.

URLs: `unix:/path` is RawSocket over a unix socket, `rs://host:port` RawSocket over TCP, `ws://` and `wss://` WebSocket.
What goes over a network is encrypted: `require_protected` refuses `ws://` and `rs://` beyond this machine.
"""

import socket
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import urlsplit

import cbor2
from autobahn.twisted.rawsocket import WampRawSocketClientFactory
from autobahn.twisted.wamp import ApplicationSession
from autobahn.twisted.websocket import WampWebSocketClientFactory
from autobahn.wamp.cryptosign import CryptosignKey
from autobahn.wamp.exception import ApplicationError, TransportLost
from autobahn.wamp.serializer import CBORObjectSerializer, CBORSerializer
from autobahn.wamp.types import ComponentConfig
from twisted.internet.abstract import isIPAddress
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.logger import Logger

from controlplane.core.addresses import is_loopback
from controlplane.errors import InvalidConfiguration, UntrustedRouter
from controlplane.records.types import Record, Seconds
from controlplane.wire_errors import LINE_LOST

CONNECT_WITHIN_S = 6.0
"""Long enough for a slow line; a longer attempt would only sleep between packets that ask ever more seldom."""

LINE_SILENT_MAX_S = 6.0
"""How long the other side's machine may leave unconfirmed what it was sent before the line is given up; the machine of
a program that is slow confirms. TCP alone tries for minutes, ever more seldom, and notices late that a line is good."""

NESTING_MAX = 3_000
"""Lists and objects inside each other in a message: more than Crossbar.io reads from any client."""

MESSAGE_BYTES_MAX = 16 * 1024 * 1024
PING_PERIOD_S = 4
PING_WITHIN_S = 4

log = Logger()


class Login(Record, frozen=True, kw_only=True):
    """Where to connect and as whom."""

    url: str
    realm: str
    authid: str | None = None
    authrole: str | None = None
    ca_file: str | None = None
    """Authority that the router's certificate is verified against; None for those of the system."""

    server_keys: tuple[str, ...] = ()
    """Fingerprints of keys, one of which the router must have; without `ca_file` they alone count."""


def require_protected(login: Login) -> None:
    """Refuse to log in over a network without TLS: whoever listens or stands in between could read and change all."""
    parts = urlsplit(login.url)
    if parts.scheme in ("ws", "rs") and not is_loopback(parts.hostname or ""):
        raise InvalidConfiguration(
            f"{login.url} goes over the network without TLS",
            next_step="use wss:// with the certificate authority or the fingerprint that 'controlplane init' shows",
        )


class Attempt(Protocol):
    """Who hears how an attempt at a session goes."""

    def joined(self, inner: "Inner") -> None:
        """Hear that it is joined."""
        ...

    def left(self, reason: str, message: str) -> None:
        """Hear that it is over; may be told twice."""
        ...


class Inner(ApplicationSession):
    """One attempt at a session: logs in with a key and tells its owner how it went."""

    def __init__(self, config: ComponentConfig) -> None:
        super().__init__(config)
        self._owner: Attempt = config.extra["owner"]
        self._login: Login = config.extra["login"]
        self._key: CryptosignKey | None = config.extra["key"]
        self._waiting: dict[Deferred[Any], None] = {}

    def onConnect(self) -> None:  # noqa: N802
        """Ask to join."""
        methods = ["anonymous"] if self._key is None else ["cryptosign"]
        extra = None if self._key is None else {"pubkey": self._key.public_key(), "channel_binding": None}
        login = self._login
        self.join(login.realm, authmethods=methods, authid=login.authid, authrole=login.authrole, authextra=extra)

    def onChallenge(self, challenge: Any) -> Any:  # noqa: N802
        """Prove that the key is ours."""
        if self._key is None:
            raise RuntimeError("the router asks for a proof, and there is no key")
        return self._key.sign_challenge(challenge)

    def onJoin(self, _details: Any) -> None:  # noqa: N802
        """Tell the owner."""
        self._owner.joined(self)

    def onLeave(self, details: Any) -> None:  # noqa: N802
        """Tell the owner, and close the line."""
        self._owner.left(details.reason, details.message or details.reason)
        self.disconnect()

    def onDisconnect(self) -> None:  # noqa: N802
        """Tell the owner, and whoever waits for an answer."""
        self._owner.left(*LINE_LOST)
        waiting, self._waiting = self._waiting, {}
        for answer in waiting:
            if not answer.called:
                answer.errback(TransportLost())

    def ends_with_line(self, answer: Deferred[Any]) -> Deferred[Any]:
        """Have a request fail when the line is lost; Autobahn itself hands the results of such requests to nobody."""
        if not answer.called:
            self._waiting[answer] = None
            answer.addBoth(self._answered, answer)
        return answer

    def _answered(self, result: Any, answer: Deferred[Any]) -> Any:
        self._waiting.pop(answer, None)
        return result

    def onUserError(self, fail: Any, msg: str) -> None:  # noqa: N802
        """Log what is no error of a caller."""
        if not isinstance(fail.value, ApplicationError):
            log.error("{msg}: {problem}", msg=msg, problem=fail.value)


def open_transport(reactor: Any, login: Login, key: CryptosignKey | None, owner: Attempt) -> Deferred[Any]:
    """Connect, and have the owner told of the session; the result is the protocol, or a failure to connect."""
    config = ComponentConfig(realm=login.realm, extra={"owner": owner, "login": login, "key": key})

    def make() -> Inner:
        return Inner(config)

    identity: Any = None

    def closed(_: Any) -> None:
        # Also before there is a session, which nobody else tells.
        if identity is not None and identity.problem is not None:
            owner.left(UntrustedRouter.uri, f"the router at {login.url} is not trusted: {identity.problem}")
        else:
            owner.left(*LINE_LOST)

    def connected(protocol: Any) -> Any:
        _bound_silence(protocol)
        protocol.is_closed.addCallback(closed)
        return protocol

    serializer = deep_serializer()
    parts = urlsplit(login.url)
    if parts.scheme in ("unix", "rs"):
        raw = WampRawSocketClientFactory(make, serializer=serializer)
        place: Any = (
            UNIXClientEndpoint(reactor, parts.path, timeout=CONNECT_WITHIN_S)
            if parts.scheme == "unix"
            else _tcp(reactor, parts.hostname, parts.port)
        )
        return place.connect(raw).addCallback(connected)  # type: ignore[no-any-return]
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise InvalidConfiguration(
            f"{login.url!r} is no URL of a router", next_step="use unix:/path, rs://host:port, ws://... or wss://..."
        )
    factory = WampWebSocketClientFactory(make, url=login.url, serializers=[serializer], reactor=reactor)
    # Autobahn's own timers would be those of the process's reactor, and a client in a thread has one of its own.
    factory._batched_timer = _Timers(reactor)
    factory.setProtocolOptions(
        autoPingInterval=PING_PERIOD_S,
        autoPingTimeout=PING_WITHIN_S,
        maxMessagePayloadSize=MESSAGE_BYTES_MAX,
        maxFramePayloadSize=MESSAGE_BYTES_MAX,
        openHandshakeTimeout=CONNECT_WITHIN_S,
        tcpNoDelay=True,
    )
    place = _tcp(reactor, parts.hostname, parts.port or (443 if parts.scheme == "wss" else 80))
    if parts.scheme == "wss":
        # Imported when it is needed: an agent without TLS saves the memory.
        from controlplane.tls import RouterIdentity

        identity = RouterIdentity(parts.hostname, login.ca_file, login.server_keys)
        place = wrapClientTLS(identity, place, clock=reactor)

    return place.connect(factory).addCallback(connected)  # type: ignore[no-any-return]


def deep_serializer() -> CBORSerializer:
    """Return a serializer that reads messages of any depth that comes by way of a router."""
    serializer = CBORSerializer()
    serializer._serializer = _DeepObjects()  # type: ignore[no-untyped-call]
    return serializer


class _DeepObjects(CBORObjectSerializer):
    """Reads whatever a router can forward.

    A client's JSON or MessagePack may be nested deeper than cbor2 reads by default. A message that cannot be read ends
    the connection that it came by, and that is the master's: one client would cut off all others.
    """

    def unserialize(self, payload: bytes) -> list[Any]:
        """Return the messages in a payload."""
        return [cbor2.loads(payload, max_depth=NESTING_MAX)]


class _Timers:
    """Gives Autobahn timers of the reactor that its connection is on."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def call_later(self, delay: Seconds, function: Callable[..., Any], *args: Any, **kwargs: Any) -> "_Timer":
        """Call after so many seconds."""
        return _Timer(self._reactor.callLater(delay, function, *args, **kwargs))


class _Timer:
    """One call that is due; to give up what was done already is no mistake."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def cancel(self) -> None:
        """Give it up."""
        if self._call.active():
            self._call.cancel()


def _bound_silence(protocol: Any) -> None:
    """Have the kernel give a TCP connection up soon when the other side's machine confirms nothing."""
    transport = protocol.transport
    while transport is not None and not isinstance(getattr(transport, "socket", None), socket.socket):
        transport = getattr(transport, "transport", None)  # TLS wraps it.
    if transport is not None and transport.socket.family in (socket.AF_INET, socket.AF_INET6):
        transport.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(LINE_SILENT_MAX_S * 1000))


def _tcp(reactor: Any, host: str | None, port: int | None) -> Any:
    if host is None or port is None:
        raise InvalidConfiguration("the URL of the router has no host or port", next_step="use rs://host:port")
    if isIPAddress(host):
        return TCP4ClientEndpoint(reactor, host, port, timeout=CONNECT_WITHIN_S)
    return HostnameEndpoint(reactor, host.encode(), port, timeout=CONNECT_WITHIN_S)
