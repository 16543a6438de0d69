"""How agents may handle workers: nothing is started twice, too early or unasked, and nothing healthy is stopped."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from controlplane.records.types import Oid
from controlplane.records.workers import WorkerSpec
from controlplane.store.catalog import WORKERS
from tests.simulation.mirror import Changed, Mirror, assigned_to

if TYPE_CHECKING:
    from tests.simulation.machine import Machine

FIRST_PAUSE_S, LONGEST_PAUSE_S, HEALTHY_AFTER_S, JITTER = 1.0, 60.0, 30.0, 0.25
"""What is promised of a worker that fails again and again: said here anew, not taken from the product."""


class Failed(NamedTuple):
    """A worker that failed with one configuration so many times in a row."""

    digest: str
    record: Any
    """What the agent itself remembers of the worker: when it forgot that, it may start anew."""

    times: int
    not_before: float
    at_last: float


class Handling:
    """What was asked of drivers, and whether it was right."""

    def __init__(self) -> None:
        self._ever: set[tuple[str, str, str]] = set()
        """(key of the machine, worker, digest) of everything that was ever assigned."""

        self._since: dict[tuple[str, str], int] = {}
        """From which version of its assignment on a node is to run a worker, by node and worker."""

        self.failed: dict[tuple[str, Oid], Failed] = {}
        self._held: dict[tuple[str, str], int] = {}
        """Newest version that an agent said it holds, by machine and epoch."""

    def assigned(self, changes: list[Changed], mirror: Mirror) -> None:
        """Take note of what nodes shall run."""
        for change in changes:
            row = change.after or change.before
            if change.noun != WORKERS.noun or row is None:
                continue
            old, new = assigned_to(change.before), assigned_to(change.after)
            if new is not None and new[0] in mirror.nodes:
                self._ever.add((mirror.nodes[new[0]]["pubkey"], row["oid"], new[1]))
            if old is not None and (new is None or old[0] != new[0]):
                self._since.pop((old[0], row["oid"]), None)
            if new is not None and new[0] in mirror.nodes:
                self._since.setdefault((new[0], row["oid"]), mirror.nodes[new[0]]["assignment"])

    def begin_anew(self, mirror: Mirror) -> None:
        """Take note that the store was replaced by another one: agents are told everything anew."""
        self._since.clear()
        for worker in mirror.workers.values():
            place = assigned_to(worker)
            if place is not None and place[0] in mirror.nodes:
                self._ever.add((mirror.nodes[place[0]]["pubkey"], worker["oid"], place[1]))
                self._since[place[0], worker["oid"]] = mirror.nodes[place[0]]["assignment"]

    def says(self, machine: "Machine", arguments: Mapping[str, Any]) -> str | None:
        """Check that an agent never forgets an assignment that it said it holds."""
        report = arguments.get("report")
        if report is None or report["epoch"] is None:
            return None
        key = machine.name, report["epoch"]
        held = self._held.get(key, 0)
        self._held[key] = max(held, report["version"])
        if report["version"] < held:
            return f"{machine.name} said that it holds version {held} of its assignment, and now {report['version']}"
        return None

    def agent_died(self, machine: "Machine") -> None:
        """Take note that an agent's memory of failures is gone."""
        self.failed = {key: value for key, value in self.failed.items() if key[0] != machine.name}

    def starts(self, machine: "Machine", spec: WorkerSpec, now: float) -> str | None:
        """Check a start."""
        unit = machine.units.get(spec.oid)
        shown = f"worker {spec.oid} on {machine.name}"
        if machine.busy[spec.oid]:
            return f"{shown} is started while something else is done about it"
        if unit is not None and unit.digest == spec.digest:
            return f"{shown} is started though it runs already as it is wanted"
        if (machine.pubkey, str(spec.oid), spec.digest) not in self._ever:
            return f"{shown} is started with {spec.digest}, which was never assigned to it there"
        failed = self.failed.get((machine.name, spec.oid))
        if failed is not None and failed.record is not _record(machine, spec.oid):
            failed = None
        if failed is not None and failed.digest == spec.digest and now < failed.not_before - 0.001:
            early = failed.not_before - now
            return f"{shown} failed {failed.times} times in a row and is started {early:.3f} s too early"
        return None

    def failed_again(self, machine: "Machine", oid: Oid, digest: str, ran: float, now: float) -> None:
        """Take note of a failure, which counts for the configuration that is wanted by now."""
        record = _record(machine, oid)
        wanted = None if record is None else record.spec
        if wanted is None:
            self.failed.pop((machine.name, oid), None)
            return
        before = self.failed.get((machine.name, oid))
        if before is None or before.record is not record or before.digest != wanted.digest or ran >= HEALTHY_AFTER_S:
            self.failed[machine.name, oid] = Failed(wanted.digest, record, 1, now, now)
        else:
            pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** (before.times - 1))
            self.failed[machine.name, oid] = Failed(
                wanted.digest, record, before.times + 1, now + pause, now + pause * (1 + JITTER)
            )

    def stops(self, machine: "Machine", oid: Oid, mirror: Mirror) -> str | None:
        """Check a stop: what runs is stopped only when the assignment that the agent holds takes it away."""
        node = mirror.nodes.get(str(machine.oid))
        if machine.busy[oid]:
            return f"worker {oid} on {machine.name} is stopped while something else is done about it"
        if oid not in machine.units or node is None or machine.agent is None:
            return None
        since = self._since.get((node["oid"], str(oid)))
        current = str(machine.agent._epoch) == mirror.epoch(node["oid"])
        if since is not None and current and machine.agent._version >= since:
            return f"worker {oid} on {machine.name} is stopped, though it is healthy and shall run there"
        return None


def _record(machine: "Machine", oid: Oid) -> Any:
    return machine.agent._supervisor._workers.get(oid) if machine.agent is not None else None
