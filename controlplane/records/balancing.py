"""Load balancers that are kept in step with the workers of a cluster."""

from typing import Annotated

import msgspec

from controlplane.records import patterns
from controlplane.records.lifecycle import HookUrl
from controlplane.records.profiles import Part, PortName
from controlplane.records.types import Instant, Line, Natural, Oid, Record, Seconds

DRAIN_DEFAULT_S = 5.0
TIMEOUT_DEFAULT_S = 60.0
TEMPLATE_LENGTH_MAX = 65_536

MEMBER_PLACES = ("name", "oid", "index", "host", "port", "address", "zone")
"""Placeholders in what is written for each worker."""

DrainTime = Annotated[Seconds, msgspec.Meta(ge=0, le=3_600)]
TellTime = Annotated[Seconds, msgspec.Meta(ge=0, le=86_400)]
Template = Annotated[str, msgspec.Meta(pattern=patterns.NO_NUL, max_length=TEMPLATE_LENGTH_MAX)]
FileName = Annotated[str, msgspec.Meta(pattern=patterns.BALANCER_FILE)]
CommandName = Annotated[str, msgspec.Meta(pattern=patterns.COMMAND_NAME)]


class FileTarget(Part, frozen=True, kw_only=True, tag="file", tag_field="kind"):
    """A balancer that reads a file on the master's machine: the text `before`, `each` for every worker, and `after`.

    In `each`, `{name}`, `{oid}`, `{index}`, `{host}`, `{port}`, `{address}` (host and port) and `{zone}` stand for what
    is true of the worker; to be left alone, `{name}` is written `{{name}}`.
    """

    file: FileName
    """In the directory that the master's setting `balancer_dir` names, and nowhere else."""

    before: Template = ""
    each: Template
    after: Template = ""
    reload: CommandName | None = None
    """Which of the commands that the master's setting `balancer_reload` names is run then; None for none."""


class CallbackTarget(Part, frozen=True, kw_only=True, tag="callback", tag_field="kind"):
    """A balancer that is told over HTTP: a POST with all members as JSON, again and again until it says 2xx."""

    url: HookUrl
    """One that the master's setting `outgoing` admits."""


class LoadBalancePolicy(Part, frozen=True, kw_only=True):
    """Keeps a load balancer in step with the workers of a cluster that run."""

    target: FileTarget | CallbackTarget
    """What is kept in step."""

    port: PortName | None = None
    """Which of the addresses of a worker; None for the first one."""

    drain: DrainTime = DRAIN_DEFAULT_S
    """Seconds that a worker runs on after the balancer has taken it out."""

    timeout: TellTime = TIMEOUT_DEFAULT_S
    """Seconds after which a worker goes although the balancer could not be told."""


class BalanceRules(Record, frozen=True, kw_only=True):
    """What a cluster knows of its balancer when workers go."""

    policy_oid: Oid
    drain: Seconds
    timeout: Seconds


class Drain(Record, frozen=True, kw_only=True):
    """That a worker is to be stopped, or changed, when the balancer sends nobody to it any more."""

    until: Instant
    """When that is done, whatever happens before."""

    accepted: bool = False
    """Whether the balancer has taken it out."""


class BalanceMember(Record, frozen=True, kw_only=True):
    """A worker to which a balancer sends clients."""

    worker_oid: Oid
    name: Line
    index: int
    url: str
    host: Line
    port: int
    node_name: Line | None
    region: str | None
    zone: str | None


class Balance(Record, frozen=True, kw_only=True):
    """What the balancer of a cluster is to know, and what it has been told."""

    cluster_oid: Oid
    cluster_name: Line
    policy_oid: Oid
    policy_name: Line
    rule: LoadBalancePolicy
    members: tuple[BalanceMember, ...] = ()
    sequence: Natural = 1
    """Of the members; grows with every change."""

    accepted: Natural = 0
    """The newest one that the balancer has taken over."""

    problem: str | None = None
    """Why it has not taken over the newest one."""

    gone: bool = False
    """Whether the cluster is no more: the balancer is told that nobody is left, and then this is forgotten."""

    changed: Instant
    told: Instant | None = None
    """When the balancer last took something over."""


class BalanceView(Record, frozen=True, kw_only=True):
    """What the balancer of a cluster knows, as callers see it."""

    cluster_oid: Oid
    cluster_name: Line
    policy_oid: Oid
    policy_name: Line
    members: tuple[BalanceMember, ...]
    sequence: int
    accepted: int
    problem: str | None
    changed: Instant
    told: Instant | None


class BalanceMessage(Record, frozen=True, kw_only=True):
    """What a balancer is sent: everything, so that one message is enough; an older sequence than the last is late."""

    cluster_oid: Oid
    cluster_name: Line
    sequence: int
    members: tuple[BalanceMember, ...]
