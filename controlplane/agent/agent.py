"""The agent without its surroundings: keeps the assignment, has the supervisor make it so, and reports.

It works the same whether its link is WAMP or a simulation. With the master it has one conversation at a time, in a loop
of one key: attach when it is not attached, then report what changed, and again when an answer is missing.
"""

import enum
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

import msgspec
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import Logger

from controlplane.agent.checkups import check_workers
from controlplane.agent.leases import Leases, Surroundings
from controlplane.agent.meters import Meters
from controlplane.agent.orders import Orders
from controlplane.agent.supervisor import Supervisor
from controlplane.clock import Chance, Clock
from controlplane.drivers.driver import Driver
from controlplane.errors import ControlPlaneError, NotAttached
from controlplane.loop import Loop
from controlplane.records.health_policies import UrlLook
from controlplane.records.nodes import NodeFacts
from controlplane.records.protocol import (
    ANSWER_QUESTION,
    ASSIGNMENT_TOPIC,
    ATTACH_AGENT,
    QUESTION_TOPIC,
    RENEW_LEASE,
    REPORT_WORKERS,
    TICK_TOPIC,
    Attachment,
    Tick,
)
from controlplane.records.types import Oid, Seconds, from_wire, to_wire
from controlplane.records.workers import Assignment, Entry, Question, Report, WorkerReport

ACKNOWLEDGE_AFTER_S = 0.05
"""A report is worth waiting for this long: most assignments change something that is reported anyway."""

RETRY_PAUSE_MIN_S = 0.2
RETRY_PAUSE_MAX_S = 5.0
ANSWER_WITHIN_S = 4.0
SAVE_AGAIN_AFTER_S = 5.0
MASTER, NOTEBOOK, LEASE = "master", "notebook", "lease"
"""Keys of the agent's loop: the conversation with the master, what could not be written down, and the leases."""

log = Logger()


class Link(Protocol):
    """A session with the master's realm."""

    def call(self, uri: str, within: Seconds, **arguments: Any) -> Deferred[Any]:
        """Call a procedure of the master; fails with `ControlPlaneError`, also when no answer comes in time."""
        ...


class Memory(Protocol):
    """Where the assignment is kept while nobody can be asked."""

    def read(self) -> Assignment | None:
        """Return what was written last, or None."""
        ...

    def write(self, assignment: Assignment) -> None:
        """Replace what is kept."""
        ...


class _Contact(enum.Enum):
    AWAY = "no session"
    JOINED = "a session, but not attached"
    ATTACHED = "attached"


class Agent:
    """Keeps one node."""

    def __init__(
        self,
        clock: Clock,
        chance: Chance,
        facts: NodeFacts,
        drivers: Mapping[str, Driver],
        notebook: Memory,
        leases: Surroundings | None = None,
    ) -> None:
        """Without `leases` it kills nothing when its master is silent, and does not say that it does."""
        self._clock = clock
        self._chance = chance
        self._facts = facts
        self._notebook = notebook
        self._supervisor = Supervisor(clock, chance, drivers, self._changed, self._attach_again)
        self._meters = Meters(clock, self._supervisor.statistics)
        self._leases = None if leases is None else Leases(leases, self._supervisor, self._desire, self._renew)
        self._is_kept = True
        """Whether the assignment is on the disk as it is."""

        self._boot = chance.new_oid()
        self._orders = Orders(clock, self._boot, self._supervisor, lambda: self._link)
        self._sequence = 0
        self._epoch: Oid | None = None
        self._version = 0
        self._entries: dict[Oid, Entry] = {}
        self._configs: dict[str, dict[str, Any]] = {}
        self._link: Link | None = None
        self._contact = _Contact.AWAY
        self._master_epoch: Oid | None = None
        self._master_boot: Oid | None = None
        self._dirty: dict[Oid, None] = {}
        self._report_all = False
        self._unreported = False
        self._failures = 0
        self._loop: Loop[str] = Loop("uplink", clock, self._talk)
        self.rotate: Callable[[], None] = lambda: None
        self.poll: Callable[[Mapping[str, UrlLook]], Coroutine[Deferred[Any], Any, dict[str, Any]]] = _poll_nothing
        """Asks for pages of workers."""

        self.trust: Callable[[tuple[str, ...]], None] = lambda _: None
        """Told by what the router is known from now on."""

        """Called when the master wants the key to be changed."""

    async def open(self) -> None:
        """Adopt what runs and go on with the assignment that was kept on disk."""
        await self._supervisor.open()
        kept = self._notebook.read()
        if kept is not None:
            self._epoch, self._version = kept.epoch, kept.version
            self._entries = {entry.oid: entry for entry in kept.workers}
            self._configs = dict(kept.configs)
            self._keep_leases(known=True)
            self._desire()

    def joined(self, link: Link) -> None:
        """Attach over a new session."""
        self._link = link
        self._contact = _Contact.JOINED
        self._failures = 0
        self._loop.wake(MASTER)
        self._orders.joined()

    def left(self) -> None:
        """Go on alone."""
        self._link = None
        self._contact = _Contact.AWAY

    def heard(self, topic: str, payload: Mapping[str, Any]) -> None:
        """Take in what the master sent."""
        try:
            if topic == ASSIGNMENT_TOPIC:
                self._take(from_wire(payload, Assignment))
            elif topic == QUESTION_TOPIC:
                self._hear_question(from_wire(payload, Question))
            elif topic == TICK_TOPIC:
                self._hear_tick(from_wire(payload, Tick))
        except msgspec.ValidationError as problem:
            log.error("the master sent something that this agent does not understand: {problem}", problem=problem)

    def _hear_tick(self, tick: Tick) -> None:
        if tick.boot != self._master_boot:
            self._attach_again()
        elif self._failures:
            # The line is good again, or the master awake: there is no need to sit out the pause.
            self._loop.wake_after(MASTER, self._chance.random())

    def dismiss(self) -> None:
        """Stop every worker: the node was taken out, and the master said so."""
        if self._entries:
            log.warn("this node was taken out: its {count} workers are stopped", count=len(self._entries))
            self._entries, self._configs = {}, {}
            look_again = self._save()
            if look_again is not None:
                self._loop.wake_after(NOTEBOOK, look_again)
            self._keep_leases()
            self._desire()

    async def close(self, keep: bool) -> None:
        """Stop; with `keep` workers go on and are adopted later."""
        self._link = None
        await self._loop.close()
        await self._orders.close()
        await self._meters.close()
        await self._supervisor.close(keep)

    # The assignment

    def _take(self, assignment: Assignment) -> None:
        if assignment.epoch != self._master_epoch:
            return  # From a store that this agent is not attached to: late, or of a master that it has left.
        whole = assignment.base is None
        if assignment.epoch == self._epoch and assignment.version <= self._version:
            self._acknowledge(whole=False)
            return
        if not whole and (assignment.epoch != self._epoch or (assignment.base or 0) > self._version):
            self._attach_again()  # It builds on something that this agent does not have.
            return
        if whole:
            self._entries, self._configs = {}, {}
        for oid in assignment.removed:
            self._entries.pop(oid, None)
            self._dirty[oid] = None
        self._entries.update({entry.oid: entry for entry in assignment.workers})
        self._configs.update(assignment.configs)
        used = {entry.digest for entry in self._entries.values()}
        self._configs = {digest: config for digest, config in self._configs.items() if digest in used}
        self._epoch, self._version = assignment.epoch, assignment.version
        # Written down before anything is done; on a full disk it is done all the same, and written down later.
        look_again = self._save()
        if look_again is not None:
            self._loop.wake_after(NOTEBOOK, look_again)
        self._keep_leases()
        if self._leases is not None:
            self._leases.confirm()
        self._desire()
        self._acknowledge(whole)

    def _desire(self) -> None:
        """Have everything run that is assigned and may run."""
        void = frozenset() if self._leases is None else self._leases.lapsed
        entries = {oid: entry for oid, entry in self._entries.items() if oid not in void} if void else self._entries
        self._supervisor.desire(entries, self._configs, void)

    def _keep_leases(self, *, known: bool = False) -> None:
        if self._leases is None:
            return
        fences = {oid: entry.fence_after for oid, entry in self._entries.items() if entry.fence_after is not None}
        # What changes has to be heard of: the master counts on what was said.
        changed = [oid for oid in self._entries if self._leases.fence_of(oid) != fences.get(oid)]
        self._dirty.update(dict.fromkeys(changed))
        self._leases.keep(fences, known=known)

    def _renew(self) -> None:
        self._loop.wake(LEASE)

    async def _renew_lease(self) -> Seconds | None:
        link, leases = self._link, self._leases
        if link is None or leases is None or self._contact is not _Contact.ATTACHED:
            return None
        sent = leases.now()
        try:
            await link.call(RENEW_LEASE, ANSWER_WITHIN_S)
        except NotAttached:
            self._attach_again()
        except ControlPlaneError as problem:
            log.info("the lease was not renewed: {problem}", problem=str(problem))
        else:
            self._heard_master(leases, sent)
            if leases.lapsed:
                # It was silent, and nobody has noticed that: what shall run is to be said again.
                self._attach_again()
        return None

    def _heard_master(self, leases: Leases, sent: Seconds) -> None:
        """Take note of an answer; leases that hold since are something to report."""
        come = leases.heard(sent)
        if come:
            self._dirty.update(dict.fromkeys(come))
            self._loop.wake(MASTER)

    def _save(self) -> Seconds | None:
        """Write the assignment down; returns after how many seconds to try again when that is not possible."""
        if self._epoch is None:
            return None
        before, self._is_kept = self._is_kept, False
        try:
            self._notebook.write(
                Assignment(
                    epoch=self._epoch,
                    version=self._version,
                    workers=tuple(self._entries.values()),
                    configs=self._configs,
                )
            )
        except OSError as problem:
            log.error(
                "the assignment cannot be kept on disk: {problem}; it is carried out, and kept when there is room",
                problem=problem,
            )
            return SAVE_AGAIN_AFTER_S
        self._is_kept = True
        if not before:
            self._dirty.update(dict.fromkeys(self._entries))
            self._loop.wake(MASTER)
        return None

    def _acknowledge(self, whole: bool) -> None:
        self._report_all |= whole
        self._unreported = True
        self._loop.wake_after(MASTER, ACKNOWLEDGE_AFTER_S)

    # The conversation

    def _changed(self, oid: Oid) -> None:
        self._dirty[oid] = None
        if self._contact is not _Contact.AWAY:
            self._loop.wake(MASTER)

    def _attach_again(self) -> None:
        if self._contact is _Contact.ATTACHED:
            self._contact = _Contact.JOINED
        self._loop.wake(MASTER)

    async def _talk(self, key: str) -> Seconds | None:
        if key == NOTEBOOK:
            return self._save()
        if key == LEASE:
            return await self._renew_lease()
        link = self._link
        if link is None:
            return None
        try:
            if self._contact is _Contact.JOINED:
                await self._attach(link)
            elif self._dirty or self._unreported:
                await self._report(link)
        except NotAttached:
            self._attach_again()
        except ControlPlaneError as problem:
            self._failures += 1
            pause = min(RETRY_PAUSE_MAX_S, RETRY_PAUSE_MIN_S * 2.0 ** min(self._failures, 10))
            log.info("the master cannot be told: {problem}; again in {pause} s", problem=str(problem), pause=pause)
            return pause * (1 + self._chance.random())
        else:
            self._failures = 0
        return 0 if self._dirty or self._unreported else None

    async def _attach(self, link: Link) -> None:
        answer = await self._tell(link, ATTACH_AGENT, whole=True, facts=to_wire(self._offered()))
        if link is not self._link:
            return
        attachment = from_wire(answer, Attachment)
        self._master_epoch = attachment.epoch
        self._master_boot = attachment.boot
        self._contact = _Contact.ATTACHED
        if self._leases is not None and (attachment.epoch, attachment.assignment) == (self._epoch, self._version):
            self._leases.confirm()
        self.trust(attachment.router_keys)
        log.info("attached as node {authid}", authid=attachment.authid, node=str(attachment.node_oid))

    def _offered(self) -> NodeFacts:
        drivers = tuple(name for name in self._facts.drivers if name not in self._supervisor.unavailable)
        return msgspec.structs.replace(self._facts, drivers=drivers)

    async def _report(self, link: Link) -> None:
        whole, self._report_all = self._report_all, False
        try:
            await self._tell(link, REPORT_WORKERS, whole=whole)
        except BaseException:
            self._report_all |= whole
            raise

    async def _tell(self, link: Link, uri: str, *, whole: bool, **arguments: Any) -> Any:
        """Send a report; what it says is said again until it was heard."""
        dirty, self._dirty = self._dirty, {}
        self._unreported = False
        try:
            report = self._build(whole, dirty)
            sent = None if self._leases is None else self._leases.now()
            answer = await link.call(uri, ANSWER_WITHIN_S, report=to_wire(report), **arguments)
            if self._leases is not None and sent is not None:
                self._heard_master(self._leases, sent)
            return answer
        except BaseException:
            self._dirty = {**dirty, **self._dirty}
            self._unreported = True
            raise

    def _build(self, whole: bool, dirty: Mapping[Oid, None]) -> Report:
        self._sequence += 1
        oids = dict.fromkeys(self._supervisor.oids(), None) if whole else {}
        workers: list[WorkerReport] = []
        gone: list[Oid] = []
        for oid in {**oids, **dirty}:
            report = self._supervisor.report(oid)
            if report is not None:
                fence = self._leases.fence_of(oid) if self._leases is not None and self._is_kept else None
                workers.append(msgspec.structs.replace(report, fence_after=fence))
            else:
                gone.append(oid)
        return Report(
            boot=self._boot,
            sequence=self._sequence,
            epoch=self._epoch,
            version=self._version,
            full=whole,
            workers=tuple(workers),
            gone=tuple(gone),
        )

    def _hear_question(self, question: Question) -> None:
        if question.kind == "rotate_key":
            self.rotate()
        elif question.kind == "operate":
            if question.command is not None:
                self._orders.hear(question.oid, question.command)
        else:
            ensureDeferred(self._answer(question))

    async def _answer(self, question: Question) -> None:
        link = self._link
        answer: dict[str, Any] = {}
        if question.kind == "statistics":
            answer = await self._supervisor.statistics(question.workers)
        elif question.look is not None:
            answer = await self._supervisor.look_at_logs(question.look)
        elif question.watch is not None:
            answer = await self._meters.measure(question.workers, question.watch)
        elif question.sought is not None:
            answer = await self._supervisor.inspect(question.sought)
        elif question.kind == "check":
            answer = await check_workers(self._clock, self._supervisor.check, question.workers, question.within)
        elif question.urls is not None:
            answer = await self.poll(question.urls)
        elif question.passed is not None:
            answer = await self._supervisor.pass_on(question.passed)
        if link is None or link is not self._link:
            return
        try:
            await link.call(ANSWER_QUESTION, ANSWER_WITHIN_S, question_oid=str(question.oid), answer=answer)
        except ControlPlaneError as problem:
            log.info("an answer was not taken: {problem}", problem=str(problem))


async def _poll_nothing(_looks: Mapping[str, UrlLook]) -> dict[str, Any]:
    return {}
