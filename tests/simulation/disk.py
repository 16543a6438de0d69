"""The master's disk: it can be slow, full, cut off its power, and the master can be killed at any step of a commit.

What was committed but not synced survives the end of the process, because the machine keeps it in its cache, and is
lost when the machine loses its power.
"""

import enum
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from controlplane.store.engine import Engine, Space, Transaction
from controlplane.store.memory import MemoryEngine
from tests.simulation.clock import ProcessClock

Image = dict[Space, dict[bytes, bytes]]


class Step(NamedTuple):
    """One key of a commit: as it was, and as it is; None where there is nothing."""

    space: Space
    key: bytes
    before: bytes | None
    after: bytes | None


class Point(enum.Enum):
    """Where in a commit something can happen."""

    BEFORE_COMMIT = "before the commit"
    BEFORE_SYNC = "between commit and sync"
    AFTER_SYNC = "after the sync"


class Disk(MemoryEngine):
    """What the master's machine keeps."""

    def __init__(self) -> None:
        super().__init__()
        self.sync_on_commit = False
        self.syncs = True
        """Whether the disk does what it is asked for; off only in tests of the simulation itself."""

        self.at: Callable[[Point], None] = lambda point: None
        """Called at every point of every commit; it may end the process by raising `Killed`."""

        self.committed: Callable[[list[Step]], None] = lambda steps: None
        """Called with what has become durable, or has outlived its process."""

        self.fresh: list[Step] = []
        """What is committed and not yet synced."""

    def _commit(self, transaction: Any) -> None:
        try:
            self.at(Point.BEFORE_COMMIT)
        except BaseException:
            transaction.undo()
            raise
        super()._commit(transaction)
        self.fresh = self._steps(transaction.log)
        self.at(Point.BEFORE_SYNC)
        if self.syncs:
            self.sync()
        self.settle()
        self.at(Point.AFTER_SYNC)

    def settle(self) -> None:
        """Say what was committed."""
        fresh, self.fresh = self.fresh, []
        if fresh:
            self.committed(fresh)

    def power_cut(self) -> None:
        """Lose what was not synced."""
        self.fresh = []
        super().power_cut()

    def contents(self) -> Image:
        """Return what is committed."""
        return {space: table.values for space, table in self._committed.items()}

    def image(self) -> Image:
        """Return a copy of what is committed, as a backup."""
        return {space: dict(table.values) for space, table in self._committed.items()}

    def load(self, image: Image) -> None:
        """Replace everything by a copy that was made before."""
        for space, table in self._committed.items():
            for key in list(table.values):
                table.set(key, None)
            for key, value in image.get(space, {}).items():
                table.set(key, value)
        self._undo.clear()

    def _steps(self, log: list[tuple[Space, bytes, bytes | None]]) -> list[Step]:
        """Return every write of a transaction with what it wrote, which is what the next one of its key found."""
        if not log:
            return []
        steps = []
        found: dict[tuple[Space, bytes], bytes | None] = {}
        committed = self._committed
        for space, key, before in reversed(log):
            place = (space, key)
            after = found[place] if place in found else committed[space].values.get(key)
            steps.append(Step(space, key, before, after))
            found[place] = before
        steps.reverse()
        return steps


class Mounted:
    """The disk as one process has it: a process that was killed reads and writes no more."""

    def __init__(self, engine: Engine, clock: ProcessClock) -> None:
        self._engine = engine
        self._clock = clock
        self.backup = engine.backup
        self.statistics = engine.statistics

    def attach(self, spaces: list[Space]) -> None:
        self._engine.attach(spaces)

    def read(self) -> AbstractContextManager[Transaction]:
        if self._clock.dead:
            self._clock.die()
        return self._engine.read()

    def write(self) -> AbstractContextManager[Transaction]:
        if self._clock.dead:
            self._clock.die()
        return self._engine.write()

    def close(self) -> None:
        pass  # The disk stays.


def no_bytes_more(disk: Disk) -> None:
    """Let the disk be full."""
    used: Any = disk.statistics()["used"]
    disk.bytes_max = used
