"""What a soak runs: router, master and agents as processes, and a session that changes things and looks at them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from controlplane.clock import sleep
from controlplane.keys import KEY_FILE, ensure_key, public_key
from tests.bench.echo import ECHO
from tests.e2e.installation import Installation
from tests.fuzz.memory import held

GENTLE_WITHIN_S = 30.0


class World:
    """One installation with agents whose workers sleep, and perhaps one node with real router workers."""

    def __init__(self, directory: Path, agents: int, routers: bool, lifetime_s: int) -> None:
        self.directory = directory
        self.agents = [f"node{number}" for number in range(2, agents + 2)]
        self.node_oids: list[str] = []
        self.real_cluster = ""
        self.real_group: str | None = None
        self.ending = False
        self.events = 0
        self._lifetime = str(lifetime_s)
        self._routers = routers
        self._installation = Installation(directory, nodes=1 if routers else 0)
        self._begun = 0.0
        self._echo: subprocess.Popen | None = None
        self.children = self._installation.children

    async def start(self) -> None:
        """Start everything, and wait until every node is online."""
        made = self._installation
        made.children.prepare(reactor)
        made.children.start()
        made.admin = await made.join()
        await made.admin.subscribe("controlplane.", self._hear, prefix=True)
        state = made.children.state
        command = [sys.executable, "-m", "tests.bench.echo", f"unix:{state.master_socket}", str(state.master_key)]
        self._echo = subprocess.Popen(command, stdout=subprocess.PIPE)
        await deferToThread(self._echo.stdout.readline)
        for agent in self.agents:
            directory = self.directory / "nodes" / agent
            directory.mkdir(parents=True, mode=0o700)
            key = public_key(ensure_key(directory / KEY_FILE))
            self.node_oids.append((await self.call("controlplane.node.pair_node", key, agent))["oid"])
            self._spawn(agent)
        if self._routers:
            key = self._key_of_real_node()
            real = (await self.call("controlplane.node.pair_node", key, "node1"))["oid"]
        await made.until(self._online, what="every node online")
        if self._routers:
            self.real_cluster, self.real_group = await made.cluster("real", 2, nodes=[real])
        self._begun = reactor.seconds()

    def elapsed(self) -> float:
        """Return how many seconds it has run."""
        return reactor.seconds() - self._begun

    def stop(self) -> None:
        """End everything in order."""
        self.ending = True
        if self._echo is not None:
            self._echo.kill()
            self._echo.communicate()
            self._echo = None
        self._installation.stop()

    async def call(self, verb: str, *args: Any, **kwargs: Any) -> Any:
        """Call a procedure as administrator."""
        return await self._installation.call(verb, *args, **kwargs)

    async def echo(self) -> None:
        """Call what only returns its argument: the router's share of every call."""
        await self.call(ECHO, {"name": "as_long_as_usual"})

    async def until_status(self, cluster: str, status: str) -> None:
        await self._installation.until_status(cluster, status)

    async def restart(self, agent: str, gently: bool) -> None:
        """End an agent, by a signal that it obeys or by one that it does not, and start it again."""
        if gently:
            child = self._installation.process(agent)
            child.terminate()
            await deferToThread(child.wait, GENTLE_WITHIN_S)
        self._installation.kill(agent)
        await sleep(reactor, 0.5)
        self._spawn(agent)
        await self._installation.until(self._online, what=f"{agent} online again")

    async def vary_routers(self, scale: int) -> None:
        """Give the real router cluster another scale."""
        if self.real_cluster:
            await self.call("scale_routercluster_workergroup", self.real_cluster, self.real_group, scale)

    async def compacted(self) -> int:
        """Return the size of a backup: what is stored, without free pages."""
        file = self.directory / "soak.backup"
        file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "controlplane", "backup", str(file), "--state-dir", str(self.directory)]
        await deferToThread(subprocess.run, command, check=True, capture_output=True, timeout=120)
        size = file.stat().st_size
        file.unlink()
        return size

    def store_bytes(self) -> int:
        """Return how much disk the store takes."""
        return (self.children.state.store / "data.mdb").stat().st_blocks * 512

    def log_bytes(self) -> int:
        """Return how much was logged."""
        return sum(file.stat().st_size for file in (self.directory / "logs").iterdir())

    def families(self) -> dict[str, list[psutil.Process]]:
        """Return the processes whose memory counts, by name."""
        found = {}
        for name, child in self.children.children.items():
            try:
                process = psutil.Process(child.pid)
                found[name] = [process, *process.children(recursive=True)] if name == "router" else [process]
            except psutil.Error:
                continue
        return found

    def _spawn(self, agent: str) -> None:
        url = f"ws://127.0.0.1:{self.children.port}/ws"
        directory = str(self.directory / "nodes" / agent)
        self.children._spawn(agent, [sys.executable, "-m", "tests.sleepers", self._lifetime, url, directory])

    def _key_of_real_node(self) -> str:
        directory = self.children.node_directory(1)
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        return public_key(ensure_key(directory / KEY_FILE))

    def _hear(self, _topic: str, *_: Any) -> None:
        self.events += 1

    async def _online(self) -> bool:
        wanted = len(self.agents) + self._routers
        return len(await self.call("controlplane.node.list_nodes", filter_by_status="online")) == wanted


def weigh(families: dict[str, list[psutil.Process]]) -> dict[str, tuple[int, int, float]]:
    """Return memory, descriptors and processor time so far of processes; those that begin or end just now are left out.

    Memory is what is in no file: pages of the store that LMDB has mapped are the system's to keep or to drop.
    Descriptors by which the agents of this test watch their workers do not count: they come and go with the workers.
    """
    found = {}
    for name, family in families.items():
        try:
            memory = sum(held(process.pid) for process in family)
            times = [process.cpu_times() for process in family]
            descriptors = sum(_descriptors(process.pid) for process in family)
        except (psutil.Error, OSError):
            continue
        found[name] = memory, descriptors, sum(time.user + time.system for time in times)
    return found


def _descriptors(pid: int) -> int:
    folder = Path(f"/proc/{pid}/fd")
    return sum(not os.readlink(link).endswith("[pidfd]") for link in folder.iterdir())


def write_json(file: Path, content: Any) -> None:
    """Write a report for programs."""
    file.write_text(json.dumps(content, indent=1) + "\n")
