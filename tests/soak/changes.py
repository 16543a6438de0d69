"""Bounded, steady changes: clusters come and go, scale, start and stop; workers are killed and agents restarted.

Whatever is changed is remembered as it is wanted, so that `settle` can tell whether everything came to be so.
"""

import os
import signal
import time
from random import Random
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred

from controlplane.clock import sleep
from controlplane.errors import NoSuchObject
from tests.convergence import Wanted, difference
from tests.soak.figures import Series

CLUSTERS_MAX = 10
SCALE_MAX = 5
IN_FLIGHT_MAX = 8
SETTLED_WITHIN_S = 60.0
PROBLEMS_KEPT_MAX = 20

KINDS = {"read": 8, "scale": 6, "switch": 2, "create": 1, "retire": 1, "kill": 1, "statistics": 1, "events": 1}
"""What is done, and how often beside the others."""


class Changing(Wanted):
    """A cluster that is changed by one thing at a time."""

    busy = False


class Changes:
    """Everything that is done to an installation while it runs."""

    def __init__(self, world: Any, seed: int) -> None:
        self._world = world
        self._random = Random(seed)
        self._clusters: list[Changing] = []
        self._numbers = 0
        self._under_way: set[Any] = set()
        self.done = dict.fromkeys([*KINDS, "restart"], 0)
        self.problems: list[str] = []
        self.problem_count = 0
        self.reads, self.writes = Series(), Series()

    # What is done

    def begin(self) -> None:
        """Begin one thing, chosen by chance; it goes on by itself."""
        if len(self._under_way) >= IN_FLIGHT_MAX:
            return
        kind = self._random.choices(list(KINDS), list(KINDS.values()))[0]
        self._run(kind, getattr(self, f"_{kind}")())

    def restart(self, agent: str, gently: bool) -> None:
        """Have an agent end and come back."""
        self._run("restart", self._world.restart(agent, gently))

    def _run(self, kind: str, work: Any) -> None:
        running = ensureDeferred(work)
        self._under_way.add(running)

        def over(result: Any) -> None:
            self._under_way.discard(running)
            self.done[kind] += 1
            if getattr(result, "check", None) is not None and not self._world.ending:
                self.note(f"{kind}: {result.value}")

        running.addBoth(over)

    def note(self, problem: str) -> None:
        """Remember something that ought not to be."""
        self.problem_count += 1
        if len(self.problems) < PROBLEMS_KEPT_MAX:
            self.problems.append(problem)

    async def _timed(self, series: Series, verb: str, *args: Any) -> Any:
        begun = time.perf_counter()
        answer = await self._world.call(verb, *args)
        series.add(self._world.elapsed(), time.perf_counter() - begun)
        return answer

    def _choose(self) -> Changing | None:
        free = [cluster for cluster in self._clusters if not cluster.busy]
        return self._random.choice(free) if free else None

    async def _read(self) -> None:
        cluster = self._choose()
        if cluster is not None:
            await self._timed(self.reads, "get_routercluster", cluster.oid)

    async def _events(self) -> None:
        await self._world.call("controlplane.event.list_events", limit=50)

    async def _statistics(self) -> None:
        cluster = self._choose()
        if cluster is not None:
            await self._world.call("stat_routercluster", cluster.oid)

    async def _create(self) -> None:
        if len(self._clusters) >= CLUSTERS_MAX:
            return
        self._numbers += 1
        made = await self._timed(self.writes, "create_routercluster", {"name": f"soak{self._numbers}"})
        cluster = Changing(made["oid"], "", self._random.randint(1, SCALE_MAX))
        for node in self._world.node_oids:
            await self._world.call("add_routercluster_node", cluster.oid, node)
        group = {"name": "web", "scale": cluster.scale}
        cluster.group = (await self._world.call("add_routercluster_workergroup", cluster.oid, group))["oid"]
        await self._world.call("start_routercluster", cluster.oid)
        self._clusters.append(cluster)

    async def _scale(self) -> None:
        cluster = self._choose()
        if cluster is None:
            return
        cluster.busy = True
        try:
            scale = self._random.randint(1, SCALE_MAX)
            await self._timed(self.writes, "scale_routercluster_workergroup", cluster.oid, cluster.group, scale)
            cluster.scale = scale
        finally:
            cluster.busy = False

    async def _switch(self) -> None:
        """Stop a cluster that runs and start it again, or the other way round."""
        cluster = self._choose()
        if cluster is None:
            return
        cluster.busy = True
        try:
            if cluster.run:
                await self._world.call("stop_routercluster", cluster.oid)
            else:
                await self._world.until_status(cluster.oid, "STOPPED")
                await self._world.call("start_routercluster", cluster.oid)
            cluster.run = not cluster.run
        finally:
            cluster.busy = False

    async def _retire(self) -> None:
        cluster = self._choose()
        if cluster is None or len(self._clusters) < CLUSTERS_MAX // 2:
            return
        self._clusters.remove(cluster)
        if cluster.run:
            await self._world.call("stop_routercluster", cluster.oid)
        await self._world.until_status(cluster.oid, "STOPPED")
        await self._world.call("delete_routercluster", cluster.oid)

    async def _kill(self) -> None:
        """Kill a worker as a crash does."""
        cluster = self._choose()
        workers = await self._world.call("list_routercluster_workers", cluster.oid) if cluster is not None else []
        if cluster is None or not workers:
            return
        chosen = self._random.choice(workers)
        try:
            worker = await self._world.call("get_routercluster_worker", cluster.oid, chosen)
            if worker["pid"] is not None:
                os.kill(worker["pid"], signal.SIGKILL)
        except (NoSuchObject, ProcessLookupError):
            pass  # It was stopped meanwhile.

    # Whether it came to be so

    async def settle(self) -> float | None:
        """Wait until everything is as it is wanted; return how long that took, or None when it never is."""
        begun = reactor.seconds()
        while self._under_way and reactor.seconds() - begun < SETTLED_WITHIN_S:
            await sleep(reactor, 0.05)
        quiet = reactor.seconds()
        found: str | None = "calls are still under way"
        while reactor.seconds() - quiet < SETTLED_WITHIN_S:
            world = self._world
            found = await difference(world.call, self._clusters, world.directory, [world.real_cluster])
            if found is None:
                return reactor.seconds() - quiet
            await sleep(reactor, 0.1)
        self.note(f"not converged within {SETTLED_WITHIN_S:g} s: {found}")
        return None
