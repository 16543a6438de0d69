"""Sessions with a WAMP router: connect, log in, call and be called.

How the router is reached is said in `controlplane.transports`.
Errors cross the wire as their classes: what arrives with a known URI is raised as the class of that URI.
"""

from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

from autobahn.exception import Disconnected
from autobahn.wamp.cryptosign import CryptosignKey
from autobahn.wamp.exception import ApplicationError, TransportLost
from autobahn.wamp.types import CallDetails, PublishOptions, RegisterOptions, SubscribeOptions
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, gatherResults
from twisted.logger import Logger

from controlplane.clock import limit
from controlplane.errors import ControlPlaneError, NoAnswer
from controlplane.records.principals import Caller
from controlplane.records.types import Seconds
from controlplane.transports import Inner, Login, open_transport
from controlplane.wire_errors import from_wire_error, refusal, to_wire_error

JOIN_WITHIN_S = 14.0
CALL_WITHIN_S = 30.0
NO_LINE = (TransportLost, Disconnected)
"""What sending raises between the end of a line and the end of its session; which one depends on the transport."""

Endpoint = Callable[..., Any]

log = Logger()


class Session:
    """A joined session."""

    def __init__(self, inner: Inner, clock: Any) -> None:
        self._inner = inner
        self.clock = clock
        self.over = False
        self._upon_end: list[Callable[[], None]] = []

    @property
    def id(self) -> int:
        """Return the number that the router knows the session by."""
        return self._inner._session_id or 0

    def call(self, uri: str, within: Seconds = CALL_WITHIN_S, *args: Any, **arguments: Any) -> Deferred[Any]:
        """Call a procedure; fails with `ControlPlaneError`, also when no answer comes in time."""
        try:
            answer = self._inner.ends_with_line(self._inner.call(uri, *args, **arguments))
        except NO_LINE:
            answer = Deferred()
            answer.errback(NoAnswer("the session is gone", next_step="try again"))
        answer.addErrback(from_wire_error, uri)
        return limit(self.clock, answer, within, uri)

    def ask(self, uri: str, within: Seconds, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Deferred[Any]:
        """Call a procedure that is not ours; fails with autobahn's `ApplicationError`, or `NoAnswer` without one."""
        try:
            answer = self._inner.call(uri, *args, **kwargs)
        except NO_LINE:
            answer = Deferred()
            answer.errback(ApplicationError(ApplicationError.CANCELED, "the session is gone"))
        return limit(self.clock, answer, within, uri)

    async def register(self, procedures: Mapping[str, Endpoint]) -> None:
        """Offer procedures, also when a stale session still offers them."""
        options = RegisterOptions(details_arg="details", force_reregister=True)
        await gatherResults(
            [
                self._inner.ends_with_line(self._inner.register(endpoint, uri, options=options))
                for uri, endpoint in procedures.items()
            ],
            consumeErrors=True,
        )

    async def subscribe(self, topic: str, handler: Callable[..., None], *, prefix: bool = False) -> None:
        """Hear events of a topic, or of all topics that begin with it; the handler gets (topic, *args)."""

        def hear(*args: Any, details: Any = None, **_kwargs: Any) -> None:
            handler(details.topic or topic, *args)

        options = SubscribeOptions(match="prefix" if prefix else "exact", details_arg="details")
        await self._inner.ends_with_line(self._inner.subscribe(hear, topic, options=options))

    async def offer(self, uri: str, function: Callable[..., Any]) -> None:
        """Offer a function to the router itself: it is called as it is, without a caller."""
        await self._inner.register(function, uri, options=RegisterOptions(force_reregister=True))

    async def listen(self, topic: str, handler: Callable[..., None]) -> None:
        """Hear events of a topic together with whose they are; the handler gets (session, *args)."""

        def hear(*args: Any, details: Any = None, **_kwargs: Any) -> None:
            handler(details.publisher or 0, *args)

        await self._inner.subscribe(hear, topic, options=SubscribeOptions(details_arg="details"))

    def publish(
        self,
        topic: str,
        *payload: Any,
        session: int | None = None,
        roles: Iterable[str] = (),
        but: Iterable[int] = (),
    ) -> None:
        """Send an event: to one session or some roles only if they are given, and never to the sessions in `but`."""
        options: dict[str, Any] = {}
        if session is not None:
            options["eligible"] = [session]
        if roles:
            options["eligible_authrole"] = list(roles)
        if but:
            options["exclude"] = list(but)
        try:
            if options:
                self._inner.publish(topic, *payload, options=PublishOptions(**options))
            else:
                self._inner.publish(topic, *payload)
        except NO_LINE:
            log.debug("an event was not sent, the session is gone: {topic}", topic=topic)

    def upon_end(self, tell: Callable[[], None]) -> None:
        """Have somebody told once when a session that `join_once` joined is over, at once when it is already."""
        if self.over:
            tell()
        else:
            self._upon_end.append(tell)

    def ended(self) -> None:
        """Take note that the session is over."""
        self.over = True
        telling, self._upon_end = self._upon_end, []
        for tell in telling:
            tell()

    def leave(self) -> None:
        """End the session in order."""
        if self._inner.is_attached():
            try:
                self._inner.leave()
            except NO_LINE:
                pass  # The line was there first.


def endpoint(function: Callable[..., Coroutine[Any, Any, Any]]) -> Endpoint:
    """Return what is registered for a coroutine function (caller, args, kwargs): it fails with typed errors only."""

    def call(*args: Any, details: CallDetails, **kwargs: Any) -> Deferred[Any]:
        caller = Caller(
            session=details.caller or 0, authid=details.caller_authid or "", authrole=details.caller_authrole or ""
        )
        answer = ensureDeferred(function(caller, args, kwargs))
        answer.addErrback(to_wire_error)
        return answer

    return call


async def join_once(reactor: Any, login: Login, key: CryptosignKey | None) -> Session:
    """Join one session; raises `LoginRefused` or `NoAnswer`."""
    waiting: Deferred[Session] = Deferred()
    sessions: list[Session] = []

    class Once:
        def joined(self, inner: Inner) -> None:
            if not waiting.called:
                sessions.append(Session(inner, reactor))
                waiting.callback(sessions[0])

        def left(self, reason: str, message: str) -> None:
            if not waiting.called:
                waiting.errback(refusal(reason, message))
            for session in sessions:
                session.ended()

    try:
        await open_transport(reactor, login, key, Once())
    except (ControlPlaneError, CancelledError):
        raise
    except Exception as problem:
        raise NoAnswer(
            f"no router answers at {login.url}: {problem}", next_step="see that the router runs, and where"
        ) from problem
    return await limit(reactor, waiting, JOIN_WITHIN_S, f"the router at {login.url}")  # type: ignore[no-any-return]
