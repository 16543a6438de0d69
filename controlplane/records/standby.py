"""Workers that stand by: what a policy says of them, and what is kept of one that has taken somebody's place."""

from typing import Annotated

import msgspec

from controlplane.records.profiles import Part
from controlplane.records.types import Instant, Oid, Record

PoolSize = Annotated[int, msgspec.Meta(ge=0, le=200)]


class StandbyPolicy(Part, frozen=True, kw_only=True):
    """Keeps workers ready beside a cluster, which takes one of them instead of starting another one."""

    size: PoolSize = 1
    """How many workers stand by; 0 takes those away that do."""

    recovery: bool = True
    """Whether one also takes the place of a worker that fails, loses its node or has no place."""


class StandbyRules(Record, frozen=True, kw_only=True):
    """What a cluster knows of the workers that stand by for it."""

    policy_oid: Oid
    policy_name: str
    size: int
    recovery: bool


class Promotion(Record, frozen=True, kw_only=True):
    """That a worker stood by, until it was taken into its cluster."""

    at: Instant
    since: Instant
    """From when on it had run as it did then: nobody waits for it to prove itself once more."""


class WorkerPromotion(Record, frozen=True, kw_only=True):
    """A worker that stood by is one of its cluster's from now on."""

    oid: Oid
    """Of the worker."""

    cluster_oid: Oid
    cluster_name: str
    policy_oid: Oid
    policy_name: str
    instead_of: Oid | None
    """The worker whose place it takes; None when more are wanted."""

    reason: str
