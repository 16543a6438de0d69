"""Router, master and agents as real processes, for tests that look at what users get."""

import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from autobahn.wamp.types import PublishOptions
from twisted.internet import reactor, task
from twisted.internet.defer import Deferred

from controlplane.cli.dev import Installation as Children
from controlplane.cli.dev import _pair
from controlplane.clock import limit, sleep
from controlplane.errors import ControlPlaneError
from controlplane.keys import read_key
from controlplane.master.layout import StateDirectory
from controlplane.transports import Login
from controlplane.wamp import Session, join_once
from tests.alive import is_alive

PREFIX = "crossbarfabriccenter.mrealm.routercluster."
WITHIN_S = 60.0
END_WITHIN_S = 10.0


class Installation:
    """One installation in a directory of its own."""

    def __init__(self, directory: Path, nodes: int = 2) -> None:
        self.directory = directory
        self.children = Children(StateDirectory(directory), nodes)
        self.admin: Session | None = None
        self.events: list[tuple[str, dict[str, Any]]] = []

    async def start(self) -> None:
        self.children.prepare(task.Clock())
        self.children.start()
        await self.connect()
        await _pair(reactor, self.children, self.admin)

    async def connect(self) -> None:
        """Join as administrator who hears every event, as soon as that works."""
        self.admin = await self.join()
        await self.admin.subscribe(
            "controlplane.", lambda topic, payload, *_: self.events.append((topic, payload)), prefix=True
        )

    async def join(self) -> Session:
        """Join as administrator, as soon as that works."""
        key = read_key(self.children.state.admin_key)
        for attempt in range(1200):
            try:
                return await join_once(reactor, self.login(), key)
            except ControlPlaneError:
                if attempt == 1199:
                    raise
                await sleep(reactor, 0.1)
        raise AssertionError

    def login(self) -> Login:
        url = f"ws://127.0.0.1:{self.children.port}/ws"
        return Login(url=url, realm="default", authid="admin", authrole="admin")

    def stop(self) -> None:
        if self.admin is not None:
            self.admin.leave()
        self.children.stop()

    # Processes

    def process(self, name: str) -> subprocess.Popen:
        return self.children.children[name]

    def kill(self, name: str) -> None:
        """End a process as kill -9 does."""
        child = self.children.children.pop(name)
        child.send_signal(signal.SIGKILL)
        child.wait()

    def respawn(self, name: str) -> None:
        self.children.spawn(name)

    # Calls

    async def call(self, verb: str, *args: Any, **kwargs: Any) -> Any:
        uri = verb if "." in verb else PREFIX + verb
        return await self.admin.call(uri, 30.0, *args, **kwargs)

    async def cluster(self, name: str, scale: int, *, nodes: list[str] | None = None, start: bool = True, **settings):
        """A cluster with one group on all nodes; returns the oids of both."""
        oid = (await self.call("create_routercluster", {"name": name, **settings}))["oid"]
        for node in nodes or await self.call("controlplane.node.list_nodes"):
            await self.call("add_routercluster_node", oid, node)
        group = (await self.call("add_routercluster_workergroup", oid, {"name": "web", "scale": scale}))["oid"]
        if start:
            await self.call("start_routercluster", oid)
            await self.until_status(oid, "RUNNING")
        return oid, group

    async def workers(self, cluster: str) -> list[dict[str, Any]]:
        return [
            await self.call("get_routercluster_worker", cluster, oid)
            for oid in await self.call("list_routercluster_workers", cluster)
        ]

    async def frontends(self, cluster: str) -> list[dict[str, Any]]:
        return [worker for worker in await self.workers(cluster) if worker["workergroup_oid"]]

    async def until(self, reached, within: float = WITHIN_S, what: str = "it") -> Any:
        """Ask until something is so."""
        end = reactor.seconds() + within
        while True:
            found = await reached()
            if found:
                return found
            assert reactor.seconds() < end, f"{what} did not happen within {within} s"
            await sleep(reactor, 0.1)

    async def until_status(self, cluster: str, status: str, within: float = WITHIN_S) -> None:
        async def reached():
            return (await self.call("get_routercluster", cluster))["status"] == status

        await self.until(reached, within, f"status {status}")

    async def remove(self, cluster: str) -> None:
        """Stop and delete a cluster."""
        if (await self.call("get_routercluster", cluster))["status"] != "STOPPED":
            await self.call("stop_routercluster", cluster)
        await self.until_status(cluster, "STOPPED")
        await self.call("delete_routercluster", cluster)


@asynccontextmanager
async def running(made: Installation, directory: Path | None = None) -> AsyncIterator[Installation]:
    """Start an installation, and stop it whatever happens; nothing that knows its directory may be left then.

    `directory` is given when there is more in it that is stopped first.
    """
    try:
        await made.start()
        yield made
    finally:
        made.stop()
        end_what_is_left(directory or made.directory)


def end_what_is_left(directory: Path) -> None:
    """Fail when processes are left that have to do with a directory, and end them; those that are just ending may."""
    _, left = psutil.wait_procs(processes_of(directory), timeout=END_WITHIN_S)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    assert not left, f"left running: {left}"


class Client:
    """An application's WAMP client."""

    def __init__(self, url: str, realm: str) -> None:
        self.url = url
        self.realm = realm
        self.session: Session | None = None

    async def join(self, within: float = 20.0) -> "Client":
        end = reactor.seconds() + within
        while True:
            try:
                self.session = await join_once(reactor, Login(url=self.url, realm=self.realm), None)
                return self
            except ControlPlaneError:
                if reactor.seconds() > end:
                    raise
                await sleep(reactor, 0.1)

    @property
    def wamp(self) -> Any:
        return self.session._inner

    async def call(self, uri: str, *args: Any, **kwargs: Any) -> Any:
        return await limit(reactor, self.wamp.call(uri, *args, **kwargs), 10.0, uri)

    async def register(self, uri: str, function: Any, **options: Any) -> None:
        from autobahn.wamp.types import RegisterOptions

        await limit(reactor, self.wamp.register(function, uri, RegisterOptions(**options)), 10.0, uri)

    async def subscribe(self, topic: str, handler: Any, **options: Any) -> None:
        from autobahn.wamp.types import SubscribeOptions

        await limit(reactor, self.wamp.subscribe(handler, topic, SubscribeOptions(**options)), 10.0, topic)

    async def publish(self, topic: str, *args: Any) -> None:
        options = PublishOptions(acknowledge=True)
        await limit(reactor, self.wamp.publish(topic, *args, options=options), 10.0, topic)

    def leave(self) -> None:
        if self.session is not None:
            self.session.leave()


def url_of(worker: dict[str, Any]) -> str:
    return next(a["url"] for a in worker["addresses"] if a["type"] == "websocket")


def kill_what_is_left(directory: Path) -> list[psutil.Process]:
    """Kill every process that still runs in a directory, and return them."""
    left = [process for process in processes_of(directory) if is_alive(process.pid)]
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    return left


def processes_of(directory: Path) -> list[psutil.Process]:
    """Every process that has to do with a directory: by its arguments, its files or its working directory."""
    found = []
    marker = str(directory)
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        try:
            about = [*process.cmdline(), process.cwd(), *(file.path for file in process.open_files())]
            about.extend(f"{key}={value}" for key, value in process.environ().items() if key != "OLDPWD")
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if any(marker in part for part in about):
            found.append(process)
    return found


def descendants(pid: int) -> set[int]:
    return {child.pid for child in psutil.Process(pid).children(recursive=True)}


async def pause(seconds: float) -> None:
    await sleep(reactor, seconds)


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


__all__ = ["Client", "Deferred", "Installation"]
