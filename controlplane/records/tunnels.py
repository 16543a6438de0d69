"""Protected lines between the machines of a cluster: who issues certificates, who has which, and what an agent is told.

A tunnel is one process on each of two nodes: at the *front*, where frontends connect to it by a unix socket, and at the
*back*, where it connects to the router workers by theirs. Between them there is TLS, both ways authenticated by an
authority of this cluster alone. For every cluster, every two nodes that need it have one of their own, so that each end
admits exactly one other.
"""

from typing import Annotated, Literal

import msgspec

from controlplane.records.nodes import Port
from controlplane.records.types import Instant, Oid, Record

Side = Literal["front", "back"]
REQUEST_LENGTH_MAX = 8_192
PORTS_MAX = 10_000


class ClusterAuthority(Record, frozen=True, kw_only=True):
    """Who issues the certificates of one cluster; nobody else trusts it."""

    cluster_oid: Oid
    key: str
    """PEM; leaves the master for nowhere."""

    certificate: str
    revocations: str
    """PEM: the list of certificates that were taken back, as agents have it."""

    revocations_end: Instant
    """When the list has to be made anew at the latest."""

    revoked: dict[str, Instant]
    """Serial numbers that were taken back, and when these certificates end."""

    renew_before: Instant = 0
    """Certificates that were issued earlier are to be renewed, with another key."""


class TunnelCertificate(Record, frozen=True, kw_only=True):
    """What a node proves with that it is the front or the back of a cluster's tunnels."""

    cluster_oid: Oid
    node_oid: Oid
    side: Side
    name: str
    certificate: str
    serial: str
    request: str
    """Fingerprint of its key."""

    issued: Instant
    ends: Instant


class TunnelPort(Record, frozen=True, kw_only=True):
    """Where the back of a tunnel listens, for one router worker and one front."""

    router_oid: Oid
    front_oid: Oid
    """The node that the front is on."""

    back_oid: Oid
    cluster_oid: Oid
    port: int


class OpenPort(Record, frozen=True, kw_only=True):
    """What an agent says of the back of a tunnel."""

    router_oid: Oid
    front_oid: Oid
    port: Port


class TunnelState(Record, frozen=True, kw_only=True):
    """What an agent has."""

    request: Annotated[str, msgspec.Meta(max_length=REQUEST_LENGTH_MAX)] | None = None
    """A request (CSR) for certificates, in PEM, for a key that does not leave the node."""

    ports: Annotated[tuple[OpenPort, ...], msgspec.Meta(max_length=PORTS_MAX)] = ()


class TunnelLine(Record, frozen=True, kw_only=True):
    """The way to one router worker through a tunnel."""

    router_oid: Oid
    socket: str
    """At the front where frontends connect, at the back where the router listens."""

    host: str
    """What the back listens on."""

    port: int | None = None
    """None as long as the back has not said it; at the back it chooses itself."""


class Tunnel(Record, frozen=True, kw_only=True):
    """One end of a tunnel, as an agent has to keep it."""

    cluster_oid: Oid
    side: Side
    peer_oid: Oid
    peer_name: str
    """The one name that the certificate of the other end has to be for."""

    authority: str
    revocations: str
    certificate: str
    request: str
    """Fingerprint of the key that the certificate is for."""

    lines: tuple[TunnelLine, ...]


class TunnelPlan(Record, frozen=True, kw_only=True):
    """All ends of tunnels that an agent has to keep."""

    tunnels: tuple[Tunnel, ...] = ()
    request_wanted: bool = False
    """Whether the agent shall send a request for its key, of which it may have to make the first one."""

    renewal_wanted: bool = False
    """Whether it shall make another key and send a request for that."""
