"""The store: snapshots for readers, and one writer that makes many calls durable with one sync.

Jobs that write are queued. Once per turn of the reactor the queue is emptied into one transaction, every job inside a
nested one of its own, and committed and synced once. Then the jobs are answered, and then their events leave. A job
that fails undoes only itself; when the commit fails, every job of the group fails, and nothing was changed.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Generic, TypeVar
from uuid import UUID

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from controlplane.clock import Clock
from controlplane.errors import ControlPlaneError, Overloaded, StoreFailed, StoreRefused
from controlplane.records.types import Oid
from controlplane.store.catalog import LAYOUT_VERSION, MARKS, TABLES, Mark
from controlplane.store.engine import Engine, Transaction
from controlplane.store.migrations import MIGRATIONS, Migration
from controlplane.store.tables import COUNTS, RecordedRows, Rows, Table, Written

GROUP_LENGTH_MAX = 256
"""Jobs that share one commit: enough that the sync no longer matters, few enough that nobody waits long."""

QUEUE_LENGTH_MAX = 20_000

R = TypeVar("R")
T = TypeVar("T")

log = Logger()


class View:
    """The tables as of one instant."""

    __slots__ = ("_rows", "_transaction")

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._rows: dict[Table[Any], Rows[Any]] = {}

    def rows(self, table: Table[R]) -> Rows[R]:
        """Return a table in this transaction."""
        found = self._rows.get(table)
        if found is None:
            found = self._rows[table] = Rows(table, self._transaction)
        return found

    def recorded_rows(self, table: Table[R], written: list[Written]) -> Rows[R]:
        """Return a table in this transaction; what is written to it is added to the list."""
        return RecordedRows(table, self._transaction, written)


class Change(View):
    """The tables in the writing transaction, and what is to be done once it is durable."""

    __slots__ = ("effects",)

    def __init__(self, transaction: Transaction) -> None:
        super().__init__(transaction)
        self.effects: list[Callable[[], None]] = []

    def after_commit(self, effect: Callable[[], None]) -> None:
        """Call this when the change is durable and its caller has been answered; never when it is undone."""
        self.effects.append(effect)

    def take_effects(self) -> list[Callable[[], None]]:
        """Return what is to be done now, and let go of it.

        An effect may hold the change, and one that held its effects in turn would stay until the collector of cycles
        comes, with everything that the transaction has touched.
        """
        effects, self.effects = self.effects, []
        return effects

    @contextmanager
    def nested(self) -> "Iterator[Change]":
        """Give a change within this one: an exception undoes it and its effects alone."""
        with self._transaction.child() as transaction:
            inner = Change(transaction)
            yield inner
        self.effects.extend(inner.take_effects())


class Snapshot:
    """A view that lasts as long as a `with` block."""

    __slots__ = ("_transaction",)

    def __init__(self, transaction: AbstractContextManager[Transaction]) -> None:
        self._transaction = transaction

    def __enter__(self) -> View:
        return View(self._transaction.__enter__())

    def __exit__(self, kind: type[BaseException] | None, problem: BaseException | None, trace: Any) -> None:
        self._transaction.__exit__(kind, problem, trace)


class _Job(Generic[T]):
    """One queued change and who waits for it."""

    __slots__ = ("answer", "effects", "failure", "result", "work")

    def __init__(self, work: Callable[[Change], T]) -> None:
        self.work = work
        self.answer: Deferred[T] = Deferred()
        self.result: Any = None
        self.failure: Exception | None = None
        self.effects: list[Callable[[], None]] = []

    def attempt(self, transaction: Transaction) -> None:
        try:
            with transaction.child() as nested:
                change = Change(nested)
                self.result = self.work(change)
            self.effects = change.take_effects()
        except Exception as problem:
            self.failure = problem

    def fail(self, problem: Exception) -> None:
        """Take note that it was not committed; one that had failed already says why itself."""
        self.failure = self.failure or problem
        self.effects = []

    def reply(self) -> None:
        """Tell who waits what became of it."""
        # An exception remembers where it was raised, which includes this job: the job must not hold it any longer.
        failure, self.failure = self.failure, None
        if failure is None:
            self.answer.callback(self.result)
        else:
            self.answer.errback(failure)


class Store:
    """Everything that is wanted, durable."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        new_oid: Callable[[], Oid],
        *,
        migrations: Mapping[int, Migration] = MIGRATIONS,
        only_existing: bool = False,
        broken: Callable[[ControlPlaneError], None] | None = None,
    ) -> None:
        """Open the tables; with `only_existing` an empty engine is refused instead of made a store.

        `broken` is called when the engine can be neither read nor written any more, until it is opened again.
        """
        self._engine = engine
        self._clock = clock
        self._broken = broken
        self._queue: list[_Job[Any]] = []
        self._flushing = False
        self._closed = False
        self.commits = 0
        """Grows whenever anything is about to be written: what was read before may be out of date."""

        engine.attach([COUNTS, *(space for table in TABLES for space in table.spaces())])
        self.epoch = _prepare(engine, new_oid, migrations, only_existing=only_existing)

    def read(self) -> "Snapshot":
        """Give a snapshot of what was committed last; keep it short, it holds up the reuse of space."""
        return Snapshot(self._engine.read())

    def write(self, work: Callable[[Change], T]) -> Deferred[T]:
        """Queue a change; the answer comes when it is durable, or with what `work` raised."""
        job = _Job(work)
        if self._closed or len(self._queue) >= QUEUE_LENGTH_MAX:
            job.answer.errback(Overloaded("too many changes are waiting to be written", next_step="try again later"))
            return job.answer
        self._queue.append(job)
        if not self._flushing:
            self._flushing = True
            self._clock.callLater(0, self._flush)
        return job.answer

    def write_now(self, work: Callable[[Change], T]) -> T:
        """Make one change at once, for start-up and for tools; raises what `work` raises."""
        self.commits += 1
        with self._engine.write() as transaction:
            change = Change(transaction)
            result = work(change)
        for effect in change.take_effects():
            effect()
        return result

    def statistics(self) -> dict[str, Any]:
        """Return sizes in bytes and the number of changes that wait."""
        return {**self._engine.statistics(), "waiting": len(self._queue)}

    def close(self) -> None:
        """Write what is queued and let go of the files; later writes are refused."""
        while self._queue:
            self._flush()
        self._closed = True
        self._engine.close()

    def _flush(self) -> None:
        if self._closed:
            return
        jobs, self._queue = self._queue[:GROUP_LENGTH_MAX], self._queue[GROUP_LENGTH_MAX:]
        if self._queue:
            self._clock.callLater(0, self._flush)
        else:
            self._flushing = False
        self.commits += 1
        try:
            with self._engine.write() as transaction:
                for job in jobs:
                    job.attempt(transaction)
        except Exception as problem:
            if not isinstance(problem, ControlPlaneError):
                log.failure("the store could not commit {count} changes", count=len(jobs))
            for job in jobs:
                job.fail(problem)
            if isinstance(problem, StoreFailed):
                self._look_whether_broken()
        for job in jobs:
            job.reply()
        for job in jobs:
            _run(job.effects)

    def _look_whether_broken(self) -> None:
        try:
            with self._engine.read():
                pass
        except ControlPlaneError as problem:
            if self._broken is not None:
                self._broken(problem)


def _run(effects: list[Callable[[], None]]) -> None:
    for effect in effects:
        try:
            effect()
        except Exception:
            log.failure("something that follows a change failed; the change itself is stored")


def _prepare(
    engine: Engine, new_oid: Callable[[], Oid], migrations: Mapping[int, Migration], *, only_existing: bool
) -> Oid:
    """Check the layout version, migrate when it is older, and return the epoch of the store."""
    with engine.write() as transaction:
        marks = Rows(MARKS, transaction)
        layout = marks.find("layout")
        if layout is None:
            if only_existing or any(True for table in TABLES for _ in transaction.keys(table.space)):
                raise StoreRefused("this is no store of the control plane", next_step="restore a backup")
            marks.put(Mark(name="layout", value=str(LAYOUT_VERSION)))
            epoch = marks.put(Mark(name="epoch", value=str(new_oid())))
        else:
            _migrate(transaction, marks, layout.value, migrations)
            epoch = marks.get("epoch")
    return UUID(epoch.value)


def _migrate(transaction: Transaction, marks: Rows[Mark], layout: str, migrations: Mapping[int, Migration]) -> None:
    version = int(layout) if layout.isdecimal() else -1
    if not 0 < version <= LAYOUT_VERSION:
        raise StoreRefused(
            f"the store has layout version {layout}; this program reads versions 1 to {LAYOUT_VERSION}",
            next_step="use the program that wrote it, or a newer one",
        )
    while version < LAYOUT_VERSION:
        log.info("migrating the store from layout version {version}", version=version)
        migrations[version](transaction)
        version += 1
        marks.put(Mark(name="layout", value=str(version)))


def renew_epoch(engine: Engine, epoch: Oid) -> None:
    """Give a restored store an identity of its own, so that agents do not take its older versions for newer ones."""
    engine.attach(MARKS.spaces())
    with engine.write() as transaction:
        Rows(MARKS, transaction).put(Mark(name="epoch", value=str(epoch)))
