"""Clusters of real processes, on the real router, master and agents."""

import json
import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.threads import deferToThread

from controlplane.cli.events import Wait
from controlplane.clock import sleep
from controlplane.errors import ActionHasParent, ControlPlaneError
from controlplane.paths import free_port
from tests.e2e.commands import commands_of, run_commands
from tests.e2e.generic import alive, call, create, define, delete, ended, post, workers
from tests.e2e.installation import Installation, running

ROOT = Path(__file__).parents[2]
LONG = ["sleep", "100000"]


@pytest_twisted.async_yield_fixture(scope="module")
async def shop(tmp_path_factory):
    """Two agents that have the driver for processes alone, and a master with webhooks."""
    made = Installation(tmp_path_factory.mktemp("clusters"))
    made.children.agent_options = ["--drivers", "process"]
    made.webhooks = free_port(0)
    made.children.master_options = ["--webhook-port", str(made.webhooks)]
    async with running(made):
        await define(made, "sleeper", LONG)
        await define(made, "broken", ["no-such-program"])
        yield made


@pytest_twisted.ensureDeferred
async def test_a_killed_process_is_healed_and_nothing_is_left_in_the_end(shop):
    await create(shop, "heal", 4)
    before = await workers(shop, "heal")
    assert alive(before)
    assert len({worker["node_oid"] for worker in before}) == 2
    victim = before[0]
    os.kill(victim["pid"], signal.SIGKILL)

    async def healed():
        now = await workers(shop, "heal")
        return now if all(w["status"] == "RUNNING" for w in now) and now[0]["pid"] != victim["pid"] else None

    after = await shop.until(healed, what="another process")
    assert [worker["oid"] for worker in after] == [worker["oid"] for worker in before]
    assert [worker["pid"] for worker in after[1:]] == [worker["pid"] for worker in before[1:]]
    assert after[0]["restarts"] >= 1
    await delete(shop, "heal")
    assert not any(psutil.pid_exists(worker["pid"]) for worker in after)


@pytest_twisted.ensureDeferred
async def test_a_profile_that_does_not_start_is_rolled_back_and_no_healthy_process_is_touched(shop):
    await create(shop, "roll", 3)
    before = await workers(shop, "roll")
    changed = await call(shop, "cluster.update_cluster", "roll", {"profile": "broken"})
    action = await ended(shop, changed["action_oid"])
    assert action["status"] == "FAILED"
    assert "no-such-program" in action["reason"]
    after = await workers(shop, "roll")
    assert {worker["status"] for worker in after} == {"RUNNING"}
    assert sum(one["pid"] != other["pid"] for one, other in zip(before, after, strict=True)) <= 1
    assert alive(after)
    await delete(shop, "roll")


@pytest_twisted.ensureDeferred
async def test_a_signal_over_http_scales_a_cluster(shop):
    await create(shop, "ring", 1, max_size=5)
    receiver = {"name": "bell", "action": "CLUSTER_SCALE_OUT", "params": {"count": 2}}
    path = (await call(shop, "receiver.create_receiver", "ring", receiver))["webhook_path"]
    answer = json.loads(await deferToThread(post, f"http://127.0.0.1:{shop.webhooks}{path}"))
    assert (await ended(shop, answer["action"]))["status"] == "SUCCEEDED"
    found = await workers(shop, "ring")
    assert len(found) == 3
    assert alive(found)
    await delete(shop, "ring")


@pytest.mark.parametrize("verb", ["create", "scale", "update", "delete"])
@pytest_twisted.ensureDeferred
async def test_an_action_goes_on_when_the_master_is_killed_in_the_middle(shop, verb):
    name = f"kill_{verb}"
    if verb == "create":
        made = await call(shop, "cluster.create_cluster", {"name": name, "profile": "sleeper", "desired": 6})
        action = made["action_oid"]
    else:
        await create(shop, name, 3, steady=0.3)
        match verb:
            case "scale":
                action = (await call(shop, "cluster.scale_out_cluster", name, 3))["oid"]
            case "update":
                await define(shop, "other", ["sleep", "200000"])
                action = (await call(shop, "cluster.update_cluster", name, {"profile": "other"}))["action_oid"]
            case _:
                action = (await call(shop, "cluster.delete_cluster", name))["oid"]
    shop.kill("master")
    shop.respawn("master")
    assert (await ended(shop, action))["status"] == "SUCCEEDED"
    if verb != "delete":
        found = await workers(shop, name)
        assert len(found) == (3 if verb == "update" else 6)
        assert alive(found)
        await delete(shop, name)


@pytest_twisted.ensureDeferred
async def test_workers_stand_apart_when_a_policy_says_so(shop):
    await create(shop, "apart", 2)
    spec = {"type": "affinity", "properties": {"per_node_max": 1}}
    await call(shop, "policy.create_policy", {"name": "one_each", "spec": spec})
    await call(shop, "cluster.attach_policy", "apart", "one_each")
    action = await ended(shop, (await call(shop, "cluster.scale_out_cluster", "apart"))["oid"])
    assert action["status"] == "FAILED"
    assert "policy one_each admits 1 worker on one node" in action["reason"]
    found = await workers(shop, "apart")
    assert len({worker["node_oid"] for worker in found}) == len(found) == 2
    await delete(shop, "apart")


@pytest_twisted.ensureDeferred
async def test_what_becomes_of_each_worker_is_followed_although_the_master_is_killed_in_the_middle(shop):
    await create(shop, "family", 3, steady=3)
    await define(shop, "later", ["sleep", "200000"])
    action = (await call(shop, "cluster.update_cluster", "family", {"profile": "later"}))["action_oid"]

    async def children(**filters) -> dict[str, dict]:
        found = await call(shop, "action.list_actions", {"parent_oid": action, **filters})
        return {child["target"]: child for child in found}

    async def in_the_middle():
        found = await children()
        return found if {"RUNNING", "WAITING"} <= {child["status"] for child in found.values()} else None

    before = await shop.until(in_the_middle, what="a worker that waits for its turn")
    assert before.keys() == {worker["oid"] for worker in await workers(shop, "family")}
    waiting = [child["oid"] for child in before.values() if child["status"] == "WAITING"]
    with pytest.raises(ActionHasParent):
        await call(shop, "action.cancel_action", "family", waiting[-1])
    shop.kill("master")
    shop.respawn("master")
    assert (await ended(shop, waiting[0]))["status"] == "SUCCEEDED"
    for oid in waiting:
        await Wait(oid, "SUCCEEDED", 120).until_reached(shop.admin)
    whole = await ended(shop, action)
    assert (whole["status"], whole["children"]["succeeded"]) == ("SUCCEEDED", 3)
    after = await children(status="SUCCEEDED")
    assert {oid: child["oid"] for oid, child in after.items()} == {oid: child["oid"] for oid, child in before.items()}
    deletion = await call(shop, "cluster.delete_cluster", "family")
    assert (await ended(shop, deletion["oid"]))["children"]["succeeded"] == 3


@pytest_twisted.ensureDeferred
async def test_a_process_alone_joins_and_leaves_with_its_pid_also_when_the_master_is_killed_meanwhile(shop):
    await create(shop, "guild", 1)
    begun = await call(shop, "worker.create_worker", {"name": "guest", "profile": "sleeper"})
    shop.kill("master")
    shop.respawn("master")
    assert (await ended(shop, begun["oid"]))["status"] == "SUCCEEDED"
    alone = await call(shop, "worker.get_worker", "guest")
    assert (alone["alone"], psutil.pid_exists(alone["pid"])) == (True, True)
    joining = await call(shop, "cluster.add_cluster_workers", "guild", ["guest"])
    shop.kill("master")
    shop.respawn("master")
    assert (await ended(shop, joining["oid"]))["status"] == "SUCCEEDED"
    joined = await call(shop, "worker.get_worker", "guest")
    assert (joined["cluster_name"], joined["index"], joined["pid"]) == ("guild", 1, alone["pid"])
    leaving = await call(shop, "cluster.remove_cluster_workers", "guild", [joined["oid"]], destroy=False)
    assert (await ended(shop, leaving["oid"]))["status"] == "SUCCEEDED"
    left = await call(shop, "worker.get_worker", "guest")
    assert (left["alone"], left["oid"], left["pid"]) == (True, alone["oid"], alone["pid"])
    deleting = await call(shop, "worker.delete_worker", "guest")
    assert (await ended(shop, deleting["oid"]))["status"] == "SUCCEEDED"
    assert not psutil.pid_exists(alone["pid"])
    await delete(shop, "guild")


@pytest_twisted.ensureDeferred
async def test_a_process_that_runs_already_is_adopted_and_kept_by_another_agent_and_healed(shop, tmp_path):
    stranger = subprocess.Popen(["sleep", "31536000"], cwd=tmp_path)
    try:
        nodes = await call(shop, "node.list_nodes", return_names=True)
        wish = {"type": "process", "node": nodes[0], "identity": str(stranger.pid), "name": "stranger"}
        shown = await call(shop, "worker.preview_adoption", wish)
        assert shown["spec"]["properties"]["command"] == ["sleep", "31536000"]
        assert shown["spec"]["properties"]["cwd"] == str(tmp_path)
        action = await call(shop, "worker.adopt_worker", wish)
        shop.kill("master")
        shop.respawn("master")
        assert (await ended(shop, action["oid"]))["status"] == "SUCCEEDED"
        adopted = await call(shop, "worker.get_worker", "stranger")
        assert (adopted["pid"], adopted["status"], stranger.poll()) == (stranger.pid, "RUNNING", None)
        with pytest.raises(ControlPlaneError, match="already"):
            await call(shop, "worker.adopt_worker", {**wish, "name": "again"})
        with pytest.raises(ControlPlaneError, match="no pid"):
            await call(shop, "worker.preview_adoption", {**wish, "identity": "no-process"})
        stranger.kill()
        stranger.wait()

        async def healed():
            now = await call(shop, "worker.get_worker", "stranger")
            return now if now["status"] == "RUNNING" and now["pid"] != adopted["pid"] else None

        again = await shop.until(healed, what="another process")
        assert psutil.Process(again["pid"]).cwd() == str(tmp_path)
        assert (await ended(shop, (await call(shop, "worker.delete_worker", "stranger"))["oid"]))[
            "status"
        ] == "SUCCEEDED"
        assert not psutil.pid_exists(again["pid"])
    finally:
        stranger.kill()
        stranger.wait()


@pytest_twisted.ensureDeferred
async def test_another_way_to_be_stopped_reaches_processes_as_they_run(shop):
    await create(shop, "calm", 2, steady=0.1)
    before = {worker["oid"]: worker["pid"] for worker in await workers(shop, "calm")}
    spec = {"type": "process", "properties": {"command": LONG, "stop": {"signal": "SIGINT", "grace": 3}}}
    await call(shop, "profile.create_profile", {"name": "calmer", "spec": spec})
    changed = await call(shop, "cluster.update_cluster", "calm", {"profile": "calmer"})
    assert (await ended(shop, changed["action_oid"]))["status"] == "SUCCEEDED"
    assert {worker["oid"]: worker["pid"] for worker in await workers(shop, "calm")} == before
    assert (await call(shop, "type.get_type", "process-1.0"))["updatable"]
    await delete(shop, "calm")
    assert not any(psutil.pid_exists(pid) for pid in before.values())


@pytest_twisted.ensureDeferred
async def test_a_scaling_takes_processes_that_stand_by_also_when_the_master_is_killed_in_the_middle(shop):
    async def stood():
        """Wait until the cluster is as it is wanted and two stand by; returns pids by oid, of all and of those two."""

        async def full():
            try:
                found = await call(shop, "cluster.get_cluster", "warm")
            except ControlPlaneError:
                return False
            as_wanted = found["workers_by_status"] == {"RUNNING": found["desired"], "STANDBY": 2}
            return as_wanted and found["action_oid"] is None

        await shop.until(full, 120, "two that stand by")
        found = await workers(shop, "warm")
        assert alive(found)
        by_oid = {worker["oid"]: worker["pid"] for worker in found}
        assert len(set(by_oid.values())) == len(found)
        return by_oid, {oid: by_oid[oid] for oid in (worker["oid"] for worker in found if worker["standby"])}

    await create(shop, "warm", 1)
    await call(shop, "policy.create_policy", {"name": "two", "spec": {"type": "standby", "properties": {"size": 2}}})
    await call(shop, "cluster.attach_policy", "warm", "two")
    before, ready = await stood()
    action = await ended(shop, (await call(shop, "cluster.scale_out_cluster", "warm"))["oid"])
    assert action["decisions"][0]["said"] == "of 1 missing worker it takes 1 that stood by ready; 2 stand by"
    (taken,) = action["outputs"]["done"]
    after, ready_then = await stood()
    assert ready[taken] == after[taken]
    assert taken not in ready_then
    assert before.items() <= after.items()

    before, ready = after, ready_then
    action = await call(shop, "cluster.scale_out_cluster", "warm", 2)
    shop.kill("master")  # Others are being started to stand by.
    shop.respawn("master")
    assert (await ended(shop, action["oid"]))["status"] == "SUCCEEDED"
    after, ready_then = await stood()
    assert len(after) == 6
    assert before.items() <= after.items()
    assert not ready.keys() & ready_then.keys()

    before = after
    asked = ensureDeferred(call(shop, "cluster.scale_out_cluster", "warm"))
    asked.addErrback(lambda failure: failure.trap(ControlPlaneError))
    await sleep(reactor, 0.01)
    shop.kill("master")  # Nobody knows whether it was heard.
    shop.respawn("master")
    await asked
    after, _ = await stood()
    assert len(after) in (6, 7)
    assert before.items() <= after.items()
    await delete(shop, "warm")
    assert not any(psutil.pid_exists(pid) for pid in after.values())


def test_every_command_of_the_page_about_clusters_works(tmp_path):
    commands = commands_of(ROOT / "docs" / "clusters.rst")
    assert len(commands) > 20
    said = run_commands(commands, tmp_path)
    assert "shop" in said
