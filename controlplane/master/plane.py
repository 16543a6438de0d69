"""The master without its surroundings: store, procedures, monitor and uplinks, wired to an engine, a clock and a wire.

The real process gives it LMDB, the reactor and a WAMP session; a simulation gives it memory, a clock that it turns
itself and messages that it can lose.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from controlplane.clock import Chance, Clock
from controlplane.core.access import USER_ROLES, allowed
from controlplane.core.edge_rights import EDGE_ROLE, edge_may
from controlplane.errors import AlreadyAttached, ControlPlaneError
from controlplane.master.authenticator import Authenticator, host_of
from controlplane.master.balancers import Balancers, Files, NoFiles
from controlplane.master.checkups import Checkups
from controlplane.master.crossbar_events import crossbar_events
from controlplane.master.edges import Edges, EdgeSettings, Line
from controlplane.master.health import Health
from controlplane.master.hooks import Hooks
from controlplane.master.monitor import Monitor
from controlplane.master.outgoing import Nowhere, Poster
from controlplane.master.retention import Retention
from controlplane.master.scaler import Scaler
from controlplane.master.sessions import Joined, Sessions
from controlplane.master.timetable import Timetable
from controlplane.master.uplinks import Messenger, Uplinks
from controlplane.records.balancing import FileTarget
from controlplane.records.events import EventType
from controlplane.records.limits import DEFAULT_LIMITS, Limits
from controlplane.records.principals import Caller
from controlplane.records.protocol import ATTACH_AGENT
from controlplane.records.types import Oid, Seconds
from controlplane.records.workers import Command
from controlplane.services import (
    actions,
    adopting,
    agents,
    all_workers,
    audits,
    balances,
    bindings,
    checking,
    cluster_actions,
    clusters,
    crossbar,
    events,
    foreign,
    generic_clusters,
    grants,
    groups,
    imports,
    invitations,
    joining,
    lifecycle,
    lone_workers,
    memberships,
    messages,
    metrics,
    nodes,
    operations,
    policies,
    profiles,
    protection,
    receivers,
    recovering,
    remote,
    services,
    teams,
    tunnels,
    types,
    users,
    workers,
)
from controlplane.services.ledger import EVENTS_KEPT_MAX
from controlplane.services.pipeline import Pipeline
from controlplane.services.procedures import collect
from controlplane.services.rotation import is_next_key, take_over_key
from controlplane.services.specs import Compositions
from controlplane.store.database import Store
from controlplane.store.engine import Engine

PROCEDURES = collect(
    clusters,
    generic_clusters,
    cluster_actions,
    checking,
    recovering,
    bindings,
    balances,
    metrics,
    actions,
    profiles,
    protection,
    policies,
    receivers,
    messages,
    types,
    groups,
    memberships,
    workers,
    all_workers,
    lone_workers,
    joining,
    adopting,
    operations,
    lifecycle,
    services,
    nodes,
    events,
    agents,
    users,
    teams,
    grants,
    invitations,
    tunnels,
    crossbar,
    audits,
    foreign,
    imports,
    remote,
)

HEARD_BY = {"read": (), "administer": tuple(role for role in USER_ROLES if allowed(role, "administer"))}
"""Which roles hear an event, by the right that it needs; whoever may read hears all others."""


class Wire(Messenger, Protocol):
    """What the master sends."""

    def publish(self, topics: tuple[str, ...], payload: Mapping[str, Any], roles: tuple[str, ...] = ()) -> None:
        """Send one event under each of its names, to sessions in these roles only if any are given."""
        ...

    def tell(self, topic: str, *arguments: Any) -> None:
        """Send an event in Crossbar.io's form."""
        ...


class Plane:
    """Everything that the master does."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        chance: Chance,
        wire: Wire,
        *,
        events_kept: int = EVENTS_KEPT_MAX,
        limits: Limits = DEFAULT_LIMITS,
        broken: Callable[[ControlPlaneError], None] | None = None,
        edges: EdgeSettings | None = None,
        outgoing: Poster | None = None,
        files: Files | None = None,
    ) -> None:
        """Open the store; `broken` is called when it cannot be used any more."""
        self._wire = wire
        self.store = Store(engine, clock, chance.new_oid, broken=broken)
        self.compositions = compositions = Compositions()
        self.edges = Edges(clock, chance, self.store, wire, self.invoke, edges, self._heard)
        self.uplinks = Uplinks(
            clock,
            self.store,
            self.edges,
            chance,
            compositions,
            lambda work: self.pipeline.change(work),
        )
        self.monitor = Monitor(clock, self.store, chance, compositions, lambda work: self.pipeline.change(work))
        self.outgoing = outgoing or Nowhere()
        self.hooks = Hooks(clock, self.store, self.outgoing, lambda work: self.pipeline.change(work))
        self.files = files or NoFiles()
        self.balancers = Balancers(
            clock, self.store, self.outgoing, self.files, lambda work: self.pipeline.change(work)
        )
        self.checkups = Checkups(
            clock,
            self.store,
            self.is_heard,
            lambda ask: self.uplinks.ask(ask),
            lambda work: self.pipeline.change(work),
        )
        self.health = Health(
            clock,
            self.store,
            chance,
            self.is_heard,
            lambda ask: self.uplinks.ask(ask),
            lambda work: self.pipeline.change(work),
        )
        self.sessions = Sessions(self.store, wire.kill, chance.now)
        self.authenticator = Authenticator(self.store, self.sessions, chance.now, clock.seconds, limits)
        self.sessions.proven = self._proven
        windows = metrics.Windows()
        self.pipeline = Pipeline(
            PROCEDURES,
            self.store,
            chance,
            self,
            self.uplinks,
            self.sessions,
            compositions,
            clock,
            events_kept=events_kept,
            limits=limits,
            metrics=windows,
            obstacle=self._obstacle,
        )
        self.scaler = Scaler(clock, self.store, chance.now, windows, self.uplinks.ask, self.pipeline.act)
        self.retention = Retention(
            clock, self.store, chance.now, self.pipeline.change, events_kept, limits.events_kept_s
        )
        self.timetable = Timetable(clock, self.store, chance.now, self.pipeline.act)

    def start(self) -> None:
        """Begin to converge."""
        self.monitor.start()
        self.scaler.start()
        self.timetable.start()
        self.retention.start()
        self.hooks.start()
        self.balancers.start()
        self.health.start()

    async def close(self) -> None:
        """Finish what is under way, write it and stop."""
        await self.checkups.close()
        await self.health.close()
        await self.edges.close()
        await self.retention.close()
        await self.timetable.close()
        await self.scaler.close()
        await self.monitor.close()
        await self.hooks.close()
        await self.balancers.close()
        await self.uplinks.close()
        self.store.close()

    async def invoke(self, caller: Caller, uri: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Run a procedure; raises nothing but `ControlPlaneError`."""
        if caller.authrole == EDGE_ROLE:
            # It calls when it offers all its procedures, and never before.
            self.edges.ready(caller.session)
        if uri == ATTACH_AGENT:
            self.uplinks.asked(caller.session)
        return await self.pipeline.invoke(caller, uri, args, kwargs)

    def authenticate(self, realm: str | None, details: Mapping[str, Any], authid: str | None = None) -> dict[str, Any]:
        """Say as what a key may log in."""
        try:
            return self._authenticate(realm, details, authid)
        except ControlPlaneError as problem:
            extra, transport = details.get("authextra"), details.get("transport")
            peer = host_of(transport.get("peer")) if isinstance(transport, Mapping) else ""
            asked = {"realm": realm, "authid": authid, "authrole": details.get("authrole")}
            asked["pubkey"] = extra.get("pubkey") if isinstance(extra, Mapping) else None
            nobody = Caller(session=0, authid="", authrole="")
            self.pipeline.note_refusal(nobody, "login", asked, problem, peer)
            raise

    def _authenticate(self, realm: str | None, details: Mapping[str, Any], authid: str | None) -> dict[str, Any]:
        found = self.authenticator.authenticate(realm, authid, details)
        if found["role"] == EDGE_ROLE and self.uplinks.session_of(Oid(found["extra"]["node_oid"])) is not None:
            # Its procedures have the same names: two sessions of one node cannot both be called.
            raise AlreadyAttached(
                f"node {found['authid']} is connected already",
                next_step="a session that was lost is forgotten within seconds; try again, or see who has its key",
            )
        return found

    def authorize(self, session: Mapping[str, Any], uri: str, action: str, match: str) -> bool:
        """Say whether a session whose rights are not in the router's configuration may do something."""
        return session.get("session") not in self.sessions.ended and (
            session.get("authrole") == EDGE_ROLE and edge_may(str(session.get("authid")), uri, action, match)
        )

    def joined(self, line: Line) -> None:
        """Take note of the master's session: every agent attaches anew."""
        self.edges.joined(line)
        self.uplinks.joined()

    def left(self) -> None:
        """Take note that the master's session is gone."""
        self.edges.left()
        self.uplinks.left()

    def session_joined(self, details: Mapping[str, Any]) -> None:
        """Take note of a session, in the form in which the router describes it."""
        self.sessions.joined(details)
        number = details.get("session")
        if details.get("authrole") == EDGE_ROLE and number not in self.sessions.ended:
            self.edges.session_joined(int(number or 0), str(details.get("authid")))

    def session_left(self, session: int) -> None:
        """Take note that a session of the realm is no more."""
        self.sessions.left(session)
        self.edges.session_left(session)
        self.uplinks.session_left(session)

    def _proven(self, joined: Joined) -> None:
        self.authenticator.proven(joined)
        with self.store.read() as view:
            rotated = is_next_key(view, joined.pubkey)
        if rotated is not None:
            self.pipeline.change(lambda ledger: take_over_key(ledger, rotated, self.sessions.judge))

    def _heard(self, node_oid: Oid, worker_id: str | None, said: Mapping[str, Any]) -> None:
        self.uplinks.note_heartbeat(node_oid, worker_id, said)

    def _obstacle(self, wanted: str | FileTarget) -> str | None:
        return self.outgoing.obstacle(wanted) if isinstance(wanted, str) else self.files.obstacle(wanted)

    # Outlets

    def publish(self, kind: EventType, payload: dict[str, Any]) -> None:
        """Send an event to its subscribers, and to those of Crossbar.io's event for the same in its own form."""
        self._wire.publish((kind.topic, *kind.aliases), payload, HEARD_BY[kind.needs])
        for topic, arguments in crossbar_events(kind, payload, self.uplinks.heartbeat):
            self._wire.tell(topic, *arguments)

    def wake_cluster(self, cluster_oid: Oid, after: Seconds | None = None) -> None:
        """Have the monitor look at a cluster, at once or after so many seconds."""
        self.monitor.wake(cluster_oid, after)
        self.scaler.cluster_changed(cluster_oid)

    def policies_changed(self, cluster_oid: Oid) -> None:
        """Have it looked at what the policies of a cluster need from now on."""
        self.scaler.wake(cluster_oid)
        self.timetable.wake()

    def push_node(self, node_oid: Oid, version: int, workers: frozenset[Oid]) -> None:
        """Tell the agent of a node what has become of these workers."""
        self.uplinks.push(node_oid, version, workers)

    def tell_node(self, node_oid: Oid, order_oid: Oid, command: Command) -> None:
        """Tell the agent of a node to do something, if it is the run of it that is meant."""
        self.uplinks.tell(node_oid, order_oid, command)

    def is_heard(self, node_oid: Oid) -> bool:
        """Say whether a node's agent is attached."""
        return self.uplinks.session_of(node_oid) is not None

    def tell_balancer(self, cluster_oid: Oid) -> None:
        """Tell the load balancer of a cluster who serves."""
        self.balancers.wake(cluster_oid)

    def call_hook(self, worker_oid: Oid) -> None:
        """Call the webhook of a worker that is to go."""
        self.hooks.wake(worker_oid)

    def check_cluster(self, cluster_oid: Oid) -> None:
        """Have the agents look at the workers of a cluster, as its action wants."""
        self.checkups.wake(cluster_oid)

    def attend_cluster(self, cluster_oid: Oid, *, unwell: bool = False) -> None:
        """Have the health policy of a cluster obeyed as it is now; or because workers are not well, if it has one."""
        if unwell:
            self.health.hear(cluster_oid)
        else:
            self.health.attend(cluster_oid)
