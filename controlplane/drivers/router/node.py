"""The Crossbar.io node of this machine: a process that we start, watch, adopt and stop, and the link to it.

`crossbar edge start` runs with no workers in its configuration and logs in at our loopback port. It dies with nobody
but itself: an agent that goes away leaves it running, and one that comes back finds it by the notes and waits for it
to log in again. Its workers die with it.
"""

import json
import os
import resource
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger

from controlplane.clock import DelayedCall, limit
from controlplane.drivers.files import write_whole
from controlplane.drivers.processes import (
    DescriptorReactor,
    Identity,
    Process,
    identify,
    kill,
    output_of,
    spawn,
)
from controlplane.drivers.router.held import LOOPBACK, HeldSocket
from controlplane.drivers.router.notes import Notes
from controlplane.drivers.router.outputs import OutputFile
from controlplane.drivers.router.probes import ANSWER_LIMIT_S, Probe
from controlplane.drivers.router.sessions import node_prefix
from controlplane.drivers.router.uplink import Uplink
from controlplane.errors import NoAnswer, WorkerFailed

NODE_ID = "controlplane"
EXECUTABLE_VARIABLE = "CONTROLPLANE_CROSSBAR"
START_LIMIT_S = 60.0
ADOPT_LIMIT_S = 20.0
RELINK_LIMIT_S = 30.0
"""How long a node that runs may be without a link; it tries again every two seconds."""

STOP_LIMIT_S = 15.0
NEVER_S = 365 * 86_400
LOG_LEVEL = "warn"
KEY_TAG = "public-key-ed25519:"

log = Logger()


class NodeReactor(DescriptorReactor, Protocol):
    """What the node needs of a reactor."""

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: int, factory: Any) -> Any:  # noqa: N802, N803
        """Accept connections on a socket that listens already."""
        ...


class LocalNode:
    """The node process and the link to it."""

    def __init__(
        self,
        reactor: NodeReactor,
        directory: Path,
        notes: Notes,
        *,
        gone: Callable[[str], None],
        worker_gone: Callable[[str], None],
    ) -> None:
        """`gone(reason)` is called when the node has died, `worker_gone(worker_id)` when it says that a worker has."""
        self._reactor = reactor
        self._directory = directory / "node"
        self._notes = notes
        self._gone = gone
        self._held = HeldSocket(reactor, directory)
        self._output = OutputFile(reactor, directory / "node.log")
        self._process: Process | None = None
        self._probe: Probe | None = None
        self._port: Any = None
        self._relink: DelayedCall | None = None
        self._waiting: list[Deferred[None]] = []
        self._verdict: str | None = None
        self.session = Uplink(
            reactor, NODE_ID, self._public_key, ready=self._linked, lost=self._unlinked, worker_gone=worker_gone
        )
        self.prefix = node_prefix(NODE_ID)

    @property
    def pid(self) -> int | None:
        """Of the node's controller while it runs."""
        return self._process.pid if self._process is not None else None

    async def open(self) -> bool:
        """Listen for the node and adopt one that runs; say whether there is one, which is then ready."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        configured = self._configured_port()
        held = await self._held.open(configured)
        self._port = self._reactor.adoptStreamPort(held.fileno(), socket.AF_INET, self.session.factory())
        self._output.watch()
        found = self._find()
        if found is None:
            return False
        if configured != self._held.port:
            log.warn("the node that runs looks for port {port}, which another program has taken", port=configured)
            kill(found)
            await self._watch(found).end()
            return False
        self._watch(found)
        return await self._adopted()

    async def ready(self) -> None:
        """Return when the node runs and is linked; start it when it does not run."""
        if self._process is None:
            self._start()
        if not self.session.is_ready:
            await self._linked_within(START_LIMIT_S)

    async def linked(self) -> bool:
        """Wait for a link that is just being made anew, and say whether there is one."""
        if self._process is not None:
            try:
                await self._linked_within(START_LIMIT_S)
            except WorkerFailed:
                pass  # The node has died meanwhile.
        return self.session.is_ready

    def kill(self, verdict: str | None = None) -> None:
        """End the node at once, and its workers with it; `verdict` is the reason that counts."""
        if self._process is not None:
            self._verdict = self._verdict or verdict
            self._process.send(signal.SIGKILL)

    async def end(self) -> None:
        """End the node at once, and return when it has ended."""
        process = self._process
        self.kill()
        if process is not None:
            await process.end()

    async def close(self, keep: bool) -> None:
        """Let go of the node; without `keep` stop it, and give its port up."""
        self._forget_relink()
        if self._probe is not None:
            self._probe.close()
        process, self._process = self._process, None
        if not keep and process is not None:
            process.send(signal.SIGTERM)
            late = self._reactor.callLater(STOP_LIMIT_S, kill, process.identity)
            await process.end()
            if late.active():
                late.cancel()
            self._notes.note_node(None)
        if process is not None:
            process.let_go()
        if self._port is not None:
            # No more connections are accepted from here on; those that come wait in the held socket.
            await maybeDeferred(self._port.stopListening)
        self.session.close()
        self._output.let_go()
        if keep:
            self._held.let_go()
        else:
            await self._held.close()

    async def _adopted(self) -> bool:
        try:
            await self._linked_within(ADOPT_LIMIT_S)
        except WorkerFailed:
            log.warn("the node that runs does not log in and is killed", pid=self.pid)
            await self.end()
            return False
        return True

    def _find(self) -> Identity | None:
        """Return the node that runs here, by our notes or by its own."""
        noted = self._notes.node
        if noted is not None and identify(noted.pid) == noted:
            return noted
        try:
            pid = int(json.loads((self._directory / "node.pid").read_bytes())["pid"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        found = identify(pid)
        if found is None or output_of(pid) != self._output.path.resolve():
            return None
        self._notes.note_node(found)
        return found

    def _start(self) -> None:
        executable = _executable()
        for name in ("node.pid", "key.activate"):
            (self._directory / name).unlink(missing_ok=True)
        write_whole(self._directory / "config.json", json.dumps(self._config(), indent=1).encode())
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CROSSBAR_")}
        output = self._output.descriptor()
        try:
            started = spawn(
                [executable, "edge", "start", "--cbdir", str(self._directory), "--loglevel", LOG_LEVEL],
                environment,
                output,
            )
        except OSError as error:
            raise WorkerFailed(f"Crossbar.io cannot be started from {executable}: {error.strerror}") from None
        finally:
            os.close(output)
        self._notes.note_node(started)
        self._watch(started)
        # Every client takes two descriptors of a proxy; the usual limit of 1024 would end at 500.
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.prlimit(started.pid, resource.RLIMIT_NOFILE, (most, most))
        log.info("started a node of Crossbar.io", pid=started.pid)

    def _config(self) -> dict[str, Any]:
        """Return the node's configuration: the link, no heartbeats, which nobody reads, and no workers."""
        port = self._held.port
        transport = {
            "type": "rawsocket",
            "url": f"rs://{LOOPBACK}:{port}",
            "serializer": "cbor",
            "endpoint": {"type": "tcp", "host": LOOPBACK, "port": port},
        }
        heartbeat = {
            "startup_delay": NEVER_S,
            "heartbeat_period": NEVER_S,
            "include_system_stats": False,
            "send_workers_heartbeats": False,
        }
        return {
            "version": 2,
            "controller": {"id": NODE_ID, "fabric": {"transport": transport, "heartbeat": heartbeat}},
            "workers": [],
        }

    def _configured_port(self) -> int:
        """Return the port that a node that runs here was started with; 0 for none."""
        try:
            config = json.loads((self._directory / "config.json").read_bytes())
            return int(config["controller"]["fabric"]["transport"]["endpoint"]["port"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    def _public_key(self) -> str | None:
        """Return the key of the node, which it has made for itself when it first started."""
        try:
            lines = (self._directory / "key.pub").read_text().splitlines()
        except OSError:
            return None
        return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(KEY_TAG)), None)

    def _watch(self, identity: Identity) -> Process:
        self._process = Process(self._reactor, identity, self._ended)
        return self._process

    def _ended(self, reason: str) -> None:
        if self._process is None:
            return  # It was told to.
        reason, self._verdict = self._verdict or reason, None
        said = self._output.last_line()
        log.warn("the node of Crossbar.io is gone: {reason}", reason=reason)
        self._process = None
        self._forget_relink()
        if self._probe is not None:
            self._probe.close()
            self._probe = None
        self._notes.note_node(None)
        self.session.close()
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            done.errback(WorkerFailed(f"the node of Crossbar.io did not start: {reason}; {said or 'it said nothing'}"))
        self._gone(f"its node of Crossbar.io is gone: {reason}")

    def _linked(self) -> None:
        self._forget_relink()
        if self._process is not None and self._probe is None:
            self._probe = Probe(self._reactor, self._process.pid, self._ask, self._hung)
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            done.callback(None)

    def _unlinked(self) -> None:
        if self._process is not None:
            log.warn("the link to the node of Crossbar.io was lost")
            self._relink = self._reactor.callLater(RELINK_LIMIT_S, self._not_linked_again)

    def _not_linked_again(self) -> None:
        self.kill("did not log in again and was killed")

    def _forget_relink(self) -> None:
        if self._relink is not None and self._relink.active():
            self._relink.cancel()
        self._relink = None

    async def _ask(self) -> None:
        await self.session.call(self.prefix + "utcnow", timeout=ANSWER_LIMIT_S)

    def _hung(self, reason: str) -> None:
        self._probe = None
        self.kill(reason)

    async def _linked_within(self, seconds: float) -> None:
        if self.session.is_ready:
            return
        done: Deferred[None] = Deferred(self._forget_waiting)
        self._waiting.append(done)
        try:
            await limit(self._reactor, done, seconds, "the node of Crossbar.io")
        except NoAnswer:
            self.kill(f"was not ready within {seconds:g} s and was killed")
            raise WorkerFailed(f"the node of Crossbar.io was not ready within {seconds:g} s and was killed") from None

    def _forget_waiting(self, done: Deferred[None]) -> None:
        if done in self._waiting:
            self._waiting.remove(done)


def _executable() -> str:
    configured = os.environ.get(EXECUTABLE_VARIABLE)
    beside = Path(sys.executable).with_name("crossbar")
    if configured:
        return shutil.which(configured) or configured
    found = str(beside) if beside.exists() else shutil.which("crossbar")
    if not found:
        raise WorkerFailed(
            "Crossbar.io is not installed on this node",
            next_step=f"install it beside the agent, or name its executable in {EXECUTABLE_VARIABLE}",
        )
    return found
