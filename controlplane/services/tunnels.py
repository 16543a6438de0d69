"""Tunnels between the machines of a cluster: who may be at which end of which, and the certificates that prove it.

What tunnels there have to be follows from the workers: a frontend on another machine than a router needs one to it. An
agent asks what its own node has to keep, and is told nothing of others. Every certificate is good for one cluster, one
node and one side. What was taken back is on the cluster's list of revocations at once, and the other ends are told.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec

from controlplane import certificates
from controlplane.certificates import CLIENT, SERVER, Authority
from controlplane.core.router_clusters import TUNNEL, socket_path
from controlplane.errors import InvalidArgument, NoSuchObject, NotAuthorized
from controlplane.records.nodes import Node
from controlplane.records.protocol import SYNC_TUNNELS
from controlplane.records.tunnels import (
    ClusterAuthority,
    Side,
    Tunnel,
    TunnelCertificate,
    TunnelLine,
    TunnelPlan,
    TunnelPort,
    TunnelState,
)
from controlplane.records.types import NANOSECONDS, Instant, Oid
from controlplane.records.workers import Want, Worker
from controlplane.services.agents import own_node
from controlplane.services.arguments import ExistingCluster
from controlplane.services.names import ROUTERCLUSTER
from controlplane.services.pipeline import WritingCall
from controlplane.services.procedures import procedure
from controlplane.store.catalog import AUTHORITIES, CERTIFICATES, MEMBERSHIPS, NODES, TUNNEL_PORTS, WORKERS

LIFETIME = timedelta(days=30)
REVOCATIONS_LIFETIME = timedelta(days=60)
"""Longer than the life of a certificate, so that a master that is away for long stops nobody."""

USAGE = {"front": CLIENT, "back": SERVER}
OTHER: dict[Side, Side] = {"front": "back", "back": "front"}


class _End(NamedTuple):
    """One end of a tunnel."""

    cluster: Oid
    side: Side
    peer: Oid


Ends = dict[_End, list[TunnelLine]]


@procedure(SYNC_TUNNELS, needs="agent", writes=True, raises=(NotAuthorized, InvalidArgument))
def sync_tunnels(call: WritingCall, state: TunnelState) -> TunnelPlan:
    """Say what an agent has of its tunnels, and return what it has to keep."""
    node = own_node(call)
    ends = {**_fronts(call, node), **_backs(call, node)}
    _note_ports(call, node, state, ends)
    _hint_backs(call, node, ends)
    key = _requested(state.request)
    tunnels = []
    request_wanted = renewal_wanted = False
    for end, lines in ends.items():
        authority = _authority(call, end.cluster)
        held = _certificate(call, authority, node, end, key)
        if held is None:
            request_wanted = True
        else:
            authority = _authority(call, end.cluster)
            renewal_wanted |= _is_due(held, authority, call.now)
            tunnels.append(
                Tunnel(
                    cluster_oid=end.cluster,
                    side=end.side,
                    peer_oid=end.peer,
                    peer_name=name_of(end.cluster, end.peer, OTHER[end.side]),
                    authority=authority.certificate,
                    revocations=authority.revocations,
                    certificate=held.certificate,
                    request=held.request,
                    lines=tuple(lines),
                )
            )
    return TunnelPlan(tunnels=tuple(tunnels), request_wanted=request_wanted, renewal_wanted=renewal_wanted)


@procedure(ROUTERCLUSTER + "renew_routercluster_certificates", needs="manage", writes=True, raises=(NoSuchObject,))
def renew_routercluster_certificates(call: WritingCall, routercluster_oid: ExistingCluster) -> int:
    """Have all certificates of a cluster issued anew, for other keys, and the former taken back; returns how many.

    Nothing is interrupted. Agents that are away follow when they are back.
    """
    authority = call.rows(AUTHORITIES).find(routercluster_oid.oid)
    if authority is None:
        return 0
    _put(call, msgspec.structs.replace(authority, renew_before=call.now))
    held = list(call.rows(CERTIFICATES).all(routercluster_oid.oid))
    for node_oid in {each.node_oid for each in held}:
        _hint(call, node_oid)
    return len(held)


def revoke_certificates(call: WritingCall, cluster_oid: Oid, node_oid: Oid) -> None:
    """Take back what a node has for a cluster, and have the others cut it off."""
    authority = call.rows(AUTHORITIES).find(cluster_oid)
    if authority is None:
        return
    others = set()
    revoked = dict(authority.revoked)
    for held in list(call.rows(CERTIFICATES).all(cluster_oid)):
        if held.node_oid == node_oid:
            revoked[held.serial] = held.ends
            call.rows(CERTIFICATES).remove(held)
        else:
            others.add(held.node_oid)
    for port in list(call.rows(TUNNEL_PORTS).all_by("cluster", cluster_oid)):
        if node_oid in (port.front_oid, port.back_oid):
            call.rows(TUNNEL_PORTS).remove(port)
    _put(call, _with_revocations(call, msgspec.structs.replace(authority, revoked=revoked)))
    for other in (*others, node_oid):
        _hint(call, other)


def name_of(cluster_oid: Oid, node_oid: Oid, side: Side) -> str:
    """Return the name that a certificate is for; no two ends of tunnels have the same."""
    return f"{side}.{node_oid.hex}.{cluster_oid.hex}.internal"


# Which tunnels there are


def _fronts(call: WritingCall, node: Node) -> Ends:
    """Return the ends to which frontends of this node connect."""
    ends: Ends = {}
    for worker in call.rows(WORKERS).all_by("node", node.oid):
        for router_oid, back_oid, socket in _needed(worker):
            back = call.rows(NODES).find(back_oid)
            lines = ends.setdefault(_End(worker.cluster_oid, "front", back_oid), [])
            if back is None or back.facts is None or any(line.router_oid == router_oid for line in lines):
                continue
            port = call.rows(TUNNEL_PORTS).find(router_oid, node.oid)
            known = port.port if port is not None and port.back_oid == back_oid else None
            lines.append(TunnelLine(router_oid=router_oid, socket=socket, host=back.facts.address, port=known))
    return {end: lines for end, lines in ends.items() if lines and _is_member(call, end.cluster, node.oid)}


def _backs(call: WritingCall, node: Node) -> Ends:
    """Return the ends that lead to routers of this node: one for every other node that has frontends of theirs."""
    ends: Ends = {}
    if node.facts is None:
        return ends
    routers = {
        worker.oid: worker
        for worker in call.rows(WORKERS).all_by("node", node.oid)
        if worker.workergroup_oid is None and worker.want is Want.RUN
    }
    for cluster_oid in {router.cluster_oid for router in routers.values()}:
        for frontend in call.rows(WORKERS).all(cluster_oid):
            for router_oid, back_oid, _socket in _needed(frontend):
                if back_oid != node.oid or router_oid not in routers or frontend.node_oid is None:
                    continue
                if not _is_member(call, cluster_oid, frontend.node_oid):
                    continue
                lines = ends.setdefault(_End(cluster_oid, "back", frontend.node_oid), [])
                if all(line.router_oid != router_oid for line in lines):
                    socket = socket_path(node.facts.sockets, router_oid)
                    lines.append(TunnelLine(router_oid=router_oid, socket=socket, host=node.facts.address))
    return ends


def _needed(worker: Worker) -> Iterator[tuple[Oid, Oid, str]]:
    """Yield router, its node, and the socket at the front, for every tunnel that a worker needs."""
    if worker.want is not Want.RUN:
        return
    for key, value in worker.links.items():
        if key.endswith(TUNNEL):
            router, _, node = value.partition("/")
            yield Oid(router), Oid(node), worker.links[key.removesuffix(TUNNEL)]


def _is_member(call: WritingCall, cluster_oid: Oid, node_oid: Oid) -> bool:
    return call.rows(MEMBERSHIPS).find(cluster_oid, node_oid) is not None


# Where their backs listen


def _note_ports(call: WritingCall, node: Node, state: TunnelState, ends: Ends) -> None:
    """Store where this node listens for whom, and tell those whom it is news for."""
    rows = call.rows(TUNNEL_PORTS)
    clusters = {
        (line.router_oid, end.peer): end.cluster for end, lines in ends.items() if end.side == "back" for line in lines
    }
    said = {(port.router_oid, port.front_oid): port.port for port in state.ports}
    for known in list(rows.all_by("back", node.oid)):
        if (known.router_oid, known.front_oid) not in clusters:
            rows.remove(known)
    for (router_oid, front_oid), number in said.items():
        cluster_oid = clusters.get((router_oid, front_oid))
        if cluster_oid is None:
            continue  # No longer wanted, which the plan tells.
        found = TunnelPort(
            router_oid=router_oid, front_oid=front_oid, back_oid=node.oid, cluster_oid=cluster_oid, port=number
        )
        before = rows.find(router_oid, front_oid)
        if before != found:
            rows.put(found, before)
            _hint(call, front_oid)


def _hint_backs(call: WritingCall, node: Node, ends: Ends) -> None:
    """Have the other ends look: those that do not listen for this node yet, and those that need not any more."""
    needed = {
        (line.router_oid, end.peer): line.port for end, lines in ends.items() if end.side == "front" for line in lines
    }
    waiting = {back_oid for (_router_oid, back_oid), port in needed.items() if port is None}
    for known in call.rows(TUNNEL_PORTS).all_by("front", node.oid):
        if (known.router_oid, known.back_oid) not in needed:
            waiting.add(known.back_oid)
    for back_oid in waiting:
        _hint(call, back_oid)


def _hint(call: WritingCall, node_oid: Oid) -> None:
    agents = call.agents
    call.ledger.change.after_commit(lambda: agents.hint_tunnels(node_oid))


# Certificates


def _requested(request: str | None) -> certificates.RequestedKey | None:
    if request is None:
        return None
    try:
        return certificates.requested_key(request.encode())
    except ValueError as problem:
        raise InvalidArgument(
            f"the request for certificates cannot be used: {problem}", next_step="send a CSR in PEM for a key on P-256"
        ) from None


def _certificate(
    call: WritingCall,
    authority: ClusterAuthority,
    node: Node,
    end: _End,
    key: certificates.RequestedKey | None,
) -> TunnelCertificate | None:
    """Return what a node proves its end with; it is issued when the node asks for it with another key."""
    rows = call.rows(CERTIFICATES)
    held: TunnelCertificate | None = rows.find(end.cluster, node.oid, end.side)
    # All ends of one side have one certificate: it may have been issued a moment ago.
    if key is None or (held is not None and held.request == certificates.fingerprint(key)):
        return held
    issued = _issue(call, authority, node, end, key)
    rows.put(issued, held)
    if held is not None:
        revoked = {**authority.revoked, held.serial: held.ends}
        _put(call, _with_revocations(call, msgspec.structs.replace(authority, revoked=revoked)))
        for other in call.rows(CERTIFICATES).all(end.cluster):
            if other.side != end.side:
                _hint(call, other.node_oid)  # The former certificate is to be refused there.
    return issued


def _is_due(held: TunnelCertificate, authority: ClusterAuthority, now: Instant) -> bool:
    left = held.ends - now
    return (
        left < LIFETIME.total_seconds() * NANOSECONDS * certificates.RENEWAL_SHARE
        or held.issued < authority.renew_before
    )


def _issue(
    call: WritingCall, authority: ClusterAuthority, node: Node, end: _End, key: certificates.RequestedKey
) -> TunnelCertificate:
    name = name_of(end.cluster, node.oid, end.side)
    by = Authority(authority.key.encode(), authority.certificate.encode())
    text = certificates.issue(by, key, [name], USAGE[end.side], _moment(call.now), LIFETIME)
    found = certificates.describe(text)
    return TunnelCertificate(
        cluster_oid=end.cluster,
        node_oid=node.oid,
        side=end.side,
        name=name,
        certificate=text.decode(),
        serial=f"{found.serial:x}",
        request=found.fingerprint,
        issued=call.now,
        ends=_instant(found.ends),
    )


def _authority(call: WritingCall, cluster_oid: Oid) -> ClusterAuthority:
    """Return who issues the certificates of a cluster; made when the first one is needed."""
    found = call.rows(AUTHORITIES).find(cluster_oid)
    if found is None:
        made = certificates.make_authority(f"controlplane cluster {cluster_oid.hex}", _moment(call.now))
        found = ClusterAuthority(
            cluster_oid=cluster_oid,
            key=made.key.decode(),
            certificate=made.certificate.decode(),
            revocations="",
            revocations_end=0,
            revoked={},
        )
    half = REVOCATIONS_LIFETIME.total_seconds() * NANOSECONDS / 2
    if found.revocations_end - call.now < half:
        found = _with_revocations(call, found)
        _put(call, found)
    authority: ClusterAuthority = found
    return authority


def _with_revocations(call: WritingCall, authority: ClusterAuthority) -> ClusterAuthority:
    """Return the authority with its list of revocations made anew, without those that have ended anyway."""
    revoked = {serial: ends for serial, ends in authority.revoked.items() if ends > call.now}
    made = certificates.make_revocations(
        Authority(authority.key.encode(), authority.certificate.encode()),
        (int(serial, 16) for serial in revoked),
        _moment(call.now),
        REVOCATIONS_LIFETIME,
    )
    return msgspec.structs.replace(
        authority,
        revoked=revoked,
        revocations=made.decode(),
        revocations_end=call.now + int(REVOCATIONS_LIFETIME.total_seconds() * NANOSECONDS),
    )


def _put(call: WritingCall, authority: ClusterAuthority) -> None:
    rows = call.rows(AUTHORITIES)
    rows.put(authority, rows.find(authority.cluster_oid))


def _moment(now: Instant) -> datetime:
    return datetime.fromtimestamp(now / NANOSECONDS, UTC)


def _instant(moment: datetime) -> Instant:
    return int(moment.timestamp()) * NANOSECONDS
