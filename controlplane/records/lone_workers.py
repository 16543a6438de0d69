"""Workers alone: settings of those that are in no cluster, as callers give them."""

from typing import Annotated

import msgspec

from controlplane.records.clusters import ACTION_TIMEOUT_DEFAULT_S, GRACE_PERIOD_DEFAULT_S, GracePeriod, Timeout
from controlplane.records.definitions import Labels
from controlplane.records.types import LABEL_PATTERN, Line

WorkerName = Annotated[str, msgspec.Meta(pattern=LABEL_PATTERN)]


class WorkerInput(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Settings of a worker, as a caller gives them."""

    name: WorkerName | None = None
    """Need not be unique; None for `worker-` and digits of its oid, or in a cluster for the name that that gives it."""

    profile: Line
    """Name, oid or beginning of the oid of a profile."""

    node: Line | None = None
    """Name or oid of the one node that it is to stand on; None for any. Not for a worker of a cluster."""

    metadata: Labels = msgspec.field(default_factory=dict)
    timeout: Timeout = ACTION_TIMEOUT_DEFAULT_S
    """How long an action may take, in seconds. A cluster has its own."""

    grace_period: GracePeriod = GRACE_PERIOD_DEFAULT_S
    """How long it is waited for on a silent node, in seconds. A cluster has its own."""


class WorkerUpdate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Settings of a worker to change; what is not mentioned stays, and `metadata` is replaced as a whole."""

    name: WorkerName | msgspec.UnsetType = msgspec.UNSET
    metadata: Labels | msgspec.UnsetType = msgspec.UNSET
    profile: Line | msgspec.UnsetType = msgspec.UNSET
    """Another profile of the same type; of a worker in a cluster, change the cluster's."""
