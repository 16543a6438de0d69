"""Machines that run our agent.

Beware of the word: a "node" is a machine here, as in Crossbar.io. What Senlin and CLAP call a node is our worker.
"""

from typing import Annotated, Any, Literal

import msgspec

from controlplane.records.placement import Zone
from controlplane.records.types import (
    Authid,
    Description,
    Instant,
    Label,
    Line,
    Natural,
    Oid,
    PublicKey,
    Record,
    Tags,
    Whole,
)

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]


class NodeFacts(Record, frozen=True, kw_only=True):
    """What an agent says about its machine when it attaches."""

    version: Line
    """Version of the agent."""

    machine: Line
    """Identity of the machine and its boot; two agents on one machine say the same."""

    address: Annotated[str, msgspec.Meta(pattern=r"^[^\x00-\x20\x7f]+$(?!\n)", max_length=256)]
    """Where clients reach the workers of this node; loopback unless the operator says otherwise."""

    sockets: Annotated[str, msgspec.Meta(pattern=r"^/[^\x00-\x1f\x7f]*$(?!\n)", max_length=256)]
    """Directory for unix sockets between workers, owner only."""

    drivers: Annotated[tuple[Line, ...], msgspec.Meta(max_length=64)]
    ports: tuple[Port, Port]
    """First and last port that workers may listen on."""

    capacity: Natural | None = None
    """Most workers that this node takes in all; None for no limit."""

    cores: Natural = 1
    agentless: bool = False
    """Whether it is a node of Crossbar.io without an agent of ours, which the master keeps itself."""
    stunnel: Line | None = None
    """Version of stunnel, which carries connections to workers on other machines; None when it is not installed."""


AuthExtra = Annotated[
    dict[Annotated[str, msgspec.Meta(max_length=64)], str | Whole | float | bool | None], msgspec.Meta(max_length=64)
]
"""What Crossbar.io's master is told of a node when it is paired, and hands to it."""


class Node(Record, frozen=True, kw_only=True):
    """A machine paired by its agent's public key."""

    oid: Oid
    authid: Authid
    pubkey: PublicKey
    next_pubkey: PublicKey | None = None
    """The key that takes the place of `pubkey` as soon as the agent logged in with it."""

    capacity_max: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """Most workers that it takes, whatever its agent says."""

    label: Label | None = None
    description: Description | None = None
    tags: Tags | None = None
    region: Zone | None = None
    zone: Zone | None = None
    """Where it stands, as who looks after it says; policies spread workers over regions and zones."""

    created: Instant
    changed: Instant
    online: bool = False
    since: Instant
    """When it last came online or went offline."""

    facts: NodeFacts | None = None
    """None until its agent attached for the first time."""

    assignment: int = 0
    """Version of what it shall run; grows by one with every change."""

    boot: Oid | None = None
    """Run of the agent that attached last: what an earlier one was told to do, this one does not know of."""

    cluster_ip: Line | None = None
    """Where the workers of a node without an agent listen, as it was paired; None for loopback."""

    authextra: dict[str, Any] | None = None
    """Crossbar.io's: handed to a node without an agent when it logs in."""


class Departure(Record, frozen=True, kw_only=True):
    """That a machine was taken out, for its agent to be told when it comes."""

    node_oid: Oid
    pubkey: PublicKey
    when: Instant


class Load(Record, frozen=True, kw_only=True):
    """How many workers a node carries; kept in step with every change of a worker."""

    node_oid: Oid
    workers: int


NodeStatus = Literal["online", "offline"]


class NodeView(Record, frozen=True, kw_only=True):
    """A node as callers see it."""

    oid: Oid
    authid: str
    name: str
    pubkey: str
    next_pubkey: str | None
    """A key that was announced and has not been used yet."""

    label: str | None
    description: str | None
    tags: Tags | None
    region: str | None
    zone: str | None
    status: NodeStatus
    since: Instant
    address: str | None
    ports: tuple[int, int] | None
    drivers: tuple[str, ...]
    capacity: int | None
    cores: int | None
    stunnel: str | None
    version: str | None
    workers: int
    created: Instant
    changed: Instant


class NodeUpdate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Settings of a node to change; what is not mentioned stays."""

    label: Label | None | msgspec.UnsetType = msgspec.UNSET
    description: Description | None | msgspec.UnsetType = msgspec.UNSET
    tags: Tags | None | msgspec.UnsetType = msgspec.UNSET
    region: Zone | None | msgspec.UnsetType = msgspec.UNSET
    zone: Zone | None | msgspec.UnsetType = msgspec.UNSET


class NodeChange(Record, frozen=True, kw_only=True):
    """A node came online or went offline."""

    oid: Oid
    authid: str
    status: NodeStatus
    since: Instant


class Heartbeat(Record, frozen=True, kw_only=True):
    """What a node without an agent said of itself last; kept in memory only."""

    counter: int = 0
    time: Instant = 0
    """By the node's clock."""

    workers: dict[str, int] = msgspec.field(default_factory=dict)
    """How many it runs, by type."""

    system: dict[str, Any] = msgspec.field(default_factory=dict)
    processes: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)
    """Of its workers, by their identity on the node."""


class CrossbarNode(Record, frozen=True, kw_only=True):
    """A node as Crossbar.io's master describes it, with the last heartbeat of one without an agent."""

    oid: Oid
    label: str | None
    description: str | None
    tags: Tags | None
    owner_oid: Oid | None
    pubkey: str
    cluster_ip: str | None
    mrealm_oid: Oid
    authid: str
    authextra: dict[str, Any] | None
    heartbeat: int | None
    timestamp: Instant | None
    status: NodeStatus
    workers: dict[str, int]
    system: dict[str, Any]


class CrossbarNodeStatus(Record, frozen=True, kw_only=True):
    """A node that comes or goes, in the words of Crossbar.io's master."""

    id: Oid
    authid: str
    status: NodeStatus
    last_active: Instant
    last_activity: int
    """A number of Crossbar.io's: 3 for a node that is ready, 5 for one that was found gone."""

    workers: dict[str, int]
    counter: int
    time: Instant


class CrossbarRealm(Record, frozen=True, kw_only=True):
    """A management realm as Crossbar.io's master describes it."""

    oid: Oid
    label: str | None
    description: str | None
    tags: Tags | None
    name: str
    created: int
    """In microseconds, as there."""

    owner: Oid | None
    cf_router_worker: str | None
    cf_container_worker: str | None


class CrossbarStatus(Record, frozen=True, kw_only=True):
    """That the master is there, in the words of Crossbar.io's master."""

    type: str
    realm: str
    now: str
    started: str
    uptime: str
    tick: int
