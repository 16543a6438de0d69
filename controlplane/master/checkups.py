"""Having agents look at workers: for actions that want to know how workers are.

What was asked for is in the store, so a master that was killed asks again. A node whose agent is just coming back,
after the master or the router was away, is waited for; one that stays silent is not.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred

from controlplane.clock import Clock
from controlplane.core.checking import check_limit, findings
from controlplane.loop import Loop
from controlplane.records.types import Oid, Seconds
from controlplane.records.workers import Worker
from controlplane.services.checking import asked_about, note_check, read_answer
from controlplane.services.ledger import Ledger
from controlplane.services.procedures import Ask
from controlplane.store.database import Store

CHECKS_PARALLEL_MAX = 50
"""Clusters that are looked at at a time; others wait for their turn."""

ATTACH_WITHIN_S = 15.0
"""How long an agent is waited for that is not attached although nobody has said that its node is offline."""

LOOK_AGAIN_S = 0.5


class Checkups:
    """Asks agents how workers are."""

    def __init__(
        self,
        clock: Clock,
        store: Store,
        is_attached: Callable[[Oid], bool],
        ask: Callable[[Ask], Awaitable[Mapping[Oid, Mapping[str, Any]]]],
        change: Callable[[Callable[[Ledger], Any]], Deferred[Any]],
    ) -> None:
        self._clock = clock
        self._store = store
        self._is_attached = is_attached
        self._ask = ask
        self._change = change
        self._loop: Loop[Oid] = Loop("checks", clock, self._pass, parallel_max=CHECKS_PARALLEL_MAX)
        self._waits: dict[Oid, float] = {}
        """Since when agents are waited for, by action."""

    def wake(self, cluster_oid: Oid) -> None:
        """Have the workers of a cluster looked at, if its action wants to know how they are."""
        self._loop.wake(cluster_oid)

    async def close(self) -> None:
        """Ask no more."""
        await self._loop.close()

    async def _pass(self, cluster_oid: Oid) -> Seconds | None:
        with self._store.read() as view:
            asked = asked_about(view, cluster_oid)
        if asked is None:
            return None
        action = asked.action.oid
        missing = [node for node in asked.questions if not self._is_attached(node)]
        if missing and self._clock.seconds() < self._waits.setdefault(action, self._clock.seconds()) + ATTACH_WITHIN_S:
            return LOOK_AGAIN_S
        self._waits.pop(action, None)
        answers = await ask_about(self._ask, asked.questions)
        found = findings(asked.workers, asked.nodes, answers)
        await self._change(lambda ledger: note_check(ledger, cluster_oid, action, found))
        return None


async def ask_about(
    ask: Callable[[Ask], Awaitable[Mapping[Oid, Mapping[str, Any]]]], questions: Mapping[Oid, list[Worker]]
) -> dict[Oid, Any]:
    """Return what agents say of these workers, by node; those that are silent are left out."""
    within = check_limit(max((len(workers) for workers in questions.values()), default=0))
    answers = await ask(
        Ask(
            {
                node: {"kind": "check", "workers": [worker.oid for worker in workers], "within": within}
                for node, workers in questions.items()
            },
            within,
            lambda _: None,
        )
    )
    return {node: read_answer(answer, questions[node]) for node, answer in answers.items()}
