"""Calls through the real router to the real master, against an echo through the same router."""

import itertools
import time
from pathlib import Path

from tests.bench.echo import ECHO
from tests.bench.harness import Figure, at_least, at_most, in_turn, median, quantile, rate
from tests.bench.stage import directory, echo, installed, quiet_admin
from tests.e2e.installation import Installation

ROUNDS = 5
IN_FLIGHT = 64
PREFIX = "controlplane.routercluster."


async def run(installation: Installation | None = None, sequential: int = 2_000, parallel: int = 4_000) -> list[Figure]:
    """Read call and durable create."""
    if installation is None:
        async with installed() as made:
            return await run(made, sequential, parallel)
    with echo(installation):
        admin = await quiet_admin(installation)
        raw = RawCommits(directory(installation, "raw"))
        return [*await _reads(admin, sequential, parallel), *await _creates(admin, raw, sequential, parallel)]


async def _reads(session, sequential: int, parallel: int) -> list[Figure]:
    cluster = await session.call(PREFIX + "create_routercluster", 30, {"name": "bench"})

    async def echo():
        return await session.call(ECHO, 30, cluster)

    async def get():
        return await session.call(PREFIX + "get_routercluster", 30, cluster["oid"])

    echoed, read = await in_turn([echo, get], sequential)
    echo_rates, read_rates = [], []
    for _ in range(ROUNDS):
        echo_rates.append(await rate(lambda: session.call(ECHO, 30, cluster), parallel, IN_FLIGHT))
        read_rates.append(
            await rate(lambda: session.call(PREFIX + "get_routercluster", 30, cluster["oid"]), parallel, IN_FLIGHT)
        )
    return [
        at_most("read call / echo, p50", median(read), median(echoed), 1.10, "ms", "echo", 1e3),
        at_most("read call / echo, p99", quantile(read, 0.99), quantile(echoed, 0.99), 1.25, "ms", "echo", 1e3),
        at_least("read calls, 64 in flight / echo", median(read_rates), median(echo_rates), 0.90, "/s", "echo"),
    ]


async def _creates(session, raw: "RawCommits", sequential: int, parallel: int) -> list[Figure]:
    numbers = itertools.count()
    payload = {"name": "as_long_as_usual"}
    echo_rates, create_rates = [], []

    def create():
        return session.call(PREFIX + "create_routercluster", 30, {"name": f"bench_{next(numbers)}"})

    async def one_echo():
        return await session.call(ECHO, 30, payload)

    async def one_create():
        return await create()

    async def one_commit():
        raw.commits(1)

    echoed, created, committed = await in_turn([one_echo, one_create, one_commit], sequential)
    for _ in range(ROUNDS):
        echo_rates.append(await rate(lambda: session.call(ECHO, 30, payload), parallel, IN_FLIGHT))
        create_rates.append(await rate(create, parallel, IN_FLIGHT))
    floor = median(echoed) + median(committed)
    return [
        at_most(
            "durable create / (echo + raw LMDB commit), p50", median(created), floor, 1.25, "ms", "echo+commit", 1e3
        ),
        at_least("durable creates, 64 in flight / echo", median(create_rates), median(echo_rates), 0.75, "/s", "echo"),
    ]


class RawCommits:
    """LMDB without anything of ours: one put of 300 bytes per synced commit."""

    def __init__(self, directory: Path) -> None:
        import zlmdb

        directory.mkdir(exist_ok=True)
        self._env = zlmdb.Database(str(directory), maxsize=1 << 30)._env

    def commits(self, count: int, puts: int = 1) -> list[float]:
        from zlmdb import lmdb

        taken = []
        value = bytes(300)
        for number in range(count):
            begun = time.perf_counter()
            with lmdb.Transaction(self._env, write=True) as txn:
                for put in range(puts):
                    txn.put(b"%d-%d-%f" % (number, put, begun), value)
            taken.append(time.perf_counter() - begun)
        return taken
