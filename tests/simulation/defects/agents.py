"""What could be wrong with an agent."""

from typing import Any

import msgspec

from controlplane.agent import supervisor as supervisors
from controlplane.agent.agent import Agent
from controlplane.agent.supervisor import Supervisor
from controlplane.core.reconcile import Failures
from tests.simulation.defects.planting import Defect, around, replaced


def _forget_what_runs(joined: Any) -> Any:
    def other(self: Agent, link: Any) -> None:
        for oid, worker in self._supervisor._workers.items():
            worker.unit = None
            self._supervisor._loop.wake(oid)
        joined(self, link)

    return other


def _keep_what_was_removed(desire: Any) -> Any:
    def other(self: Supervisor, entries: Any, configs: Any, *void: Any) -> None:
        kept = {oid: w.spec for oid, w in self._workers.items() if oid not in entries and w.unit is not None}
        desire(self, entries, configs, *void)
        for oid, spec in kept.items():
            self._workers[oid].spec = spec

    return other


def _take_any_version(take: Any) -> Any:
    def other(self: Agent, assignment: Any) -> None:
        if assignment.epoch == self._epoch and assignment.version < self._version:
            self._version = assignment.version - 1
        take(self, assignment)

    return other


def _take_any_difference(take: Any) -> Any:
    def other(self: Agent, assignment: Any) -> None:
        if assignment.base is not None and assignment.base > self._version and assignment.epoch == self._epoch:
            assignment = msgspec.structs.replace(assignment, base=self._version)
        take(self, assignment)

    return other


def _write_nothing(self: Agent) -> None:
    """Say that the assignment is on the disk."""


def _say_once(build: Any) -> Any:
    async def other(self: Agent, link: Any, uri: str, *, whole: bool, **arguments: Any) -> Any:
        try:
            return await build(self, link, uri, whole=whole, **arguments)
        except Exception:
            self._dirty, self._unreported = {}, False
            raise

    return other


def _keep_all(self: Agent) -> None:
    """Go on as if the node had not been taken out."""


def _lose_silently(self: Supervisor, oid: Any, _reason: str) -> None:
    worker = self._workers.get(oid)
    if worker is not None:
        worker.reason = "it was lost"


def _never_pause(_before: Any, digest: str, _ran: float, now: int, _chance: float) -> Failures:
    return Failures(digest=digest, count=1, retry_at=now)


def _never_healthy(after_failure: Any) -> Any:
    return lambda before, digest, _ran, now, chance: after_failure(before, digest, 0.0, now, chance)


def _ignore_ticks(self: Agent, _tick: Any) -> None:
    """Go on as before."""


def _adopt_nothing(open_: Any) -> Any:
    async def other(self: Supervisor) -> None:
        await open_(self)
        self._workers.clear()

    return other


def _report_stopping_as_gone(report: Any) -> Any:
    def other(self: Supervisor, oid: Any) -> Any:
        worker = self._workers.get(oid)
        return None if worker is not None and worker.spec is None else report(self, oid)

    return other


def _stop_when_alone(left: Any) -> Any:
    def other(self: Agent) -> None:
        left(self)
        self._supervisor.desire({}, {})

    return other


class _Believed:
    """A driver of which is believed what it said of a start, whatever happened before it could say so."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self._said: dict[Any, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    async def start(self, spec: Any) -> Any:
        unit = self._said[spec.oid] = await self._driver.start(spec)
        return unit

    def find(self, oid: Any) -> Any:
        return self._said.pop(oid, None) or self._driver.find(oid)


def _believe_drivers(begin: Any) -> Any:
    def other(self: Supervisor, clock: Any, chance: Any, drivers: Any, *callbacks: Any) -> None:
        begin(self, clock, chance, {name: _Believed(driver) for name, driver in drivers.items()}, *callbacks)

    return other


def _give_up_talking(talk: Any) -> Any:
    async def other(self: Agent, key: str) -> Any:
        pause = await talk(self, key)
        return None if self._failures > 1 else pause

    return other


DEFECTS = (
    Defect(
        "double-start", "an agent that reconnects starts what runs already", around(Agent, "joined", _forget_what_runs)
    ),
    Defect(
        "removed-kept", "a worker that was taken away goes on", around(Supervisor, "desire", _keep_what_was_removed)
    ),
    Defect(
        "stopped-when-alone",
        "an agent that loses the master stops its workers",
        around(Agent, "left", _stop_when_alone),
    ),
    Defect(
        "old-version-taken",
        "an assignment that is older than the one held is taken",
        around(Agent, "_take", _take_any_version),
    ),
    Defect(
        "any-difference-taken",
        "a difference to a version that is not held is taken",
        around(Agent, "_take", _take_any_difference),
    ),
    Defect("notebook-not-written", "the assignment is not kept on disk", replaced((Agent, "_save", _write_nothing))),
    Defect("said-once", "a report that was not heard is not said again", around(Agent, "_tell", _say_once)),
    Defect(
        "silent-after-failures",
        "an agent whose calls fail twice calls no more",
        around(Agent, "_talk", _give_up_talking),
    ),
    Defect(
        "dismissal-ignored",
        "an agent whose node was taken out while it was away keeps its workers",
        replaced((Agent, "dismiss", _keep_all)),
    ),
    Defect("loss-dropped", "that a worker died is forgotten", replaced((Supervisor, "_lost", _lose_silently))),
    Defect(
        "dead-on-arrival",
        "a worker that dies while the one before it is ended counts as running",
        around(Supervisor, "__init__", _believe_drivers),
    ),
    Defect(
        "no-back-off",
        "a worker that fails is started again at once for ever",
        replaced((supervisors, "after_failure", _never_pause)),
    ),
    Defect(
        "back-off-never-reset",
        "a worker that ran well for long still pays for old failures",
        around(supervisors, "after_failure", _never_healthy),
    ),
    Defect(
        "tick-ignored",
        "an agent does not notice another run of the master",
        replaced((Agent, "_hear_tick", _ignore_ticks)),
    ),
    Defect(
        "nothing-adopted", "an agent that starts does not look at what runs", around(Supervisor, "open", _adopt_nothing)
    ),
    Defect(
        "stop-said-too-early",
        "a worker that is being stopped is said to be gone",
        around(Supervisor, "report", _report_stopping_as_gone),
    ),
)
