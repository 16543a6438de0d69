"""Operations, logs, hooks and messages with real processes, on the real router, master and agents."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.web.resource import Resource
from twisted.web.server import Site

from controlplane.errors import ControlPlaneError, NotOffered
from tests.e2e.generic import saved_connection
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
    """Two agents that have the driver for processes alone, and a web server that the master may call."""
    made = Installation(tmp_path_factory.mktemp("operations"))
    made.children.agent_options = ["--drivers", "process"]
    made.heard = Hearing()
    listening = reactor.listenTCP(0, Site(made.heard), interface="127.0.0.1")
    made.url = f"http://127.0.0.1:{listening.getHost().port}/hooks"
    made.children.master_options = ["--outgoing", made.url]
    async with running(made):
        properties = {"command": ["python3", "-c", TELLING], "ready": {"check": {"kind": "log", "text": "here"}}}
        spec = {"type": "process", "properties": properties}
        await call(made, "profile.create_profile", {"name": "sleeper", "spec": spec})
        yield made
    await listening.stopListening()


class Hearing(Resource):
    """A web server that is told of workers that are to go."""

    isLeaf = True  # noqa: N815

    def __init__(self):
        super().__init__()
        self.bodies = []
        self.code = 200

    def render_POST(self, request):  # noqa: N802
        self.bodies.append(json.loads(request.content.read()))
        request.setResponseCode(self.code)
        return b"so be it"


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


@pytest_twisted.ensureDeferred
async def test_what_a_process_writes_is_followed_from_the_command_line(shop):
    await create(shop, "talker", 1)
    connection = saved_connection(shop)
    command = [sys.executable, "-m", "controlplane", "logs", "talker-0", "--follow", "--connection", str(connection)]
    out = shop.directory / "followed"
    with out.open("wb") as stream:
        following = subprocess.Popen(command, stdout=stream)
    try:

        async def shown():
            return "here" in out.read_text()

        await shop.until(shown, what="the last lines")
        order = {"signal": "SIGUSR1"}
        action = await call(shop, "worker.perform_worker_operation", "talker-0", "signal", order)
        await ended(shop, action["oid"])

        async def heard():
            return out.read_text().split() == ["here", "rung"]

        await shop.until(heard, what="what is new")
    finally:
        following.terminate()
        following.wait()
    await delete(shop, "talker")


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


async def hook(made: Installation, name: str, hooks: dict) -> None:
    """Have workers of a cluster wait before they go."""
    spec = {"type": "deletion", "version": "1.1", "properties": {"criteria": "OLDEST_FIRST", "hooks": hooks}}
    await call(made, "policy.create_policy", {"name": f"hook_{name}", "spec": spec})
    await call(made, "cluster.attach_policy", name, f"hook_{name}")


async def waiting(made: Installation, action: str) -> list[dict]:
    """Workers that an action waits for; asked also while the master is away."""

    async def found():
        try:
            return (await call(made, "action.get_action", action))["outputs"]["lifecycle"]
        except ControlPlaneError:
            return None

    return await made.until(found, what="a worker that waits")


@pytest_twisted.ensureDeferred
async def test_a_worker_waits_for_the_word_of_a_web_server_also_when_the_master_is_killed(shop):
    await create(shop, "careful", 2)
    await hook(shop, "careful", {"type": "webhook", "timeout": 600, "params": {"url": shop.url + "/bye"}})
    before = await workers(shop, "careful")
    shop.heard.bodies, shop.heard.code = [], 503
    action = (await call(shop, "cluster.scale_in_cluster", "careful"))["oid"]
    await waiting(shop, action)

    async def told():
        return shop.heard.bodies

    await shop.until(told, what="the first call")
    shop.kill("master")
    shop.heard.code = 200
    shop.respawn("master")

    async def answered():
        return all(each["told"] for each in await waiting(shop, action))

    await shop.until(answered, what="a call that is answered well")
    body = shop.heard.bodies[-1]
    assert body["cluster_name"] == "careful"
    assert body["lifecycle_transition_type"] == "termination"
    assert all(psutil.pid_exists(worker["pid"]) for worker in before)
    leaving = next(worker for worker in before if worker["oid"] == body["worker_oid"])
    await call(shop, "cluster.complete_lifecycle", "careful", body["lifecycle_action_token"])
    found = await ended(shop, action)
    assert (found["status"], found["outputs"]["removed"]) == ("SUCCEEDED", [leaving["oid"]])
    assert not psutil.pid_exists(leaving["pid"])
    await delete(shop, "careful")


@pytest_twisted.ensureDeferred
async def test_a_worker_goes_when_nobody_says_anything(shop):
    await create(shop, "hasty", 2)
    await hook(shop, "hasty", {"type": "event", "timeout": 1})
    action = (await call(shop, "cluster.scale_in_cluster", "hasty"))["oid"]
    assert (await ended(shop, action))["status"] == "SUCCEEDED"
    assert len(await workers(shop, "hasty")) == 1
    told = [payload for topic, payload in shop.events if topic == "controlplane.worker.on_worker_leaving"]
    assert told[-1]["cluster_name"] == "hasty"
    assert (await call(shop, "cluster.complete_lifecycle", "hasty", told[-1]["lifecycle_action_token"]))[
        "worker_oid"
    ] is None
    await delete(shop, "hasty")


@pytest_twisted.ensureDeferred
async def test_a_master_calls_nobody_that_its_operator_has_not_named(shop):
    await create(shop, "shy", 1)
    url = shop.url.replace("/hooks", "/other")
    with pytest.raises(NotOffered, match="setting outgoing"):
        await hook(shop, "shy", {"type": "webhook", "params": {"url": url}})
    await delete(shop, "shy")


@pytest_twisted.ensureDeferred
async def test_a_message_scales_a_cluster_once(shop):
    await create(shop, "posted", 1)
    receiver = {"name": "post", "type": "message", "action": "CLUSTER_SCALE_OUT", "params": {"count": 2}}
    token = (await call(shop, "receiver.create_receiver", "posted", receiver))["token"]
    first, again = [await call(shop, "receiver.send_message", "post", "m1", token=token) for _ in range(2)]
    assert first["oid"] == again["oid"]
    assert (await ended(shop, first["oid"]))["status"] == "SUCCEEDED"
    assert len(await workers(shop, "posted")) == 3
    await delete(shop, "posted")
