"""Who goes when there are more workers than are wanted.

The sick ones first. Then, when policies spread the cluster over regions and zones, those of where it has most for its
weight; within such an area, and without such policies, those that a deletion policy names, else the highest index.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any

from controlplane.core.spreading import NEVER, Area, area_of
from controlplane.records.nodes import Node
from controlplane.records.placement import PlacementRules, Share
from controlplane.records.types import Oid
from controlplane.records.workers import Worker, WorkerStatus

SICK = frozenset({WorkerStatus.PENDING, WorkerStatus.ERROR, WorkerStatus.UNREACHABLE})


def surplus_of_group(
    workers: list[Worker], scale: int, rules: PlacementRules | None, nodes: Mapping[Oid, Node]
) -> list[Worker]:
    """Return who goes of a group that wants so many workers: nobody who is protected."""
    able = [worker for worker in workers if not worker.protected]
    count = min(len(workers) - scale, len(able))
    if rules is not None:
        return surplus(workers, count, rules, nodes, _last, is_sick)
    return sorted(able, key=_by_worth)[len(able) - count :]


def surplus_routers(routers: list[Worker], scale: int) -> list[Worker]:
    """Return which routers go: one cannot stand in for another one, the realms that live on it go by its index."""
    return sorted(routers, key=by_index)[scale:]


def surplus(
    workers: Collection[Worker],
    count: int,
    rules: PlacementRules,
    nodes: Mapping[Oid, Node],
    first: Callable[[Worker], Any],
    sick: Callable[[Worker], bool],
) -> list[Worker]:
    """Return which workers of one group go, so that those that stay are spread as the rules say.

    Sick ones go first. Within an area, and among those that have no place, they go in the order of `first`. Protected
    ones stay, and count where they are.
    """
    protected = [worker for worker in workers if worker.protected]
    able = (worker for worker in workers if not worker.protected)
    ranked = sorted(able, key=lambda worker: (not sick(worker), first(worker)))
    ill = [worker for worker in ranked if sick(worker)]

    def home(worker: Worker) -> Area:
        node = None if worker.node_oid is None else nodes.get(worker.node_oid)
        return Area(None, None) if node is None else area_of(node)

    areas: dict[Area, list[Worker]] = {}
    for worker in ranked[len(ill) :]:
        areas.setdefault(home(worker), []).append(worker)
    queues = {area: queue[::-1] for area, queue in areas.items()}
    regions = {share.name: share for share in rules.regions}
    zones = {share.name: share for share in rules.zones}
    here = [home(worker) for worker in (*ranked[len(ill) :], *protected)]
    in_regions = Counter(area.region for area in here)
    in_zones = Counter(area.zone for area in here)

    def excess(area: Area) -> tuple[float, float]:
        of_region = _excess(in_regions[area.region], area.region, regions)
        return of_region, _excess(in_zones[area.zone], area.zone, zones)

    chosen = ill[:count]
    while len(chosen) < count and queues:
        most = max(map(excess, queues))
        area = min((each for each in queues if excess(each) == most), key=lambda each: first(queues[each][-1]))
        chosen.append(queues[area].pop())
        in_regions[area.region] -= 1
        in_zones[area.zone] -= 1
        if not queues[area]:
            del queues[area]
    return chosen


def missing_indexes(stay: list[Worker], scale: int, run: bool, held: Collection[int] = ()) -> list[int]:
    """Return the lowest free indexes of a group that wants more workers than it has.

    Places that are `held` count as taken, and so do their indexes: what was told one may still run with it.
    """
    count = scale - len(held) - len(stay)
    if not run or count <= 0:
        return []
    taken = {worker.index for worker in stay} | set(held)
    free = (index for index in range(scale) if index not in taken)
    return list(itertools.islice(free, count))


def is_sick(worker: Worker) -> bool:
    """Say whether a worker is no loss."""
    return worker.status in SICK


def by_index(worker: Worker) -> tuple[int, bytes]:
    """Return what workers of a group are ordered by."""
    return worker.index, worker.oid.bytes


def _excess(count: int, name: str | None, shares: Mapping[str, Share]) -> float:
    if not shares:
        return 0.0
    share = None if name is None else shares.get(name)
    return (2 * count - 1) / share.weight if share is not None and share.weight else NEVER


def _last(worker: Worker) -> tuple[int, bytes]:
    return -worker.index, worker.oid.bytes


def _by_worth(worker: Worker) -> tuple[bool, int, bytes]:
    """Order workers so that those at the end are removed first: the sick ones, then the highest index."""
    return worker.status in SICK, worker.index, worker.oid.bytes
