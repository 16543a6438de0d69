"""What a call finds beside its transaction: the agents and sessions that are connected, and the limits."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from controlplane.records.balancing import FileTarget
from controlplane.records.limits import DEFAULT_LIMITS, Limits
from controlplane.records.nodes import Heartbeat
from controlplane.records.principals import Caller
from controlplane.records.types import Instant, Oid
from controlplane.records.workers import Report
from controlplane.services.procedures import Ask


class Agents(Protocol):
    """The agents that are connected: by which session, and what they were asked."""

    @property
    def boot(self) -> Oid:
        """Return the identity of the master's present session: what was attached to another one is not any more."""
        ...

    def attach(self, node_oid: Oid, session: int, report: Report, assignment: int) -> None:
        """Take a session for the one that a node is reached by, when its assignment had this version."""
        ...

    def session_of(self, node_oid: Oid) -> int | None:
        """Return the session that a node is reached by."""
        ...

    def admit(self, node_oid: Oid, report: Report) -> None:
        """Count the report of an agent that attaches; raises `NotAttached` when a newer one was heard before."""
        ...

    def accept(self, node_oid: Oid, session: int, report: Report) -> bool:
        """Say whether a report is newer than all that were accepted, and count it among them.

        Raises `NotAttached` for another session's.
        """
        ...

    def acknowledge(self, node_oid: Oid, report: Report) -> None:
        """Take note of a report that is stored, and of the assignment that the agent holds."""
        ...

    def detach(self, node_oid: Oid, assignment: int, reason: str) -> None:
        """Have a node that was taken out stop everything, and end its session; `assignment` was its last version."""
        ...

    @property
    def started(self) -> Instant:
        """Return since when the master runs."""
        ...

    @property
    def ticks(self) -> int:
        """Return how often the master has said that it is there."""
        ...

    def heartbeat(self, node_oid: Oid) -> Heartbeat | None:
        """Return what a node without an agent said of itself last."""
        ...

    def router_keys(self) -> tuple[str, ...]:
        """Return what agents are to know the router by from now on; nothing when somebody else makes its keys."""
        ...

    def hint_tunnels(self, node_oid: Oid) -> None:
        """Have an agent ask for its tunnels; one that is away asks when it is back."""
        ...

    def answer(self, node_oid: Oid, question: Oid, answer: Mapping[str, Any]) -> None:
        """Take an agent's answer to a question."""
        ...

    def rotate(self, node_oid: Oid) -> None:
        """Ask an agent to make a new key and to log in with it."""
        ...

    async def ask(self, ask: Ask) -> Mapping[Oid, Mapping[str, Any]]:
        """Return the answers of the nodes that answered in time."""
        ...


class Sessions(Protocol):
    """The sessions of the realm, of users and agents alike."""

    def require_open(self, caller: Caller) -> None:
        """Refuse the caller whose session was ended and is still there; raises `NotAuthorized`."""
        ...

    def peer_of(self, session: int) -> str | None:
        """Return where a session comes from, as far as it is known."""
        ...

    def count(self, authid: str) -> int:
        """Return how many sessions somebody has."""
        ...

    def judge(self, authid: str) -> None:
        """End the sessions of somebody that could not log in again as they did."""
        ...

    def end(self, authid: str, reason: str) -> None:
        """End every session of somebody."""
        ...


class Metrics(Protocol):
    """What workers used in the last measurements."""

    def find(self, cluster_oid: Oid) -> Any:
        """Return the measurements of a cluster, or None when nobody needs any."""
        ...


class _NoMetrics:
    def find(self, cluster_oid: Oid) -> None:
        """Return nothing: nobody measures."""


NO_METRICS = _NoMetrics()


class Surroundings(NamedTuple):
    """What a call finds beside its transaction."""

    agents: Agents
    sessions: Sessions
    limits: Limits = DEFAULT_LIMITS
    metrics: Metrics = NO_METRICS
    obstacle: Callable[[str | FileTarget], str | None] = lambda _: None
    """Says why an address may not be called by the master, or a file not be kept, or None when it may."""


def policy_caller(name: str) -> Caller:
    """Return in whose name a policy acts: in its own."""
    return Caller(session=0, authid=name, authrole="policy", through=name, cause="policy")
