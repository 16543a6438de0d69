"""Calls that the master makes over HTTP: to addresses that its operator has named, briefly, and never redirected."""

import json
from collections.abc import Mapping
from io import BytesIO
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.protocol import Protocol as Receiving
from twisted.web.client import Agent, FileBodyProducer
from twisted.web.http_headers import Headers

from controlplane import __version__
from controlplane.clock import limit
from controlplane.core.outgoing import obstacle
from controlplane.errors import NotOffered, RemoteError
from controlplane.records.types import Seconds

CONNECT_WITHIN_S = 5.0
WITHIN_S = 10.0


class Poster(Protocol):
    """Sends JSON to addresses."""

    def obstacle(self, url: str) -> str | None:
        """Return why an address may not be called, or None when it may."""
        ...

    def post(self, url: str, body: Mapping[str, Any]) -> Deferred[None]:
        """Send a POST; fails with `NotOffered`, `RemoteError` or `NoAnswer` unless it is answered with a 2xx."""
        ...


class Nowhere:
    """May call nobody."""

    def obstacle(self, _url: str) -> str | None:
        """Return that no address may be called."""
        return "this master calls nobody"

    def post(self, url: str, _body: Mapping[str, Any]) -> Deferred[None]:
        """Refuse."""
        raise NotOffered(f"{url} cannot be called: this master calls nobody", next_step="see its setting outgoing")


class Outgoing:
    """Calls addresses that begin like one of those that were named."""

    def __init__(self, reactor: Any, allowed: tuple[str, ...], within: Seconds = WITHIN_S) -> None:
        self._reactor = reactor
        self._allowed = allowed
        self._within = within
        # No proxy of the environment, no cookies, no credentials, and no connection that is kept.
        self._agent: Any = Agent(reactor, connectTimeout=CONNECT_WITHIN_S)

    def obstacle(self, url: str) -> str | None:
        """Return why an address may not be called, or None when it may."""
        return obstacle(url, self._allowed)

    def post(self, url: str, body: Mapping[str, Any]) -> Deferred[None]:
        """Send a POST; fails with `NotOffered`, `RemoteError` or `NoAnswer` unless it is answered with a 2xx."""
        why_not = self.obstacle(url)
        if why_not is not None:
            raise NotOffered(f"{url} cannot be called: {why_not}", next_step="name it in the master's setting outgoing")
        return limit(self._reactor, ensureDeferred(self._post(url, body)), self._within, "the web server")

    async def _post(self, url: str, body: Mapping[str, Any]) -> None:
        headers = Headers({"content-type": ["application/json"], "user-agent": [f"controlplane/{__version__}"]})
        producer = FileBodyProducer(BytesIO(json.dumps(body).encode()))
        try:
            answer = await self._agent.request(b"POST", url.encode("ascii"), headers, producer)
        except CancelledError:
            raise  # It took too long.
        except Exception as problem:
            if any(each.check(CancelledError) for each in getattr(problem, "reasons", ())):
                raise CancelledError from None  # So did this, after the line was there.
            why = f"{url} cannot be called: {_in_words(problem)}"
            raise RemoteError(why, next_step="see that it is there") from None
        answer.deliverBody(_Ignoring())
        if not 200 <= answer.code < 300:
            raise RemoteError(f"{url} answered with {answer.code}", next_step="see what it says in its log")


class _Ignoring(Receiving):
    """What is said beside the status is of no interest, and may be without end."""

    def connectionMade(self) -> None:  # noqa: N802
        """Hang up."""
        line: Any = self.transport
        line.loseConnection()


def _in_words(problem: Exception) -> str:
    inner = getattr(problem, "reasons", None)
    shown = inner[0].value if inner else problem
    return str(shown) or type(shown).__name__
