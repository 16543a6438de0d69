"""What every commit has to keep to: limits, causes, derived status.

Each function looks at one commit, with the mirror as it is afterwards, and yields what is wrong in words.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator

from controlplane.store.catalog import BINDINGS, CLUSTERS, GROUPS, MEMBERSHIPS, NODES, WORKERS
from tests.simulation.mirror import Changed, Mirror, Row, assigned_to, occupies, ungrouped_of

WISHES = ("generation", "rebuilds", "kills", "kept")
"""Fields of a worker that another configuration follows from, at once or by the next pass."""


def check_numbers(mirror: Mirror, changes: list[Changed]) -> Iterator[str]:
    """No group gets more workers than it wants, no two share a place, and no node gets more than it admits."""
    clusters: dict[str, None] = {}
    placed: dict[tuple[str, str], None] = {}
    for change in changes:
        if change.noun != WORKERS.noun or change.after is None or change.after["want"] != "RUN":
            continue
        row = change.after
        if change.before is None:
            clusters[row["cluster_oid"]] = None
        if row["node_oid"] and (change.before is None or change.before["node_oid"] != row["node_oid"]):
            placed[row["cluster_oid"], row["node_oid"]] = None
    for oid in clusters:
        yield from _check_cluster_numbers(mirror, oid)
    lowered = {
        (change.after["cluster_oid"], change.after["node_oid"])
        for change in changes
        if change.noun == MEMBERSHIPS.noun and change.after
    }
    bound = {change.after["cluster_oid"] for change in changes if change.noun == BINDINGS.noun and change.after}
    for cluster, node in placed:
        if (
            (cluster, node) not in lowered
            and cluster not in bound
            and any(
                worker["node_oid"] == node and worker["want"] == "RUN" for worker in mirror.workers_of[cluster].values()
            )
        ):
            yield from _check_limits(mirror, cluster, node)


def _check_cluster_numbers(mirror: Mirror, oid: str) -> Iterator[str]:
    cluster = mirror.clusters.get(oid)
    if cluster is None:
        return
    groups: dict[str | None, list[int]] = defaultdict(list)
    for worker in mirror.workers_of[oid].values():
        if worker["want"] == "RUN":
            groups[worker["workergroup_oid"]].append(worker["index"])
    wanted: dict[str | None, int] = {group["oid"]: group["scale"] for group in mirror.groups_in(oid)}
    wanted[None] = ungrouped_of(cluster, sum(wanted.values()))
    for group, indexes in groups.items():
        if len(indexes) > wanted.get(group, 0):
            yield f"group {group} of {cluster['name']} has {len(indexes)} workers; it wants {wanted.get(group, 0)}"
        if len(indexes) != len(set(indexes)):
            yield f"group {group} of {cluster['name']} has two workers in one place: {sorted(indexes)}"


def _check_limits(mirror: Mirror, cluster: str, node: str) -> Iterator[str]:
    host = mirror.nodes.get(node)
    if host is None or not mirror.carries(cluster, node):
        yield f"a worker was placed on node {node}, which does not carry cluster {cluster}"
        return
    here = sum(worker["node_oid"] == node and occupies(worker) for worker in mirror.workers_of[cluster].values())
    limit = mirror.most_on_a_node(cluster, node)
    if limit is not None and here > limit:
        yield f"{here} workers of a cluster on {host['authid']}; at most {limit} may stand there"
    capacity = host["facts"] and host["facts"]["capacity"]
    in_all = sum(worker["node_oid"] == node and occupies(worker) for worker in mirror.workers.values())
    if capacity is not None and in_all > capacity:
        yield f"{in_all} workers on {host['authid']}; its capacity is {capacity}"


def check_versions(mirror: Mirror, changes: list[Changed]) -> Iterator[str]:
    """Whenever what a node shall run changes, so does the version of its assignment; a digest changes for a cause."""
    touched: dict[str, None] = {}
    versions: dict[str, int] = {}
    for change in changes:
        if change.noun == NODES.noun and change.before is not None:
            versions.setdefault(change.before["oid"], change.before["assignment"])
            if change.after is not None and change.after["assignment"] < change.before["assignment"]:
                yield f"the assignment of {change.after['authid']} went back to version {change.after['assignment']}"
        if change.noun == WORKERS.noun:
            old, new = assigned_to(change.before), assigned_to(change.after)
            if old != new:
                touched.update(dict.fromkeys(place[0] for place in (old, new) if place))
            before, after = change.before, change.after
            if before and after and any(before[field] != after[field] for field in WISHES):
                mirror.told_anew.add(after["oid"])
            if not (before and after and old and new) or old[0] != new[0] or old[1] == new[1]:
                continue
            caused = any(before[field] != after[field] for field in ("revision", "links"))
            if not caused and after["oid"] not in mirror.told_anew:
                yield f"worker {after['oid']} was given another configuration for no cause"
            mirror.told_anew.discard(after["oid"])
    for node in touched:
        row = mirror.nodes.get(node)
        if row is not None and row["assignment"] == versions.get(node, row["assignment"]):
            yield f"node {row['authid']} shall run something else, but has the same assignment {row['assignment']}"


def check_silence(mirror: Mirror, changes: list[Changed]) -> Iterator[str]:
    """When a node goes offline its workers are unreachable at once."""
    for change in changes:
        row = change.after
        if change.noun != NODES.noun or row is None or row["online"] or not change.value("online")[0]:
            continue
        node = mirror.nodes.get(row["oid"])
        if node is None or node["online"]:
            continue  # That it was unpaired, or is back, was written in the same commit.
        for worker in mirror.workers.values():
            if worker["node_oid"] == row["oid"] and worker["want"] == "RUN" and worker["status"] == "RUNNING":
                yield f"{row['authid']} is offline, and its worker {worker['oid']} RUNNING"


def check_statuses(mirror: Mirror, changes: list[Changed]) -> Iterator[str]:
    """The status of a cluster follows from its workers."""
    touched: dict[str, None] = {}
    for change in changes:
        row = change.after or change.before
        if row is not None and change.noun in (CLUSTERS.noun, WORKERS.noun, GROUPS.noun):
            touched[row["oid"] if change.noun == CLUSTERS.noun else row["cluster_oid"]] = None
    for oid in touched:
        cluster = mirror.clusters.get(oid)
        if cluster is not None:
            expected = status_of(mirror, cluster)
            if cluster["status"] != expected:
                shown = Counter(worker["status"] for worker in mirror.workers_of[oid].values())
                yield (
                    f"cluster {cluster['name']} is {cluster['status']}, and should be {expected}: "
                    f"{mirror.desired(cluster)} wanted, {dict(shown)}"
                )


def status_of(mirror: Mirror, cluster: Row) -> str:
    """Return the status that follows from the workers, said in other words than the product's."""
    workers = list(mirror.workers_of[cluster["oid"]].values())
    if not cluster["run"]:
        return "STOPPED" if all(worker["status"] == "STOPPED" for worker in workers) else "STOPPING"
    desired = mirror.desired(cluster)
    counted = (worker for worker in workers if not worker["standby"])
    wanted = [worker for worker in counted if worker["status"] not in ("STOPPING", "STOPPED")]
    running = sum(worker["status"] == "RUNNING" for worker in wanted)
    if running >= desired:
        return "RUNNING"
    growing = len(wanted) < desired or any(worker["status"] == "STARTING" and worker["fresh"] for worker in wanted)
    returning = any(worker["status"] == "STARTING" and not worker["fresh"] for worker in wanted)
    failed = any(worker["status"] == "ERROR" for worker in wanted)
    hurt = returning or failed or any(worker["status"] in ("PENDING", "UNREACHABLE") for worker in wanted)
    if cluster["ready"] is None:
        if growing or returning:
            return "STARTING"
        return "DEGRADED" if running else "ERROR" if failed else "STARTING"
    if not hurt:
        return "RUNNING"
    return "ERROR" if failed and not (running or growing or returning) else "DEGRADED"
