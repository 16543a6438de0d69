"""Writes through the store against raw LMDB: the same groups, the same bytes, the same disk."""

import tempfile
import time
from itertools import count
from pathlib import Path
from uuid import UUID

from twisted.internet.task import Clock

from controlplane.records.principals import Principal
from controlplane.store.catalog import PRINCIPALS
from controlplane.store.database import Store
from controlplane.store.lmdb import LmdbEngine
from tests.bench.calls import RawCommits
from tests.bench.harness import Figure, at_least, median

ROUNDS = 5
SINGLE = 300
GROUPS = 4
GROUP = 1000


async def run(rounds: int = ROUNDS, single: int = SINGLE, group: int = GROUPS * GROUP) -> list[Figure]:
    """Changes one by one, and in groups."""
    with tempfile.TemporaryDirectory() as folder:
        numbers = count(1)
        clock = Clock()
        store = Store(LmdbEngine(Path(folder) / "store"), clock, lambda: UUID(int=next(numbers) << 64))
        raw = RawCommits(Path(folder) / "raw")

        def add(change):
            number = next(numbers)
            change.rows(PRINCIPALS).add(
                Principal(
                    oid=UUID(int=number << 64), authid=f"p{number}", pubkey=f"{number:064x}", role="admin", created=0
                )
            )

        def ours(changes: int, per_commit: int) -> float:
            begun = time.perf_counter()
            for _ in range(changes // per_commit):
                for _ in range(per_commit):
                    store.write(add)
                clock.advance(0)
            return changes / (time.perf_counter() - begun)

        def floor(changes: int, per_commit: int) -> float:
            # A principal is three puts: the record and its two unique keys.
            return changes / sum(raw.commits(changes // per_commit, 3 * per_commit))

        singles = [(ours(single, 1), floor(single, 1)) for _ in range(rounds)]
        groups = [(ours(group, 250), floor(group, 250)) for _ in range(rounds)]
        store.close()
        return [
            at_least("changes one by one / raw LMDB", *_medians(singles), 0.90, "/s", "raw"),
            at_least("changes in groups of 250 / raw LMDB", *_medians(groups), 0.80, "/s", "raw"),
        ]


def _medians(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    return median(a for a, _ in pairs), median(b for _, b in pairs)
