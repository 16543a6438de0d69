"""One router or proxy worker of a Crossbar.io node: start it, set it up, look at it, stop it.

All of it goes through a session and the prefix of a node's management procedures, so it works for any edge node,
whether it is linked to us directly or is found at a router. Order matters: a worker opens its listening transport
last, so one that has it is complete.
"""

import re
from collections.abc import Coroutine, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from autobahn.wamp.exception import ApplicationError
from twisted.internet.defer import Deferred, FirstError, ensureDeferred, gatherResults

from controlplane.clock import Clock, sleep
from controlplane.drivers.router.plans import TRANSPORT_ID, Plan, ProxyPlan, RouterPlan
from controlplane.drivers.router.sessions import CALL_LIMIT_S, NO_SUCH_PROCEDURE, ManagementSession
from controlplane.errors import NoAnswer, WorkerFailed
from controlplane.records.types import NANOSECONDS, Instant

START_LIMIT_S = 90.0
"""1.4 s are usual on an idle machine, and 7 s for the last of eight."""

STOP_LIMIT_S = 10.0
STATISTICS_LIMIT_S = 1.5
ATTEMPTS_MAX = 40
ATTEMPT_PAUSE_S = 0.05
NO_SUCH_WORKER = "crossbar.error.no_such_worker"
NOT_TEXT = re.compile(r"\x1b\[[0-9;]*m|[^\x20-\x7e\xa0-\U0010ffff]")


class Description(NamedTuple):
    """What a node says of a worker."""

    status: str
    """"starting", "connected" or "started"."""

    pid: int | None
    started: Instant
    """0 before it is started."""


class Workers:
    """The workers of one node."""

    def __init__(
        self, session: ManagementSession, prefix: str, clock: Clock, options: Mapping[str, Any] | None = None
    ) -> None:
        """Call through `session` what begins with `prefix`; `options` are Crossbar.io's, for every worker started."""
        self._session = session
        self._prefix = prefix
        self._clock = clock
        self._options = dict(options or {})

    async def list(self) -> list[str]:
        """Return the identities of all workers, also of those that are just starting."""
        found: list[str] = await self._call("get_workers")
        return found

    async def describe(self, worker_id: str) -> Description | None:
        """Return what the node says of a worker; None when it has no such worker."""
        try:
            found = await self._session.call(f"{self._prefix}get_worker", worker_id, timeout=CALL_LIMIT_S)
        except ApplicationError as error:
            if error.error == NO_SUCH_WORKER:
                return None
            raise _failed("get_worker", error) from None
        return Description(found["status"], found["pid"], _instant(found["started"]))

    async def start(self, worker_id: str, kind: str) -> Description:
        """Start the worker's process and return when it can be set up."""
        options = {"title": f"crossbar-worker {worker_id}", **self._options}
        found = await self._call("start_worker", worker_id, kind, options, timeout=START_LIMIT_S)
        return Description(found["status"], found["pid"], _instant(found["started"]))

    async def prepare(self, worker_id: str, plan: Plan) -> None:
        """Set up everything but what clients connect to."""
        await self._appeared(worker_id)
        if isinstance(plan, RouterPlan):
            await self._together(worker_id, (("start_router_realm", realm.id, realm.config) for realm in plan.realms))
            roles = (
                ("start_router_realm_role", realm.id, role_id, role)
                for realm in plan.realms
                for role_id, role in realm.roles
            )
            await self._together(worker_id, roles)
        else:
            await self._together(worker_id, (("start_proxy_connection", *each) for each in plan.connections))
            await self._together(worker_id, (("start_proxy_realm_route", *each) for each in plan.routes))

    async def listen(self, worker_id: str, plan: Plan) -> None:
        """Let clients connect."""
        procedure = "start_router_transport" if isinstance(plan, RouterPlan) else "start_proxy_transport"
        await self._call_worker(worker_id, procedure, TRANSPORT_ID, plan.transport)
        if isinstance(plan, ProxyPlan):
            for path, service in plan.services:
                await self._call_worker(worker_id, "start_web_transport_service", TRANSPORT_ID, path, service)

    async def is_complete(self, worker_id: str, kind: str, timeout: float = CALL_LIMIT_S) -> bool:
        """Say whether clients can connect to a worker of this kind."""
        transports = await self._call_worker(worker_id, f"get_{kind}_transports", timeout=timeout)
        # Routers answer with descriptions, proxies with identities.
        return any((each.get("id") if isinstance(each, dict) else each) == TRANSPORT_ID for each in transports)

    async def ask(self, worker_id: str, timeout: float) -> None:
        """Have the worker answer something, whatever it is; raises as `ManagementSession` does."""
        await self._session.call(f"{self._prefix}worker.{worker_id}.utcnow", timeout=timeout)

    async def stop(self, worker_id: str) -> None:
        """Stop a worker in order; one that does not run is no error."""
        try:
            await self._session.call(f"{self._prefix}stop_worker", worker_id, timeout=STOP_LIMIT_S)
        except ApplicationError as error:
            if error.error != NO_SUCH_WORKER:
                raise _failed("stop_worker", error) from None

    async def statistics(self, worker_id: str, kind: str, realms: Mapping[str, str]) -> dict[str, Any]:
        """Return figures of a worker; `realms` are the names of a router's realms by their identities."""
        process = await self._call_worker(worker_id, "get_process_stats", timeout=STATISTICS_LIMIT_S)
        found = {"process": _process_figures(process)}
        if kind == "router":
            figures = await self._call_worker(worker_id, "get_router_realm_stats", timeout=STATISTICS_LIMIT_S)
            found["realms"] = {realms.get(realm, realm): figures[realm] for realm in figures}
        return found

    async def _appeared(self, worker_id: str) -> None:
        """Return when the procedures of a worker that was just started are there; mostly they are at once."""
        for _ in range(ATTEMPTS_MAX):
            try:
                await self.ask(worker_id, CALL_LIMIT_S)
            except ApplicationError as error:
                if error.error != NO_SUCH_PROCEDURE:
                    raise _failed("utcnow", error) from None
            else:
                return
            await sleep(self._clock, ATTEMPT_PAUSE_S)
        raise WorkerFailed("the worker was started but offers no procedures")

    async def _together(self, worker_id: str, calls: Iterable[tuple[Any, ...]]) -> None:
        """Make calls that do not depend on each other at the same time."""
        pending: list[Coroutine[Deferred[Any], Any, Any]] = [
            self._call_worker(worker_id, procedure, *args) for procedure, *args in calls
        ]
        try:
            await gatherResults([ensureDeferred(each) for each in pending], consumeErrors=True)
        except FirstError as error:
            error.subFailure.raiseException()

    async def _call_worker(self, worker_id: str, procedure: str, *args: Any, timeout: float = CALL_LIMIT_S) -> Any:
        return await self._call(f"worker.{worker_id}.{procedure}", *args, timeout=timeout)

    async def _call(self, procedure: str, *args: Any, timeout: float = CALL_LIMIT_S) -> Any:
        try:
            return await self._session.call(self._prefix + procedure, *args, timeout=timeout)
        except ApplicationError as error:
            raise _failed(procedure, error) from None
        except NoAnswer as error:
            raise WorkerFailed(error.message) from None


def _failed(procedure: str, error: ApplicationError) -> WorkerFailed:
    """Return the reason in the words of Crossbar.io, without what only a terminal understands.

    After an empty line it may quote the configuration, in which there are tickets and the like.
    """
    text = str(error.args[0]).partition("\n\n")[0] if error.args else ""
    said = " ".join(NOT_TEXT.sub(" ", text).split())
    return WorkerFailed(
        said or f"{procedure.rpartition('.')[2]} failed: {error.error}",
        subject={"type": "procedure", "uri": procedure, "error": error.error},
    )


def _instant(text: str | None) -> Instant:
    if text is None:
        return 0
    moment = datetime.fromisoformat(text)
    return int(moment.timestamp()) * NANOSECONDS + moment.microsecond * 1_000


def _process_figures(found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "pid": found["pid"],
        "cpu_user_s": found["user"],
        "cpu_system_s": found["system"],
        "cpu_percent": found["cpu_percent"],
        "memory_resident_bytes": found["resident"],
        "memory_virtual_bytes": found["virtual"],
    }
