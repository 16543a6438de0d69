"""A master that starts with a million workers in its store: until its first answer, and until it has looked at all."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from controlplane.master.plane import Plane
from controlplane.process import real_chance
from controlplane.store.catalog import EVENTS, NODES, WORKERS
from controlplane.store.lmdb import LmdbEngine
from tests.bench.fleets import write_fleet
from tests.bench.harness import Figure, at_most, median
from tests.conftest import SilentWire
from tests.simulation.world import ADMIN

SMALL = (10, 1_000)
LARGE = (10_000, 1_000_000)
ROUNDS = 3
PAUSE_BETWEEN_AUDITS_MIN_S = 60.0
SECONDS_MIN = 0.05


async def run(small: tuple[int, int] = SMALL, large: tuple[int, int] = LARGE, rounds: int = ROUNDS) -> list[Figure]:
    """Until the first answer, and what the audit of everything finds to do and costs a call meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        one, other = Path(folder) / "small", Path(folder) / "large"
        write_fleet(one, *small)
        write_fleet(other, *large)
        scans, starts, small_starts = [], [], []
        for _ in range(rounds):
            scans.append(_measure("scan", other)["seconds"])
            starts.append(_measure("start", other))
            small_starts.append(_measure("start", one))
        audit = _measure("audit", other)
    taken = [start["seconds"] for start in starts]
    name = f"start with {large[1]} workers until the first answer"
    memory = median(s["bytes"] for s in starts) - median(s["bytes"] for s in small_starts)
    return [
        at_most(f"{name} / raw scan", median(taken), median(scans), 2, "s", "scan"),
        at_most(
            f"{name} / with {small[1]}", median(taken), median(s["seconds"] for s in small_starts), 1.5, "s", "small"
        ),
        at_most("changes that the audit makes to workers and nodes", audit["changes"], 1, 0, "changes", "limit"),
        at_most("longest turn of the reactor during the audit", audit["longest"], 0.005, 1, "ms", "limit", 1e3),
        at_most("cores that the audit takes", audit["cpu"] / audit["seconds"], 0.1, 1, "cores", "limit"),
        at_most("memory after the start, per worker in the store", max(0.0, memory) / large[1], 200, 1, "B", "limit"),
    ]


def _measure(what: str, directory: Path) -> dict:
    """Do it in a process of its own, as a start is."""
    command = [sys.executable, "-m", "tests.bench.restart", what, str(directory)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def _scan(directory: Path) -> dict:
    """Read every worker with LMDB alone: bytes, no records."""
    engine = LmdbEngine(directory)
    engine.attach([WORKERS.space])
    with engine.read() as transaction:
        slot = engine._slots[WORKERS.space]
        cursor = transaction._raw.cursor()
        begun = time.perf_counter()
        found = cursor.set_range(slot)
        size = 0
        while found and cursor.key()[:2] == slot:
            size += len(cursor.value())
            found = cursor.next()
        taken = time.perf_counter() - begun
    engine.close()
    return {"seconds": taken, "size": size}


def _start(directory: Path) -> dict:
    """From the store to the first answer; what a process imports is no part of it."""
    begun = time.perf_counter()
    clock, plane = _plane(directory)
    cluster = _call(clock, plane, "controlplane.routercluster.list_routerclusters", limit=1)[0]
    answer = _call(clock, plane, "controlplane.routercluster.get_routercluster", cluster)
    taken = time.perf_counter() - begun
    assert (answer["status"], answer["reason"]) == ("RUNNING", None)
    memory = psutil.Process().memory_info()
    # Pages of the store's file are shared with the kernel's cache and no memory of the process's own.
    return {"seconds": taken, "bytes": memory.rss - memory.shared}


def _audit(directory: Path) -> dict:
    """Let the master look at everything on a clock that does not wait, and see what it changed."""
    clock, plane = _plane(directory)
    turns, begun = [], time.process_time()
    while _auditing(clock, plane):
        turn = time.process_time()
        clock.advance(max(0.0, min(call.getTime() for call in clock.getDelayedCalls()) - clock.seconds()))
        turns.append(time.process_time() - turn)
    cpu = time.process_time() - begun
    with plane.store.read() as view:
        # Whatever an agent would be told is a new version of its node's assignment.
        told = sum(node.assignment - 1 for node in view.rows(NODES).all())
        events = sum(1 for _ in view.rows(EVENTS).scan_keys())
    return {"changes": told + events, "longest": max(turns), "seconds": max(clock.seconds(), SECONDS_MIN), "cpu": cpu}


def _auditing(clock: Clock, plane: Plane) -> bool:
    return plane.monitor._loop.busy() or plane.monitor._next.getTime() - clock.seconds() < PAUSE_BETWEEN_AUDITS_MIN_S


class _WorkingClock(Clock):
    """A clock on which work takes as long as it takes, and nobody waits."""

    _since: float | None = None

    def advance(self, amount: float) -> None:
        self._since = time.process_time()
        super().advance(amount)
        self.rightNow += time.process_time() - self._since
        self._since = None

    def seconds(self) -> float:
        return self.rightNow + (0.0 if self._since is None else time.process_time() - self._since)


def _plane(directory: Path) -> tuple[Clock, Plane]:
    clock = _WorkingClock()
    plane = Plane(LmdbEngine(directory), clock, real_chance(), SilentWire())
    plane.start()
    return clock, plane


def _call(clock: Clock, plane: Plane, uri: str, *args, **kwargs):
    outcome = []
    ensureDeferred(plane.invoke(ADMIN, uri, args, kwargs)).addBoth(outcome.append)
    while not outcome:
        clock.advance(0)
    return outcome[0]


if __name__ == "__main__":
    measured = {"scan": _scan, "start": _start, "audit": _audit}[sys.argv[1]](Path(sys.argv[2]))
    sys.stdout.write(json.dumps(measured))
