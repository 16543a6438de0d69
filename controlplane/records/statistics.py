"""What is counted of clusters and their workers at one moment."""

from typing import Any

from controlplane.records.clusters import ClusterStatus
from controlplane.records.types import Instant, Oid, Record


class GroupStatistics(Record, frozen=True, kw_only=True):
    """What the workers of one group do; `oid` is None for the routers that stand behind the groups."""

    oid: Oid | None
    name: str | None
    scale: int
    workers_by_status: dict[str, int]
    restarts: int


class RealmStatistics(Record, frozen=True, kw_only=True):
    """What a router worker says of one of its realms."""

    realm: str
    worker_oid: Oid
    sessions: int | None
    messages: dict[str, dict[str, int]]
    """Since the worker started: `sent` and `received` by the router, each by type of message."""


class Statistics(Record, frozen=True, kw_only=True):
    """How a router cluster or one of its groups does at this moment."""

    oid: Oid
    status: ClusterStatus
    reason: str | None
    time: Instant
    desired: int
    workers_by_status: dict[str, int]
    workers_by_node: dict[str, dict[str, int]]
    """By node oid, then by status; workers without a place are under an empty key."""

    groups: tuple[GroupStatistics, ...]
    restarts: int
    realms: tuple[RealmStatistics, ...]
    workers: dict[str, dict[str, Any]]
    """Figures of each worker that answered, by its oid."""

    silent: tuple[Oid, ...]
    """Running workers that gave no figures in time."""
