"""Workers of clusters of any type, as a noun of their own."""

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Annotated, Any

import msgspec

from controlplane.core.generic_clusters import worker_name
from controlplane.core.worker_paths import NONE, BadPath, WorkerPath
from controlplane.errors import Ambiguous, InvalidArgument, NoSuchObject, Problem
from controlplane.records.clusters import Cluster
from controlplane.records.types import Oid, to_wire
from controlplane.records.workers import AnyWorkerView, CollectedAttribute, Worker, WorkerStatus
from controlplane.services.arguments import AnyCluster, AnyWorker
from controlplane.services.farewells import is_leaving
from controlplane.services.ledger import groups_of
from controlplane.services.lists import WHETHER, Limit, Values, select
from controlplane.services.pipeline import Call
from controlplane.services.procedures import Ask, procedure
from controlplane.services.workers import STATISTICS_WITHIN_S, figures_of
from controlplane.store.catalog import CLUSTERS, NODES, WORKERS

WORKER = "controlplane.worker."
CLUSTER = "controlplane.cluster."
FIELDS: Mapping[str, Callable[[AnyWorkerView], Any]] = {
    "oid": lambda w: w.oid,
    "name": lambda w: w.name,
    "cluster_oid": lambda w: w.cluster_oid,
    "cluster_name": lambda w: w.cluster_name,
    "workergroup_oid": lambda w: w.workergroup_oid,
    "profile_oid": lambda w: w.profile_oid,
    "node_oid": lambda w: w.node_oid,
    "node_name": lambda w: w.node_name,
    "index": lambda w: w.index,
    "status": lambda w: w.status,
    "alone": lambda w: w.alone,
    "standby": lambda w: w.standby,
    "created": lambda w: w.created,
    "changed": lambda w: w.changed,
}
VALUES: Values = {"status": WorkerStatus, "alone": WHETHER, "standby": WHETHER}
COLLECTED_MAX = 10_000
"""Workers of one cluster whose attributes one call collects."""

Path = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


@procedure(WORKER + "list_workers", needs="read", raises=(NoSuchObject, Ambiguous))
def list_workers(
    call: Call,
    cluster: AnyCluster | None = None,
    filters: dict[str, Any] | None = None,
    sort: str | None = None,
    limit: Limit | None = None,
    marker: str | None = None,
) -> list[AnyWorkerView]:
    """Return workers of all clusters, or of one, cluster by cluster unless `sort` says otherwise."""
    seen = _Views(call)
    rows = call.rows(WORKERS)
    return select(
        (seen.view(worker) for worker in (rows.all() if cluster is None else rows.all(cluster.oid))),
        filters=filters,
        sort=sort,
        limit=limit,
        marker=marker,
        fields=FIELDS,
        values=VALUES,
        oid=lambda each: str(each.oid),
    )


@procedure(WORKER + "get_worker", needs="read", raises=(NoSuchObject, Ambiguous))
def get_worker(call: Call, worker: AnyWorker, details: bool = False) -> AnyWorkerView:
    """Return a worker, by its oid, its name, or the beginning of its oid; with `details` its agent is asked."""
    view = view_any_worker(call, worker)
    if not details:
        return view
    return _ask(call, [(worker, view)], lambda views: views[0])  # type: ignore[return-value]


@procedure(CLUSTER + "collect_cluster_attributes", needs="read", raises=(NoSuchObject, Ambiguous))
def collect_cluster_attributes(call: Call, cluster: AnyCluster, path: Path) -> list[CollectedAttribute]:
    """Return what a path leads to in each worker of a cluster, as `$.status` or `$.addresses[0].url`.

    Workers in which it leads nowhere are left out. A path with `details` in it has the agents asked.
    """
    try:
        read = WorkerPath(path)
    except BadPath as problem:
        raise InvalidArgument(
            f"path {problem}",
            problems=[Problem("$.path", str(problem))],
            next_step="give a path into a worker as get_worker shows it, as $.status",
        ) from None
    views = _Views(call)
    workers = [(worker, views.view(worker)) for worker in islice(call.rows(WORKERS).all(cluster.oid), COLLECTED_MAX)]

    def collect(found: list[AnyWorkerView]) -> list[CollectedAttribute]:
        values = ((view, read.first(to_wire(view))) for view in found)
        return [
            CollectedAttribute(worker_oid=view.oid, worker_name=view.name, value=value)
            for view, value in values
            if value is not NONE
        ]

    if read.of_details:
        return _ask(call, workers, collect)  # type: ignore[return-value]
    return collect([view for _, view in workers])


def view_any_worker(call: Call, worker: Worker) -> AnyWorkerView:
    """Return a worker of a cluster of any type, or of none, as callers see it."""
    return _Views(call).view(worker)


class _Views:
    """Workers as callers see them; what many have in common is read once."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._clusters: dict[Oid, tuple[Cluster, dict[Oid, str]]] = {}
        self._nodes: dict[Oid, str | None] = {}

    def view(self, worker: Worker) -> AnyWorkerView:
        cluster, groups = self._cluster(worker.cluster_oid)
        group = None if worker.workergroup_oid is None else groups.get(worker.workergroup_oid)
        return AnyWorkerView(
            oid=worker.oid,
            name=worker_name(cluster, worker, group),
            cluster_oid=worker.cluster_oid,
            cluster_name=cluster.name,
            workergroup_oid=worker.workergroup_oid,
            workergroup_name=group,
            profile_oid=cluster.profile_oid if worker.kept is None else worker.kept.profile_oid,
            node_oid=worker.node_oid,
            node_name=self._node(worker.node_oid),
            index=worker.index,
            status=worker.status.value,
            reason=worker.reason,
            leaving=is_leaving(worker),
            restarts=worker.restarts,
            failures=worker.failures,
            revision=worker.revision,
            updated=worker.digest is not None and worker.seen_digest == worker.digest,
            started=worker.started,
            pid=worker.pid,
            realms=worker.realms,
            addresses=worker.addresses,
            created=worker.created,
            changed=worker.changed,
            alone=cluster.alone,
            metadata=worker.metadata,
            paused=worker.paused,
            protected=worker.protected,
            standby=worker.standby,
        )

    def _cluster(self, oid: Oid) -> tuple[Cluster, dict[Oid, str]]:
        if oid not in self._clusters:
            groups = {group.oid: group.name for group in groups_of(self._call.view, oid)}
            self._clusters[oid] = self._call.rows(CLUSTERS).get(oid), groups
        return self._clusters[oid]

    def _node(self, oid: Oid | None) -> str | None:
        if oid is not None and oid not in self._nodes:
            node = self._call.rows(NODES).find(oid)
            self._nodes[oid] = None if node is None else node.authid
        return None if oid is None else self._nodes[oid]


def _ask(
    call: Call, workers: list[tuple[Worker, AnyWorkerView]], complete: Callable[[list[AnyWorkerView]], Any]
) -> Ask:
    """Have the agents say what they know of these workers, and complete the answer with it."""
    questions: dict[Oid, list[Oid]] = {}
    for worker, _ in workers:
        node = worker.node_oid
        if worker.status is WorkerStatus.RUNNING and node is not None and call.rows(NODES).has(node):
            questions.setdefault(node, []).append(worker.oid)

    def told(answers: Mapping[Oid, Mapping[str, Any]]) -> Any:
        details = {oid: said for node in answers for oid, said in figures_of(answers[node], questions[node])}
        return complete([msgspec.structs.replace(view, details=details.get(view.oid)) for _, view in workers])

    return Ask({node: {"workers": oids} for node, oids in questions.items()}, STATISTICS_WITHIN_S, told)
