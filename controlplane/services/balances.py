"""Looking at what the balancer of a cluster knows."""

import msgspec

from controlplane.core.balancing import nowhere
from controlplane.errors import Ambiguous, NoSuchObject
from controlplane.records.balancing import BalanceView
from controlplane.services.arguments import AnyCluster
from controlplane.services.balancing import balance_view
from controlplane.services.pipeline import Call
from controlplane.services.procedures import procedure
from controlplane.store.catalog import BALANCES, WORKERS


@procedure("controlplane.cluster.get_cluster_balance", needs="read", raises=(NoSuchObject, Ambiguous))
def get_cluster_balance(call: Call, cluster: AnyCluster) -> BalanceView:
    """Return to whom the load balancer of a cluster is to send clients, and whether it does so yet."""
    found = call.rows(BALANCES).find(cluster.oid)
    if found is None:
        raise NoSuchObject(
            f"cluster {cluster.name} has no load balancer",
            subject={"type": "balance", "cluster_oid": str(cluster.oid)},
            next_step="attach a policy of the type load_balance, or enable the one that it has",
        )
    view = balance_view(found)
    if view.problem is None:
        workers = (each for each in call.rows(WORKERS).all(cluster.oid) if each.workergroup_oid is not None)
        view = msgspec.structs.replace(view, problem=nowhere(workers, found.rule.port))
    return view
