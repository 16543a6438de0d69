"""The main job, on real parts: a router cluster whose workers are real, seen by real WAMP clients."""

import os
import signal

import pytest
import pytest_twisted
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import CallOptions, RegisterOptions, SubscribeOptions
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from controlplane.clock import sleep
from controlplane.errors import ControlPlaneError, NotAuthorized, UnknownKey
from controlplane.keys import make_key
from controlplane.transports import Login
from controlplane.wamp import join_once
from tests.e2e.installation import Client, processes_of, url_of

ensureDeferred = pytest_twisted.ensureDeferred
CONSOLES_AT_ONCE_MAX = 100
"""To so many subscribers Crossbar.io sends an event in one go, unless it is told otherwise."""


async def two_clients(installation, cluster, realm):
    """Clients at workers on two different nodes, if there are two."""
    frontends = await installation.frontends(cluster)
    first = frontends[0]
    other = next((w for w in frontends if w["node_oid"] != first["node_oid"]), frontends[-1])
    return await Client(url_of(first), realm).join(), await Client(url_of(other), realm).join()


@ensureDeferred
async def test_clients_of_different_workers_and_nodes_meet_with_full_wamp_semantics(installation):
    cluster, _ = await installation.cluster("meet", 4)
    workers = await installation.workers(cluster)
    assert [w["status"] for w in workers] == ["RUNNING"] * 5
    assert len({w["node_oid"] for w in workers if w["workergroup_oid"]}) == 2
    assert all(w["realms"] == ["meet"] for w in workers)
    callee, caller = await two_clients(installation, cluster, "meet")

    await callee.register("app.add", lambda a, b=0: a + b)
    assert await caller.call("app.add", 2, b=3) == 5

    def refuse(*args, **kwargs):
        raise ApplicationError("app.error.refused", "no", *args, **kwargs)

    await callee.register("app.refuse", refuse)
    with pytest.raises(ApplicationError) as caught:
        await caller.call("app.refuse", 1, why="because")
    assert (caught.value.error, caught.value.args, caught.value.kwargs) == (
        "app.error.refused",
        ("no", 1),
        {"why": "because"},
    )

    async def count(details=None):
        for number in range(3):
            details.progress(number)
            await sleep(reactor, 0.01)
        return "done"

    await callee.register("app.count", count, details_arg="details")
    seen = []
    assert await caller.wamp.call("app.count", options=CallOptions(on_progress=seen.append)) == "done"
    assert seen == [0, 1, 2]

    interrupted = Deferred()

    def endless():
        return Deferred(lambda _: interrupted.callback(True))

    await callee.register("app.endless", endless)
    waiting = caller.wamp.call("app.endless")
    await sleep(reactor, 0.2)
    waiting.addErrback(lambda _: None)
    waiting.cancel()
    assert await interrupted

    await callee.register("app.any.", lambda: "by prefix", match="prefix")
    assert await caller.call("app.any.thing") == "by prefix"

    await callee.register("app.shared", lambda: "callee", invoke="roundrobin")
    await caller.register("app.shared", lambda: "caller", invoke="roundrobin")
    assert sorted([await caller.call("app.shared") for _ in range(4)]) == ["callee", "callee", "caller", "caller"]

    heard = []
    await callee.subscribe("app.topic.", lambda *args: heard.append(args), match="prefix")
    await caller.publish("app.topic.news", 1, "two")
    await sleep(reactor, 0.2)
    assert heard == [(1, "two")]
    callee.leave()
    caller.leave()
    await installation.remove(cluster)


@ensureDeferred
async def test_a_worker_killed_with_9_comes_back_and_serves(installation):
    cluster, _ = await installation.cluster("heal", 2)
    frontend = (await installation.frontends(cluster))[0]
    os.kill(frontend["pid"], signal.SIGKILL)

    async def back():
        now = await installation.call("get_routercluster_worker", cluster, frontend["oid"])
        return now["status"] == "RUNNING" and now["pid"] != frontend["pid"] and now

    now = await installation.until(back)
    assert now["restarts"] == 1
    assert now["addresses"] == frontend["addresses"]

    router = next(w for w in await installation.workers(cluster) if w["workergroup_oid"] is None)
    os.kill(router["pid"], signal.SIGKILL)
    await installation.until_status(cluster, "DEGRADED", 10)
    await installation.until_status(cluster, "RUNNING")
    callee, caller = await two_clients(installation, cluster, "heal")
    await callee.register("app.ping", lambda: "pong")
    assert await caller.call("app.ping") == "pong"
    callee.leave()
    caller.leave()
    topics = [
        topic.rpartition(".on_")[2] for topic, payload in installation.events if payload.get("oid") == frontend["oid"]
    ]
    assert topics == ["worker_created", "worker_started", "worker_failed", "worker_started"]
    await installation.remove(cluster)


@ensureDeferred
async def test_an_agent_killed_with_9_adopts_what_runs_when_it_is_back(installation):
    cluster, _ = await installation.cluster("adopt", 4)
    before = {w["oid"]: (w["pid"], w["started"]) for w in await installation.workers(cluster)}
    callee, caller = await two_clients(installation, cluster, "adopt")
    await callee.register("app.ping", lambda: "pong")
    installation.kill("node1")
    await installation.until_status(cluster, "DEGRADED", 10)
    assert await caller.call("app.ping") == "pong"
    installation.respawn("node1")
    await installation.until_status(cluster, "RUNNING")
    assert {w["oid"]: (w["pid"], w["started"]) for w in await installation.workers(cluster)} == before
    assert await caller.call("app.ping") == "pong"
    callee.leave()
    caller.leave()
    await installation.remove(cluster)


@ensureDeferred
async def test_a_master_killed_with_9_in_the_middle_of_a_scale_up_finishes_it(installation):
    cluster, group = await installation.cluster("crash", 1)
    before = {w["oid"]: w["pid"] for w in await installation.workers(cluster)}
    await installation.call("scale_routercluster_workergroup", cluster, group, 4)
    installation.kill("master")
    with pytest.raises(ControlPlaneError):
        await installation.call("get_routercluster", cluster)
    installation.respawn("master")

    async def grown():
        try:
            workers = await installation.workers(cluster)
        except ControlPlaneError:
            return None
        return len(workers) == 5 and all(w["status"] == "RUNNING" for w in workers) and workers

    workers = await installation.until(grown)
    assert before.items() <= {w["oid"]: w["pid"] for w in workers}.items()
    await installation.remove(cluster)


@ensureDeferred
async def test_two_clusters_on_the_same_nodes_do_not_meet(installation):
    first, _ = await installation.cluster("first", 1)
    second, _ = await installation.cluster("second", 1)
    one, two = (await installation.frontends(first))[0], (await installation.frontends(second))[0]
    callee = await Client(url_of(one), "first").join()
    await callee.register("app.who", lambda: "first")
    other = await Client(url_of(two), "second").join()
    with pytest.raises(ApplicationError, match="no_such_procedure"):
        await other.call("app.who")
    with pytest.raises(ControlPlaneError):
        await Client(url_of(two), "first").join(0)
    callee.leave()
    other.leave()
    await installation.remove(first)
    await installation.remove(second)


@ensureDeferred
async def test_a_configuration_is_used_and_can_be_changed_while_running(installation):
    def config(ticket):
        return {
            "realms": [
                {
                    "name": "office",
                    "roles": [
                        {
                            "name": "staff",
                            "permissions": [
                                {
                                    "uri": "",
                                    "match": "prefix",
                                    "allow": {"call": True, "register": True, "publish": True, "subscribe": True},
                                }
                            ],
                        }
                    ],
                }
            ],
            "transport": {
                "type": "websocket",
                "auth": {"ticket": {"type": "static", "principals": {"joe": {"ticket": ticket, "role": "staff"}}}},
            },
        }

    cluster, _ = await installation.cluster("secure", 2, config=config("sesame"))
    url = url_of((await installation.frontends(cluster))[0])
    with pytest.raises(ControlPlaneError):
        await Client(url, "office").join(0)
    assert await joins_with_ticket(url, "office", "joe", "sesame")
    assert not await joins_with_ticket(url, "office", "joe", "wrong")
    before = {w["oid"]: w["pid"] for w in await installation.workers(cluster)}
    await installation.call("update_routercluster", cluster, {"config": config("open")})

    async def replaced():
        now = {w["oid"]: w["pid"] for w in await installation.frontends(cluster)}
        return all(before[oid] != pid for oid, pid in now.items()) and all(now.values())

    await installation.until(replaced)
    await installation.until_status(cluster, "RUNNING")
    assert await joins_with_ticket(url, "office", "joe", "open")
    assert not await joins_with_ticket(url, "office", "joe", "sesame")
    await installation.remove(cluster)


async def joins_with_ticket(url, realm, authid, ticket):
    from autobahn.twisted.component import Component

    outcome = Deferred()
    component = Component(
        transports=[{"type": "websocket", "url": url, "serializers": ["cbor"], "max_retries": 0}],
        realm=realm,
        authentication={"ticket": {"authid": authid, "ticket": ticket}},
    )

    @component.on_join
    def joined(session, details):
        session.leave()
        if not outcome.called:
            outcome.callback(True)

    component.start(reactor).addErrback(lambda _: outcome.called or outcome.callback(False))
    return await outcome


@ensureDeferred
async def test_statistics_are_real(installation):
    cluster, group = await installation.cluster("count", 2)
    client = await Client(url_of((await installation.frontends(cluster))[0]), "count").join()
    await client.register("app.ping", lambda: "pong")
    for _ in range(10):
        await client.call("app.ping")
    found = await installation.call("stat_routercluster", cluster)
    assert found["workers_by_status"] == {"RUNNING": 3}
    assert sum(sum(counts.values()) for counts in found["workers_by_node"].values()) == 3
    assert found["silent"] == []
    (realm,) = found["realms"]
    assert realm["realm"] == "count"
    assert realm["sessions"] >= 1
    assert realm["messages"]["received"]["call"] >= 10
    assert realm["messages"]["sent"]["result"] >= 10
    of_group = await installation.call("stat_routercluster_workergroup", cluster, group)
    assert of_group["workers_by_status"] == {"RUNNING": 2}
    client.leave()
    await installation.remove(cluster)


@ensureDeferred
async def test_an_unknown_key_is_refused_with_a_clear_error(installation, tmp_path):
    key = make_key(tmp_path / "stranger.key")
    login = Login(url=installation.login().url, realm="default")
    with pytest.raises(UnknownKey, match="nobody has the public key"):
        await join_once(reactor, login, key)


@ensureDeferred
async def test_an_agents_key_opens_nothing_but_its_own_node(installation, tmp_path):
    key = make_key(tmp_path / "edge.key")
    node = await installation.call("controlplane.node.pair_node", key.public_key(), "intruder")
    session = await join_once(reactor, Login(url=installation.login().url, realm="default"), key)
    for uri in ("controlplane.node.list_nodes", "crossbarfabriccenter.mrealm.routercluster.list_routerclusters"):
        with pytest.raises(NotAuthorized):
            await session.call(uri)
    for uri in ("controlplane.node.list_nodes", "controlplane.agent.attach_agent", "app.own"):
        with pytest.raises(ApplicationError, match="not_authorized"):
            await session._inner.register(lambda: None, uri, RegisterOptions(force_reregister=True))
    for topic in ("controlplane.", "controlplane.node.on_node_online", "wamp.session.on_join"):
        options = SubscribeOptions(match="prefix")
        with pytest.raises(ApplicationError, match="not_authorized"):
            await session._inner.subscribe(lambda *_: None, topic, options)
    session.leave()
    await installation.call("controlplane.node.unpair_node", node["oid"])


@ensureDeferred
async def test_a_list_of_many_clusters_arrives(installation):
    oids = []
    for start in range(0, 2000, 200):
        calls = [
            installation.admin.call(
                "crossbarfabriccenter.mrealm.routercluster.create_routercluster", 60.0, {"name": f"many_{n}"}
            )
            for n in range(start, start + 200)
        ]
        oids.extend([(await call)["oid"] for call in calls])
    listed = await installation.call("list_routerclusters")
    assert sorted(oids) == listed
    names = await installation.call("list_routerclusters", return_names=True)
    assert names == sorted(f"many_{n}" for n in range(2000))
    for start in range(0, 2000, 200):
        calls = [
            installation.admin.call("crossbarfabriccenter.routercluster.delete_routercluster", 60.0, oid)
            for oid in oids[start : start + 200]
        ]
        for call in calls:
            await call


@ensureDeferred
async def test_nothing_is_left_of_clusters_that_were_removed(installation):
    assert await installation.call("list_routerclusters") == []
    workers = [p for p in processes_of(installation.directory) if "crossbar-worker w" in " ".join(p.cmdline())]
    assert workers == []


@ensureDeferred
async def test_more_than_a_hundred_consoles_hear_an_event_that_others_hear_by_a_pattern(installation):
    topic = "controlplane.routercluster.on_routercluster_created"
    heard = []
    consoles = [await installation.join() for _ in range(CONSOLES_AT_ONCE_MAX + 5)]
    try:
        for number, console in enumerate(consoles):
            await console.subscribe(topic, lambda _topic, _payload, number=number: heard.append(number))
        # The administrator's own session hears everything that begins with "controlplane.".
        cluster = (await installation.call("create_routercluster", {"name": "heard_by_many"}))["oid"]

        async def all_heard():
            return len(heard) >= len(consoles)

        await installation.until(all_heard, what="an event at every console")
        assert sorted(heard) == list(range(len(consoles)))
        assert all(console._inner.is_attached() for console in consoles)
        await installation.remove(cluster)
    finally:
        for console in consoles:
            console.leave()
