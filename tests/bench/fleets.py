"""A store that holds a large fleet that runs: written as the master would have left it, without running it."""

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple
from uuid import UUID

from twisted.internet.task import Clock

from controlplane.core.router_clusters import socket_path
from controlplane.core.situation import OWN_SOCKET
from controlplane.records.clusters import Cluster, ClusterStatus, Group, Membership, Tally
from controlplane.records.nodes import Load, Node, NodeFacts
from controlplane.records.types import Oid
from controlplane.records.workers import Address, Worker, WorkerStatus
from controlplane.services.specs import Compositions
from controlplane.store.catalog import CLUSTERS, GROUPS, LOADS, MEMBERSHIPS, NODES, PRINCIPALS, TALLIES, WORKERS
from controlplane.store.database import Change, Store
from controlplane.store.lmdb import LmdbEngine
from tests.simulation.clock import START_OF_TIME_NS
from tests.simulation.world import ADMIN_RECORD

NODES_PER_CLUSTER = 10
WORKERS_PER_CLUSTER = 100
CLUSTERS_PER_COMMIT = 100
SOCKETS = "/run/fleet"


class Fleet(NamedTuple):
    """What is in the store: nodes, and each cluster with its group."""

    nodes: list[Node]
    clusters: list[tuple[Oid, Oid]]

    @property
    def workers(self) -> int:
        return WORKERS_PER_CLUSTER * len(self.clusters)

    def nodes_of(self, cluster: int) -> list[Node]:
        """The members of the cluster with this number."""
        return [self.nodes[(cluster + place * 7) % len(self.nodes)] for place in range(NODES_PER_CLUSTER)]


def write_fleet(directory: Path, nodes: int, workers: int) -> Fleet:
    """Write a fleet of running clusters with ten nodes and a hundred workers each."""
    random = Random(nodes)

    def new_oid() -> UUID:
        return UUID(int=random.getrandbits(128), version=4)

    store = Store(LmdbEngine(directory, sync=False), Clock(), new_oid)
    fleet = Fleet([_node(number, new_oid()) for number in range(nodes)], [])
    compositions = Compositions()
    store.write_now(lambda change: change.rows(PRINCIPALS).put(ADMIN_RECORD))
    store.write_now(lambda change: [change.rows(NODES).add(node) for node in fleet.nodes])
    total = workers // WORKERS_PER_CLUSTER
    for first in range(0, total, CLUSTERS_PER_COMMIT):
        numbers = range(first, min(total, first + CLUSTERS_PER_COMMIT))
        store.write_now(lambda change, numbers=numbers: _write(change, fleet, numbers, compositions, new_oid))
    loads: dict[Oid, int] = {}
    for number in range(total):
        for node in fleet.nodes_of(number):
            loads[node.oid] = loads.get(node.oid, 0) + WORKERS_PER_CLUSTER // NODES_PER_CLUSTER
    store.write_now(
        lambda change: [change.rows(LOADS).put(Load(node_oid=oid, workers=load)) for oid, load in loads.items()]
    )
    store.close()
    return fleet


def _node(number: int, oid: Oid) -> Node:
    facts = NodeFacts(
        version="0",
        machine="here",
        address="127.0.0.1",
        sockets=SOCKETS,
        drivers=("router",),
        ports=(10_000, 10_099),
    )
    return Node(
        oid=oid,
        authid=f"node{number}",
        pubkey=f"{number:064x}",
        created=START_OF_TIME_NS,
        changed=START_OF_TIME_NS,
        online=True,
        since=START_OF_TIME_NS,
        facts=facts,
        assignment=1,
    )


def _write(change: Change, fleet: Fleet, numbers: range, compositions: Compositions, new_oid) -> None:
    for number in numbers:
        cluster = Cluster(
            oid=new_oid(),
            name=f"c{number:05d}",
            created=START_OF_TIME_NS,
            changed=START_OF_TIME_NS,
            run=True,
            ready=START_OF_TIME_NS,
            status=ClusterStatus.RUNNING,
        )
        scale = WORKERS_PER_CLUSTER - 1
        group = Group(
            oid=new_oid(),
            cluster_oid=cluster.oid,
            name="web",
            scale=scale,
            created=START_OF_TIME_NS,
            changed=START_OF_TIME_NS,
        )
        change.rows(CLUSTERS).add(cluster)
        change.rows(GROUPS).add(group)
        for node in fleet.nodes_of(number):
            change.rows(MEMBERSHIPS).add(
                Membership(cluster_oid=cluster.oid, node_oid=node.oid, created=START_OF_TIME_NS)
            )
        for owner, count in ((None, 1), (group.oid, scale)):
            change.rows(TALLIES).put(
                Tally(cluster_oid=cluster.oid, workergroup_oid=owner, counts={WorkerStatus.RUNNING.value: count})
            )
        for worker in _workers(change, cluster, group, fleet.nodes_of(number), compositions, new_oid):
            change.rows(WORKERS).add(worker)
        fleet.clusters.append((cluster.oid, group.oid))


def _workers(change: Change, cluster: Cluster, group: Group, nodes, compositions, new_oid) -> Iterator[Worker]:
    revision = compositions.of(change, cluster, 1)
    router = new_oid()
    socket = socket_path(SOCKETS, router)
    plan = [(router, None, 0, {OWN_SOCKET: socket})]
    plan += [(new_oid(), group.oid, index, {"0": socket}) for index in range(group.scale)]
    for place, (oid, owner, index, links) in enumerate(plan):
        bare = Worker(
            oid=oid,
            cluster_oid=cluster.oid,
            workergroup_oid=owner,
            index=index,
            created=START_OF_TIME_NS,
            changed=START_OF_TIME_NS,
        )
        digest = revision.digest(bare, links)
        yield Worker(
            oid=oid,
            cluster_oid=cluster.oid,
            workergroup_oid=owner,
            index=index,
            created=START_OF_TIME_NS,
            changed=START_OF_TIME_NS,
            node_oid=nodes[place % len(nodes)].oid,
            revision=1,
            links=links,
            digest=digest,
            status=WorkerStatus.RUNNING,
            fresh=False,
            version=1,
            seen_digest=digest,
            started=START_OF_TIME_NS,
            pid=1000 + place,
            realms=(cluster.name,),
            addresses=(Address(type="websocket", url=f"ws://127.0.0.1:{10_000 + place}/"),),
        )
