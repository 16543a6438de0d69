"""Operations and logs of real processes, on the real router, master and agents."""

import signal
from pathlib import Path

import psutil
import pytest_twisted

from tests.e2e.installation import Installation, running
from tests.e2e.test_clusters import call, create, delete, ended, workers

ROOT = Path(__file__).parents[2]
TELLING = """
import signal, time
signal.signal(signal.SIGUSR1, lambda *_: print("rung", flush=True))
print("here", flush=True)
while True:
    time.sleep(1)
"""


@pytest_twisted.async_yield_fixture(scope="module")
async def shop(tmp_path_factory):
    """Two agents that have the driver for processes alone."""
    made = Installation(tmp_path_factory.mktemp("operations"))
    made.children.agent_options = ["--drivers", "process"]
    async with running(made):
        properties = {"command": ["python3", "-c", TELLING], "ready": {"check": {"kind": "log", "text": "here"}}}
        spec = {"type": "process", "properties": properties}
        await call(made, "profile.create_profile", {"name": "sleeper", "spec": spec})
        yield made


async def said(made: Installation, worker: dict) -> str:
    """What a worker has written."""
    return (await call(made, "worker.get_worker_logs", worker["oid"]))["text"]


@pytest_twisted.ensureDeferred
async def test_processes_are_told_and_what_they_write_is_shown(shop):
    await create(shop, "bells", 4)
    before = await workers(shop, "bells")
    order = {"signal": "SIGUSR1"}
    action = await call(shop, "cluster.perform_cluster_operation", "bells", "signal", order)
    assert (await ended(shop, action["oid"]))["done"] == 4
    for worker in before:
        await shop.until(lambda worker=worker: rung(shop, worker), what="what it wrote")
    action = await call(shop, "worker.perform_worker_operation", "bells-2", "restart")
    assert (await ended(shop, action["oid"]))["status"] == "SUCCEEDED"

    async def again():
        now = await workers(shop, "bells")
        return now if now[2]["pid"] != before[2]["pid"] else None

    after = await shop.until(again, what="another process")
    assert [worker["oid"] for worker in after] == [worker["oid"] for worker in before]
    assert not psutil.pid_exists(before[2]["pid"])
    assert (await said(shop, after[2])).split("\n")[-2:] == ["here", ""]
    results = await call(shop, "cluster.list_operation_results", "bells", action["oid"])
    assert [(each["worker_name"], each["status"], each["result"]["pid"]) for each in results] == [
        ("bells-2", "DONE", after[2]["pid"])
    ]
    await delete(shop, "bells")


async def rung(made: Installation, worker: dict) -> bool:
    return "rung" in await said(made, worker)


@pytest_twisted.ensureDeferred
async def test_a_master_killed_in_the_middle_goes_on_and_no_process_is_restarted_twice(shop):
    await create(shop, "again", 6)
    before = {worker["oid"]: worker["pid"] for worker in await workers(shop, "again")}
    action = (await call(shop, "cluster.perform_cluster_operation", "again", "restart", parallel=2))["oid"]
    shop.kill("master")
    shop.respawn("master")
    found = await ended(shop, action)
    assert (found["status"], found["done"]) == ("SUCCEEDED", 6)
    results = {
        each["worker_oid"]: each["result"]["pid"]
        for each in await call(shop, "cluster.list_operation_results", "again", action)
    }
    assert results.keys() == before.keys()

    async def reported():
        now = await workers(shop, "again")
        return now if all(worker["pid"] == results[worker["oid"]] for worker in now) else None

    for worker in await shop.until(reported, what="the new processes"):
        assert psutil.pid_exists(worker["pid"])
        assert worker["pid"] != before[worker["oid"]]
    await delete(shop, "again")


@pytest_twisted.ensureDeferred
async def test_an_agent_killed_in_the_middle_leaves_it_unknown(shop):
    await create(shop, "lost", 2)
    before = await workers(shop, "lost")
    agents = {node["oid"]: node["name"] for node in await nodes(shop)}
    held = before[0]
    shop.process(agents[held["node_oid"]]).send_signal(signal.SIGSTOP)
    action = (await call(shop, "worker.perform_worker_operation", held["oid"], "restart"))["oid"]
    shop.kill(agents[held["node_oid"]])
    shop.respawn(agents[held["node_oid"]])
    found = await ended(shop, action)
    assert found["status"] == "FAILED"
    assert [each["worker_oid"] for each in found["outputs"]["unknown"]] == [held["oid"]]
    assert (await workers(shop, "lost"))[0]["pid"] == held["pid"]
    await delete(shop, "lost")


async def nodes(made: Installation) -> list[dict]:
    return [await call(made, "node.get_node", oid) for oid in await call(made, "node.list_nodes")]
