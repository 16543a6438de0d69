"""Workers alone: settings of those that are in no cluster, as callers give them."""

from typing import Annotated, Any

import msgspec

from controlplane.records.clusters import ACTION_TIMEOUT_DEFAULT_S, GRACE_PERIOD_DEFAULT_S, GracePeriod, Timeout
from controlplane.records.definitions import Labels
from controlplane.records.types import LABEL_PATTERN, Line, Name

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


class AdoptionInput(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Something that runs already and is to be a worker, as a caller gives it."""

    type: Line
    """Of the profile that is made for it: `process` or `container`, with or without a version."""

    node: Line
    """Name or oid of the node that it runs on."""

    identity: Line
    """A pid, or the name or id of a container."""

    name: WorkerName | None = None
    metadata: Labels = msgspec.field(default_factory=dict)
    profile: Name | None = None
    """Name of the profile that is made; None for `adopted_` and digits."""

    overrides: dict[str, Any] = msgspec.field(default_factory=dict)
    """Properties of the profile in the place of those that were found; they hold when it is started anew."""

    snapshot: bool = False
    """Whether an image is made of a container as it is now, from which it is started anew."""

    timeout: Timeout = ACTION_TIMEOUT_DEFAULT_S
    grace_period: GracePeriod = GRACE_PERIOD_DEFAULT_S


class WorkerUpdate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Settings of a worker to change; what is not mentioned stays, and `metadata` is replaced as a whole."""

    name: WorkerName | msgspec.UnsetType = msgspec.UNSET
    metadata: Labels | msgspec.UnsetType = msgspec.UNSET
    profile: Line | msgspec.UnsetType = msgspec.UNSET
    """Another profile of the same type; of a worker in a cluster, change the cluster's."""
