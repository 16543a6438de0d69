"""One pass of the monitor over one cluster: read the situation, plan, and store what the plan says."""

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.logger import Logger

from controlplane.core.acting import canary_of, paced
from controlplane.core.generic_clusters import plan_generic_cluster
from controlplane.core.planning import plan_cluster
from controlplane.core.router_clusters import socket_path, tunnel_path
from controlplane.core.situation import Plan, Situation
from controlplane.records import events
from controlplane.records.clusters import Cluster, ClusterType
from controlplane.records.nodes import Node
from controlplane.records.types import Instant, Oid, Seconds
from controlplane.records.workers import Worker, WorkerStatus
from controlplane.services.acting import SIZING, advance, sooner
from controlplane.services.candidates import counted_candidates, node_of
from controlplane.services.forgetting import forget_cluster
from controlplane.services.ledger import Ledger, count_workers, groups_of
from controlplane.services.making_room import make_room, waited_for
from controlplane.services.specs import Compositions
from controlplane.services.standby import note_taken
from controlplane.services.views import worker_view
from controlplane.store.catalog import ACTIONS, CLUSTERS, REVISIONS, WORKERS
from controlplane.store.database import View

AT_ONCE_WORKERS_MAX = 64
"""Larger clusters are left to the monitor, so that a call about one does not take long."""

ADDED_AT_ONCE_MAX = 1_000
"""Workers that one pass adds to a cluster: others wait meanwhile."""

NewOid = Callable[[], Oid]

log = Logger()


def converge_cluster(ledger: Ledger, cluster_oid: Oid) -> Seconds | None:
    """Bring a cluster nearer to what is wanted; returns after how many seconds to look again, or None."""
    cluster = ledger.rows(CLUSTERS).find(cluster_oid)
    return None if cluster is None else _carry_out(ledger, cluster, _plan(ledger, cluster))


def needs_pass(view: View, cluster_oid: Oid, compositions: Compositions, now: Instant, new_oid: NewOid) -> bool:
    """Say whether a pass over a cluster would change anything or has to look again; reads only."""
    cluster = view.rows(CLUSTERS).find(cluster_oid)
    if cluster is None:
        return False
    plan = _planned(_situation(view, cluster, compositions, now, new_oid))
    return (
        cluster.action_oid is not None
        or _is_left_over(view, cluster)
        or bool(plan)
        or plan.look_again_after is not None
    )


def converge_at_once(ledger: Ledger) -> None:
    """Plan small clusters in the transaction that changed them: one sync less until their workers are told.

    A plan that fails must not fail the change that it follows: it is left to the monitor, which tries again.
    """
    for cluster_oid in ledger.woken():
        cluster = ledger.rows(CLUSTERS).find(cluster_oid)
        if cluster is None or _is_large(ledger, cluster):
            continue
        try:
            plan = _plan(ledger, cluster)
        except Exception:
            log.failure("cluster {cluster} could not be planned at once", cluster=str(cluster_oid))
            continue
        ledger.let_sleep(cluster_oid, _carry_out(ledger, cluster, plan))


def _is_large(ledger: Ledger, cluster: Cluster) -> bool:
    """Say whether a cluster has, or is to have, more workers than are planned in the call that changes it."""
    wanted = sum(group.scale for group in groups_of(ledger.change, cluster.oid)) if cluster.run else 0
    return max(wanted, count_workers(ledger.change, cluster.oid)) > AT_ONCE_WORKERS_MAX


def _plan(ledger: Ledger, cluster: Cluster) -> Plan:
    situation = _situation(ledger.change, cluster, ledger.compositions, ledger.now, ledger.new_oid, ledger.is_heard)
    plan = _planned(situation)
    make_room(ledger, situation, plan)
    return plan


def _planned(situation: Situation) -> Plan:
    router = situation.cluster.type is ClusterType.ROUTER
    return plan_cluster(situation) if router else plan_generic_cluster(situation)


def _carry_out(ledger: Ledger, cluster: Cluster, plan: Plan) -> Seconds | None:
    _store(ledger, plan)
    note_taken(ledger, cluster, plan)
    if cluster.action_oid is not None:
        look_again_after = sooner(plan.look_again_after, advance(ledger, cluster, plan))
        after = ledger.rows(CLUSTERS).find(cluster.oid)
        if after is not None and after.action_oid is None and after.revision == cluster.revision and plan.rolled:
            _forget_old_revisions(ledger, cluster)  # Nobody may look at a cluster again that is at rest.
        return look_again_after
    if _is_left_over(ledger, cluster):
        forget_cluster(ledger.rows, ledger, cluster)
        return None
    if plan.rolled:
        _forget_old_revisions(ledger, cluster)
    return plan.look_again_after


def _is_left_over(view: Any, cluster: Cluster) -> bool:
    """Say whether a cluster is the place of a worker that is gone, and was so only after its deletion had failed.

    Nobody could have such a place deleted: no list shows it, and no worker leads to it.
    """
    free = cluster.action_oid is None and cluster.deleting and cluster.alone
    return free and not count_workers(view, cluster.oid)


def _situation(
    view: View,
    cluster: Cluster,
    compositions: Compositions,
    now: Instant,
    new_oid: NewOid,
    is_heard: Callable[[Oid], bool] | None = None,
) -> Situation:
    """Read what a pass looks at; where nobody says of whom this run of the master has heard, it has of all."""
    workers = tuple(view.rows(WORKERS).all(cluster.oid))
    nodes = {oid: node for oid in {w.node_oid for w in workers if w.node_oid} if (node := node_of(view, oid))}
    revision = compositions.of(view, cluster, cluster.revision)
    candidates = counted_candidates(view, cluster, revision, workers, nodes)
    action = None if cluster.action_oid is None else view.rows(ACTIONS).find(cluster.action_oid)
    return Situation(
        cluster=paced(cluster, action),
        groups=tuple(groups_of(view, cluster.oid)),
        workers=workers,
        driver=revision.driver,
        candidates=candidates,
        nodes=nodes,
        router_socket=_router_socket,
        tunnel_socket=_tunnel_socket,
        digest=revision.digest,
        lean=revision.lean,
        now=now,
        new_oid=new_oid,
        added_max=ADDED_AT_ONCE_MAX,
        may_relieve=action is None or action.kind in SIZING,
        waited_for=partial(waited_for, view, cluster, tuple(candidates.values()), compositions),
        canary=canary_of(action),
        unheard=is_heard is not None and any(node.online and not is_heard(oid) for oid, node in nodes.items()),
    )


def _router_socket(worker: Worker, node: Node) -> str:
    assert node.facts is not None  # Only nodes that attached are given workers.
    return socket_path(node.facts.sockets, worker.oid)


def _tunnel_socket(worker: Worker, node: Node) -> str:
    assert node.facts is not None  # Only nodes that attached are given workers.
    return tunnel_path(node.facts.sockets, worker.oid)


def _store(ledger: Ledger, plan: Plan) -> None:
    for worker in plan.removed:
        before = ledger.rows(WORKERS).get(worker.oid)
        if before.status is WorkerStatus.STOPPING:
            ledger.publish(events.WORKER_STOPPED, worker_view(worker))
        ledger.remove_worker(before)
    for worker in plan.added:
        ledger.add_worker(worker)
    for before, worker in plan.changed:
        after = ledger.replace_worker(before, worker)
        if before.status is WorkerStatus.STOPPING and after.status is WorkerStatus.STOPPED:
            ledger.publish(events.WORKER_STOPPED, worker_view(after))
        if before.node_oid is not None and after.node_oid is not None and before.node_oid != after.node_oid:
            ledger.publish(events.WORKER_MOVED, worker_view(after))


def _forget_old_revisions(ledger: Ledger, cluster: Cluster) -> None:
    rows = ledger.rows(REVISIONS)
    for revision in list(rows.all(cluster.oid)):
        if revision.revision < cluster.revision:
            rows.remove(revision)
