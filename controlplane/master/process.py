"""The master as a process: LMDB, the reactor, and a session with the router."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from controlplane import __version__
from controlplane.config import MasterSettings
from controlplane.connection import Connection
from controlplane.errors import ControlPlaneError, InvalidConfiguration, NotAuthorized
from controlplane.keys import ensure_key
from controlplane.master.audience import Audience
from controlplane.master.balancers import BalancerFiles, read_commands
from controlplane.master.crossbar_events import GLOBAL_TOPICS
from controlplane.master.edge_watch import EdgeWatch
from controlplane.master.edges import EdgeSettings
from controlplane.master.layout import (
    ADMIN_AUTHID,
    ADMIN_ROLE,
    MASTER_AUTHID,
    SUPERUSER_AUTHID,
    StateDirectory,
    ensure_owner,
)
from controlplane.master.outgoing import Outgoing
from controlplane.master.pairing import KEY_TAG, PairingFolder, read_tags
from controlplane.master.plane import PROCEDURES, Plane
from controlplane.master.webhooks import listen as listen_for_webhooks
from controlplane.process import lock_directory, notify, real_chance, run_until_stopped
from controlplane.records.limits import Limits
from controlplane.records.principals import Caller
from controlplane.records.types import GLOBAL_REALM, MANAGEMENT_REALM, to_wire
from controlplane.store.lmdb import LmdbEngine
from controlplane.transports import Login, require_protected
from controlplane.wamp import CALL_WITHIN_S, Endpoint, Session, endpoint

AUTHENTICATOR_ROLE = "trusted"
"""Of the router itself, when it asks as whom a key may log in."""

SESSIONS_ASKED_AT_ONCE = 50
AUTHENTICATE = "controlplane.master.authenticate"

GLOBAL_AUTHID = "master-global"
KEY_PATTERN = r"[0-9a-f]{64}"
PAIR_NODE = "crossbarfabriccenter.mrealm.pair_node"
CROSSBAR_PREFIX = "crossbarfabriccenter."

log = Logger()


class WampWire:
    """What the plane sends, over the session of the moment."""

    def __init__(self) -> None:
        self.session: Session | None = None
        self.global_session: Session | None = None
        """In the realm in which Crossbar.io tells of pairings."""

        self.audience = Audience()
        self.muted: Mapping[int, None] = {}
        """Sessions that get no events, because they were ended and are still there."""

    async def watch_audience(self, session: Session) -> None:
        """Learn who listens to what, now and from now on."""
        self.audience.clear()
        await session.subscribe("wamp.subscription.on_create", lambda _topic, _id, sub, *_: self.audience.created(sub))
        await session.subscribe("wamp.subscription.on_delete", lambda _topic, _id, sub, *_: self.audience.deleted(sub))
        known = await session.call("wamp.subscription.list")
        for number in (number for numbers in known.values() for number in numbers):
            try:
                self.audience.created(await session.call("wamp.subscription.get", CALL_WITHIN_S, number))
            except ControlPlaneError as problem:
                log.debug("subscription {number} is gone: {problem}", number=number, problem=problem)

    def publish(self, topics: tuple[str, ...], payload: Mapping[str, Any], roles: tuple[str, ...] = ()) -> None:
        """Send one event under each of its names that somebody listens to."""
        if self.session is not None:
            for topic in topics:
                if self.audience.wants(topic):
                    self.session.publish(topic, payload, roles=roles, but=self.muted)

    def tell(self, topic: str, *arguments: Any) -> None:
        """Send an event in Crossbar.io's form, to the realms in which Crossbar.io tells of it."""
        if self.session is not None and self.audience.wants(topic):
            self.session.publish(topic, *arguments, but=self.muted)
        if self.global_session is not None and topic in GLOBAL_TOPICS:
            self.global_session.publish(topic, *arguments, but=self.muted)

    def send(self, topic: str, session: int, payload: Mapping[str, Any]) -> None:
        """Send an event to one session."""
        if self.session is not None:
            self.session.publish(topic, payload, session=session)

    def announce(self, topic: str, payload: Mapping[str, Any]) -> None:
        """Send an event to every subscriber."""
        if self.session is not None:
            self.session.publish(topic, payload, but=self.muted)

    def kill(self, session: int, reason: str) -> None:
        """Ask the router to end a session, in whichever realm it is."""
        for realm in (self.session, self.global_session):
            if realm is not None:
                realm.call(
                    "wamp.session.kill", 10.0, session, reason="controlplane.close.replaced", message=reason
                ).addErrback(lambda failure: log.debug("session {id}: {problem}", id=session, problem=failure.value))


def _balancer_files(settings: MasterSettings) -> BalancerFiles | None:
    if not settings.balancer_dir:
        return None
    directory = Path(settings.balancer_dir)
    directory.mkdir(parents=True, exist_ok=True, mode=0o750)
    try:
        return BalancerFiles(directory, read_commands(settings.balancer_reload))
    except ValueError as problem:
        raise InvalidConfiguration(f"balancer_reload: {problem}", next_step="see docs/clusters.rst") from None


class Master:
    """The master's process."""

    def __init__(self, reactor: Any, settings: MasterSettings, limits: Limits) -> None:
        self._state = StateDirectory(Path(settings.state_dir))
        lock_directory(self._state.master, "master")
        self._wire = WampWire()
        chance = real_chance()
        self._broken: Deferred[None] = Deferred()
        self._plane = Plane(
            LmdbEngine(self._state.store, map_size_max=limits.store_bytes_max),
            reactor,
            chance,
            self._wire,
            events_kept=settings.events_kept,
            limits=limits,
            broken=self._store_broke,
            outgoing=Outgoing(reactor, tuple(filter(None, map(str.strip, settings.outgoing.split(","))))),
            files=_balancer_files(settings),
            edges=EdgeSettings(self._state.master / "edges", (settings.edge_first_port, settings.edge_last_port)),
        )
        self._wire.muted = self._plane.sessions.ended
        self._plane.uplinks.router_keys = self._state.certificates.known_by
        login = Login(
            url=settings.url or f"unix:{self._state.master_socket}", realm=MANAGEMENT_REALM, authid=MASTER_AUTHID
        )
        require_protected(login)
        key = ensure_key(self._state.master_key)
        self._connection = Connection(reactor, login, key, joined=self._joined, left=self._left, random=chance.random)
        self._superuser = settings.superuser
        self._reactor = reactor
        self._webhook_port = settings.webhook_port
        self._listening: Any = None
        self._edges = EdgeWatch(self._plane)
        self._pairing: PairingFolder | None = None
        if settings.watch_to_pair:
            url = settings.fabric_url or f"ws://127.0.0.1:{self._state.port()}/ws"
            self._pairing = PairingFolder(reactor, chance.now, Path(settings.watch_to_pair), url, self._pair)
        self._global_is_begun = False
        self._global = Connection(
            reactor,
            msgspec.structs.replace(login, realm=GLOBAL_REALM, authid=GLOBAL_AUTHID),
            key,
            joined=self._joined_globally,
            left=self._left_globally,
            random=chance.random,
        )

    async def begin(self) -> None:
        """Converge, and connect; returns never, and raises when the store cannot be used any more."""
        if self._superuser:
            key = read_tags(Path(self._superuser)).get(KEY_TAG, "")
            if not re.fullmatch(KEY_PATTERN, key):
                raise InvalidConfiguration(
                    f"there is no public key in {self._superuser}",
                    next_step="name the file default.pub that 'crossbar shell init' made",
                )
            await self._plane.store.write(lambda change: ensure_owner(change, SUPERUSER_AUTHID, key))
        self._plane.start()
        if self._webhook_port:
            self._listening = await listen_for_webhooks(self._reactor, self._plane, self._webhook_port)
        self._connection.start()
        # Only another process can open it again: to end, and be started anew, is the way out.
        await self._broken

    async def end(self) -> None:
        """Leave the router, finish what is under way, and write it."""
        if self._pairing is not None:
            self._pairing.close()
        if self._listening is not None:
            await self._listening.stopListening()
        self._global.stop()
        self._connection.stop()
        await self._plane.close()
        log.info("the master has ended in order")

    def _store_broke(self, problem: ControlPlaneError) -> None:
        if not self._broken.called:
            self._broken.errback(problem)

    async def _joined(self, session: Session) -> None:
        await session.register({uri: self._endpoint(uri) for uri in PROCEDURES})
        self._plane.sessions.clear()
        await session.subscribe("wamp.session.on_join", lambda _topic, joined, *_: self._plane.session_joined(joined))
        await session.subscribe("wamp.session.on_leave", lambda _topic, number, *_: self._plane.session_left(number))
        await self._wire.watch_audience(session)
        self._wire.session = session
        self._plane.joined(session)
        await self._edges.begin(session)
        await session.register({AUTHENTICATE: self._authenticate})
        await self._watch_sessions(session)
        if self._wire.global_session is not None:
            await self._watch_sessions(self._wire.global_session)
        if not self._global_is_begun:
            self._global_is_begun = True
            self._global.start()
            if self._pairing is not None:
                self._pairing.start()
        notify("READY=1")
        log.info("the master {version} is ready", version=__version__, store=str(self._state.store))

    async def _watch_sessions(self, session: Session) -> None:
        """Learn who is there already: also those who were told to go by an earlier run of the master."""
        numbers = [number for number in await session.call("wamp.session.list") if number != session.id]
        for start in range(0, len(numbers), SESSIONS_ASKED_AT_ONCE):
            asked = [
                session.call("wamp.session.get", CALL_WITHIN_S, number)
                for number in numbers[start : start + SESSIONS_ASKED_AT_ONCE]
            ]
            for answer in asked:
                try:
                    found = await answer or {}
                except ControlPlaneError as problem:
                    log.debug("a session is gone: {problem}", problem=problem)
                else:
                    self._plane.session_joined(found)
                    # A node that was there before the master has long registered everything.
                    self._plane.edges.ready(int(found.get("session", 0)))

    async def _pair(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Pair a node that was found in the pairing folder, in the name of the first administrator."""
        caller = Caller(session=0, authid=ADMIN_AUTHID, authrole=ADMIN_ROLE)
        node: Mapping[str, Any] = await self._plane.invoke(caller, PAIR_NODE, (), arguments)
        return node

    def _left(self) -> None:
        if self._wire.session is not None:
            self._wire.session = None
            self._plane.left()

    async def _joined_globally(self, session: Session) -> None:
        """Offer Crossbar.io's procedures in the realm that its shell joins unless it is told another one, too."""
        await session.register({uri: self._endpoint(uri) for uri in PROCEDURES if uri.startswith(CROSSBAR_PREFIX)})
        await session.subscribe("wamp.session.on_join", lambda _topic, joined, *_: self._plane.session_joined(joined))
        await session.subscribe("wamp.session.on_leave", lambda _topic, number, *_: self._plane.session_left(number))
        self._wire.global_session = session
        await self._watch_sessions(session)

    def _left_globally(self) -> None:
        self._wire.global_session = None

    def _endpoint(self, uri: str) -> Endpoint:
        async def invoke(caller: Caller, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            return await self._plane.invoke(caller, uri, args, kwargs)

        return endpoint(invoke)

    @property
    def _authenticate(self) -> Endpoint:
        async def invoke(caller: Caller, args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Any:
            if caller.authrole != AUTHENTICATOR_ROLE:
                raise NotAuthorized("only the router asks this", next_step="log in")
            realm, authid, details = (*args, None, None, {})[:3]
            return to_wire(self._plane.authenticate(realm, details, authid))

        return endpoint(invoke)


def main(settings: MasterSettings, limits: Limits) -> int:
    """Run the master until it is told to stop."""
    from twisted.internet import reactor

    master = Master(reactor, settings, limits)
    return run_until_stopped(reactor, master.begin, master.end)
