"""A campaign of kills: router, agents and users go on while the master, or an agent, dies at a named point, is looked
at, and is started again.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred, gatherResults

from controlplane.clock import sleep
from controlplane.config import AgentSettings, MasterSettings
from controlplane.errors import LoginRefused, NoAnswer
from controlplane.keys import KEY_FILE, make_key, public_key, read_key
from controlplane.process import end_with_parent
from controlplane.wamp import join_once
from tests.crash.ledgers import Ledgers
from tests.crash.points import AGENT_POINTS, COMMIT_POINTS, MASTER_POINTS, Point, under_strace
from tests.crash.users import User
from tests.crash.workers import running
from tests.e2e.installation import Installation

AGENTS = 2
USERS = 4
CALM = "calm"
CALM_SCALE = 4
LIFE_MAX_S = 60.0
"""A life that has not come to its point by then is ended from outside, which is a kill at no point in particular."""

SETTLE_WITHIN_S = 60.0
EVENTS_KEPT = 5_000
"""More than one life makes, so that every event is compared, and few enough that looking at the store takes no time."""

NEVER: tuple[str, int] = ("never", 0)


class Doomed:
    """A process that is started again and again, and told each time where to die."""

    def __init__(self, kind: str, settings: msgspec.Struct, log: Path) -> None:
        text = msgspec.json.encode(settings).decode()
        self._command = [sys.executable, "-m", "tests.crash.doomed", kind, text, str(log)]
        self._log = log
        self._breeder = subprocess.Popen(
            self._command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=end_with_parent
        )
        self._traced: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None
        self._status: int | None = None

    async def loaded(self) -> "Doomed":
        """Return when it can begin at once: nothing here may hold up the reactor, or the router ends our sessions."""
        while not select.select([self._breeder.stdout], [], [], 0)[0]:
            await sleep(reactor, 0.05)
        assert self._breeder.stdout is not None
        assert self._breeder.stdout.readline() == b"loaded\n"
        return self

    def begin(self, point: str, passes: int, data_file: Path | None = None) -> None:
        """Start a life that ends at a point."""
        self._status = None
        if data_file is not None:
            command = under_strace(point, passes, data_file, [*self._command, point, str(passes)])
            with open(self._log, "ab") as log:
                self._traced = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=end_with_parent)
            self._pid = self._traced.pid
            return
        assert self._breeder.stdin is not None
        assert self._breeder.stdout is not None
        self._breeder.stdin.write(json.dumps([point, passes]).encode() + b"\n")
        self._breeder.stdin.flush()
        self._pid = int(self._breeder.stdout.readline())

    def alive(self) -> bool:
        """Say whether it lives."""
        if self._pid is None:
            return False
        if self._traced is not None:
            status = self._traced.poll()
        else:
            ready, _, _ = select.select([self._breeder.stdout], [], [], 0)
            status = self._read_status() if ready else None
        self._settle(status)
        return status is None

    def kill(self) -> int | None:
        """Kill it if it lives; return how it ended."""
        if self.alive():
            assert self._pid is not None
            os.kill(self._pid, signal.SIGKILL)
            self._settle(self._traced.wait() if self._traced is not None else self._read_status())
        return self._status

    def stop(self) -> None:
        """End everything."""
        self.kill()
        self._breeder.kill()
        self._breeder.wait()

    def _settle(self, status: int | None) -> None:
        if status is not None:
            self._status = status
            self._pid = self._traced = None

    def _read_status(self) -> int:
        assert self._breeder.stdout is not None
        return int(self._breeder.stdout.readline())


class Campaign:
    """One installation that is killed again and again."""

    def __init__(self, directory: Path, seed: int, *, strace: bool) -> None:
        self.random = Random(seed)
        self.directory = directory
        self.installation = Installation(directory, nodes=0)
        self.kills: Counter[str] = Counter()
        self.downtimes: list[float] = []
        self.users: list[User] = []
        self.heard = 0
        self._strace = strace
        self._state = self.installation.children.state
        self._ledgers = Ledgers(self._state.store)
        self._master: Doomed | None = None
        self._agents: list[Doomed] = []
        self._folders: list[Path] = []
        self._nodes: list[str] = []
        self._calm: list[Any] = []
        self._published_to = 0

    def points(self) -> list[tuple[str, Point]]:
        """Return every point with the kind of process that dies there."""
        master = MASTER_POINTS + (COMMIT_POINTS if self._strace else ())
        return [*(("master", point) for point in master), *(("agent", point) for point in AGENT_POINTS)]

    async def start(self) -> None:
        """Bring everything up, with a cluster that nobody touches."""
        children = self.installation.children
        children.prepare(reactor)
        children.spawn("router")
        logs = self._state.root / "logs"
        settings = MasterSettings(state_dir=str(self._state.root), events_kept=EVENTS_KEPT, log_level="warn")
        self._master = Doomed("master", settings, logs / "master.log")
        for number in range(AGENTS):
            folder = self.directory / f"node{number}"
            folder.mkdir()
            make_key(folder / KEY_FILE)
            url = f"ws://127.0.0.1:{children.port}/ws"
            agent = AgentSettings(state_dir=str(folder), url=url, log_level="error")
            self._agents.append(Doomed("agent", agent, logs / f"node{number}.log"))
            self._folders.append(folder / "workers")
        for doomed in (self._master, *self._agents):
            await doomed.loaded()
        self._master.begin(*NEVER)
        await self.installation.connect()
        await self.installation.admin.subscribe("controlplane.", self._hear, prefix=True)
        for number, agent in enumerate(self._agents):
            key = public_key(read_key(self.directory / f"node{number}" / KEY_FILE))
            paired = await self.installation.call("controlplane.node.pair_node", key, f"node{number}")
            self._nodes.append(paired["oid"])
            agent.begin(*NEVER)
        # However long an agent takes to come back on a busy machine: its workers are to be found by it, not replaced.
        await self.installation.cluster(CALM, CALM_SCALE, grace_period=86_400)
        self._calm = sorted(running(self._folders[0]) + running(self._folders[1]), key=lambda unit: unit.oid)
        assert len(self._calm) == CALM_SCALE + 1
        for number in range(USERS):
            session = await self.installation.join()
            self.users.append(User(number, session, Random(self.random.random()), self._nodes))

    async def _join_again(self) -> None:
        """Join with every session that the router has let go of, as it does on a busy machine."""
        key = read_key(self._state.admin_key)
        if self.installation.admin.over:
            self.installation.admin = await join_once(reactor, self.installation.login(), key)
            await self.installation.admin.subscribe("controlplane.", self._hear, prefix=True)
        for user in self.users:
            if user.session.over:
                user.session = await join_once(reactor, self.installation.login(), key)

    def stop(self) -> None:
        """End every process."""
        for doomed in [*self._agents, *([self._master] if self._master else [])]:
            doomed.stop()
        for user in self.users:
            user.session.leave()
        self.installation.stop()

    async def kill(self, kind: str, point: Point) -> None:
        """Have one process die at a point under load, and look at what is left."""
        passes = self.random.randint(1, point.passes_max)
        if kind == "master":
            await self._kill_master(point, passes)
        else:
            await self._kill_agent(point, passes)

    async def _kill_master(self, point: Point, passes: int) -> None:
        master = self._master
        assert master is not None
        master.kill()
        data_file = self._state.store / "data.mdb" if point in COMMIT_POINTS else None
        master.begin(point.name, passes, data_file)
        begun = time.monotonic()
        if await self._serves(begun):
            self.downtimes.append(time.monotonic() - begun)
        working = [ensureDeferred(user.work()) for user in self.users]
        await self._until_dead(master, point, begun)
        await gatherResults(working)
        self._audit()

    async def _kill_agent(self, point: Point, passes: int) -> None:
        """The master lives; the agent is started again at once and again, as a service manager does."""
        master = self._master
        assert master is not None
        if not master.alive():
            master.begin(*NEVER)
            assert await self._serves(time.monotonic())
        agent = self.random.choice(self._agents)
        agent.kill()
        agent.begin(point.name, passes)
        begun = time.monotonic()
        working = [ensureDeferred(user.work()) for user in self.users]
        await self._until_dead(agent, point, begun)
        agent.begin(*NEVER)
        await sleep(reactor, self.random.random())
        master.kill()
        await gatherResults(working)
        self._audit()

    async def _until_dead(self, doomed: Doomed, point: Point, begun: float) -> None:
        while doomed.alive() and time.monotonic() < begun + LIFE_MAX_S:
            await sleep(reactor, 0.01)
        at_point = not doomed.alive()
        self.kills[point.name if at_point else "from outside"] += 1
        status = doomed.kill()
        assert status == -signal.SIGKILL, f"it ended by itself near {point.name}, with {status}"

    async def _serves(self, begun: float) -> bool:
        """Wait until the master answers; False when it died before that."""
        assert self._master is not None
        while self._master.alive():
            try:
                await self._join_again()
                await self.installation.call("controlplane.node.list_nodes")
            except (NoAnswer, LoginRefused):
                assert time.monotonic() < begun + SETTLE_WITHIN_S, "the master does not come up"
                await sleep(reactor, 0.01)
            else:
                return True
        return False

    def _audit(self) -> None:
        self._ledgers.audit(self.users)
        calm = {unit.oid for unit in self._calm}
        found = [unit for folder in self._folders for unit in running(folder) if unit.oid in calm]
        found.sort(key=lambda unit: unit.oid)
        assert found == self._calm, f"a healthy worker was restarted: {self._calm}, now {found}"

    def _hear(self, topic: str, payload: dict[str, Any], *_: Any) -> None:
        assert payload["seq"] > self._published_to, f"event {payload['seq']} was told after {self._published_to}"
        self._published_to = payload["seq"]
        self._ledgers.published[payload["seq"]] = (topic, dict(payload))
        self.heard += 1

    async def settle(self) -> None:
        """Let everything live, and see that what runs is what shall run, and nothing else."""
        assert self._master is not None
        if not self._master.alive():
            self._master.begin(*NEVER)
        for agent in self._agents:
            if not agent.alive():
                agent.begin(*NEVER)
        assert await self._serves(time.monotonic())
        end = time.monotonic() + SETTLE_WITHIN_S
        while (difference := self._difference()) and time.monotonic() < end:
            await sleep(reactor, 0.2)
        assert not difference, difference
        self._master.kill()
        self._audit()

    def _difference(self) -> list[Any]:
        wanted = {(oid, node, digest, "RUNNING") for oid, node, digest, _ in self._ledgers.workers()}
        stored = set(self._ledgers.workers())
        seen = {
            (str(unit.oid), node, unit.digest, "RUNNING")
            for node, folder in zip(self._nodes, self._folders, strict=True)
            for unit in running(folder)
        }
        return sorted(stored ^ wanted) + sorted(seen ^ wanted)

    def report(self) -> list[str]:
        """Return what was done and seen, in lines."""
        told = sum(user.told for user in self.users)
        refused = sum(user.refused for user in self.users)
        times = sorted(self.downtimes) or [0.0]
        return [
            f"kills: {sum(self.kills.values())}, {', '.join(f'{n} {c}' for n, c in sorted(self.kills.items()))}",
            f"changes told to clients as done: {told}; refused: {refused}; events heard: {self.heard}",
            f"from start to first answer: {times[len(times) // 2]:.2f} s in the middle, {times[-1]:.2f} s at worst",
        ]


async def run(directory: Path, seed: int, kills: int, *, strace: bool, only: str = "", say: Any = None) -> Campaign:
    """Kill so many times, at every point in turn whose name begins with `only`.

    Raises `AssertionError` when something is not as promised.
    """
    campaign = Campaign(directory, seed, strace=strace)
    try:
        await campaign.start()
        campaign._master.kill()
        points = [(kind, point) for kind, point in campaign.points() if point.name.startswith(only)]
        while sum(campaign.kills.values()) < kills:
            campaign.random.shuffle(points)
            for kind, point in points[: kills - sum(campaign.kills.values())]:
                await campaign.kill(kind, point)
                if say is not None and sum(campaign.kills.values()) % 50 == 0:
                    say(f"{sum(campaign.kills.values())} kills")
        await campaign.settle()
    finally:
        campaign.stop()
    return campaign
