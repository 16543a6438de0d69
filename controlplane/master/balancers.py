"""Keeps load balancers in step: each is told what it is to know, again and again until it has taken that over.

What it is to know stands in the store, so a master that was killed goes on with it. There is nothing to catch up with:
a balancer is always told everything, and only the newest.
"""

import os
import shlex
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from controlplane.clock import Clock
from controlplane.core.balancing import render
from controlplane.errors import ControlPlaneError, NotOffered, RemoteError
from controlplane.loop import Loop
from controlplane.master.outgoing import Poster
from controlplane.records.balancing import Balance, BalanceMessage, CallbackTarget, FileTarget
from controlplane.records.types import Oid, Seconds, to_wire
from controlplane.services.balancing import note_accepted, note_problem
from controlplane.services.ledger import Ledger
from controlplane.store.catalog import BALANCES
from controlplane.store.database import Store

PARALLEL_MAX = 8
PAUSE_MIN_S, PAUSE_MAX_S = 0.5, 30.0
DOUBLINGS_MAX = 10
GIVEN_UP_AFTER = 100
"""Failures in a row, when the cluster is no more and the balancer cannot be told."""

RELOAD_WITHIN_S = 30.0
RELOAD_GAP_S = 1.0
"""Between two reloads of one balancer: haproxy, for one, passes over a signal that comes while it starts anew."""

SAID_LENGTH_MAX = 500
FILE_MODE = 0o640

log = Logger()


class Files(Protocol):
    """Files that balancers read."""

    def obstacle(self, target: FileTarget) -> str | None:
        """Return why a balancer cannot be kept so, or None when it can."""
        ...

    def put(self, target: FileTarget, text: str) -> Deferred[None]:
        """Write a file and have it read; fails with `RemoteError` when it is not."""
        ...


class NoFiles:
    """Writes nothing."""

    def obstacle(self, _target: FileTarget) -> str | None:
        """Return that there is no directory."""
        return "the master's setting balancer_dir names no directory"

    def put(self, _target: FileTarget, _text: str) -> Deferred[None]:
        """Refuse."""
        raise NotOffered("there are no files of balancers", next_step="see the master's setting balancer_dir")


class BalancerFiles:
    """Files in one directory, and commands that its operator has named: nothing that a caller says is run."""

    def __init__(self, directory: Path, commands: Mapping[str, tuple[str, ...]]) -> None:
        self._directory = directory
        self._commands = commands

    def obstacle(self, target: FileTarget) -> str | None:
        """Return why a balancer cannot be kept so, or None when it can."""
        if target.reload is not None and target.reload not in self._commands:
            known = ", ".join(sorted(self._commands)) or "none"
            return f"the master's setting balancer_reload names no command {target.reload}; it names {known}"
        return None

    def put(self, target: FileTarget, text: str) -> Deferred[None]:
        """Write a file and have it read; fails with `RemoteError` when it is not."""
        return deferToThread(self._put, target, text)

    def _put(self, target: FileTarget, text: str) -> None:
        path = self._directory / target.file
        try:
            _replace(path, text)
            if target.reload is not None:
                self._reload(target.reload)
        except (OSError, subprocess.SubprocessError) as problem:
            why = problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
            raise RemoteError(
                f"{path} cannot be taken over: {why}", next_step="see the master's setting balancer_dir"
            ) from None

    def _reload(self, name: str) -> None:
        done = subprocess.run(
            self._commands[name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=RELOAD_WITHIN_S,
            cwd=self._directory,
            check=False,
        )
        if done.returncode:
            said = done.stdout[-SAID_LENGTH_MAX:].decode(errors="replace").strip()
            why = f"command {name} ended with {done.returncode}" + (f": {said}" if said else " and said nothing")
            raise RemoteError(why, next_step="run it by hand")


def read_commands(text: str) -> dict[str, tuple[str, ...]]:
    """Return the commands of a setting, `NAME=COMMAND; NAME=COMMAND`; raises `ValueError` for another form."""
    found: dict[str, tuple[str, ...]] = {}
    for each in filter(None, map(str.strip, text.split(";"))):
        name, equals, command = each.partition("=")
        words = tuple(shlex.split(command))
        if not equals or not name.strip() or not words:
            raise ValueError(f"{each!r} is not of the form NAME=COMMAND")
        found[name.strip()] = words
    return found


class Balancers:
    """Tells balancers what they are to know."""

    def __init__(
        self,
        clock: Clock,
        store: Store,
        poster: Poster,
        files: Files,
        change: Callable[[Callable[[Ledger], Any]], Deferred[Any]],
    ) -> None:
        self._store = store
        self._poster = poster
        self._files = files
        self._change = change
        self._clock = clock
        self._failures: dict[Oid, int] = {}
        self._reload_from: dict[Oid, Seconds] = {}
        """When a balancer may be reloaded again, by our clock."""

        self._loop: Loop[Oid] = Loop("balancers", clock, self._tell, parallel_max=PARALLEL_MAX)

    def start(self) -> None:
        """Go on with what was not taken over yet when the master ended."""
        with self._store.read() as view:
            for balance in view.rows(BALANCES).all():
                self._loop.wake(balance.cluster_oid)

    def wake(self, cluster_oid: Oid) -> None:
        """Have the balancer of a cluster told what is new."""
        self._loop.wake(cluster_oid)

    async def close(self) -> None:
        """Tell nobody more."""
        await self._loop.close()

    async def _tell(self, cluster_oid: Oid) -> Seconds | None:
        with self._store.read() as view:
            balance = view.rows(BALANCES).find(cluster_oid)
        if balance is None or balance.accepted >= balance.sequence:
            self._failures.pop(cluster_oid, None)
            return None
        rest = self._reload_from.get(cluster_oid, 0.0) - self._clock.seconds()
        if rest > 0:
            return rest
        try:
            await self._send(balance)
        except ControlPlaneError as problem:
            return await self._failed(balance, str(problem))
        self._failures.pop(cluster_oid, None)
        await self._change(lambda ledger: note_accepted(ledger, balance))
        return None

    async def _send(self, balance: Balance) -> None:
        match balance.rule.target:
            case FileTarget() as target:
                self._reload_from = {oid: due for oid, due in self._reload_from.items() if due > self._clock.seconds()}
                if target.reload is not None:
                    self._reload_from[balance.cluster_oid] = self._clock.seconds() + RELOAD_GAP_S
                await self._files.put(target, render(target, balance.members))
            case CallbackTarget(url=url):
                message = BalanceMessage(
                    cluster_oid=balance.cluster_oid,
                    cluster_name=balance.cluster_name,
                    sequence=balance.sequence,
                    members=balance.members,
                )
                await self._poster.post(url, to_wire(message))

    async def _failed(self, balance: Balance, problem: str) -> Seconds | None:
        failures = self._failures[balance.cluster_oid] = self._failures.get(balance.cluster_oid, 0) + 1
        pause = min(PAUSE_MAX_S, PAUSE_MIN_S * 2.0 ** min(failures - 1, DOUBLINGS_MAX))
        log.warn("the balancer of {name}: {p}; again in {s} s", name=balance.cluster_name, p=problem, s=pause)
        if balance.gone and failures >= GIVEN_UP_AFTER:
            await self._change(lambda ledger: note_accepted(ledger, balance))
            return None
        await self._change(lambda ledger: note_problem(ledger, balance, problem))
        return pause


def _replace(path: Path, text: str) -> None:
    """Have a file with another content; a reader finds the old or the new one."""
    fresh = path.with_name(f".{path.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, FILE_MODE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    os.replace(fresh, path)
