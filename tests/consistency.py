"""What is derived is always what could be derived anew: tallies, loads, statuses, versions."""

from controlplane.core.health import cluster_status, state_of
from controlplane.core.placement import occupies
from controlplane.records.workers import WorkerStatus
from controlplane.services.ledger import assigned_to, desired_routers, groups_of
from controlplane.store.catalog import CLUSTERS, LOADS, NODES, TALLIES, WORKERS


def check_derived(view) -> None:
    """Hold everything that is derived in a snapshot against what it is derived from."""
    workers = list(view.rows(WORKERS).all())
    tallies = {(t.cluster_oid, t.workergroup_oid): t for t in view.rows(TALLIES).all()}
    expected: dict = {}
    loads: dict = {}
    restarts: dict = {}
    for worker in workers:
        key = (worker.cluster_oid, worker.workergroup_oid)
        counts = expected.setdefault(key, {})
        counts[state_of(worker)] = counts.get(state_of(worker), 0) + 1
        restarts[key] = restarts.get(key, 0) + worker.restarts
        if occupies(worker):
            loads[worker.node_oid] = loads.get(worker.node_oid, 0) + 1
    assert {key: tally.counts for key, tally in tallies.items()} == expected
    assert {key: tally.restarts for key, tally in tallies.items()} == restarts
    stored_loads = {load.node_oid: load.workers for load in view.rows(LOADS).all() if load.workers}
    assert stored_loads == loads
    for cluster in view.rows(CLUSTERS).all():
        counts = {}
        for (oid, _), tally in tallies.items():
            if oid == cluster.oid:
                for state, number in tally.counts.items():
                    counts[state] = counts.get(state, 0) + number
        groups = groups_of(view, cluster.oid)
        desired = sum(group.scale for group in groups) + desired_routers(cluster, groups)
        assert cluster.status is cluster_status(cluster.run, cluster.ready, counts, desired)
    nodes = {node.oid: node for node in view.rows(NODES).all()}
    for worker in workers:
        if assigned_to(worker) and worker.node_oid in nodes:
            assert worker.version <= nodes[worker.node_oid].assignment
        if worker.status is WorkerStatus.RUNNING:
            assert worker.node_oid is not None
            assert worker.seen_digest is not None
