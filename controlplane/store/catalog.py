"""The tables of the store, one declaration each.

The UUIDs are the identity of a table on disk and never change. Changing what a table holds means a new layout version
and a migration (`migrations.py`).
"""

from typing import Any
from uuid import UUID

from controlplane.records.actions import Action, ActionStatus
from controlplane.records.audit import AuditLink
from controlplane.records.balancing import Balance
from controlplane.records.children import Child
from controlplane.records.clusters import Cluster, ClusterRevision, ClusterStatus, ClusterType, Group, Membership, Tally
from controlplane.records.definitions import Definition
from controlplane.records.events import StoredEvent
from controlplane.records.messages import Message
from controlplane.records.nodes import Departure, Load, Node
from controlplane.records.orders import Order, OrderStatus
from controlplane.records.outcomes import Outcome
from controlplane.records.policies import Binding
from controlplane.records.principals import Grant, Invitation, Possession, Principal, Team, TeamMember
from controlplane.records.receivers import Receiver
from controlplane.records.tunnels import ClusterAuthority, TunnelCertificate, TunnelPort
from controlplane.records.types import Oid, Record
from controlplane.records.workers import Worker
from controlplane.store.tables import Table, key_of


class Mark(Record, frozen=True, kw_only=True):
    """One fact about the store itself."""

    name: str
    value: str


def _key_bytes(pubkey: str | None) -> bytes | None:
    return None if pubkey is None else bytes.fromhex(pubkey)


MARKS = Table("c0a7e1d0-0000-4000-8000-000000000001", Mark, "mark", lambda m: m.name.encode())
"""Layout version and epoch. This declaration must stay readable for every version of this program."""

PRINCIPALS = Table(
    "c0a7e1d0-0000-4000-8000-000000000010",
    Principal,
    "principal",
    lambda p: p.oid.bytes,
    unique={
        "authid": lambda p: p.authid.encode(),
        "pubkey": lambda p: _key_bytes(p.pubkey),
        "next_pubkey": lambda p: _key_bytes(p.next_pubkey),
    },
    counted=lambda _: b"",
)

POSSESSIONS = Table(
    "c0a7e1d0-0000-4000-8000-000000000011",
    Possession,
    "possession",
    lambda p: key_of(p.principal_oid, p.cluster_oid),
    counted=lambda p: p.principal_oid.bytes,
)

TEAMS = Table(
    "c0a7e1d0-0000-4000-8000-000000000012",
    Team,
    "team",
    lambda team: team.oid.bytes,
    unique={"name": lambda team: team.name.encode()},
    counted=lambda _: b"",
)

TEAM_MEMBERS = Table(
    "c0a7e1d0-0000-4000-8000-000000000013",
    TeamMember,
    "team member",
    lambda m: key_of(m.user_oid, m.team_oid),
    indexes={"team": lambda m: m.team_oid.bytes},
    counted=lambda m: m.team_oid.bytes,
)

GRANTS = Table(
    "c0a7e1d0-0000-4000-8000-000000000014",
    Grant,
    "grant",
    lambda g: key_of(g.cluster_oid, g.holder_oid),
    indexes={"holder": lambda g: g.holder_oid.bytes},
    counted=lambda g: g.cluster_oid.bytes,
)

INVITATIONS = Table(
    "c0a7e1d0-0000-4000-8000-000000000015",
    Invitation,
    "invitation",
    lambda i: i.oid.bytes,
    unique={"pubkey": lambda i: _key_bytes(i.pubkey)},
    counted=lambda _: b"",
)

NODES = Table(
    "c0a7e1d0-0000-4000-8000-000000000020",
    Node,
    "node",
    lambda n: n.oid.bytes,
    unique={
        "authid": lambda n: n.authid.encode(),
        "pubkey": lambda n: _key_bytes(n.pubkey),
        "next_pubkey": lambda n: _key_bytes(n.next_pubkey),
    },
    counted=lambda _: b"",
)

DEPARTURES = Table(
    "c0a7e1d0-0000-4000-8000-000000000022",
    Departure,
    "departure",
    lambda d: key_of(d.when, d.node_oid),
    unique={"pubkey": lambda d: _key_bytes(d.pubkey)},
    counted=lambda _: b"",
)

LOADS = Table("c0a7e1d0-0000-4000-8000-000000000021", Load, "load", lambda entry: entry.node_oid.bytes)

UNSETTLED = b"\1"
ALONE = b"alone"
"""Workers in no cluster are counted apart."""

SETTLED = (ClusterStatus.RUNNING, ClusterStatus.STOPPED)


def _may_want_room(cluster: Cluster) -> bool:
    """Say whether workers of a cluster may be waiting for a place, be it only to stand by."""
    return cluster.status not in SETTLED or cluster.standby is not None


CLUSTERS = Table(
    "c0a7e1d0-0000-4000-8000-000000000030",
    Cluster,
    "cluster",
    lambda c: c.oid.bytes,
    unique={"name": lambda c: None if c.alone else c.name.encode()},
    indexes={
        "unsettled": lambda c: None if c.status in SETTLED and c.action_oid is None else b"",
        "generic": lambda c: None if c.type is not ClusterType.GENERIC else UNSETTLED * _may_want_room(c),
        "profile": lambda c: None if c.profile_oid is None else c.profile_oid.bytes,
        "pooled": lambda c: None if c.standby is None else b"",
    },
    counted=lambda c: ALONE if c.alone else b"",
)

DEFINITIONS = Table(
    "c0a7e1d0-0000-4000-8000-000000000070",
    Definition,
    "definition",
    lambda d: key_of(d.oid),
    unique={"name": lambda d: d.kind.value.encode() + b"\0" + d.name.encode()},
    counted=lambda d: d.kind.value.encode(),
)

MEASURING = frozenset({"step_scaling-1.0", "target_tracking-1.0"})
"""Types of policies for which workers are measured."""

BINDINGS = Table(
    "c0a7e1d0-0000-4000-8000-000000000072",
    Binding,
    "binding",
    lambda b: key_of(b.cluster_oid, b.policy_oid),
    indexes={
        "policy": lambda b: b.policy_oid.bytes,
        "measuring": lambda b: b.cluster_oid.bytes if b.type in MEASURING else None,
        "due": lambda b: None if b.due is None else key_of(b.due),
    },
    counted=lambda b: b.cluster_oid.bytes,
)

BALANCES = Table(
    "c0a7e1d0-0000-4000-8000-000000000090",
    Balance,
    "balance",
    lambda b: b.cluster_oid.bytes,
)

RECEIVERS = Table(
    "c0a7e1d0-0000-4000-8000-000000000073",
    Receiver,
    "receiver",
    lambda r: r.oid.bytes,
    unique={"name": lambda r: r.name.encode(), "token": lambda r: r.token_digest},
    indexes={"cluster": lambda r: r.cluster_oid.bytes},
    counted=lambda r: r.cluster_oid.bytes,
)

MESSAGES = Table(
    "c0a7e1d0-0000-4000-8000-000000000075",
    Message,
    "message",
    lambda m: key_of(m.receiver_oid, m.digest),
    indexes={"time": lambda m: key_of(m.receiver_oid, m.time)},
    counted=lambda m: m.receiver_oid.bytes,
)

ACTIONS = Table(
    "c0a7e1d0-0000-4000-8000-000000000071",
    Action,
    "action",
    lambda a: a.oid.bytes,
    indexes={
        "created": lambda a: key_of(a.created),
        "cluster": lambda a: a.cluster_oid.bytes + key_of(a.created),
    },
    counted=lambda _: b"",
)

CHILD_STATUS = {
    ActionStatus.WAITING: b"\1",
    ActionStatus.RUNNING: b"\2",
    ActionStatus.SUCCEEDED: b"\3",
    ActionStatus.FAILED: b"\4",
    ActionStatus.CANCELLED: b"\5",
}
"""As the index of children has it, from which a pass reads how they stand without reading them."""

CHILDREN = Table(
    "c0a7e1d0-0000-4000-8000-000000000076",
    Child,
    "child of an action",
    lambda c: key_of(c.begun, c.parent_oid, c.created, c.worker_oid),
    unique={"oid": lambda c: c.oid.bytes},
    indexes={"status": lambda c: c.parent_oid.bytes + CHILD_STATUS[c.status]},
    counted=lambda _: b"",
)

PENDING_ORDERS = {OrderStatus.WAITING: b"\1", OrderStatus.SENT: b"\2"}
"""Orders that have not ended, as their index has them."""

ORDERS = Table(
    "c0a7e1d0-0000-4000-8000-000000000074",
    Order,
    "order",
    lambda o: key_of(o.cluster_oid, o.begun, o.action_oid, o.worker_oid),
    unique={"oid": lambda o: o.oid.bytes},
    indexes={
        "pending": lambda o: None if o.status not in PENDING_ORDERS else o.action_oid.bytes + PENDING_ORDERS[o.status],
        "node": lambda o: None if o.status is not OrderStatus.SENT or o.node_oid is None else o.node_oid.bytes,
    },
    found_by="oid",
)

REVISIONS = Table(
    "c0a7e1d0-0000-4000-8000-000000000031",
    ClusterRevision,
    "configuration",
    lambda r: key_of(r.cluster_oid, r.revision),
)

GROUPS = Table(
    "c0a7e1d0-0000-4000-8000-000000000032",
    Group,
    "worker group",
    lambda g: g.oid.bytes,
    unique={"name": lambda g: key_of(g.cluster_oid, g.name)},
    counted=lambda g: g.cluster_oid.bytes,
)

MEMBERSHIPS = Table(
    "c0a7e1d0-0000-4000-8000-000000000033",
    Membership,
    "membership",
    lambda m: key_of(m.cluster_oid, m.node_oid),
    indexes={"node": lambda m: m.node_oid.bytes},
    counted=lambda m: m.cluster_oid.bytes,
)

TALLIES = Table(
    "c0a7e1d0-0000-4000-8000-000000000034",
    Tally,
    "tally",
    lambda t: key_of(t.cluster_oid, t.workergroup_oid),
)

WORKERS = Table(
    "c0a7e1d0-0000-4000-8000-000000000040",
    Worker,
    "worker",
    # A pass reads all workers of a cluster: side by side, that takes half the time in a large store.
    lambda w: key_of(w.cluster_oid, w.workergroup_oid, w.index, w.oid),
    unique={"oid": lambda w: w.oid.bytes},
    indexes={
        "node": lambda w: None if w.node_oid is None else w.node_oid.bytes,
        "name": lambda w: None if w.name is None else w.name.encode() + b"\0",
        "farewell": lambda w: None if w.farewell is None else b"",
    },
    found_by="oid",
)

OUTCOMES = Table(
    "c0a7e1d0-0000-4000-8000-000000000060",
    Outcome,
    "outcome",
    lambda o: o.principal + o.key,
    indexes={
        "time": lambda o: key_of(o.time),
        "principal": lambda o: o.principal + key_of(o.time),
    },
    counted=lambda o: o.principal,
)
"""Of calls with an idempotency key."""

AUDIT = Table("c0a7e1d0-0000-4000-8000-000000000051", AuditLink, "audit entry", lambda link: key_of(link.seq))

EVENTS = Table("c0a7e1d0-0000-4000-8000-000000000050", StoredEvent, "event", lambda e: key_of(e.seq))

AUTHORITIES = Table(
    "c0a7e1d0-0000-4000-8000-000000000080", ClusterAuthority, "cluster authority", lambda a: a.cluster_oid.bytes
)

CERTIFICATES = Table(
    "c0a7e1d0-0000-4000-8000-000000000081",
    TunnelCertificate,
    "certificate",
    lambda c: key_of(c.cluster_oid, c.node_oid, c.side),
)

TUNNEL_PORTS = Table(
    "c0a7e1d0-0000-4000-8000-000000000082",
    TunnelPort,
    "tunnel",
    lambda t: key_of(t.router_oid, t.front_oid),
    indexes={
        "front": lambda t: t.front_oid.bytes,
        "back": lambda t: t.back_oid.bytes,
        "cluster": lambda t: t.cluster_oid.bytes,
    },
)

TABLES: tuple[Table[Any], ...] = (
    MARKS,
    PRINCIPALS,
    POSSESSIONS,
    TEAMS,
    TEAM_MEMBERS,
    GRANTS,
    INVITATIONS,
    NODES,
    DEPARTURES,
    LOADS,
    DEFINITIONS,
    ACTIONS,
    CHILDREN,
    ORDERS,
    BINDINGS,
    BALANCES,
    RECEIVERS,
    MESSAGES,
    CLUSTERS,
    REVISIONS,
    GROUPS,
    MEMBERSHIPS,
    TALLIES,
    WORKERS,
    AUTHORITIES,
    CERTIFICATES,
    TUNNEL_PORTS,
    EVENTS,
    AUDIT,
    OUTCOMES,
)

LAYOUT_VERSION = 1


def oid_of(key: bytes) -> Oid:
    """Return the oid that a key begins with."""
    return UUID(bytes=key[:16])
