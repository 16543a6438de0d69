"""The whole installation on one machine: router, master and agents as child processes, and a cluster to try.

Children run in sessions of their own, so that Ctrl-C reaches this process alone and everything ends in order: agents
with their workers, then the master, then the router. If this process is killed the kernel tells the children to end.
"""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import LoopingCall, react
from twisted.internet.threads import deferToThread

from controlplane.cli.client import again_when_lost
from controlplane.cli.overview import read_overview
from controlplane.cli.render import event_line, make_console, overview_tables
from controlplane.clock import limit, sleep
from controlplane.core.reconcile import Failures, after_failure, describe
from controlplane.errors import ControlPlaneError, NoAnswer
from controlplane.keys import KEY_FILE, ensure_key, public_key, read_key
from controlplane.master.layout import StateDirectory, initialise, write_owner_only
from controlplane.master.router import router_command
from controlplane.paths import free_port
from controlplane.process import end_with_parent, real_chance
from controlplane.records.types import NANOSECONDS, Instant
from controlplane.transports import Login
from controlplane.wamp import Session, join_once

CLUSTER_NAME = "demo"
GROUP_NAME = "web"
SCALE = 4
PORTS_PER_NODE = 100
PREFIX = "controlplane.routercluster."
FIRST_WORKER_PORT = 20000
READY_WITHIN_S = 60.0
CHILD_STOP_WITHIN_S = 30.0
REVIVE_EVERY_S = 0.5


def run_dev(state_dir: str | None, nodes: int, empty: bool) -> int:
    """Run everything until interrupted; return the exit status."""
    kept = state_dir is not None
    root = Path(state_dir or tempfile.mkdtemp(prefix="controlplane-dev-"))
    installation = Installation(StateDirectory(root), nodes)
    try:
        react(lambda reactor: ensureDeferred(_run(reactor, installation, empty)))
    except SystemExit as ended:
        return int(ended.code or 0)
    finally:
        installation.stop()
        if not kept:
            shutil.rmtree(root, ignore_errors=True)
    return 0


class Installation:
    """The child processes, in the order in which they were started."""

    def __init__(self, state: StateDirectory, nodes: int) -> None:
        self.state = state
        self.nodes = nodes
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self._started: dict[str, Instant] = {}
        self._failures: dict[str, Failures] = {}
        self.port = 0
        self.master_options: list[str] = []
        self.agent_options = ["--drivers", "router,process"]

    def prepare(self, clock: Any) -> None:
        """Make keys, configuration and store, on the port of the last time or on a free one."""
        # It is there only while everything runs.
        self.state.connection.unlink(missing_ok=True)
        self.port = free_port(self.state.port() or 8080)
        initialise(self.state, self.port, clock)
        self.state.connection.unlink()
        (self.state.root / "logs").mkdir(exist_ok=True)

    def start(self) -> None:
        """Start router, master and agents; each tries until it reaches the others."""
        for name in ("router", "master", *(f"node{number}" for number in range(1, self.nodes + 1))):
            self.spawn(name)

    def spawn(self, name: str) -> None:
        """Start one of the processes."""
        program = [sys.executable, "-m", "controlplane"]
        if name == "router":
            command, environment = router_command(self.state)
            self._spawn(name, command, environment)
        elif name == "master":
            self._spawn(name, [*program, "master", "--state-dir", str(self.state.root), *self.master_options])
        else:
            number = int(name.removeprefix("node"))
            first = FIRST_WORKER_PORT + (number - 1) * PORTS_PER_NODE
            ports = ["--first-port", str(first), "--last-port", str(first + PORTS_PER_NODE - 1)]
            url = f"ws://127.0.0.1:{self.port}/ws"
            where = ["--state-dir", str(self.node_directory(number)), "--url", url]
            self._spawn(name, [*program, "agent", *where, *ports, *self.agent_options])

    def node_directory(self, number: int) -> Path:
        """Return where an agent keeps its state."""
        return self.state.root / "nodes" / f"node{number}"

    def dead(self) -> str | None:
        """Return the name of a child that ended by itself, or None."""
        return next((name for name, child in self.children.items() if child.poll() is not None), None)

    def revive(self, say: Callable[[str], None]) -> None:
        """Start children again that ended by themselves, as an init system would: at once, then with growing pauses."""
        for name, child in list(self.children.items()):
            if child.poll() is None:
                continue
            chance = real_chance()
            now = chance.now()
            if name in self._started:
                ran = (now - self._started.pop(name)) / NANOSECONDS
                failures = after_failure(self._failures.get(name), name, ran, now, chance.random())
                self._failures[name] = failures
                how = f"killed by signal {-child.returncode}" if child.returncode < 0 else f"code {child.returncode}"
                say(f"{name} has ended, {describe(how, failures, now)}; its log is {self.log_of(name)}")
            if self._failures[name].retry_at <= now:
                self.spawn(name)

    def log_of(self, name: str) -> Path:
        """Return where a child logs to."""
        return self.state.root / "logs" / f"{name}.log"

    def stop(self) -> None:
        """End the children in order: agents together, then the master, then the router."""
        agents = [child for name, child in self.children.items() if name.startswith("node")]
        others = [[self.children[name]] for name in ("master", "router") if name in self.children]
        self.state.connection.unlink(missing_ok=True)
        for group in [agents, *others]:
            for child in group:
                if child.poll() is None:
                    child.terminate()
            for child in group:
                try:
                    child.wait(CHILD_STOP_WITHIN_S)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()
        self.children.clear()

    def _spawn(self, name: str, command: list[str], environment: dict[str, str] | None = None) -> None:
        with open(self.log_of(name), "ab") as log:
            child = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
        self.children[name] = child
        self._started[name] = real_chance().now()


async def _run(reactor: Any, installation: Installation, empty: bool) -> None:
    stopped: Deferred[None] = Deferred()

    def stop(*_: Any) -> None:
        if not stopped.called:
            stopped.callback(None)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: reactor.callFromThread(stop))
    show = Screen()
    show.line(f"state in {installation.state.root}")
    work = ensureDeferred(_work(reactor, installation, empty, show))
    stopped.addCallback(lambda _: work.cancel())
    try:
        await work
    except ControlPlaneError as problem:
        if not stopped.called:
            show.line(f"error: {problem}")
            raise SystemExit(1) from None
    except Exception:
        if not stopped.called:
            raise
    finally:
        show.close()
        show.line("stopping: agents and their workers, master, router")
        await deferToThread(installation.stop)
        show.line("stopped")


async def _work(reactor: Any, installation: Installation, empty: bool, show: "Screen") -> None:
    state = installation.state
    installation.prepare(reactor)
    installation.start()
    session = await _join(reactor, installation)
    await session.subscribe("controlplane.", show.event, prefix=True)
    await _pair(reactor, installation, session)
    if not empty:
        await _create_cluster(session)
    connection = {
        "url": f"ws://127.0.0.1:{installation.port}/ws",
        "realm": "default",
        "authid": "admin",
        "authrole": "admin",
        "privkey_file": str(state.admin_key),
    }
    if not empty:
        await _wait_until_running(reactor, installation, session, show)
    write_owner_only(state.connection, json.dumps(connection, indent=2) + "\n")
    show.line(f"ready; try: controlplane status --connection {state.connection}")
    for line in _addresses(await read_overview(session)):
        show.line(line)
    reviving = LoopingCall(installation.revive, show.line)
    reviving.clock = reactor
    reviving.start(REVIVE_EVERY_S)

    async def follow(session: Session) -> None:
        await session.subscribe("controlplane.", show.event, prefix=True)
        while True:
            try:
                show.overview(await read_overview(session))
            except NoAnswer:
                pass  # The master is being started again.
            await show.next_change(reactor)

    try:
        await again_when_lost(session, _login(installation), read_key(state.admin_key), follow, show.line)
    finally:
        reviving.stop()


def _login(installation: Installation) -> Login:
    url = f"ws://127.0.0.1:{installation.port}/ws"
    return Login(url=url, realm="default", authid="admin", authrole="admin")


async def _join(reactor: Any, installation: Installation) -> Session:
    """Join as administrator as soon as router and master are there."""
    key = read_key(installation.state.admin_key)
    end = reactor.seconds() + READY_WITHIN_S
    while True:
        try:
            return await join_once(reactor, _login(installation), key)
        except ControlPlaneError as problem:
            dead = installation.dead()
            if dead is not None or reactor.seconds() > end:
                name = dead or "router"
                raise NoAnswer(
                    f"{problem.message}; {name} may have failed", next_step=f"see {installation.log_of(name)}"
                ) from problem
            await sleep(reactor, 0.2)


async def _pair(reactor: Any, installation: Installation, session: Session) -> None:
    """Pair the agents that are not paired yet, and wait until all are online."""
    known = set(await session.call("controlplane.node.list_nodes", return_names=True))
    for number in range(1, installation.nodes + 1):
        name = f"node{number}"
        if name not in known:
            directory = installation.node_directory(number)
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            key = public_key(ensure_key(directory / KEY_FILE))
            await session.call("controlplane.node.pair_node", pubkey=key, authid=name)
    end = reactor.seconds() + READY_WITHIN_S
    while True:
        online = await session.call("controlplane.node.list_nodes", return_names=True, filter_by_status="online")
        missing = {f"node{number}" for number in range(1, installation.nodes + 1)} - set(online)
        if not missing:
            return
        dead = installation.dead()
        if dead is not None or reactor.seconds() > end:
            name = dead or min(missing)
            raise NoAnswer(f"{name} did not come online", next_step=f"see {installation.log_of(name)}")
        await sleep(reactor, 0.1)


async def _create_cluster(session: Session) -> None:
    """Create the cluster to try, unless it is there from an earlier run."""
    if CLUSTER_NAME in await session.call(PREFIX + "list_routerclusters", return_names=True):
        return
    cluster = (await session.call(PREFIX + "create_routercluster", routercluster={"name": CLUSTER_NAME}))["oid"]
    for node in await session.call("controlplane.node.list_nodes"):
        await session.call(PREFIX + "add_routercluster_node", routercluster_oid=cluster, node_oid=node)
    group = {"name": GROUP_NAME, "scale": SCALE}
    await session.call(PREFIX + "add_routercluster_workergroup", routercluster_oid=cluster, workergroup=group)
    await session.call(PREFIX + "start_routercluster", routercluster_oid=cluster)


async def _wait_until_running(reactor: Any, installation: Installation, session: Session, show: "Screen") -> None:
    while True:
        cluster = await session.call(PREFIX + "get_routercluster_by_name", routercluster_name=CLUSTER_NAME)
        if cluster["status"] in ("RUNNING", "STOPPED"):
            return
        show.overview(await read_overview(session))
        await show.next_change(reactor)
        dead = installation.dead()
        if dead is not None:
            raise NoAnswer(f"{dead} has ended", next_step=f"see {installation.log_of(dead)}")


def _addresses(overview: dict[str, Any]) -> list[str]:
    """Return where WAMP clients can connect, a line per address."""
    return sorted(
        {
            f"WAMP clients join realm {' or '.join(worker['realms'])} at {address['url']}"
            for cluster in overview["clusters"]
            for worker in cluster["workers"]
            for address in worker["addresses"]
        }
    )


class Screen:
    """Events as lines, and below them, on a terminal, a table that is kept up to date."""

    def __init__(self) -> None:
        self._console = make_console()
        self._live: Any = None
        self._waiting: Deferred[None] | None = None
        self._printed = ""
        self._seen = -1

    def event(self, topic: str, payload: Any = None, *_: Any) -> None:
        """Print an event, once."""
        if isinstance(payload, dict) and payload.get("seq", -1) > self._seen:
            self._seen = payload["seq"]
            self.line(event_line({"topic": topic, "time": payload["time"], "payload": payload}))
            self.wake()

    def line(self, text: str) -> None:
        """Print a line above the table."""
        self._console.print(text, markup=False, soft_wrap=True)

    def overview(self, overview: dict[str, Any]) -> None:
        """Show everything there is."""
        from rich.console import Group
        from rich.live import Live

        tables = Group(*overview_tables(overview))
        if self._console.is_terminal:
            if self._live is None:
                self._live = Live(tables, console=self._console, auto_refresh=False)
                self._live.start()
            self._live.update(tables, refresh=True)
            return
        running = all(cluster["status"] in ("RUNNING", "STOPPED") for cluster in overview["clusters"])
        with self._console.capture() as captured:
            self._console.print(tables)
        if running and captured.get() != self._printed:
            self._printed = captured.get()
            self._console.print(tables)

    def wake(self) -> None:
        """Note that something changed."""
        if self._waiting is not None and not self._waiting.called:
            self._waiting.callback(None)

    async def next_change(self, reactor: Any) -> None:
        """Wait until something changed, a second at most."""
        self._waiting = Deferred()
        try:
            await limit(reactor, self._waiting, 1.0, "the cluster")
            await sleep(reactor, 0.05)  # Changes come in bunches.
        except NoAnswer:
            pass

    def close(self) -> None:
        """Leave the table as it is."""
        if self._live is not None:
            self._live.stop()
            self._live = None
