"""What a load balancer is to know of a cluster, and when a worker that goes is let go.

A worker is a member while it runs with the configuration that it is to have. One on a silent node stays a member: a cut
line stops no worker, and the balancer looks for itself whether it answers. Before a worker is stopped or changed the
balancer takes it out, and it runs on for a while.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import urlsplit

from controlplane.core.counting import so_many
from controlplane.core.placeholders import fill
from controlplane.records.balancing import BalanceMember, Drain, FileTarget
from controlplane.records.clusters import Cluster
from controlplane.records.types import NANOSECONDS, Instant
from controlplane.records.workers import Address, Want, Worker, WorkerStatus

SERVING = frozenset({WorkerStatus.RUNNING, WorkerStatus.UNREACHABLE})
HOST = re.compile(r"[A-Za-z0-9_.:-]{1,253}")
UNFIT = re.compile(r"[^A-Za-z0-9_.-]")
"""What a name must not have in it where it becomes a part of a configuration."""


class Place(NamedTuple):
    """Where a worker listens."""

    url: str
    host: str
    port: int


def served(worker: Worker) -> tuple[Address, ...]:
    """Return where clients of a worker may be sent; nowhere unless it serves."""
    return worker.addresses if serves(worker) else ()


def serves(worker: Worker) -> bool:
    """Say whether a worker runs with the configuration that it is to have, and does not leave."""
    if worker.standby or worker.drain is not None or worker.want is not Want.RUN or worker.status not in SERVING:
        return False
    return worker.digest is not None and worker.seen_digest == worker.digest


def nowhere(workers: Iterable[Worker], port: str | None) -> str | None:
    """Return that nobody can be sent to workers that serve, and why; None when there is an address of each."""
    serving = [worker for worker in workers if serves(worker)]
    missed = [worker for worker in serving if place_of(worker.addresses, port) is None]
    if not missed:
        return None
    names = sorted({address.type for worker in missed for address in worker.addresses})
    wanted = "an address" if port is None else f"a port {port}"
    instead = f"they have {', '.join(names)}" if names else "their profile names no ports"
    return f"{len(missed)} of {so_many(len(serving), 'worker')} that run do not have {wanted}; {instead}"


def place_of(addresses: Iterable[Address], port: str | None) -> Place | None:
    """Return the address of this type, or the first one; None when there is none that a balancer could use."""
    for address in addresses:
        if port not in (None, address.type):
            continue
        try:
            url = urlsplit(address.url)
            host, number = url.hostname, url.port
        except ValueError:
            continue
        if host is not None and number and HOST.fullmatch(host):
            return Place(address.url, host, number)
    return None


def render(target: FileTarget, members: Iterable[BalanceMember]) -> str:
    """Return what stands in the file of a balancer; names of workers cannot break out of their place in it."""
    return target.before + "".join(fill(target.each, _values(member)) for member in members) + target.after


def drain_of(cluster: Cluster, worker: Worker, now: Instant) -> Drain | None:
    """Return what is waited for before a worker is stopped or changed; None for nothing."""
    rules = cluster.balance
    if rules is None or not cluster.run or worker.workergroup_oid is None or worker.status is not WorkerStatus.RUNNING:
        return None
    return worker.drain or Drain(until=now + int(rules.timeout * NANOSECONDS))


def accepted(seconds: float, now: Instant) -> Drain:
    """Return what is left of a wait when the balancer has taken the worker out."""
    return Drain(until=now + int(seconds * NANOSECONDS), accepted=True)


def is_drained(cluster: Cluster, drain: Drain, now: Instant) -> bool:
    """Say whether nothing is waited for any more."""
    return cluster.balance is None or not cluster.run or now >= drain.until


def _values(member: BalanceMember) -> dict[str, str]:
    host = f"[{member.host}]" if ":" in member.host else member.host
    return {
        "name": UNFIT.sub("_", member.name),
        "oid": str(member.worker_oid),
        "index": str(member.index),
        "host": host,
        "port": str(member.port),
        "address": f"{host}:{member.port}",
        "zone": UNFIT.sub("_", member.zone or ""),
    }
