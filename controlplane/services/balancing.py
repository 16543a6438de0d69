"""What the balancer of a cluster is to know: brought in step in every transaction that changes who serves."""

from typing import Any

import msgspec

from controlplane.core.balancing import accepted, place_of, served
from controlplane.core.generic_clusters import worker_name
from controlplane.records.balancing import Balance, BalanceMember, BalanceRules, BalanceView, LoadBalancePolicy
from controlplane.records.clusters import Cluster
from controlplane.records.types import Instant, Oid
from controlplane.records.workers import Worker
from controlplane.store.catalog import BALANCES, CLUSTERS, GROUPS, NODES, WORKERS


def refresh_members(change: Any, cluster_oid: Oid, now: Instant) -> bool:
    """Bring the members of a cluster's balancer in step; return whether it is to be told of something."""
    rows = change.rows(BALANCES)
    balance = rows.find(cluster_oid)
    cluster = change.rows(CLUSTERS).find(cluster_oid)
    if balance is None or balance.gone:
        return False
    members = () if cluster is None else _members(change, cluster, balance.rule)
    if members == balance.members:
        return False
    changed = msgspec.structs.replace(balance, members=members, sequence=balance.sequence + 1, changed=now)
    rows.put(changed, balance)
    return True


def balance_as_bound(
    change: Any, cluster: Cluster, bound: tuple[Oid, str, LoadBalancePolicy] | None, now: Instant
) -> bool:
    """Keep a balancer for a cluster, or none any more; return whether it is to be told of something."""
    rows = change.rows(BALANCES)
    balance = rows.find(cluster.oid)
    if bound is None:
        if balance is not None:
            rows.remove(balance)
        return False
    policy_oid, name, rule = bound
    if balance is not None and (balance.policy_oid, balance.policy_name) == (policy_oid, name):
        return False
    made = Balance(
        cluster_oid=cluster.oid,
        cluster_name=cluster.name,
        policy_oid=policy_oid,
        policy_name=name,
        rule=rule,
        members=_members(change, cluster, rule),
        sequence=1 if balance is None else balance.sequence + 1,
        accepted=0 if balance is None else balance.accepted,
        changed=now,
    )
    rows.put(made, balance)
    return True


def rules_of_balance(policy_oid: Oid, rule: LoadBalancePolicy) -> BalanceRules:
    """Return what passes over a cluster are to know of its balancer."""
    return BalanceRules(policy_oid=policy_oid, drain=rule.drain, timeout=rule.timeout)


def dismiss_balance(change: Any, cluster: Cluster, now: Instant) -> bool:
    """Have the balancer of a cluster that is no more told that nobody is left."""
    rows = change.rows(BALANCES)
    balance = rows.find(cluster.oid)
    if balance is None:
        return False
    rows.put(
        msgspec.structs.replace(balance, members=(), sequence=balance.sequence + 1, gone=True, changed=now), balance
    )
    return True


def note_accepted(ledger: Any, told: Balance) -> None:
    """Take note that a balancer knows these members: workers that it sends nobody to any more drain from now on."""
    rows = ledger.rows(BALANCES)
    balance = rows.find(told.cluster_oid)
    if balance is None or balance.policy_oid != told.policy_oid:
        return
    if balance.gone and balance.sequence == told.sequence:
        rows.remove(balance)
        return
    newest = max(balance.accepted, told.sequence)
    rows.put(msgspec.structs.replace(balance, accepted=newest, problem=None, told=ledger.now), balance)
    known = {member.worker_oid for member in told.members}
    for worker in list(ledger.rows(WORKERS).all(told.cluster_oid)):
        if worker.drain is not None and not worker.drain.accepted and worker.oid not in known:
            ledger.update_worker(worker, drain=accepted(balance.rule.drain, ledger.now))
            ledger.wake(told.cluster_oid)


def note_problem(ledger: Any, told: Balance, problem: str) -> None:
    """Take note that a balancer could not be told."""
    rows = ledger.rows(BALANCES)
    balance = rows.find(told.cluster_oid)
    if balance is not None and balance.policy_oid == told.policy_oid and balance.problem != problem:
        rows.put(msgspec.structs.replace(balance, problem=problem), balance)


def balance_view(balance: Balance) -> BalanceView:
    """Return what a balancer knows as callers see it."""
    return BalanceView(**{name: getattr(balance, name) for name in BalanceView.__struct_fields__})


def _members(change: Any, cluster: Cluster, rule: LoadBalancePolicy) -> tuple[BalanceMember, ...]:
    groups: dict[Oid, str] = {group.oid: group.name for group in change.rows(GROUPS).all_by("name", cluster.oid)}
    found: dict[str, BalanceMember] = {}
    for worker in change.rows(WORKERS).all(cluster.oid):
        member = None if worker.workergroup_oid is None else _member(change, cluster, worker, rule, groups)
        if member is not None:
            # Frontends of a router cluster share a port, which is one place to a balancer.
            found.setdefault(f"{member.host}:{member.port}", member)
    return tuple(found.values())


def _member(
    change: Any, cluster: Cluster, worker: Worker, rule: LoadBalancePolicy, groups: dict[Oid, str]
) -> BalanceMember | None:
    place = place_of(served(worker), rule.port)
    if place is None:
        return None
    node = None if worker.node_oid is None else change.rows(NODES).find(worker.node_oid)
    return BalanceMember(
        worker_oid=worker.oid,
        name=worker_name(cluster, worker, groups.get(worker.workergroup_oid) if worker.workergroup_oid else None),
        index=worker.index,
        url=place.url,
        host=place.host,
        port=place.port,
        node_name=None if node is None else node.authid,
        region=None if node is None else node.region,
        zone=None if node is None else node.zone,
    )
