"""Workers that stand by: who of them is taken into the cluster, and in whose place.

They are workers of their cluster in no group: placed, configured and kept like all others, after them, and counted
apart. To be taken is to be given a group. What runs is not told, because nothing changes for it: same oid, same name,
same process.
"""

from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from typing import NamedTuple

from controlplane.core.counting import so_many
from controlplane.core.spreading import Spread, area_of
from controlplane.records.clusters import Cluster
from controlplane.records.nodes import Node
from controlplane.records.standby import Promotion
from controlplane.records.types import NANOSECONDS, Instant, Oid
from controlplane.records.workers import Want, Worker, WorkerStatus

ON_THE_WAY = frozenset({WorkerStatus.STARTING, WorkerStatus.RUNNING})
"""What a worker that stands by has to be to spare its cluster a start."""


class Taken(NamedTuple):
    """That a worker which stood by is in its cluster from now on, and in whose place."""

    worker: Oid
    instead_of: Oid | None
    reason: str


def pool_size(cluster: Cluster) -> int:
    """Return how many workers are to stand by for a cluster."""
    rules = cluster.standby
    return 0 if rules is None or not cluster.run or cluster.deleting else rules.size


def is_ready(worker: Worker, cluster: Cluster) -> bool:
    """Say whether a worker that stands by could serve at once, with the newest configuration of its cluster."""
    return (
        _is_free(worker)
        and worker.status is WorkerStatus.RUNNING
        and not worker.paused
        and worker.revision == cluster.revision
        and worker.digest is not None
        and worker.seen_digest == worker.digest
    )


def is_on_the_way(worker: Worker) -> bool:
    """Say whether a worker that stands by runs or is about to, so that it is sooner there than a new one."""
    return _is_free(worker) and worker.node_oid is not None and worker.status in ON_THE_WAY and not worker.paused


def _is_free(worker: Worker) -> bool:
    return worker.standby and worker.want is Want.RUN and worker.farewell is None


def pick(
    pool: Iterable[Worker],
    count: int,
    members: Collection[Worker],
    cluster: Cluster,
    nodes: Mapping[Oid, Node],
    now: Instant,
) -> list[Worker]:
    """Return who is taken into a group of `members`, the first one first: of a `pool` of workers whose nodes are known.

    Those that run come first, the steady ones before the others; then those by which the group is spread best. Where
    policies admit no worker of the cluster, none is taken.
    """
    spread = None if cluster.placement is None else Spread(cluster.placement)
    if spread is not None:
        homes = (None if each.node_oid is None else nodes.get(each.node_oid) for each in members)
        spread.begin([(None, home) for home in homes if home is not None], ())
    here = Counter(each.node_oid for each in members)

    def rank(worker: Worker) -> tuple[bool, bool, tuple[float, float], int, int, bytes]:
        ready = is_ready(worker, cluster)
        proven = ready and now >= worker.changed + int(cluster.steady * NANOSECONDS)
        lack = (0.0, 0.0) if spread is None else spread.lack(None, area_of(_node(worker, nodes)))
        return not ready, not proven, lack, here[worker.node_oid], worker.index, worker.oid.bytes

    able = [each for each in pool if spread is None or spread.shut(_node(each, nodes)) is None]
    chosen: list[Worker] = []
    while able and len(chosen) < count:
        best = min(able, key=rank)
        able.remove(best)
        chosen.append(best)
        here[best.node_oid] += 1
        if spread is not None:
            spread.take(None, _node(best, nodes))
    return chosen


def _node(worker: Worker, nodes: Mapping[Oid, Node]) -> Node:
    assert worker.node_oid is not None  # Only workers that have a place spare their cluster a start.
    return nodes[worker.node_oid]


def by_loss(cluster: Cluster) -> Callable[[Worker], tuple[int, int, bytes]]:
    """Return what workers that stand by are ordered by when there are too many: the last ones are no loss."""

    def rank(worker: Worker) -> tuple[int, int, bytes]:
        loss = 0 if is_ready(worker, cluster) else 1 if is_on_the_way(worker) else 2
        return loss, worker.index, worker.oid.bytes

    return rank


def is_replaceable(worker: Worker) -> bool:
    """Say whether another worker may take the place of this one: nobody has protected it or made it his own."""
    return not (
        worker.standby
        or worker.workergroup_oid is None
        or worker.want is not Want.RUN
        or worker.protected
        or worker.farewell is not None
        or worker.drain is not None
        or worker.kept is not None
        or worker.adopts is not None
        or worker.name is not None
        or worker.metadata
    )


def what_fails(worker: Worker, cause_to_leave: str | None) -> str | None:
    """Return why a worker does not serve and will not at once, or None when it does, or has but begun to start."""
    if worker.status is WorkerStatus.ERROR:
        return f"it failed: {worker.reason}" if worker.reason else "it failed"
    if worker.status is WorkerStatus.PENDING:
        return worker.reason or "it has no place"
    if cause_to_leave is not None:
        return cause_to_leave
    if worker.status is WorkerStatus.STARTING and not worker.fresh:
        return "it is being started again"
    return None


def promotion(worker: Worker, cluster: Cluster, now: Instant) -> Promotion:
    """Return what is kept of a worker that is taken: one that is ready has to prove nothing any more."""
    return Promotion(at=now, since=worker.changed if is_ready(worker, cluster) else now)


def joined_at(worker: Worker) -> Instant:
    """Return from when on a worker is one of those that its cluster wants."""
    return worker.created if worker.promotion is None else max(worker.created, worker.promotion.at)


def free_indexes(taken: Container[int], first: int = 0) -> Iterator[int]:
    """Yield the indexes from `first` on that no worker has."""
    index = first
    while True:
        if index not in taken:
            yield index
        index += 1


def describe(size: int, missing: int, ready: int, on_the_way: int) -> str:
    """Return in words what a pool of this size did about so many missing workers."""
    taken = []
    if ready:
        taken.append(f"{ready} that stood by ready")
    if on_the_way:
        taken.append(f"{on_the_way} that stood by and {'has' if on_the_way == 1 else 'have'} to start yet")
    started = missing - ready - on_the_way
    if started:
        taken.append(f"{started} new")
    return f"of {so_many(missing, 'missing worker')} it takes {', '.join(taken)}; {size} stand by"
