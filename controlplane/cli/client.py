"""One session over a saved connection, for one command."""

import math
import sys
from collections.abc import Callable, Coroutine
from difflib import get_close_matches
from typing import Any

from twisted.internet.defer import CancelledError, ensureDeferred
from twisted.internet.task import react

from controlplane.clock import sleep
from controlplane.errors import ControlPlaneError, InvalidArgument, NoAnswer
from controlplane.records.events import OWN_PREFIX
from controlplane.records.types import Seconds
from controlplane.saved_login import read_connection
from controlplane.transports import Login
from controlplane.wamp import Session, join_once

CALL_WITHIN_S = 30.0
JOIN_AGAIN_AFTER_S = 0.5


def one_shot(connection: str | None, work: Callable[[Session], Coroutine[Any, Any, Any]]) -> Any:
    """Join over a saved connection, do the work, leave, and return its result; raises `ControlPlaneError`."""
    login, key = read_connection(connection)

    async def run(reactor: Any) -> Any:
        session = await join_once(reactor, login, key)
        result = await work(session)
        session.leave()
        return result

    return run_once(run)


def when_there(connection: str | None, work: Callable[[Session], Coroutine[Any, Any, Any]], within: Seconds) -> Any:
    """Do as `one_shot` does once router and master are there; raises `NoAnswer` after `within` so many seconds."""
    login, key = read_connection(connection)

    async def run(reactor: Any) -> Any:
        end = reactor.seconds() + within
        while True:
            session = await _join_when_there(reactor, login, key, end)
            try:
                return await work(session)
            except NoAnswer:
                if reactor.seconds() >= end:
                    raise
                await sleep(reactor, JOIN_AGAIN_AFTER_S)  # The router is there before the master.
            finally:
                session.leave()

    return run_once(run)


def run_once(work: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
    """Run a reactor for one piece of work, and return its result; raises `ControlPlaneError`."""
    outcome: list[Any] = []

    async def run(reactor: Any) -> None:
        try:
            outcome.append(await work(reactor))
        except ControlPlaneError as problem:
            outcome.append(problem)

    try:
        react(lambda reactor: ensureDeferred(run(reactor)))
    except SystemExit as ended:
        if ended.code and not outcome:
            raise
    if isinstance(outcome[0], ControlPlaneError):
        raise outcome[0]
    return outcome[0]


def lasting(
    connection: str | None, work: Callable[[Session], Coroutine[Any, Any, Any]], within: Seconds = math.inf
) -> Any:
    """Do as `one_shot` does, and begin the work again with another session whenever one is lost before it is done.

    No session is waited for longer than `within` so many seconds from now on.
    """
    login, key = read_connection(connection)

    def say(text: str) -> None:
        print(text, file=sys.stderr)

    return one_shot(connection, lambda session: again_when_lost(session, login, key, work, say, within))


async def again_when_lost(
    session: Session,
    login: Login,
    key: Any,
    work: Callable[[Session], Coroutine[Any, Any, Any]],
    say: Callable[[str], None],
    within: Seconds = math.inf,
) -> Any:
    """Do the work with a session, and from its beginning with another one whenever it is lost."""
    end = session.clock.seconds() + within
    lost = False
    while True:
        working = ensureDeferred(work(session))
        session.upon_end(working.cancel)
        try:
            return await working
        except CancelledError:
            if not session.over:
                raise
        except NoAnswer:
            # A router that is back may be so before the master.
            if not session.over and (not lost or session.clock.seconds() >= end):
                raise
        if not lost:
            say("the line was lost; trying again until router and master are there")
        lost = True
        session.leave()
        await sleep(session.clock, JOIN_AGAIN_AFTER_S)
        session = await _join_when_there(session.clock, login, key, end)


async def _join_when_there(reactor: Any, login: Login, key: Any, end: Seconds) -> Session:
    while True:
        try:
            return await join_once(reactor, login, key)
        except NoAnswer:
            if reactor.seconds() >= end:
                raise
            await sleep(reactor, JOIN_AGAIN_AFTER_S)


async def call_procedure(session: Session, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Call a procedure by its full name, or by its last part where that is unique."""
    return await session.call(resolve(name), CALL_WITHIN_S, *args, **kwargs)


def resolve(name: str) -> str:
    """Return the full name of a procedure."""
    if "." in name:
        return name
    from controlplane.cli.procedures import OWN_PROCEDURES

    named = [uri for uri in OWN_PROCEDURES if uri.rpartition(".")[2] == name]
    # Crossbar.io's form of a procedure does not take a name away from ours.
    found = [uri for uri in named if uri.startswith(OWN_PREFIX)] or named
    if len(found) != 1:
        like = get_close_matches(name, sorted({uri.rpartition(".")[2] for uri in OWN_PROCEDURES}), 3)
        meant = f"; did you mean {' or '.join(like)}?" if like else ""
        raise InvalidArgument(
            f"there is no procedure {name}{meant}" if not found else f"{name} is one of {', '.join(found)}",
            next_step="give the name of one; docs/clusters.rst and schema/procedures.json have them"
            if not found
            else "give the full name",
        )
    return found[0]
