"""What is announced: one event for every change of a commit and none beside, numbered without a gap."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from controlplane.records import events as kinds
from controlplane.store.catalog import (
    ACTIONS,
    BINDINGS,
    CLUSTERS,
    DEFINITIONS,
    EVENTS,
    GROUPS,
    MEMBERSHIPS,
    NODES,
    RECEIVERS,
    WORKERS,
)
from tests.simulation.mirror import Changed, Mirror, Row, is_generic

ALIVE = ("RUNNING", "UNREACHABLE")
ENDS = ("SUCCEEDED", "FAILED", "CANCELLED")
FROM_POLICIES = {"per_node_max", "placement", "standby", "fence_after"}
NOT_SETTINGS = {"changed", "run", "ready", "status", "revision", "action_oid", "deleting"} | FROM_POLICIES
"""Fields of a generic cluster that follow from something else, which is announced by an event of its own."""

DEFINITION_EVENTS: Mapping[str, tuple[kinds.EventType, kinds.EventType, kinds.EventType]] = {
    "profile": (kinds.PROFILE_CREATED, kinds.PROFILE_UPDATED, kinds.PROFILE_DELETED),
    "policy": (kinds.POLICY_CREATED, kinds.POLICY_UPDATED, kinds.POLICY_DELETED),
}


class Due(NamedTuple):
    """An event that there must be, or may be."""

    kind: kinds.EventType
    about: str
    certain: bool = True


def check_events(mirror: Mirror, changes: list[Changed], last: int) -> Iterator[str]:
    """Events are numbered without gaps, and there is exactly one for each thing that changed."""
    told: dict[tuple[str, str], int] = defaultdict(int)
    for change in changes:
        if change.noun == EVENTS.noun and change.after is not None:
            event = change.after
            if change.before is not None:
                yield f"event {event['seq']} was written over: {change.before} by {event}"
            if event["seq"] != last + 1:
                yield f"event {event['seq']} follows {last}"
            last = event["seq"]
            told[event["topic"], _subject(event["payload"])] += 1
    must: dict[tuple[str, str], int] = defaultdict(int)
    may: dict[tuple[str, str], int] = defaultdict(int)
    for due in _due(mirror, changes):
        (must if due.certain else may)[due.kind.topic, due.about] += 1
    if must == told:
        return
    missing = Counter(must) - Counter(told)
    surplus = Counter(told) - Counter(must) - Counter(may)
    if missing:
        yield f"changes without an event: {dict(missing)}"
    if surplus:
        yield f"events without a change: {dict(surplus)}"


def _subject(payload: Row) -> str:
    return str(payload["oid"] if "oid" in payload else payload["node_oid"])


def _due(mirror: Mirror, changes: list[Changed]) -> Iterator[Due]:
    deleted = {
        change.before["oid"]: change.before
        for change in changes
        if change.noun == CLUSTERS.noun and change.before is not None and change.after is None
    }
    for change in changes:
        row = change.after or change.before
        if row is None or change.noun == EVENTS.noun:
            continue
        home = row.get("cluster_oid")
        gone = change.after is None and home in deleted
        match change.noun:
            case CLUSTERS.noun:
                yield from _of_cluster(change, row)
            case GROUPS.noun if gone:
                yield Due(kinds.GROUP_REMOVED, row["oid"], certain=False)
            case GROUPS.noun:
                yield from _of_group(change, row, mirror.clusters[home] if home in mirror.clusters else deleted[home])
            case MEMBERSHIPS.noun if gone:
                yield Due(kinds.CLUSTER_NODE_REMOVED, row["node_oid"], certain=False)
            case MEMBERSHIPS.noun:
                yield from _of_life(change, row["node_oid"], kinds.CLUSTER_NODE_ADDED, kinds.CLUSTER_NODE_REMOVED)
                if change.before and change.after and change.before != change.after:
                    yield Due(kinds.CLUSTER_NODE_ADDED, row["node_oid"])
            case NODES.noun:
                yield from _of_life(change, row["oid"], kinds.NODE_PAIRED, kinds.NODE_UNPAIRED)
                before, after = change.value("online")
                if change.before and change.after and before != after:
                    yield Due(kinds.NODE_ONLINE if after else kinds.NODE_OFFLINE, row["oid"])
            case WORKERS.noun if _is_move(change):
                alone = (mirror.clusters.get(home) or deleted.get(home) or {}).get("alone")
                yield Due(kinds.WORKER_LEFT if alone else kinds.WORKER_JOINED, row["oid"])
            case WORKERS.noun:
                yield from _of_worker(change, row)
            case ACTIONS.noun:
                yield from _of_action(change, row)
            case DEFINITIONS.noun:
                yield from _of_definition(change, row)
            case BINDINGS.noun if not gone:
                yield from _of_binding(change, row)
            case RECEIVERS.noun if not gone:
                yield from _of_life(change, row["oid"], kinds.RECEIVER_CREATED, kinds.RECEIVER_DELETED)
                if change.before and change.after:
                    yield Due(kinds.RECEIVER_UPDATED, row["oid"])
            case _:
                pass


def _is_move(change: Changed) -> bool:
    """Say whether a worker changes its cluster."""
    before, after = change.value("cluster_oid")
    return None not in (before, after) and before != after


def _of_life(change: Changed, about: str, born: kinds.EventType, gone: kinds.EventType) -> Iterator[Due]:
    if change.before is None and change.after is not None:
        yield Due(born, about)
    if change.before is not None and change.after is None:
        yield Due(gone, about)


def _of_cluster(change: Changed, row: Row) -> Iterator[Due]:
    before, after, oid = change.before, change.after, row["oid"]
    generic = is_generic(row)
    if row["alone"]:
        return  # It is the place of one worker, of whose events it has none besides.
    if before is None or after is None:
        born = kinds.ANY_CLUSTER_CREATED if generic else kinds.CLUSTER_CREATED
        yield from _of_life(change, oid, born, kinds.ANY_CLUSTER_DELETED if generic else kinds.CLUSTER_DELETED)
    elif generic:
        yield from _of_generic_cluster(before, after)
    elif before["run"] != after["run"]:
        yield Due(kinds.CLUSTER_STARTING if after["run"] else kinds.CLUSTER_STOPPING, oid)
    elif before["status"] == after["status"]:
        if before["action_oid"] == after["action_oid"]:
            yield Due(kinds.CLUSTER_UPDATED, oid)
    elif after["status"] == "RUNNING":
        yield Due(kinds.CLUSTER_STARTED if before["ready"] is None else kinds.CLUSTER_RECOVERED, oid)
    elif after["status"] == "DEGRADED":
        yield Due(kinds.CLUSTER_DEGRADED, oid)
    elif after["status"] == "ERROR":
        yield Due(kinds.CLUSTER_FAILED, oid)
    elif after["status"] == "STOPPED":
        yield Due(kinds.CLUSTER_STOPPED, oid)


def _of_generic_cluster(before: Row, after: Row) -> Iterator[Due]:
    oid = after["oid"]
    if before["status"] != after["status"]:
        match after["status"]:
            case "RUNNING":
                yield Due(kinds.ANY_CLUSTER_STARTED if before["ready"] is None else kinds.ANY_CLUSTER_RECOVERED, oid)
            case "DEGRADED":
                yield Due(kinds.ANY_CLUSTER_DEGRADED, oid)
            case "ERROR":
                yield Due(kinds.ANY_CLUSTER_FAILED, oid)
            case "STOPPED":
                yield Due(kinds.ANY_CLUSTER_STOPPED, oid)
    differ = {name for name in after if before[name] != after[name]}
    if not differ & NOT_SETTINGS - {"changed"}:
        # Whoever sets a setting to what it is already is told of a change all the same.
        yield Due(kinds.ANY_CLUSTER_UPDATED, oid, certain=bool(differ - {"changed"}))


def _of_group(change: Changed, row: Row, cluster: Row) -> Iterator[Due]:
    before, after = change.before, change.after
    if not is_generic(cluster):
        yield from _of_life(change, row["oid"], kinds.GROUP_ADDED, kinds.GROUP_REMOVED)
        if before and after and before["scale"] != after["scale"]:
            yield Due(kinds.GROUP_SCALED, row["oid"])
    elif before and after and not cluster["alone"]:
        differs = any(before[name] != after[name] for name in ("scale", "min_size", "max_size"))
        differs &= not cluster["deleting"]  # That may have been asked for later in the same commit.
        yield Due(kinds.ANY_CLUSTER_RESIZED, cluster["oid"], certain=differs)


def _of_worker(change: Changed, row: Row) -> Iterator[Due]:
    before, after, oid = change.before, change.after, row["oid"]
    yield from _of_life(change, oid, kinds.WORKER_CREATED, kinds.WORKER_DELETED)
    if before is None:
        return
    if before["status"] == "STOPPING" and (after is None or after["status"] == "STOPPED"):
        yield Due(kinds.WORKER_STOPPED, oid)
    if after is None:
        return
    if before["node_oid"] and after["node_oid"] and before["node_oid"] != after["node_oid"]:
        yield Due(kinds.WORKER_MOVED, oid)
    if before["standby"] and not after["standby"]:
        yield Due(kinds.WORKER_PROMOTED, oid)
    if any(before[name] != after[name] for name in ("protected", "name", "metadata")):
        yield Due(kinds.WORKER_UPDATED, oid)
    again = after["restarts"] != before["restarts"]
    if after["status"] == "RUNNING":
        if before["status"] == "RUNNING" and again:
            yield Due(kinds.WORKER_FAILED, oid)
        well = before["status"] == "ERROR" and before["started"] == after["started"] is not None
        if (before["status"] not in ALIVE and not well) or again or before["started"] != after["started"]:
            yield Due(kinds.WORKER_STARTED, oid)
    elif after["status"] == "ERROR" and (again or before["status"] != "ERROR"):
        yield Due(kinds.WORKER_FAILED, oid)


def _of_action(change: Changed, row: Row) -> Iterator[Due]:
    if change.before is None:
        yield Due(kinds.ACTION_STARTED, row["oid"])
    elif change.after is not None and change.before["status"] != change.after["status"] in ENDS:
        yield Due(kinds.ACTION_ENDED, row["oid"])


def _of_definition(change: Changed, row: Row) -> Iterator[Due]:
    born, changed, gone = DEFINITION_EVENTS[row["kind"]]
    yield from _of_life(change, row["oid"], born, gone)
    if change.before and change.after:
        yield Due(changed, row["oid"])


def _of_binding(change: Changed, row: Row) -> Iterator[Due]:
    yield from _of_life(change, row["oid"], kinds.POLICY_ATTACHED, kinds.POLICY_DETACHED)
    before, after = change.before, change.after
    if before and after and before["given_up"] != after["given_up"]:
        for _ in after["given_up"].keys() - before["given_up"].keys():
            yield Due(kinds.RECOVERY_GIVEN_UP, row["cluster_oid"])
        if before["changed"] != after["changed"]:
            yield Due(kinds.POLICY_CHANGED, row["oid"])
    elif before and after and before["used"] == after["used"]:
        yield Due(kinds.POLICY_CHANGED, row["oid"])
