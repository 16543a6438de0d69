"""Actions: how many a second, and how soon after a webhook a container or a process runs."""

import itertools
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from controlplane.clock import limit
from controlplane.drivers.container.driver import ContainerDriver
from controlplane.drivers.driver import Surroundings
from controlplane.drivers.process.driver import ProcessDriver
from controlplane.keys import KEY_FILE, make_key, public_key
from controlplane.paths import free_port
from controlplane.records.workers import WorkerSpec
from tests.bench.harness import Figure, at_least, at_most, median, quantile, rate
from tests.bench.stage import directory, installed, process
from tests.drivers.engines import IMAGE, NoEngine, start_engine
from tests.e2e.generic import call, ended, post
from tests.e2e.installation import Installation, running

CLUSTERS = 16
ACTIONS = 400
SIGNALS = 12
RESIZE = "controlplane.cluster.resize_cluster"
ENDED = "controlplane.action.on_action_ended"
STARTED = "controlplane.worker.on_worker_started"
SLEEP = {"command": ["sleep", "100000"]}
SPECS: dict[str, dict[str, Any]] = {
    "process": SLEEP,
    "container": {**SLEEP, "image": IMAGE, "pull": "never", "network": "host", "stop": {"signal": "SIGKILL"}},
}


async def run(
    installation: Installation | None = None, clusters: int = CLUSTERS, actions: int = ACTIONS, signals: int = SIGNALS
) -> list[Figure]:
    """Actions of workers that are nothing, and signals that start containers, or processes where there is no engine."""
    if installation is not None:
        return [
            *await _throughput(installation, clusters, actions),
            *await _signals(installation, "process", "", signals),
        ]
    engine = _engine()
    kind = "process" if engine is None else "container"
    folder = tempfile.mkdtemp()
    try:
        async with installed() as idle:
            figures = await _throughput(idle, clusters, actions)
        made = Installation(Path(folder), nodes=1)
        made.children.agent_options = ["--drivers", kind, *([] if engine is None else ["--engine", engine.url])]
        made.webhooks = free_port(0)
        made.children.master_options = ["--webhook-port", str(made.webhooks)]
        async with running(made):
            return [*figures, *await _signals(made, kind, "" if engine is None else engine.url, signals)]
    finally:
        if engine is not None:
            engine.end()
        shutil.rmtree(folder, ignore_errors=True)


def _engine() -> Any:
    try:
        return start_engine()
    except NoEngine as reason:
        sys.stderr.write(f"no containers: {reason}\n")
        return None


async def _throughput(made: Installation, clusters: int, actions: int) -> list[Figure]:
    """Have clusters grow and shrink by one worker, each by one action after the other."""
    state_dir = directory(made, "noop")
    await made.call("controlplane.node.pair_node", public_key(make_key(state_dir / KEY_FILE)), "idle")
    ends = Ends()
    with process("tests.bench.noop", made.login().url, json.dumps([str(state_dir)])):
        session = await made.join()
        await session.subscribe(ENDED, ends.hear)
        spec = {"type": "process", "properties": SLEEP}
        await call(made, "profile.create_profile", {"name": "nothing", "spec": spec})
        names = [f"idle_{number}" for number in range(clusters)]
        for name in names:
            created = {"name": name, "profile": "nothing", "desired": 0, "steady": 0}
            await ended(made, (await call(made, "cluster.create_cluster", created))["action_oid"])
        sizes = dict.fromkeys(names, 0)
        free = list(names)

        def act() -> Deferred[Any]:
            name = free.pop()
            sizes[name] = 1 - sizes[name]
            answer = session.call(RESIZE, 30, name, "EXACT_CAPACITY", sizes[name])

            def over(action: dict[str, Any]) -> None:
                assert action["status"] == "SUCCEEDED", action["reason"]
                free.append(name)

            return answer.addCallback(ends.of).addCallback(over)

        numbers = itertools.count()

        def create() -> Deferred[Any]:
            definition = {"name": f"beside_{next(numbers)}"}
            return session.call("controlplane.routercluster.create_routercluster", 30, definition)

        acted = await rate(act, actions, clusters)
        created = await rate(create, actions, clusters)
        for name in names:
            await ended(made, (await call(made, "cluster.delete_cluster", name))["oid"])
        session.leave()
    what = f"actions, {clusters} clusters at a time / durable creates"
    return [at_least(what, acted, created, 0.15, "/s", "creates")]


class Ends:
    """Waits for the ends of actions, also of those that ended before the answer of the call was here."""

    def __init__(self) -> None:
        self._over: dict[str, dict[str, Any]] = {}
        self._waiting: dict[str, Deferred[Any]] = {}

    def hear(self, _topic: str, payload: dict[str, Any], *_: Any) -> None:
        oid = payload["oid"]
        waiting = self._waiting.pop(oid, None)
        if waiting is None:
            self._over[oid] = payload
        else:
            waiting.callback(payload)

    def of(self, action: dict[str, Any]) -> Deferred[Any]:
        waiting: Deferred[Any] = Deferred()
        if action["oid"] in self._over:
            waiting.callback(self._over.pop(action["oid"]))
        else:
            self._waiting[action["oid"]] = waiting
        return limit(reactor, waiting, 60, "the end of an action")


async def _signals(made: Installation, kind: str, engine: str, count: int) -> list[Figure]:
    """From the POST to the event that says that another worker runs, against the driver alone with the same worker."""
    await call(made, "profile.create_profile", {"name": "signalled", "spec": {"type": kind, "properties": SPECS[kind]}})
    definition = {"name": "signalled", "profile": "signalled", "desired": 1}
    await ended(made, (await call(made, "cluster.create_cluster", definition))["action_oid"])
    receiver = {"name": "bell", "action": "CLUSTER_SCALE_OUT"}
    path = (await call(made, "receiver.create_receiver", "signalled", receiver))["webhook_path"]
    session = await made.join()
    state: dict[str, Deferred[Any]] = {}
    await session.subscribe(STARTED, lambda *_: state.pop("started").callback(None) if "started" in state else None)
    driver = await _driver(made, kind, engine)
    signalled, alone = [], []
    try:
        for _ in range(count):
            started = state["started"] = Deferred()
            begun = time.perf_counter()
            answer = json.loads(await deferToThread(post, f"http://127.0.0.1:{made.webhooks}{path}"))
            await limit(reactor, started, 60, "the worker")
            signalled.append(time.perf_counter() - begun)
            await ended(made, answer["action"])
            spec = WorkerSpec(oid=uuid4(), digest="alone", config={"name": "alone", "properties": SPECS[kind]})
            begun = time.perf_counter()
            await driver.start(spec)
            alone.append(time.perf_counter() - begun)
            await driver.stop(spec.oid)
    finally:
        await driver.close(keep=False)
        session.leave()
        await ended(made, (await call(made, "cluster.delete_cluster", "signalled"))["oid"])
    name = f"webhook -> {kind} running"
    return [
        at_most(f"{name}, p50", median(signalled), median(alone), 1.5, "ms", "own start", 1e3),
        at_most(f"{name}, p90", quantile(signalled, 0.9), quantile(alone, 0.9), 2.0, "ms", "own start", 1e3),
    ]


async def _driver(made: Installation, kind: str, engine: str) -> Any:
    """The same driver in this process, without a control plane."""
    place = directory(made, "alone")
    sockets = place / "s"
    sockets.mkdir(mode=0o700)
    surroundings = Surroundings(place / "d", sockets, "127.0.0.1", (34000, 34100), 2, engine)
    driver = (ProcessDriver if kind == "process" else ContainerDriver)(surroundings, reactor)
    await driver.open(lambda oid, reason: None)
    return driver
