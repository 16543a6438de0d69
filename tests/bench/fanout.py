"""Events to many consoles: what a commit announces, against a raw publisher; and one console that is stalled."""

import subprocess
import sys
import time

from twisted.internet.threads import deferToThread

from controlplane.keys import read_key
from controlplane.transports import Login
from controlplane.wamp import join_once
from tests.bench.harness import Figure, at_least, at_most, median
from tests.bench.stage import installed, quiet_admin
from tests.e2e.installation import PREFIX, Installation

CONSOLES = (10, 100, 990)
"""One user may have 1,000 sessions, unless another number is set."""

SCALE = 128
ROUNDS = 6
EVENTS_MAX = 400_000
"""Events of all rounds of one row, so that all rows together take about a minute."""

RAW_TOPIC = "controlplane.worker.on_worker_created"


async def run(
    installation: Installation | None = None, consoles: tuple[int, ...] = CONSOLES, rounds: int = ROUNDS
) -> list[Figure]:
    """Bursts of events by scaling a group of a cluster that has no node: a worker is announced, and nothing runs."""
    if installation is None:
        async with installed() as made:
            return await run(made, consoles, rounds)
    await quiet_admin(installation)
    burst = await _Burst.prepare(installation)
    figures = []
    for count in consoles:
        crowd = _Consoles(installation, count)
        try:
            await crowd.ready()
            admitted = max(1, min(rounds, EVENTS_MAX // (2 * count * burst.events)))
            figures += await _compare(burst, crowd, count, admitted)
            if count == consoles[-1]:
                figures.append(await _stall(installation, burst, crowd, count, admitted))
        finally:
            crowd.end()
    return figures


async def _compare(burst: "_Burst", crowd: "_Consoles", count: int, rounds: int) -> list[Figure]:
    ours, raw = [], []
    for _ in range(rounds):
        ours.append(count * burst.events / await burst.change(crowd, count))
        raw.append(count * burst.events / await burst.publish(crowd, count))
    return [at_least(f"events to {count} consoles / raw publish", median(ours), median(raw), 0.90, "/s", "raw")]


async def _stall(installation: Installation, burst: "_Burst", crowd: "_Consoles", count: int, rounds: int) -> Figure:
    """The same with one console more, which has stopped to read."""
    free, beside = [], []
    for _ in range(rounds):
        free.append(await burst.change(crowd, count))
        stalled = _Consoles(installation, 1, stalled=True)
        try:
            await stalled.ready()
            beside.append(await burst.change(crowd, count))
        finally:
            stalled.end()
    return at_most(
        f"events to {count} consoles beside a stalled one / alone", median(beside), median(free), 1.05, "s", "alone"
    )


class _Burst:
    """A commit that announces many events, and the same events without a control plane."""

    def __init__(self, admin, raw, cluster: str, group: str) -> None:
        self._admin = admin
        self._raw = raw
        self._cluster = cluster
        self._group = group
        self._up = False
        self.events = SCALE + 1
        """A worker is one event, and the change of scale another one."""

        self._payload: dict | None = None

    @classmethod
    async def prepare(cls, installation: Installation) -> "_Burst":
        cluster = (await installation.call("create_routercluster", {"name": "burst"}))["oid"]
        groups = [
            (await installation.call("add_routercluster_workergroup", cluster, {"name": name, "scale": scale}))["oid"]
            for name, scale in (("web", 1), ("kept", 1))
        ]
        await installation.call("start_routercluster", cluster)
        state = installation.children.state
        login = Login(url=f"unix:{state.master_socket}", realm="default", authid="master")
        raw = await join_once(installation.admin.clock, login, read_key(state.master_key))
        burst = cls(installation.admin, raw, cluster, groups[0])
        await installation.call("scale_routercluster_workergroup", cluster, groups[0], 0)
        worker = (await installation.call("list_routercluster_workers", cluster))[0]
        payload = await installation.call("get_routercluster_worker", cluster, worker)
        burst._payload = {**payload, "seq": 123456, "time": 1_700_000_000_000_000_000}
        return burst

    async def change(self, crowd: "_Consoles", count: int) -> float:
        """Seconds from a call until the last console has heard the last event of it."""
        self._up = not self._up
        scale = SCALE if self._up else 0
        begun = time.perf_counter()
        heard = crowd.hear(count * self.events)
        await self._admin.call(PREFIX + "scale_routercluster_workergroup", 60, self._cluster, self._group, scale)
        await heard
        return time.perf_counter() - begun

    async def publish(self, crowd: "_Consoles", count: int) -> float:
        """Seconds that the same number of events takes from a publisher that does nothing else."""
        begun = time.perf_counter()
        heard = crowd.hear(count * self.events)
        for _ in range(self.events):
            self._raw.publish(RAW_TOPIC, self._payload)
        await heard
        return time.perf_counter() - begun


class _Consoles:
    """A process with many consoles."""

    def __init__(self, installation: Installation, count: int, *, stalled: bool = False) -> None:
        command = [sys.executable, "-m", "tests.bench.consoles", installation.login().url]
        command += [str(installation.children.state.admin_key), str(count), *(["stalled"] if stalled else [])]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)

    async def ready(self) -> None:
        await self._line()

    def hear(self, count: int):
        """Say how many events to wait for; the result comes when they were heard."""
        self._process.stdin.write(b"%d\n" % count)
        return self._line()

    def _line(self):
        def read() -> None:
            if not self._process.stdout.readline():
                raise RuntimeError("the consoles have ended")

        return deferToThread(read)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
