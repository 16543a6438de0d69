"""A cluster of web servers behind haproxy, which is kept in step: traffic follows, and no request fails."""

import shutil

import pytest
import pytest_twisted

from controlplane.paths import free_port
from tests.e2e.balancer import EACH, Clients, Haproxy
from tests.e2e.installation import Installation, running
from tests.e2e.test_clusters import call, ended

pytestmark = pytest.mark.skipif(shutil.which("haproxy") is None, reason="apt-get install haproxy")
SERVER = "cd {directory} && printf '%s\\n' {name} > index && exec python3 -m http.server {port:http} --bind {address}"
READY = {"check": {"kind": "http", "port": "http", "path": "/index"}}


@pytest.fixture
def haproxy(tmp_path):
    made = Haproxy(tmp_path, free_port(0))
    yield made
    made.stop()


@pytest_twisted.async_yield_fixture
async def shop(tmp_path_factory, haproxy):
    made = Installation(tmp_path_factory.mktemp("balanced"))
    made.children.agent_options = ["--drivers", "process"]
    made.children.master_options = [
        "--balancer-dir", str(haproxy.directory), "--balancer-reload", f"haproxy={haproxy.reload}"
    ]  # fmt: skip
    async with running(made):
        properties = {"command": ["sh", "-c", SERVER], "ports": {"http": {"scheme": "http"}}, "ready": READY}
        for name in ("web", "web_two"):
            spec = {"type": "process", "properties": {**properties, "env": {"PROFILE": name}}}
            await call(made, "profile.create_profile", {"name": name, "spec": spec})
        yield made


@pytest_twisted.ensureDeferred
async def test_traffic_follows_a_cluster_that_is_scaled_and_changed_and_no_request_fails(shop, haproxy):
    settings = {"name": "shop", "profile": "web", "desired": 2, "max_size": 6, "steady": 0.2}
    made = await call(shop, "cluster.create_cluster", settings)
    assert (await ended(shop, made["action_oid"]))["status"] == "SUCCEEDED"
    target = {"kind": "file", "file": "web.cfg", "before": haproxy.before, "each": EACH, "reload": "haproxy"}
    spec = {"type": "load_balance", "properties": {"target": target, "drain": 1.5}}
    await call(shop, "policy.create_policy", {"name": "front", "spec": spec})
    await call(shop, "cluster.attach_policy", "shop", "front")
    await in_step(shop)
    clients = Clients(haproxy.port)
    try:
        await served_by(shop, clients, {"shop-0", "shop-1"})
        # Until here haproxy may have sent somebody to nowhere, for want of servers.
        clients.failures.clear()
        action = await call(shop, "cluster.scale_out_cluster", "shop", 2)
        assert (await ended(shop, action["oid"]))["status"] == "SUCCEEDED"
        await served_by(shop, clients, {"shop-0", "shop-1", "shop-2", "shop-3"})
        action = await call(shop, "cluster.scale_in_cluster", "shop", 3)
        assert (await ended(shop, action["oid"]))["status"] == "SUCCEEDED"
        await served_by(shop, clients, {"shop-0"})
        action = await call(shop, "cluster.scale_out_cluster", "shop", 1)
        assert (await ended(shop, action["oid"]))["status"] == "SUCCEEDED"
        await served_by(shop, clients, {"shop-0", "shop-1"})
        changed = await call(shop, "cluster.update_cluster", "shop", {"profile": "web_two"})
        assert (await ended(shop, changed["action_oid"]))["status"] == "SUCCEEDED"
        await served_by(shop, clients, {"shop-0", "shop-1"})
    finally:
        clients.stop()
    assert clients.failures == []


async def in_step(shop: Installation) -> dict:
    """Wait until the balancer knows everything."""

    async def known():
        found = await call(shop, "cluster.get_cluster_balance", "shop")
        return found if found["accepted"] == found["sequence"] else None

    return await shop.until(known, 60, "the balancer in step")


async def served_by(shop: Installation, clients: Clients, names: set[str]) -> None:
    """Wait until clients are answered by these workers, by all of them and by no others."""
    await in_step(shop)
    clients.forget()

    async def so():
        return clients.answered_by(4 * len(names)) == names or None

    await shop.until(so, 60, f"answers of {sorted(names)}")
