"""What is so when the plane has converged: everything that is wanted runs where it shall, and nothing else does."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping

from controlplane.drivers.driver import Unit
from tests.simulation.machine import Machine
from tests.simulation.mirror import Mirror, Row, is_generic, occupies, ungrouped_of
from tests.simulation.world import World

WAITS_FOR_ROUTER = "waits for the router"


def unconverged(world: World, mirror: Mirror, lost: Collection[str]) -> Iterator[str]:
    """Yield what is not yet as it shall be; `lost` are machines that never come back."""
    if world.plane is None or world.network.master is None:
        yield "the master is away"
        return
    runs: dict[str, str] = {}
    assigned = mirror.assigned()
    for machine in world.machines:
        node = mirror.paired_with(machine)
        if node is None:
            continue  # Unpaired: it is not the plane's any more.
        if machine.name in lost:
            if node["online"]:
                yield f"{machine.name} is lost and counts as online"
            continue
        units = {str(oid): unit for oid, unit in machine.units.items()}
        yield from _of_machine(machine, node, mirror, units, assigned[node["oid"]])
        yield from _of_units(machine, mirror, units)
        for oid in units:
            if oid in runs:
                yield f"worker {oid} runs on {runs[oid]} and on {machine.name}"
            runs[oid] = machine.name
    for cluster in mirror.clusters.values():
        yield from _of_cluster(cluster, mirror)


def _of_machine(
    machine: Machine, node: Row, mirror: Mirror, units: Mapping[str, Unit], assigned: Mapping[str, str]
) -> Iterator[str]:
    agent = machine.agent
    joined = machine.session is not None and machine.session.open and str(machine.oid) == node["oid"]
    if agent is None or not joined or not node["online"]:
        yield f"{machine.name} is not connected"
        return
    if str(agent._epoch) != mirror.epoch(node["oid"]) and node["assignment"]:
        yield f"{machine.name} keeps an assignment of another store"
    elif agent._version != node["assignment"]:
        yield f"{machine.name} holds version {agent._version} of its assignment; the newest is {node['assignment']}"
    found = {oid: unit.digest for oid, unit in units.items()}
    if found != assigned:
        wrong = sorted(oid for oid in {*found, *assigned} if found.get(oid) != assigned.get(oid))
        yield f"{machine.name} does not run what it shall: {', '.join(wrong)}"
    elif any(machine.busy.values()):
        yield f"{machine.name} has not come to the end of what it was told before"


def _of_units(machine: Machine, mirror: Mirror, units: Mapping[str, Unit]) -> Iterator[str]:
    """What is known of a worker is what runs, not what ran there before or runs elsewhere."""
    here = str(machine.oid)
    for oid, unit in units.items():
        worker = mirror.workers.get(oid)
        if worker is None or worker["status"] != "RUNNING" or worker["node_oid"] != here:
            continue
        known, found = (worker["pid"], worker["started"]), (unit.pid, unit.started)
        if known != found:
            yield f"worker {oid} runs on {machine.name} with process and start {found}, and is known with {known}"


def _of_cluster(cluster: Row, mirror: Mirror) -> Iterator[str]:
    name = cluster["name"]
    workers = list(mirror.workers_of[cluster["oid"]].values())
    if cluster["action_oid"] is not None:
        yield f"{name} is being changed by action {cluster['action_oid']}"
    if not cluster["run"]:
        held = any(worker["status"] == "STOPPING" and _waits_unseen(worker, cluster, mirror) for worker in workers)
        left = {worker["status"] for worker in workers if not _waits_unseen(worker, cluster, mirror)} - {"STOPPED"}
        if left or cluster["status"] != ("STOPPING" if held else "STOPPED"):
            yield f"{name} is {cluster['status']}, and shall be stopped"
        return
    groups: dict[str | None, int] = defaultdict(int)
    for worker in workers:
        if worker["want"] == "RUN":
            groups[worker["workergroup_oid"]] += 1
    wanted: dict[str | None, int] = {group["oid"]: group["scale"] for group in mirror.groups_in(cluster["oid"])}
    wanted[None] = ungrouped_of(cluster, sum(wanted.values()))
    if groups != {group: number for group, number in wanted.items() if number}:
        yield f"{name} has {dict(groups)} workers, and wants {dict(wanted)}"
    for oid, limit in mirror.most_on_nodes(cluster["oid"], mirror.nodes).items():
        if limit is not None:
            here = sum(worker["node_oid"] == oid and occupies(worker) for worker in workers)
            if here > limit:
                yield f"{name} has {here} workers on node {oid}; at most {limit} may stand there"
    homeless = False
    stalled = (
        is_generic(cluster) and sum(_is_out_of_sight(worker, cluster, mirror) for worker in workers) >= cluster["batch"]
    )
    for worker in workers:
        shown = f"worker {worker['oid']} of {name} is {worker['status']}"
        node = mirror.nodes.get(worker["node_oid"])
        if worker["want"] != "RUN":
            yield f"{shown}, and shall be gone"
        elif worker["status"] == "RUNNING":
            if worker["seen_digest"] != worker["digest"]:
                yield f"{shown} with an older configuration"
            elif is_generic(cluster) and worker["revision"] != cluster["revision"] and not stalled:
                yield f"{shown} with revision {worker['revision']}; the newest is {cluster['revision']}"
        elif worker["status"] == "PENDING" or (worker["status"] == "UNREACHABLE" and node and not node["online"]):
            homeless |= not worker["standby"]
            waits = (worker["reason"] or "").startswith(WAITS_FOR_ROUTER)
            room = _room(cluster["oid"], mirror)
            if room is not None and not waits and not _is_held(worker, cluster):
                yield f"{shown}, and {room} has room: {worker['reason']}"
        else:
            yield f"{shown}: {worker['reason']}"
    expected = {"RUNNING"} if not homeless else {"STARTING", "DEGRADED", "ERROR"}
    if cluster["status"] not in expected:
        yield f"{name} is {cluster['status']}"


def _is_held(worker: Row, cluster: Row) -> bool:
    """Say whether nobody knows that a worker is gone: with fencing, its agent never said that it would kill it."""
    return bool(cluster["fence_after"] is not None and worker["fence_after"] is None and worker["node_oid"])


def _is_out_of_sight(worker: Row, cluster: Row, mirror: Mirror) -> bool:
    """Say whether a worker on a silent node was given the newest configuration: others wait for it."""
    node = mirror.nodes.get(worker["node_oid"])
    silent = worker["status"] == "UNREACHABLE" and node is not None and not node["online"]
    return silent and worker["revision"] == cluster["revision"] and worker["seen_digest"] != worker["digest"]


def _waits_unseen(worker: Row, cluster: Row, mirror: Mirror) -> bool:
    """Say whether a worker that is to stop may run on a silent node, until that is back or is unpaired."""
    node = mirror.nodes.get(worker["node_oid"])
    return node is not None and not node["online"] and _is_held(worker, cluster)


def held_by(mirror: Mirror) -> list[str]:
    """Return the silent nodes that workers which are to stop may run on unseen."""
    found = {
        worker["node_oid"]: None
        for worker in mirror.workers.values()
        if worker["want"] != "RUN" and _waits_unseen(worker, mirror.clusters[worker["cluster_oid"]], mirror)
    }
    return list(found)


def _room(cluster: str, mirror: Mirror) -> str | None:
    """Return a node that can take one more worker of a cluster."""
    for oid, node in mirror.nodes.items():
        if not node["online"] or not node["facts"] or not mirror.carries(cluster, oid):
            continue
        here = sum(w["node_oid"] == oid and occupies(w) for w in mirror.workers_of[cluster].values())
        in_all = sum(w["node_oid"] == oid and occupies(w) for w in mirror.workers.values())
        limit, capacity = mirror.most_on_a_node(cluster, oid), node["facts"]["capacity"]
        if (limit is None or here < limit) and (capacity is None or in_all < capacity):
            return str(node["authid"])
    return None
