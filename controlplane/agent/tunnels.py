"""This node's ends of the tunnels to other machines: asks the master what to keep, and keeps it.

Each end is a process of stunnel. Like workers, ends outlive the agent and are adopted by the next one, and what was
told last is kept on disk, so that a master that is away changes nothing. Keys are made here and stay here: the master
is sent a request, and answers with certificates.
"""

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.utils import getProcessOutputAndValue
from twisted.logger import Logger

from controlplane.agent.ends import End, Surroundings
from controlplane.agent.stunnel import Stunnel, is_usable
from controlplane.drivers.files import write_whole
from controlplane.drivers.ports import Ports
from controlplane.errors import ControlPlaneError, WorkerFailed
from controlplane.loop import Loop
from controlplane.records.protocol import ASSIGNMENT_TOPIC, SYNC_TUNNELS, TUNNELS_TOPIC
from controlplane.records.tunnels import OpenPort, Tunnel, TunnelLine, TunnelPlan, TunnelState
from controlplane.records.types import Record, Seconds, from_wire, to_wire

SYNC_EVERY_S = 600.0
"""How often the master is asked although nothing happened: certificates come to their end."""

ASK_AGAIN_AFTER_S = 2.0
"""When the other end of a tunnel has not said yet where it listens."""

RETRY_AFTER_S = 5.0
ANSWER_WITHIN_S = 10.0
DIRECTORY_MODE = 0o700

log = Logger()


class Link(Protocol):
    """A session with the master's realm."""

    def call(self, uri: str, within: Seconds, **arguments: Any) -> Deferred[Any]:
        """Call a procedure of the master; fails with `ControlPlaneError`, also when no answer comes in time."""
        ...


class Keypair(Record, frozen=True, kw_only=True):
    """A key of this node, and the request for certificates for it."""

    key: str
    request: str
    fingerprint: str


class Tunnels:
    """All ends on this node."""

    def __init__(
        self, reactor: Any, directory: Path, sockets: Path, stunnel: Stunnel, ports: tuple[int, int], name: str
    ) -> None:
        self._reactor = reactor
        self._directory = directory
        self._sockets = sockets
        self._ports = Ports(directory / "ports.json", ports)
        self._name = name
        self._stunnel = stunnel
        self._plan = TunnelPlan()
        self._ends: dict[str, End] = {}
        self._link: Link | None = None
        self._request: str | None = None
        self._syncs: Loop[str] = Loop("tunnels", reactor, self._sync)
        self._ends_loop: Loop[str] = Loop("ends of tunnels", reactor, self._converge)

    async def open(self) -> None:
        """Adopt the ends that run, and start those that were kept and do not."""
        for each in (self._directory, self._directory / "keys", self._directory / "ends"):
            each.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        try:
            self._plan = msgspec.json.decode((self._directory / "plan.json").read_bytes(), type=TunnelPlan)
        except FileNotFoundError:
            pass
        except msgspec.MsgspecError as problem:
            log.warn("the tunnels that were kept cannot be read: {problem}", problem=problem)
        for directory in (self._directory / "ends").iterdir():
            self._end(directory.name).adopt()
        self._apply()

    def joined(self, link: Link) -> None:
        """Ask over a new session."""
        self._link = link
        self._syncs.wake("sync")

    def left(self) -> None:
        """Go on with what there is."""
        self._link = None

    def heard(self, topic: str, payload: Mapping[str, Any]) -> None:
        """Ask when something about tunnels may have changed."""
        if topic == TUNNELS_TOPIC or (topic == ASSIGNMENT_TOPIC and (self._plan.tunnels or _has_tunnels(payload))):
            self._syncs.wake("sync")

    def dismiss(self) -> None:
        """End everything: the master has taken this node out."""
        self._plan = TunnelPlan()
        write_whole(self._directory / "plan.json", msgspec.json.encode(self._plan), durable=True)
        self._apply()

    async def close(self, keep: bool) -> None:
        """Let go of all ends; without `keep` end them."""
        self._link = None
        await self._syncs.close()
        await self._ends_loop.close()
        for end in self._ends.values():
            if keep:
                end.let_go()
            else:
                await end.stop()
        self._ports.close()

    # What there is to be

    async def _sync(self, _key: str) -> Seconds | None:
        link = self._link
        if link is None:
            return None
        ports = self._open_ports()
        state = TunnelState(request=self._request, ports=ports)
        try:
            plan = from_wire(await link.call(SYNC_TUNNELS, ANSWER_WITHIN_S, state=to_wire(state)), TunnelPlan)
        except (ControlPlaneError, msgspec.ValidationError) as problem:
            log.info("the master does not say which tunnels to keep: {problem}", problem=str(problem))
            return RETRY_AFTER_S
        self._request = None
        if plan.tunnels != self._plan.tunnels:
            self._plan = plan
            write_whole(self._directory / "plan.json", msgspec.json.encode(plan), durable=True)
        self._apply()
        unknown = any(self._key_of(tunnel) is None for tunnel in plan.tunnels)
        if plan.renewal_wanted or plan.request_wanted or unknown:
            newest = None if plan.renewal_wanted else self._newest_key()
            self._request = (newest or await self._make_key()).request
            return 0
        self._forget_keys()
        if self._open_ports() != ports:
            return 0
        if any(line.port is None for tunnel in plan.tunnels if tunnel.side == "front" for line in tunnel.lines):
            return ASK_AGAIN_AFTER_S
        return SYNC_EVERY_S if plan.tunnels else None

    def _apply(self) -> None:
        wanted = {_name_of(tunnel): tunnel for tunnel in self._plan.tunnels}
        for name, tunnel in wanted.items():
            key = self._key_of(tunnel)
            lines = [line for line in tunnel.lines if is_usable(line, self._sockets)]
            if key is None or len(lines) < len(tunnel.lines):
                log.warn("tunnel {name} cannot be kept as the master wants it", name=name)
            if key is not None:
                self._end(name).desire(tunnel, self._with_ports(name, tunnel, lines), key.key)
            self._ends_loop.wake(name)
        for name, end in self._ends.items():
            if name not in wanted:
                end.desire(None, [], "")
                self._ends_loop.wake(name)

    def _with_ports(self, name: str, tunnel: Tunnel, lines: list[TunnelLine]) -> list[TunnelLine]:
        """Return the lines that can be served now: at the back every one is given a port of this node."""
        if tunnel.side == "front":
            return [line for line in lines if line.port is not None]
        found = []
        for line in lines:
            try:
                port = self._end(name).port_of(line)
            except WorkerFailed as problem:
                log.error("tunnel {name} has no port: {problem}", name=name, problem=problem.message)
                continue
            found.append(msgspec.structs.replace(line, port=port))
        return found

    def _open_ports(self) -> tuple[OpenPort, ...]:
        return tuple(
            OpenPort(router_oid=line.router_oid, front_oid=end.tunnel.peer_oid, port=line.port)
            for _, end in sorted(self._ends.items())
            if end.tunnel is not None and end.tunnel.side == "back"
            for line in end.lines
            if line.port is not None
        )

    async def _converge(self, name: str) -> Seconds | None:
        end = self._ends.get(name)
        if end is None:
            return None
        pause = await end.converge()
        if end.tunnel is None:
            self._ends.pop(name, None)
            shutil.rmtree(end.directory, ignore_errors=True)
        return pause

    def _end(self, name: str) -> End:
        if name not in self._ends:
            surroundings = Surroundings(self._reactor, self._stunnel, self._ports)
            wake = self._ends_loop.wake
            self._ends[name] = End(surroundings, self._directory / "ends" / name, lambda: wake(name))
        return self._ends[name]

    # Keys

    def _key_of(self, tunnel: Tunnel) -> Keypair | None:
        return _read_key(self._directory / "keys" / f"{tunnel.request}.json")

    def _newest_key(self) -> Keypair | None:
        files = sorted((self._directory / "keys").glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
        return _read_key(files[-1]) if files else None

    async def _make_key(self) -> Keypair:
        fresh = self._directory / "keys" / "fresh"
        arguments = ["-m", "controlplane.agent.keypairs", str(fresh), self._name]
        _, said, status = await getProcessOutputAndValue(sys.executable, arguments, env=None, reactor=self._reactor)
        made = _read_key(fresh)
        if status or made is None:
            raise WorkerFailed(f"no key could be made: {said.decode(errors='replace')[-500:]}")
        fresh.replace(self._directory / "keys" / f"{made.fingerprint}.json")
        return made

    def _forget_keys(self) -> None:
        used = {tunnel.request for tunnel in self._plan.tunnels}
        newest = self._newest_key()
        for file in (self._directory / "keys").glob("*.json"):
            if file.stem not in used and (newest is None or file.stem != newest.fingerprint):
                file.unlink()


def _has_tunnels(payload: Mapping[str, Any]) -> bool:
    configs = payload.get("configs")
    return isinstance(configs, Mapping) and any(
        isinstance(config, Mapping) and config.get("tunnels") for config in configs.values()
    )


def _name_of(tunnel: Tunnel) -> str:
    return f"{tunnel.side}-{tunnel.cluster_oid.hex}-{tunnel.peer_oid.hex}"


def _read_key(file: Path) -> Keypair | None:
    try:
        return msgspec.convert(json.loads(file.read_bytes()), Keypair)
    except (OSError, ValueError):
        return None
