"""Clusters of real containers, on a real engine, with the real router, master and agents."""

import json
import subprocess
import sys

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from controlplane.paths import free_port
from tests.drivers.engines import IMAGE
from tests.e2e.generic import call, create, define_spec, delete, ended, post, saved_connection, workers
from tests.e2e.installation import Installation, running

PAGE = {
    "image": IMAGE,
    "pull": "never",
    "network": "host",
    "command": ["httpd", "-f", "-p", "{address}:{port:web}", "-h", "/www"],
    "ports": {"web": {"scheme": "http"}},
    "ready": {"check": {"kind": "http", "port": "web"}},
    "stop": {"signal": "SIGKILL"},
}
"""Serves a page."""

PROFILES = {
    "sleeper": PAGE,
    "calmer": {**PAGE, "env": {"CALM": "yes"}},
    "missing": {**PAGE, "image": "controlplane-no-such-image:1"},
    "talker": {
        **PAGE,
        "command": [
            "sh",
            "-c",
            "trap 'echo rung' USR1; echo here; httpd -f -p {address}:{port:web} -h /www & while :; do wait; done",
        ],
    },
    "dying": {**PAGE, "command": ["sh", "-c", "echo no luck today; exit 3"]},
}


@pytest_twisted.async_yield_fixture(scope="module")
async def dock(tmp_path_factory, engine):
    """Two nodes that share an engine, as two agents on one machine do, and a master with webhooks."""
    made = Installation(tmp_path_factory.mktemp("containers"))
    made.children.agent_options = ["--drivers", "container", "--engine", engine.url]
    made.webhooks = free_port(0)
    made.children.master_options = ["--webhook-port", str(made.webhooks)]
    made.engine = engine.client()
    async with running(made):
        for name, properties in PROFILES.items():
            await define_spec(made, name, {"type": "container", "properties": properties})
        yield made
    assert made.engine.containers(all=True) == [], "containers are left"


def containers(made: Installation, found: list[dict]) -> list[dict]:
    """What the engine says of the containers of workers; each has exactly one."""
    each = [made.engine.containers(filters={"label": f"io.controlplane.worker={w['oid']}"}) for w in found]
    assert [len(of_worker) for of_worker in each] == [1] * len(found)
    return [of_worker[0] for of_worker in each]


async def pages(found: list[dict]) -> None:
    """Fetch the page of every worker from where it says that it is."""
    for worker in found:
        url = next(address["url"] for address in worker["addresses"] if address["type"] == "web")
        assert await deferToThread(fetch, url) == b"hi\n"


def fetch(url: str) -> bytes:
    from urllib.request import urlopen

    with urlopen(url, timeout=10) as answer:
        return answer.read()


@pytest_twisted.ensureDeferred
async def test_a_signal_adds_containers_and_one_that_is_killed_is_healed(dock):
    await create(dock, "site", 1, max_size=5)
    receiver = {"name": "bell", "action": "CLUSTER_SCALE_OUT", "params": {"count": 2}}
    path = (await call(dock, "receiver.create_receiver", "site", receiver))["webhook_path"]
    answer = json.loads(await deferToThread(post, f"http://127.0.0.1:{dock.webhooks}{path}"))
    assert (await ended(dock, answer["action"]))["status"] == "SUCCEEDED"
    before = await workers(dock, "site")
    assert len(before) == 3
    assert len({worker["node_oid"] for worker in before}) == 2
    await pages(before)
    was = containers(dock, before)
    dock.engine.kill(was[0]["Id"])

    async def healed():
        now = await workers(dock, "site")
        running_again = all(worker["status"] == "RUNNING" for worker in now) and now[0]["pid"] != before[0]["pid"]
        return now if running_again else None

    after = await dock.until(healed, what="another container")
    assert [worker["oid"] for worker in after] == [worker["oid"] for worker in before]
    now = containers(dock, after)
    assert [each["Id"] for each in now[1:]] == [each["Id"] for each in was[1:]], "a healthy container was touched"
    await pages(after)
    await delete(dock, "site")


@pytest.mark.parametrize(("profile", "reason"), [("missing", "controlplane-no-such-image"), ("dying", "no luck today")])
@pytest_twisted.ensureDeferred
async def test_an_image_that_fails_is_rolled_back_and_what_serves_goes_on(dock, profile, reason):
    await create(dock, "roll", 3, steady=0.2)
    before = containers(dock, await workers(dock, "roll"))
    changed = await call(dock, "cluster.update_cluster", "roll", {"profile": profile})
    action = await ended(dock, changed["action_oid"])
    assert action["status"] == "FAILED"
    assert reason in action["reason"]
    assert action["outputs"]["undone"]
    after = await workers(dock, "roll")
    assert {worker["status"] for worker in after} == {"RUNNING"}
    same = [one["Id"] == other["Id"] for one, other in zip(before, containers(dock, after), strict=True)]
    assert same.count(False) <= 1, "more containers than one batch were touched"
    await pages(after)
    await delete(dock, "roll")


@pytest_twisted.ensureDeferred
async def test_containers_stand_apart_when_a_policy_says_so(dock):
    spec = {"type": "affinity", "properties": {"per_node_max": 1}}
    await call(dock, "policy.create_policy", {"name": "one_each", "spec": spec})
    await create(dock, "apart", 1)
    await call(dock, "cluster.attach_policy", "apart", "one_each")
    action = await ended(dock, (await call(dock, "cluster.scale_out_cluster", "apart"))["oid"])
    assert action["status"] == "SUCCEEDED"
    action = await ended(dock, (await call(dock, "cluster.scale_out_cluster", "apart"))["oid"])
    assert action["status"] == "FAILED"
    found = await workers(dock, "apart")
    assert len({worker["node_oid"] for worker in found}) == len(found) == len(containers(dock, found)) == 2
    await delete(dock, "apart")


async def operate(made: Installation, worker: dict, operation: str, parameters: dict | None = None) -> dict:
    """Have a worker do something; returns what came of it."""
    action = await call(made, "worker.perform_worker_operation", worker["name"], operation, parameters or {})
    over = await ended(made, action["oid"])
    (result,) = await call(made, "cluster.list_operation_results", worker["cluster_oid"], action["oid"])
    assert (over["status"] == "SUCCEEDED", over["action"]) == (result["status"] == "DONE", "WORKER_OPERATION")
    return result


async def written(made: Installation, worker: dict, text: str) -> None:
    """Wait until a worker has written something."""

    async def found():
        return text in (await call(made, "worker.get_worker_logs", worker["oid"]))["text"].split()

    await made.until(found, what=f"{text!r} in its logs")


async def show_logs(made: Installation, worker: dict) -> str:
    """What the command line shows of what a worker has written."""
    command = [
        sys.executable,
        "-m",
        "controlplane",
        "logs",
        worker["name"],
        "--connection",
        str(saved_connection(made)),
    ]
    return await deferToThread(subprocess.check_output, command, text=True, timeout=60)


@pytest_twisted.ensureDeferred
async def test_a_container_is_told_and_looked_into_through_the_master(dock):
    made = await call(dock, "cluster.create_cluster", {"name": "talk", "profile": "talker", "desired": 2})
    assert (await ended(dock, made["action_oid"]))["status"] == "SUCCEEDED"
    one, other = [await call(dock, "worker.get_worker", each["oid"]) for each in await workers(dock, "talk")]
    was, kept = containers(dock, [one, other])

    # What it writes, before and after it was told something.
    await written(dock, one, "here")
    await operate(dock, one, "signal", {"signal": "SIGUSR1"})
    await written(dock, one, "rung")
    assert (await show_logs(dock, one)).split() == ["here", "rung"]
    assert (await show_logs(dock, other)).split() == ["here"]

    # What is run inside.
    inside = await operate(dock, one, "exec", {"command": ["sh", "-c", "echo inside; exit 3"]})
    assert (inside["status"], inside["result"]["code"], inside["result"]["output"]) == ("DONE", 3, "inside\n")
    missing = await operate(dock, one, "exec", {"command": ["no-such-program"]})
    assert missing["status"] == "FAILED" or missing["result"]["code"] in (126, 127)

    # Held, and let go.
    await operate(dock, one, "pause")
    found = await call(dock, "worker.get_worker", one["oid"])
    assert (found["paused"], found["status"], found["pid"]) == (True, "RUNNING", one["pid"])
    assert dock.engine.inspect_container(was["Id"])["State"]["Paused"]
    checked = await ended(dock, (await call(dock, "cluster.check_cluster", "talk"))["oid"])
    assert sorted(checked["outputs"]["done"]) == sorted([one["oid"], other["oid"]])
    assert (await operate(dock, one, "exec", {"command": ["true"]}))["status"] == "FAILED"
    await operate(dock, one, "resume")
    assert (await call(dock, "worker.get_worker", one["oid"]))["paused"] is False
    await pages([one])

    # Another container in its place; nobody else is touched.
    result = await operate(dock, one, "restart")
    after = await call(dock, "worker.get_worker", one["oid"])
    assert (after["status"], after["pid"]) == ("RUNNING", result["result"]["pid"])
    now = containers(dock, [one, other])
    assert (now[0]["Id"] != was["Id"], now[1]["Id"] == kept["Id"]) == (True, True)
    await pages([after])
    await delete(dock, "talk")


@pytest_twisted.ensureDeferred
async def test_a_container_alone_is_told_and_what_it_wrote_outlives_its_agent(dock):
    action = await call(dock, "worker.create_worker", {"name": "hermit", "profile": "talker"})
    assert (await ended(dock, action["oid"]))["status"] == "SUCCEEDED"
    hermit = await call(dock, "worker.get_worker", "hermit")
    await written(dock, hermit, "here")
    name = (await call(dock, "node.get_node", hermit["node_oid"]))["authid"]

    async def is_status(status: str) -> bool:
        return (await call(dock, "node.get_node", hermit["node_oid"]))["status"] == status

    dock.kill(name)
    await dock.until(lambda: is_status("offline"), what="its silence")
    dock.respawn(name)
    await dock.until(lambda: is_status("online"), what="its agent")
    found = await call(dock, "worker.get_worker", "hermit")
    assert (found["status"], found["pid"]) == ("RUNNING", hermit["pid"])
    action = await call(dock, "worker.perform_worker_operation", "hermit", "signal", {"signal": "SIGUSR1"})
    assert (await ended(dock, action["oid"]))["status"] == "SUCCEEDED"
    await written(dock, hermit, "rung")
    assert (await show_logs(dock, hermit)).split() == ["here", "rung"]
    action = await call(dock, "worker.delete_worker", "hermit")
    assert (await ended(dock, action["oid"]))["status"] == "SUCCEEDED"


async def begin_update(made: Installation, name: str) -> str:
    return (await call(made, "cluster.update_cluster", name, {"profile": "calmer"}))["action_oid"]


async def begin_resize(made: Installation, name: str) -> str:
    return (await call(made, "cluster.resize_cluster", name, "EXACT_CAPACITY", number=4))["oid"]


async def begin_scale_in(made: Installation, name: str) -> str:
    return (await call(made, "cluster.scale_in_cluster", name))["oid"]


async def begin_replace(made: Installation, name: str) -> str:
    oids = [worker["oid"] for worker in await workers(made, name)]
    return (await call(made, "cluster.replace_cluster_workers", name, oids[:1]))["oid"]


async def begin_removal(made: Installation, name: str) -> str:
    oids = [worker["oid"] for worker in await workers(made, name)]
    return (await call(made, "cluster.remove_cluster_workers", name, oids[:1]))["oid"]


async def begin_recovery(made: Installation, name: str) -> str:
    return (await call(made, "cluster.recover_cluster", name))["oid"]


@pytest.mark.parametrize(
    ("begin", "left"),
    [
        (begin_update, 2),
        (begin_resize, 4),
        (begin_scale_in, 1),
        (begin_replace, 2),
        (begin_removal, 1),
        (begin_recovery, 2),
    ],
)
@pytest_twisted.ensureDeferred
async def test_an_action_on_containers_goes_on_when_the_master_is_killed_in_the_middle(dock, begin, left):
    await create(dock, "killed", 2, steady=0.2)
    action = await begin(dock, "killed")
    dock.kill("master")
    dock.respawn("master")
    assert (await ended(dock, action))["status"] == "SUCCEEDED"
    found = await workers(dock, "killed")
    assert len(found) == left
    assert len(containers(dock, found)) == left
    await pages(found)
    await delete(dock, "killed")
