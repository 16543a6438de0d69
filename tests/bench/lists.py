"""Pages of a list of a hundred thousand objects, against LMDB alone that reads all of them: bytes, no records."""

import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from controlplane.master.plane import Plane
from controlplane.process import real_chance
from controlplane.records.actions import Action, ActionKind, ActionStatus
from controlplane.records.clusters import Cluster, ClusterType
from controlplane.records.types import NANOSECONDS
from controlplane.store.catalog import ACTIONS, CLUSTERS, PRINCIPALS
from controlplane.store.lmdb import LmdbEngine
from controlplane.store.tables import Table
from tests.bench.harness import Figure, at_most, median
from tests.conftest import ADMIN_RECORD, SilentWire
from tests.simulation.world import ADMIN

OBJECTS = 100_000
ROUNDS = 5
PAGE = 100
WRITTEN_AT_ONCE = 5_000
CLUSTERS_OF = "controlplane.cluster.list_clusters"
ACTIONS_OF = "controlplane.action.list_actions"


async def run(objects: int = OBJECTS, rounds: int = ROUNDS) -> list[Figure]:
    """Pages in the order of the store, of few among all, and in another order."""
    with tempfile.TemporaryDirectory() as folder:
        clock, plane = _filled(Path(folder) / "store", objects)
        with plane.store.read() as view:
            middle = str(UUID(bytes=next(islice(view.rows(CLUSTERS).scan_keys(), objects // 2, None))))
        cases = [
            ("first page of 100", 0.05, CLUSTERS_OF, {}),
            ("page of 100 from the middle on", 0.05, CLUSTERS_OF, {"marker": middle}),
            ("100 newest actions", 0.05, ACTIONS_OF, {"sort": "created:desc"}),
            ("page of 100 by name", 0.05, CLUSTERS_OF, {"sort": "name"}),
            ("page of 100 with a filter that one in 500 fits", 2, CLUSTERS_OF, {"filters": {"name": _rare(objects)}}),
            ("page of 100 by when they were changed", 4, CLUSTERS_OF, {"sort": "changed:desc,name"}),
        ]
        figures = []
        for name, bar, uri, given in cases:
            table = ACTIONS if uri == ACTIONS_OF else CLUSTERS
            taken, floor = [], []
            for _ in range(rounds):
                floor.append(_scan(plane, table))
                begun = time.perf_counter()
                found = _call(clock, plane, uri, limit=PAGE, **given)
                taken.append(time.perf_counter() - begun)
                assert len(found) >= min(PAGE, objects // 3)
            name = f"{name}, of {objects} / scan"
            figures.append(at_most(name, median(taken), median(floor), bar, "ms", "scan", 1e3))
        plane.store.close()
        return figures


def _filled(directory: Path, objects: int) -> tuple[Clock, Plane]:
    clock = Clock()
    plane = Plane(LmdbEngine(directory, sync=False), clock, real_chance(), SilentWire())
    plane.store.write_now(lambda change: change.rows(PRINCIPALS).put(ADMIN_RECORD))
    for start in range(0, objects, WRITTEN_AT_ONCE):
        numbers = range(start, min(objects, start + WRITTEN_AT_ONCE))
        plane.store.write_now(lambda change, numbers=numbers: _write(change, numbers))
    return clock, plane


def _write(change: Any, numbers: range) -> None:
    for number in numbers:
        oid = UUID(int=(number * 2_654_435_761 % 2**32) << 96 | number, version=4)
        created = number * NANOSECONDS
        change.rows(CLUSTERS).put(
            Cluster(oid=oid, name=_name(number), type=ClusterType.GENERIC, created=created, changed=created)
        )
        change.rows(ACTIONS).put(
            Action(
                oid=oid,
                name=f"cluster_create_{number}",
                kind=ActionKind.CLUSTER_CREATE,
                cluster_oid=oid,
                cluster_name=_name(number),
                who="admin",
                status=ActionStatus.SUCCEEDED,
                timeout=60.0,
                created=created,
                ended=created,
            )
        )


def _name(number: int) -> str:
    return f"cluster_{number:07d}"


def _rare(objects: int) -> list[str]:
    """Names of two hundred clusters all over the list."""
    return [_name(number) for number in range(0, objects, max(1, objects // 200))]


def _scan(plane: Plane, table: Table[Any]) -> float:
    """Read every object with LMDB alone."""
    begun = time.perf_counter()
    with plane.store.read() as view:
        size = sum(len(data) for _, data in view._transaction.scan(table.space))
    assert size > 0
    return time.perf_counter() - begun


def _call(clock: Clock, plane: Plane, uri: str, **arguments: Any) -> Any:
    outcome: list[Any] = []
    ensureDeferred(plane.invoke(ADMIN, uri, (), arguments)).addBoth(outcome.append)
    while not outcome:
        clock.advance(0.001)
    if hasattr(outcome[0], "raiseException"):
        outcome[0].raiseException()
    return outcome[0]
