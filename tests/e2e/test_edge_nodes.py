"""Unmodified edge nodes of Crossbar.io under our master: paired, carrying workers, failing, and coming back.

The `crossbar` that is run comes from PyPI, in an environment of its own.
"""

import os
import signal
import stat

import pytest
import pytest_twisted
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import RegisterOptions
from twisted.internet import reactor

from controlplane.errors import NoSuchObject
from controlplane.keys import make_key
from controlplane.transports import Login
from controlplane.wamp import join_once
from tests.e2e.installation import Client, Installation, end_what_is_left, url_of
from tests.e2e.upstream import EdgeNode

ensureDeferred = pytest_twisted.ensureDeferred
MREALM = "crossbarfabriccenter.mrealm."
HEARTBEATS = '"fabric": {"heartbeat": {"startup_delay": 1, "heartbeat_period": 1}}'


@pytest_twisted.async_yield_fixture(scope="module")
async def plane(tmp_path_factory):
    """Router and master without any agent, and a folder in which nodes are paired."""
    directory = tmp_path_factory.mktemp("dropin")
    folder = directory / "nodes"
    folder.mkdir(mode=0o755)
    os.environ["CROSSBAR_WATCH_TO_PAIR"] = str(folder)
    made = Installation(directory / "p", nodes=0)
    made.folder = folder
    made.told = []
    try:
        await made.start()
        await listen(made)
        yield made
    finally:
        del os.environ["CROSSBAR_WATCH_TO_PAIR"]
        made.stop()
        end_what_is_left(directory)


async def listen(plane):
    """Hear Crossbar.io's events of nodes."""
    nodes = [MREALM + topic for topic in ("on_node_ready", "on_node_shutdown", "on_node_paired")]
    heartbeats = ["crossbarfabriccenter.node." + topic for topic in ("on_heartbeat", "on_worker_heartbeat")]
    for topic in nodes + heartbeats:
        await plane.admin.subscribe(topic, lambda told, *args: plane.told.append((told.rpartition(".")[2], *args)))


@pytest_twisted.async_yield_fixture(scope="module")
async def edge(plane, crossbar, tmp_path_factory):
    """A node that was paired by its key and carries the cluster `shop`."""
    node = EdgeNode(crossbar, tmp_path_factory.mktemp("edge"), plane.login().url)
    (node.cbdir / "config.json").write_text(f'{{"version": 2, "controller": {{{HEARTBEATS}}}, "workers": []}}')
    try:
        node.start()

        async def has_key():
            return node.pubkey()

        key = await plane.until(has_key, what="a key")
        found = await plane.call(MREALM + "pair_node", key, "default", "edge1", {"cluster_ip": "127.0.0.1"})
        node.oid = found["oid"]
        await status(plane, node.oid, "online")
        node.cluster, node.group = await plane.cluster("shop", 2, nodes=[node.oid])
        yield node
    finally:
        node.stop()


async def status(plane, oid, wanted):
    async def reached():
        return (await plane.call("controlplane.node.get_node", oid))["status"] == wanted

    await plane.until(reached, what=f"node {wanted}")


async def serving(plane, edge, count, but=()):
    """All workers run, none of them in one of these processes; returns them."""

    async def reached():
        try:
            workers = await plane.workers(edge.cluster)
        except NoSuchObject:
            return None  # One of them has just been removed.
        good = [w for w in workers if w["status"] == "RUNNING" and w["pid"] not in but]
        return good if len(good) == len(workers) == count else None

    workers = await plane.until(reached, what="serving")
    client = await Client(url_of(next(w for w in workers if w["workergroup_oid"])), "shop").join()
    other = await Client(url_of(next(w for w in workers if w["workergroup_oid"])), "shop").join()
    await client.register("app.double", lambda x: 2 * x, force_reregister=True)
    assert await other.call("app.double", 21) == 42
    client.leave()
    other.leave()
    return workers


@ensureDeferred
async def test_an_unmodified_node_is_paired_by_its_key_and_carries_workers(plane, edge):
    found = await plane.call("controlplane.node.get_node_by_name", "edge1")
    assert (found["status"], found["drivers"], found["workers"]) == ("online", ["router"], 3)
    assert "Crossbar.io 26" in found["version"]
    workers = await serving(plane, edge, 3)
    assert {w["node_oid"] for w in workers} == {edge.oid}
    assert {w["pid"] for w in workers} <= {process.pid for process in edge.workers()}
    # Nothing of this program is in them: they are Crossbar.io's own.
    libraries = str(edge.crossbar.parents[1] / "lib")
    for process in edge.workers():
        assert any(each.path.startswith(libraries) for each in process.memory_maps())
    assert ("on_node_ready", edge.oid) in [told[:2] for told in plane.told]
    statistics = await plane.call("stat_routercluster", edge.cluster)
    assert statistics["silent"] == []
    assert statistics["realms"][0]["realm"] == "shop"


@ensureDeferred
async def test_the_sockets_between_its_workers_are_for_its_user_alone(plane, edge):
    (socket,) = edge.cbdir.rglob("*.sock")
    assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700


@ensureDeferred
async def test_its_heartbeats_are_seen(plane, edge):
    async def beaten():
        found = await plane.call(MREALM + "get_node", edge.oid)
        return found if (found["heartbeat"] or 0) > 1 and found["workers"].get("proxy") == 2 else None

    found = await plane.until(beaten, what="a heartbeat")
    assert found["workers"] == {"controller": 1, "router": 1, "proxy": 2}
    assert found["system"]["memory"]["total"] > 0
    assert any(told[:2] == ("on_worker_heartbeat", "edge1") for told in plane.told)


@ensureDeferred
async def test_it_scales_like_any_other_node(plane, edge):
    await plane.call("scale_routercluster_workergroup", edge.cluster, edge.group, 3)
    await serving(plane, edge, 4)
    await plane.call("scale_routercluster_workergroup", edge.cluster, edge.group, 2)
    await serving(plane, edge, 3)


@ensureDeferred
async def test_workers_that_die_or_hang_are_replaced(plane, edge):
    before = await plane.workers(edge.cluster)
    router = next(w for w in before if w["workergroup_oid"] is None)
    proxy = next(w for w in before if w["workergroup_oid"])
    os.kill(router["pid"], signal.SIGKILL)
    os.kill(proxy["pid"], signal.SIGSTOP)
    await serving(plane, edge, 3, but={router["pid"], proxy["pid"]})


@ensureDeferred
async def test_a_master_that_comes_back_adopts_what_runs(plane, edge):
    before = {w["oid"]: w["pid"] for w in await serving(plane, edge, 3)}
    plane.kill("master")
    plane.respawn("master")
    plane.admin.leave()
    await plane.connect()
    await listen(plane)
    await status(plane, edge.oid, "online")
    after = {w["oid"]: w["pid"] for w in await serving(plane, edge, 3)}
    assert after == before

    async def alone():
        return sorted(process.pid for process in edge.workers()) == sorted(before.values())

    # The helper that made the directory for sockets was told to stop and may take a moment.
    await plane.until(alone, what="nobody else on the node")


@ensureDeferred
async def test_a_node_that_vanishes_is_noticed_and_carries_its_workers_again_when_it_is_back(plane, edge):
    before = {w["pid"] for w in await plane.workers(edge.cluster)}
    edge.kill()
    await status(plane, edge.oid, "offline")
    shown = next(told for told in reversed(plane.told) if told[0] == "on_node_shutdown")
    assert (shown[1], shown[2]["authid"], shown[2]["status"]) == (edge.oid, "edge1", "offline")
    edge.start()
    await status(plane, edge.oid, "online")
    await serving(plane, edge, 3, but=before)


@ensureDeferred
async def test_a_node_that_hangs_is_noticed(plane, edge):
    edge.process.send_signal(signal.SIGSTOP)
    try:
        await status(plane, edge.oid, "offline")
    finally:
        edge.process.send_signal(signal.SIGCONT)
    await status(plane, edge.oid, "online")
    await serving(plane, edge, 3)


@ensureDeferred
async def test_a_key_of_a_node_opens_nothing_but_this_node(plane, edge, tmp_path):
    key = make_key(tmp_path / "thief.key")
    other = await plane.call(MREALM + "pair_node", key.public_key(), "default", "edge")
    login = Login(url=plane.login().url, realm="default", authrole="node")
    thief = await join_once(reactor, login, key)
    for uri in ("crossbarfabriccenter.node.edge1.get_status", MREALM + "get_status", "app.own"):
        for options in (RegisterOptions(force_reregister=True), RegisterOptions(match="prefix")):
            with pytest.raises(ApplicationError, match="not_authorized"):
                await thief._inner.register(lambda: None, uri, options)
    for uri in ("controlplane.node.list_nodes", "crossbarfabriccenter.node.edge1.get_workers"):
        with pytest.raises(ApplicationError, match="not_authorized"):
            await thief._inner.call(uri)
    with pytest.raises(ApplicationError, match="not_authorized"):
        await thief._inner.subscribe(lambda *_: None, "crossbarfabriccenter.node.on_heartbeat")
    before = await plane.call(MREALM + "get_node", edge.oid)
    thief.publish("crossbarfabriccenter.node.on_heartbeat", "edge1", {"seq": 10**9, "workers": {}})
    assert (await plane.call(MREALM + "get_node", edge.oid))["heartbeat"] < 10**9
    assert before["status"] == "online"
    # Administrators look through the master, which asks for their rights, and not at the node itself.
    with pytest.raises(ApplicationError, match="not_authorized"):
        await plane.admin._inner.call("crossbarfabriccenter.node.edge1.get_workers")
    await plane.call(MREALM + "unpair_node", other["oid"])
    thief.leave()


@ensureDeferred
async def test_a_node_in_the_folder_is_paired_and_told_its_master(plane, crossbar):
    settings = {"CROSSBAR_NODE_ID": "found", "CROSSBAR_NODE_CLUSTER_IP": "127.0.0.1"}
    node = EdgeNode(crossbar, plane.folder / "found", **settings).start()
    try:
        activation = node.cbdir / "key.activate"

        async def activated():
            return activation.exists() and not node.running()

        await plane.until(activated, what="an activation after which the node ends")
        assert f"management-url: {plane.login().url}" in activation.read_text()
        node.start()
        found = await plane.call("controlplane.node.get_node_by_name", "found")
        await status(plane, found["oid"], "online")
        assert (await plane.call(MREALM + "get_node", found["oid"]))["cluster_ip"] == "127.0.0.1"
        paired = [told[1]["authid"] for told in plane.told if told[0] == "on_node_paired"]
        assert "found" in paired
        await plane.call(MREALM + "unpair_node_by_pubkey", node.pubkey())
    finally:
        node.stop()


@ensureDeferred
async def test_it_is_stopped_and_emptied_like_any_other_node(plane, edge):
    await plane.remove(edge.cluster)
    assert edge.workers() == []
    assert (await plane.call("controlplane.node.get_node", edge.oid))["workers"] == 0
