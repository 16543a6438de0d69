"""Children of actions as they are kept: in the commits that change what they tell of, and in no others.

A pass over a cluster reads from an index how all children of its action stand, and writes those that moved. They are
announced by nothing of their own: the events of their worker and those of their parent say the same.
"""

from collections.abc import Iterable, Iterator, Mapping
from heapq import merge
from operator import itemgetter
from typing import NamedTuple

from controlplane.core.acting import Progress
from controlplane.core.children import (
    OPEN,
    PARENTS,
    Fate,
    as_action,
    counted,
    fates,
    gone_kind,
    looked_into,
    moved,
    shifted,
    told,
    when_gone,
    with_word,
)
from controlplane.records.actions import Action, ActionKind, ActionStatus, Children, Outputs
from controlplane.records.children import Child
from controlplane.records.clusters import Cluster
from controlplane.records.types import Oid
from controlplane.records.workers import Worker
from controlplane.services.ledger import Ledger
from controlplane.services.old_actions import forget_old_children
from controlplane.store.catalog import ACTIONS, CHILD_STATUS, CHILDREN, WORKERS
from controlplane.store.database import View
from controlplane.store.engine import after
from controlplane.store.tables import Rows, key_of

_STATUS = {byte: status for status, byte in CHILD_STATUS.items()}


_OPEN = frozenset(CHILD_STATUS[status] for status in OPEN)


class Standing(NamedTuple):
    """A child, as far as the index tells."""

    status: bytes
    """As the index has it, which is looked up in half the time."""

    key: bytes


def note_progress(
    ledger: Ledger, cluster: Cluster, action: Action, workers: Iterable[Worker], seen: Progress, removed: Iterable[Oid]
) -> Children | None:
    """Write down what a pass has seen of the workers that an action is about; return how its children stand."""
    if action.kind not in PARENTS or action.ending is not None:
        return action.children
    gone = {*removed, *action.leaving} - set(seen.leaving)
    return _note(ledger, action, fates(action, cluster, workers, seen), gone)


def note_asked(ledger: Ledger, action: Action) -> Children | None:
    """Write down that agents are asked about the workers of an action that only looks, if that is not yet."""
    if action.kind not in PARENTS or action.children is not None or action.chain is not None:
        return action.children
    return _note(ledger, action, looked_into(action, ledger.rows(WORKERS).all(action.cluster_oid)))


def note_told(ledger: Ledger, action: Action, outputs: Outputs) -> Children | None:
    """Write down what agents have found."""
    return _note(ledger, action, told(outputs)) if action.kind in PARENTS else None


def close(ledger: Ledger, action: Action, reason: str | None, undone: Iterable[Oid] = ()) -> Children | None:
    """End what has not ended of an action that goes no further, and what it did about workers that are taken back."""
    back = {oid.bytes for oid in undone}
    if action.children is None or not (action.children.waiting or action.children.running or back):
        return action.children
    standing = _standing(ledger, action)
    for worker, (status, key) in standing.items():
        if status in _OPEN:
            said = reason
        elif status == CHILD_STATUS[ActionStatus.SUCCEEDED] and worker in back:
            said = "it was taken back" + ("" if reason is None else f": {reason}")
        else:
            continue
        standing[worker] = _move(ledger, key, ActionStatus.CANCELLED, said)
    return _counted(standing)


def add_waiting(ledger: Ledger, action: Action, kind: ActionKind, workers: Mapping[Oid, Oid]) -> Children | None:
    """Make children that wait, one for each of these workers, with the oids that are given; return how all stand."""
    if action.kind not in PARENTS:
        return action.children
    forget_old_children(ledger, len(workers))
    for worker, oid in workers.items():
        _add(ledger, action, worker, Fate(kind, ActionStatus.WAITING), oid)
    return Children(total=len(workers), waiting=len(workers))


def move_one(ledger: Ledger, action: Action, oid: Oid, status: ActionStatus, reason: str | None) -> Children | None:
    """Write down what became of one child, if there is such a one, and return how all of its parent stand."""
    rows = ledger.rows(CHILDREN)
    child = None if action.children is None else rows.find_by("oid", oid)
    if action.children is None or child is None or child.status is status:
        return action.children
    rows.put(moved(child, status, reason, ledger.now), child)
    return shifted(action.children, child.status, status)


def find_child(view: View, oid: Oid) -> Action | None:
    """Return the child with this oid as an action, or None when there is none."""
    child = view.rows(CHILDREN).find_by("oid", oid)
    parent = None if child is None else view.rows(ACTIONS).find(child.parent_oid)
    return None if child is None or parent is None else as_it_stands(view, as_action(child, parent))


def children_of(
    view: View,
    parent: Action,
    first: Oid | None = None,
    *,
    reverse: bool = False,
    statuses: Iterable[ActionStatus] | None = None,
) -> Iterator[Action]:
    """Yield the children of an action in the order in which they were created, from the one on that is `first`.

    With `statuses` others are not even read, unless the newest are wanted first.
    """
    rows = view.rows(CHILDREN)
    child = None if first is None else rows.find_by("oid", first)
    keys = _keys(rows, parent, child, reverse) if statuses is None or reverse else _with(rows, parent, child, statuses)
    for key in keys:
        yield as_action(rows.get(key), parent)


def as_it_stands(view: View, action: Action) -> Action:
    """Return a child that is under way with what its worker has to say; any other action as it is."""
    if action.parent_oid is None or action.ended is not None or action.worker_oid is None:
        return action
    return with_word(action, view.rows(WORKERS).find(action.worker_oid))


def _note(ledger: Ledger, action: Action, found: Mapping[Oid, Fate], gone: Iterable[Oid] = ()) -> Children:
    """Write down what moved; whatever is neither found nor known to be gone, and was under way, is gone as well."""
    rows = ledger.rows(CHILDREN)
    standing = _standing(ledger, action)
    open_ones = {worker for worker, known in standing.items() if known.status in _OPEN}
    new: dict[Oid, Fate] = {}
    moves: list[tuple[bytes, Fate]] = []
    for worker, fate in found.items():
        place = worker.bytes
        open_ones.discard(place)
        known = standing.get(place)
        if known is None:
            new[worker] = fate
        elif known.status != CHILD_STATUS[fate.status] or _says_otherwise(rows, known, fate):
            moves.append((place, fate))
    for worker in gone:
        if worker.bytes not in standing and worker not in found:
            new[worker] = when_gone(gone_kind(action, worker, ledger.rows(WORKERS).has(worker)))
    moves += [(place, when_gone(rows.get(standing[place].key).kind)) for place in sorted(open_ones)]
    if not moves and not new and action.children is not None:
        return action.children
    for place, fate in moves:
        standing[place] = _move(ledger, standing[place].key, fate.status, fate.reason)
    if new:
        forget_old_children(ledger, len(new))
        for worker, fate in new.items():
            standing[worker.bytes] = _add(ledger, action, worker, fate, ledger.new_oid())
    return _counted(standing)


def _standing(ledger: Ledger, action: Action) -> dict[bytes, Standing]:
    """Return how the children of an action stand, by worker."""
    found = ledger.rows(CHILDREN).keys_by("status", action.oid)
    return {key[-16:]: Standing(entry[16:17], key) for entry, key in found}


def _counted(standing: Mapping[bytes, Standing]) -> Children:
    return counted(_STATUS[status] for status, _ in standing.values())


def _says_otherwise(rows: Rows[Child], known: Standing, fate: Fate) -> bool:
    """Say whether a worker that failed has failed once more since, for another reason."""
    return fate.status is ActionStatus.FAILED and rows.get(known.key).reason != fate.reason


def _add(ledger: Ledger, action: Action, worker_oid: Oid, fate: Fate, oid: Oid) -> Standing:
    rows = ledger.rows(CHILDREN)
    child = Child(
        oid=oid,
        parent_oid=action.oid,
        begun=action.created,
        worker_oid=worker_oid,
        kind=fate.kind,
        status=ActionStatus.WAITING,
        created=ledger.now,
    )
    rows.add(moved(child, fate.status, fate.reason, ledger.now))
    return Standing(CHILD_STATUS[fate.status], CHILDREN.key(child))


def _move(ledger: Ledger, key: bytes, status: ActionStatus, reason: str | None) -> Standing:
    rows = ledger.rows(CHILDREN)
    child = rows.get(key)
    rows.put(moved(child, status, reason, ledger.now), child)
    return Standing(CHILD_STATUS[status], key)


def _keys(rows: Rows[Child], parent: Action, first: Child | None = None, reverse: bool = False) -> Iterator[bytes]:
    start = key_of(parent.created, parent.oid)
    stop = after(start)
    if first is not None and first.parent_oid == parent.oid:
        at = CHILDREN.key(first)
        start, stop = (start, at + b"\0") if reverse else (at, stop)
    return rows.scan_keys(start, stop, reverse=reverse)


def _with(rows: Rows[Child], parent: Action, first: Child | None, statuses: Iterable[ActionStatus]) -> Iterator[bytes]:
    at = b"" if first is None or first.parent_oid != parent.oid else CHILDREN.key(first)
    some = (parent.oid.bytes + CHILD_STATUS[status] for status in statuses)
    return merge(*(map(itemgetter(1), rows.keys_by("status", each, start=each + at)) for each in some))
