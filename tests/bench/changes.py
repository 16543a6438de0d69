"""From a change to a worker that runs: with workers that are nothing, and with real router workers."""

import json
import time
from pathlib import Path
from uuid import uuid4

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from controlplane.clock import limit, sleep
from controlplane.drivers.driver import Surroundings
from controlplane.drivers.router.driver import RouterDriver
from controlplane.keys import KEY_FILE, make_key, public_key
from controlplane.records.workers import WorkerSpec
from tests.bench.calls import RawCommits
from tests.bench.echo import ECHO
from tests.bench.harness import Figure, at_most, median, quantile, timed
from tests.bench.stage import directory, echo, installed, process, quiet_admin
from tests.e2e.installation import PREFIX, Installation

NOOP_CHANGES = 300
REAL_CHANGES = 8
WORKER_STARTED = "controlplane.worker.on_worker_started"


async def run(
    installation: Installation | None = None, noop_changes: int = NOOP_CHANGES, real_changes: int = REAL_CHANGES
) -> list[Figure]:
    """Both kinds of workers."""
    if installation is None:
        async with installed(nodes=1) as made:
            return await run(made, noop_changes, real_changes)
    node1 = (await installation.call("controlplane.node.get_node_by_name", "node1"))["oid"]
    return [*await _noop(installation, noop_changes), *await _real(installation, node1, real_changes)]


async def _noop(installation: Installation, count: int) -> list[Figure]:
    state_dir = directory(installation, "noop")
    key = public_key(make_key(state_dir / KEY_FILE))
    node = (await installation.call("controlplane.node.pair_node", key, "noop"))["oid"]
    with echo(installation), process("tests.bench.noop", installation.login().url, json.dumps([str(state_dir)])):
        await _online(installation, node)
        session = await quiet_admin(installation)
        cluster, group = await installation.cluster("noop", 1, nodes=[node])
        changes, echoes, commits = [], [], []
        raw = RawCommits(directory(installation, "raw"))
        watch = Watch()
        await session.subscribe(WORKER_STARTED, watch.hear)
        for _ in range(count):
            changes.append(await watch.time(session, cluster, group, 2))
            await session.call(PREFIX + "scale_routercluster_workergroup", 30, cluster, group, 1)
            await sleep(reactor, 0.02)
            echoes += await timed(lambda: session.call(ECHO, 30, {"name": "as_long_as_usual"}), 3)
            commits += raw.commits(1)
        await installation.remove(cluster)
    floor = 2 * median(echoes) + 2 * median(commits)
    what = "2 echoes + 2 commits"
    return [
        at_most("change -> no-op worker running, p50", median(changes), floor, 2, "ms", what, 1e3),
        at_most("change -> no-op worker running, p99", quantile(changes, 0.99), floor, 6, "ms", what, 1e3),
    ]


async def _real(installation: Installation, node: str, count: int) -> list[Figure]:
    driver, start_alone = await _node_of_its_own(directory(installation, "alone"))
    try:
        cluster, group = await installation.cluster("real", 1, nodes=[node])
        watch = Watch()
        await installation.admin.subscribe(WORKER_STARTED, watch.hear)
        changes, alone = [], []
        for scale in range(2, 2 + count):
            # In turn, because the machine's speed drifts more than what is to be seen.
            changes.append(await watch.time(installation.admin, cluster, group, scale))
            await sleep(reactor, 0.3)
            alone += await timed(start_alone, 1)
            await sleep(reactor, 0.3)
        return [
            at_most("change -> router worker running, p50", median(changes), median(alone), 1.03, "s", "own start"),
            at_most("change -> router worker running, p99", max(changes), max(alone), 1.10, "s", "own start"),
        ]
    finally:
        await driver.close(keep=False)


async def _node_of_its_own(directory: Path):
    """A node without a control plane, and what starts the same frontends there."""
    sockets = directory / "s"
    sockets.mkdir(parents=True, mode=0o700)
    driver = RouterDriver(Surroundings(directory / "d", sockets, "127.0.0.1", (33000, 33100), 2), reactor)
    await driver.open(lambda oid, reason: None)
    backend = {
        "kind": "router",
        "cluster": "alone",
        "socket": str(sockets / "back.sock"),
        "realms": [{"name": "real", "roles": [{"name": "anonymous", "permissions": []}]}],
    }
    frontend = {
        "kind": "proxy",
        "cluster": "alone",
        "transport": {"type": "websocket", "auth": {"anonymous": {"type": "static", "role": "anonymous"}}},
        "realms": {"real": {"roles": ["anonymous"], "backend": backend["socket"]}},
    }
    await driver.start(WorkerSpec(oid=uuid4(), digest="back", config=backend))
    await driver.start(WorkerSpec(oid=uuid4(), digest="front", config=frontend))

    async def start() -> None:
        await driver.start(WorkerSpec(oid=uuid4(), digest="front", config=frontend))

    return driver, start


class Watch:
    """Times a scale-up by one until the event that says that the worker runs."""

    def __init__(self) -> None:
        self._started: Deferred[None] = Deferred()

    def hear(self, _topic, _payload=None, *_):
        if not self._started.called:
            self._started.callback(None)

    async def time(self, session, cluster: str, group: str, scale: int) -> float:
        self._started = Deferred()
        begun = time.perf_counter()
        answer = session.call(PREFIX + "scale_routercluster_workergroup", 30, cluster, group, scale)
        await limit(reactor, self._started, 30, "the worker")
        await answer
        return time.perf_counter() - begun


async def _online(installation: Installation, node: str) -> None:
    async def reached():
        return (await installation.call("controlplane.node.get_node", node))["status"] == "online"

    await installation.until(reached)
