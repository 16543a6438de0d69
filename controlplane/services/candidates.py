"""Nodes that may carry a cluster, with what they carry already."""

from collections.abc import Iterable, Iterator, Mapping

from controlplane.core.placement import Candidate, occupies
from controlplane.records.clusters import Cluster, ClusterType
from controlplane.records.nodes import Load, Node
from controlplane.records.types import Oid
from controlplane.records.workers import Worker
from controlplane.services.specs import Revision
from controlplane.store.catalog import LOADS, MEMBERSHIPS, NODES
from controlplane.store.database import View
from controlplane.store.tables import Rows


def counted_candidates(
    view: View, cluster: Cluster, revision: Revision, workers: Iterable[Worker], known: Mapping[Oid, Node]
) -> dict[Oid, Candidate]:
    """Return the nodes that may carry a cluster of these workers, which are counted on them."""
    found = {candidate.node.oid: candidate for candidate in candidates_of(view, cluster, known)}
    for candidate in found.values() if revision.exposed else ():
        candidate.exposed = True
    for worker in workers:
        on = found.get(worker.node_oid) if worker.node_oid is not None and occupies(worker) else None
        if on is not None:
            on.of_cluster += 1
    return found


def candidates_of(view: View, cluster: Cluster, known: Mapping[Oid, Node]) -> Iterator[Candidate]:
    """Yield the nodes that may carry a cluster: its members, or all nodes when a generic one has none.

    Workers of the cluster itself are still to be counted.
    """
    if cluster.node_oid is not None:
        only = known.get(cluster.node_oid) or node_of(view, cluster.node_oid)
        if only is not None:
            yield Candidate(only, None, None, in_all=_load(view.rows(LOADS), only.oid))
        return
    rows = view.rows(MEMBERSHIPS)
    anywhere = cluster.type is ClusterType.GENERIC and not rows.count(cluster.oid)
    loads = view.rows(LOADS)
    if anywhere:
        for node in view.rows(NODES).all():
            yield Candidate(node, None, cluster.per_node_max, in_all=_load(loads, node.oid))
        return
    nodes, per_node_max = view.rows(NODES), cluster.per_node_max
    for member in rows.all(cluster.oid):
        found = known.get(member.node_oid) or nodes.find(member.node_oid)
        if found is not None:
            limit = member.hardlimit
            if limit is None or (per_node_max is not None and per_node_max < limit):
                limit = per_node_max
            yield Candidate(found, member.softlimit, limit, in_all=_load(loads, found.oid))


def _load(loads: Rows[Load], node_oid: Oid) -> int:
    load = loads.find(node_oid)
    return load.workers if load else 0


def node_of(view: View, oid: Oid) -> Node | None:
    """Return a node, or None when it is no more."""
    return view.rows(NODES).find(oid)
