"""The one way in which workers, clusters and nodes change: what is derived from them stays in step, and is announced.

A ledger lives as long as one transaction. It keeps the tallies of the groups, the status of the clusters and the
versions of the assignments true, stores every event with the next sequence number, and says after the commit who has to
be told: subscribers, the monitor, and the agents of nodes that shall run something else now.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec

from controlplane.core.balancing import served
from controlplane.core.health import cluster_reason, cluster_status, state_of
from controlplane.core.placement import occupies
from controlplane.records import events
from controlplane.records.clusters import Cluster, ClusterStatus, ClusterTransition, ClusterType, Group, Tally
from controlplane.records.events import EventType, StoredEvent
from controlplane.records.nodes import Load
from controlplane.records.types import Instant, Oid, Record, Seconds, to_wire
from controlplane.records.workers import Command, Want, Worker, WorkerStatus
from controlplane.services.balancing import refresh_members
from controlplane.services.outlets import Outlets
from controlplane.services.specs import Compositions, Drafts
from controlplane.services.transitions import transition_event
from controlplane.services.views import worker_view
from controlplane.store.catalog import (
    CLUSTERS,
    EVENTS,
    GROUPS,
    LOADS,
    MEMBERSHIPS,
    NODES,
    TALLIES,
    UNSETTLED,
    WORKERS,
    oid_of,
)
from controlplane.store.database import Change
from controlplane.store.tables import key_of

UNWELL = frozenset({WorkerStatus.ERROR, WorkerStatus.UNREACHABLE})

EVENTS_KEPT_MAX = 100_000
"""Older events are forgotten; a console that was away longer reads the current state."""


class Ledger:
    """Changes of one transaction, and what follows from them."""

    def __init__(
        self,
        change: Change,
        epoch: Oid,
        now: Instant,
        new_oid: Callable[[], Oid],
        outlets: Outlets,
        compositions: Compositions,
        events_kept: int,
    ) -> None:
        self.change = change
        self.epoch = epoch
        self.now = now
        self.new_oid = new_oid
        self.rows = change.rows
        self.compositions = Drafts(compositions, change)
        self._outlets = outlets
        self._events_kept = events_kept
        self._clusters: dict[Oid, None] = {}
        self._nodes: dict[Oid, set[Oid]] = {}
        self._woken: dict[Oid, None] = {}
        self._unwell: dict[Oid, None] = {}
        self._relieved: dict[Oid, None] = {}
        self._served: dict[Oid, None] = {}
        """Clusters of which others serve now."""

    def publish(self, kind: EventType, payload: Record) -> None:
        """Store an event, and send it after the commit."""
        rows = self.rows(EVENTS)
        seq = last_event(self.change) + 1
        wire = {**to_wire(payload), "seq": seq, "time": self.now}
        rows.put(StoredEvent(seq=seq, time=self.now, topic=kind.topic, payload=wire))
        if seq > self._events_kept:
            rows.remove_keys([key_of(seq - self._events_kept)])
        self.change.after_commit(partial(self._outlets.publish, kind, wire))

    def wake(self, cluster_oid: Oid) -> None:
        """Have the monitor look at a cluster after the commit."""
        self._woken[cluster_oid] = None

    def tell(self, node_oid: Oid, order_oid: Oid, command: Command) -> None:
        """Tell the agent of a node to do something, after the commit."""
        self.change.after_commit(partial(self._outlets.tell_node, node_oid, order_oid, command))

    def is_heard(self, node_oid: Oid) -> bool:
        """Say whether a node's agent has told this run of the master what runs there."""
        return self._outlets.is_heard(node_oid)

    def call_hook(self, worker_oid: Oid) -> None:
        """Have the webhook of a worker called, after the commit."""
        self.change.after_commit(partial(self._outlets.call_hook, worker_oid))

    def tell_balancer(self, cluster_oid: Oid) -> None:
        """Have the load balancer of a cluster told who serves, after the commit."""
        self.change.after_commit(partial(self._outlets.tell_balancer, cluster_oid))

    def woken(self) -> list[Oid]:
        """Return the clusters that the monitor is to look at."""
        return list(self._woken)

    def wake_wanting(self) -> None:
        """Have the monitor look at clusters that may run anywhere and do not wholly run: there is room somewhere."""
        for _, key in self.rows(CLUSTERS).keys_by("generic", UNSETTLED):
            self.wake(oid_of(key))

    def reconsider_policies(self, cluster_oid: Oid) -> None:
        """Have it looked at what the policies of a cluster need from now on, after the commit."""
        self.change.after_commit(partial(self._outlets.policies_changed, cluster_oid))

    def let_sleep(self, cluster_oid: Oid, look_again_after: Seconds | None) -> None:
        """Take back that the monitor is to look at a cluster, or put it off."""
        del self._woken[cluster_oid]
        if look_again_after is not None:
            self.change.after_commit(partial(self._outlets.wake_cluster, cluster_oid, look_again_after))

    def look_into(self, cluster_oid: Oid) -> None:
        """Have the agents look at the workers of a cluster after the commit."""
        self.change.after_commit(partial(self._outlets.check_cluster, cluster_oid))

    def attend(self, cluster_oid: Oid) -> None:
        """Have the health policy of a cluster obeyed as it is after the commit."""
        self.change.after_commit(partial(self._outlets.attend_cluster, cluster_oid))

    def touch_cluster(self, cluster_oid: Oid) -> None:
        """Have the status of a cluster derived anew."""
        self._clusters[cluster_oid] = None

    def add_worker(self, worker: Worker) -> Worker:
        """Make a place for a worker."""
        if assigned_to(worker) is not None and worker.node_oid is not None:
            worker = msgspec.structs.replace(worker, version=self._next_version(worker.node_oid))
        self.rows(WORKERS).add(worker)
        self._count(worker, +1)
        self._note_served(worker)
        self.publish(events.WORKER_CREATED, worker_view(worker))
        self._touch_place(worker)
        return worker

    def update_worker(self, old: Worker, **fields: Any) -> Worker:
        """Change a worker; what is not mentioned stays, and what is so already is no change."""
        if all(getattr(old, name) == value for name, value in fields.items()):
            return old
        return self.replace_worker(old, msgspec.structs.replace(old, **fields))

    def replace_worker(self, old: Worker, new: Worker) -> Worker:
        """Store a worker that was changed."""
        new = msgspec.structs.replace(new, changed=self.now)
        if new.digest != old.digest:
            new = _unblamed(new)
        reassigned = assigned_to(old) != assigned_to(new)
        if reassigned and new.node_oid is not None:
            new = msgspec.structs.replace(new, version=self._next_version(new.node_oid))
        if new.workergroup_oid == old.workergroup_oid:
            self.rows(WORKERS).put(new, old)
        else:  # It stands elsewhere in the table then.
            self.rows(WORKERS).remove(old)
            self.rows(WORKERS).add(new)
        if new.status in UNWELL and (new.status, new.failures) != (old.status, old.failures):
            self._unwell[new.cluster_oid] = None
        if _counted_as(old) != _counted_as(new):
            self._recount(old, new)
        if reassigned:
            self._touch_place(old)
            self._touch_place(new)
        if served(old) != served(new):
            self._served[new.cluster_oid] = None
        return new

    def retell(self, worker: Worker) -> None:
        """Have the agent of a worker told once more what it shall do about it."""
        if assigned_to(worker) is not None and worker.node_oid is not None:
            told = msgspec.structs.replace(worker, version=self._next_version(worker.node_oid))
            self.rows(WORKERS).put(told, worker)
            self._touch_place(told)

    def move_worker(self, old: Worker, new: Worker) -> Worker:
        """Give a worker a place in another cluster; its node runs on what it runs."""
        new = msgspec.structs.replace(new, changed=self.now)
        self.rows(WORKERS).remove(old)
        self.rows(WORKERS).add(new)
        self._count(old, -1)
        self._count(new, +1)
        self._note_served(old)
        self._note_served(new)
        return new

    def remove_worker(self, worker: Worker) -> None:
        """Forget a worker and its place."""
        self.rows(WORKERS).remove(worker)
        self._count(worker, -1)
        self._touch_place(worker)
        self._note_served(worker)
        self.publish(events.WORKER_DELETED, worker_view(worker))

    def settle(self) -> None:
        """Bring everything derived in step; the last thing done in the transaction."""
        for cluster_oid in self._clusters:
            self._settle_cluster(cluster_oid)
        for cluster_oid in self._served:
            if refresh_members(self.change, cluster_oid, self.now):
                self.tell_balancer(cluster_oid)
        for node_oid, workers in self._nodes.items():
            self._settle_node(node_oid, frozenset(workers))
        for node_oid in self._relieved:
            self._wake_waiting(node_oid)
        for cluster_oid in self._unwell:
            self.change.after_commit(partial(self._outlets.attend_cluster, cluster_oid, unwell=True))
        for cluster_oid in self._woken:
            self.change.after_commit(partial(self._outlets.wake_cluster, cluster_oid))

    def _note_served(self, worker: Worker) -> None:
        if served(worker):
            self._served[worker.cluster_oid] = None

    def _touch_place(self, worker: Worker) -> None:
        place = assigned_to(worker)
        if place is not None:
            self._nodes.setdefault(place[0], set()).add(worker.oid)

    def _count(self, worker: Worker, step: int) -> None:
        if occupies(worker):
            self._load(worker.node_oid, step)
        self._tally(worker, {state_of(worker): step}, step * worker.restarts)

    def _recount(self, old: Worker, new: Worker) -> None:
        """Count a worker as what it is, and no longer as what it was."""
        left = old.node_oid if occupies(old) else None
        taken = new.node_oid if occupies(new) else None
        if left != taken:
            self._load(left, -1)
            self._load(taken, +1)
        elif left is not None:
            self._relieved[left] = None  # Whoever waits for room there looks again.
        was, is_now = state_of(old), state_of(new)
        if old.workergroup_oid != new.workergroup_oid:
            self._tally(old, {was: -1}, -old.restarts)
            self._tally(new, {is_now: +1}, new.restarts)
            return
        self._tally(new, {was: -1, is_now: +1} if was != is_now else {}, new.restarts - old.restarts)

    def _tally(self, worker: Worker, steps: Mapping[str, int], restarts: int) -> None:
        """Count so many more or fewer workers of its group in these states."""
        rows = self.rows(TALLIES)
        tally = rows.find(worker.cluster_oid, worker.workergroup_oid) or Tally(
            cluster_oid=worker.cluster_oid, workergroup_oid=worker.workergroup_oid, counts={}
        )
        counts = dict(tally.counts)
        for state, step in steps.items():
            counts[state] = counts.get(state, 0) + step
            if not counts[state]:
                del counts[state]
        restarts += tally.restarts
        if counts:
            rows.put(msgspec.structs.replace(tally, counts=counts, restarts=restarts))
        else:
            rows.remove(tally)
        self.touch_cluster(worker.cluster_oid)

    def _load(self, node_oid: Oid | None, step: int) -> None:
        if node_oid is not None:
            rows = self.rows(LOADS)
            load = rows.find(node_oid) or Load(node_oid=node_oid, workers=0)
            rows.put(msgspec.structs.replace(load, workers=load.workers + step))
            if step < 0:
                self._relieved[node_oid] = None

    def _settle_cluster(self, cluster_oid: Oid) -> None:
        cluster = self.rows(CLUSTERS).find(cluster_oid)
        if cluster is None:
            return
        if cluster.action_oid is not None or cluster.standby is not None:
            self.wake(cluster_oid)
        counts, desired = whole_tally(self.change, cluster)
        status = cluster_status(cluster.run, cluster.ready, counts, desired)
        if status is cluster.status:
            return
        ready = cluster.ready
        if status is ClusterStatus.RUNNING and ready is None:
            ready = self.now
        settled = msgspec.structs.replace(cluster, status=status, ready=ready, changed=self.now)
        self.rows(CLUSTERS).put(settled, cluster)
        kind = transition_event(cluster, status)
        if kind is not None:
            reason = cluster_reason(counts, desired) if cluster.run else None
            transition = ClusterTransition(
                oid=cluster.oid, name=cluster.name, status=status, changed=self.now, reason=reason
            )
            self.publish(kind, transition)

    def _wake_waiting(self, node_oid: Oid) -> None:
        """Wake the clusters that wait for room on a node whose capacity is limited."""
        node = self.rows(NODES).find(node_oid)
        if node is None or node.facts is None or node.facts.capacity is None:
            return
        for membership in self.rows(MEMBERSHIPS).all_by("node", node_oid):
            if any(tally.counts.get("PENDING") for tally in self.rows(TALLIES).all(membership.cluster_oid)):
                self.wake(membership.cluster_oid)
        self.wake_wanting()

    def _next_version(self, node_oid: Oid) -> int:
        node = self.rows(NODES).find(node_oid)
        return 0 if node is None else int(node.assignment) + 1

    def _settle_node(self, node_oid: Oid, workers: frozenset[Oid]) -> None:
        node = self.rows(NODES).find(node_oid)
        if node is None:
            return
        version = node.assignment + 1
        self.rows(NODES).put(msgspec.structs.replace(node, assignment=version), node)
        self.change.after_commit(partial(self._outlets.push_node, node_oid, version, workers))


def assigned_to(worker: Worker) -> tuple[Oid, str] | None:
    """Return the node that shall run a worker and with which digest, or None when none shall."""
    if worker.node_oid is None or worker.digest is None:
        return None
    # One that is on its way out runs on until its load balancer sends nobody to it any more.
    drains = worker.drain is not None and worker.status is WorkerStatus.STOPPING
    if worker.want is not Want.RUN and not drains:
        return None
    return worker.node_oid, worker.digest


def _unblamed(worker: Worker) -> Worker:
    """Return a worker that is given another configuration: what failed with the former one is not held against it."""
    reason = None if worker.status is WorkerStatus.RUNNING else worker.reason
    return msgspec.structs.replace(worker, failures=0, reason=reason)


def _counted_as(worker: Worker) -> tuple[Oid | None, str, int, Oid | None]:
    return worker.workergroup_oid, state_of(worker), worker.restarts, worker.node_oid


def last_event(change: Any) -> int:
    """Return the sequence number of the newest event, 0 when there is none."""
    for key in change.rows(EVENTS).scan_keys(reverse=True):
        return int.from_bytes(key, "big")
    return 0


def groups_of(view: Any, cluster_oid: Oid) -> list[Group]:
    """Return the worker groups of a cluster, in order of their names."""
    return list(view.rows(GROUPS).all_by("name", cluster_oid))


def desired_routers(cluster: Cluster, groups: list[Group]) -> int:
    """Return how many router workers a cluster wants: none as long as it has no frontend to serve."""
    if cluster.type is not ClusterType.ROUTER:
        return 0
    return cluster.routers if any(group.scale for group in groups) else 0


def count_workers(view: Any, cluster_oid: Oid) -> int:
    """Return how many workers a cluster has, whatever they do."""
    return sum(sum(tally.counts.values()) for tally in view.rows(TALLIES).all(cluster_oid))


def counts_of(view: Any, cluster_oid: Oid) -> dict[str, int]:
    """Return how many workers of a cluster are in which state."""
    counts: dict[str, int] = {}
    for tally in view.rows(TALLIES).all(cluster_oid):
        for state, number in tally.counts.items():
            counts[state] = counts.get(state, 0) + number
    return counts


def whole_tally(view: Any, cluster: Cluster) -> tuple[dict[str, int], int]:
    """Return how many workers of a cluster are in which state, and how many are wanted."""
    groups = groups_of(view, cluster.oid)
    return counts_of(view, cluster.oid), sum(group.scale for group in groups) + desired_routers(cluster, groups)
