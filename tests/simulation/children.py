"""What the children of actions promise, held against every commit, in other words than the product's own.

A child is what became of one worker by one action. It is seen from its row, from that of its parent, and from the row
of its worker as it is when the child moves.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from controlplane.store.catalog import ACTIONS, CHILDREN
from tests.simulation.mirror import Changed, Mirror, Row, is_generic

ENDS = ("SUCCEEDED", "FAILED", "CANCELLED")
OUT = ("WORKER_DELETE", "WORKER_RECOVER")
"""Kinds of children that succeed when nothing is left of their worker."""

SEEN = ("WORKER_CREATE", "WORKER_UPDATE", "WORKER_JOIN")
"""Kinds of which the row of the worker shows what became of it."""

ASKED = ("CLUSTER_CHECK", "CLUSTER_OPERATION")
"""Actions that look at workers or tell them something: their children follow from what agents say."""

OF_ALL = ("CLUSTER_CREATE", "CLUSTER_UPDATE")


def check_child(change: Changed, mirror: Mirror) -> Iterator[str]:
    """Look at one row of a commit, when those before it are as they are: at a child, or an action that ended."""
    if change.noun == CHILDREN.noun:
        yield from _of_child(change, mirror)
    elif change.noun == ACTIONS.noun and change.after is not None:
        before, after = change.value("status")
        if after in ENDS and before not in ENDS:
            yield from _of_end(change.after, mirror)


def check_children(mirror: Mirror, changes: list[Changed]) -> Iterator[str]:
    """Look at the children of all actions that a commit was about, when it is whole."""
    parents: dict[str, None] = {}
    for change in changes:
        row = change.after or change.before
        if row is not None and change.noun in (ACTIONS.noun, CHILDREN.noun):
            parents[row["oid" if change.noun == ACTIONS.noun else "parent_oid"]] = None
        if row is not None and change.noun == CHILDREN.noun and row["status"] == "CANCELLED":
            parent = mirror.actions.get(row["parent_oid"])
            # One whose place another one took stands by: the action is about that other one now.
            if parent is not None and _is_here(row["worker_oid"], mirror) and _goes_on(parent):
                yield f"child {row['oid']} was cancelled, and its parent {parent['name']} goes on"
    for oid in parents:
        yield from _of_parent(oid, mirror)


def check_all_children(mirror: Mirror) -> Iterator[str]:
    """Look at all children there are."""
    for oid in mirror.children:
        yield from _of_parent(oid, mirror)


def _of_parent(oid: str, mirror: Mirror) -> Iterator[str]:
    """A child has a parent, which knows how many there are, and is over before it or with it."""
    parent, children = mirror.actions.get(oid), list(mirror.children[oid].values())
    if parent is None:
        yield from (f"child {child['oid']} has no parent" for child in children)
        return
    shown = f"action {parent['name']}"
    if children and not parent["kind"].startswith("CLUSTER_"):
        yield f"{shown} is of one worker, and has children"
    workers = Counter(child["worker_oid"] for child in children)
    twice = [worker for worker, number in workers.items() if number > 1]
    if twice:
        yield f"{shown} has more than one child for workers {twice}"
    numbers = Counter(child["status"].lower() for child in children)
    told = parent["children"] or {}
    if {name: number for name, number in told.items() if number and name != "total"} != numbers:
        yield f"{shown} says that its children are {told}; they are {dict(numbers)}"
    if told.get("total", 0) != len(children):
        yield f"{shown} says that it has {told.get('total')} children; it has {len(children)}"
    if not _goes_on(parent):
        left = [child["oid"] for child in children if child["status"] not in ENDS]
        if left:
            yield f"{shown} has {parent['status']} and is in phase {parent['phase']}; its children {left} are left open"


def _of_child(change: Changed, mirror: Mirror) -> Iterator[str]:
    row = change.after
    if row is None:
        yield f"a child was forgotten: {change.before}"
        return
    shown = f"child {row['oid']}, {row['kind']} of worker {row['worker_oid']},"
    status, parent = row["status"], mirror.actions.get(row["parent_oid"])
    if (row["ended"] is None) == (status in ENDS):
        yield f"{shown} is {status}, and ended {row['ended']}"
    for field in ("oid", "parent_oid", "worker_oid", "kind", "created", "begun"):
        before, after = change.value(field)
        if change.before is not None and before != after:
            yield f"{shown} had another {field}: {before}"
    if parent is None or change.value("status")[0] == status:
        return
    if status == "CANCELLED":
        if not row["reason"]:
            yield f"{shown} was cancelled, and nobody knows why"
        return
    if parent["kind"] not in ASKED:
        yield from (f"{shown} is {status}, and {wrong}" for wrong in _not_so(row, parent, mirror))


def _not_so(row: Row, parent: Row, mirror: Mirror) -> Iterator[str]:
    """What a child says of its worker is so."""
    kind, status, worker = row["kind"], row["status"], mirror.workers.get(row["worker_oid"])
    home = parent["cluster_oid"]
    if kind == "WORKER_LEAVE":
        if status != "SUCCEEDED" or worker is None or worker["cluster_oid"] == home:
            yield "its worker did not leave"
    elif worker is None:
        if kind not in OUT or status != "SUCCEEDED":
            yield "its worker is gone"
    elif kind == "WORKER_DELETE" and status == "SUCCEEDED":
        yield f"its worker is {worker['status']}"
    elif kind in SEEN or (kind == "WORKER_RECOVER" and status == "SUCCEEDED"):
        serves = _serves(worker, mirror)
        given_up = any(each["worker_oid"] == row["worker_oid"] and each["given_up"] for each in parent["recoveries"])
        if (status == "SUCCEEDED" and not serves) or (status == "FAILED" and serves and not given_up):
            yield f"its worker is {worker['status']} with digest {worker['seen_digest']} of {worker['digest']}"
        if status == "RUNNING" and worker["status"] == "PENDING" and worker["want"] == "RUN":
            yield "its worker has no place"


def _of_end(parent: Row, mirror: Mirror) -> Iterator[str]:
    """What an action says when it ends is what its children say."""
    if not parent["kind"].startswith("CLUSTER_") or parent["kind"].endswith("_POLICY"):
        return
    shown = f"action {parent['name']} has {parent['status']}, and"
    stands = {child["worker_oid"]: child["status"] for child in mirror.children[parent["oid"]].values()}
    outputs = parent["outputs"]
    failed = [each["worker_oid"] for each in (*outputs["failed"], *outputs["unknown"])]
    yield from _differing(f"{shown} failed", failed, stands, ("FAILED",))
    if parent["status"] != "SUCCEEDED":
        # Who stands by, or stood by until it went or was taken while all was taken back, has no child.
        undone = [oid for oid in outputs["undone"] if oid in stands or _was_here(oid, parent, mirror)]
        yield from _differing(f"{shown} took back", undone, stands, ("CANCELLED", "FAILED"))
        return
    yield from _differing(f"{shown} did", (*outputs["done"], *outputs["removed"]), stands, ("SUCCEEDED",))
    if parent["kind"] in ASKED:
        return
    for worker in mirror.workers_of[parent["cluster_oid"]].values():
        own = parent["kind"] in OF_ALL or worker["made_for"] == parent["oid"]
        if own and worker["want"] == "RUN" and not worker["standby"]:
            yield from _differing(f"{shown} is about", (worker["oid"],), stands, ("SUCCEEDED",))


def _is_here(worker_oid: str, mirror: Mirror) -> bool:
    worker = mirror.workers.get(worker_oid)
    return worker is not None and not worker["standby"]


def _was_here(worker_oid: str, parent: Row, mirror: Mirror) -> bool:
    worker = mirror.workers.get(worker_oid)
    taken = worker is not None and worker["promotion"] is not None and worker["made_for"] == parent["oid"]
    return _is_here(worker_oid, mirror) and not taken


def _differing(
    said: str, workers: Iterable[str], stands: dict[str, str], as_they_should: tuple[str, ...]
) -> Iterator[str]:
    for oid in workers:
        if stands.get(oid) not in as_they_should:
            yield f"{said} worker {oid}; its child is {stands.get(oid)}"


def _goes_on(parent: Row) -> bool:
    return parent["status"] not in ENDS and parent["phase"] != "roll back"


def _serves(worker: Row, mirror: Mirror) -> bool:
    cluster = mirror.clusters.get(worker["cluster_oid"])
    newest = cluster is None or not is_generic(cluster) or worker["revision"] == cluster["revision"]
    return bool(worker["status"] == "RUNNING" and worker["seen_digest"] == worker["digest"] and newest)
