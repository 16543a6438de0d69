"""Which changes of the status of a cluster are announced, and by which event."""

from controlplane.records import events
from controlplane.records.clusters import Cluster, ClusterStatus, ClusterType
from controlplane.records.events import EventType


def transition_event(cluster: Cluster, status: ClusterStatus) -> EventType | None:
    """Return the event that a cluster is announced with when it gets this status, or None for a quiet change."""
    if cluster.alone:
        return None  # The events of the one worker say it all.
    if cluster.type is not ClusterType.ROUTER:
        return _generic_transition(cluster, status)
    match status:
        case ClusterStatus.RUNNING:
            return events.CLUSTER_STARTED if cluster.ready is None else events.CLUSTER_RECOVERED
        case ClusterStatus.DEGRADED:
            return events.CLUSTER_DEGRADED
        case ClusterStatus.ERROR:
            return events.CLUSTER_FAILED
        case ClusterStatus.STOPPED:
            return events.CLUSTER_STOPPED
        case ClusterStatus.STARTING | ClusterStatus.STOPPING:
            # Somebody's call: the procedure says who, in an event of its own.
            return None
    return None


def _generic_transition(cluster: Cluster, status: ClusterStatus) -> EventType | None:
    match status:
        case ClusterStatus.RUNNING:
            return events.ANY_CLUSTER_STARTED if cluster.ready is None else events.ANY_CLUSTER_RECOVERED
        case ClusterStatus.DEGRADED:
            return events.ANY_CLUSTER_DEGRADED
        case ClusterStatus.ERROR:
            return events.ANY_CLUSTER_FAILED
        case ClusterStatus.STOPPED:
            return events.ANY_CLUSTER_STOPPED
    return None
