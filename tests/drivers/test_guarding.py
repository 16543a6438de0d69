"""Leases of processes: keepers end workers that may not run any longer, whatever has become of the agent."""

import signal
import subprocess
import sys
import time
from uuid import uuid4

import msgspec
import psutil
import pytest
import pytest_twisted
from twisted.internet.defer import ensureDeferred

from controlplane.drivers.driver import Guards
from controlplane.drivers.process.remains import marked
from controlplane.errors import WorkerFailed
from controlplane.records.workers import WorkerSpec
from tests.drivers.benches import ProcessBench, sleep, until
from tests.e2e.test_router_driver import free_ports

test = pytest_twisted.ensureDeferred
FOR_EVER = {"command": ["sleep", "100000"], "ports": {}, "ready": {"check": {"kind": "delay", "seconds": 0}}}
LONG_S = 1_000.0


@pytest_twisted.async_yield_fixture
async def bench(tmp_path):
    made = ProcessBench(tmp_path, free_ports(4))
    await made.open()
    try:
        yield made
    finally:
        await made.end()
        assert marked(str(tmp_path)) == {}


def now():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def guard(bench, fences, ago=0.0):
    bench.driver.renew(now() - ago)
    bench.driver.guard(fences)


async def start(bench, **fences):
    oid = uuid4()
    if fences:
        guard(bench, {oid: fences["fence"]}, fences.get("ago", 0.0))
    return await bench.start(bench.spec(oid, **FOR_EVER))


@test
async def test_a_worker_with_a_lease_ends_without_its_agent_and_one_without_runs_on(bench):
    await bench.close(keep=True)
    ports = [str(port) for port in bench.surroundings.ports]
    spec = WorkerSpec(oid=uuid4(), digest="one", config=bench.page(**FOR_EVER))
    given = {"killed": (signal.SIGKILL, ["5"]), "held": (signal.SIGSTOP, ["5"]), "free": (signal.SIGKILL, [])}
    agents, pids = {}, {}
    try:
        for name, (_, more) in given.items():
            command = [sys.executable, "-m", "tests.drivers.dying_agent", str(bench.home / name), *ports]
            spoken = [*command, msgspec.json.encode(spec), *more]
            agents[name] = subprocess.Popen(spoken, stdout=subprocess.PIPE, text=True)
        for name, agent in agents.items():
            pids[name] = int(agent.stdout.readline())
            agent.send_signal(given[name][0])
        await until(lambda: not psutil.pid_exists(pids["killed"]) and not psutil.pid_exists(pids["held"]), 60)
        await sleep(1)
        assert psutil.pid_exists(pids["free"])
    finally:
        for agent in agents.values():
            agent.kill()
            agent.communicate()
    for name in given:
        left = ProcessBench(bench.home / name, bench.surroundings.ports)
        await left.open()
        if name != "free":
            assert "nothing was heard of the master" in await left.losses.of(spec.oid, within=10)
        await left.end()


@test
async def test_a_lease_is_given_to_a_worker_that_runs_and_taken_from_it(bench):
    assert isinstance(bench.driver, Guards)
    free, kept, fenced = [await start(bench) for _ in range(3)]
    guard(bench, {kept.oid: 1.0, fenced.oid: LONG_S})
    guard(bench, {fenced.oid: 1.0})
    assert "killed by its keeper" in await bench.losses.of(fenced.oid, within=20)
    assert [psutil.pid_exists(each.pid) for each in (free, kept)] == [True, True]
    assert "nothing was heard of the master" in await bench.driver.logs(fenced.oid, 10, 1_000)


@test
async def test_the_next_agent_renews_what_the_former_one_has_given(bench):
    unit = await start(bench, fence=LONG_S)
    await bench.reopen()
    assert unit.oid in bench.adopted
    guard(bench, {unit.oid: LONG_S})
    guard(bench, {unit.oid: 1.0}, ago=60)
    await bench.losses.of(unit.oid, within=20)


@test
async def test_nothing_is_started_when_its_lease_is_over_or_nobody_knows(bench):
    oid = uuid4()
    guard(bench, {oid: 1.0}, ago=2)
    with pytest.raises(WorkerFailed, match="could not be started: nothing was heard of the master"):
        await bench.start(bench.spec(oid, **FOR_EVER))
    for said in ("", "1 2\n", "some some\n", f"{now() + 100:.3f} {now() + 100:.3f}\n"):
        next(bench.surroundings.directory.glob("lease.*")).write_text(said)
        with pytest.raises(WorkerFailed, match="nothing was heard of the master"):
            await bench.start(bench.spec(oid, **FOR_EVER))
    assert marked(str(bench.home)) == {}
    guard(bench, {oid: LONG_S})
    await bench.start(bench.spec(oid, **FOR_EVER))


@test
async def test_a_worker_that_is_to_end_in_order_has_its_lease_all_the_same(bench):
    oid = uuid4()
    guard(bench, {oid: LONG_S})
    patient = {"command": ["sh", "-c", "trap : TERM; while :; do sleep 1; done"], "stop": {"grace": 60}}
    unit = await bench.start(bench.spec(oid, **{**FOR_EVER, **patient}))
    guard(bench, {oid: 1.0})
    stopping = ensureDeferred(bench.driver.stop(oid))
    await until(lambda: not psutil.pid_exists(unit.pid), 30, "its end before its grace is over")
    await stopping


@test
async def test_what_another_run_of_the_machine_has_left_says_nothing(bench):
    await bench.close(keep=True)
    old = bench.surroundings.directory / "lease.00000000"
    old.write_text("5 5\n")
    await bench.open()
    assert not old.exists()
