"""Who hears of a change once it is durable: subscribers, the monitor, agents, and what is told or called outside."""

from typing import Any, Protocol

from controlplane.records.events import EventType
from controlplane.records.types import Oid, Seconds
from controlplane.records.workers import Command


class Outlets(Protocol):
    """Who hears of a change once it is durable."""

    def publish(self, kind: EventType, payload: dict[str, Any]) -> None:
        """Send an event to its subscribers."""
        ...

    def wake_cluster(self, cluster_oid: Oid, after: Seconds | None = None) -> None:
        """Have the monitor look at a cluster, at once or after so many seconds."""
        ...

    def policies_changed(self, cluster_oid: Oid) -> None:
        """Have it looked at what the policies of a cluster need from now on."""
        ...

    def push_node(self, node_oid: Oid, version: int, workers: frozenset[Oid]) -> None:
        """Tell the agent of a node what has become of these workers in this version of its assignment."""
        ...

    def tell_node(self, node_oid: Oid, order_oid: Oid, command: Command) -> None:
        """Tell the agent of a node to do something, if it is the run of it that is meant."""
        ...

    def is_heard(self, node_oid: Oid) -> bool:
        """Say whether a node's agent has told this run of the master what runs there."""
        ...

    def call_hook(self, worker_oid: Oid) -> None:
        """Call the webhook of a worker that is to go."""
        ...

    def tell_balancer(self, cluster_oid: Oid) -> None:
        """Tell the load balancer of a cluster who serves."""
        ...

    def check_cluster(self, cluster_oid: Oid) -> None:
        """Have the agents look at the workers of a cluster, as its action wants."""
        ...

    def attend_cluster(self, cluster_oid: Oid, *, unwell: bool = False) -> None:
        """Have the health policy of a cluster obeyed as it is now; or because workers are not well, if it has one."""
        ...
