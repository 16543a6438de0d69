"""A router cluster over several machines: real workers, real stunnel, and every attack on the way between them."""

import contextlib
import json
import os
import signal
import socket
import ssl
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import psutil
import pytest
import pytest_twisted
from autobahn.wamp.exception import ApplicationError
from twisted.internet import reactor

from controlplane import certificates
from controlplane.certificates import CLIENT, SERVER, Authority, today
from controlplane.clock import sleep
from controlplane.errors import NodesNotConnected
from controlplane.services.tunnels import name_of
from controlplane.store.catalog import AUTHORITIES
from controlplane.store.database import Store
from controlplane.store.lmdb import LmdbEngine
from tests.alive import is_alive
from tests.e2e.installation import Client, end_what_is_left, url_of
from tests.e2e.machines import address_of, installation_of_machines, missing

pytestmark = pytest.mark.skipif(missing() is not None, reason=missing() or "")
ensureDeferred = pytest_twisted.ensureDeferred
GREETING = b"\x7f\xf3\x00\x00"


class Plane:
    """An installation with a cluster whose frontends are on two machines and whose router is on one of them."""

    def __init__(self, installation) -> None:
        self.i = installation
        self.cluster = ""

    async def start(self) -> None:
        await self.i.start()
        nodes = [await self.node(f"node{n}") for n in (1, 2)]
        self.cluster, self.group = await self.i.cluster("wide", 2, nodes=[node["oid"] for node in nodes])
        workers = await self.i.workers(self.cluster)
        self.router = next(worker for worker in workers if worker["workergroup_oid"] is None)
        self.near = next(w for w in workers if w["workergroup_oid"] and w["node_oid"] == self.router["node_oid"])
        self.far = next(w for w in workers if w["workergroup_oid"] and w["node_oid"] != self.router["node_oid"])
        numbers = {node["oid"]: number for number, node in enumerate(nodes, 1)}
        self.back, self.front = numbers[self.near["node_oid"]], numbers[self.far["node_oid"]]

    async def node(self, name: str):
        return await self.i.call("controlplane.node.get_node_by_name", name)

    def end(self, side: str) -> Path:
        """The directory of an end of the tunnel, as its agent keeps it."""
        number = self.front if side == "front" else self.back
        (found,) = (self.i.children.node_directory(number) / "tunnels" / "ends").glob(f"{side}-*")
        return found

    def pid(self, side: str) -> int:
        return json.loads((self.end(side) / "process.json").read_bytes())["process"]["pid"]

    def port(self) -> tuple[str, int]:
        (port,) = json.loads((self.end("back") / "process.json").read_bytes())["ports"].values()
        return address_of(self.back), port

    def authority(self) -> Authority:
        """The authority of the cluster, from the master's store; nobody else has it."""
        engine = LmdbEngine(self.i.children.state.store)
        store = Store(engine, reactor, lambda: UUID(int=0))
        with store.read() as view:
            found = view.rows(AUTHORITIES).get(UUID(self.cluster))
        store.close()
        return Authority(found.key.encode(), found.certificate.encode())

    async def clients(self) -> tuple[Client, Client]:
        return await Client(url_of(self.near), "wide").join(), await Client(url_of(self.far), "wide").join()

    async def works(self) -> None:
        """Calls go both ways between clients at frontends on both machines."""
        near, far = await self.clients()
        await near.register("app.near", lambda: "near")
        await far.register("app.far", lambda: "far")
        assert (await far.call("app.near"), await near.call("app.far")) == ("near", "far")
        near.leave()
        far.leave()


@pytest_twisted.async_yield_fixture(scope="module")
async def plane(tmp_path_factory):
    made = Plane(installation_of_machines(tmp_path_factory.mktemp("m"), 3, frozenset({3})))
    try:
        await made.start()
        yield made
    finally:
        made.i.stop()
        end_what_is_left(made.i.directory)


@ensureDeferred
async def test_clients_on_two_machines_meet_with_full_wamp_semantics(plane):
    assert {worker["status"] for worker in await plane.i.workers(plane.cluster)} == {"RUNNING"}
    near, far = await plane.clients()
    heard = []

    def refuse(*args, **kwargs):
        raise ApplicationError("app.error.refused", "no", *args, **kwargs)

    await near.register("app.add", lambda a, b=0: a + b)
    await near.register("app.refuse", refuse)
    await near.subscribe("app.topic.", lambda *args: heard.append(args), match="prefix")
    assert await far.call("app.add", 2, b=3) == 5
    with pytest.raises(ApplicationError) as caught:
        await far.call("app.refuse", 1, why="because")
    assert (caught.value.error, caught.value.args, caught.value.kwargs) == (
        "app.error.refused",
        ("no", 1),
        {"why": "because"},
    )
    await far.publish("app.topic.news", "over there")
    await plane.i.until(lambda: _true(heard == [("over there",)]))
    big = "x" * 2_000_000
    await near.register("app.echo", lambda text: text)
    assert await far.call("app.echo", big) == big
    near.leave()
    far.leave()


@ensureDeferred
async def test_keys_do_not_leave_their_node_and_files_are_for_their_owner(plane):
    for side in ("front", "back"):
        end = plane.end(side)
        assert all(file.stat().st_mode & 0o077 == 0 for file in end.iterdir() if file.suffix == ".pem")
        key = (end / "key.pem").read_bytes().splitlines()[1]
        store = plane.i.children.state.store
        assert not any(key in file.read_bytes() for file in store.iterdir() if file.is_file())


def attempt(
    plane, key: bytes | None = None, certificate: bytes | None = None, *, tls=True, greet=False, patience=10
) -> bytes:
    """Connect to the back of the tunnel, greet the router or wait, and return what is answered.

    In TLS 1.3 a client hears that it is refused after it takes itself for admitted. If it says something before, the
    reason may be lost with the connection; so attackers wait for it, and fail with a timeout when they are admitted.
    """
    with socket.create_connection(plane.port(), 10) as line:
        line.settimeout(patience if tls else 2)
        if not tls:
            line.sendall(GREETING)
            return line.recv(4)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if key is not None:
            directory = plane.i.directory
            (directory / "attacker.key").write_bytes(key)
            (directory / "attacker.pem").write_bytes(certificate)
            context.load_cert_chain(directory / "attacker.pem", directory / "attacker.key")
        with context.wrap_socket(line) as secured:
            if greet:
                secured.sendall(GREETING)
            return secured.recv(4)


def front_name(plane) -> str:
    return name_of(UUID(plane.cluster), UUID(plane.far["node_oid"]), "front")


def minted(plane, *, authority=None, name=None, usage=CLIENT, age=timedelta(0), lifetime=timedelta(days=30)):
    key = certificates.make_key()
    by = authority or plane.authority()
    names = [name or front_name(plane)]
    return key, certificates.issue(by, certificates.public_half(key), names, usage, today() - age, lifetime)


@ensureDeferred
async def test_the_other_end_is_admitted(plane):
    """So that the next tests are worth something: what they do is what the real front does."""
    end = plane.end("front")
    answer = attempt(plane, (end / "key.pem").read_bytes(), (end / "certificate.pem").read_bytes(), greet=True)
    assert answer[:1] == b"\x7f"


@ensureDeferred
async def test_no_certificate_and_plain_tcp_are_refused(plane):
    with pytest.raises(ssl.SSLError, match=r"(?i)certificate required"):
        attempt(plane)
    try:
        assert attempt(plane, tls=False)[:1] != b"\x7f"
    except OSError:
        pass


@ensureDeferred
async def test_a_certificate_of_another_authority_is_refused(plane):
    # As every other cluster of the same master has one.
    stranger = certificates.make_authority("controlplane cluster of somebody", today())
    with pytest.raises(ssl.SSLError, match=r"(?i)unknown ca"):
        attempt(plane, *minted(plane, authority=stranger))
    namesake = certificates.make_authority(f"controlplane cluster {UUID(plane.cluster).hex}", today())
    with pytest.raises(ssl.SSLError, match=r"(?i)decrypt error"):
        attempt(plane, *minted(plane, authority=namesake))


@ensureDeferred
async def test_an_expired_certificate_is_refused(plane):
    with pytest.raises(ssl.SSLError, match=r"(?i)certificate expired"):
        attempt(plane, *minted(plane, age=timedelta(days=40)))


@ensureDeferred
async def test_a_certificate_for_servers_is_refused_also_that_of_the_back_itself(plane):
    with pytest.raises(ssl.SSLError, match=r"(?i)(unsupported|bad) certificate"):
        attempt(plane, *minted(plane, usage=SERVER))
    end = plane.end("back")
    with pytest.raises(ssl.SSLError, match=r"(?i)(unsupported|bad) certificate"):
        attempt(plane, (end / "key.pem").read_bytes(), (end / "certificate.pem").read_bytes())


@ensureDeferred
async def test_a_good_certificate_of_another_node_is_refused(plane):
    """Crossbar.io's own TLS lets this one pass: certificate and identity are not bound to each other there."""
    other = await plane.node("node3")
    for node in (other["oid"], plane.near["node_oid"]):
        name = name_of(UUID(plane.cluster), UUID(node), "front")
        with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
            attempt(plane, *minted(plane, name=name))


@ensureDeferred
async def test_the_front_refuses_another_back(plane):
    """Somebody who answers in the back's place, with a good certificate of the front's own, or of a stranger."""
    end = plane.end("front")
    text = (end / "stunnel.conf").read_text()
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    false_socket = plane.i.directory / "f.sock"
    lines = []
    for line in text.splitlines():
        if line.startswith("connect ="):
            line = f"connect = 127.0.0.1:{port}"
        elif line.startswith("accept ="):
            line = f"accept = {false_socket}"
        lines.append(line)
    (plane.i.directory / "false.conf").write_text("\n".join(lines))
    stunnel = psutil.Popen(["stunnel", str(plane.i.directory / "false.conf")], stderr=-3)
    try:
        for key, certificate in (
            ((end / "key.pem").read_bytes(), (end / "certificate.pem").read_bytes()),
            minted(plane, usage=SERVER, name="back.somebody.internal"),
        ):
            assert await _false_back_hears(plane, listening, false_socket, key, certificate) == b""
    finally:
        stunnel.kill()
        stunnel.wait()
        listening.close()


async def _false_back_hears(plane, listening, false_socket, key, certificate) -> bytes:
    from twisted.internet.threads import deferToThread

    (plane.i.directory / "false.key").write_bytes(key)
    (plane.i.directory / "false.pem").write_bytes(certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(plane.i.directory / "false.pem", plane.i.directory / "false.key")

    def serve() -> bytes:
        listening.settimeout(10)
        line, _ = listening.accept()
        with line:
            line.settimeout(10)
            try:
                with context.wrap_socket(line, server_side=True) as secured:
                    return secured.recv(4)
            except OSError:
                return b""

    serving = deferToThread(serve)
    end = reactor.seconds() + 20
    while not false_socket.exists():
        assert reactor.seconds() < end
        await sleep(reactor, 0.05)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(false_socket))
        with contextlib.suppress(BrokenPipeError):  # The front may have refused already.
            client.sendall(GREETING)
        return await serving


@ensureDeferred
async def test_sessions_outlive_new_certificates_and_the_former_are_taken_back(plane):
    near, far = await plane.clients()
    await near.register("app.kept", lambda: "kept")
    former = {side: (plane.end(side) / "certificate.pem").read_bytes() for side in ("front", "back")}
    former_key = (plane.end("front") / "key.pem").read_bytes()
    assert await plane.i.call("controlplane.routercluster.renew_routercluster_certificates", plane.cluster) == 2

    async def renewed():
        return all((plane.end(side) / "certificate.pem").read_bytes() != before for side, before in former.items())

    await plane.i.until(renewed, what="renewal")
    assert (plane.end("front") / "key.pem").read_bytes() != former_key
    assert await far.call("app.kept") == "kept"
    await plane.works()

    async def taken_back():
        try:
            attempt(plane, former_key, former["front"], patience=1)
        except TimeoutError:
            return False  # It is admitted still.
        except ssl.SSLError as problem:
            return "revoked" in str(problem).lower()
        return False

    await plane.i.until(taken_back, what="the end of the former certificate")
    assert await far.call("app.kept") == "kept"
    near.leave()
    far.leave()


@pytest.mark.parametrize("side", ["front", "back"])
@ensureDeferred
async def test_a_tunnel_that_is_killed_is_noticed_and_repaired(plane, side):
    before = plane.pid(side)
    os.kill(before, signal.SIGKILL)

    async def back():
        return plane.pid(side) != before and psutil.pid_exists(plane.pid(side))

    await plane.i.until(back, what="another stunnel")
    await plane.works()


@ensureDeferred
async def test_an_agent_that_is_killed_adopts_its_tunnels_and_nobody_notices(plane):
    near, far = await plane.clients()
    await near.register("app.through", lambda: "through")
    before = plane.pid("front")
    name = f"node{plane.front}"
    plane.i.kill(name)
    plane.i.respawn(name)

    async def online():
        return (await plane.node(name))["status"] == "online"

    await plane.i.until(online)
    assert plane.pid("front") == before
    assert await far.call("app.through") == "through"
    near.leave()
    far.leave()
    await plane.works()


@ensureDeferred
async def test_a_node_without_stunnel_says_so_and_is_refused(plane):
    node = await plane.node("node3")
    assert node["stunnel"] is None
    assert (await plane.node("node1"))["stunnel"].startswith("5.")
    with pytest.raises(NodesNotConnected, match="stunnel is not installed on node node3"):
        await plane.i.call("add_routercluster_node", plane.cluster, node["oid"])


@ensureDeferred
async def test_a_node_that_is_taken_out_is_cut_off(plane):
    near, far = await plane.clients()
    end = plane.end("front")
    key, certificate = ((end / name).read_bytes() for name in ("key.pem", "certificate.pem"))
    pid, address = plane.pid("back"), plane.port()
    await plane.i.call("remove_routercluster_node", plane.cluster, plane.far["node_oid"])

    async def cut_off():
        return not is_alive(pid)

    await plane.i.until(cut_off, what="the end of the tunnel")
    with pytest.raises(OSError):  # noqa: PT011
        socket.create_connection(address, 5).close()
    assert key
    assert certificate
    await plane.i.until(lambda: _true(not end.exists()), what="the end of the front")
    near.leave()
    far.leave()


async def _true(value: bool) -> bool:
    return value
