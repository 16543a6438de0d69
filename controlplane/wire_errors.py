"""Errors on the wire: ours as WAMP carries them, and what others sent or the line did, as classes of ours."""

import re
from typing import Any

from autobahn.wamp.exception import ApplicationError
from twisted.internet.defer import CancelledError

from controlplane.errors import ControlPlaneError, LoginRefused, NoAnswer, NotAuthorized, Problem, RemoteError

LINE_LOST = ("wamp.close.transport_lost", "the line was lost")
NOBODY_THERE = frozenset({"wamp.error.no_such_procedure", "wamp.error.canceled", "wamp.error.no_eligible_callee"})
REFUSED_BY_ROUTER = re.compile(
    r'session \(session_id=\d+, authid=".*", authrole="(?P<role>\w+)"\) is not authorized to call procedure '
)
"""How Crossbar.io 26.10.1 puts what its permissions do not allow."""


def to_wire_error(failure: Any) -> None:
    """Raise what a procedure failed with in the form in which WAMP carries it; what is no error of ours is not told."""
    problem = failure.value
    if isinstance(problem, ControlPlaneError):
        raise ApplicationError(problem.uri, str(problem), **problem.details())
    raise ApplicationError("controlplane.error.internal_error", "the control plane failed")


def from_wire_error(failure: Any, uri: str) -> None:
    """Raise what a call failed with as an error of ours."""
    problem = failure.value
    if isinstance(problem, ControlPlaneError | CancelledError):
        raise problem
    if isinstance(problem, ApplicationError):
        raise from_application_error(problem, uri)
    raise NoAnswer(f"the line was lost before {uri} was answered", next_step="try again") from problem


def from_application_error(problem: ApplicationError, uri: str) -> ControlPlaneError:
    """Return the typed error that another side raised."""
    details = problem.kwargs or {}
    message = str(problem.args[0]) if problem.args else problem.error
    if problem.error in NOBODY_THERE:
        return NoAnswer(f"nobody answers {uri}: {message}", next_step="see that the master runs, and try again")
    by_router = REFUSED_BY_ROUTER.match(message)
    if by_router is not None:
        return NotAuthorized(
            f"the role {by_router['role']!r} may not call {uri}",
            next_step="ask an administrator for another role, or for a right on the cluster",
        )
    kind = ControlPlaneError.known.get(problem.error, RemoteError)
    hint = details.get("next_step")
    error = kind(
        message.removesuffix(f" ({hint})") if hint else message,
        subject=details.get("object"),
        problems=[Problem(p.get("path", "$"), p.get("message", "")) for p in details.get("problems", [])],
        next_step=hint,
    )
    if kind is RemoteError:
        error.uri = problem.error
    return error


def refusal(reason: str, message: str) -> ControlPlaneError:
    """Return why a login did not succeed, as an error of its own."""
    if reason in NOBODY_THERE:
        return NoAnswer("the router cannot ask the master who we are", next_step="see that the master runs")
    if reason == LINE_LOST[0]:
        return NoAnswer("the line was lost during the login", next_step="try again")
    kind = ControlPlaneError.known.get(reason)
    return kind(message) if kind is not None else LoginRefused(f"{message} [{reason}]")
