"""What a health policy says: how workers are found that are not well, and what is done about them."""

from typing import Annotated, Literal

import msgspec

from controlplane.records import patterns
from controlplane.records.profiles import Part
from controlplane.records.recoveries import CHAIN_LENGTH_MAX, OperationParameters
from controlplane.records.types import Instant, Oid, Record

Interval = Annotated[float, msgspec.Meta(ge=1, le=3_600)]
Wait = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
Lease = Annotated[float, msgspec.Meta(ge=5, le=3_600)]
Count = Annotated[int, msgspec.Meta(ge=1, le=10_000)]
Status = Annotated[int, msgspec.Meta(ge=100, le=599)]

FENCE_DEFAULT_S = 30.0


class NoOptions(Part, frozen=True, kw_only=True):
    """Of ways to look that have none."""


class UrlOptions(Part, frozen=True, kw_only=True):
    """A page that a worker that is well answers with; it is asked for on the worker's own node."""

    poll_url: Annotated[str, msgspec.Meta(min_length=1, max_length=2_048, pattern=patterns.POLLED_URL)]
    """With placeholders: `{url:NAME}` stands for the worker's address of that name, `{nodename}` or `{name}` for its
    name, `{index}` and `{oid}`."""

    poll_url_ssl_verify: bool = True
    """Whether its certificate is looked at."""

    poll_url_conn_error_as_unhealthy: bool = True
    """Whether a worker is not well when nobody answers; else only an answer can say so."""

    poll_url_healthy_response: Annotated[str, msgspec.Meta(max_length=1_024, pattern=patterns.NO_NUL)] = ""
    """A regular expression that is found in what it answers; empty for whatever it answers."""

    poll_url_healthy_status_min: Status = 200
    """Lowest status that is good."""

    poll_url_healthy_status_max: Status = 399
    """Highest status that is good."""

    poll_url_timeout: Annotated[float, msgspec.Meta(ge=0.1, le=30)] = 3.0
    """Seconds that one answer may take."""

    poll_url_retry_limit: Annotated[int, msgspec.Meta(ge=1, le=10)] = 3
    """So many answers in a row that were not good."""

    poll_url_retry_interval: Annotated[float, msgspec.Meta(ge=0.1, le=30)] = 3.0
    """Seconds between them."""


class StatusPolling(Part, frozen=True, kw_only=True, tag="NODE_STATUS_POLLING", tag_field="type"):
    """The agents look at the workers again and again, as for `check_cluster`."""

    options: NoOptions = NoOptions()
    """There are none."""


class UrlPolling(Part, frozen=True, kw_only=True, tag="NODE_STATUS_POLL_URL", tag_field="type"):
    """The agents ask for a page of each worker again and again."""

    options: UrlOptions
    """Which page, and what is a good answer."""


class LifecycleEvents(Part, frozen=True, kw_only=True, tag="LIFECYCLE_EVENTS", tag_field="type"):
    """What agents report by themselves: a worker that fails again and again, or whose node falls silent."""

    options: NoOptions = NoOptions()
    """There are none."""


class Detection(Part, frozen=True, kw_only=True):
    """How workers are found that are not well."""

    interval: Interval = 60.0
    """Seconds between two looks."""

    node_update_timeout: Wait = 30.0
    """So many seconds after it was started a worker counts as well, however it is found when it is looked at."""

    recovery_conditional: Literal["ANY_FAILED", "ALL_FAILED"] = "ANY_FAILED"
    """Whether a worker is not well when one way to look says so, or when all do."""

    detection_modes: Annotated[
        tuple[StatusPolling | UrlPolling | LifecycleEvents, ...], msgspec.Meta(min_length=1, max_length=3)
    ]
    """Ways to look; each once."""


class RecoveryAction(Part, frozen=True, kw_only=True):
    """Something that is done about a worker that is not well."""

    name: Literal["REBOOT", "REBUILD", "RECREATE"]
    """What."""

    params: OperationParameters = OperationParameters()
    """How. The longest `timeout` of all actions counts for each, and one that is `HARD` makes all of them so."""


class RecoveryLimits(Part, frozen=True, kw_only=True):
    """How often workers are brought back before that is given up."""

    worker_max: Count = 3
    """Of one place in the cluster, whoever has it."""

    cluster_max: Count = 20
    """Actions of this policy on the cluster."""

    within: Annotated[float, msgspec.Meta(ge=1, le=30 * 86_400)] = 3_600.0
    """Seconds in which they are counted."""


class RecoveryRule(Part, frozen=True, kw_only=True):
    """What is done about workers that are not well."""

    actions: Annotated[tuple[RecoveryAction, ...], msgspec.Meta(min_length=1, max_length=CHAIN_LENGTH_MAX)] = (
        RecoveryAction(name="RECREATE"),
    )
    """One after the other until the worker runs."""

    limits: RecoveryLimits = RecoveryLimits()
    """How often."""

    fencing: Annotated[tuple[Literal["COMPUTE"], ...], msgspec.Meta(max_length=1)] = ()
    """`COMPUTE`: a worker of a silent node is placed elsewhere only when it cannot run there any more."""

    fence_after: Lease = FENCE_DEFAULT_S
    """With fencing: an agent that has not heard of its master for so many seconds kills the workers of the cluster."""


class HealthPolicy(Part, frozen=True, kw_only=True):
    """How workers are found that are not well, and what is done about them."""

    detection: Detection
    """How they are found."""

    recovery: RecoveryRule = RecoveryRule()
    """What is done about them."""


class UrlLook(Record, frozen=True, kw_only=True):
    """A page that an agent is to ask for."""

    url: str
    options: UrlOptions


class GivenUp(Record, frozen=True, kw_only=True):
    """A place of a cluster in which a policy brings no worker back any more."""

    since: Instant
    reason: str


class RecoveryGivenUp(Record, frozen=True, kw_only=True):
    """A policy brings a worker back no more: it was brought back too often."""

    oid: Oid
    """Of the cluster."""

    name: str
    policy_oid: Oid
    policy_name: str
    worker_oid: Oid
    reason: str
