"""What goes when a cluster goes."""

from collections.abc import Callable
from typing import Any

from controlplane.records.clusters import Cluster
from controlplane.records.principals import Possession
from controlplane.services.balancing import dismiss_balance
from controlplane.services.ledger import Ledger
from controlplane.store.catalog import (
    AUTHORITIES,
    BINDINGS,
    CERTIFICATES,
    CLUSTERS,
    GRANTS,
    GROUPS,
    MEMBERSHIPS,
    MESSAGES,
    ORDERS,
    POSSESSIONS,
    RECEIVERS,
    REVISIONS,
    TUNNEL_PORTS,
    WORKERS,
)
from controlplane.store.tables import Rows, Table


def forget_cluster(rows: Callable[[Table[Any]], Rows[Any]], ledger: Ledger, cluster: Cluster) -> None:
    """Forget a cluster with its memberships, groups, workers and rights; `rows` says on whose account."""
    for worker in list(rows(WORKERS).all(cluster.oid)):
        ledger.remove_worker(worker)
    for port in list(rows(TUNNEL_PORTS).all_by("cluster", cluster.oid)):
        rows(TUNNEL_PORTS).remove(port)
    if cluster.owner_oid is not None and not cluster.alone:
        rows(POSSESSIONS).remove(Possession(principal_oid=cluster.owner_oid, cluster_oid=cluster.oid))
    for table in (MEMBERSHIPS, REVISIONS, GRANTS, BINDINGS, AUTHORITIES, CERTIFICATES, ORDERS):
        for record in list(rows(table).all(cluster.oid)):
            rows(table).remove(record)
    for receiver in list(rows(RECEIVERS).all_by("cluster", cluster.oid)):
        rows(RECEIVERS).remove(receiver)
        for message in list(rows(MESSAGES).all(receiver.oid)):
            rows(MESSAGES).remove(message)
    for group in list(rows(GROUPS).all_by("name", cluster.oid)):
        rows(GROUPS).remove(group)
    if dismiss_balance(ledger.change, cluster, ledger.now):
        ledger.tell_balancer(cluster.oid)
    rows(CLUSTERS).remove(cluster)
    ledger.compositions.forget(cluster.oid)
