"""Workers of router clusters, and figures about them."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from controlplane.core.health import cluster_reason
from controlplane.errors import NoSuchObject
from controlplane.records.clusters import Cluster, ClusterStatus
from controlplane.records.statistics import GroupStatistics, RealmStatistics, Statistics
from controlplane.records.types import Line, Natural, Oid, Record
from controlplane.records.workers import Worker, WorkerStatus, WorkerView
from controlplane.services.arguments import ExistingCluster, ExistingGroup, ExistingWorker
from controlplane.services.groups import of_cluster, view_group
from controlplane.services.ledger import groups_of, whole_tally
from controlplane.services.lists import Limit, page
from controlplane.services.names import ROUTERCLUSTER, crossbar_names
from controlplane.services.pipeline import Call
from controlplane.services.procedures import Ask, procedure
from controlplane.services.views import by_status, worker_view
from controlplane.store.catalog import NODES, TALLIES, WORKERS

STATISTICS_WITHIN_S = 2.0
FIGURES_BYTES_MAX = 64 * 1024
"""Of what an agent may say of one worker."""

LIST = "list_routercluster_workers"
GET = "get_routercluster_worker"
STAT = "stat_routercluster"
STAT_GROUP = "stat_routercluster_workergroup"


@procedure(ROUTERCLUSTER + LIST, needs="read", aliases=crossbar_names(LIST), raises=(NoSuchObject,))
def list_routercluster_workers(
    call: Call,
    routercluster_oid: ExistingCluster,
    filter_by_status: WorkerStatus | None = None,
    limit: Limit | None = None,
    marker: str | None = None,
) -> list[str]:
    """Return the oids of a cluster's workers: its routers first, then group by group in order of the index."""
    workers = call.rows(WORKERS).all(routercluster_oid.oid)
    oids = [str(w.oid) for w in workers if filter_by_status is None or w.status is filter_by_status]
    return page(oids[oids.index(marker) + 1 :] if marker in oids else oids, limit)


@procedure(ROUTERCLUSTER + GET, needs="read", aliases=crossbar_names(GET), raises=(NoSuchObject,))
def get_routercluster_worker(_call: Call, routercluster_oid: ExistingCluster, worker_oid: ExistingWorker) -> WorkerView:
    """Return a worker of a cluster: where it runs, how it is, and where clients can connect to it."""
    cluster, worker = routercluster_oid, worker_oid
    if worker.cluster_oid != cluster.oid:
        raise NoSuchObject(
            f"router cluster {cluster.name} has no worker {worker.oid}",
            subject={"type": "worker", "oid": str(worker.oid), "cluster_oid": str(cluster.oid)},
            next_step="list the workers of the cluster",
        )
    return worker_view(worker)


@procedure(ROUTERCLUSTER + STAT, needs="read", aliases=crossbar_names(STAT), raises=(NoSuchObject,))
def stat_routercluster(call: Call, routercluster_oid: ExistingCluster) -> Statistics:
    """Return how a cluster does now: workers by status, node and group, restarts, and what its routers count."""
    cluster = routercluster_oid
    workers = list(call.rows(WORKERS).all(cluster.oid))
    counts, desired = whole_tally(call.view, cluster)
    groups = groups_of(call.view, cluster.oid)
    of_groups = [_group_statistics(call, cluster, group.oid, group.name, group.scale) for group in groups]
    if any(worker.workergroup_oid is None for worker in workers):
        of_groups.insert(0, _group_statistics(call, cluster, None, None, cluster.routers))
    reason = cluster_reason(counts, desired) if cluster.run else None
    return _ask(call, cluster.oid, cluster.status, reason, desired, workers, of_groups, workers)  # type: ignore[return-value]


@procedure(ROUTERCLUSTER + STAT_GROUP, needs="read", aliases=crossbar_names(STAT_GROUP), raises=(NoSuchObject,))
def stat_routercluster_workergroup(
    call: Call, routercluster_oid: ExistingCluster, workergroup_oid: ExistingGroup
) -> Statistics:
    """Return how one worker group does now, and what the routers behind it count."""
    cluster = routercluster_oid
    group = of_cluster(workergroup_oid, cluster)
    workers = list(call.rows(WORKERS).all(cluster.oid, group.oid))
    routers = list(call.rows(WORKERS).all(cluster.oid, None))
    tally = call.rows(TALLIES).find(cluster.oid, group.oid)
    status = view_group(call, group, cluster).status
    reason = cluster_reason(tally.counts if tally else {}, group.scale) if cluster.run else None
    of_group = [_group_statistics(call, cluster, group.oid, group.name, group.scale)]
    return _ask(call, group.oid, status, reason, group.scale, workers, of_group, [*routers, *workers])  # type: ignore[return-value]


def _group_statistics(call: Call, cluster: Cluster, oid: Oid | None, name: str | None, scale: int) -> GroupStatistics:
    tally = call.rows(TALLIES).find(cluster.oid, oid)
    return GroupStatistics(
        oid=oid,
        name=name,
        scale=scale,
        workers_by_status=by_status(tally.counts if tally else {}),
        restarts=tally.restarts if tally else 0,
    )


def _ask(
    call: Call,
    oid: Oid,
    status: ClusterStatus,
    reason: str | None,
    desired: int,
    workers: list[Worker],
    groups: list[GroupStatistics],
    asked: list[Worker],
) -> Ask:
    by_node: dict[str, dict[str, int]] = {}
    by_status: dict[str, int] = {}
    for worker in workers:
        here = by_node.setdefault(str(worker.node_oid) if worker.node_oid else "", {})
        here[worker.status.value] = here.get(worker.status.value, 0) + 1
        by_status[worker.status.value] = by_status.get(worker.status.value, 0) + 1
    running = [w for w in asked if w.status is WorkerStatus.RUNNING and w.node_oid is not None]
    questions: dict[Oid, list[Oid]] = {}
    for worker in running:
        if worker.node_oid is not None and call.rows(NODES).has(worker.node_oid):
            questions.setdefault(worker.node_oid, []).append(worker.oid)

    def complete(answers: Mapping[Oid, Mapping[str, Any]]) -> Statistics:
        figures = {str(worker): said for node in answers for worker, said in figures_of(answers[node], questions[node])}
        return Statistics(
            oid=oid,
            status=status,
            reason=reason,
            time=call.now,
            desired=desired,
            workers_by_status=by_status,
            workers_by_node=by_node,
            groups=tuple(groups),
            restarts=sum(worker.restarts for worker in workers),
            realms=tuple(_realms(running, figures)),
            workers=figures,
            silent=tuple(worker.oid for worker in running if str(worker.oid) not in figures),
        )

    return Ask({node: {"workers": oids} for node, oids in questions.items()}, STATISTICS_WITHIN_S, complete)


class _RealmFigures(Record, frozen=True, kw_only=True):
    sessions: Natural | None = None
    messages: dict[str, dict[str, Natural]] | None = None


class _Figures(Record, frozen=True, kw_only=True):
    realms: dict[Line, _RealmFigures] | None = None


def figures_of(answer: Mapping[str, Any], asked: list[Oid]) -> Iterator[tuple[Oid, dict[str, Any]]]:
    """Yield what an agent says of its own workers; what nobody could use or carry counts as silence."""
    for worker in asked:
        try:
            msgspec.msgpack.encode(answer[str(worker)])  # It refuses numbers that not every serializer can carry.
            said = msgspec.json.encode(answer[str(worker)])
            if len(said) <= FIGURES_BYTES_MAX:
                msgspec.json.decode(said, type=_Figures)
                yield worker, msgspec.json.decode(said)
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
            continue


def _realms(workers: list[Worker], figures: Mapping[str, Any]) -> list[RealmStatistics]:
    found = []
    for worker in workers:
        said = msgspec.convert(figures.get(str(worker.oid), {}), _Figures)
        for realm, figure in (said.realms or {}).items():
            found.append(
                RealmStatistics(
                    realm=realm, worker_oid=worker.oid, sessions=figure.sessions, messages=figure.messages or {}
                )
            )
    return found
