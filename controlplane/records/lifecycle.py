"""The time between the decision that a worker goes and its end, in which others can get ready for that."""

import enum
from typing import Annotated

import msgspec

from controlplane.records import patterns
from controlplane.records.policies import DeletionPolicy, Period
from controlplane.records.profiles import Part
from controlplane.records.types import Instant, Line, Oid, Record, Seconds

HookTimeout = Annotated[float, msgspec.Meta(ge=0.1, le=86_400)]
HookUrl = Annotated[str, msgspec.Meta(pattern=patterns.HOOK_URL, max_length=1_024)]


class WebhookParams(Part, frozen=True, kw_only=True):
    """Where somebody is told."""

    url: HookUrl
    """Gets a POST; the master has to be allowed to call it, by its setting `outgoing`."""


class EventHook(Part, frozen=True, kw_only=True, tag="event", tag_field="type"):
    """Subscribers of `controlplane.worker.on_worker_leaving` are told."""

    timeout: HookTimeout = 60.0
    """Seconds after which the worker goes although nobody has said that it may."""


class WebhookHook(Part, frozen=True, kw_only=True, tag="webhook", tag_field="type"):
    """They are told, and a web server as well: again and again until it answers with a 2xx."""

    timeout: HookTimeout = 60.0
    """Seconds after which the worker goes although nobody has said that it may."""

    params: WebhookParams
    """Which one."""


class HookedDeletionPolicy(DeletionPolicy, frozen=True, kw_only=True):
    """Which workers go when a cluster shrinks, and what is waited for before each of them goes."""

    grace_period: Period = 0.0
    """Seconds for which a worker goes on running after that."""

    destroy_after_deletion: bool = True
    """Whether a worker that is taken out is stopped for good; else it runs on where it is, in no cluster, at once."""

    hooks: EventHook | WebhookHook | None = None
    """Who is told, and may ask for time until `complete_lifecycle` is called."""


class WaitEnd(enum.Enum):
    """How it ended that somebody was waited for before a worker goes."""

    COMPLETED = "COMPLETED"
    """Somebody said that it may go, to `complete_lifecycle`."""

    TIMED_OUT = "TIMED_OUT"
    """Nobody said so in time."""

    LOST = "LOST"
    """It ran no more, or its node was lost, before anybody said so."""

    CUT_SHORT = "CUT_SHORT"
    """Its cluster was stopped or deleted, or the action came to its end, before anybody said so."""

    GRACE_ONLY = "GRACE_ONLY"
    """Nobody was asked: it ran on for its grace period."""


class Farewell(Record, frozen=True, kw_only=True):
    """That a worker will go, and what it waits for."""

    token: Oid
    """Whoever is told of it says it to `complete_lifecycle`."""

    begun: Instant
    until: Instant
    """When it goes, whatever is said by then."""

    grace_period: Seconds = 0.0
    """How long it goes on running once nothing is waited for."""

    waiting: bool = True
    """Whether somebody is waited for; else it is in its grace period."""

    url: str | None = None
    """What is called."""

    told: Instant | None = None
    """When that call was answered well; until then it is tried again."""

    problem: str | None = None
    """What was wrong with the last call, while none was answered well."""

    end: WaitEnd | None = None
    """Why nobody is waited for any more."""


class LifecycleHook(Record, frozen=True, kw_only=True):
    """What is told before a worker goes, in an event, and as the JSON body of a webhook."""

    lifecycle_action_token: Oid
    """For `complete_lifecycle`."""

    lifecycle_transition_type: str = "termination"
    worker_oid: Oid
    worker_name: Line
    node_oid: Oid | None
    cluster_oid: Oid
    cluster_name: Line
    until: Instant
    """When it goes, whatever is said by then."""

    waiting: bool
    """Whether it is waited for somebody's word; else it only goes on running until then."""


class Completion(Record, frozen=True, kw_only=True):
    """What came of the word that a worker may go."""

    token: Oid
    worker_oid: Oid | None
    """None when nobody waits for this token, any more or at all."""

    until: Instant | None
    """When it goes: after its grace period."""


class Leaving(Record, frozen=True, kw_only=True):
    """A worker that an action waits for, because its end was announced and is not there yet."""

    worker_oid: Oid
    token: Oid
    until: Instant
    waiting: bool
    told: bool
    """Whether its webhook was called and answered well."""

    problem: str | None = None
    """What was wrong with the last call of its webhook, while none was answered well."""


class Waited(Record, frozen=True, kw_only=True):
    """A worker that an action waited for because its end was announced, and how that ended."""

    worker_oid: Oid
    token: Oid
    end: WaitEnd
    told: bool | None
    """Whether its webhook was called and answered well; None when it has none."""

    problem: str | None
    """Why not."""
