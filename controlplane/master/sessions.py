"""The sessions of the realm: who is there, from where, and who has been told to go.

The router's `wamp.session.kill` only asks politely. A client that does not go stays joined, so a session that was ended
stays in `ended` until the router says that it is gone: until then its calls are refused, and no event is sent to it.
Sessions are judged when they join and again when the master does, so nothing is forgotten by a restart.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from twisted.logger import Logger

from controlplane.core.access import RIGHTS
from controlplane.errors import NotAuthorized
from controlplane.records.principals import Caller
from controlplane.services.identity import identify
from controlplane.store.database import Store

log = Logger()


class Joined(NamedTuple):
    """What is known of one session."""

    authid: str
    authrole: str
    pubkey: str | None
    """The key that it proved to have."""

    peer: str | None


class Sessions:
    """Every session that is not the router's or the master's own."""

    def __init__(self, store: Store, kill: Callable[[int, str], None], now: Callable[[], int]) -> None:
        self._store = store
        self._kill = kill
        self._now = now
        self._sessions: dict[int, Joined] = {}
        self._by_authid: dict[str, dict[int, None]] = {}
        self.ended: dict[int, None] = {}
        """Sessions that were told to go and are still there."""

        self.proven: Callable[[Joined], None] = lambda _joined: None
        """Told of every login, once the key is proven."""

    def joined(self, details: Mapping[str, Any]) -> None:
        """Take note of a session, in the form in which the router describes it."""
        session = details.get("session")
        role = str(details.get("authrole"))
        if not isinstance(session, int) or role not in RIGHTS or session in self._sessions:
            return
        extra = details.get("authextra") or {}
        transport = details.get("transport") or {}
        peer = transport.get("peer") or extra.get("x_cb_peer")
        found = Joined(str(details.get("authid")), role, extra.get("pubkey"), peer)
        self._sessions[session] = found
        self._by_authid.setdefault(found.authid, {})[session] = None
        self.proven(found)
        problem = self._problem(session, found)
        if problem is not None:
            self._end(session, problem)

    def left(self, session: int) -> None:
        """Take note that a session is no more."""
        self.ended.pop(session, None)
        found = self._sessions.pop(session, None)
        if found is not None:
            others = self._by_authid[found.authid]
            del others[session]
            if not others:
                del self._by_authid[found.authid]

    def clear(self) -> None:
        """Forget everything: the router is asked anew."""
        self._sessions.clear()
        self._by_authid.clear()
        self.ended.clear()

    def known(self) -> Iterable[int]:
        """Return the numbers of all sessions."""
        return self._sessions.keys()

    # What procedures ask

    def require_open(self, caller: Caller) -> None:
        """Refuse the caller whose session was ended and is still there; raises `NotAuthorized`."""
        if caller.session in self.ended:
            raise NotAuthorized("this session was ended", next_step="log in again")

    def peer_of(self, session: int) -> str | None:
        """Return where a session comes from, as far as it is known."""
        found = self._sessions.get(session)
        return found.peer if found is not None else None

    def count(self, authid: str) -> int:
        """Return how many sessions somebody has."""
        return len(self._by_authid.get(authid, ()))

    def end(self, authid: str, reason: str, *, but: int | None = None) -> None:
        """End every session of somebody, but one."""
        for session in list(self._by_authid.get(authid, ())):
            if session != but:
                self._end(session, reason)

    def judge(self, authid: str) -> None:
        """End the sessions of somebody that could not log in again as they did."""
        for session in list(self._by_authid.get(authid, ())):
            problem = self._problem(session, self._sessions[session])
            if problem is not None:
                self._end(session, problem)

    def _end(self, session: int, reason: str) -> None:
        if session not in self.ended:
            log.info("session {id} is ended: {reason}", id=session, reason=reason)
            self.ended[session] = None
        self._kill(session, reason)

    def _problem(self, session: int, found: Joined) -> str | None:
        """Return why a session may not be there, or None when it may."""
        caller = Caller(session=session, authid=found.authid, authrole=found.authrole)
        try:
            with self._store.read() as view:
                record = identify(view, caller, self._now()).record
        except NotAuthorized as problem:
            return problem.message
        keys = (getattr(record, "pubkey", None), getattr(record, "next_pubkey", None))
        if found.pubkey is not None and found.pubkey not in keys:
            return "the key is not valid any more"
        return None
