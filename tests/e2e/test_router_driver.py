"""The router driver with a real node of Crossbar.io, real clients, and real faults.

One node serves most tests: `site` makes sure that a router and two proxies run before each of them, whatever the last
one has broken.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import pytest_twisted
from autobahn.twisted.component import Component
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import CallOptions, PublishOptions, RegisterOptions, SubscribeOptions
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, DeferredList, ensureDeferred

from controlplane.core.metrics import sample_of
from controlplane.drivers.driver import Surroundings
from controlplane.drivers.router.driver import RouterDriver
from controlplane.errors import WorkerFailed
from controlplane.records.workers import WorkerSpec
from tests.drivers.benches import Losses, sleep

ROOT = Path(__file__).resolve().parents[2]
JOIN_LIMIT_S = 30
LOSS_WITHIN_S = 20
HANG_WITHIN_S = 60
EVERYTHING = [
    {
        "uri": "",
        "match": "prefix",
        "allow": {"call": True, "register": True, "publish": True, "subscribe": True},
        "disclose": {"caller": True, "publisher": True},
        "cache": True,
    }
]
ANONYMOUS = {"anonymous": {"type": "static", "role": "anonymous"}}
UNIVERSAL = {
    "type": "universal",
    "rawsocket": {"serializers": ["cbor"], "auth": ANONYMOUS},
    "websocket": {"ws": {"type": "websocket", "serializers": ["cbor", "json"], "auth": ANONYMOUS}},
}


def free_ports(count):
    """A range of ports that nobody uses just now, outside of those that the kernel gives away."""
    for first in range(21000, 32000, count):
        with contextlib.ExitStack() as held:
            try:
                for port in range(first, first + count):
                    held.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
            return first, first + count - 1
    raise AssertionError("no free ports")


class Site:
    """One driver with its directory, and the cluster that the tests use."""

    def __init__(self, home, ports):
        self.home = home
        self.surroundings = Surroundings(
            directory=home / "a-directory-with-a-name-that-is-too-long-for-a-unix-socket" / ("x" * 60) / "router",
            sockets=home / "s",
            address="localhost",
            ports=ports,
            cores=2,
        )
        self.losses = Losses()
        self.driver = None
        self.adopted = {}
        self.cluster = uuid4()
        self.router = uuid4()
        self.proxies = (uuid4(), uuid4())
        self.sessions = []

    async def open(self):
        self.losses = Losses()
        self.driver = RouterDriver(self.surroundings, reactor)
        self.adopted = dict(await self.driver.open(self.losses))

    async def up(self):
        """The router and both proxies, as first described."""
        specs = [self.router_spec(), *(self.proxy_spec(oid) for oid in self.proxies)]
        started = await DeferredList([ensureDeferred(self.driver.start(spec)) for spec in specs], consumeErrors=True)
        for good, result in started:
            if not good:
                result.raiseException()
        self.losses.seen.clear()
        return [unit for _, unit in started]

    def socket_of(self, oid):
        return str(self.surroundings.sockets / f"{oid.hex[:12]}.sock")

    def router_spec(self, oid=None, digest="one", realms=("realm1",), roles=("anonymous", "user", "service")):
        oid = oid or self.router
        config = {
            "kind": "router",
            "cluster": str(self.cluster),
            "socket": self.socket_of(oid),
            "realms": [
                {"name": name, "roles": [{"name": role, "permissions": EVERYTHING} for role in roles]}
                for name in realms
            ],
        }
        return WorkerSpec(oid=oid, digest=digest, config=config)

    def proxy_spec(self, oid, digest="one", transport=UNIVERSAL, cluster=None, router=None, realms=("realm1",)):
        backend = self.socket_of(router or self.router)
        config = {
            "kind": "proxy",
            "cluster": str(cluster or self.cluster),
            "transport": transport,
            "realms": {name: {"roles": ["anonymous", "user"], "backend": backend} for name in realms},
        }
        return WorkerSpec(oid=oid, digest=digest, config=config)

    async def join(self, url, proxy=None, **login):
        """A session; with `proxy` one that came in there, which may take a few attempts on a shared port."""
        for _ in range(40):
            session, details = await join(url, **login)
            self.sessions.append(session)
            if proxy is None or proxy.hex in details.authextra["x_cb_proxy_worker"]:
                return session
            await session.leave()
        raise AssertionError(f"no session came in at {proxy}")

    async def joined(self, url, **login):
        """The same, tried again until it works."""
        limit = time.monotonic() + JOIN_LIMIT_S
        while True:
            try:
                return await self.join(url, **login)
            except Exception:
                if time.monotonic() > limit:
                    raise
                await sleep(0.05)

    def leave(self):
        for session in self.sessions:
            if session.is_attached():
                session.leave()
        self.sessions.clear()

    def processes(self):
        """Every process that works in the site's directory or was started with it."""
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                marks = (command, str((entry / "cwd").readlink()), str((entry / "fd" / "1").readlink()))
                if any(str(self.home) in mark for mark in marks):
                    found[int(entry.name)] = command
        return found


async def join(url, realm="realm1", **login):
    transport = {"type": "rawsocket", "serializer": "cbor"} if url.startswith("rs") else {"type": "websocket"}
    component = Component(
        transports=[{"url": url, "max_retries": 0, **transport}], realm=realm, authentication=login or None
    )
    joined = Deferred()

    def on_join(session, details):
        if not joined.called:
            joined.callback((session, details))

    def on_leave(session, details):
        if not joined.called:
            joined.errback(ApplicationError(details.reason, details.message))

    component.on("join", on_join)
    component.on("leave", on_leave)
    component.start(reactor).addErrback(lambda failure: None if joined.called else joined.errback(failure))
    joined.addTimeout(JOIN_LIMIT_S, reactor)
    return await joined


def url_of(unit, kind="rawsocket"):
    return next(address.url for address in unit.addresses if address.type == kind)


@pytest.fixture(scope="module")
def home():
    path = Path(tempfile.mkdtemp(prefix="cp-"))
    yield path
    for pid in Site(path, (1, 2)).processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(path, ignore_errors=True)


@pytest_twisted.async_yield_fixture(scope="module")
async def whole_site(home):
    site = Site(home, free_ports(8))
    await site.open()
    yield site
    await site.driver.close(False)


@pytest_twisted.async_yield_fixture()
async def site(whole_site):
    await whole_site.up()
    yield whole_site
    whole_site.leave()


@pytest_twisted.ensureDeferred
async def test_clients_of_two_proxies_meet_in_one_realm_with_all_of_wamp(site):
    one, two = (site.driver.find(oid) for oid in site.proxies)
    assert url_of(one) == url_of(two)
    assert one.realms == ("realm1",)
    callee = await site.join(url_of(one), proxy=site.proxies[0])
    caller = await site.join(url_of(two), proxy=site.proxies[1])
    cancelled = Deferred()

    def refuse(*args, **kwargs):
        raise ApplicationError("my.error", *args, **kwargs)

    async def count(to, details):
        for each in range(to):
            details.progress(each)
        return "done"

    def wait():
        return Deferred(cancelled.callback)

    await callee.register(lambda *args, **kwargs: [args, kwargs], "my.echo")
    await callee.register(refuse, "my.refuse")
    await callee.register(count, "my.count", options=RegisterOptions(details=True))
    await callee.register(wait, "my.wait")
    await callee.register(
        lambda details: details.procedure, "my.prefix", options=RegisterOptions(match="prefix", details=True)
    )
    await callee.register(lambda: "callee", "my.shared", options=RegisterOptions(invoke="roundrobin"))
    await caller.register(lambda: "caller", "my.shared", options=RegisterOptions(invoke="roundrobin"))

    assert await caller.call("my.echo", 1, two=2) == [[1], {"two": 2}]
    with pytest.raises(ApplicationError) as caught:
        await caller.call("my.refuse", "because", detail=7)
    assert (caught.value.error, caught.value.args, caught.value.kwargs) == ("my.error", ("because",), {"detail": 7})
    progress = []
    assert await caller.call("my.count", 3, options=CallOptions(on_progress=progress.append)) == "done"
    assert progress == [0, 1, 2]
    pending = caller.call("my.wait")
    await sleep(0.1)
    pending.cancel()
    with pytest.raises((ApplicationError, CancelledError)):
        await pending
    await cancelled.addTimeout(2, reactor)
    assert await caller.call("my.prefix.anything") == "my.prefix.anything"
    assert {await caller.call("my.shared") for _ in range(4)} == {"callee", "caller"}

    events = []
    await callee.subscribe(lambda *args: events.append(args), "my.", options=SubscribeOptions(match="prefix"))
    await caller.publish("my.news", 5, options=PublishOptions(acknowledge=True))
    while not events:
        await sleep(0.01)
    assert events == [(5,)]


@pytest_twisted.ensureDeferred
async def test_statistics_count_sessions_messages_and_connections(site):
    proxy = site.driver.find(site.proxies[0])
    session = await site.join(url_of(proxy), proxy=site.proxies[0])
    await session.register(lambda: None, "my.procedure")

    router = await site.driver.statistics(site.router)
    frontend = await site.driver.statistics(site.proxies[0])

    assert router["kind"] == "router"
    assert router["process"]["pid"] == site.driver.find(site.router).pid
    assert router["process"]["memory_resident_bytes"] > 50_000_000
    assert router["realms"]["realm1"]["sessions"] >= 1
    assert router["realms"]["realm1"]["messages"]["received"]["register"] >= 1
    assert frontend["kind"] == "proxy"
    assert frontend["connections"] == 1
    measured = [sample_of(router, 0.0), sample_of(frontend, 0.0)]
    assert all(each.cpu_seconds > 0 and each.memory > 50_000_000 for each in measured)
    assert measured[1].values == {"connections": 1.0}


@pytest_twisted.ensureDeferred
async def test_a_killed_proxy_is_noticed_at_once_and_can_be_started_again(site):
    victim, other = site.proxies
    before = site.driver.find(victim)
    os.kill(before.pid, signal.SIGKILL)

    assert await site.losses.of(victim, LOSS_WITHIN_S) == "killed by signal 9"
    assert site.driver.find(victim) is None
    await site.join(url_of(before), proxy=other)

    after = await site.driver.start(site.proxy_spec(victim))
    assert after.pid != before.pid
    assert after.addresses == before.addresses
    await site.join(url_of(after), proxy=victim)


@pytest_twisted.ensureDeferred
async def test_a_killed_router_comes_back_at_its_address_and_the_proxies_need_not_know(site):
    url = url_of(site.driver.find(site.proxies[0]))
    proxies = [site.driver.find(oid).pid for oid in site.proxies]
    os.kill(site.driver.find(site.router).pid, signal.SIGKILL)
    assert await site.losses.of(site.router, LOSS_WITHIN_S) == "killed by signal 9"

    await site.driver.start(site.router_spec())

    for proxy in site.proxies:
        await site.join(url, proxy=proxy)
    assert [site.driver.find(oid).pid for oid in site.proxies] == proxies


@pytest_twisted.ensureDeferred
async def test_a_worker_that_hangs_is_found_and_killed(site):
    victim = site.proxies[1]
    os.kill(site.driver.find(victim).pid, signal.SIGSTOP)

    assert await site.losses.of(victim, HANG_WITHIN_S) == "did not answer for 2 s and was killed"
    assert [oid for oid, _ in site.losses.seen] == [victim]


@pytest_twisted.ensureDeferred
async def test_a_proxy_is_replaced_beside_the_old_one_and_the_port_goes_on_serving(site):
    victim, other = site.proxies
    before = site.driver.find(victim)
    await site.driver.stop(other)
    joins = []

    async def keep_joining():
        while not done.called:
            try:
                session, _ = await join(url_of(before))
                joins.append(True)
                await session.leave()
            except Exception as problem:
                joins.append(problem)
            await sleep(0.02)

    done = Deferred()
    joining = ensureDeferred(keep_joining())
    after = await site.driver.start(site.proxy_spec(victim, digest="two"))
    await sleep(0.2)
    done.callback(None)
    await joining

    assert after.digest == "two"
    assert after.pid != before.pid
    assert url_of(after) == url_of(before)
    assert before.pid not in site.processes()
    good = [each for each in joins if each is True]
    assert len(good) > 10
    # Who joins in the very moment in which the old proxy goes has to try again.
    assert len(joins) - len(good) <= 2, joins


@pytest_twisted.ensureDeferred
async def test_a_replacement_that_fails_leaves_the_old_worker_running(site):
    router, proxy = site.driver.find(site.router), site.driver.find(site.proxies[0])
    broken = {**UNIVERSAL, "rawsocket": {"serializers": ["cbor"], "unknown": 1}}

    with pytest.raises(WorkerFailed, match="unknown"):
        await site.driver.start(site.proxy_spec(site.proxies[0], digest="two", transport=broken))
    with pytest.raises(WorkerFailed, match="valid WAMP realm name"):
        await site.driver.start(site.router_spec(digest="two", realms=("x",)))

    assert site.driver.find(site.proxies[0]) == proxy
    assert site.driver.find(site.router) == router
    await site.join(url_of(proxy), proxy=site.proxies[0])
    assert site.losses.seen == []


@pytest_twisted.ensureDeferred
async def test_a_router_is_replaced_with_a_short_break(site):
    before = site.driver.find(site.router)
    url = url_of(site.driver.find(site.proxies[0]))
    session = await site.join(url)
    left = Deferred()
    session.on("leave", lambda *_: left.callback(None))

    after = await site.driver.start(site.router_spec(digest="two", realms=("realm1", "realm2")))

    assert after.realms == ("realm1", "realm2")
    assert after.pid != before.pid
    await left.addTimeout(LOSS_WITHIN_S, reactor)
    await site.join(url)
    assert site.losses.seen == []
    await site.driver.start(site.router_spec())


@pytest_twisted.ensureDeferred
async def test_two_clusters_never_share_a_port(site):
    first = site.driver.find(site.proxies[0])
    port = int(url_of(first).rpartition(":")[2])
    other, third = uuid4(), uuid4()
    taken = {**UNIVERSAL, "endpoint": {"type": "tcp", "port": port}}
    with pytest.raises(WorkerFailed, match=f"port {port}.*cluster {site.cluster} listens there"):
        await site.driver.start(site.proxy_spec(third, transport=taken, cluster=other))
    outside = {**UNIVERSAL, "endpoint": {"type": "tcp", "port": site.surroundings.ports[1] + 1}}
    with pytest.raises(WorkerFailed, match="may listen on"):
        await site.driver.start(site.proxy_spec(third, transport=outside, cluster=other))

    free = port + 1
    with socket.create_server(("127.0.0.1", free)):
        unit = await site.driver.start(site.proxy_spec(third, cluster=other))
        assert url_of(unit) not in (url_of(first), f"rs://localhost:{free}")
    await site.driver.stop(third)
    assert unit.pid not in site.processes()


@pytest_twisted.ensureDeferred
async def test_a_dynamic_authenticator_works_through_proxies_also_after_its_router_was_started_anew(site):
    ask = {"type": "dynamic", "authenticator": "my.authenticate", "authenticator-realm": "realm1"}
    transport = {
        "type": "rawsocket",
        "serializers": ["cbor"],
        "auth": {**ANONYMOUS, "ticket": {**ask, "authenticator-role": "service"}},
    }
    proxy = uuid4()
    spec = site.proxy_spec(proxy, transport=transport, cluster=uuid4())

    async def login(url):
        await (await site.join(url)).register(
            lambda realm, authid, details: {"role": "user", "realm": realm}, "my.authenticate"
        )
        session = await site.join(url, ticket={"authid": "somebody", "ticket": "secret"})
        assert session.authrole == "user"

    unit = await site.driver.start(spec)
    await login(url_of(unit))
    os.kill(site.driver.find(site.router).pid, signal.SIGKILL)
    await site.losses.of(site.router, LOSS_WITHIN_S)
    assert site.driver.find(proxy) == unit

    await site.driver.start(site.router_spec())

    assert "started anew" in await site.losses.of(proxy, LOSS_WITHIN_S)
    again = await site.driver.start(spec)
    assert again.pid != unit.pid
    assert unit.pid not in site.processes()
    await login(url_of(again))
    await site.driver.stop(proxy)


@pytest_twisted.ensureDeferred
async def test_a_web_transport_serves_all_its_paths(site):
    from twisted.web.client import Agent, readBody

    transport = {
        "type": "web",
        "paths": {
            "/": {"type": "nodeinfo"},
            "ws": {"type": "websocket", "auth": ANONYMOUS},
            "value": {"type": "json", "value": 7},
        },
    }
    proxy = uuid4()
    unit = await site.driver.start(site.proxy_spec(proxy, transport=transport, cluster=uuid4()))
    base = url_of(unit, "web")

    async def get(path):
        response = await Agent(reactor).request(b"GET", (base + path).encode())
        return response.code, await readBody(response)

    assert url_of(unit, "websocket") == base.replace("http", "ws") + "ws"
    await site.join(url_of(unit, "websocket"))
    code, page = await get("")
    assert code == 200
    assert b"<html>" in page
    assert await get("value") == (200, b"7")
    assert (await get("nothing"))[0] == 404
    await site.driver.stop(proxy)


@pytest_twisted.ensureDeferred
async def test_a_start_that_is_given_up_leaves_nothing_and_can_be_made_again(site):
    spec = site.router_spec(uuid4())
    before = set(site.processes())
    starting = ensureDeferred(site.driver.start(spec))
    await sleep(0.5)
    assert set(site.processes()) > before
    starting.cancel()
    await DeferredList([starting], consumeErrors=True)
    assert set(site.processes()) == before

    unit = await site.driver.start(spec)
    await site.driver.stop(spec.oid)
    await site.driver.stop(spec.oid)
    assert unit.pid not in site.processes()


@pytest_twisted.ensureDeferred
async def test_a_router_keeps_to_the_directory_for_sockets(site):
    spec = site.router_spec(uuid4())
    spec.config["socket"] = str(site.home / "elsewhere.sock")
    with pytest.raises(WorkerFailed, match="is not in"):
        await site.driver.start(spec)


@pytest_twisted.ensureDeferred
async def test_the_node_that_dies_takes_its_workers_along_and_is_started_again(site):
    oids = (site.router, *site.proxies)
    url = url_of(site.driver.find(site.proxies[0]))
    pids = [site.driver.find(oid).pid for oid in oids]
    os.kill(pids[2], signal.SIGSTOP)
    os.kill(site.driver._node.pid, signal.SIGKILL)

    reasons = [await site.losses.of(oid, LOSS_WITHIN_S) for oid in oids]
    assert reasons == ["its node of Crossbar.io is gone: killed by signal 9"] * 3

    await site.up()
    assert not set(pids) & set(site.processes())
    await site.join(url, proxy=site.proxies[0])


@pytest_twisted.ensureDeferred
async def test_a_node_that_hangs_is_killed(site):
    os.kill(site.driver._node.pid, signal.SIGSTOP)
    assert "did not answer" in await site.losses.of(site.router, HANG_WITHIN_S)
    await site.up()


@pytest_twisted.ensureDeferred
async def test_a_driver_that_comes_back_adopts_what_runs_and_clients_notice_nothing(site):
    units = {oid: site.driver.find(oid) for oid in (site.router, *site.proxies)}
    node = site.driver._node.pid
    session = await site.join(url_of(units[site.proxies[0]]))
    await session.register(lambda: "still here", "my.procedure")
    unknown = uuid4()
    await site.driver.start(site.router_spec(unknown))
    site.driver._notes.cross_out(unknown)

    await site.driver.close(True)
    await sleep(11)
    await site.open()

    assert site.driver._node.pid == node
    assert site.adopted == units
    assert len(site.processes()) == 5
    assert await session.call("my.procedure") == "still here"
    os.kill(units[site.router].pid, signal.SIGKILL)
    assert await site.losses.of(site.router, LOSS_WITHIN_S) == "killed by signal 9"
    again = await site.driver.start(site.proxy_spec(site.proxies[0]))
    assert again == units[site.proxies[0]]


@pytest_twisted.ensureDeferred
async def test_a_busy_machine_costs_no_healthy_worker_and_hides_none_that_hangs(site):
    extra = site.router_spec(uuid4())
    burners = [subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(6)]
    try:
        await site.driver.start(extra)
        await sleep(3)
        assert site.losses.seen == []
        os.kill(site.driver.find(extra.oid).pid, signal.SIGSTOP)
        assert "did not answer" in await site.losses.of(extra.oid, HANG_WITHIN_S)
        assert len(site.losses.seen) == 1
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


@pytest_twisted.ensureDeferred
async def test_a_link_that_is_lost_is_made_anew_and_costs_no_worker(site):
    starting = ensureDeferred(site.driver.start(site.router_spec(uuid4())))
    await sleep(0.3)
    site.driver._node.session.close()
    with pytest.raises(WorkerFailed, match="link to the node was lost"):
        await starting
    assert len(site.processes()) == 5
    again = site.router_spec(uuid4())
    await site.driver.start(again)
    await site.driver.stop(again.oid)
    assert site.losses.seen == []


@pytest_twisted.ensureDeferred
async def test_a_node_that_cannot_be_started_is_the_reason(home, monkeypatch):
    site = Site(home / "broken", free_ports(4))
    await site.open()
    for executable, said in (("/bin/false", "exited with code 1"), ("/nowhere", "cannot be started from /nowhere")):
        monkeypatch.setenv("CONTROLPLANE_CROSSBAR", executable)
        with pytest.raises(WorkerFailed, match=said):
            await site.driver.start(site.router_spec())
    monkeypatch.undo()
    await site.driver.start(site.router_spec())
    await site.driver.close(False)
    assert site.processes() == {}


@pytest_twisted.ensureDeferred
async def test_only_one_driver_uses_a_directory(site):
    with pytest.raises(WorkerFailed, match="another agent uses"):
        await RouterDriver(site.surroundings, reactor).open(site.losses)


@pytest_twisted.ensureDeferred
async def test_a_driver_that_is_killed_is_followed_by_one_that_adopts_and_leaves_nothing_when_told(home):
    site = Site(home / "killed", free_ports(4))
    site.home.mkdir()
    agent = subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.test_router_driver", str(site.home), json.dumps(site.surroundings.ports)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        said = await read_line(agent)
        site.router, site.proxies = UUID(said["router"]), (UUID(said["proxy"]),)
        session = await site.join(said["url"])
        while len(site.processes()) < 6:
            await sleep(0.01)
    finally:
        agent.kill()
        agent.wait()
    await session.register(lambda: "still here", "my.procedure")

    # One worker was just being started when the agent was killed.
    await site.open()

    assert {str(oid): unit.pid for oid, unit in site.adopted.items()} == said["pids"]
    assert await session.call("my.procedure") == "still here"
    assert len(site.processes()) == 4
    await site.driver.close(False)
    assert site.processes() == {}


def read_line(process):
    from twisted.internet.threads import deferToThread

    return deferToThread(process.stdout.readline).addTimeout(30, reactor).addCallback(json.loads)


async def be_an_agent(home, ports):
    """What the process does that is to be killed."""
    site = Site(home, ports)
    await site.open()
    router = await site.driver.start(site.router_spec())
    proxy = await site.driver.start(site.proxy_spec(site.proxies[0]))
    said = {
        "router": str(site.router),
        "proxy": str(site.proxies[0]),
        "url": url_of(proxy),
        "pids": {str(site.router): router.pid, str(site.proxies[0]): proxy.pid},
    }
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()
    await site.driver.start(site.router_spec(uuid4()))


if __name__ == "__main__":
    ensureDeferred(be_an_agent(Path(sys.argv[1]), tuple(json.loads(sys.argv[2])))).addErrback(lambda _: reactor.stop())
    reactor.run()
