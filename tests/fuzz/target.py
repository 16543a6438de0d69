"""A real router and a real master to be fuzzed: their state, their memory, their logs, and a client that behaves."""

import json
import os
import re
import struct
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import psutil
from twisted.internet import reactor, task
from zlmdb import lmdb

from controlplane.cli.dev import Installation
from controlplane.clock import sleep
from controlplane.errors import ControlPlaneError, NoAnswer
from controlplane.keys import ensure_key, public_key, read_key
from controlplane.master.layout import StateDirectory
from controlplane.records.protocol import ANSWER_QUESTION, QUESTION_TOPIC
from controlplane.store import lmdb as stores
from controlplane.store.catalog import AUDIT
from controlplane.transports import Login
from controlplane.wamp import Session, join_once
from tests.fuzz.bench import Found
from tests.fuzz.goods import FACTS, World, statistics
from tests.fuzz.memory import WEIGHED, Growth, held_by
from tests.fuzz.values import bent, value

MAP_BYTES = 2**31
ATTEMPTS = 5
CROSSBAR_NOISE = ("PayloadExceededError", "Attempt to send on a closed protocol")
"""What Crossbar.io itself does not expect: a message on its unix socket that is announced as too long, and a client
that is gone before it is welcome."""


class Target:
    """One installation without real agents; this process plays the agent of its only node."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state = StateDirectory(directory)
        self.children = Installation(self.state, 0)
        self.agent_key = ensure_key(directory / "agent.key")
        self.admin_login: Login
        self.agent: Session | None = None
        self.world: World | None = None
        self.boots = 77
        self.neighbour: subprocess.Popen[str] | None = None
        self.weighed = directory / "weighed"
        self.random = Random(0)

    async def start(self) -> None:
        self.weighed.mkdir()
        before = {name: os.environ.get(name) for name in (WEIGHED, "PYTHONPATH")}
        os.environ.update({WEIGHED: str(self.weighed), "PYTHONPATH": str(Path(__file__).with_name("weighed"))})
        try:
            self.children.prepare(task.Clock())
            self.children.start()
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
        url = f"ws://127.0.0.1:{self.children.port}/ws"
        self.admin_login = Login(url=url, realm="default", authid="admin", authrole="owner")
        self.agent_login = Login(url=url, realm="default", authrole="agent")
        connection = {"url": url, "realm": "default", "authid": "admin", "authrole": "owner"}
        (self.directory / "neighbour.json").write_text(
            json.dumps({**connection, "privkey_file": str(self.state.admin_key)})
        )
        self.admin = await self._join()
        node = (await self.call("controlplane.node.pair_node", public_key(self.agent_key), "edge1"))["oid"]
        await self.attach()
        prefix = "controlplane.routercluster."
        clusters, groups = [], []
        for name in ("shop", "stopped"):
            clusters.append((await self.call(prefix + "create_routercluster", {"name": name}))["oid"])
            await self.call(prefix + "add_routercluster_node", clusters[-1], node)
            group = {"name": "web", "scale": 3}
            groups.append((await self.call(prefix + "add_routercluster_workergroup", clusters[-1], group))["oid"])
        await self.call(prefix + "start_routercluster", clusters[0])
        workers = await self.call(prefix + "list_routercluster_workers", clusters[0])
        users = [
            (await self.call("controlplane.user.create_user", name, "viewer", f"{number:064x}"))["oid"]
            for number, name in enumerate(("joe", "ann"), 5_000)
        ]
        team = (await self.call("controlplane.team.create_team", "crew"))["oid"]
        invited = (await self.call("controlplane.invitation.invite_node", f"{5_005:064x}"))["oid"]
        self.world = World(
            tuple(clusters),
            (node,),
            tuple(groups),
            tuple(workers),
            str(UUID(int=self.boots, version=4)),
            tuple(users),
            (team,),
            (invited,),
        )

    async def attach(self) -> None:
        """Say as the agent that it is there; others have its key, and its answers end its link, maybe just now."""
        for attempt in range(ATTEMPTS):
            try:
                await self._attach()
                return
            except NoAnswer:
                if attempt == ATTEMPTS - 1 or not self.agent.over:
                    raise

    async def _attach(self) -> None:
        if self.agent is None or self.agent.over:
            agent = self.agent = await join_once(reactor, self.agent_login, read_key(self.directory / "agent.key"))
            await agent.subscribe(QUESTION_TOPIC, lambda _topic, question: self.answer(agent._inner, question))
        # As after a restart: whatever others said of the boot before, nothing newer is known of this one.
        self.boots += 1
        boot = str(UUID(int=self.boots, version=4))
        await self.agent.call("controlplane.agent.attach_agent", 30.0, FACTS, {"boot": boot, "sequence": 0})
        if self.world is not None:
            self.world = self.world._replace(boot=boot)

    def answer(self, inner: Any, question: dict[str, Any]) -> None:
        """Answer what the agent is asked with something that may be bad."""
        good = statistics(self.random, self.world) if question.get("kind") == "statistics" else {"result": [1]}
        answers = (good, {"error": "a.b", "message": "it is"}, {"error": value(self.random), "message": "x"})
        answer = bent(self.random, self.random.choice(answers))
        for said in (answer, {}):
            try:
                inner.call(ANSWER_QUESTION, question["oid"], said).addErrback(lambda _: None)
                return
            except Exception:
                continue  # No serializer carries it.

    async def _join(self) -> Session:
        # Not before the master is there: attempts that it does not hear of count as failed logins once it does.
        while "is ready" not in self.children.log_of("master").read_text():
            await sleep(reactor, 0.2)
        for attempt in range(100):
            try:
                return await join_once(reactor, self.admin_login, read_key(self.state.admin_key))
            except ControlPlaneError:
                if attempt == 99:
                    raise
                await sleep(reactor, 2.0)
        raise AssertionError

    async def call(self, uri: str, *args: Any) -> Any:
        return await self.admin.call(uri, 60.0, *args)

    def start_neighbour(self) -> None:
        self.neighbour = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.neighbour", str(self.directory / "neighbour.json")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def phase(self) -> list[float]:
        """Return how long the calls of the client that behaves took since the last time; raises `Found`."""
        assert self.neighbour is not None
        assert self.neighbour.stdin is not None
        assert self.neighbour.stdout is not None
        self.neighbour.stdin.write("\n")
        self.neighbour.stdin.flush()
        said = json.loads(self.neighbour.stdout.readline())
        if said["failures"]:
            raise Found(f"{said['failures']} calls of a client that behaves were not answered")
        return list(said["times"])

    def contents(self) -> dict[bytes, bytes]:
        """Return what is stored, read beside the master; the audit is left out: it tells also of what was refused."""
        env = lmdb.open(str(self.state.store), readonly=True, map_size=MAP_BYTES)
        try:
            with env.begin() as transaction:
                found = {bytes(key): bytes(data) for key, data in transaction.cursor()}
        finally:
            env.close()
        sealed = found[stores.DIRECTORY_KEY]
        slots = json.loads(stores._unsealed(stores.DIRECTORY, stores.DIRECTORY_KEY, sealed))
        audit = struct.pack(">H", slots[str(AUDIT.space.uuid)])
        return {key: data for key, data in found.items() if not key.startswith(audit)}

    def processes(self) -> list[psutil.Process]:
        found = []
        for child in self.children.children.values():
            process = psutil.Process(child.pid)
            found.extend([process, *process.children(recursive=True)])
        return found

    def weigh(self, growths: tuple[Growth, Growth]) -> None:
        """Note what the router and the master hold."""
        for name, growth in zip(("router", "master"), growths, strict=True):
            process = psutil.Process(self.children.children[name].pid)
            pids = [process.pid, *(child.pid for child in process.children(recursive=True))]
            growth.samples.append(held_by(pids, self.weighed))

    def descriptors(self) -> int:
        return sum(process.num_fds() for process in self.processes())

    def complaints(self) -> list[str]:
        """Return the beginnings of tracebacks and errors in the logs.

        Crossbar.io itself logs a traceback of autobahn for every message that is none; those are counted apart
        (`noise`), and so is `CROSSBAR_NOISE`. Anything else that it did not expect is a complaint.
        """
        found = []
        patterns = {"master": r"Traceback|Unhandled|\b(error|critical)\b +master:", "router": "Unhandled"}
        for name, pattern in patterns.items():
            text = self.children.log_of(name).read_text(errors="replace")
            for match in re.finditer(pattern, text):
                shown = text[max(0, match.start() - 300) : match.start() + 2_500]
                if name == "master" or not any(noise in shown[300:] for noise in CROSSBAR_NOISE):
                    found.append(f"{name}: {shown}")
        return found

    def noise(self) -> Counter[str]:
        """Return how often the router logged which exception."""
        text = self.children.log_of("router").read_text(errors="replace")
        return Counter(re.findall(r"^(?:\S+ \[.*?\] )?(autobahn\.[\w.]+(?:Error|Exception))\b", text, re.MULTILINE))

    def stop(self) -> None:
        if self.neighbour is not None:
            self.neighbour.stdin.close()
            try:
                self.neighbour.wait(10)
            except subprocess.TimeoutExpired:
                self.neighbour.kill()
                self.neighbour.wait()
        for session in (getattr(self, "admin", None), getattr(self, "agent", None)):
            if session is not None:
                session.leave()
        self.children.stop()
