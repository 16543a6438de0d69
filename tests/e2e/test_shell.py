"""Crossbar.io's own shell, unmodified, drives our master and an unmodified edge node from pairing to unpairing.

The `crossbar` that is run comes from PyPI, in an environment of its own.
"""

import os

import pytest_twisted
from twisted.internet import defer

from tests.e2e.installation import Client, Installation, end_what_is_left, url_of
from tests.e2e.upstream import EdgeNode, Shell

ensureDeferred = pytest_twisted.ensureDeferred
start = defer.ensureDeferred
MREALM = ("--realm", "default")


class Console:
    """The shell, with the words in which a test wants to speak of it."""

    def __init__(self, shell):
        self.shell = shell

    async def does(self, *command):
        """Run a command that must succeed; returns what it printed."""
        done = await self.shell.run(*command)
        assert done.status == 0, (command, done)
        assert "Traceback (most recent call last)" not in done.output, (command, done)
        return done.output

    async def at_once(self, *commands):
        """Run commands that do not depend on each other beside each other."""
        running = [start(self.does(*command)) for command in commands]
        return [await each for each in running]

    async def is_refused(self, *command):
        """Run a command that must be refused in words; returns them."""
        done = await self.shell.run(*command)
        assert done.status != 0, (command, done)
        assert "no_such_procedure" not in done.output + done.errors, (command, done)
        assert "Traceback (most recent call last)" not in done.output, (command, done)
        return done.output


@pytest_twisted.async_yield_fixture(scope="module")
async def plane(crossbar, tmp_path_factory):
    """Router and master, whose superuser is whoever has the shell's key, and one edge node that nobody knows yet."""
    directory = tmp_path_factory.mktemp("shell")
    made = Installation(directory / "p", nodes=0)
    edge = None
    try:
        shell = Shell(crossbar, directory)
        os.environ["CROSSBAR_FABRIC_SUPERUSER"] = str(await shell.init())
        await made.start()
        shell.use(made.login().url)
        made.console = Console(shell)
        edge = made.edge = EdgeNode(crossbar, directory / "edge", made.login().url).start()

        async def has_key():
            return edge.pubkey()

        await made.until(has_key, what="a key")
        yield made
    finally:
        os.environ.pop("CROSSBAR_FABRIC_SUPERUSER", None)
        if edge is not None:
            edge.stop()
        made.stop()
        end_what_is_left(directory)


@ensureDeferred
async def test_the_shell_looks_around_in_both_realms(plane):
    shell = plane.console
    in_global, in_mrealm, realms, realm, fabric = await shell.at_once(
        ("show", "status"),
        (*MREALM, "show", "status"),
        ("list", "mrealms", "--names"),
        ("show", "mrealm", "default"),
        (*MREALM, "show", "fabric"),
    )
    assert "com.crossbario.fabric" in in_global
    assert "management" in in_mrealm
    assert "default" in realms
    assert "c0a7e1d0-0000-4000-8000-0000000d0de5" in realm
    assert "routerclusters" in fabric


@ensureDeferred
async def test_the_shell_takes_a_cluster_through_its_whole_life(plane):
    """Pair, create, add the node, add a group, start, a client, scale, kill the node, repair, stop, delete, unpair.

    The shell does it where it has a command; it has none to scale.
    """
    shell, edge = plane.console, plane.edge
    await shell.does("pair", "node", str(edge.cbdir / "key.pub"), "default", "edge1")
    await until_status(plane, "online")
    names, node, created = await shell.at_once(
        (*MREALM, "list", "nodes", "--names", "--online"),
        (*MREALM, "show", "node", "edge1"),
        (*MREALM, "create", "routercluster", "shop"),
    )
    assert "edge1" in names
    assert edge.pubkey() in node
    assert "STOPPED" in created
    await shell.at_once(
        (*MREALM, "add", "routercluster-node", "shop"),
        (*MREALM, "add", "routercluster-workergroup", "shop", "web", "--config", '{"scale": 1}'),
    )
    await shell.does(*MREALM, "start", "routercluster", "shop")
    cluster = (await plane.call("get_routercluster_by_name", "shop"))["oid"]
    group = (await plane.call("get_routercluster_workergroup_by_name", "shop", "web"))["oid"]
    await serving(plane, cluster, 1)
    await plane.call("scale_routercluster_workergroup", cluster, group, 2)
    router = await serving(plane, cluster, 2)

    shown, workers, realms, web, members, refused = await look(plane, router)
    assert "RUNNING" in shown
    assert router in workers
    assert "realm000" in realms
    assert "scale: 2" in web.replace('"', "")
    assert "edge1" in members
    assert "only a STOPPED one can be deleted" in refused

    edge.kill()
    await until_status(plane, "offline")
    offline, shown = await shell.at_once(
        (*MREALM, "list", "nodes", "--names", "--offline"), (*MREALM, "show", "routercluster", "shop")
    )
    assert "edge1" in offline
    assert "RUNNING" not in shown
    edge.start()
    await until_status(plane, "online")
    assert await serving(plane, cluster, 2) != router

    await shell.does(*MREALM, "stop", "routercluster", "shop")
    await plane.until_status(cluster, "STOPPED")
    assert edge.workers() == []
    await shell.at_once(
        (*MREALM, "remove", "routercluster-workergroup", "shop", "web"),
        (*MREALM, "remove", "routercluster-node", "shop", "edge1"),
    )
    await shell.does(*MREALM, "delete", "routercluster", "shop")
    await shell.does("unpair", "node", edge.pubkey())
    assert await plane.call("controlplane.node.list_nodes") == []


async def until_status(plane, status):
    async def reached():
        return "edge1" in await plane.call("crossbarfabriccenter.mrealm.get_nodes", status, return_names=True)

    await plane.until(reached, what=f"node {status}")


async def serving(plane, cluster, frontends):
    """Wait for so many frontends, and for a client's call through each of them.

    Returns the router worker by the name that Crossbar.io knows it under.
    """

    async def all_run():
        workers = await plane.workers(cluster)
        return len(workers) == frontends + 1 and all(worker["status"] == "RUNNING" for worker in workers)

    await plane.until(all_run, what="serving")
    await plane.until_status(cluster, "RUNNING")
    for frontend in await plane.frontends(cluster):
        client = await Client(url_of(frontend), "shop").join()
        await client.register("app.double", lambda x: 2 * x, force_reregister=True)
        assert await client.call("app.double", 21) == 42
        client.leave()
    (router,) = await plane.call("crossbarfabriccenter.remote.node.get_workers", "edge1", filter_types=["router"])
    return router


async def look(plane, router):
    """Look at the cluster in every way, and try what is not to be done."""
    shell = plane.console
    refusal = start(shell.is_refused(*MREALM, "delete", "routercluster", "shop"))
    looked = await shell.at_once(
        (*MREALM, "show", "routercluster", "shop"),
        (*MREALM, "list", "workers", "edge1"),
        (*MREALM, "list", "router-realms", "edge1", router),
        (*MREALM, "show", "routercluster-workergroup", "shop", "web"),
        (*MREALM, "list", "routercluster-nodes", "shop", "--names"),
    )
    return [*looked, await refusal]


@ensureDeferred
async def test_what_is_otherwise_here_is_said_and_not_missing(plane):
    shell = plane.console
    running = [
        start(shell.is_refused(*MREALM, "create", "webcluster", "pages")),
        start(shell.is_refused(*MREALM, "create", "arealm", "app")),
        start(shell.is_refused("create", "mrealm", "another")),
    ]
    web, realm, mrealm = [await each for each in running]
    assert "use a router cluster" in web
    assert "in the config of a router cluster" in realm
    assert "there is one management realm" in mrealm
