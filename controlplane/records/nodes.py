"""Machines that run our agent.

Beware of the word: a "node" is a machine here, as in Crossbar.io. What Senlin and CLAP call a node is our worker.
"""

from typing import Annotated, Literal

import msgspec

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
)

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]


class NodeFacts(Record, frozen=True, kw_only=True):
    """What an agent says about its machine when it attaches."""

    version: Line
    """Version of the agent."""

    machine: Line
    """Identity of the machine and its boot; two agents on one machine say the same."""

    address: Line
    """Where clients reach the workers of this node; loopback unless the operator says otherwise."""

    sockets: Line
    """Directory for unix sockets between workers, owner only."""

    drivers: Annotated[tuple[Line, ...], msgspec.Meta(max_length=64)]
    ports: tuple[Port, Port]
    """First and last port that workers may listen on."""

    capacity: Natural | None = None
    """Most workers that this node takes in all; None for no limit."""

    cores: Natural = 1


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
    created: Instant
    changed: Instant
    online: bool = False
    since: Instant
    """When it last came online or went offline."""

    facts: NodeFacts | None = None
    """None until its agent attached for the first time."""

    assignment: int = 0
    """Version of what it shall run; grows by one with every change."""


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
    status: NodeStatus
    since: Instant
    address: str | None
    ports: tuple[int, int] | None
    drivers: tuple[str, ...]
    capacity: int | None
    cores: int | None
    version: str | None
    workers: int
    created: Instant
    changed: Instant


class NodeChange(Record, frozen=True, kw_only=True):
    """A node came online or went offline."""

    oid: Oid
    authid: str
    status: NodeStatus
    since: Instant
