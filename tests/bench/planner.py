"""Placing a million workers on ten thousand nodes, and moving those of a node that is lost."""

import heapq
import time
import tracemalloc
from collections import Counter
from dataclasses import replace
from itertools import count
from uuid import UUID

from controlplane.core.placement import Candidate, Placement, Site
from controlplane.core.planning import plan_cluster
from controlplane.records.types import NANOSECONDS
from tests.bench.harness import Figure, at_least, at_most, median
from tests.strategies import GRACE_S, NOW, group, node, situation

NODES = 10_000
WORKERS = 1_000_000
ROUNDS = 3
CLUSTER_NODES = 10_000
CLUSTER_WORKERS = 100_000
SCALE = 100


async def run(
    nodes: int = NODES,
    workers: int = WORKERS,
    cluster: tuple[int, int] = (CLUSTER_NODES, CLUSTER_WORKERS),
    rounds: int = ROUNDS,
) -> list[Figure]:
    """The rule alone, plain and with limits; whole plans of one cluster; and the loss of a node."""
    plain, limited, bare = [], [], []
    for _ in range(rounds):
        bare.append(_bare_heap(nodes, workers))
        candidates, rate = _place(nodes, workers, limits=False)
        plain.append(rate)
        limited.append(_place(nodes, workers, limits=True)[1])
    carried = [candidate.of_cluster for candidate in candidates.values()]
    what = f"{nodes} nodes x {workers} workers"
    return [
        at_least(f"placements, {what} / bare heap", median(plain), median(bare), 0.10, "/s", "heap"),
        at_least("the same with limits and capacities", median(limited), median(bare), 0.03, "/s", "heap"),
        at_most("imbalance between nodes, workers", float(max(carried) - min(carried)), 1, 1, "workers", "workers"),
        at_most("memory of a placement per worker", _memory(nodes, workers), 200, 1, "B", "B"),
        *_plans(*cluster),
    ]


def _candidates(nodes: int, workers: int, *, limits: bool) -> dict[UUID, Candidate]:
    share = workers // nodes
    candidates = {}
    for number in range(1, nodes + 1):
        kind = number % 4 if limits else 0
        place = node(number, capacity=2 * share if kind == 1 else None)
        soft, hard = (share // 2 if kind == 2 else None), (share if kind == 3 else None)
        candidates[place.oid] = Candidate(place, soft, hard)
    return candidates


def _place(nodes: int, workers: int, *, limits: bool) -> tuple[dict[UUID, Candidate], float]:
    candidates = _candidates(nodes, workers, limits=limits)
    begun = time.perf_counter()
    placement = Placement(candidates, "router")
    placement.bind(Site("here", None))
    placed = sum(placement.place() is not None for _ in range(workers))
    taken = time.perf_counter() - begun
    assert placed == workers
    return candidates, workers / taken


def _bare_heap(nodes: int, workers: int) -> float:
    """The least that placing by load can be: take the least loaded of a heap, and put it back with one more."""
    begun = time.perf_counter()
    heap = [(0, number) for number in range(nodes)]
    for _ in range(workers):
        load, number = heap[0]
        heapq.heapreplace(heap, (load + 1, number))
    return workers / (time.perf_counter() - begun)


def _memory(nodes: int, workers: int) -> float:
    """Bytes per worker that a placement holds while it goes on, without the records of nodes that it is given."""
    candidates = _candidates(nodes, 0, limits=False)
    tracemalloc.start()
    placement = Placement(candidates, "router")
    for _ in range(min(workers, 2 * nodes)):
        placement.place()
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return held / workers


def _plans(nodes: int, workers: int) -> list[Figure]:
    """Whole plans, records of workers included: from nothing, and after a node was lost."""
    groups = [group(number, SCALE) for number in range(workers // SCALE)]
    members = [(node(number + 1), None, None) for number in range(nodes)]
    numbers = count(1)
    before = replace(situation(groups, members), new_oid=lambda: UUID(int=next(numbers) << 64))
    begun = time.perf_counter()
    plan = plan_cluster(before)
    taken = time.perf_counter() - begun
    floor = _bare_heap(nodes, workers)
    lost = _lose(groups, members, plan.added)
    return [
        at_least(f"whole plan, {nodes} x {workers} / bare heap", len(plan.added) / taken, floor, 0.03, "/s", "heap"),
        *lost,
    ]


def _lose(groups, members, workers) -> list[Figure]:
    """What is moved when a node is lost, and how long the plan takes."""
    gone = max(Counter(worker.node_oid for worker in workers).items(), key=lambda item: item[1])[0]
    silent = NOW - int((GRACE_S + 1) * NANOSECONDS)
    members = [
        (node(number + 1, online=place.oid != gone, since=silent), soft, hard)
        for number, (place, soft, hard) in enumerate(members)
    ]
    placed = [worker for worker in workers if worker.node_oid is not None]
    lost = sum(worker.node_oid == gone for worker in placed)
    before = situation(groups, members, placed)
    begun = time.perf_counter()
    plan = plan_cluster(before)
    taken = time.perf_counter() - begun
    moved = sum(old.node_oid != new.node_oid for old, new in plan.changed)
    return [
        at_most("workers moved / workers on the lost node", float(moved), float(lost), 1, "moved", "lost"),
        at_most("plan after the loss, per worker of the cluster", taken / len(placed), 20e-6, 1, "us", "us", 1e6),
    ]
