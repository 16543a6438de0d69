"""What agents say: that they are there, what runs on their nodes, and what they were asked."""

from functools import lru_cache
from typing import Any
from uuid import uuid5

import msgspec

from controlplane.core.router_clusters import socket_path
from controlplane.errors import AlreadyExists, InvalidArgument, NotAttached, NotAuthorized, Problem
from controlplane.records import events
from controlplane.records.nodes import Node, NodeChange, NodeFacts
from controlplane.records.orders import OrderReport, OrderStatus
from controlplane.records.protocol import (
    ANSWER_QUESTION,
    ATTACH_AGENT,
    RENEW_LEASE,
    REPORT_ORDER,
    REPORT_WORKERS,
    ROTATE_KEY,
    Attachment,
    Receipt,
)
from controlplane.records.types import Instant, Oid, PublicKey
from controlplane.records.workers import Report, Want, Worker, WorkerReport, WorkerStatus
from controlplane.services.ledger import Ledger
from controlplane.services.logins import require_free_key
from controlplane.services.ordering import end_order
from controlplane.services.pipeline import Call, WritingCall
from controlplane.services.procedures import procedure
from controlplane.services.views import worker_view
from controlplane.store.catalog import MEMBERSHIPS, NODES, ORDERS, WORKERS

RUNNING_STILL = frozenset({WorkerStatus.RUNNING, WorkerStatus.UNREACHABLE, WorkerStatus.ERROR})
"""What a worker may be in while it runs on as it was started: one that failed a check may be well again."""

EPOCHS_KEPT = 20_000
"""Nodes whose identity of versions is not computed anew for every report."""


@procedure(ATTACH_AGENT, needs="agent", writes=True, raises=(NotAuthorized, NotAttached))
def attach_agent(call: WritingCall, facts: NodeFacts, report: Report) -> Attachment:
    """Say that a node's agent is there, what its machine is, and what runs on it now."""
    node = own_node(call)
    _require_usable(facts)
    call.agents.admit(node.oid, report)
    ledger = call.ledger
    if node.capacity_max is not None:
        stated = node.capacity_max if facts.capacity is None else facts.capacity
        facts = msgspec.structs.replace(facts, capacity=min(stated, node.capacity_max))
    if not node.online or node.facts != facts or node.boot != report.boot:
        changed = msgspec.structs.replace(
            node,
            online=True,
            since=node.since if node.online else call.now,
            facts=facts,
            boot=report.boot,
            changed=call.now,
        )
        call.rows(NODES).put(changed, node)
        if not node.online:
            ledger.publish(events.NODE_ONLINE, node_change(changed))
        for membership in call.rows(MEMBERSHIPS).all_by("node", node.oid):
            ledger.wake(membership.cluster_oid)
        ledger.wake_wanting()
    for order in call.rows(ORDERS).all_by("node", node.oid):
        ledger.wake(order.cluster_oid)
    apply_report(ledger, node, msgspec.structs.replace(report, full=True))
    agents, session, oid, assignment = call.agents, call.caller.session, node.oid, node.assignment
    ledger.change.after_commit(lambda: agents.attach(oid, session, report, assignment))
    return Attachment(
        node_oid=node.oid,
        authid=node.authid,
        epoch=assignment_epoch(ledger.epoch, node.oid),
        boot=agents.boot,
        assignment=node.assignment,
        router_keys=agents.router_keys(),
    )


@procedure(REPORT_WORKERS, needs="agent", writes=True, raises=(NotAuthorized, NotAttached))
def report_workers(call: WritingCall, report: Report) -> Receipt:
    """Say what changed on a node since the last report."""
    node = own_node(call)
    if call.agents.accept(node.oid, call.caller.session, report):
        apply_report(call.ledger, node, report)
    agents, oid = call.agents, node.oid
    call.ledger.change.after_commit(lambda: agents.acknowledge(oid, report))
    return Receipt(sequence=report.sequence)


@procedure(RENEW_LEASE, needs="agent", raises=(NotAuthorized, NotAttached))
def renew_lease(call: Call) -> None:
    """Hear that the master is there: what is to be killed without a master may go on."""
    node = own_node(call)
    if not node.online or call.agents.session_of(node.oid) != call.caller.session:
        raise NotAttached("this session is not attached for its node", next_step="attach again")


@procedure(ANSWER_QUESTION, needs="agent", raises=(NotAuthorized,))
def answer_question(call: Call, question_oid: Oid, answer: dict[str, Any]) -> None:
    """Answer what the master asked."""
    call.agents.answer(own_node(call).oid, question_oid, answer)


@procedure(REPORT_ORDER, needs="agent", writes=True, raises=(NotAuthorized,))
def report_order(call: WritingCall, report: OrderReport) -> None:
    """Say what came of something that one's node was told to do; what is known already is not changed."""
    order = call.rows(ORDERS).find(report.oid)
    if order is not None and order.node_oid == own_node(call).oid and order.status is OrderStatus.SENT:
        end_order(call.ledger, order, OrderStatus(report.status), report.reason, report.result)


@procedure(ROTATE_KEY, needs="agent", writes=True, raises=(NotAuthorized, AlreadyExists))
def rotate_key(call: WritingCall, pubkey: PublicKey) -> None:
    """Announce a new key of one's own node; the old one is void as soon as the agent logged in with the new one."""
    node = own_node(call)
    if pubkey not in (node.pubkey, node.next_pubkey):
        require_free_key(call.view, pubkey)
        call.rows(NODES).put(msgspec.structs.replace(node, next_pubkey=pubkey, changed=call.now), node)


def apply_report(ledger: Ledger, node: Node, report: Report) -> None:
    """Store what an agent says of its workers; workers that are not its own are passed over."""
    known = report.version if report.epoch == assignment_epoch(ledger.epoch, node.oid) else -1
    mentioned = set()
    for said in report.workers:
        mentioned.add(said.oid)
        worker = ledger.rows(WORKERS).find(said.oid)
        if worker is not None and worker.node_oid == node.oid and worker.want is Want.RUN:
            _apply_worker(ledger, worker, said, known)
    gone = set(report.gone) - mentioned
    if report.full:
        here = [worker.oid for worker in ledger.rows(WORKERS).all_by("node", node.oid)]
        gone.update(oid for oid in here if oid not in mentioned)
    for oid in sorted(gone, key=lambda oid: oid.bytes):
        worker = ledger.rows(WORKERS).find(oid)
        if worker is not None and worker.node_oid == node.oid:
            _apply_gone(ledger, worker, known)


@lru_cache(EPOCHS_KEPT)
def assignment_epoch(store_epoch: Oid, node_oid: Oid) -> Oid:
    """Return the identity of the row of versions that one node's assignments have in one store.

    A machine that is paired anew is another node: its agent must not take the versions that it holds for newer ones.
    """
    return uuid5(store_epoch, str(node_oid))


def mark_offline(ledger: Ledger, node_oid: Oid, now: Instant) -> None:
    """Take note that a node is silent: its workers are unreachable at once, and waited for.

    A silence that is said to begin in the time to come, because the wall clock was set back since, begins now.
    """
    node = ledger.rows(NODES).find(node_oid)
    if node is None or (not node.online and node.since <= now):
        return
    changed = msgspec.structs.replace(node, online=False, since=now, changed=now)
    ledger.rows(NODES).put(changed, node)
    if node.online:
        ledger.publish(events.NODE_OFFLINE, node_change(changed))
    for membership in ledger.rows(MEMBERSHIPS).all_by("node", node.oid):
        ledger.wake(membership.cluster_oid)
    for worker in list(ledger.rows(WORKERS).all_by("node", node.oid)):
        if worker.want is Want.RUN and worker.status is not WorkerStatus.PENDING:
            ledger.update_worker(worker, status=WorkerStatus.UNREACHABLE, reason=f"node {node.authid} is offline")
        ledger.wake(worker.cluster_oid)


def node_change(node: Node) -> NodeChange:
    """Return what subscribers are told when a node comes or goes."""
    return NodeChange(oid=node.oid, authid=node.authid, status="online" if node.online else "offline", since=node.since)


def _require_usable(facts: NodeFacts) -> None:
    """Refuse facts that no plan could be made with: one such node would hold up its clusters for ever."""
    try:
        socket_path(facts.sockets, Oid(int=0))
    except ValueError as problem:
        raise InvalidArgument(
            f"facts.sockets: {problem}",
            problems=[Problem("$.facts.sockets", "is too long for the unix sockets of workers")],
            next_step="keep the agent's state in a directory with a shorter path",
        ) from None


def own_node(call: Call) -> Node:
    """Return the node that the calling agent speaks for, and no other one."""
    if not isinstance(call.identity.record, Node):
        raise NotAuthorized(f"{call.caller.authid} is no agent", next_step="log in with the key of a node")
    return call.identity.record


def _apply_worker(ledger: Ledger, worker: Worker, said: WorkerReport, known: int) -> None:
    again = said.restarts - worker.restarts_seen if said.restarts >= worker.restarts_seen else said.restarts
    common = {
        "restarts": worker.restarts + again,
        "restarts_seen": said.restarts,
        "reason": said.reason,
        "fence_after": said.fence_after,
        # What failed with a configuration from before says nothing of the one that it is to have.
        "failures": said.failures if known >= worker.version else worker.failures,
    }
    match said.status:
        case WorkerStatus.RUNNING:
            runs_on = worker.status in RUNNING_STILL and worker.started == said.started
            renewed = bool(again) or not runs_on
            running = ledger.update_worker(
                worker,
                **common,
                renewals=worker.renewals + (renewed and not worker.fresh),
                status=WorkerStatus.RUNNING,
                fresh=False,
                seen_digest=said.digest,
                started=said.started,
                pid=said.pid,
                realms=said.realms,
                addresses=said.addresses,
                paused=said.paused,
            )
            if again and worker.status is WorkerStatus.RUNNING:
                ledger.publish(events.WORKER_FAILED, worker_view(worker))
            if renewed:
                ledger.publish(events.WORKER_STARTED, worker_view(running))
            if running.seen_digest != worker.seen_digest or running.renewals != worker.renewals:
                ledger.wake(worker.cluster_oid)
        case WorkerStatus.ERROR:
            runs: dict[str, Any] = {"seen_digest": said.digest, "started": said.started, "pid": said.pid}
            runs |= {"realms": said.realms, "addresses": said.addresses}
            failed = ledger.update_worker(worker, **common, status=WorkerStatus.ERROR, **runs)
            if again or worker.status is not WorkerStatus.ERROR:
                ledger.publish(events.WORKER_FAILED, worker_view(failed))
        case _:
            if worker.status is not WorkerStatus.STARTING:
                ledger.update_worker(worker, **common, status=WorkerStatus.STARTING, **_NOTHING_RUNS)


def _apply_gone(ledger: Ledger, worker: Worker, known: int) -> None:
    """Take a worker for gone: the end of a stop, or news that it has to be started again.

    An agent that holds an assignment from before the stop may still start the worker: its word does not count yet.
    """
    if worker.want is Want.RUN:
        if worker.status in (WorkerStatus.RUNNING, WorkerStatus.UNREACHABLE, WorkerStatus.ERROR):
            ledger.update_worker(worker, status=WorkerStatus.STARTING, **_NOTHING_RUNS)
    elif worker.status is WorkerStatus.STOPPING and known >= worker.version:
        stopped = ledger.update_worker(worker, status=WorkerStatus.STOPPED, reason=None, **_NOTHING_RUNS)
        ledger.publish(events.WORKER_STOPPED, worker_view(stopped))
        if stopped.want is Want.REMOVE:
            ledger.remove_worker(stopped)
        ledger.wake(worker.cluster_oid)


_NOTHING_RUNS: dict[str, Any] = {
    "seen_digest": None,
    "started": None,
    "pid": None,
    "realms": (),
    "addresses": (),
    "paused": False,
}
