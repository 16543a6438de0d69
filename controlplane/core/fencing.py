"""When a worker of a silent node cannot run there any more.

An agent kills the workers of a cluster with fencing when it has not heard of its master for so long as it was told.
What it has heard of last is older than the silence that the master notices. So when the silence has lasted that long,
and a margin, such a worker has ended; one whose agent never said that it knows of this may run for ever.
"""

from controlplane.records.clusters import Cluster
from controlplane.records.nodes import Node
from controlplane.records.types import NANOSECONDS, Instant
from controlplane.records.workers import Worker

FENCE_MARGIN_S = 10.0
"""For the agent's own clockwork, and for what takes its time to die."""

WAITS = "waits until its node "


def gone_at(cluster: Cluster, worker: Worker, node: Node) -> Instant | None:
    """Return when a worker of a silent node has been killed there; None for nobody knows when."""
    if cluster.fence_after is None or worker.fence_after is None:
        return None
    fenced = max(worker.fence_after, cluster.fence_after) + FENCE_MARGIN_S
    return node.since + int(fenced * NANOSECONDS)


def may_still_run(cluster: Cluster, worker: Worker, node: Node | None, now: Instant) -> bool:
    """Say whether a worker of a silent node may run there although nobody can see it, and must not run twice."""
    if cluster.fence_after is None or node is None or node.online:
        return False
    gone = gone_at(cluster, worker, node)
    return gone is None or now < gone


def why_waited_for(worker: Worker, node: Node | None) -> str | None:
    """Return what a worker that stops has to say while it `may_still_run` on this node; on none, when it may not."""
    if node is not None:
        return f"{WAITS}{node.authid}, which is silent, has killed it"
    return None if worker.reason is not None and worker.reason.startswith(WAITS) else worker.reason
