"""The network: a router in the middle, a line to every machine, and everything that can happen to messages on them.

Lines behave as TCP does as far as nobody asks for worse: a dead direction holds messages back, which arrive when it
works again, unless one side noticed by then and ended the session. Losing, duplicating or reordering single messages of
a session that stays is worse than TCP; the plane has to bear it all the same.
"""

from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.python.failure import Failure

from controlplane.errors import ControlPlaneError, NoAnswer, NodeUnpaired
from controlplane.records.principals import Caller
from controlplane.records.protocol import ASSIGNMENT_TOPIC
from tests.simulation.clock import Killed, ProcessClock
from tests.simulation.lines import DOWN, UP, Faults, Line, Session, decode, encode

if TYPE_CHECKING:
    from controlplane.master.plane import Plane
    from tests.simulation.machine import Machine
    from tests.simulation.world import World

NOTICED_AFTER_MIN_S, NOTICED_AFTER_MAX_S = 4.0, 8.0
"""How long a side takes to notice a dead line: a ping every four seconds, answered within four (crossbar-config)."""

LATE_MAX_S = 5.0
"""How long after the first one a message arrives a second time, at most."""

SAID_MAX = 8
"""Calls of each agent that are remembered, to be heard once more."""

RESENT_WITHIN_S = 1.0
"""How late messages arrive, at most, that a line held back: TCP sends them again when it is time, not at once."""

JOIN_WITHIN_S = 5.0


class Network:
    """The router and the lines to it."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.faults = Faults()
        self.sessions: dict[int, Session] = {}
        self.running = True
        self.master: tuple[Plane, ProcessClock] | None = None
        """The master, while it has a session with the router."""

        self.lose_next: set[str] = set()
        """Names of machines to which the next assignment is lost on its way."""

        self._said: dict[str, deque[Callable[[], Any]]] = {}
        self._next_session = 100
        self._next_call = 0
        self._calls: dict[int, Callable[[Any], None]] = {}

    # The router

    def stop_router(self) -> None:
        """End every session, the master's too."""
        self.running = False
        self._master_gone()
        for session in list(self.sessions.values()):
            self.close_at_router(session)

    def start_router(self) -> None:
        """Let everybody join again."""
        self.running = True

    def master_joined(self, plane: "Plane", clock: ProcessClock) -> bool:
        """Give the master a session; False when there is no router."""
        if self.running:
            self.master = plane, clock
            clock.hand(self._set_up, plane)
        return self.running

    def _set_up(self, plane: "Plane") -> None:
        """Do what the master's process does with a new session: see who is there, and have the agents attach."""
        plane.sessions.clear()
        plane.uplinks.joined()
        for session in list(self.sessions.values()):
            plane.sessions.joined(session.details())

    def master_died(self) -> None:
        """End the master's session, because it is no more."""
        self.master = None
        self._break_off_calls()

    def _master_gone(self) -> None:
        if self.master is not None:
            plane, clock = self.master
            self.master = None
            self._break_off_calls()
            self.world.observer.unheard()
            clock.hand(self._cut_off, plane)

    def _cut_off(self, plane: "Plane") -> None:
        self.world.observer.cut_off()
        plane.uplinks.left()

    def _break_off_calls(self) -> None:
        calls, self._calls = self._calls, {}
        for reply in calls.values():
            reply(Failure(NoAnswer("the callee is gone")))

    def invoke(
        self, caller: Caller, uri: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], reply: Callable[[Any], None]
    ) -> None:
        """Have the router call the master."""
        if self.master is None:
            reply(Failure(NoAnswer("the master is away")))
            return
        plane, clock = self.master
        self._next_call += 1
        number = self._next_call
        self._calls[number] = reply

        def answered(value: Any) -> None:
            if isinstance(value, Failure):
                if value.check(Killed):
                    return
                # No traceback goes over a wire, and one would keep all the frames of the call until the seed is over.
                value.value.__traceback__ = None
            else:
                self.world.observer.answered(caller.authid, uri)
            waiting = self._calls.pop(number, None)
            if waiting is not None:
                clock_lag = clock.lag()
                self.world.clock.callLater(clock_lag, waiting, value) if clock_lag else waiting(value)

        clock.hand(lambda: ensureDeferred(plane.invoke(caller, uri, args, kwargs)).addBoth(answered))

    # Sessions

    def join(self, machine: "Machine") -> Session:
        """Begin a session for an agent; it hears whether that came to something."""
        self._next_session += 1
        session = Session(self, self._next_session, machine)
        self._over(machine.line, UP, lambda: self._log_in(session))
        session._clock.callLater(JOIN_WITHIN_S, self._give_up, session)
        return session

    def _log_in(self, session: Session) -> None:
        """Have the router ask the master who this is, and the agent for a proof."""
        machine = session.machine
        authid = self._authenticate(machine.pubkey, session) if session is machine.session else None
        if authid is None:
            self._over(machine.line, DOWN, lambda: self._refused(session))
        else:
            session.authid = authid
            self._over(machine.line, DOWN, lambda: self._prove(session))

    def _authenticate(self, pubkey: str, session: Session) -> str | None:
        """Ask the master, as the router does, who has a key."""
        if not self.running or self.master is None:
            return None
        asked = {**session.details(), "authmethod": "cryptosign"}
        try:
            found: str = self.master[0].authenticate("default", asked)["authid"]
        except ControlPlaneError as problem:
            self.world.note(f"{session.machine.name} may not join: {problem}")
            session.taken_out = isinstance(problem, NodeUnpaired)
            return None
        return found

    def _prove(self, session: Session) -> None:
        if not session.given_up and not session._clock.dead:
            self._over(session.machine.line, UP, lambda: self._welcome(session))

    def _welcome(self, session: Session) -> None:
        machine = session.machine
        if not self.running or session is not machine.session:
            self._over(machine.line, DOWN, lambda: self._refused(session))
            return
        machine.oid = UUID(session.authid)
        session.known = True
        self.sessions[session.id] = session
        if self.master is not None:
            plane, clock = self.master
            clock.hand(plane.sessions.joined, session.details())
        if session.known:
            self._over(machine.line, DOWN, lambda: self._joined(session))

    def _joined(self, session: Session) -> None:
        wanted = session is session.machine.session and not session.given_up and not session._clock.dead
        if not wanted or not session.known:
            self.close_at_router(session)
            return
        session.open = True
        self.world.note(f"{session.machine.name} joined as session {session.id}")
        session._clock.hand(session.agent.joined, session)

    def _refused(self, session: Session) -> None:
        if session is session.machine.session and not session.open:
            if session.taken_out:
                session._clock.hand(session.agent.dismiss)  # As the agent's process does.
            session.machine.lost(session)

    def _give_up(self, session: Session) -> None:
        if session is session.machine.session and not session.open:
            session.given_up = True
            self.close_at_agent(session)
            session.machine.lost(session)

    def close_at_agent(self, session: Session, notice_after: float = 0.0) -> None:
        """End a session at the agent's side; the router is told over the line."""
        if session.open:
            session.open = False
            session._clock.hand(session.break_off, "the line was lost")
            session._clock.hand(self._left, session)
        self._over(session.machine.line, UP, lambda: self.world.clock.callLater(notice_after, self._forget, session))

    def _left(self, session: Session) -> None:
        """Tell an agent that its session is over, unless it has another one by now: so does its connection."""
        if session.agent._link in (session, None):
            session.agent.left()

    def close_at_router(self, session: Session) -> None:
        """End a session at the router's side; the agent is told over the line."""
        self._forget(session)
        self._over(session.machine.line, DOWN, lambda: self._dropped(session))

    def _dropped(self, session: Session) -> None:
        if session.open:
            session.open = False
            session._clock.hand(session.break_off, "the router ended the session")
            session._clock.hand(self._left, session)
        if session is session.machine.session:
            session.machine.lost(session)

    def _forget(self, session: Session) -> None:
        session.known = False
        if self.sessions.pop(session.id, None) is not None and self.master is not None:
            plane, clock = self.master
            clock.hand(plane.session_left, session.id)

    # Lines

    def cut(self, machine: "Machine", *directions: str) -> None:
        """Let directions of a line be dead; both sides notice after a while, each by itself."""
        line = machine.line
        line.dead.update(directions)
        line.breaks += 1
        for side in (self._agent_notices, self._router_notices):
            after = self.world.random.uniform(NOTICED_AFTER_MIN_S, NOTICED_AFTER_MAX_S)
            self.world.clock.callLater(after, side, machine, line.breaks)

    def heal(self, machine: "Machine") -> None:
        """Let a line work again; what it held back arrives now."""
        line = machine.line
        line.dead.clear()
        line.breaks += 1
        for direction in (UP, DOWN):
            held, line.held[direction] = line.held[direction], []
            after = self.world.random.uniform(0, RESENT_WITHIN_S) if held else 0.0
            for deliver in held:
                self.world.clock.callLater(after, deliver)
            line.arrived[direction] = max(line.arrived[direction], self.world.clock.now + after)

    def _agent_notices(self, machine: "Machine", which: int) -> None:
        session = machine.session
        if machine.line.breaks == which and session is not None and session.open:
            self.close_at_agent(session)
            machine.lost(session)

    def _router_notices(self, machine: "Machine", which: int) -> None:
        if machine.line.breaks == which:
            for session in [session for session in self.sessions.values() if session.machine is machine]:
                self.close_at_router(session)

    # Messages

    def later(self, deliver: Callable[[], Any], lag: float = 0.0) -> None:
        """Deliver a message of a console, which has no line that could break."""
        self._over(None, UP, deliver, lag, lossy=True)

    def _over(
        self, line: Line | None, direction: str, deliver: Callable[[], Any], lag: float = 0.0, *, lossy: bool = False
    ) -> None:
        faults, random, clock = self.faults, self.world.random, self.world.clock
        copies = 1
        if lossy and (faults.drop or faults.duplicate):
            if random.random() < faults.drop:
                self.world.observer.injected("message lost")
                return
            if line is not None and random.random() < faults.duplicate:
                self.world.observer.injected("message duplicated")
                copies = 2
        if line is not None and direction in line.dead:
            self.world.observer.injected("message held back")
            line.held[direction].append(deliver)
            return
        for number in range(copies):
            delay = faults.delay_min_s + (faults.delay_max_s - faults.delay_min_s) * random.random() + lag
            if number:
                clock.callLater(delay + random.random() * LATE_MAX_S, self._arrive, line, direction, deliver)
                continue
            if line is not None and faults.reorder < 1:
                if lossy and random.random() < faults.reorder:
                    self.world.observer.injected("message reordered")
                else:
                    delay = max(delay, line.arrived[direction] - clock.now)
                    line.arrived[direction] = clock.now + delay
            clock.callLater(delay, self._arrive, line, direction, deliver)

    def _arrive(self, line: Line | None, direction: str, deliver: Callable[[], Any]) -> None:
        """Deliver, unless the line died while the message was on its way."""
        if line is not None and direction in line.dead:
            line.held[direction].append(deliver)
        else:
            deliver()

    def send(self, topic: str, session: int, wire: bytes, lag: float = 0.0) -> None:
        """Carry an event to one session."""
        found = self.sessions.get(session)
        if found is not None and topic == ASSIGNMENT_TOPIC and found.machine.name in self.lose_next:
            self.lose_next.remove(found.machine.name)
            self.world.note(f"{found.machine.name} is not reached by an assignment")
        elif found is not None:
            self._over(found.machine.line, DOWN, lambda: self._hear(found, topic, decode(wire)), lag, lossy=True)

    def _hear(self, session: Session, topic: str, payload: Any) -> None:
        if session.open:
            session._clock.hand(lambda: session.agent.heard(topic, payload) if session.open else None)

    def carry(self, session: Session, uri: str, arguments: Mapping[str, Any], answer: Deferred[Any]) -> None:
        """Carry an agent's call to the master and the answer back."""
        wire = encode(arguments)
        self.world.observer.agent_says(session.machine, arguments)

        def arrive() -> None:
            if session.known:
                caller = Caller(session=session.id, authid=session.authid, authrole="agent")
                self.invoke(caller, uri, (), decode(wire), reply)

        def reply(value: Any) -> None:
            sent = value if isinstance(value, Failure) else encode(value)
            self._over(session.machine.line, DOWN, lambda: session._clock.hand(give, sent), lossy=True)

        def give(sent: Any) -> None:
            if answer.called or not session.open:
                return
            if isinstance(sent, Failure):
                answer.errback(sent.value)
            else:
                answer.callback(decode(sent))

        self._said.setdefault(session.machine.name, deque(maxlen=SAID_MAX)).append(arrive)
        self._over(session.machine.line, UP, arrive, session._clock.lag(), lossy=True)

    def said(self, machine: "Machine") -> list[Callable[[], Any]]:
        """Return what an agent called last, oldest first; each makes the call arrive once more."""
        return list(self._said.get(machine.name, ()))
