"""Has schedules act when their time has come.

When each acts next stands in the store, in order: nothing is looked at but what is due. A schedule acts and its next
time is noted in one transaction, so a master that is killed in between does neither, and never twice.
"""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from controlplane.clock import Clock
from controlplane.errors import ActionConflict, ControlPlaneError
from controlplane.loop import Loop
from controlplane.records.definitions import Definition
from controlplane.records.policies import Binding
from controlplane.records.principals import Caller
from controlplane.records.types import NANOSECONDS, Instant, Seconds
from controlplane.services.identity import Identity
from controlplane.services.pipeline import WritingCall
from controlplane.services.schedules import act_by_schedule, due_bindings, leave_out
from controlplane.services.surroundings import policy_caller
from controlplane.store.catalog import DEFINITIONS
from controlplane.store.database import Store

DUE = "due"
AT_ONCE_MAX = 1_000
TRY_AGAIN_AFTER_S = 1.0
"""A cluster that another action changes is asked so often."""

SLEEP_MAX_S = 60.0
"""The wall clock may be set, so the next time is looked up again after so long."""

log = Logger()


class Timetable:
    """Every schedule that a cluster obeys."""

    def __init__(
        self,
        clock: Clock,
        store: Store,
        now: Callable[[], Instant],
        act: Callable[[Caller, Identity, Callable[[WritingCall], Any]], Deferred[Any]],
    ) -> None:
        self._store = store
        self._now = now
        self._act = act
        self._loop: Loop[str] = Loop("timetable", clock, self._pass)

    def start(self) -> None:
        """Begin with what became due while nobody was here."""
        self._loop.wake(DUE)

    def wake(self) -> None:
        """Take note that there are other schedules."""
        self._loop.wake(DUE)

    async def close(self) -> None:
        """Act no more."""
        await self._loop.close()

    async def _pass(self, _key: str) -> Seconds | None:
        now = self._now()
        with self._store.read() as view:
            found, following = due_bindings(view, now, AT_ONCE_MAX)
            policies = {each.policy_oid: view.rows(DEFINITIONS).find(each.policy_oid) for each in found}
        for binding in found:
            policy = policies[binding.policy_oid]
            if policy is not None:
                await self._carry_out(binding, policy)
        if found:
            return TRY_AGAIN_AFTER_S
        return None if following is None else min(SLEEP_MAX_S, (following - now) / NANOSECONDS)

    async def _carry_out(self, binding: Binding, policy: Definition) -> None:
        caller, identity = policy_caller(policy.name), Identity(policy.oid, policy)
        try:
            action = await self._act(caller, identity, lambda call: act_by_schedule(call, binding, policy))
        except ActionConflict:
            return  # Its time stands in the store still, and it is asked again until it is too late.
        except ControlPlaneError as problem:
            log.warn("schedule {name} cannot act: {problem}", name=policy.name, problem=str(problem))
            reason = problem.message
            await self._act(caller, identity, lambda call: leave_out(call, binding, policy, reason))
            return
        if action is not None:
            log.info("schedule {name} resizes cluster {cluster}", name=policy.name, cluster=action.cluster_name)
