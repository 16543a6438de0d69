"""Processes that run already and were not started by us: what profile each could have, and whether it can be ours.

All of it is read from /proc, and the process is not touched. It is told from another one that gets its pid later by the
moment at which it was started, and by the run of the machine.
"""

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec

from controlplane.core.placeholders import escape
from controlplane.core.profile_checks import read_properties
from controlplane.drivers.process.drafts import WORKER, addresses, own_environment
from controlplane.drivers.process.figures import descendants
from controlplane.drivers.process.remains import MARK
from controlplane.drivers.process.running import Note
from controlplane.drivers.process.taken import started_at
from controlplane.drivers.processes import Identity, boot, identify
from controlplane.errors import CannotAdopt, Problem, WorkerFailed
from controlplane.records.profiles import OWN_VARIABLE_PREFIX, ProcessProperties
from controlplane.records.types import Record
from controlplane.records.workers import Findings, WorkerSpec

PORTS_MAX = 32
LISTENING = "0A"
GONE = " (deleted)"
IDENTITY = "$.identity"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}")


class Adopted(Record, frozen=True, kw_only=True):
    """One process for ever, on one machine."""

    pid: int
    ticks: int
    boot: str

    def identity(self) -> Identity | None:
        """Return the process if it can still be there: only since the machine was started."""
        return Identity(self.pid, self.ticks) if self.boot == boot() else None


def inspect(given: str, snapshot: bool, ours: frozenset[Identity], ports: tuple[int, int]) -> Findings:
    """Return what profile a process could have and how it is told from others; raises `CannotAdopt`.

    Those that are `ours` are workers already. Of the ports that it listens on those are a part of the profile that
    workers of this node may have: with another one it could not be started anew.
    """
    found = identify(int(given)) if given.isascii() and given.isdigit() and len(given) < 10 else None
    if found is None:
        raise _refusal(given, [Problem(IDENTITY, "is no pid of a process of this node")])
    problems = list(_foreign(found.pid))
    if found in ours:
        problems.append(Problem(IDENTITY, "is a worker already"))
    if snapshot:
        problems.append(Problem("$.snapshot", "is for containers: a process has no image"))
    properties: dict[str, Any] = {}
    if not problems:
        try:
            properties, problems = _read(found.pid, ports)
        except OSError as problem:
            problems = [Problem(IDENTITY, f"cannot be looked into: {problem.strerror}")]
    if identify(found.pid) != found:
        problems = [Problem(IDENTITY, "has ended meanwhile")]
    if not problems:
        _, problems = read_properties(properties, ProcessProperties, "$.properties")
    if problems:
        raise _refusal(given, problems)
    return Findings(properties=properties, adopts={"pid": found.pid, "ticks": found.ticks, "boot": boot()})


def note_of(
    spec: WorkerSpec, adopts: Mapping[str, Any], properties: ProcessProperties, home: Path, address: str
) -> Note | None:
    """Return a note of a process that is to be adopted, None when it does not run any more; raises `WorkerFailed`."""
    try:
        identity = msgspec.convert(adopts, Adopted).identity()
    except msgspec.ValidationError as problem:
        raise WorkerFailed(f"what is to be adopted cannot be read: {problem}") from None
    if identity is None or identify(identity.pid) != identity:
        return None
    ports = {name: port.number for name, port in properties.ports.items() if port.number is not None}
    if len(ports) < len(properties.ports):
        raise WorkerFailed("a process that runs already cannot be given other ports")
    return Note(
        oid=spec.oid,
        digest=spec.digest,
        config=spec.config,
        run=f"{home}/{uuid4().hex[:12]}",
        slot=0,
        keeper=identity,
        process=identity,
        started=started_at(identity),
        ports=ports,
        addresses=addresses(properties, address, ports),
        taken=True,
    )


def _refusal(given: str, problems: list[Problem]) -> CannotAdopt:
    return CannotAdopt(
        f"process {given} cannot be adopted: " + "; ".join(f"{each.path} {each.message}" for each in problems),
        problems=problems,
        next_step="make a profile for it, and a worker of that in its place",
    )


def _foreign(pid: int) -> Iterator[Problem]:
    """Yield why a process can never be ours, whatever it is."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        if {int(uid) for uid in re.findall(r"^Uid:\s+(.*)$", status, re.MULTILINE)[0].split()} != {os.getuid()}:
            yield Problem(IDENTITY, "belongs to another user than the agent")
            return
        if pid in _own_line():
            yield Problem(IDENTITY, "is the agent, or what has started it")
        if os.readlink(f"/proc/{pid}/ns/pid") != os.readlink("/proc/self/ns/pid"):
            yield Problem(IDENTITY, "runs in a container: adopt that")
        if os.readlink(f"/proc/{pid}/root") != os.readlink("/proc/self/root"):
            yield Problem(IDENTITY, "has another root directory")
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        if any(each.startswith((f"{MARK}=".encode(), f"{WORKER}=".encode())) for each in environment):
            yield Problem(IDENTITY, "is a worker already, or belongs to one")
    except (OSError, IndexError):
        yield Problem(IDENTITY, "cannot be looked into")


def _own_line() -> set[int]:
    """Return this process and those above it."""
    found, pid = set(), os.getpid()
    while pid > 0 and pid not in found:
        found.add(pid)
        try:
            text = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            break
        pid = int(text[text.rindex(")") + 2 :].split()[1])
    return found


def _read(pid: int, ports: tuple[int, int]) -> tuple[dict[str, Any], list[Problem]]:
    problems: list[Problem] = []
    arguments = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    if not arguments[0]:
        return {}, [Problem(IDENTITY, "has no command: it belongs to the kernel, or is about to end")]
    environment = _environment(Path(f"/proc/{pid}/environ").read_bytes(), problems)
    program = os.readlink(f"/proc/{pid}/exe")
    if program.endswith(GONE):
        problems.append(Problem("$.properties.command[0]", "is a program that was removed"))
    command = [_text(each, f"$.properties.command[{place}]", problems) for place, each in enumerate(arguments)]
    if not _leads_to(command[0], environment, program):
        command[0] = program
    cwd = os.readlink(f"/proc/{pid}/cwd")
    if cwd.endswith(GONE):
        problems.append(Problem("$.properties.cwd", "is a directory that was removed"))
    usual = own_environment(None)
    own = {
        name: escape(value)
        for name, value in environment.items()
        if usual.get(name) != value and not name.startswith(OWN_VARIABLE_PREFIX)
    }
    numbers = [number for number in sorted(listening(pid)) if ports[0] <= number <= ports[1]]
    found = {f"tcp{number}": {"number": number} for number in numbers[:PORTS_MAX]}
    properties = {
        "command": [escape(each) for each in command],
        "env": own,
        "cwd": escape(cwd),
        "ports": found,
        # Whatever it does not share with another one, we do not know of it: the next one waits until it has ended.
        "overlap": False,
    }
    return properties, problems


def _environment(data: bytes, problems: list[Problem]) -> dict[str, str]:
    found = {}
    for each in data.split(b"\0"):
        name, equals, value = each.partition(b"=")
        text = name.decode("ascii", "replace")
        if equals and _VARIABLE.fullmatch(text):
            found[text] = _text(value, f"$.properties.env.{text}", problems)
    return found


def _text(data: bytes, path: str, problems: list[Problem]) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        problems.append(Problem(path, "holds bytes that are no text"))
        return ""


def _leads_to(named: str, environment: Mapping[str, str], program: str) -> bool:
    """Say whether a program that is called like this would be the same one."""
    found = shutil.which(named, path=environment.get("PATH")) if named else None
    try:
        return found is not None and os.path.samefile(found, program)
    except OSError:
        return False


def listening(pid: int) -> set[int]:
    """Return the TCP ports that a process or its children listen on."""
    ports: set[int] = set()
    for each in (pid, *descendants(pid)):
        try:
            sockets = {os.readlink(entry.path) for entry in os.scandir(f"/proc/{each}/fd")}
            tables = [Path(f"/proc/{each}/net/{name}").read_text() for name in ("tcp", "tcp6")]
        except OSError:
            continue
        for table in tables:
            for line in table.splitlines()[1:]:
                fields = line.split()
                if fields[3] == LISTENING and f"socket:[{fields[9]}]" in sockets:
                    ports.add(int(fields[1].rsplit(":", 1)[1], 16))
    return ports
