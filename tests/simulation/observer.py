"""What can be noticed of a world while it runs; whoever wants to check something overrides what it is told."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from controlplane.records.types import Oid
from controlplane.records.workers import WorkerSpec
from tests.simulation.disk import Step

if TYPE_CHECKING:
    from tests.simulation.machine import Machine


class Observer:
    """Looks on."""

    def noted(self, line: str) -> None:
        """Something happened."""

    def injected(self, kind: str) -> None:
        """A fault was injected."""

    def committed(self, steps: list[Step]) -> None:
        """The master's store changed for good."""

    def published(self, topic: str, payload: Mapping[str, Any]) -> None:
        """The master sent an event to its subscribers."""

    def unheard(self) -> None:
        """What the master publishes from now on may be missed: it was killed, or has no router."""

    def cut_off(self) -> None:
        """The master is away, or takes note that its router was."""

    def answered(self, authid: str, uri: str) -> None:
        """The master answered a call, and with no error."""

    def agent_says(self, machine: "Machine", arguments: Mapping[str, Any]) -> None:
        """An agent sends a report or attaches."""

    def agent_died(self, machine: "Machine") -> None:
        """An agent's process is no more."""

    def starts(self, machine: "Machine", spec: WorkerSpec) -> None:
        """A driver is asked to start a worker."""

    def started(self, machine: "Machine", spec: WorkerSpec) -> None:
        """A worker runs and serves."""

    def start_ended(self, machine: "Machine", oid: Oid) -> None:
        """A start came to its end, good or bad."""

    def failed(self, machine: "Machine", oid: Oid, digest: str, ran: float) -> None:
        """A worker died after so many seconds, or could not be started after none."""

    def stops(self, machine: "Machine", oid: Oid) -> None:
        """A driver is asked to stop a worker."""

    def stop_ended(self, machine: "Machine", oid: Oid) -> None:
        """Nothing is left of a worker that was to be stopped."""
