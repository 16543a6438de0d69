"""Clusters of real containers, on a real engine, with the real router, master and agents."""

import json

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from controlplane.paths import free_port
from tests.drivers.engines import IMAGE
from tests.e2e.generic import call, create, define_spec, delete, ended, post, workers
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
