"""The driver for nodes without an agent, on a node that answers as one of Crossbar.io does.

The same driver on real ones: `tests/e2e/test_edge_nodes.py`.
"""

import itertools
from uuid import UUID

import pytest
from autobahn.wamp.exception import ApplicationError
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from controlplane.drivers.router.edge import (
    LOOK_EVERY_S,
    MADE,
    MISSES_MAX,
    MKDIR_LIMIT_S,
    STALE_REASON,
    EdgeDriver,
    Place,
)
from controlplane.errors import NoAnswer, WorkerFailed
from controlplane.records.workers import WorkerSpec

PREFIX = "crossbarfabriccenter.node.edge1."
SOCKETS = "/node/sockets"
STARTED = "2026-11-20T10:00:00.500Z"
ROUTER, PROXY, OTHER = (UUID(int=number, version=4) for number in (1, 2, 3))
PORTS = (10000, 10002)


def refuse(uri, text="no"):
    raise ApplicationError(uri, text)


class Node:
    """What a node of Crossbar.io answers to the procedures that the driver calls."""

    def __init__(self):
        self.workers = {}
        self.calls = []
        self.silent = False
        self.hanging = set()
        self.busy_ports = set()
        self.makes_directories = True
        self._pids = itertools.count(100)

    def add(self, worker_id, kind):
        self.workers[worker_id] = {"pid": next(self._pids), "kind": kind, "transports": []}
        return self.workers[worker_id]

    def die(self, worker_id):
        del self.workers[worker_id]

    def of(self, oid):
        """The processes that run for a worker."""
        return [name for name in self.workers if name.startswith(f"cp{oid.hex}_")]

    async def call(self, uri, *args, timeout=10.0):
        assert uri.startswith(PREFIX)
        if self.silent:
            raise NoAnswer("the node is silent")
        name = uri[len(PREFIX) :]
        self.calls.append((name, *args))
        if name.startswith("worker."):
            _, worker_id, procedure = name.split(".")
            if worker_id not in self.workers:
                refuse("wamp.error.no_such_procedure")
            if worker_id in self.hanging:
                raise NoAnswer("the worker is silent")
            return getattr(self, procedure, lambda *_: None)(worker_id, *args)
        return getattr(self, name)(*args)

    async def forward(self, uri, args, kwargs, timeout):
        return await self.call(uri, *args, *kwargs.values(), timeout=timeout)

    # Of the node

    def get_workers(self):
        return list(self.workers)

    def get_worker(self, worker_id):
        found = self.workers.get(worker_id) or refuse("crossbar.error.no_such_worker")
        return {"status": "started", "pid": found["pid"], "started": STARTED}

    def start_worker(self, worker_id, kind, options):
        found = self.add(worker_id, kind)
        return {"status": "started", "pid": found["pid"], "started": STARTED}

    def stop_worker(self, worker_id, kill=False):
        if worker_id not in self.workers:
            refuse("crossbar.error.no_such_worker")
        if worker_id in self.hanging and not kill:
            raise NoAnswer("the worker is silent")
        del self.workers[worker_id]

    def get_worker_log(self, worker_id):
        return [[STARTED, "info", MADE]] if self.makes_directories else []

    # Of a worker

    def start_router_transport(self, worker_id, name, config):
        self._listen(worker_id, name, config)

    def start_proxy_transport(self, worker_id, name, config):
        self._listen(worker_id, name, config)

    def _listen(self, worker_id, name, config):
        if config["endpoint"].get("port") in self.busy_ports:
            refuse("crossbar.error.cannot_listen", "address in use")
        self.workers[worker_id]["transports"].append(name)

    def stop_router_transport(self, worker_id, name):
        self.workers[worker_id]["transports"].remove(name)

    def get_router_transports(self, worker_id):
        return [{"id": name} for name in self.workers[worker_id]["transports"]]

    def get_proxy_transports(self, worker_id):
        return self.workers[worker_id]["transports"]


class Site:
    """A driver, its node, and what it said."""

    def __init__(self, directory):
        self.node = Node()
        self.clock = Clock()
        self.directory = directory
        self.lost = []
        self.taken = set()
        self.driver = None

    def open(self):
        """Begin, as a master does that has just been started."""
        place = Place(self.directory / "notes.json", SOCKETS, "192.0.2.1", PORTS, 2)
        self.driver = EdgeDriver(self.node, PREFIX, self.clock, place, lambda: self.taken)
        return self.run(self.driver.open(lambda *said: self.lost.append(said)))

    def run(self, coroutine):
        outcome = []
        ensureDeferred(coroutine).addBoth(outcome.append)
        for _ in range(500):
            if outcome:
                break
            self.clock.advance(0.1)
        assert outcome, "it is not finished"
        if hasattr(outcome[0], "raiseException"):
            outcome[0].raiseException()
        return outcome[0]

    def look(self, times=1):
        for _ in range(times):
            self.clock.advance(LOOK_EVERY_S)

    def start(self, oid=ROUTER, digest="a", **config):
        return self.run(self.driver.start(WorkerSpec(oid=oid, digest=digest, config=config or router())))

    def close(self):
        if self.driver is not None:
            self.run(self.driver.close(keep=True))


def router(socket=f"{SOCKETS}/r1.sock"):
    realms = [{"name": "shop", "roles": [{"name": "anonymous"}]}]
    return {"kind": "router", "cluster": "c1", "socket": socket, "realms": realms}


def proxy(transport=None, **more):
    transport = transport or {"type": "websocket", "auth": {"anonymous": {"type": "static", "role": "anonymous"}}}
    realms = {"shop": {"roles": ["anonymous"], "backend": f"{SOCKETS}/r1.sock"}}
    return {"kind": "proxy", "cluster": "c1", "transport": transport, "realms": realms, **more}


@pytest.fixture
def site(tmp_path):
    made = Site(tmp_path)
    assert made.open() == {}
    yield made
    made.close()


def port_of(unit):
    (found,) = {address.url.rpartition(":")[2].partition("/")[0] for address in unit.addresses if address.url}
    return int(found)


def test_it_makes_the_directory_for_sockets_first_and_leaves_no_helper(site):
    guests = [call for call in site.node.calls if call[0] == "start_worker"]
    assert [(kind, options["arguments"][-1]) for _, _, kind, options in guests] == [("guest", SOCKETS)]
    assert site.node.workers == {}


def test_a_node_on_which_the_directory_cannot_be_made_is_not_kept(tmp_path):
    site = Site(tmp_path)
    site.node.makes_directories = False
    with pytest.raises(WorkerFailed, match=f"was not made within {MKDIR_LIMIT_S:g} s"):
        site.open()
    site.driver = None


def test_a_worker_that_is_asked_for_again_is_not_started_again(site):
    unit = site.start()
    assert site.start() == unit == site.driver.find(ROUTER)
    assert len(site.node.of(ROUTER)) == 1
    assert unit.realms == ("shop",)


def test_another_configuration_is_another_process_and_the_old_one_is_stopped(site):
    for oid, config in ((ROUTER, router()), (PROXY, proxy())):
        first = site.start(oid, **config)
        second = site.start(oid, digest="b", **config)
        assert (second.digest, len(site.node.of(oid))) == ("b", 1)
        assert second.pid != first.pid
        assert first.addresses == second.addresses
    assert site.lost == []


def test_a_start_that_fails_leaves_nothing_and_what_ran_goes_on(site):
    site.start()
    before = site.start(PROXY, **proxy())
    site.node.busy_ports = set(range(PORTS[0], PORTS[1] + 1))
    with pytest.raises(WorkerFailed):
        site.start(OTHER, **{**proxy(), "cluster": "c2"})
    assert site.node.of(OTHER) == []
    assert site.driver.find(PROXY) == before


def test_a_router_keeps_to_the_directory_for_sockets(site):
    with pytest.raises(WorkerFailed, match="is not in /node/sockets"):
        site.start(**router("/etc/r1.sock"))
    assert site.node.workers == {}


def test_a_port_where_a_stranger_listens_is_passed_over_and_a_port_of_another_node_too(site):
    site.taken = {PORTS[0]}
    site.node.busy_ports = {PORTS[0] + 1}
    site.start()
    assert port_of(site.start(PROXY, **proxy())) == PORTS[1]
    assert site.driver.ports == {PORTS[1]}
    # It is what the cluster keeps.
    assert port_of(site.start(OTHER, **proxy())) == PORTS[1]


def test_a_port_that_was_asked_for_is_not_exchanged_for_another(site):
    site.start()
    site.node.busy_ports = {8080}
    with pytest.raises(WorkerFailed, match="port 8080 of this node cannot be used"):
        site.start(PROXY, **proxy({"type": "websocket", "endpoint": {"type": "tcp", "port": 8080}}))


def test_what_dies_is_said_once(site):
    site.start()
    site.node.die(*site.node.of(ROUTER))
    site.look(3)
    assert site.lost == [(ROUTER, "its process ended")]
    assert site.driver.find(ROUTER) is None


def test_what_hangs_is_killed_after_some_silences_in_a_row(site):
    site.start()
    (worker_id,) = site.node.of(ROUTER)
    site.node.hanging.add(worker_id)
    site.look(MISSES_MAX - 1)
    site.node.hanging.clear()
    site.look()
    site.node.hanging.add(worker_id)
    site.look(MISSES_MAX - 1)
    assert site.lost == []
    site.look()
    assert site.lost == [(ROUTER, f"did not answer {MISSES_MAX} times in a row and was killed")]
    assert site.node.of(ROUTER) == []


def test_the_silence_of_a_node_says_nothing_of_its_workers(site):
    unit = site.start()
    site.node.silent = True
    site.look(10)
    site.node.silent = False
    site.look(2)
    assert site.lost == []
    assert site.driver.find(ROUTER) == unit


def test_one_that_does_not_stop_in_order_is_killed(site):
    site.start()
    site.node.hanging.update(site.node.of(ROUTER))
    site.run(site.driver.stop(ROUTER))
    assert site.node.of(ROUTER) == []
    assert site.driver.find(ROUTER) is None
    site.look(3)
    assert site.lost == []


def test_proxies_with_sessions_of_their_own_are_replaced_when_their_router_is(site):
    site.start()
    dynamic = {"type": "dynamic", "authenticator": "app.login", "authenticator-role": "anonymous"}
    site.start(PROXY, **proxy({"type": "websocket", "auth": {"ticket": {**dynamic, "authenticator-realm": "shop"}}}))
    site.start(OTHER, **proxy())
    site.node.die(*site.node.of(ROUTER))
    site.look()
    site.start()
    assert site.lost == [(ROUTER, "its process ended"), (PROXY, STALE_REASON)]
    # It serves on until another one does.
    assert len(site.node.of(PROXY)) == 1
    assert site.driver.find(PROXY) is None
    assert site.driver.find(OTHER) is not None


def test_a_master_that_comes_back_adopts_what_is_as_noted_and_ends_the_rest(site):
    unit = site.start()
    kept = site.start(PROXY, **proxy())
    site.start(OTHER, **{**proxy(), "cluster": "c2"})
    site.close()
    # While nobody looked: one is another process, one was never finished, and one belongs to somebody else.
    (other,) = site.node.of(OTHER)
    site.node.workers[other]["pid"] += 1
    site.node.add("cp" + "0" * 32 + "_77", "router")
    site.node.add("worker-001", "router")
    assert site.open() == {ROUTER: unit, PROXY: kept}
    assert site.node.of(OTHER) == []
    assert set(site.node.workers) == {*site.node.of(ROUTER), *site.node.of(PROXY), "worker-001"}


def test_one_that_listens_no_more_is_not_adopted(site):
    site.start()
    (worker_id,) = site.node.of(ROUTER)
    site.close()
    site.node.workers[worker_id]["transports"].clear()
    assert site.open() == {}
    assert site.node.workers == {}


def test_figures_are_those_of_what_runs(site):
    with pytest.raises(WorkerFailed, match="does not run"):
        site.run(site.driver.statistics(ROUTER))
