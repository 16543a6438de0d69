"""Many agents at one master: what each costs in memory, what they cost when nothing happens, and their return."""

import json
import socket
import subprocess
import sys
import time
from functools import partial

import psutil
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.threads import deferToThread

from controlplane.clock import sleep
from controlplane.keys import KEY_FILE, make_key, public_key
from tests.bench.harness import Figure, at_most
from tests.bench.stage import installed
from tests.e2e.installation import PREFIX, Installation

AGENTS = 1_000
WARM_UP = 100
NODES_PER_CLUSTER = 100
IN_FLIGHT = 50
IDLE_S = 6.0
MEMORY_BYTES_MAX = 24_000
IDLE_CORES_MAX = 0.01


async def run(
    installation: Installation | None = None, agents: int = AGENTS, warm_up: int = WARM_UP, idle: float = IDLE_S
) -> list[Figure]:
    """Agents with a worker each, and as many sessions alone."""
    if installation is None:
        async with installed() as made:
            return await run(made, agents, warm_up, idle)
    crowds: list[_Crowd] = []
    try:
        directories = await _make_nodes(installation, agents)
        await _make_clusters(installation)
        first, others = directories[:warm_up], directories[warm_up:]
        crowds.append(_Crowd(installation, "agents", first))
        await crowds[0].complete()
        await sleep(reactor, idle / 3)
        before = _memory(installation)
        crowds.append(_Crowd(installation, "agents", others))
        await crowds[1].complete()
        await sleep(reactor, idle / 3)
        each = (_memory(installation) - before) / len(others)
        busy = await _busy(installation, idle)
        returned, again = await _storm(installation, crowds)
        while crowds:
            crowds.pop().end()
        crowds.append(_Crowd(installation, "bare", directories))
        await crowds[0].complete()
        alone, _ = await _storm(installation, crowds)
    finally:
        for crowd in crowds:
            crowd.end()
    return [
        at_most(f"memory per connected agent, {agents} agents", each, MEMORY_BYTES_MAX, 1, "B", "limit"),
        at_most(f"idle master with {agents} agents, of a core", busy, IDLE_CORES_MAX, 1, "cores", "limit"),
        at_most(f"return of {agents} agents after a router restart / bare", returned, alone, 1.5, "s", "bare sessions"),
        at_most("workers started again by it", float(again), 1, 0, "starts", "limit"),
    ]


async def _make_nodes(installation: Installation, count: int) -> list[str]:
    """Pair so many nodes and return their directories."""
    directories = [installation.directory / "agents" / str(number) for number in range(count)]
    for directory in directories:
        directory.mkdir(parents=True)
    keys = [public_key(make_key(directory / KEY_FILE)) for directory in directories]
    await _in_parts(
        [
            partial(installation.admin.call, "controlplane.node.pair_node", 30, key, f"crowd{number}")
            for number, key in enumerate(keys)
        ]
    )
    return [str(directory) for directory in directories]


async def _make_clusters(installation: Installation) -> None:
    """Give every node one worker: clusters that span a hundred nodes."""
    names = await installation.call("controlplane.node.list_nodes", return_names=True)
    nodes = [
        (await installation.call("controlplane.node.get_node_by_name", name))["oid"]
        for name in names
        if name.startswith("crowd")
    ]
    for first in range(0, len(nodes), NODES_PER_CLUSTER):
        members = nodes[first : first + NODES_PER_CLUSTER]
        name = f"crowd{first:06d}"
        cluster = (await installation.call("create_routercluster", {"name": name}))["oid"]
        await _in_parts(
            [partial(installation.admin.call, PREFIX + "add_routercluster_node", 30, cluster, node) for node in members]
        )
        group = {"name": "web", "scale": max(0, len(members) - 1)}
        await installation.call("add_routercluster_workergroup", cluster, group)
        await installation.call("start_routercluster", cluster)


async def _in_parts(calls) -> None:
    for first in range(0, len(calls), IN_FLIGHT):
        await gatherResults([call() for call in calls[first : first + IN_FLIGHT]])


def _processes(installation: Installation) -> list[psutil.Process]:
    router = psutil.Process(installation.process("router").pid)
    return [psutil.Process(installation.process("master").pid), router, *router.children(recursive=True)]


def _memory(installation: Installation) -> int:
    return sum(process.memory_info().rss for process in _processes(installation))


async def _busy(installation: Installation, seconds: float) -> float:
    """The part of a core that the master takes when nothing happens."""
    master = psutil.Process(installation.process("master").pid)

    def used() -> float:
        times = master.cpu_times()
        return times.user + times.system

    before, begun = used(), time.perf_counter()
    await sleep(reactor, seconds)
    return (used() - before) / (time.perf_counter() - begun)


async def _storm(installation: Installation, crowds: "list[_Crowd]") -> tuple[float, int]:
    """Restart the router; return the seconds from when it listens until all are back, and what was started again."""
    installation.kill("router")
    for crowd in crowds:
        await crowd.incomplete()
    starts = sum(crowd.starts for crowd in crowds)
    installation.respawn("router")
    await deferToThread(_listens, installation.children.port)
    begun = time.perf_counter()
    for crowd in crowds:
        await crowd.complete()
    return time.perf_counter() - begun, sum(crowd.starts for crowd in crowds) - starts


def _listens(port: int) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)


class _Crowd:
    """A process with many nodes."""

    def __init__(self, installation: Installation, kind: str, directories: list[str]) -> None:
        listed = installation.directory / f"{kind}{len(directories)}.json"
        listed.write_text(json.dumps(directories))
        url = f"ws://127.0.0.1:{installation.children.port}/ws"
        command = [sys.executable, "-m", "tests.bench.members", kind, url, str(listed)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.starts = 0

    async def complete(self) -> None:
        await self._wait(True)

    async def incomplete(self) -> None:
        await self._wait(False)

    async def _wait(self, complete: bool) -> None:
        while True:
            line = await deferToThread(self._process.stdout.readline)
            if not line:
                raise RuntimeError("the members have ended")
            said = json.loads(line)
            self.starts = said["starts"]
            if said["complete"] is complete:
                return

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
