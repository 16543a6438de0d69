"""The real plane over a real store, for one process that is watched: it says after every commit what is stored then.

`python -m tests.crash.writer DIRECTORY DIARY CALLS SEED [unsynced]` appends `commit DIGEST` to the diary once a commit
is durable, and `answer` once a caller has been told. How these lines lie between the writes of the store is what
strace tells.
"""

import hashlib
import os
import sys
from itertools import count
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock
from zlmdb import lmdb as raw

from controlplane.clock import Chance
from controlplane.errors import CannotStart, CannotStop, NotStopped
from controlplane.master.plane import Plane
from controlplane.store.catalog import PRINCIPALS, TABLES
from controlplane.store.engine import Engine
from controlplane.store.lmdb import LmdbEngine
from tests.conftest import ADMIN, ADMIN_RECORD, NOW, SilentWire

PREFIX = "crossbarfabriccenter.mrealm.routercluster."


def digest_of(engine: Engine) -> str:
    """Return what stands for everything that is stored."""
    digest = hashlib.sha256()
    with engine.read() as transaction:
        for table in TABLES:
            for space in table.spaces():
                for key, value in transaction.scan(space):
                    digest.update(b"%d %d " % (len(key), len(value)) + key + value)
    return digest.hexdigest()


class Writer:
    """Makes changes, one after the other or many at a time."""

    def __init__(
        self, directory: Path, diary: Path, seed: int, *, sync: bool, watched: bool = True, events_kept: int = 100_000
    ) -> None:
        self.random = Random(seed)
        self.clock = Clock()
        self._diary = os.open(diary, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        numbers = count(1)
        chance = Chance(lambda: NOW, lambda: UUID(int=next(numbers) << 64, version=4), self.random.random)
        self.engine = LmdbEngine(directory, sync=sync)
        self.plane = Plane(self.engine, self.clock, chance, SilentWire(), events_kept=events_kept)
        self.plane.store.write_now(lambda change: change.rows(PRINCIPALS).put(ADMIN_RECORD))
        if watched:
            self._watch_commits()

    def call(self, verb: str, *args: Any) -> Any:
        outcome: list[Any] = []
        uri = verb if "." in verb else PREFIX + verb
        ensureDeferred(self.plane.invoke(ADMIN, uri, args, {})).addBoth(outcome.append)
        while not outcome:
            self.clock.advance(0.001)
        if hasattr(outcome[0], "raiseException"):
            if not outcome[0].check(CannotStart, CannotStop, NotStopped):
                outcome[0].raiseException()
            return None
        self.note("answer")
        return outcome[0]

    def note(self, line: str) -> None:
        os.write(self._diary, line.encode() + b"\n")

    def work(self, calls: int) -> None:
        """Make so many calls, of every kind."""
        clusters: list[tuple[str, str]] = []
        node = self.call("controlplane.node.pair_node", f"{1:064x}", "node1")["oid"]
        for number in range(calls):
            kind = self.random.random()
            if len(clusters) < 3 or kind < 0.15:
                description = "x" * self.random.choice([10, 500, 4000])
                cluster = self.call("create_routercluster", {"name": f"c{number}0", "description": description})["oid"]
                self.call("add_routercluster_node", cluster, node)
                group = self.call("add_routercluster_workergroup", cluster, {"name": "web", "scale": 2})["oid"]
                clusters.append((cluster, group))
            elif kind < 0.3:
                self.call("start_routercluster", self.random.choice(clusters)[0])
            elif kind < 0.4:
                self.call("stop_routercluster", self.random.choice(clusters)[0])
            elif kind < 0.5:
                cluster, group = self.random.choice(clusters)
                if self.call("delete_routercluster", cluster) is not None:
                    clusters.remove((cluster, group))
            else:
                self.call("scale_routercluster_workergroup", *self.random.choice(clusters), self.random.randrange(6))
        self.plane.store.close()

    def _watch_commits(self) -> None:
        commit = raw.Transaction.commit

        def watched(transaction: Any) -> None:
            last = transaction._write and transaction._parent is None
            commit(transaction)
            if last:
                self.note("commit " + digest_of(self.engine))

        raw.Transaction.commit = watched


if __name__ == "__main__":
    directory, diary, calls, seed, *more = sys.argv[1:]
    writer = Writer(Path(directory), Path(diary), int(seed), sync="unsynced" not in more)
    writer.note("begin")
    writer.note("commit " + digest_of(writer.engine))
    writer.work(int(calls))
