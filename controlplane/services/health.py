"""Health policies: what they want to know of a cluster, and the actions that they begin."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from controlplane.core.checking import questions_about
from controlplane.core.generic_clusters import worker_name
from controlplane.core.health_rules import (
    WHOLE,
    Case,
    Decided,
    Past,
    chain_of,
    decide,
    fill_url,
    place_of,
    url_mode,
    what_is_wrong,
)
from controlplane.core.policies import Bound
from controlplane.records import events
from controlplane.records.actions import WORKERS_LISTED_MAX, Action, ActionKind
from controlplane.records.clusters import Cluster
from controlplane.records.health_policies import GivenUp, HealthPolicy, RecoveryGivenUp, UrlLook
from controlplane.records.nodes import Node
from controlplane.records.policies import Decision
from controlplane.records.principals import Caller
from controlplane.records.recoveries import Checked, Finding
from controlplane.records.types import NANOSECONDS, Instant, Oid
from controlplane.records.workers import Want, Worker, WorkerStatus
from controlplane.services.acting import begin
from controlplane.services.bound import bound_policies
from controlplane.services.checking import mark, nodes_of
from controlplane.services.ledger import Ledger, groups_of
from controlplane.services.recoveries import recover
from controlplane.store.catalog import ACTIONS, BINDINGS, CLUSTERS, WORKERS, oid_of
from controlplane.store.tables import key_of

HISTORY_LENGTH_MAX = 20_000
"""Actions of one cluster that are looked at; there are limits of fewer recoveries."""

CASES_MAX = WORKERS_LISTED_MAX
"""Workers that one action brings back; others have to wait for the next one."""

POLICY = "policy"


class Watch(NamedTuple):
    """A cluster whose health policy is enabled."""

    cluster: Cluster
    bound: Bound
    rule: HealthPolicy
    workers: list[Worker]
    nodes: Mapping[Oid, Node]
    names: Mapping[Oid, str]

    @property
    def is_idle(self) -> bool:
        """Say whether nothing may be done about it now: it is stopped, or an action changes it."""
        return not self.cluster.run or self.cluster.deleting or self.cluster.action_oid is not None

    def questions(self) -> dict[Oid, list[Worker]]:
        """Return the workers that agents can look at, by node."""
        return questions_about(self.workers, self.nodes)

    def pages(self) -> dict[Oid, dict[Oid, UrlLook | None]]:
        """Return the pages to ask for, by node and worker; None for one that cannot be asked for a page."""
        mode = url_mode(self.rule.detection)
        found: dict[Oid, dict[Oid, UrlLook | None]] = {}
        if mode is None:
            return found
        for node, workers in self.questions().items():
            for worker in workers:
                if worker.status is WorkerStatus.RUNNING:
                    url = fill_url(mode.options.poll_url, worker, self.names[worker.oid])
                    found.setdefault(node, {})[worker.oid] = (
                        None if url is None else UrlLook(url=url, options=mode.options)
                    )
        return found


def clusters_with_policies(view: Any) -> list[Oid]:
    """Return the clusters that obey a health policy."""
    return list({each.cluster_oid for each in view.rows(BINDINGS).all() if _is_of_health(each.type)})


def watch(view: Any, cluster_oid: Oid) -> Watch | None:
    """Return what a health policy has to do with a cluster, or None when it obeys none."""
    cluster = view.rows(CLUSTERS).find(cluster_oid)
    bound = None if cluster is None else _policy(view, cluster_oid)
    if cluster is None or bound is None:
        return None
    workers = list(view.rows(WORKERS).all(cluster_oid))
    groups = {group.oid: group.name for group in groups_of(view, cluster_oid)}
    names = {each.oid: worker_name(cluster, each, groups.get(each.workergroup_oid)) for each in workers}
    return Watch(cluster, bound, bound.rule, workers, nodes_of(view, workers), names)


def judge(
    seen: Watch, looks: Mapping[Oid, Mapping[str, Checked]], now: Instant, polled: bool
) -> tuple[list[Case], list[str]]:
    """Return which workers are not well, and in which places all is well."""
    cases: list[Case] = []
    well: list[str] = []
    for worker in seen.workers:
        reason = what_is_wrong(seen.rule, worker, looks.get(worker.oid, {}), now, polled)
        if reason is not None:
            cases.append(Case(worker, reason))
        elif worker.want is Want.RUN and worker.status is WorkerStatus.RUNNING:
            well.append(place_of(worker))
    return cases, well


def obey(ledger: Ledger, seen: Watch, cases: Sequence[Case], well: Iterable[str], found: Iterable[Finding]) -> bool:
    """Do what a policy says about workers that are not well, if it is obeyed still; returns whether it began an action.

    What was found is marked; a worker that has changed since it was looked at is left alone.
    """
    cluster, bound = ledger.rows(CLUSTERS).find(seen.cluster.oid), _policy(ledger, seen.cluster.oid)
    if cluster is None or bound is None or bound.binding.policy_oid != seen.bound.binding.policy_oid:
        return False
    mark(ledger, found)
    if seen._replace(cluster=cluster).is_idle:
        return False
    current = [case for case in cases if _is_still(ledger, case.worker)]
    rule = seen.rule.recovery
    history = _history(ledger, cluster.oid, bound, int(rule.limits.within * NANOSECONDS))
    decided = decide(rule, current[:CASES_MAX], well, history, bound.binding.given_up, ledger.now)
    _note_given_up(ledger, cluster, seen, bound, decided)
    if decided.recover:
        _begin(ledger, cluster, seen, decided.recover)
    return bool(decided.recover)


def _begin(ledger: Ledger, cluster: Cluster, seen: Watch, cases: Sequence[Case]) -> Action:
    chain, bound = chain_of(seen.rule.recovery), seen.bound
    said = [f"worker {seen.names[case.worker.oid]} is not well: {case.reason}" for case in cases]
    operations = ", then ".join(each.value for each in chain.operations)
    action = begin(
        ledger,
        cluster,
        ActionKind.CLUSTER_RECOVER,
        Caller(session=0, authid=bound.name, authrole=POLICY),
        {
            "operation": [each.value for each in chain.operations],
            "workers": [str(case.worker.oid) for case in cases],
            "places": [place_of(case.worker) for case in cases],
        },
        decisions=[
            Decision(policy_oid=bound.binding.policy_oid, policy_name=bound.name, said=f"{each}; {operations}")
            for each in said
        ],
        about={"cause": POLICY, "chain": chain},
    )
    workers = [ledger.rows(WORKERS).get(case.worker.oid) for case in cases]
    return recover(ledger, ledger.rows(CLUSTERS).get(cluster.oid), action, workers)


def _note_given_up(ledger: Ledger, cluster: Cluster, seen: Watch, bound: Bound, decided: Decided) -> None:
    if decided.given_up == bound.binding.given_up:
        return
    rows = ledger.rows(BINDINGS)
    rows.put(msgspec.structs.replace(bound.binding, given_up=decided.given_up), bound.binding)
    for place, case in decided.news:
        given_up: GivenUp = decided.given_up[place]
        ledger.publish(
            events.RECOVERY_GIVEN_UP,
            RecoveryGivenUp(
                oid=cluster.oid,
                name=cluster.name,
                policy_oid=bound.binding.policy_oid,
                policy_name=bound.name,
                worker_oid=case.worker.oid,
                reason=f"{given_up.reason}; the policy does nothing more"
                if place == WHOLE
                else f"worker {seen.names[case.worker.oid]}: {given_up.reason}",
            ),
        )


def _history(ledger: Ledger, cluster_oid: Oid, bound: Bound, within: int) -> list[Past]:
    """Return what the policy has done since it was attached or enabled."""
    rows = ledger.rows(ACTIONS)
    since = max(bound.binding.changed, ledger.now - within)
    found = []
    start = cluster_oid.bytes + key_of(since)
    for _, key in islice(rows.keys_by("cluster", cluster_oid, start=start), HISTORY_LENGTH_MAX):
        action = rows.find(oid_of(key))
        if action is not None and action.cause == POLICY and action.who == bound.name and "places" in action.inputs:
            found.append(Past(action.created, frozenset(action.inputs["places"])))
    return found


def _is_still(ledger: Ledger, worker: Worker) -> bool:
    current = ledger.rows(WORKERS).find(worker.oid)
    return (
        current is not None
        and current.want is Want.RUN
        and (current.node_oid, current.digest, current.started) == (worker.node_oid, worker.digest, worker.started)
        and current.status in (WorkerStatus.RUNNING, WorkerStatus.ERROR, WorkerStatus.UNREACHABLE)
        # One that was not well by what was known of it, and is well by now, was not looked at: it came back by itself.
        and (current.status is not WorkerStatus.RUNNING or worker.status is WorkerStatus.RUNNING)
    )


def _policy(view: Any, cluster_oid: Oid) -> Bound | None:
    return next((each for each in bound_policies(view, cluster_oid) if isinstance(each.rule, HealthPolicy)), None)


def _is_of_health(type_: str) -> bool:
    return type_.rpartition("-")[0] == "health"
