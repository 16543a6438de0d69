"""Scales clusters by what their workers use: measures them again and again, and does what their policies say.

Only clusters with such a policy that are wanted to run are measured; no other one costs anything. Nodes are asked, and
what they do not answer in time is not measured. Everything is in memory: a master that was started anew measures first.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from controlplane.clock import Clock
from controlplane.errors import ControlPlaneError
from controlplane.loop import Loop
from controlplane.records.metrics import Usage
from controlplane.records.principals import Caller
from controlplane.records.types import Instant, Oid, Seconds, from_wire
from controlplane.services.autoscaling import Wanted, judge, leading, note_refusal, scale_by_policies
from controlplane.services.identity import Identity
from controlplane.services.metrics import Survey, Window, Windows, survey, take_in
from controlplane.services.pipeline import WritingCall
from controlplane.services.procedures import Ask
from controlplane.services.surroundings import policy_caller
from controlplane.store.catalog import BINDINGS, CLUSTERS, DEFINITIONS, oid_of
from controlplane.store.database import Store

ANSWER_WITHIN_S = 2.5
ANSWER_PERIODS = 0.5
"""Part of a period that agents have for an answer, if that is shorter."""

log = Logger()


class Scaler:
    """Every cluster with a policy that scales by a metric."""

    def __init__(
        self,
        clock: Clock,
        store: Store,
        now: Callable[[], Instant],
        windows: Windows,
        ask: Callable[[Ask], Awaitable[Mapping[Oid, Mapping[str, Any]]]],
        act: Callable[[Caller, Identity, Callable[[WritingCall], Any]], Deferred[Any]],
    ) -> None:
        self._clock = clock
        self._store = store
        self._now = now
        self._windows = windows
        self._ask = ask
        self._act = act
        self._due: dict[Oid, Seconds] = {}
        self._resting: set[Oid] = set()
        """Clusters of which nothing is measured for the time being: they are stopped, or their policies are off."""

        self._loop: Loop[Oid] = Loop("scaler", clock, self._pass)

    def start(self) -> None:
        """Begin to measure what policies need."""
        with self._store.read() as view:
            found = {oid_of(key) for _, key in view.rows(BINDINGS).keys_by("measuring")}
        for cluster_oid in sorted(found):
            self._loop.wake(cluster_oid)

    def wake(self, cluster_oid: Oid) -> None:
        """Take note that a cluster has other policies."""
        self._loop.wake(cluster_oid)

    def cluster_changed(self, cluster_oid: Oid) -> None:
        """Take note that something has become of a cluster: it may run again, or be no more."""
        if cluster_oid in self._resting:
            self._resting.discard(cluster_oid)
            self._loop.wake(cluster_oid)

    async def close(self) -> None:
        """Measure no more."""
        await self._loop.close()

    async def _pass(self, cluster_oid: Oid) -> Seconds | None:
        with self._store.read() as view:
            found = survey(view, cluster_oid, self._now())
            obeys = view.rows(CLUSTERS).has(cluster_oid) and any(
                True for _ in view.rows(BINDINGS).keys_by("measuring", cluster_oid)
            )
        if found is None:
            self._windows.forget(cluster_oid)
            self._due.pop(cluster_oid, None)
            if obeys:
                self._resting.add(cluster_oid)
            return None
        self._resting.discard(cluster_oid)
        begun = self._clock.seconds()
        due = self._due.get(cluster_oid, begun)
        if due > begun:
            return min(due - begun, found.period)
        self._due[cluster_oid] = begun + found.period
        window = self._windows.open(cluster_oid, found.period, found.length)
        take_in(window, found, await self._measured(found), self._now())
        await self._scale(cluster_oid, window)
        return max(0.0, begun + found.period - self._clock.seconds())

    async def _measured(self, found: Survey) -> dict[str, Usage]:
        questions = found.questions
        if not questions:
            return {}
        within = min(ANSWER_WITHIN_S, found.period * ANSWER_PERIODS)
        answers = await self._ask(Ask(questions, within, lambda answers: answers))
        known = {str(oid) for oid in found.workers}
        measured = {}
        for node_oid, answer in answers.items():
            try:
                measured.update(
                    {oid: usage for oid, usage in from_wire(answer, dict[str, Usage]).items() if oid in known}
                )
            except msgspec.ValidationError as problem:
                log.warn("what node {node} measured is not understood: {p}", node=str(node_oid), p=problem)
        return measured

    async def _scale(self, cluster_oid: Oid, window: Window) -> None:
        with self._store.read() as view:
            wanted = next(iter(judge(view, cluster_oid, window, self._now())), None)
            policy = None if wanted is None else view.rows(DEFINITIONS).find(leading(wanted).binding.policy_oid)
        if wanted is None or policy is None:
            return
        try:
            action = await self._act(
                policy_caller(policy.name),
                Identity(policy.oid, policy),
                lambda call: scale_by_policies(call, cluster_oid, window),
            )
        except ControlPlaneError as problem:
            note_refusal(window, wanted, problem.message, self._now())
            return
        if action is not None:
            _tell(wanted)


def _tell(wanted: Wanted) -> None:
    log.info(
        "cluster {cluster}: policies have {desired} workers instead of {scale}",
        cluster=wanted.cluster.name,
        desired=wanted.desired,
        scale=wanted.group.scale,
    )
