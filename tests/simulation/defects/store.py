"""What could be wrong with durability and with events."""

from typing import Any

from controlplane.master.plane import Plane
from controlplane.services import ledger as ledgers
from controlplane.services.ledger import Ledger
from controlplane.store import database
from controlplane.store.database import Store
from tests.simulation.defects.planting import Defect, around, replaced
from tests.simulation.disk import Disk


def _never_sync(self: Disk) -> None:
    """Leave what was committed in the cache."""


def _answer_first(flush: Any) -> Any:
    def other(self: Store) -> None:
        jobs = self._queue[: database.GROUP_LENGTH_MAX]
        attempt = database._Job.attempt

        def attempt_and_answer(job: Any, transaction: Any) -> None:
            attempt(job, transaction)
            if job.failure is None:
                answer, job.answer = job.answer, database.Deferred()
                answer.callback(job.result)

        database._Job.attempt = attempt_and_answer  # type: ignore[method-assign]
        try:
            flush(self)
        finally:
            database._Job.attempt = attempt  # type: ignore[method-assign]
            for job in jobs:
                job.answer.addErrback(lambda _: None)

    return other


def _publish_at_once(publish: Any) -> Any:
    def other(self: Ledger, kind: Any, payload: Any) -> None:
        effects = self.change.effects
        before = len(effects)
        publish(self, kind, payload)
        for effect in effects[before:]:
            effect()
        del effects[before:]

    return other


def _go_on_without_commit(fail: Any) -> Any:
    def other(self: Any, problem: Exception) -> None:
        effects = self.effects
        fail(self, problem)
        self.effects = effects

    return other


def _begin_one_back(construct: Any) -> Any:
    def other(self: Plane, *args: Any, **kwargs: Any) -> None:
        construct(self, *args, **kwargs)
        with self.store.read() as view:
            _RESTARTED[:] = [True] if ledgers.last_event(view) else []

    return other


_RESTARTED: list[bool] = []


def _reuse_numbers(last_event: Any) -> Any:
    def other(change: Any) -> int:
        last: int = last_event(change)
        if _RESTARTED and last > 0:
            _RESTARTED.clear()
            return last - 1
        return last

    return other


def _forget_every_tenth(publish: Any) -> Any:
    count = [0]

    def other(self: Ledger, kind: Any, payload: Any) -> None:
        count[0] += 1
        if count[0] % 10:
            publish(self, kind, payload)

    return other


def _double(publish: Any) -> Any:
    def other(self: Ledger, kind: Any, payload: Any) -> None:
        publish(self, kind, payload)
        if kind.topic.endswith("worker_moved"):
            publish(self, kind, payload)

    return other


def _out_of_order(run: Any) -> Any:
    return lambda effects: run(list(reversed(effects)))


DEFECTS = (
    Defect("commit-not-synced", "commits are acknowledged and never synced", replaced((Disk, "sync", _never_sync))),
    Defect(
        "acknowledged-before-commit",
        "a caller is answered before the change is committed",
        around(Store, "_flush", _answer_first),
    ),
    Defect(
        "event-before-commit",
        "events are published while their change is made",
        around(Ledger, "publish", _publish_at_once),
    ),
    Defect(
        "event-of-failed-commit",
        "what follows a change is done although it could not be committed",
        around(database._Job, "fail", _go_on_without_commit),
    ),
    Defect(
        "sequence-reused",
        "after a restart the number of the newest event is given again",
        replaced(
            (Plane, "__init__", _begin_one_back(Plane.__init__)),
            (ledgers, "last_event", _reuse_numbers(ledgers.last_event)),
        ),
    ),
    Defect("event-forgotten", "every tenth event is forgotten", around(Ledger, "publish", _forget_every_tenth)),
    Defect("event-doubled", "a move is announced twice", around(Ledger, "publish", _double)),
    Defect(
        "events-out-of-order", "events of one commit leave in reverse order", around(database, "_run", _out_of_order)
    ),
)
