"""What joins an installation for one scenario: a crowd of agents, or a node with real Crossbar.io workers."""

import json
import sys
from typing import Any

from twisted.internet.defer import ensureDeferred

from tests.e2e.installation import Client, url_of
from tests.netns.world import CONSOLE, World

CROWD_MACHINE = "crowd"
REAL_MACHINE = "node_real"
CONFIG = {
    "realms": [
        {
            "name": "real",
            "roles": [
                {
                    "name": "anonymous",
                    "permissions": [
                        {
                            "uri": "",
                            "match": "prefix",
                            "allow": {"call": True, "register": True, "publish": True, "subscribe": True},
                        }
                    ],
                }
            ],
        }
    ],
    "transport": {"type": "websocket", "auth": {"anonymous": {"type": "static", "role": "anonymous"}}},
    "allow_anonymous": True,
    "allow_plain_tcp": True,
}


class Crowd:
    """Many agents that run nothing, in one process on one machine."""

    def __init__(self, world: World, count: int) -> None:
        self._world = world
        self._names = [f"crowd{number}" for number in range(count)]

    async def __aenter__(self) -> "Crowd":
        world = self._world
        if CROWD_MACHINE not in world.network.machines:
            world.network.add(CROWD_MACHINE)
        for name in self._names:
            await world.pair(name)
        directories = json.dumps([str(world.directory_of(name)) for name in self._names])
        command = [sys.executable, "-m", "tests.bench.noop", world.url, directories, world.authority]
        world.run("node_crowd", CROWD_MACHINE, command)
        await world.online()
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self._world.kill("node_crowd")
        for name in self._names:
            await self._world.unpair(name)


class RealNode:
    """A node with an agent as users have it, and a router cluster on it whose clients come from other machines."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._cluster = ""

    async def __aenter__(self) -> "RealNode":
        world = self._world
        machine = world.network.machines.get(REAL_MACHINE) or world.network.add(REAL_MACHINE)
        await world.pair(REAL_MACHINE)
        options = {
            "--state-dir": str(world.directory_of(REAL_MACHINE)),
            "--url": world.url,
            "--ca-file": world.authority,
            "--address": machine.address,
        }
        arguments = [part for option in options.items() for part in option]
        world.run(REAL_MACHINE, REAL_MACHINE, [sys.executable, "-m", "controlplane", "agent", *arguments])
        await world.online()
        settings = {"name": "real", "config": CONFIG, "grace_period": 3600}
        self._cluster = oid = (await world.call("create_routercluster", settings))["oid"]
        await world.call("add_routercluster_node", oid, world.nodes[REAL_MACHINE])
        await world.call("add_routercluster_workergroup", oid, {"name": "web", "scale": 2})
        await world.call("start_routercluster", oid)
        await world.until(lambda: self._has("RUNNING"), "the router cluster runs")
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self._world.call("stop_routercluster", self._cluster)
        await self._world.until(lambda: self._has("STOPPED"), "the router cluster has stopped")
        await self._world.call("delete_routercluster", self._cluster)
        await self._world.unpair(REAL_MACHINE)
        await self._world.end(REAL_MACHINE)

    async def clients(self) -> list[Client]:
        """Return two clients on another machine, at different frontends."""
        world = self._world
        workers = [
            await world.call("get_routercluster_worker", self._cluster, oid)
            for oid in await world.call("list_routercluster_workers", self._cluster)
        ]
        clients = [Client(url_of(worker), "real") for worker in workers if worker["workergroup_oid"]]
        for client in clients:
            with world.network.inside(CONSOLE):
                joining = ensureDeferred(client.join())
            await joining
        return clients

    async def _has(self, status: str) -> bool:
        return (await self._world.call("get_routercluster", self._cluster))["status"] == status
