"""Health policies and fencing, on the real router, master and agents, with real processes."""

import os
import signal
import sys
from pathlib import Path
from uuid import UUID

import psutil
import pytest
import pytest_twisted

from tests.e2e.generic import alive, call, create, delete, ended, workers
from tests.e2e.installation import Installation, pause, running

PYTHON = os.path.realpath(sys.executable)
PAGE = f"echo fine > state; exec {PYTHON} -I -m http.server -b {{address}} {{port:web}}"
PROFILES = {
    "sleeper": {"command": ["sleep", "100000"]},
    "page": {
        "command": ["sh", "-c", PAGE],
        "ports": {"web": {"scheme": "http"}},
        "ready": {"check": {"kind": "tcp", "port": "web"}},
        "stop": {"grace": 1},
    },
    "slow": {
        "command": ["sleep", "100000"],
        "ready": {"check": {"kind": "command", "command": ["sleep", "2"]}},
    },
}


@pytest_twisted.async_yield_fixture(scope="module")
async def shop(tmp_path_factory):
    """Two agents that have the driver for processes alone."""
    made = Installation(tmp_path_factory.mktemp("health"))
    made.children.agent_options = ["--drivers", "process"]
    async with running(made):
        for name, properties in PROFILES.items():
            spec = {"type": "process", "properties": properties}
            await call(made, "profile.create_profile", {"name": name, "spec": spec})
        yield made


async def attach(shop: Installation, cluster: str, mode: dict, operation: str, **recovery) -> None:
    detection = {"interval": 1, "node_update_timeout": 0, "detection_modes": [mode]}
    properties = {"detection": detection, "recovery": {"actions": [{"name": operation}], **recovery}}
    name = f"{cluster}_nurse"
    await call(shop, "policy.create_policy", {"name": name, "spec": {"type": "health", "properties": properties}})
    await call(shop, "cluster.attach_policy", cluster, name)


async def until_recovered(shop: Installation, cluster: str) -> dict:
    """Wait for the end of what a policy does, and return it."""
    filters = {"cluster_name": cluster, "cause": "policy", "action": "CLUSTER_RECOVER", "status": "SUCCEEDED"}

    async def recovered():
        return await call(shop, "action.list_actions", filters)

    return (await shop.until(recovered, 120, "a recovery"))[0]


@pytest_twisted.ensureDeferred
async def test_a_process_that_is_held_is_found_by_looks_and_brought_back(shop):
    await create(shop, "held", 2)
    await attach(shop, "held", {"type": "NODE_STATUS_POLLING"}, "REBOOT", limits={"worker_max": 1})
    before = await workers(shop, "held")
    os.kill(before[0]["pid"], signal.SIGSTOP)
    action = await until_recovered(shop, "held")
    assert "stopped by a signal" in action["decisions"][0]["said"]
    assert (action["who"], action["outputs"]["done"]) == ("held_nurse", [before[0]["oid"]])
    after = await workers(shop, "held")
    assert [worker["oid"] for worker in after] == [worker["oid"] for worker in before]
    assert (after[0]["pid"] != before[0]["pid"], after[1]["pid"]) == (True, before[1]["pid"])
    assert {worker["status"] for worker in after} == {"RUNNING"}
    await delete(shop, "held")


@pytest_twisted.ensureDeferred
async def test_a_page_that_turns_bad_is_found_and_its_worker_brought_back(shop):
    made = await call(shop, "cluster.create_cluster", {"name": "pages", "profile": "page", "desired": 2})
    assert (await ended(shop, made["action_oid"]))["status"] == "SUCCEEDED"
    options = {
        "poll_url": "{url:web}/state",
        "poll_url_healthy_response": "^fi+ne",
        "poll_url_retry_limit": 2,
        "poll_url_retry_interval": 0.2,
        "poll_url_timeout": 20,
    }
    await attach(shop, "pages", {"type": "NODE_STATUS_POLL_URL", "options": options}, "REBOOT")
    await pause(3)
    assert not await call(
        shop, "action.list_actions", {"cluster_name": "pages", "cause": "policy", "action": "CLUSTER_RECOVER"}
    )
    victim = (await workers(shop, "pages"))[1]
    state = Path(psutil.Process(victim["pid"]).cwd()) / "state"
    state.write_text("broken\n")
    action = await until_recovered(shop, "pages")
    assert "answered without '^fi+ne', 2 times in a row" in action["decisions"][0]["said"]
    assert action["outputs"]["done"] == [victim["oid"]]
    await delete(shop, "pages")


@pytest.mark.parametrize("verb", ["check", "recover"])
@pytest_twisted.ensureDeferred
async def test_a_check_and_a_recovery_go_on_when_the_master_is_killed_in_the_middle(shop, verb):
    name = f"slow_{verb}"
    made = await call(shop, "cluster.create_cluster", {"name": name, "profile": "slow", "desired": 2})
    assert (await ended(shop, made["action_oid"]))["status"] == "SUCCEEDED"
    before = await workers(shop, name)
    if verb == "check":
        action = await call(shop, "cluster.check_cluster", name)
    else:
        action = await call(shop, "worker.recover_worker", before[0]["oid"], ["REBOOT", "RECREATE"])
    await pause(0.5)
    shop.kill("master")
    shop.respawn("master")
    over = await ended(shop, action["oid"])
    assert (over["status"], over["outputs"]["failed"]) == ("SUCCEEDED", [])
    assert len(over["outputs"]["done"]) == (2 if verb == "check" else 1)
    after = await workers(shop, name)
    assert alive(after)
    assert [one["pid"] == other["pid"] for one, other in zip(before, after, strict=True)] == [verb == "check", True]
    await delete(shop, name)


@pytest_twisted.ensureDeferred
async def test_without_a_master_agents_kill_what_is_fenced_and_nothing_else(shop):
    await create(shop, "fenced", 2)
    await create(shop, "free", 1)
    await attach(shop, "fenced", {"type": "LIFECYCLE_EVENTS"}, "RECREATE", fencing=["COMPUTE"], fence_after=5)
    fenced, free = await workers(shop, "fenced"), await workers(shop, "free")
    await pause(12)
    assert alive(fenced)
    shop.kill("master")

    async def all_dead():
        return not any(psutil.pid_exists(worker["pid"]) for worker in fenced)

    await shop.until(all_dead, 60, "their end")
    assert alive(free)
    shop.respawn("master")

    async def back():
        try:
            now = await workers(shop, "fenced")
        except Exception:
            return None
        return now if {w["status"] for w in now} == {"RUNNING"} and alive(now) else None

    again = await shop.until(back, 120, "their return")
    assert {worker["pid"] for worker in again}.isdisjoint(worker["pid"] for worker in fenced)
    assert alive(free)
    await delete(shop, "fenced")
    await delete(shop, "free")


@pytest_twisted.ensureDeferred
async def test_a_fenced_worker_has_ended_before_another_one_starts_although_its_agent_was_killed(shop):
    """Nobody starts that agent again; what is not fenced runs on, as it does without any agent."""
    await create(shop, "guarded", 2)
    await create(shop, "loose", 2)
    await attach(shop, "guarded", {"type": "LIFECYCLE_EVENTS"}, "RECREATE", fencing=["COMPUTE"], fence_after=8)

    async def told():
        homes = [UUID(worker["oid"]).hex for worker in await workers(shop, "guarded")]
        return all(list(shop.directory.glob(f"nodes/*/drivers/process/workers/{home}/fence")) for home in homes)

    await shop.until(told, what="leases")
    await pause(1)
    # What an agent says after it was asked is heard after what it had to say before: that it keeps the leases.
    assert (await ended(shop, (await call(shop, "cluster.check_cluster", "guarded"))["oid"]))["status"] == "SUCCEEDED"
    name = (await call(shop, "node.get_node", (await workers(shop, "guarded"))[0]["node_oid"]))["authid"]

    async def of_the_node(cluster: str) -> list[dict]:
        nodes = {
            node: (await call(shop, "node.get_node", node))["authid"] for node in await call(shop, "node.list_nodes")
        }
        return [worker for worker in await workers(shop, cluster) if nodes.get(worker["node_oid"]) == name]

    guarded, loose = await of_the_node("guarded"), await of_the_node("loose")
    assert (len(guarded), len(loose), alive(guarded)) == (1, 1, True)
    shop.kill(name)

    async def replaced():
        now = await workers(shop, "guarded")
        return now if {w["status"] for w in now} == {"RUNNING"} and not await of_the_node("guarded") else None

    now = await shop.until(replaced, 120, "a replacement")
    assert not psutil.pid_exists(guarded[0]["pid"])
    directory = shop.children.node_directory(int(name.removeprefix("node"))) / "drivers" / "process" / "workers"
    _, ended_at, _ = next(directory.glob(f"{UUID(guarded[0]['oid']).hex}/*.ended")).read_text().split()[:3]
    assert int(ended_at) < max(worker["started"] for worker in now)
    assert alive(loose)
    shop.respawn(name)
    await delete(shop, "guarded")
    await delete(shop, "loose")

    async def all_gone():
        return not alive(loose)

    await shop.until(all_gone, 120, "the end of what is no longer wanted")
