"""What a process is going to be on this machine: its environment, its user, its places, all filled in."""

import os
import pwd
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from controlplane.core.placeholders import fill
from controlplane.drivers.process.limits import Kept
from controlplane.drivers.process.remains import MARK
from controlplane.errors import WorkerFailed
from controlplane.records.profiles import LogCheck, ProcessProperties, WorkerConfig
from controlplane.records.types import Oid
from controlplane.records.workers import Address

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
WORKER = "CONTROLPLANE_WORKER"


class User(NamedTuple):
    """Who a process belongs to."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str
    shell: str


class Draft(NamedTuple):
    """What a process is going to be."""

    values: Mapping[str, str]
    """Of placeholders."""

    env: Mapping[str, str]
    cwd: str
    user: User | None
    """None for the agent's own."""


def draft(
    oid: Oid,
    config: WorkerConfig,
    properties: ProcessProperties,
    directory: Path,
    address: str,
    ports: Mapping[str, int],
    mark: str,
) -> Draft:
    """Return what a process is going to be; raises `WorkerFailed` when it cannot be that user."""
    values = {
        "oid": str(oid),
        "name": config.name or oid.hex,
        "index": str(config.index),
        "address": address,
        "directory": str(directory),
        **{f"port:{name}": str(number) for name, number in ports.items()},
    }
    user = find_user(properties.user)
    env = own_environment(user)
    env |= {name: fill(value, values) for name, value in properties.env.items()}
    env |= {WORKER: str(oid), MARK: mark}
    return Draft(values, env, fill(properties.cwd, values) if properties.cwd else str(directory), user)


def own_environment(user: User | None) -> dict[str, str]:
    """Return what a process finds in its environment whatever its profile says."""
    own = user or _find(str(os.getuid()))
    env = {"PATH": os.environ.get("PATH", DEFAULT_PATH)}
    env |= {name: os.environ[name] for name in ("LANG", "TZ") if name in os.environ}
    if own is not None:
        env |= {"HOME": own.home, "USER": own.name, "LOGNAME": own.name, "SHELL": own.shell}
    return env


def plan(
    made: Draft, properties: ProcessProperties, kept: Kept, log: Path, word: Path, contact: Path, fence: Path
) -> dict[str, Any]:
    """Return what the keeper is told; the last four are where its files are."""
    check = properties.ready.check
    group = str(kept.group) if kept.group is not None else None
    return {
        "command": [fill(text, made.values) for text in properties.command],
        "env": dict(made.env),
        "cwd": made.cwd,
        "user": (made.user.uid, made.user.gid, list(made.user.groups)) if made.user is not None else None,
        "rlimits": list(kept.rlimits),
        "cgroup_procs": [f"{group}/cgroup.procs"] if group else [],
        "cgroup_kill": [f"{group}/cgroup.kill"] if group else [],
        "cgroup_events": [f"{group}/memory.events"] if group else [],
        "cgroup_directories": [group] if group else [],
        "signal": int(getattr(signal, properties.stop.signal)),
        "grace": properties.stop.grace,
        "ready_text": check.text.encode() if isinstance(check, LogCheck) else None,
        "log": str(log),
        "log_size": properties.logs.size,
        "log_count": properties.logs.count,
        "ended": str(word),
        "contact": str(contact),
        "fence": str(fence),
    }


def addresses(properties: ProcessProperties, host: str, ports: Mapping[str, int]) -> tuple[Address, ...]:
    """Return where clients can connect."""
    authority = f"[{host}]" if ":" in host else host
    return tuple(
        Address(type=name, url=f"{port.scheme}://{authority}:{ports[name]}{port.path or ''}")
        for name, port in properties.ports.items()
    )


def find_user(name: str | None) -> User | None:
    """Return who a process shall belong to, None for the agent's own user; raises `WorkerFailed`."""
    if name is None:
        return None
    user = _find(name)
    if user is None:
        raise WorkerFailed(
            f"there is no user {name} on this node", next_step="make one, or name another in the profile"
        )
    if user.uid == os.getuid():
        return None
    if os.getuid() != 0:
        raise WorkerFailed(
            f"the agent is not root and cannot run a process as user {name}",
            next_step="leave the user out, or run the agent as root",
        )
    return user


def _find(name: str) -> User | None:
    try:
        found = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
    except KeyError:
        return None
    groups = tuple(os.getgrouplist(found.pw_name, found.pw_gid))
    return User(found.pw_name, found.pw_uid, found.pw_gid, groups, found.pw_dir, found.pw_shell)
