"""How a call becomes a change: bind, check the right, parse, look up, run, commit, answer, publish.

The pipeline knows no WAMP session, so a test needs none. Every failure leaves it as a `ControlPlaneError`: what is no
such error is a defect of ours, is logged under a number, and the caller is told the number only.
"""

from collections.abc import Callable, Mapping
from typing import Any

import cbor2
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from controlplane.clock import Chance, Clock
from controlplane.errors import (
    ControlPlaneError,
    InternalError,
    InvalidArgument,
    NoAnswer,
    PayloadTooLarge,
)
from controlplane.records.balancing import FileTarget
from controlplane.records.events import EventType
from controlplane.records.limits import DEFAULT_LIMITS, Limits
from controlplane.records.outcomes import IDEMPOTENCY_KEY, Outcome
from controlplane.records.principals import Caller, Invitation, Who
from controlplane.records.types import Instant, Oid, Record, carries, to_wire
from controlplane.services.admission import Admission
from controlplane.services.convergence import converge_at_once
from controlplane.services.idempotency import Key, Result, is_outcome, outcome_of
from controlplane.services.identity import Identity, identify, require_conceivable, require_right
from controlplane.services.journal import AUDITED_TABLES, Room, append, done_entry, is_audited, refused_entry
from controlplane.services.ledger import EVENTS_KEPT_MAX, Ledger
from controlplane.services.outlets import Outlets
from controlplane.services.procedures import CONTAINERS, SCALARS, Ask, Procedure
from controlplane.services.specs import Compositions
from controlplane.services.surroundings import NO_METRICS, Agents, Metrics, Sessions, Surroundings
from controlplane.store.database import Change, Store, View
from controlplane.store.tables import Rows, Table, Written

SMALL_LENGTH = 200
"""Entries of a reply up to which its size need not be looked at."""

CONVERGING = frozenset({"operate", "manage", "administer"})
"""Rights whose procedures change what is wanted: the clusters concerned are planned in the same transaction."""

Answers = Mapping[Oid, Mapping[str, Any]]
"""What agents said, by node."""

log = Logger()


class Call:
    """One call while it runs: who makes it, when, and on which transaction."""

    def __init__(
        self,
        caller: Caller,
        identity: Identity,
        now: Instant,
        new_oid: Callable[[], Oid],
        view: View,
        surroundings: Surroundings,
    ) -> None:
        self.caller = caller
        self.identity = identity
        self.agents, self.sessions, self.limits, self.metrics, self.obstacle = surroundings
        self.now = now
        self.new_oid = new_oid
        self.view = view

    @property
    def who(self) -> Who:
        """Return the caller as replies show it."""
        return Who(session=self.caller.session, authid=self.caller.authid, authrole=self.caller.authrole)

    def rows(self, table: Table[Any]) -> Rows[Any]:
        """Return a table in the call's transaction."""
        return self.view.rows(table)


class WritingCall(Call):
    """A call that changes something."""

    def __init__(
        self,
        caller: Caller,
        identity: Identity,
        ledger: Ledger,
        surroundings: Surroundings,
        answers: Answers | None = None,
    ) -> None:
        super().__init__(caller, identity, ledger.now, ledger.new_oid, ledger.change, surroundings)
        self.ledger = ledger
        self.answers = answers or {}
        """What agents said that were asked before, by node."""

        self.written: list[Written] = []
        """What the procedure wrote, for the audit; what follows from it is told by events."""

    def rows(self, table: Table[Any]) -> Rows[Any]:
        """Return a table in the call's transaction; what is written to it is remembered if it is audited."""
        if table in AUDITED_TABLES:
            return self.view.recorded_rows(table, self.written)
        return self.view.rows(table)

    def publish(self, kind: EventType, payload: Record) -> None:
        """Store an event, and send it after the commit."""
        self.ledger.publish(kind, payload)


class Pipeline:
    """Runs procedures."""

    def __init__(
        self,
        procedures: Mapping[str, Procedure],
        store: Store,
        chance: Chance,
        outlets: Outlets,
        agents: Agents,
        sessions: Sessions,
        compositions: Compositions,
        clock: Clock,
        *,
        events_kept: int = EVENTS_KEPT_MAX,
        limits: Limits = DEFAULT_LIMITS,
        metrics: Metrics = NO_METRICS,
        obstacle: Callable[[str | FileTarget], str | None] = lambda _: None,
    ) -> None:
        self.procedures = procedures
        self._store = store
        self._chance = chance
        self._outlets = outlets
        self._surroundings = Surroundings(agents, sessions, limits, metrics, obstacle)
        self._compositions = compositions
        self._events_kept = events_kept
        self._limits = limits
        self._admission = Admission(clock.seconds, limits)
        self._room = Room(clock.seconds)
        self._identities: dict[tuple[str, str], Identity] = {}
        self._identified_at = -1

    async def invoke(self, caller: Caller, uri: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Return the reply in its wire form; raises nothing but `ControlPlaneError`."""
        declared = self.procedures[uri]
        try:
            return await self._invoke(caller, declared, args, kwargs)
        except ControlPlaneError as problem:
            if is_audited(declared):
                self.note_refusal(caller, uri, declared.named(args, kwargs), problem)
            raise
        except CancelledError:
            # The caller or its session is gone. A change that is queued is made all the same.
            raise NoAnswer(
                "the caller gave the call up before it was answered",
                next_step="see whether it was made, or repeat it with its idempotency key",
            ) from None
        except Exception as problem:
            incident = str(self._chance.new_oid())[:8]
            log.failure("{uri} failed; incident {incident}", uri=uri, incident=incident)
            raise InternalError(
                f"the control plane failed at {uri.rpartition('.')[2]}; incident {incident}",
                subject={"type": "incident", "oid": incident},
                next_step="look for the incident in the master's log and report it",
            ) from problem

    def note_refusal(
        self,
        caller: Caller,
        action: str,
        arguments: Mapping[str, Any] | None,
        problem: ControlPlaneError,
        peer: str | None = None,
    ) -> None:
        """Write down that something was refused, as far as there is room; nobody waits for it."""
        left_out = self._room.take(caller.authid or peer or "")
        if left_out is None:
            return
        now = self._chance.now()
        came_from = peer or self._surroundings.sessions.peer_of(caller.session)

        def work(change: Change) -> None:
            append(
                change,
                self._limits.audit_entries_max,
                lambda seq: refused_entry(seq, now, caller, came_from, action, arguments, problem, left_out),
            )

        self._store.write(work).addErrback(
            lambda failure: log.warn("a refusal could not be written: {problem}", problem=failure.value)
        )

    def ledger(self, change: Change) -> Ledger:
        """Return a ledger for a change that no caller asked for."""
        chance = self._chance
        return Ledger(
            change,
            self._store.epoch,
            chance.now(),
            chance.new_oid,
            self._outlets,
            self._compositions,
            self._events_kept,
        )

    def change(self, work: Callable[[Ledger], Any]) -> Deferred[Any]:
        """Make a change that no caller asked for, with everything that follows from it."""

        def run(change: Change) -> Any:
            ledger = self.ledger(change)
            result = work(ledger)
            ledger.settle()
            return result

        return self._store.write(run)

    def act(self, caller: Caller, identity: Identity, work: Callable[[WritingCall], Any]) -> Deferred[Any]:
        """Make a change in the name of a policy, as a procedure would in that of a caller; fails as calls do."""

        def run(change: Change) -> Any:
            ledger = self.ledger(change)
            result = work(WritingCall(caller, identity, ledger, self._surroundings))
            converge_at_once(ledger)
            ledger.settle()
            return result

        return self._store.write(run)

    async def _invoke(
        self, caller: Caller, declared: Procedure, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        self._surroundings.sessions.require_open(caller)
        require_conceivable(caller, declared)
        self._admission.enter(caller)
        try:
            if declared.writes:
                return await self._change(caller, declared, args, kwargs)
            return await self._look(caller, declared, declared.bind(args, kwargs, self._limits))
        finally:
            self._admission.leave(caller)

    async def _look(self, caller: Caller, declared: Procedure, bound: Mapping[str, Any]) -> Any:
        with self._store.read() as view:
            call = self._looking(view, caller, declared, bound)
            result = declared.function(call, **declared.parse(bound, view))
        if isinstance(result, Ask):
            result = result.complete(await self._surroundings.agents.ask(result))
        return _checked(result, declared, self._limits)

    async def _change(
        self, caller: Caller, declared: Procedure, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        if kwargs.get(IDEMPOTENCY_KEY) is None:
            plain = {name: kwargs[name] for name in kwargs if name != IDEMPOTENCY_KEY} if kwargs else kwargs
            bound = declared.bind(args, plain, self._limits)
            answers = await self._ask_first(caller, declared, bound)
            return await self._store.write(
                lambda change: self._write_permitted(caller, declared, bound, change, answers)
            )
        given = dict(kwargs)
        text = given.pop(IDEMPOTENCY_KEY)
        bound = declared.bind(args, given, self._limits)
        key = Key(text, caller, declared, bound)
        if declared.asks is not None:
            # What was done already may have changed what agents would say.
            before = await self._store.write(lambda change: self._recall(key, caller, declared, bound, change))
            if before is not None:
                return outcome_of(before)
        answers = await self._ask_first(caller, declared, bound)
        outcome = await self._store.write(
            lambda change: self._write_once(key, caller, declared, bound, change, answers)
        )
        if isinstance(outcome, ControlPlaneError):
            raise outcome
        return outcome.wire

    async def _ask_first(self, caller: Caller, declared: Procedure, bound: Mapping[str, Any]) -> Answers:
        """Return what agents say to what a change depends on."""
        if declared.asks is None:
            return {}
        with self._store.read() as view:
            call = self._looking(view, caller, declared, bound)
            asked = declared.asks(call, **declared.parse(bound, view))
        return await self._surroundings.agents.ask(asked)

    def _looking(self, view: View, caller: Caller, declared: Procedure, bound: Mapping[str, Any]) -> Call:
        """Return a call that only looks, by somebody who has the right to it."""
        now = self._chance.now()
        identity = self._identify(view, caller, now)
        require_right(view, identity, caller, declared, bound)
        return Call(caller, identity, now, self._chance.new_oid, view, self._surroundings)

    def _recall(
        self, key: Key, caller: Caller, declared: Procedure, bound: Mapping[str, Any], change: Change
    ) -> Outcome | None:
        self._permit(caller, declared, bound, change)
        return key.recall(change, self._chance.now(), self._limits)

    def _identify(self, view: View, caller: Caller, now: Instant) -> Identity:
        """Return whom a session speaks for, remembered as long as nothing at all is written."""
        if self._store.commits != self._identified_at:
            self._identities.clear()
            self._identified_at = self._store.commits
        key = caller.authid, caller.authrole
        found = self._identities.get(key)
        if found is None:
            found = identify(view, caller, now)
            if not isinstance(found.record, Invitation):  # That expires without being written.
                self._identities[key] = found
        return found

    def _permit(self, caller: Caller, declared: Procedure, bound: Mapping[str, Any], change: Change) -> Identity:
        identity = identify(change, caller, self._chance.now())
        require_right(change, identity, caller, declared, bound)
        return identity

    def _write_permitted(
        self, caller: Caller, declared: Procedure, bound: Mapping[str, Any], change: Change, answers: Answers
    ) -> Any:
        identity = self._permit(caller, declared, bound, change)
        return self._write(caller, identity, declared, declared.parse(bound, change), change, answers)

    def _write(
        self,
        caller: Caller,
        identity: Identity,
        declared: Procedure,
        parsed: Mapping[str, Any],
        change: Change,
        answers: Answers,
    ) -> Any:
        ledger = self.ledger(change)
        call = WritingCall(caller, identity, ledger, self._surroundings, answers)
        result = declared.function(call, **parsed)
        if declared.needs in CONVERGING:
            converge_at_once(ledger)
        ledger.settle()
        if is_audited(declared):
            peer = self._surroundings.sessions.peer_of(caller.session)
            append(
                change,
                self._limits.audit_entries_max,
                lambda seq: done_entry(seq, ledger.now, caller, peer, declared.uri, call.written),
            )
        return _checked(result, declared, self._limits)

    def _write_once(
        self,
        key: Key,
        caller: Caller,
        declared: Procedure,
        bound: Mapping[str, Any],
        change: Change,
        answers: Answers,
    ) -> Result | ControlPlaneError:
        """Return what became of the first call with this key, which may be this one."""
        identity = self._permit(caller, declared, bound, change)
        now = self._chance.now()
        before = key.recall(change, now, self._limits)
        if before is not None:
            return Result(outcome_of(before))
        parsed = declared.parse(bound, change)
        outcome: Result | ControlPlaneError
        try:
            with change.nested() as inner:
                outcome = Result(self._write(caller, identity, declared, parsed, inner, answers))
        except ControlPlaneError as problem:
            if not is_outcome(problem):
                raise
            outcome = problem
        key.keep(change, now, self._limits, outcome)
        return outcome


def _is_small(wire: Any) -> bool:
    """Say whether a reply is about one object or few: what is accepted of one object fits into a message."""
    if isinstance(wire, dict):
        containers = [part for part in wire.values() if type(part) not in SCALARS and isinstance(part, CONTAINERS)]
        return len(wire) <= SMALL_LENGTH and all(len(part) <= SMALL_LENGTH for part in containers)
    return not isinstance(wire, CONTAINERS) or len(wire) <= SMALL_LENGTH


def _checked(result: Any, declared: Procedure, limits: Limits) -> Any:
    """Return the wire form of a result that one message can carry."""
    wire = to_wire(result)
    if _is_small(wire) or carries(wire, limits.reply_bytes_max):
        return wire
    try:
        size = len(cbor2.dumps(wire))
    except (ValueError, RecursionError) as problem:
        raise InvalidArgument("the reply cannot be encoded", next_step="report it") from problem
    if size > limits.reply_bytes_max:
        raise PayloadTooLarge(
            f"the reply has {size} bytes; {limits.reply_bytes_max} are admitted (reply_bytes_max)",
            subject={"type": "procedure", "uri": declared.uri},
            next_step="ask for pages with the arguments limit and marker",
        )
    return wire
