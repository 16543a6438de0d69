"""Obeying health policies: every cluster that has one is looked at again and again, each on its own.

A round asks agents, so it may take as long as a slow page does, and holds nobody else up: clusters have rounds of their
own, and so many at a time. Nothing but what is given up is kept beside the actions: a master that was killed counts
what its policies did in the actions that they began.
"""

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, DeferredList, ensureDeferred

from controlplane.clock import Chance, Clock
from controlplane.core.checking import ANSWER_MARGIN_S, findings
from controlplane.core.health_rules import PAGES_PARALLEL_MAX, STATUS, URL, modes_of, url_limit, url_mode
from controlplane.loop import Loop
from controlplane.master.checkups import ask_about
from controlplane.records.recoveries import Checked, Finding
from controlplane.records.types import Oid, Seconds, to_wire
from controlplane.records.workers import Worker
from controlplane.services.checking import read_answer
from controlplane.services.health import Watch, clusters_with_policies, judge, obey, watch
from controlplane.services.ledger import Ledger
from controlplane.services.procedures import Ask
from controlplane.store.database import Store

ROUNDS_PARALLEL_MAX = 200
BUSY_S = 2.0
"""After so long a cluster is looked at again that something else goes on in, or whose agents are not there yet."""

POLL_LIMIT_MAX_S = 300.0
"""However many pages a node has, nobody waits longer for its agent."""

NO_ADDRESS = "it has no address that its page could be asked for at"

Answers = Mapping[Oid, Mapping[str, Any]]


class Health:
    """Has every health policy obeyed."""

    def __init__(
        self,
        clock: Clock,
        store: Store,
        chance: Chance,
        is_attached: Callable[[Oid], bool],
        ask: Callable[[Ask], Awaitable[Answers]],
        change: Callable[[Callable[[Ledger], Any]], Deferred[Any]],
    ) -> None:
        self._clock = clock
        self._store = store
        self._chance = chance
        self._is_attached = is_attached
        self._ask = ask
        self._change = change
        self._watched: set[Oid] = set()
        self._due: dict[Oid, float] = {}
        """When the agents are to be asked again, by cluster."""

        self._loop: Loop[Oid] = Loop("health", clock, self._round, parallel_max=ROUNDS_PARALLEL_MAX)

    def start(self) -> None:
        """Go on with the clusters that obey health policies."""
        with self._store.read() as view:
            for cluster_oid in clusters_with_policies(view):
                self.attend(cluster_oid)

    def attend(self, cluster_oid: Oid) -> None:
        """Obey the policy of a cluster as it is now, if there is one."""
        self._watched.add(cluster_oid)
        self._loop.wake(cluster_oid)

    def hear(self, cluster_oid: Oid) -> None:
        """Take note that workers of a cluster are not well."""
        if cluster_oid in self._watched:
            self._loop.wake(cluster_oid)

    async def close(self) -> None:
        """Look at nothing more."""
        await self._loop.close()

    async def _round(self, cluster_oid: Oid) -> Seconds | None:
        with self._store.read() as view:
            seen = watch(view, cluster_oid)
        if seen is None:
            self._watched.discard(cluster_oid)
            self._due.pop(cluster_oid, None)
            return None
        interval = seen.rule.detection.interval
        now = self._clock.seconds()
        # Clusters that were attended to at once are not looked at at once ever after.
        due = self._due.setdefault(cluster_oid, now + interval * self._chance.random())
        if not seen.cluster.run:
            return interval
        if seen.is_idle or not all(self._is_attached(node) for node in seen.questions()):
            return min(BUSY_S, interval)
        polled = now >= due
        looks: dict[Oid, dict[str, Checked]] = {}
        found: list[Finding] = []
        if polled:
            self._due[cluster_oid] = now + interval
            looks, found = await self._look(seen)
        cases, well = judge(seen, looks, self._chance.now(), polled)
        if cases or any(not each.checked.well for each in found) or (polled and seen.bound.binding.given_up):
            await self._change(lambda ledger: obey(ledger, seen, cases, well if polled else (), found))
        return max(0.0, self._due.get(cluster_oid, now) - self._clock.seconds())

    async def _look(self, seen: Watch) -> tuple[dict[Oid, dict[str, Checked]], list[Finding]]:
        """Have the agents look in every way that the policy wants."""
        modes = modes_of(seen.rule.detection)
        looks: dict[Oid, dict[str, Checked]] = {worker.oid: {} for worker in seen.workers}
        found: list[Finding] = []

        async def check() -> None:
            answers = await ask_about(self._ask, seen.questions())
            found.extend(findings(seen.workers, seen.nodes, answers))
            for each in found:
                looks[each.worker_oid][STATUS] = each.checked

        async def poll() -> None:
            for oid, checked in (await self._poll(seen)).items():
                looks[oid][URL] = checked

        ways = [work for mode, work in ((STATUS, check), (URL, poll)) if mode in modes]
        done = await DeferredList([ensureDeferred(work()) for work in ways], consumeErrors=True)
        for good, outcome in done:
            if not good:
                problem: Any = outcome
                problem.raiseException()
        return looks, found

    async def _poll(self, seen: Watch) -> dict[Oid, Checked]:
        """Return what the pages of the workers say; of one whose agent is silent, nothing."""
        mode = url_mode(seen.rule.detection)
        pages = seen.pages()
        if mode is None or not pages:
            return {}
        nowhere = Checked(well=not mode.options.poll_url_conn_error_as_unhealthy, reason=NO_ADDRESS)
        found = {oid: nowhere for of_node in pages.values() for oid, look in of_node.items() if look is None}
        asked = {node: {oid: look for oid, look in of_node.items() if look} for node, of_node in pages.items()}
        within = max((url_limit(look) for of_node in asked.values() for look in of_node.values()), default=0.0)
        workers = {worker.oid: worker for worker in seen.workers}
        turns = math.ceil(max((len(of_node) for of_node in asked.values()), default=0) / PAGES_PARALLEL_MAX)
        within = min(POLL_LIMIT_MAX_S, within * turns) + ANSWER_MARGIN_S
        questions = {
            node: {
                "kind": "poll",
                "workers": (),
                "within": within,
                "urls": {str(oid): to_wire(look) for oid, look in of_node.items()},
            }
            for node, of_node in asked.items()
            if of_node
        }
        for node, answer in (await self._ask(Ask(questions, within, lambda _: None))).items():
            of_node: list[Worker] = [workers[oid] for oid in asked[node]]
            for oid, checked in read_answer(answer, of_node).items():
                found[oid] = msgspec.structs.replace(checked, started=workers[oid].started)
        return found
