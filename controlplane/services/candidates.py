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
            yield _Candidate(only, None, None, loads=view.rows(LOADS))
        return
    rows = view.rows(MEMBERSHIPS)
    anywhere = cluster.type is ClusterType.GENERIC and not rows.count(cluster.oid)
    loads = view.rows(LOADS)
    if anywhere:
        for node in view.rows(NODES).all():
            yield _Candidate(node, None, cluster.per_node_max, loads=loads, limited_by=cluster.per_node_policy)
        return
    nodes, per_node_max = view.rows(NODES), cluster.per_node_max
    for member in rows.all(cluster.oid):
        found = known.get(member.node_oid) or nodes.find(member.node_oid)
        if found is not None:
            limit, limited_by = member.hardlimit, None
            if limit is None or (per_node_max is not None and per_node_max < limit):
                limit, limited_by = per_node_max, cluster.per_node_policy
            yield _Candidate(found, member.softlimit, limit, loads=loads, limited_by=limited_by)


class _Candidate(Candidate):
    """One whose load is read when somebody asks for it, on the transaction of the pass: most passes place nobody."""

    __slots__ = ("_in_all", "_loads")

    def __init__(
        self,
        node: Node,
        softlimit: int | None,
        hardlimit: int | None,
        of_cluster: int = 0,
        in_all: int | None = None,
        exposed: bool = False,
        loads: Rows[Load] | None = None,
        limited_by: str | None = None,
    ) -> None:
        self.node = node
        self.softlimit = softlimit
        self.hardlimit = hardlimit
        self.of_cluster = of_cluster
        self.exposed = exposed
        self.limited_by = limited_by
        self._in_all = in_all
        self._loads = loads

    @property
    def in_all(self) -> int:
        if self._in_all is None:
            load = None if self._loads is None else self._loads.find(self.node.oid)
            self._in_all = load.workers if load else 0
        return self._in_all

    @in_all.setter
    def in_all(self, number: int) -> None:
        self._in_all = number


def node_of(view: View, oid: Oid) -> Node | None:
    """Return a node, or None when it is no more."""
    return view.rows(NODES).find(oid)
