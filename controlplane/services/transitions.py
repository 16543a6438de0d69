"""Which changes of the status of a cluster are announced, and by which event."""

from collections.abc import Mapping

from controlplane.records import events
from controlplane.records.clusters import Cluster, ClusterStatus, ClusterType
from controlplane.records.events import EventType

_OF_ROUTERS: Mapping[ClusterStatus, EventType] = {
    ClusterStatus.RUNNING: events.CLUSTER_RECOVERED,
    ClusterStatus.DEGRADED: events.CLUSTER_DEGRADED,
    ClusterStatus.ERROR: events.CLUSTER_FAILED,
    ClusterStatus.STOPPED: events.CLUSTER_STOPPED,
}
"""No event when it starts or stops: that is somebody's call, and the procedure says who, in an event of its own."""

_OF_OTHERS: Mapping[ClusterStatus, EventType] = {
    ClusterStatus.RUNNING: events.ANY_CLUSTER_RECOVERED,
    ClusterStatus.DEGRADED: events.ANY_CLUSTER_DEGRADED,
    ClusterStatus.ERROR: events.ANY_CLUSTER_FAILED,
    ClusterStatus.STOPPED: events.ANY_CLUSTER_STOPPED,
}


def transition_event(cluster: Cluster, status: ClusterStatus) -> EventType | None:
    """Return the event that a cluster is announced with when it gets this status, or None for a quiet change."""
    if cluster.alone:
        return None  # The events of the one worker say it all.
    router = cluster.type is ClusterType.ROUTER
    if status is ClusterStatus.RUNNING and cluster.ready is None:
        return events.CLUSTER_STARTED if router else events.ANY_CLUSTER_STARTED
    return (_OF_ROUTERS if router else _OF_OTHERS).get(status)
