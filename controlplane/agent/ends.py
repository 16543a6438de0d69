"""One end of a tunnel: a process of stunnel with files of its own, watched and started again."""

import os
import resource
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from twisted.logger import Logger

from controlplane.agent.stunnel import AUTHORITY, CERTIFICATE, KEY, REVOCATIONS, Stunnel, configuration
from controlplane.drivers.files import write_whole
from controlplane.drivers.ports import Ports
from controlplane.drivers.processes import Identity, Process, boot, identify, spawn
from controlplane.drivers.router.outputs import OutputFile
from controlplane.records.tunnels import Tunnel, TunnelLine
from controlplane.records.types import Record, Seconds

RESTART_PAUSE_MIN_S = 0.2
RESTART_PAUSE_MAX_S = 10.0
STEADY_AFTER_S = 30.0
"""Who ran for that long is started again at once."""

CONFIGURATION = "stunnel.conf"

log = Logger()


class Surroundings(NamedTuple):
    """What an end uses on this machine."""

    reactor: Any
    stunnel: Stunnel
    ports: Ports


class _Kept(Record, frozen=True, kw_only=True):
    """What the next agent has to know of an end."""

    boot: str
    process: Identity | None = None
    ports: dict[str, int] = msgspec.field(default_factory=dict)
    """Taken, by router."""


class End:
    """One end; `changed` is called when its process has ended."""

    def __init__(self, surroundings: Surroundings, directory: Path, changed: Callable[[], None]) -> None:
        self.directory = directory
        self.tunnel: Tunnel | None = None
        self.lines: Sequence[TunnelLine] = ()
        self._reactor, self._stunnel, self._ports = surroundings
        self._changed = changed
        self._files: dict[str, bytes] = {}
        """As they shall be."""

        self._process: Process | None = None
        self._taken: dict[str, int] = {}
        self._started = 0.0
        self._failures = 0
        self._output = OutputFile(self._reactor, directory / "stunnel.log")

    def adopt(self) -> None:
        """Take over the process of an earlier agent, if it still runs."""
        try:
            kept = msgspec.json.decode((self.directory / "process.json").read_bytes(), type=_Kept)
        except (OSError, msgspec.MsgspecError):
            return
        if kept.boot != boot() or kept.process is None or identify(kept.process.pid) != kept.process:
            return
        try:
            self._watch(kept.process)
        except ProcessLookupError:
            return
        for router, port in kept.ports.items():
            self._taken[router] = port
            self._ports.adopt(self._port_name(router), self._port_name(router), port)
        log.info("adopted tunnel {name}", name=self.directory.name, pid=kept.process.pid)

    def port_of(self, line: TunnelLine) -> int:
        """Return where this end listens for a router, always the same; raises `WorkerFailed` when nothing is free."""
        router = line.router_oid.hex
        if router not in self._taken:
            name = self._port_name(router)
            self._taken[router] = self._ports.take(name, name, None, line.host)
        return self._taken[router]

    def desire(self, tunnel: Tunnel | None, lines: Sequence[TunnelLine], key: str) -> None:
        """Take over what shall be; None when it shall be gone."""
        self.tunnel, self.lines = tunnel, lines
        if tunnel is None or not lines:
            self._files = {}
            return
        self._files = {
            AUTHORITY: tunnel.authority.encode(),
            REVOCATIONS: tunnel.revocations.encode(),
            CERTIFICATE: tunnel.certificate.encode(),
            KEY: key.encode(),
            CONFIGURATION: configuration(tunnel, lines, self.directory).encode(),
        }

    async def converge(self) -> Seconds | None:
        """Make it so; return after how many seconds to look again, or None."""
        if not self._files:
            await self.stop()
            return None
        self.directory.mkdir(mode=0o700, exist_ok=True)
        is_new = self._write()
        if self._process is None:
            pause = self._pause()
            if pause > 0:
                return pause
            self._start()
        elif is_new:
            # It takes new certificates, revocations and lines without ending a connection.
            self._process.send(signal.SIGHUP)
            self._keep()
            log.info("tunnel {name} has new certificates or lines", name=self.directory.name)
        return None

    async def stop(self) -> None:
        """End the process, and every connection through it, and give its ports back."""
        process, self._process = self._process, None
        if process is not None:
            process.send(signal.SIGKILL)
            await process.end()
            log.info("ended tunnel {name}", name=self.directory.name)
        self._output.let_go()
        for router in list(self._taken):
            self._ports.release(self._port_name(router))
        self._taken.clear()
        self._keep()

    def let_go(self) -> None:
        """Leave the process to itself."""
        if self._process is not None:
            self._process.let_go()
        self._output.let_go()

    def _port_name(self, router: str) -> str:
        return f"{self.directory.name}-{router}"

    def _pause(self) -> Seconds:
        """Return how long to wait before the process is started again."""
        if not self._failures:
            return 0.0
        pause = min(RESTART_PAUSE_MAX_S, RESTART_PAUSE_MIN_S * 2.0 ** (self._failures - 1))
        return float(max(0.0, self._started + pause - self._reactor.seconds()))

    def _write(self) -> bool:
        """Write what is not as it shall be, and say whether there was something."""
        found = False
        for name, content in self._files.items():
            path = self.directory / name
            try:
                is_new = path.read_bytes() != content
            except FileNotFoundError:
                is_new = True
            if is_new:
                write_whole(path, content, durable=True)
                found = True
        return found

    def _start(self) -> None:
        tunnel = self.tunnel
        if tunnel is not None and tunnel.side == "front":
            for line in self.lines:
                Path(line.socket).unlink(missing_ok=True)
        output = self._output.descriptor()
        try:
            started = spawn([self._stunnel.path, str(self.directory / CONFIGURATION)], os.environ, output)
        finally:
            os.close(output)
        self._started = self._reactor.seconds()
        self._output.watch()
        # Every client takes two descriptors at each end; the usual limit of 1024 would end at 500.
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.prlimit(started.pid, resource.RLIMIT_NOFILE, (most, most))
        self._watch(started)
        self._keep()
        log.info("started tunnel {name}", name=self.directory.name, pid=started.pid)

    def _watch(self, identity: Identity) -> None:
        self._process = Process(self._reactor, identity, self._ended)

    def _ended(self, reason: str) -> None:
        if self._process is None:
            return  # It was told to.
        self._process = None
        ran = self._reactor.seconds() - self._started
        self._failures = 0 if ran >= STEADY_AFTER_S else self._failures + 1
        said = self._output.last_line()
        log.warn("tunnel {name} is gone: {reason}; {said}", name=self.directory.name, reason=reason, said=said)
        self._changed()

    def _keep(self) -> None:
        if self.directory.exists():
            process = self._process.identity if self._process is not None else None
            kept = _Kept(boot=boot(), process=process, ports=self._taken)
            write_whole(self.directory / "process.json", msgspec.json.encode(kept))
