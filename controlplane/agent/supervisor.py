"""The workers of one node: what is wanted of each, what is seen of it, and one pass at a time to bring them together.

It decides with `core.reconcile` and acts through drivers. It knows no master: it is told what to run and tells whoever
listens which workers changed.
"""

from collections.abc import Callable, Mapping
from typing import Any

from autobahn.wamp.exception import ApplicationError
from twisted.internet.defer import CancelledError, Deferred, DeferredList, DeferredLock, ensureDeferred
from twisted.logger import Logger

from controlplane.agent.worker_logs import read_logs
from controlplane.clock import Chance, Clock, limit
from controlplane.core.reconcile import Act, Failures, after_failure, decide, describe
from controlplane.drivers.driver import (
    Adopts,
    Checks,
    Driver,
    Guards,
    Kills,
    LooksThrough,
    Operates,
    Unavailable,
    Unit,
    Updates,
)
from controlplane.errors import (
    MESSAGE_LENGTH_MAX,
    PROBLEMS_MAX,
    CannotAdopt,
    ControlPlaneError,
    NoSuchObject,
    NotOffered,
    WorkerFailed,
)
from controlplane.loop import Loop
from controlplane.records.recoveries import Checked
from controlplane.records.types import NANOSECONDS, Oid, Seconds, to_wire
from controlplane.records.workers import (
    REASON_LENGTH_MAX,
    Entry,
    Findings,
    LookAtLogs,
    PassedOn,
    WorkerReport,
    WorkerSought,
    WorkerSpec,
    WorkerStatus,
)

OPEN_AGAIN_AFTER_S = 5.0
"""A container engine may come up after its agent."""

DIED_AT_ONCE = "it ended as soon as it served"

log = Logger()


class _Worker:
    """One worker on this node."""

    __slots__ = ("alone", "driver", "failures", "reason", "restarts", "sick", "spec", "starting", "unit", "void")

    def __init__(self, driver: str) -> None:
        self.driver = driver
        self.spec: WorkerSpec | None = None
        """What is wanted; None when it shall be gone."""

        self.unit: Unit | None = None
        """What runs."""

        self.failures: Failures | None = None
        self.reason: str | None = None
        self.restarts = 0
        self.void = False
        """Whether it must not run any longer, so that there is no time to end it in order."""

        self.starting: Deferred[Unit] | None = None
        self.sick: Checked | None = None
        """What the last check found, when what it looked at was not well."""

        self.alone = DeferredLock()
        """Drivers are asked for one thing at a time about each worker."""


class Supervisor:
    """Every worker of this node."""

    def __init__(
        self,
        clock: Clock,
        chance: Chance,
        drivers: Mapping[str, Driver],
        changed: Callable[[Oid], None],
        offers: Callable[[], None] = lambda: None,
    ) -> None:
        """`changed` is called for a worker that there is something to report of, `offers` when a driver has come."""
        self._clock = clock
        self._chance = chance
        self._drivers = drivers
        self._guards = [driver for driver in drivers.values() if isinstance(driver, Guards)]
        self._changed = changed
        self._offers = offers
        self.unavailable: dict[str, str] = {}
        """Drivers that cannot work for the time being, and why."""

        self._openings: Loop[str] = Loop("drivers", clock, self._open_again)
        self._workers: dict[Oid, _Worker] = {}
        self._loop: Loop[Oid] = Loop("workers", clock, self._pass)

    async def open(self) -> None:
        """Find what runs already; nothing is started or stopped before `desire`."""
        for name in self._drivers:
            look_again = await self._open(name)
            if look_again is not None:
                self._openings.wake_after(name, look_again)

    async def _open(self, name: str) -> Seconds | None:
        """Open a driver, and return after how many seconds to try again when that is not possible."""
        try:
            found = await self._drivers[name].open(self._lost)
        except Unavailable as problem:
            if name not in self.unavailable:
                log.warn("the driver {name} is not available: {problem}", name=name, problem=str(problem))
            self.unavailable[name] = str(problem)
            return OPEN_AGAIN_AFTER_S
        for oid, unit in found.items():
            worker = self._workers.setdefault(oid, _Worker(name))
            worker.unit = unit
            log.info("adopted worker {oid}", oid=str(oid), pid=unit.pid)
        return None

    async def _open_again(self, name: str) -> Seconds | None:
        look_again = await self._open(name)
        if look_again is None:
            del self.unavailable[name]
            log.info("the driver {name} is available", name=name)
            self._offers()
            for oid, worker in self._workers.items():
                if worker.driver == name:
                    worker.failures = None
                    self._changed(oid)
                    self._loop.wake(oid)
        return look_again

    def desire(
        self,
        entries: Mapping[Oid, Entry],
        configs: Mapping[str, Mapping[str, Any]],
        void: frozenset[Oid] = frozenset(),
    ) -> None:
        """Take over what shall run on this node; everything else is stopped, and what is `void` is killed."""
        for oid, entry in entries.items():
            worker = self._workers.setdefault(oid, _Worker(entry.driver))
            if worker.spec is None or worker.spec.digest != entry.digest:
                worker.spec = WorkerSpec(oid=oid, digest=entry.digest, config=dict(configs[entry.digest]))
                self._forget_reason(oid, worker)
                self._loop.wake(oid)
        for oid, worker in list(self._workers.items()):  # One whose start is cancelled may be gone at once.
            worker.void = oid in void
            if oid not in entries:
                worker.spec = None
                if worker.void and worker.starting is not None:
                    worker.starting.cancel()
                self._loop.wake(oid)

    def _forget_reason(self, oid: Oid, worker: _Worker) -> None:
        """Say no more of a worker that runs why it could not be given what was wanted before."""
        if worker.unit is not None and worker.reason is not None:
            worker.reason = None
            self._changed(oid)

    def guard(self, fences: Mapping[Oid, Seconds]) -> None:
        """Have drivers end workers in time also when nobody calls any more; see `Guards`."""
        for driver in self._guards:
            driver.guard(fences)

    def renew(self, contact: Seconds) -> None:
        """Count the time of those from this moment."""
        for driver in self._guards:
            driver.renew(contact)

    def report(self, oid: Oid) -> WorkerReport | None:
        """Return how a worker is, or None when nothing is left of it."""
        worker = self._workers.get(oid)
        if worker is None:
            return None
        unit = worker.unit
        if worker.spec is None:
            return WorkerReport(oid=oid, status=WorkerStatus.STOPPING)
        failed = worker.failures.count if worker.failures and worker.failures.digest == worker.spec.digest else 0
        if unit is None:
            status = WorkerStatus.ERROR if worker.failures is not None else WorkerStatus.STARTING
            return WorkerReport(oid=oid, status=status, reason=worker.reason, restarts=worker.restarts, failures=failed)
        sick = worker.sick if worker.sick is not None and worker.sick.started == unit.started else None
        return WorkerReport(
            oid=oid,
            status=WorkerStatus.RUNNING if sick is None else WorkerStatus.ERROR,
            digest=unit.digest,
            reason=worker.reason if sick is None else sick.reason,
            restarts=worker.restarts,
            failures=failed,
            started=unit.started,
            pid=unit.pid,
            realms=unit.realms,
            addresses=unit.addresses,
            paused=unit.paused,
        )

    def oids(self) -> list[Oid]:
        """Return the workers that something is known of."""
        return list(self._workers)

    async def statistics(self, oids: tuple[Oid, ...]) -> dict[str, Any]:
        """Return the figures of the workers that run and answer."""
        asked = []
        for oid in oids:
            worker = self._workers.get(oid)
            if worker is not None and worker.unit is not None:
                asked.append((oid, ensureDeferred(self._drivers[worker.driver].statistics(oid))))
        answers = await DeferredList([answer for _, answer in asked], consumeErrors=True)
        return {str(oid): figures for (oid, _), (good, figures) in zip(asked, answers, strict=True) if good}

    async def check(self, oid: Oid, within: Seconds) -> Checked:
        """Look at a worker now, and report it from then on as it was found."""
        worker = self._workers.get(oid)
        if worker is None or worker.unit is None:
            reason = None if worker is None else worker.reason
            return Checked(well=False, reason=reason or "it does not run")
        unit, driver = worker.unit, self._drivers[worker.driver]
        found = Checked(well=True, started=unit.started)
        # What somebody has paused answers nobody, and is as it is wanted.
        if isinstance(driver, Checks) and not (driver.find(oid) or unit).paused:
            try:
                await limit(self._clock, ensureDeferred(driver.check(oid)), within, "a look at it")
            except ControlPlaneError as problem:
                found = Checked(well=False, reason=problem.message[:REASON_LENGTH_MAX], started=unit.started)
        if worker.unit is None or worker.unit.started != unit.started:
            return Checked(well=False, reason=worker.reason or "it ended while it was looked at")
        sick = None if found.well else found
        if sick != worker.sick:
            worker.sick = sick
            self._changed(oid)
        return found

    async def logs(self, oid: Oid, lines: int, length: int) -> str:
        """Return the last lines that a worker has written, at most that long; see `Operates`."""
        return await self._operating(oid).logs(oid, lines, length)

    async def look_at_logs(self, look: LookAtLogs) -> dict[str, Any]:
        """Return what the master is answered that wants to see what a worker has written, or what was wrong."""
        try:
            return await read_logs(self._operating(look.worker_oid), look)
        except ControlPlaneError as problem:
            return {"error": problem.uri, "message": problem.message}

    async def inspect(self, sought: WorkerSought) -> dict[str, Any]:
        """Return what could be adopted of what runs on this node, or why it cannot; see `Adopts`."""
        driver = self._drivers.get(sought.driver)
        try:
            if not isinstance(driver, Adopts) or sought.driver in self.unavailable:
                raise CannotAdopt(f"the driver {sought.driver} of this node adopts nothing now")
            found = await driver.inspect(sought.identity, sought.snapshot)
        except CannotAdopt as problem:
            problems = tuple((each.path, each.message) for each in problem.problems[:PROBLEMS_MAX])
            found = Findings(refusal=problem.message[:MESSAGE_LENGTH_MAX], problems=problems)
        answer: dict[str, Any] = to_wire(found)
        return answer

    async def operate(self, oid: Oid, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out an operation on a running worker, and return what came of it; see `Operates`."""
        driver, worker = self._operating(oid), self._workers[oid]
        async with worker.alone:
            try:
                return await driver.operate(oid, operation, parameters)
            finally:
                self._look_again(oid, worker)

    async def pass_on(self, passed: PassedOn) -> dict[str, Any]:
        """Return the answer of the Crossbar.io node of this machine to a call, or its error."""
        through = next((driver for driver in self._drivers.values() if isinstance(driver, LooksThrough)), None)
        try:
            if through is None:
                raise WorkerFailed("this node has no driver through which a Crossbar.io node can be reached")
            return {"result": await through.forward(passed.procedure, passed.arguments, passed.keywords, passed.within)}
        except ControlPlaneError as problem:
            return {"error": problem.uri, "message": problem.message}
        except ApplicationError as problem:
            said = str(problem.args[0]) if problem.args else problem.error
            return {"error": problem.error, "message": said[:MESSAGE_LENGTH_MAX]}

    async def close(self, keep: bool) -> None:
        """Do nothing more; without `keep` stop every worker."""
        await self._openings.close()
        await self._loop.close()
        for name, driver in self._drivers.items():
            try:
                await driver.close(keep)
            except Exception:
                log.failure("the driver {name} did not close in order", name=name)

    def _operating(self, oid: Oid) -> Operates:
        worker = self._workers.get(oid)
        if worker is None:
            raise NoSuchObject(
                "the worker is not on this node",
                subject={"type": "worker", "oid": str(oid)},
                next_step="look where it is",
            )
        driver = self._drivers.get(worker.driver)
        if worker.driver in self.unavailable:
            raise WorkerFailed(f"the driver {worker.driver} is not available: {self.unavailable[worker.driver]}")
        if not isinstance(driver, Operates):
            raise NotOffered(
                f"workers of the driver {worker.driver} have no logs and no operations here",
                subject={"type": "worker", "oid": str(oid)},
                next_step="look at them through their Crossbar.io node",
            )
        return driver

    def _look_again(self, oid: Oid, worker: _Worker) -> None:
        """Take note of what an operation has made of a worker."""
        found = self._drivers[worker.driver].find(oid)
        if found == worker.unit:
            return
        if found is None and worker.unit is not None:
            self._lost(oid, "it ended in an operation")
            return
        # A restart that somebody wanted is none of those that are counted, because something was wrong.
        worker.unit = found
        self._changed(oid)

    def _lost(self, oid: Oid, reason: str) -> None:
        worker = self._workers.get(oid)
        if worker is None or worker.unit is None:
            return
        ran = (self._chance.now() - worker.unit.started) / NANOSECONDS
        worker.unit = None
        if worker.spec is not None:
            self._note_failure(oid, worker, reason, ran)
        self._loop.wake(oid)

    async def _pass(self, oid: Oid) -> Seconds | None:
        worker = self._workers.get(oid)
        if worker is None:
            return None
        async with worker.alone:
            return await self._converge(oid, worker)

    async def _converge(self, oid: Oid, worker: _Worker) -> Seconds | None:
        spec, unit = worker.spec, worker.unit
        decision = decide(
            spec.digest if spec else None, unit.digest if unit else None, worker.failures, self._chance.now()
        )
        match decision.act:
            case Act.START | Act.REPLACE if spec is not None:
                await self._start(oid, worker, spec)
            case Act.STOP:
                driver = self._drivers[worker.driver]
                await (driver.kill(oid) if worker.void and isinstance(driver, Kills) else driver.stop(oid))
                worker.unit = None
                log.info("stopped worker {oid}", oid=str(oid))
            case _:
                pass
        if worker.spec is None and worker.unit is None:
            usable = worker.driver in self._drivers and worker.driver not in self.unavailable
            if worker.failures is not None and decision.act is not Act.STOP and usable:
                # What is kept of a worker that fails, its logs above all, goes with it.
                await self._drivers[worker.driver].stop(oid)
                if worker.spec is not None:
                    return 0  # It was wanted again meanwhile.
            self._workers.pop(oid, None)
            self._changed(oid)
            return None
        if decision.act is not Act.NOTHING:
            self._loop.wake(oid)
        return decision.wait_s

    async def _start(self, oid: Oid, worker: _Worker, spec: WorkerSpec) -> None:
        if worker.failures is not None and worker.failures.digest == spec.digest:
            worker.restarts += 1
        begun = self._clock.seconds()
        before = worker.failures
        driver = self._drivers.get(worker.driver)
        try:
            if driver is None:
                raise WorkerFailed(f"this node has no driver {worker.driver!r}")
            if worker.driver in self.unavailable:
                raise WorkerFailed(f"the driver {worker.driver} is not available: {self.unavailable[worker.driver]}")
            worker.starting = ensureDeferred(self._started(worker, driver, spec))
            unit = await worker.starting
        except CancelledError:
            if worker.void and driver is not None:
                worker.unit = driver.find(oid)
                return
            raise  # The agent ends; the worker has done nothing wrong.
        except Exception as problem:
            if not isinstance(problem, ControlPlaneError):
                log.failure("worker {oid} could not be started", oid=str(oid))
            # A replacement that failed may have left the former one running, or not.
            usable = driver is not None and worker.driver not in self.unavailable
            worker.unit = driver.find(oid) if driver is not None and usable else None
            reason = problem.message if isinstance(problem, ControlPlaneError) else f"the driver failed: {problem}"
            self._note_failure(oid, worker, reason, 0.0)
            return
        finally:
            worker.starting = None
        if driver.find(oid) is None:
            # A driver returns once the former one has ended: the new one served, and died before that.
            worker.unit = None
            if worker.failures is before:
                self._note_failure(oid, worker, DIED_AT_ONCE, 0.0)
            return
        worker.unit, worker.reason = unit, None
        log.info("worker {oid} runs, after {seconds:.3f} s", oid=str(oid), seconds=self._clock.seconds() - begun)
        self._changed(oid)

    async def _updated(self, worker: _Worker, driver: Driver, spec: WorkerSpec) -> Unit | None:
        """Return what runs of a worker if it could be given its configuration as it runs; see `Updates`."""
        if worker.unit is None or not isinstance(driver, Updates):
            return None
        return await driver.update(spec)

    async def _started(self, worker: _Worker, driver: Driver, spec: WorkerSpec) -> Unit:
        return await self._updated(worker, driver, spec) or await driver.start(spec)

    def _note_failure(self, oid: Oid, worker: _Worker, reason: str, ran: Seconds) -> None:
        if worker.spec is None:
            return
        now = self._chance.now()
        worker.failures = after_failure(worker.failures, worker.spec.digest, ran, now, self._chance.random())
        worker.reason = describe(reason, worker.failures, now)[:REASON_LENGTH_MAX]
        log.warn("worker {oid}: {reason}", oid=str(oid), reason=worker.reason)
        self._changed(oid)
