"""A line that mends itself: a session with the plane that is joined again whenever it is lost, on Twisted."""

from random import random
from typing import Any

from twisted.internet.defer import Deferred

from controlplane.connection import Connection
from controlplane.errors import ControlPlaneError, NoAnswer
from controlplane.saved_login import read_connection
from controlplane.transports import Login
from controlplane.wamp import Session

ANSWER_WITHIN_MAX_S = 3_600.0
"""Whoever calls has a shorter limit of their own."""


class LastingLine:
    """Calls over the present session, and waits for one while there is none."""

    def __init__(self, reactor: Any, login: Login, key: Any) -> None:
        """Begin to connect."""
        self._session: Session | None = None
        self._waiting: dict[Deferred[Session], None] = {}
        self._refusal: ControlPlaneError | None = None
        self._closed = False
        self._connection = Connection(
            reactor, login, key, joined=self._joined, left=self._left, random=random, refused=self._refused
        )
        self._connection.start()

    def call(self, procedure: str, *args: Any, **kwargs: Any) -> Deferred[Any]:
        """Call a procedure; fails with `ControlPlaneError`."""
        return Deferred.fromCoroutine(self._call(procedure, args, kwargs))

    def close(self) -> None:
        """Leave, and connect no more; whoever waits is told."""
        self._closed = True
        self._connection.stop()
        self._tell(NoAnswer("the connection was closed", next_step="open another one"))

    async def _call(self, uri: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        session = self._session or await self._next_session()
        return await session.call(uri, ANSWER_WITHIN_MAX_S, *args, **kwargs)

    def _next_session(self) -> Deferred[Session]:
        waiting: Deferred[Session] = Deferred(lambda given_up: self._waiting.pop(given_up, None))
        if self._closed:
            waiting.errback(NoAnswer("the connection was closed", next_step="open another one"))
        elif self._refusal is not None:
            waiting.errback(self._refusal)
        else:
            self._waiting[waiting] = None
        return waiting

    async def _joined(self, session: Session) -> None:
        self._session, self._refusal = session, None
        waiting, self._waiting = self._waiting, {}
        for each in waiting:
            each.callback(session)

    def _left(self) -> None:
        self._session = None

    def _refused(self, problem: ControlPlaneError) -> None:
        if not isinstance(problem, NoAnswer):
            self._refusal = problem
        self._tell(problem)

    def _tell(self, problem: ControlPlaneError) -> None:
        waiting, self._waiting = self._waiting, {}
        for each in waiting:
            each.errback(problem)


def open_line(reactor: Any, connection: str | None = None) -> LastingLine:
    """Open a line over a saved connection, as `controlplane init` and `scripts/dev` make them.

    `connection` is the path of the file; None for the administrator's in the default place. Raises
    `InvalidConfiguration` when there is none.
    """
    return LastingLine(reactor, *read_connection(connection))
