"""What is known of what workers use, for policies and for whoever asks; kept in memory only, and never much of it."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from controlplane.core.autoscaling import Measured
from controlplane.core.metrics import aggregate
from controlplane.core.policies import Bound
from controlplane.errors import Ambiguous, NoSuchObject
from controlplane.records.clusters import Cluster, Group
from controlplane.records.metrics import ClusterMetrics, GroupPoint, MetricPoint, PolicyState, Usage, Watch
from controlplane.records.scaling import MetricPolicy
from controlplane.records.types import NANOSECONDS, Instant, Oid, Seconds
from controlplane.records.workers import Want, Worker, WorkerStatus
from controlplane.services.arguments import AnyCluster
from controlplane.services.bound import bound_policies
from controlplane.services.cluster_actions import CLUSTER
from controlplane.services.ledger import groups_of
from controlplane.services.lists import Limit
from controlplane.services.pipeline import Call
from controlplane.services.procedures import procedure
from controlplane.store.catalog import CLUSTERS, WORKERS
from controlplane.store.database import View

POINTS_MAX = 1_000
"""Measurements that are kept of one cluster."""

USAGES_MAX = 1_000
"""Workers of one cluster of which the last measurement is kept one by one."""

METRICS_ALWAYS = ("cpu", "memory")
SAMPLES_PER_PERIOD = 4
KEEP_PERIODS = 3
KEEP_MORE_S = 5.0
"""How long agents go on measuring when nobody asks again: three periods and a little."""


class Window:
    """The last measurements of one cluster."""

    def __init__(self, period: Seconds, length: int) -> None:
        self.period = period
        self.points: deque[MetricPoint] = deque(maxlen=length)
        self.usages: dict[str, Usage] = {}
        self.states: dict[Oid, PolicyState] = {}

    def row(self, group: str, metric: str) -> list[Measured]:
        """Return what was measured of a group, the oldest first."""
        return [
            Measured(point.time, found.desired, found.warm, found.metrics.get(metric))
            for point in self.points
            if (found := point.groups.get(group)) is not None
        ]


class Windows:
    """The last measurements of every cluster that a policy needs them of."""

    def __init__(self) -> None:
        self._windows: dict[Oid, Window] = {}

    def __len__(self) -> int:
        return len(self._windows)

    def find(self, cluster_oid: Oid) -> Window | None:
        """Return the measurements of a cluster, or None when nobody needs any."""
        return self._windows.get(cluster_oid)

    def open(self, cluster_oid: Oid, period: Seconds, length: int) -> Window:
        """Return where measurements of a cluster are kept; what was measured in other periods does not count."""
        known = self._windows.get(cluster_oid)
        if known is None or (known.period, known.points.maxlen) != (period, length):
            known = self._windows[cluster_oid] = Window(period, length)
        return known

    def forget(self, cluster_oid: Oid) -> None:
        """Keep nothing of a cluster any more."""
        self._windows.pop(cluster_oid, None)


class Survey(NamedTuple):
    """What is to be measured of a cluster, and for which policies."""

    policies: Sequence[Bound]
    period: Seconds
    length: int
    """Of the window, in measurements."""

    metrics: tuple[str, ...]
    groups: Mapping[Oid, Group]
    workers: Mapping[Oid, Worker]
    """Those that have run for long enough to be measured."""

    @property
    def questions(self) -> dict[Oid, dict[str, object]]:
        """Return what each node is asked."""
        watch = Watch(period=self.period / SAMPLES_PER_PERIOD, keep=self.period * KEEP_PERIODS + KEEP_MORE_S)
        asked: dict[Oid, list[Oid]] = {}
        for worker in self.workers.values():
            if worker.node_oid is not None:
                asked.setdefault(worker.node_oid, []).append(worker.oid)
        return {node: {"workers": oids, "watch": watch} for node, oids in asked.items()}


def survey(view: View, cluster_oid: Oid, now: Instant) -> Survey | None:
    """Return what is to be measured of a cluster, or None when no policy needs anything, or it is not to run."""
    cluster = view.rows(CLUSTERS).find(cluster_oid)
    if cluster is None or not cluster.run or cluster.deleting:
        return None
    policies = metric_policies(view, cluster_oid)
    if not policies:
        return None
    rules: list[MetricPolicy] = [each.rule for each in policies]
    longest = max(rule.period * max(rule.evaluation_periods, rule.scale_in_periods) for rule in rules)
    period = max(min(rule.period for rule in rules), longest / POINTS_MAX)
    groups = {group.oid: group for group in groups_of(view, cluster_oid)}
    warm_up = int(max(rule.warm_up for rule in rules) * NANOSECONDS)
    workers = {worker.oid: worker for worker in view.rows(WORKERS).all(cluster_oid) if _is_warm(worker, now - warm_up)}
    return Survey(
        policies,
        period,
        min(POINTS_MAX, int(longest / period) + 1),
        tuple(dict.fromkeys((*METRICS_ALWAYS, *(rule.metric for rule in rules)))),
        groups,
        workers,
    )


def metric_policies(view: View, cluster_oid: Oid) -> list[Bound]:
    """Return the policies of a cluster that need measurements."""
    return [each for each in bound_policies(view, cluster_oid) if isinstance(each.rule, MetricPolicy)]


def take_in(window: Window, found: Survey, answers: Mapping[str, Usage], now: Instant) -> MetricPoint:
    """Add a measurement, and return it."""
    of_group: dict[Oid, list[Worker]] = {oid: [] for oid in found.groups}
    for worker in found.workers.values():
        if worker.workergroup_oid in of_group:
            of_group[worker.workergroup_oid].append(worker)
    point = MetricPoint(
        time=now,
        groups={
            found.groups[oid].name: GroupPoint(
                desired=found.groups[oid].scale,
                warm=len(workers),
                metrics=aggregate(
                    (answers[str(worker.oid)] for worker in workers if str(worker.oid) in answers), found.metrics
                ),
            )
            for oid, workers in of_group.items()
        },
    )
    window.points.append(point)
    window.usages = dict(list(answers.items())[:USAGES_MAX])
    return point


@procedure(CLUSTER + "get_cluster_metrics", needs="read", raises=(NoSuchObject, Ambiguous))
def get_cluster_metrics(call: Call, cluster: AnyCluster, limit: Limit = 20) -> ClusterMetrics:
    """Return what a cluster's workers used in the last measurements, and what policies made of it.

    Only clusters with a policy that scales by a metric are measured. The measurements are kept in memory: after the
    master was started anew there are none, and policies wait until there are enough.
    """
    window = call.metrics.find(cluster.oid)
    if window is None:
        return _metrics(cluster, bool(cluster.run and metric_policies(call.view, cluster.oid)), None, (), {}, ())
    points = list(window.points)[-limit:]
    return _metrics(cluster, True, window.period, points, window.usages, window.states.values())


def _metrics(
    cluster: Cluster,
    watched: bool,
    period: Seconds | None,
    points: Iterable[MetricPoint],
    workers: Mapping[str, Usage],
    policies: Iterable[PolicyState],
) -> ClusterMetrics:
    return ClusterMetrics(
        cluster_oid=cluster.oid,
        cluster_name=cluster.name,
        watched=watched,
        period=period,
        points=tuple(points),
        workers=dict(workers),
        policies=tuple(policies),
    )


def _is_warm(worker: Worker, before: Instant) -> bool:
    return worker.status is WorkerStatus.RUNNING and worker.want is Want.RUN and worker.changed <= before
