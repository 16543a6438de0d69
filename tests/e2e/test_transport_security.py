"""TLS on the router's listener, with real processes and a real man in the middle."""

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from controlplane import __version__, certificates
from controlplane.agent.membership import PINS_FILE
from controlplane.certificates import Authority, today
from controlplane.client.clustering import Proxy
from controlplane.clock import sleep
from controlplane.errors import ControlPlaneError, NoAnswer, UntrustedRouter
from controlplane.keys import read_key
from controlplane.master.certificates import LIFETIME
from controlplane.master.layout import StateDirectory
from controlplane.paths import free_port
from controlplane.transports import Login
from controlplane.wamp import join_once
from tests.e2e.between import ManInTheMiddle
from tests.e2e.installation import end_what_is_left, processes_of

PROGRAM = [sys.executable, "-m", "controlplane"]
ROUTER = (
    "import sys; from pathlib import Path; from controlplane.master.layout import StateDirectory;"
    "from controlplane.master.router import run_router;"
    "sys.exit(run_router(StateDirectory(Path(sys.argv[1])), look_every=0.3))"
)
"""The router as `controlplane router` runs it, but for the time until it looks at its certificate again."""


class Installed:
    """A router that listens on all addresses, IPv6 and IPv4, a master and an agent that knows the fingerprint alone."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state = StateDirectory(directory)
        self.port = free_port(0)
        self.children: dict[str, subprocess.Popen] = {}

    def start(self) -> None:
        self.said = self.run("init", "--port", self.port, "--listen", "::", "--host", "localhost", "--state-dir", "@")
        self.spawn("router", [sys.executable, "-c", ROUTER, str(self.directory)])
        self.spawn("master", [*PROGRAM, "master", "--state-dir", str(self.directory)])
        keys = self.run("certificate", "fingerprint", "--state-dir", "@").strip()
        where = ["--url", f"wss://127.0.0.1:{self.port}/ws", "--server-keys", keys]
        self.spawn("agent", [*PROGRAM, "agent", "--state-dir", str(self.directory / "edge1"), *where])

    def spawn(self, name: str, command: list[str]) -> None:
        with open(self.directory / f"{name}.log", "ab") as log:
            self.children[name] = subprocess.Popen(command, stdout=log, stderr=log)

    def run(self, *arguments, fails: bool = False) -> str:
        """Run a command of ours; "@" stands for the state directory."""
        command = [*PROGRAM, *(str(self.directory) if a == "@" else str(a) for a in arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=150)
        assert (done.returncode != 0) is fails, done.stdout + done.stderr
        return done.stderr if fails else done.stdout

    def login(self, port: int | None = None, **trust) -> Login:
        url = f"wss://127.0.0.1:{port or self.port}/ws"
        return Login(url=url, realm="default", authid="admin", authrole="admin", **trust)

    async def join(self, login: Login):
        session = await join_once(reactor, login, read_key(self.state.admin_key))
        session.leave()

    async def join_in_time(self, login: Login) -> None:
        end = reactor.seconds() + 60
        while True:
            try:
                return await self.join(login)
            except ControlPlaneError:
                assert reactor.seconds() < end, (self.directory / "router.log").read_text()[-2000:]
                await sleep(reactor, 0.2)

    @property
    def by_authority(self) -> dict:
        return {"ca_file": str(self.state.certificates.authority)}

    @property
    def by_key(self) -> dict:
        return {"server_keys": self.state.certificates.fingerprints()}

    def served(self) -> certificates.Description:
        return certificates.describe(ssl.get_server_certificate(("127.0.0.1", self.port), timeout=10).encode())

    def stop(self) -> None:
        for name in ("agent", "master", "router"):
            child = self.children.get(name)
            if child is not None and child.poll() is None:
                child.send_signal(signal.SIGTERM)
                try:
                    child.wait(30)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()


@pytest_twisted.async_yield_fixture(scope="module")
async def installed(tmp_path_factory):
    made = Installed(tmp_path_factory.mktemp("tls"))
    try:
        made.start()
        await made.join_in_time(made.login(**made.by_authority))
        yield made
    finally:
        made.stop()
        end_what_is_left(made.directory)


@pytest.fixture
def in_the_middle(installed, tmp_path):
    """Make men in the middle whose certificate is issued by the authority that everybody trusts."""
    made = []

    def make(version=ssl.TLSVersion.TLSv1_3, authority=None, names=("127.0.0.1", "localhost")):
        ours = installed.state.certificates
        key = certificates.make_key()
        trusted = authority or Authority((ours.directory / "ca.key").read_bytes(), ours.authority.read_bytes())
        public = certificates.public_half(key)
        issued = certificates.issue(trusted, public, names, certificates.SERVER, today(), LIFETIME)
        for name, content in (("m.key", key), ("m.crt", issued)):
            certificates.write_private(tmp_path / name, content)
        made.append(ManInTheMiddle(tmp_path / "m.crt", tmp_path / "m.key", installed.port, version))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_the_command_line_and_an_agent_connect_by_ipv6_and_ipv4(installed):
    saved = json.loads(installed.state.connection.read_text())
    assert saved["url"] == f"wss://[::1]:{installed.port}/ws"
    key = installed.run("key", "--state-dir", installed.directory / "edge1").strip()
    installed.run("call", "--connection", installed.state.connection, "pair_node", key, "edge1")
    end = time.monotonic() + 60
    while "offline" in (shown := installed.run("status", "--connection", installed.state.connection)):
        assert time.monotonic() < end, (installed.directory / "agent.log").read_text()
        time.sleep(0.2)
    assert "edge1" in shown


def test_init_says_how_another_machine_connects(installed):
    keys = installed.run("certificate", "fingerprint", "--state-dir", "@").strip()
    assert f"--url wss://localhost:{installed.port}/ws --server-keys {keys}" in installed.said


def test_the_terminal_of_the_router_shows_no_traceback(installed):
    said = (installed.directory / "router.log").read_text()
    assert "Traceback" not in said
    assert "_ARRAY_API" not in said


def test_plain_tcp_is_not_answered(installed):
    with socket.create_connection(("127.0.0.1", installed.port), 10) as plain:
        plain.settimeout(10)
        plain.sendall(b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        try:
            answer = plain.recv(1000)
        except OSError:
            answer = b""
    assert b"HTTP" not in answer


def test_the_router_speaks_no_older_tls(installed):
    older = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    older.check_hostname, older.verify_mode = False, ssl.CERT_NONE
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection(("127.0.0.1", installed.port), 10) as line,
        pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"),
    ):
        older.wrap_socket(line)


@pytest_twisted.ensureDeferred
async def test_a_trusted_certificate_fools_who_trusts_the_authority_alone(installed, in_the_middle):
    """So that the next test is worth something: this one does stand in the middle."""
    man = in_the_middle()
    await installed.join(installed.login(man.port, **installed.by_authority))
    assert b"Sec-WebSocket-Key" in man.heard


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("trust", ["by key", "by key and authority"])
@pytest_twisted.ensureDeferred
async def test_a_pinned_key_refuses_the_man_in_the_middle(installed, in_the_middle, version, trust):
    man = in_the_middle(version)
    pinned = {**installed.by_key, **(installed.by_authority if "authority" in trust else {})}
    with pytest.raises(UntrustedRouter, match="fingerprint"):
        await installed.join(installed.login(man.port, **pinned))
    assert man.heard == b""
    await installed.join(installed.login(**pinned))


@pytest_twisted.ensureDeferred
async def test_the_command_line_refuses_the_man_in_the_middle_in_words(installed, in_the_middle, tmp_path):
    man = in_the_middle()
    saved = json.loads(installed.state.connection.read_text())
    saved["url"] = f"wss://127.0.0.1:{man.port}/ws"
    (tmp_path / "connection.json").write_text(json.dumps(saved))
    said = installed.run("status", "--connection", tmp_path / "connection.json", fails=True)
    assert "controlplane.error.untrusted_router" in said
    assert "Traceback" not in said
    assert man.heard == b""


@pytest_twisted.ensureDeferred
async def test_another_authority_and_another_host_are_refused(installed, in_the_middle):
    stranger = certificates.make_authority("controlplane of elsewhere", today())
    with pytest.raises(UntrustedRouter, match="authority"):
        await installed.join(installed.login(in_the_middle(authority=stranger).port, **installed.by_authority))
    with pytest.raises(UntrustedRouter, match=r"not for 127\.0\.0\.1"):
        await installed.join(installed.login(in_the_middle(names=["10.9.8.7"]).port, **installed.by_authority))
    with pytest.raises(UntrustedRouter, match="authority"):
        await installed.join(installed.login())  # The authorities of the system do not know ours.


@pytest_twisted.ensureDeferred
async def test_an_agent_that_does_not_trust_the_router_ends_in_order(installed, tmp_path):
    where = ["--state-dir", str(tmp_path / "edge"), "--url", f"wss://127.0.0.1:{installed.port}/ws"]
    path = tmp_path / "log"
    with open(path, "wb") as log:
        agent = subprocess.Popen(
            [*PROGRAM, "agent", *where, "--server-keys", "ab" * 32], stdout=log, stderr=log, start_new_session=True
        )
    try:
        end = reactor.seconds() + 60
        while "is not trusted" not in path.read_text():
            assert reactor.seconds() < end, path.read_text()
            await sleep(reactor, 0.2)
        agent.terminate()
        assert agent.wait(60) == 0
    finally:
        agent.kill()
        agent.wait()
    assert "the agent has ended in order" in path.read_text()
    assert "Traceback" not in path.read_text()
    end_what_is_left(tmp_path)


@pytest_twisted.ensureDeferred
async def test_a_renewed_certificate_is_served_and_nobody_is_locked_out(installed):
    profile = installed.by_key
    before = installed.served()
    said = installed.run("certificate", "renew", "--new-key", "--state-dir", "@")
    assert "good until" in said
    shown = json.loads(installed.run("certificate", "show", "--json", "--state-dir", "@"))
    assert shown["fingerprint"] == profile["server_keys"][1] != before.fingerprint
    # The command has returned, so it is served; the saved connection knows it and the next one.
    assert installed.served().fingerprint == shown["fingerprint"]
    saved = json.loads(installed.state.connection.read_text())
    assert saved["server_keys"] == [shown["fingerprint"], shown["next_fingerprint"]]
    # What was handed out before knows the new key as the next one.
    await installed.join_in_time(installed.login(**profile))
    assert "edge1" in installed.run("status", "--connection", installed.state.connection)
    with pytest.raises(UntrustedRouter):
        await installed.join(installed.login(server_keys=profile["server_keys"][:1]))
    # The agent was told of the key after that, and is not locked out by another change, of which nobody told it.
    await until_pinned(installed, saved["server_keys"])
    installed.run("certificate", "renew", "--new-key", "--state-dir", "@")
    await until_pinned(installed, list(installed.by_key["server_keys"]))
    with pytest.raises(UntrustedRouter):
        await installed.join(installed.login(**profile))


async def until_pinned(installed, keys):
    """Wait until the agent has attached to a router and was told to know it by these keys from now on."""
    path = installed.directory / "edge1" / PINS_FILE
    end = reactor.seconds() + 60
    while not path.exists() or json.loads(path.read_text())["keys"] != keys:
        assert reactor.seconds() < end, "the agent was not told of the keys"
        await sleep(reactor, 0.2)


@pytest_twisted.ensureDeferred
async def test_a_login_over_tls_is_still_a_login(installed, tmp_path):
    from controlplane.keys import make_key

    with pytest.raises((ControlPlaneError, NoAnswer)) as caught:
        await join_once(reactor, installed.login(**installed.by_key), make_key(tmp_path / "key"))
    assert caught.value.uri == "controlplane.error.unknown_key"


@pytest_twisted.ensureDeferred
async def test_a_proxy_with_a_reactor_of_its_own_speaks_tls(installed):
    def ask():
        with Proxy(installed.state.connection) as proxy:
            return proxy.get_build_info()

    assert (await deferToThread(ask)).engine["revision"] == __version__


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["init", "--listen", "0.0.0.0", "--no-tls"], "loopback only"),
        (["init", "--listen", "example.org"], "is no address"),
        (["init", "--certificate", "missing.pem", "--key", "missing.key", "--host", "h"], "no certificate in"),
        (["certificate", "show"], "there is no router|has no certificate"),
        (["certificate", "renew"], "there is no router|has no certificate"),
    ],
)
def test_what_would_be_open_is_refused_in_words(tmp_path, arguments, said):
    done = subprocess.run(
        [*PROGRAM, *arguments, "--state-dir", str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert re.search(said, done.stderr), done.stderr
    assert "next: " in done.stderr
    assert "Traceback" not in done.stderr


def test_an_agent_refuses_a_network_without_tls(tmp_path):
    done = subprocess.run(
        [*PROGRAM, "agent", "--state-dir", str(tmp_path), "--url", "ws://192.0.2.1:8080/ws"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "without TLS" in done.stderr
    assert not processes_of(tmp_path)
    assert os.listdir(tmp_path)
