"""The agents that are connected: which session each node is reached by, and what it has been told.

An assignment is sent to one session only, as an event: an agent registers nothing that another one could take over, and
costs the router nothing but its session. What an agent holds is known from its reports. Until it holds the newest
version it is sent the difference to what it acknowledged last, or everything when that is not known, and again after a
pause when it stays silent.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from controlplane.clock import Chance, Clock, DelayedCall, limit
from controlplane.errors import ControlPlaneError, NotAttached
from controlplane.loop import Loop
from controlplane.master.questions import question_of
from controlplane.records.nodes import Heartbeat
from controlplane.records.protocol import ASSIGNMENT_TOPIC, QUESTION_TOPIC, TICK_TOPIC, TUNNELS_TOPIC, Tick
from controlplane.records.types import Oid, Seconds, from_wire, to_wire
from controlplane.records.workers import Assignment, Command, Question, Report, Worker
from controlplane.services.agents import assignment_epoch, mark_offline
from controlplane.services.ledger import Ledger, assigned_to
from controlplane.services.procedures import Ask
from controlplane.services.specs import Compositions, Specs
from controlplane.store.catalog import NODES, WORKERS
from controlplane.store.database import Store, View

RESEND_AFTER_S = 2.0
TICK_PERIOD_S = 2.0
TICKS_PER_SECOND_MAX = 500
"""Ticks heard by all agents together: with more agents each hears one less often."""

SETTLE_S = 5.0
"""How long agents may take to attach again after the master or the router was away, before they count as offline."""

PROCESSES_MAX = 1_000
"""Workers of one node without an agent of which heartbeats are kept."""

SESSIONS_ENDED_MAX = 1_000
"""Ended sessions that are remembered, for calls of theirs that were still waiting to be written."""

log = Logger()


class Messenger(Protocol):
    """How the master reaches sessions of its realm."""

    def send(self, topic: str, session: int, payload: Mapping[str, Any]) -> None:
        """Send an event to one session."""
        ...

    def announce(self, topic: str, payload: Mapping[str, Any]) -> None:
        """Send an event to every subscriber."""
        ...

    def kill(self, session: int, reason: str) -> None:
        """End a session."""
        ...


class _Uplink:
    """What is known of one attached agent."""

    __slots__ = ("acknowledged", "boot", "pending", "sent", "session", "since")

    def __init__(self, session: int, report: Report, assignment: int, acknowledged: int | None) -> None:
        self.session = session
        self.boot = report.boot
        self.acknowledged = acknowledged
        self.sent: int | None = None
        self.pending: dict[Oid, int] = {}
        """Workers that changed since, with the version in which they did."""

        self.since = assignment
        """What changed before this version is not in `pending`, so no difference can be made to an older one."""


class Uplinks:
    """Every attached agent."""

    def __init__(
        self,
        clock: Clock,
        store: Store,
        messenger: Messenger,
        chance: Chance,
        compositions: Compositions,
        change: Callable[[Callable[[Ledger], Any]], Deferred[Any]],
    ) -> None:
        self._clock = clock
        self._store = store
        self._messenger = messenger
        self._now = chance.now
        self._new_oid = chance.new_oid
        self._compositions = compositions
        self._change = change
        self._uplinks: dict[Oid, _Uplink] = {}
        self._nodes: dict[int, Oid] = {}
        self._newest: dict[Oid, tuple[Oid, int, bool]] = {}
        """Run of the agent, number of the newest report and whether it is stored, by node; it outlives sessions."""

        self._questions: dict[Oid, tuple[Oid, Deferred[Mapping[str, Any]]]] = {}
        self._pushes: Loop[Oid] = Loop("assignments", clock, self._push)
        self._presences: Loop[Oid] = Loop("presences", clock, self._note_presence)
        self._ended: OrderedDict[int, None] = OrderedDict()
        self._asked: set[int] = set()
        """Sessions that asked to be attached since the master has its present session."""

        self.boot = chance.new_oid()
        self.started = chance.now()
        self.ticks = 0
        self._ticks: DelayedCall | None = None
        self._heartbeats: dict[Oid, Heartbeat] = {}
        self.router_keys: Callable[[], tuple[str, ...]] = tuple
        """What agents are to know the router by; nothing where no process says it."""

    # The master's own session

    def joined(self) -> None:
        """Have every agent attach; those that do not within a while are offline."""
        self.left()
        self.boot = self._new_oid()
        self._clock.callLater(SETTLE_S, self._settle, self.boot)
        self._tick()

    def left(self) -> None:
        """Take note that nobody can be reached: nothing is concluded from that about the nodes."""
        self._uplinks.clear()
        self._nodes.clear()
        self._ended.clear()
        self._asked.clear()
        if self._ticks is not None:
            self._ticks.cancel()
            self._ticks = None

    def asked(self, session: int) -> None:
        """Take note that a session, which may have ended since, asks to be attached."""
        self._asked.update({session} - self._ended.keys())

    def session_left(self, session: int) -> None:
        """Take note that a session is no more; when it was an agent's, its node is offline."""
        self._asked.discard(session)
        self._ended[session] = None
        if len(self._ended) > SESSIONS_ENDED_MAX:
            self._ended.popitem(last=False)
        node_oid = self._nodes.pop(session, None)
        if node_oid is not None and self.session_of(node_oid) == session:
            del self._uplinks[node_oid]
            self._presences.wake(node_oid)

    async def close(self) -> None:
        """Send nothing more."""
        self.left()
        await self._pushes.close()
        await self._presences.close()

    # What procedures say and ask

    def attach(self, node_oid: Oid, session: int, report: Report, assignment: int) -> None:
        """Take a session for the one that a node is reached by, when its assignment had this version."""
        self._note_stored(node_oid, report)
        if session not in self._asked and session not in self._ended:
            # It called before the master had this session, and may have ended since; if not, it attaches anew.
            self._presences.wake_after(node_oid, SETTLE_S)
            return
        old = self._uplinks.get(node_oid)
        if old is not None and old.session != session:
            self._nodes.pop(old.session, None)
            self._messenger.kill(old.session, "another session of this node's agent took its place")
        if session in self._ended:
            # It ended while the change that notes its node as online was waiting.
            self._presences.wake(node_oid)
            return
        current = report.epoch == self._epoch(node_oid) and report.version == assignment
        self._uplinks[node_oid] = _Uplink(session, report, assignment, assignment if current else None)
        self._nodes[session] = node_oid
        self._presences.wake(node_oid)
        self._pushes.wake(node_oid)

    def session_of(self, node_oid: Oid) -> int | None:
        """Return the session that a node is reached by."""
        return uplink.session if (uplink := self._uplinks.get(node_oid)) else None

    def admit(self, node_oid: Oid, report: Report) -> None:
        """Count the report of an agent that attaches; raises `NotAttached` when a newer one was heard before.

        What a line held back arrives after what was said since: it must neither undo that nor end the session that the
        agent has by now. An agent that still waits for this answer attaches again.
        """
        if not self._is_news(node_oid, report):
            raise NotAttached("something newer was heard of this agent", next_step="attach again")

    def accept(self, node_oid: Oid, session: int, report: Report) -> bool:
        """Say whether a report is newer than all that were taken; raises `NotAttached` for another session's."""
        uplink = self._uplinks.get(node_oid)
        if uplink is None or uplink.session != session or uplink.boot != report.boot:
            raise NotAttached("this session is not attached for its node", next_step="attach again")
        return self._is_news(node_oid, report)

    def acknowledge(self, node_oid: Oid, report: Report) -> None:
        """Take note of a report that is stored, and of the assignment that the agent holds."""
        self._note_stored(node_oid, report)
        uplink = self._uplinks.get(node_oid)
        if uplink is None or uplink.boot != report.boot:
            return
        if report.epoch != self._epoch(node_oid) or report.version < uplink.since:
            return
        if uplink.acknowledged is None or report.version > uplink.acknowledged:
            uplink.acknowledged = report.version
            uplink.pending = {oid: version for oid, version in uplink.pending.items() if version > report.version}

    def detach(self, node_oid: Oid, assignment: int, reason: str) -> None:
        """Have a node that was taken out stop everything, and end its session; `assignment` was its last version."""
        uplink = self._uplinks.pop(node_oid, None)
        self._newest.pop(node_oid, None)
        if uplink is not None:
            self._nodes.pop(uplink.session, None)
            nothing = Assignment(epoch=self._epoch(node_oid), version=assignment + 1)
            self._messenger.send(ASSIGNMENT_TOPIC, uplink.session, to_wire(nothing))
            self._messenger.kill(uplink.session, reason)

    def hint_tunnels(self, node_oid: Oid) -> None:
        """Have an agent ask for its tunnels; one that is away asks when it is back."""
        uplink = self._uplinks.get(node_oid)
        if uplink is not None:
            self._messenger.send(TUNNELS_TOPIC, uplink.session, {})

    def answer(self, node_oid: Oid, question: Oid, answer: Mapping[str, Any]) -> None:
        """Take an agent's answer to a question; a late one is dropped."""
        asked, waiting = self._questions.get(question, (None, None))
        if waiting is not None and asked == node_oid:
            del self._questions[question]
            waiting.callback(answer)

    def heartbeat(self, node_oid: Oid) -> Heartbeat | None:
        """Return what a node without an agent said of itself last."""
        return self._heartbeats.get(node_oid)

    def note_heartbeat(self, node_oid: Oid, worker_id: str | None, said: Mapping[str, Any]) -> None:
        """Take in what a node without an agent says of itself, or of one of its workers."""
        last = self._heartbeats.get(node_oid, Heartbeat())
        try:
            if worker_id is None:
                news = from_wire(
                    {
                        "counter": said.get("seq", 0),
                        "time": said.get("timestamp", 0),
                        "workers": said.get("workers", {}),
                        "system": said.get("system", {}),
                    },
                    Heartbeat,
                )
                self._heartbeats[node_oid] = msgspec.structs.replace(news, processes=last.processes)
            elif len(last.processes) < PROCESSES_MAX or worker_id in last.processes:
                processes = {**last.processes, worker_id: dict(said)}
                self._heartbeats[node_oid] = msgspec.structs.replace(last, processes=processes)
        except msgspec.ValidationError as problem:
            log.debug("a heartbeat of node {node} is not understood: {p}", node=str(node_oid), p=problem)

    async def ask(self, ask: Ask) -> Mapping[Oid, Mapping[str, Any]]:
        """Return the answers of the nodes that answered in time."""
        waiting = {
            node: self._put_question(uplink.session, node, question, ask.within)
            for node, question in ask.questions.items()
            if (uplink := self._uplinks.get(node)) is not None
        }
        answers: dict[Oid, Mapping[str, Any]] = {}
        for node, answer in waiting.items():
            try:
                answers[node] = await answer
            except ControlPlaneError:
                log.debug("node {node} gave no answer", node=node)
        return answers

    def push(self, node_oid: Oid, version: int, workers: frozenset[Oid]) -> None:
        """Tell an agent, when it is attached, what has become of these workers."""
        uplink = self._uplinks.get(node_oid)
        if uplink is not None:
            uplink.pending.update(dict.fromkeys(workers, version))
            self._pushes.wake(node_oid)

    def tell(self, node_oid: Oid, order_oid: Oid, command: Command) -> None:
        """Have an agent carry out an order; another run of it than is meant is not told."""
        uplink = self._uplinks.get(node_oid)
        if uplink is not None and uplink.boot == command.boot:
            asked = Question(oid=order_oid, kind="operate", command=command)
            self._messenger.send(QUESTION_TOPIC, uplink.session, to_wire(asked))

    def rotate(self, node_oid: Oid) -> None:
        """Ask an agent to make a new key and to log in with it."""
        uplink = self._uplinks.get(node_oid)
        if uplink is not None:
            asked = Question(oid=self._new_oid(), kind="rotate_key")
            self._messenger.send(QUESTION_TOPIC, uplink.session, to_wire(asked))

    # Inside

    def _is_news(self, node_oid: Oid, report: Report) -> bool:
        """Say whether a report is newer than all that were taken, and count it."""
        # At once, as two may be written in one commit; until it is stored it is news when it arrives again.
        boot, newest, stored = self._newest.get(node_oid, (None, 0, False))
        if boot == report.boot and (report.sequence < newest or (report.sequence == newest and stored)):
            return False
        self._newest[node_oid] = report.boot, report.sequence, False
        return True

    def _note_stored(self, node_oid: Oid, report: Report) -> None:
        if self._newest.get(node_oid) == (report.boot, report.sequence, False):
            self._newest[node_oid] = report.boot, report.sequence, True

    def _put_question(
        self, session: int, node: Oid, question: Mapping[str, Any], within: Seconds
    ) -> Deferred[Mapping[str, Any]]:
        oid = self._new_oid()
        waiting: Deferred[Mapping[str, Any]] = Deferred(lambda _: self._forget_question(oid))
        self._questions[oid] = (node, waiting)
        self._messenger.send(QUESTION_TOPIC, session, to_wire(question_of(oid, question)))
        return limit(self._clock, waiting, within, f"node {node}")

    def _forget_question(self, oid: Oid) -> None:
        self._questions.pop(oid, None)

    async def _push(self, node_oid: Oid) -> Seconds | None:
        uplink = self._uplinks.get(node_oid)
        if uplink is None:
            return None
        with self._store.read() as view:
            node = view.rows(NODES).find(node_oid)
            if node is None or uplink.acknowledged == node.assignment:
                return None
            if uplink.sent == node.assignment:
                # It was told and stayed silent: the message, or the agent's memory of what it builds on, is lost.
                uplink.acknowledged = None
            assignment = self._assignment(view, node_oid, node.assignment, uplink)
        uplink.sent = node.assignment
        self._messenger.send(ASSIGNMENT_TOPIC, uplink.session, to_wire(assignment))
        return RESEND_AFTER_S

    def _assignment(self, view: View, node_oid: Oid, version: int, uplink: _Uplink) -> Assignment:
        specs = Specs(view, self._compositions)
        rows = view.rows(WORKERS)
        entries, removed = [], []
        workers: dict[Oid, Worker | None] = (
            {worker.oid: worker for worker in rows.all_by("node", node_oid)}
            if uplink.acknowledged is None
            else {oid: rows.find(oid) for oid in uplink.pending}
        )
        for oid, worker in workers.items():
            place = assigned_to(worker) if worker is not None else None
            entry = specs.entry(worker) if worker is not None and place and place[0] == node_oid else None
            if entry is not None:
                entries.append(entry)
            elif uplink.acknowledged is not None:
                removed.append(oid)
        return Assignment(
            epoch=self._epoch(node_oid),
            version=version,
            base=uplink.acknowledged,
            workers=tuple(entries),
            configs={digest: dict(config) for digest, config in specs.configs.items()},
            removed=tuple(removed),
        )

    def _epoch(self, node_oid: Oid) -> Oid:
        return assignment_epoch(self._store.epoch, node_oid)

    def _tick(self) -> None:
        self.ticks += 1
        self._messenger.announce(TICK_TOPIC, to_wire(Tick(boot=self.boot)))
        period = max(TICK_PERIOD_S, len(self._uplinks) / TICKS_PER_SECOND_MAX)
        self._ticks = self._clock.callLater(period, self._tick)

    def _settle(self, boot: Oid) -> None:
        if boot != self.boot or self._ticks is None:
            return
        with self._store.read() as view:
            nodes = list(view.rows(NODES).all())
        for node in nodes:
            # When the wall clock was set back while the master was away, a silence began in the time to come.
            if node.oid not in self._uplinks and (node.online or node.since > self._now()):
                self._presences.wake(node.oid)

    async def _note_presence(self, node_oid: Oid) -> None:
        """Have the store say what is so: a node without an uplink is offline, and one with an uplink online."""
        uplink = self._uplinks.get(node_oid)
        if uplink is None:
            await self._change(lambda ledger: self._note_absence(ledger, node_oid))
            return
        with self._store.read() as view:
            node = view.rows(NODES).find(node_oid)
        if node is not None and not node.online:
            # That it was away was written together with its return: it has to attach once more.
            del self._uplinks[node_oid]
            self._nodes.pop(uplink.session, None)
            self._messenger.kill(uplink.session, "its node counts as offline")

    def _note_absence(self, ledger: Ledger, node_oid: Oid) -> None:
        # It may have come back while this change was waiting.
        if node_oid not in self._uplinks:
            mark_offline(ledger, node_oid, ledger.now)
