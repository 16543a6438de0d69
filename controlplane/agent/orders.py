"""What the master told this agent to do to workers: each order is carried out once, and reported until that was heard.

An agent knows what it was told since it was started, and nothing of before: an order that was meant for another run of
it may have been carried out, so it is not carried out again.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

import cbor2
import msgspec
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import Logger

from controlplane.agent.supervisor import Supervisor
from controlplane.clock import Clock
from controlplane.errors import ControlPlaneError, InvalidArgument
from controlplane.loop import Loop
from controlplane.records.orders import RESULT_BYTES_MAX, OrderReport
from controlplane.records.protocol import REPORT_ORDER
from controlplane.records.types import Oid, Seconds, to_wire
from controlplane.records.workers import REASON_LENGTH_MAX, Command

ORDERS_REMEMBERED_MAX = 10_000
"""The master tells the same again within a minute, as long as it has heard nothing."""

REPORT_WITHIN_S = 4.0
PAUSE_MIN_S, PAUSE_MAX_S = 0.2, 10.0
DOUBLINGS_MAX = 10
ANOTHER_RUN = "another run of this agent was told to, which may have done it"

log = Logger()


class Line(Protocol):
    """A session with the master's realm."""

    def call(self, uri: str, within: Seconds, **arguments: Any) -> Deferred[Any]:
        """Call a procedure of the master; fails with `ControlPlaneError`, also when no answer comes in time."""
        ...


class Orders:
    """Everything that this run of the agent was told to do."""

    def __init__(self, clock: Clock, boot: Oid, supervisor: Supervisor, line: Callable[[], Line | None]) -> None:
        """`line` returns the session of the moment."""
        self._boot = boot
        self._supervisor = supervisor
        self._line = line
        self._known: OrderedDict[Oid, None] = OrderedDict()
        self._unheard: dict[Oid, OrderReport] = {}
        self._tries: dict[Oid, int] = {}
        self._loop: Loop[Oid] = Loop("orders", clock, self._tell)

    def hear(self, oid: Oid, command: Command) -> None:
        """Carry out an order that was not heard before."""
        if oid in self._known:
            return  # It is under way, or was reported; what was not heard of it is said again anyway.
        self._known[oid] = None
        if len(self._known) > ORDERS_REMEMBERED_MAX:
            self._known.popitem(last=False)
        if command.boot != self._boot:
            self._over(OrderReport(oid=oid, status="UNKNOWN", reason=ANOTHER_RUN))
        else:
            ensureDeferred(self._carry_out(oid, command))

    def joined(self) -> None:
        """Say over a new session what was not heard yet."""
        for oid in self._unheard:
            self._loop.wake(oid)

    async def close(self) -> None:
        """Say nothing more."""
        await self._loop.close()

    async def _carry_out(self, oid: Oid, command: Command) -> None:
        worker = str(command.worker_oid)
        try:
            result = await self._supervisor.operate(command.worker_oid, command.operation, command.parameters)
            if len(cbor2.dumps(result)) > RESULT_BYTES_MAX:
                result = {"left_out": f"more than {RESULT_BYTES_MAX} bytes"}
            report = OrderReport(oid=oid, status="DONE", result=result)
            log.info("worker {worker}: {operation} is done", worker=worker, operation=command.operation)
        except ControlPlaneError as problem:
            report = OrderReport(oid=oid, status="FAILED", reason=problem.message[:REASON_LENGTH_MAX])
            log.info("worker {worker}: {operation}: {p}", worker=worker, operation=command.operation, p=str(problem))
        except Exception as problem:
            log.failure("worker {worker}: {operation} failed", worker=worker, operation=command.operation)
            report = OrderReport(oid=oid, status="UNKNOWN", reason=f"the driver failed: {problem}"[:REASON_LENGTH_MAX])
        self._over(report)

    def _over(self, report: OrderReport) -> None:
        self._unheard[report.oid] = report
        self._loop.wake(report.oid)

    async def _tell(self, oid: Oid) -> Seconds | None:
        line, report = self._line(), self._unheard.get(oid)
        if line is None or report is None:
            return None
        try:
            await line.call(REPORT_ORDER, REPORT_WITHIN_S, report=to_wire(report))
        except InvalidArgument as problem:
            # What the driver said cannot be carried; that it is done is worth knowing all the same.
            log.error("the master does not understand what came of an order: {problem}", problem=str(problem))
            if report.result is None:
                self._forget(oid)
                return None
            self._unheard[oid] = msgspec.structs.replace(report, result=None)
            return 0
        except ControlPlaneError:
            self._tries[oid] = tries = self._tries.get(oid, 0) + 1
            return min(PAUSE_MAX_S, PAUSE_MIN_S * 2.0 ** min(tries, DOUBLINGS_MAX))
        self._forget(oid)
        return None

    def _forget(self, oid: Oid) -> None:
        self._unheard.pop(oid, None)
        self._tries.pop(oid, None)
