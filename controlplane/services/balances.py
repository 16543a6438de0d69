"""Looking at what the balancer of a cluster knows."""

from controlplane.errors import Ambiguous, NoSuchObject
from controlplane.records.balancing import BalanceView
from controlplane.services.arguments import AnyCluster
from controlplane.services.balancing import balance_view
from controlplane.services.pipeline import Call
from controlplane.services.procedures import procedure
from controlplane.store.catalog import BALANCES


@procedure("controlplane.cluster.get_cluster_balance", needs="read", raises=(NoSuchObject, Ambiguous))
def get_cluster_balance(call: Call, cluster: AnyCluster) -> BalanceView:
    """Return to whom the load balancer of a cluster is to send clients, and whether it does so yet."""
    found = call.rows(BALANCES).find(cluster.oid)
    if found is None:
        raise NoSuchObject(
            f"cluster {cluster.name} has no load balancer",
            subject={"type": "balance", "cluster_oid": str(cluster.oid)},
            next_step="attach a policy of the type load_balance",
        )
    return balance_view(found)
