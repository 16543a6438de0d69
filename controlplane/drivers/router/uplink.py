# mypy: allow-untyped-calls
"""The far end of a node's management uplink: a WAMP peer for one node, without a router.

A node of Crossbar.io that is told of a management uplink logs in there with its key and registers its whole management
API. What it logs in to here routes nothing: it checks the key, remembers what was registered, and sends invocations.
Nothing that comes from the other side can raise here: what is unexpected ends the connection.

The node asks for the master's status when it has registered everything; from then on the uplink is ready.
"""

import enum
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from autobahn.wamp import message
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.role import RoleBrokerFeatures, RoleDealerFeatures
from nacl.exceptions import BadSignatureError, CryptoError
from nacl.signing import VerifyKey
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from controlplane.clock import Clock, limit
from controlplane.drivers.router.sessions import CALL_LIMIT_S, CANCELED, NO_SUCH_PROCEDURE
from controlplane.drivers.router.uplink_connections import Connections

MESSAGE_LENGTH_BEFORE_LOGIN_MAX = 65_536
REGISTRATIONS_MAX = 100_000
REALM = "controlplane"
UNKNOWN_KEY = "controlplane.error.unknown_key"
READY_PROCEDURE = "crossbarfabriccenter.mrealm.get_status"
CHALLENGE_LENGTH = 32
SIGNATURE_LENGTH = 64

log = Logger()


class Transport(Protocol):
    """What is used of autobahn's transport."""

    MAX_LENGTH: int

    def send(self, msg: Any) -> None:
        """Send a message."""
        ...

    def abort(self) -> None:
        """End the connection at once."""
        ...

    def close(self) -> None:
        """End the connection when everything is sent."""
        ...


class _Stage(enum.Enum):
    """How far a login has come; a peer only ever moves forward."""

    CONNECTED = "connected"
    CHALLENGED = "challenged"
    JOINED = "joined"
    READY = "ready"
    CLOSED = "closed"


class Uplink:
    """Where one node logs in; a `ManagementSession` while the node is there."""

    def __init__(
        self,
        clock: Clock,
        node_id: str,
        key: Callable[[], str | None],
        *,
        ready: Callable[[], None],
        lost: Callable[[], None],
        worker_gone: Callable[[str], None],
    ) -> None:
        """Admit the one node whose public key `key()` returns, and give it `node_id` as its authid.

        `ready()` is called whenever the node has logged in and offers its procedures, `lost()` whenever such a link
        has gone, and `worker_gone(worker_id)` when the procedures of a worker begin to vanish while the node stays.
        """
        self.clock = clock
        self.node_id = node_id
        self.key = key
        self.ids = itertools.count(1)
        self._ready = ready
        self._lost = lost
        self._worker_gone = worker_gone
        self._peer: Peer | None = None
        self._worker_prefix = f"crossbarfabriccenter.node.{node_id}.worker."

    def factory(self) -> Connections:
        """Return what builds a protocol for each connection to the port that the node knows."""
        return Connections(lambda: Peer(self), self.clock, self.node_id)

    @property
    def is_ready(self) -> bool:
        """Whether the node is logged in and has registered everything."""
        return self._peer is not None and self._peer.stage is _Stage.READY

    async def call(self, uri: str, *args: Any, timeout: float = CALL_LIMIT_S) -> Any:
        """Call a procedure of the node; see `ManagementSession`."""
        return await self.forward(uri, args, {}, timeout)

    async def forward(self, uri: str, args: Sequence[Any], kwargs: Mapping[str, Any], timeout: float) -> Any:
        """Call a procedure of the node with keyword arguments; raises as `call` does."""
        if self._peer is None or not self.is_ready:
            raise ApplicationError(CANCELED, "the node is not connected")
        return await limit(self.clock, self._peer.invoke(uri, args, kwargs), timeout, uri)

    def close(self) -> None:
        """Drop the node; it comes back by itself when somebody listens again."""
        if self._peer is not None:
            self._peer.drop()

    def joined(self, peer: "Peer") -> None:
        """Let a new login take the place of the old one."""
        old, self._peer = self._peer, peer
        if old is not None:
            log.info("the node {node} logged in anew; its old link is dropped", node=self.node_id)
            old.drop()

    def mirrored(self, peer: "Peer") -> None:
        """Take note that the node has registered everything."""
        if peer is self._peer:
            self._ready()

    def left(self, peer: "Peer", was_ready: bool) -> None:
        """Take note that a link is gone."""
        if peer is self._peer:
            self._peer = None
            if was_ready:
                self._lost()

    def unregistered(self, uri: str) -> None:
        """Take note that a procedure is gone."""
        if uri.startswith(self._worker_prefix):
            self._worker_gone(uri[len(self._worker_prefix) :].split(".", 1)[0])


class Peer:
    """One connection, from its first message to its end; an autobahn `ITransportHandler`."""

    _authid = None
    _session_id = None

    def __init__(self, uplink: Uplink) -> None:
        self.stage = _Stage.CONNECTED
        self._uplink = uplink
        self._registrations: dict[int, str] = {}
        self._procedures: dict[str, int] = {}
        self._calls: dict[int, Deferred[Any]] = {}
        self._requests = itertools.count(1)
        self._challenge = b""
        self._key: VerifyKey | None = None
        self._transport: Transport | None = None

    @property
    def has_joined(self) -> bool:
        """Whether somebody has proved the node's key here."""
        return self.stage in (_Stage.JOINED, _Stage.READY)

    def onOpen(self, transport: Transport) -> None:  # noqa: N802
        """For autobahn: the connection is made."""
        self._transport = transport
        transport.MAX_LENGTH = MESSAGE_LENGTH_BEFORE_LOGIN_MAX

    def onClose(self, _clean: bool) -> None:  # noqa: N802
        """For autobahn: the connection is gone."""
        self._leave()

    def onMessage(self, msg: Any) -> None:  # noqa: N802
        """For autobahn: a message has come."""
        if self.stage is _Stage.CLOSED or self._transport is None:
            return
        match self.stage, msg:
            case _Stage.CONNECTED, message.Hello():
                self._on_hello(msg)
            case _Stage.CHALLENGED, message.Authenticate():
                self._on_authenticate(msg)
            case _, message.Abort():
                self.drop()
            case ((_Stage.JOINED | _Stage.READY), _):
                self._on_joined_message(msg)
            case _:
                self._refuse("sent {kind} before it had logged in", kind=type(msg).__name__)

    def invoke(self, uri: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Deferred[Any]:
        """Call a procedure that the node has registered."""
        registration = self._procedures.get(uri)
        request = next(self._requests)
        answer: Deferred[Any] = Deferred(lambda _: self._forget(request))
        if registration is None or self._transport is None:
            answer.errback(ApplicationError(NO_SUCH_PROCEDURE, f"the node has no procedure {uri}"))
            return answer
        self._calls[request] = answer
        try:
            self._transport.send(
                message.Invocation(request, registration, args=list(args), kwargs=dict(kwargs) or None)
            )
        except Exception as error:  # A message too large or not to be encoded: autobahn has a class for each.
            self._calls.pop(request, None)
            answer.errback(ApplicationError(ApplicationError.INVALID_ARGUMENT, str(error)))
        return answer

    def drop(self) -> None:
        """End the connection; whoever waits for an answer on it is told."""
        transport = self._transport
        self._leave()
        if transport is not None:
            transport.abort()

    def _leave(self) -> None:
        was_ready = self.stage is _Stage.READY
        self.stage = _Stage.CLOSED
        self._transport = None
        calls, self._calls = self._calls, {}
        for answer in calls.values():
            answer.errback(ApplicationError(CANCELED, "the link to the node was lost"))
        self._uplink.left(self, was_ready)

    def _refuse(self, text: str, **values: Any) -> None:
        log.warn("a connection to the uplink of node {node} " + text, node=self._uplink.node_id, **values)
        self.drop()

    def _on_hello(self, msg: message.Hello) -> None:
        offered = (msg.authextra or {}).get("pubkey")
        expected = self._uplink.key()
        key = _verify_key(expected)
        if key is None or offered != expected:
            log.warn("a connection to the uplink of node {node} showed another key", node=self._uplink.node_id)
            self._send(message.Abort(UNKNOWN_KEY, "this uplink is for another node"))
            self._close()
            return
        self._key = key
        self._challenge = os.urandom(CHALLENGE_LENGTH)
        self.stage = _Stage.CHALLENGED
        self._send(message.Challenge("cryptosign", {"challenge": self._challenge.hex()}))

    def _on_authenticate(self, msg: message.Authenticate) -> None:
        if not self._proves_key(msg.signature):
            self._refuse("did not prove its key")
            return
        self.stage = _Stage.JOINED
        if self._transport is not None:
            self._transport.MAX_LENGTH = 2**24
        welcome = message.Welcome(
            next(self._uplink.ids),
            {"broker": RoleBrokerFeatures(), "dealer": RoleDealerFeatures()},
            realm=REALM,
            authid=self._uplink.node_id,
            authrole="node",
            authmethod="cryptosign",
        )
        self._send(welcome)
        self._uplink.joined(self)

    def _proves_key(self, signature: object) -> bool:
        try:
            signed = bytes.fromhex(str(signature))
        except ValueError:
            return False
        if self._key is None or len(signed) != SIGNATURE_LENGTH + CHALLENGE_LENGTH:
            return False
        try:
            return self._key.verify(signed) == self._challenge
        except BadSignatureError:
            return False

    def _on_joined_message(self, msg: Any) -> None:
        match msg:
            case message.Yield():
                if not msg.progress:
                    self._answered(msg.request, msg.args[0] if msg.args else None)
            case message.Error():
                answer = self._calls.pop(msg.request, None)
                if answer is not None:
                    answer.errback(ApplicationError(msg.error, *(str(each) for each in msg.args or ())))
            case message.Register():
                self._register(msg)
            case message.Unregister():
                self._unregister(msg)
            case message.Publish():
                if msg.acknowledge:
                    self._send(message.Published(msg.request, next(self._uplink.ids)))
            case message.Subscribe():
                self._send(message.Subscribed(msg.request, next(self._uplink.ids)))
            case message.Unsubscribe():
                self._send(message.Unsubscribed(msg.request))
            case message.Call():
                self._on_call(msg)
            case message.Goodbye():
                self._send(message.Goodbye())
                self._close()
            case message.Cancel():
                pass  # Every call of the node is answered at once.
            case _:
                self._refuse("sent {kind}, which a node never does", kind=type(msg).__name__)

    def _register(self, msg: message.Register) -> None:
        if len(self._registrations) >= REGISTRATIONS_MAX:
            self._send(message.Error(msg.MESSAGE_TYPE, msg.request, "controlplane.error.overloaded"))
            return
        registration = next(self._uplink.ids)
        self._registrations[registration] = msg.procedure
        self._procedures[msg.procedure] = registration
        self._send(message.Registered(msg.request, registration))

    def _unregister(self, msg: message.Unregister) -> None:
        uri = self._registrations.pop(msg.registration, None)
        if uri is None:
            self._send(message.Error(msg.MESSAGE_TYPE, msg.request, "wamp.error.no_such_registration"))
            return
        if self._procedures.get(uri) == msg.registration:
            del self._procedures[uri]
        self._send(message.Unregistered(msg.request))
        self._uplink.unregistered(uri)

    def _on_call(self, msg: message.Call) -> None:
        if msg.procedure != READY_PROCEDURE:
            self._send(message.Error(msg.MESSAGE_TYPE, msg.request, NO_SUCH_PROCEDURE))
            return
        self._send(message.Result(msg.request, args=[{}]))
        if self.stage is _Stage.JOINED:
            self.stage = _Stage.READY
            self._uplink.mirrored(self)

    def _forget(self, request: int) -> None:
        self._calls.pop(request, None)

    def _answered(self, request: int, value: Any) -> None:
        answer = self._calls.pop(request, None)
        if answer is not None:
            answer.callback(value)

    def _send(self, msg: Any) -> None:
        if self._transport is not None:
            self._transport.send(msg)

    def _close(self) -> None:
        """End the connection once what was sent has gone out."""
        transport = self._transport
        self._leave()
        if transport is not None:
            transport.close()


def _verify_key(text: str | None) -> VerifyKey | None:
    try:
        return VerifyKey(bytes.fromhex(text or ""))
    except (ValueError, CryptoError):
        return None
