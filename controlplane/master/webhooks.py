"""The HTTP endpoint for webhooks: a POST to a receiver's address is a call in the name of the receiver's owner."""

import json
from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import CancelledError, ensureDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.logger import Logger
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from twisted.web.server import Request as TwistedRequest

from controlplane.errors import (
    ActionConflict,
    ActionCooldown,
    ControlPlaneError,
    InternalError,
    InvalidArgument,
    InvalidConfiguration,
    LimitReached,
    NoAnswer,
    NoSuchObject,
    NotAuthorized,
    Overloaded,
    PayloadTooLarge,
    Problem,
    StoreFull,
    TooManyCalls,
    WorkerProtected,
)
from controlplane.master.plane import Plane
from controlplane.records.receivers import WEBHOOK_PATH
from controlplane.services.receivers import Signal, about_params, signal_of

BODY_BYTES_MAX = 64 * 1024
IDLE_S = 30
LOOPBACK = "127.0.0.1"
STATUS: tuple[tuple[type[ControlPlaneError], int], ...] = (
    (InvalidArgument, 400),
    (InvalidConfiguration, 400),
    (NotAuthorized, 403),
    (NoSuchObject, 404),
    (ActionConflict, 409),
    (ActionCooldown, 409),
    (WorkerProtected, 409),
    (LimitReached, 409),
    (TooManyCalls, 429),
    (InternalError, 500),
    (Overloaded, 503),
    (StoreFull, 503),
    (NoAnswer, 503),
)
"""What an error is in HTTP; any other one is 400."""

log = Logger()


def _answer_too_long() -> bytes:
    problem = PayloadTooLarge(
        f"the body is longer than {BODY_BYTES_MAX} bytes", next_step="send a JSON object with nothing but params"
    )
    said = json.dumps({"error": problem.uri, "message": problem.message, **problem.details()}).encode() + b"\n"
    head = f"HTTP/1.1 413 Payload Too Large\r\nContent-Type: application/json\r\nContent-Length: {len(said)}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + said


TOO_LONG = _answer_too_long()
"""What is written at once to whoever sends too long a body."""


class Webhooks(Resource):
    """Everything below the root: there is nothing but webhooks."""

    isLeaf = True  # noqa: N815

    def __init__(self, plane: Plane) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._plane = plane

    def render(self, request: Request) -> Any:
        """Answer a request."""
        path = request.path.decode("ascii", "replace")
        if not path.startswith(WEBHOOK_PATH):
            return _answer(request, 404, {"error": "there is nothing here"})
        if request.method != b"POST":
            request.setHeader(b"allow", b"POST")
            return _answer(request, 405, {"error": "send a POST"})
        work = ensureDeferred(self._trigger(request, path.removeprefix(WEBHOOK_PATH)))
        request.notifyFinish().addErrback(lambda _: work.cancel())
        return NOT_DONE_YET

    async def _trigger(self, request: Request, token: str) -> None:
        try:
            params = _params(request.content.read(BODY_BYTES_MAX) if request.content is not None else b"")
            with self._plane.store.read() as view:
                signal = signal_of(view, token, params)
            action = await self._start(signal)
        except ControlPlaneError as problem:
            status = next((status for kind, status in STATUS if isinstance(problem, kind)), 400)
            _finish(request, status, {"error": problem.uri, "message": problem.message, **problem.details()})
        except CancelledError:
            pass  # Whoever asked has gone; what was begun goes on.
        else:
            _finish(request, 202, {"action": action["oid"], "name": action["name"], "status": action["status"]})

    async def _start(self, signal: Signal) -> Any:
        try:
            return await self._plane.invoke(signal.caller, signal.uri, (), signal.arguments)
        except InvalidArgument as problem:
            raise about_params(problem) from None


class ShortRequest(TwistedRequest):
    """A request whose body is not read further when it is too long: no length is believed, and nothing is put aside."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]
        self._taken = 0

    def gotLength(self, length: int | None) -> None:  # noqa: N802
        """Take note of how long the body is said to be."""
        super().gotLength(min(length or 0, BODY_BYTES_MAX))  # type: ignore[no-untyped-call]
        if length is not None and length > BODY_BYTES_MAX:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802
        """Take a part of the body."""
        self._taken += len(data)
        if self._taken > BODY_BYTES_MAX:
            self._refuse()
        else:
            super().handleContentChunk(data)  # type: ignore[no-untyped-call]

    def _refuse(self) -> None:
        line: Any = self.channel.transport
        line.write(TOO_LONG)
        line.loseConnection()


def site_of(plane: Plane) -> Site:
    """Return what speaks HTTP."""
    site = Site(Webhooks(plane), requestFactory=ShortRequest, timeout=IDLE_S)
    site.displayTracebacks = False
    site.noisy = False
    # Addresses are secrets: they are in no log.
    site.log = lambda request: log.debug("{method}: {code}", method=request.method, code=request.code)  # type: ignore[method-assign]
    return site


def listen(reactor: Any, plane: Plane, port: int) -> Any:
    """Open the endpoint on loopback, and return a Deferred port; others reach it through a web server with TLS."""
    return TCP4ServerEndpoint(reactor, port, interface=LOOPBACK).listen(site_of(plane))


def _params(body: bytes) -> Mapping[str, Any]:
    """Return the parameters that a body gives: those under `params` of a JSON object.

    Alarm systems send bodies of their own, which nobody can shape: what is no such object says nothing.
    """
    try:
        said = json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError):
        return {}
    params = said.get("params", {}) if isinstance(said, dict) else {}
    if not isinstance(params, dict):
        raise InvalidArgument(
            "params is no object",
            problems=[Problem("$.params", "is no object")],
            next_step="send a JSON object with an object under params",
        )
    return params


def _answer(request: Request, status: int, said: Mapping[str, Any]) -> bytes:
    request.setResponseCode(status)
    request.setHeader(b"content-type", b"application/json")
    return json.dumps(said).encode() + b"\n"


def _finish(request: Request, status: int, said: Mapping[str, Any]) -> None:
    request.write(_answer(request, status, said))
    request.finish()
