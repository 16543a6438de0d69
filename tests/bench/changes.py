"""From a change to a worker that runs: with workers that are nothing, and with real router workers."""

import json
import subprocess
import sys
import tempfile
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
from tests.e2e.installation import PREFIX, Installation

NOOP_CHANGES = 300
REAL_CHANGES = 8
WORKER_STARTED = "controlplane.worker.on_worker_started"


async def run() -> list[Figure]:
    """Both kinds of workers."""
    return [*await _noop(), *await _real()]


async def _noop() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        installation = Installation(Path(folder), nodes=0)
        processes = []
        try:
            await installation.start()
            state = installation.children.state
            processes.append(_process("tests.bench.echo", f"unix:{state.master_socket}", str(state.master_key)))
            directory = Path(folder) / "noop"
            directory.mkdir()
            key = public_key(make_key(directory / KEY_FILE))
            await installation.call("controlplane.node.pair_node", key, "noop")
            public = f"ws://127.0.0.1:{installation.children.port}/ws"
            processes.append(_process("tests.bench.noop", public, json.dumps([str(directory)])))
            await _online(installation)
            installation.admin.leave()
            session = installation.admin = await installation.join()
            cluster, group = await installation.cluster("noop", 1)
            changes, echoes = [], []
            raw = RawCommits(Path(folder) / "raw")
            watch = Watch()
            await session.subscribe(WORKER_STARTED, watch.hear)
            for _ in range(NOOP_CHANGES):
                changes.append(await watch.time(session, cluster, group, 2))
                await session.call(PREFIX + "scale_routercluster_workergroup", 30, cluster, group, 1)
                await sleep(reactor, 0.02)
                echoes += await timed(lambda: session.call(ECHO, 30, {"name": "as_long_as_usual"}), 3)
            commits = raw.commits(300)
            floor = 2 * median(echoes) + 2 * median(commits)
            what = "2 echoes + 2 commits"
            return [
                at_most("change -> no-op worker running, p50", median(changes), floor, 2, "ms", what, 1e3),
                at_most("change -> no-op worker running, p99", quantile(changes, 0.99), floor, 6, "ms", what, 1e3),
            ]
        finally:
            for process in processes:
                process.kill()
                process.wait()
            installation.stop()


async def _real() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        installation = Installation(Path(folder) / "plane", nodes=1)
        driver, start_alone = await _node_of_its_own(Path(folder) / "alone")
        try:
            await installation.start()
            cluster, group = await installation.cluster("real", 1)
            watch = Watch()
            await installation.admin.subscribe(WORKER_STARTED, watch.hear)
            changes, alone = [], []
            for scale in range(2, 2 + REAL_CHANGES):
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
            installation.stop()


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


async def _online(installation: Installation) -> None:
    async def reached():
        return await installation.call("controlplane.node.list_nodes", filter_by_status="online")

    await installation.until(reached)


def _process(module: str, *arguments: str) -> subprocess.Popen:
    process = subprocess.Popen([sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE)
    process.stdout.readline()
    return process
