"""Clients that join through a frontend, against clients that join at a router worker directly."""

import json
import os
import subprocess
import sys
from pathlib import Path

from controlplane.quiet import leave_out_bjdata

leave_out_bjdata()

from twisted.internet import reactor  # noqa: E402
from twisted.internet.defer import ensureDeferred, gatherResults  # noqa: E402
from twisted.internet.threads import deferToThread  # noqa: E402

from controlplane.clock import sleep  # noqa: E402
from controlplane.errors import ControlPlaneError  # noqa: E402
from controlplane.paths import crossbar_executable, free_port  # noqa: E402
from controlplane.transports import Login  # noqa: E402
from controlplane.wamp import join_once  # noqa: E402
from tests.bench.harness import Figure, at_least, median  # noqa: E402
from tests.bench.stage import directory, installed  # noqa: E402
from tests.e2e.installation import Client, Installation, url_of  # noqa: E402

REALM = "joins"
ROUNDS = 4
SECONDS = 3.0
IN_FLIGHT = 16


async def run(installation: Installation | None = None, rounds: int = ROUNDS, seconds: float = SECONDS) -> list[Figure]:
    """Joins per second, of the same client, in turn at the two."""
    if installation is None:
        async with installed(nodes=1) as made:
            return await run(made, rounds, seconds)
    router, direct = _router(directory(installation, "router"))
    try:
        node = (await installation.call("controlplane.node.get_node_by_name", "node1"))["oid"]
        cluster, _ = await installation.cluster(REALM, 1, nodes=[node])
        frontend = url_of((await installation.frontends(cluster))[0])
        for url in (direct, frontend):
            (await Client(url, REALM).join()).leave()
        through, alone = [], []
        for _ in range(rounds):
            through.append(await deferToThread(_joins, frontend, seconds))
            alone.append(await deferToThread(_joins, direct, seconds))
        await installation.remove(cluster)
    finally:
        router.terminate()
        router.wait()
    name = "client joins per second, through a frontend / at a router"
    return [at_least(name, median(through), median(alone), 0.5, "/s", "router")]


def _router(place: Path) -> tuple[subprocess.Popen, str]:
    """Start a router worker that serves the realm itself, with the transport that a frontend has."""
    port = free_port(34000)
    realm = {"name": REALM, "roles": [{"name": "anonymous", "permissions": []}]}
    transport = {
        "type": "websocket",
        "endpoint": {"type": "tcp", "interface": "127.0.0.1", "port": port},
        "auth": {"anonymous": {"type": "static", "role": "anonymous"}},
    }
    config = {"version": 2, "workers": [{"type": "router", "realms": [realm], "transports": [transport]}]}
    (place / "config.json").write_text(json.dumps(config))
    command = [crossbar_executable(), "start", "--cbdir", str(place), "--loglevel", "warn"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with open(place / "log", "wb") as output:
        router = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    return router, f"ws://127.0.0.1:{port}/"


def _joins(url: str, seconds: float) -> float:
    command = [sys.executable, "-m", "tests.bench.joins", url, str(seconds)]
    return float(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


async def _join_for(url: str, seconds: float) -> None:
    """Join and leave, so many at a time for so long, and print how often per second."""
    end = reactor.seconds() + seconds
    joined = [0]

    async def again() -> None:
        while reactor.seconds() < end:
            try:
                (await join_once(reactor, Login(url=url, realm=REALM), None)).leave()
                joined[0] += 1
            except ControlPlaneError:
                await sleep(reactor, 0.05)

    await gatherResults([ensureDeferred(again()) for _ in range(IN_FLIGHT)])
    sys.stdout.write(f"{joined[0] / seconds}\n")
    reactor.stop()


if __name__ == "__main__":
    reactor.callWhenRunning(lambda: ensureDeferred(_join_for(sys.argv[1], float(sys.argv[2]))))
    reactor.run()
