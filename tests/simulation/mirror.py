"""What the store holds, as plain values, kept in step with every commit: what checks look at.

It reads the bytes itself and knows nothing of the product's own indexes and counters, which are among what is checked.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import cbor2

from controlplane.services.agents import assignment_epoch
from controlplane.store.catalog import (
    ACTIONS,
    BINDINGS,
    CHILDREN,
    CLUSTERS,
    DEFINITIONS,
    EVENTS,
    GROUPS,
    LOADS,
    MARKS,
    MEMBERSHIPS,
    NODES,
    RECEIVERS,
    REVISIONS,
    TALLIES,
    WORKERS,
)
from controlplane.store.engine import Space
from controlplane.store.tables import Table
from tests.simulation.disk import Image, Step

if TYPE_CHECKING:
    from tests.simulation.machine import Machine

Row = dict[str, Any]
KEPT = (
    MARKS,
    NODES,
    CLUSTERS,
    GROUPS,
    MEMBERSHIPS,
    WORKERS,
    EVENTS,
    ACTIONS,
    CHILDREN,
    BINDINGS,
    DEFINITIONS,
    RECEIVERS,
    REVISIONS,
)
NOUNS = {table.space: table.noun for table in KEPT}
TOTALS = (TALLIES, LOADS)
"""Written with nearly every change, and looked at as a whole now and then: read only when they are asked for."""


class Changed(NamedTuple):
    """One record of a commit: as it was, and as it is."""

    noun: str
    before: Row | None
    after: Row | None

    def value(self, field: str) -> tuple[Any, Any]:
        """Return a field before and after; None where there is no record."""
        return self.before and self.before[field], self.after and self.after[field]


class Mirror:
    """The store, decoded."""

    def __init__(self) -> None:
        self.bytes: dict[Space, dict[bytes, bytes]] = defaultdict(dict)
        self.rows: dict[str, dict[bytes, Row]] = defaultdict(dict)
        self.nodes: dict[str, Row] = {}
        self.clusters: dict[str, Row] = {}
        self.groups: dict[str, Row] = {}
        self.members: dict[tuple[str, str], Row] = {}
        self.workers: dict[str, Row] = {}
        self.workers_of: dict[str, dict[str, Row]] = defaultdict(dict)
        self.events: dict[int, Row] = {}
        self.last_event = 0
        self.actions: dict[str, Row] = {}
        self.children: dict[str, dict[str, Row]] = defaultdict(dict)
        """Of actions, by parent and oid."""

        self.bindings: dict[str, dict[str, Row]] = defaultdict(dict)
        """By cluster and oid."""

        self.told_anew: set[str] = set()
        """Workers that somebody wants another configuration of, which they have not been given yet."""

        self.definitions: dict[str, Row] = {}
        self.receivers: dict[str, Row] = {}
        self.revisions: dict[tuple[str, int], Row] = {}

    def load(self, image: Image) -> None:
        """Begin anew with everything that is stored."""
        self.__init__()  # type: ignore[misc]
        for space, values in image.items():
            for key, value in values.items():
                self.take(Step(space, key, None, value))
        self.told_anew = set(self.workers)

    def take(self, step: Step) -> Changed | None:
        """Take over one write; None when it is of no interest."""
        space, key, _, data = step
        if data is None:
            self.bytes[space].pop(key, None)
        else:
            self.bytes[space][key] = data
        noun = NOUNS.get(space)
        if noun is None:
            return None
        rows = self.rows[noun]
        before = rows.get(key)
        after: Row | None = None
        if data is None:
            rows.pop(key, None)
        else:
            after = rows[key] = decode_row(data)
        self._index(noun, before, after)
        return Changed(noun, before, after)

    def take_all(self, steps: Iterable[Step]) -> Iterator[Changed]:
        """Take over the writes of a commit; a worker that but stands elsewhere in its table now is one change."""
        steps = list(steps)
        added: dict[str, int] = {}
        there: dict[bytes, bool] = {}
        for place, step in enumerate(steps):
            if step.space is WORKERS.space:
                if step.after and not there.get(step.key, step.key in self.bytes[step.space]):
                    added[cbor2.loads(step.after)["oid"]] = place
                there[step.key] = bool(step.after)
        left: dict[str, Row | None] = {}
        for place, step in enumerate(steps):
            change = self.take(step)
            if change is None:
                continue
            row = change.after or change.before
            if change.noun == WORKERS.noun and row is not None and place <= added.get(row["oid"], -1):
                if change.after is None:
                    left[row["oid"]] = change.before
                    continue
                if change.before is None:
                    change = Changed(change.noun, left.pop(row["oid"], None), change.after)
            yield change

    def agrees(self, image: Image) -> bool:
        """Say whether this is what is stored."""
        return all(self.bytes[space] == values for space, values in image.items())

    def paired_with(self, machine: "Machine") -> Row | None:
        """Return the node that a machine is: the one with its key.

        Not the one that it joined as last: where a backup was restored from before it was paired anew, its key is
        that of the former node again, and a machine that is lost never learns of it.
        """
        return next((node for node in self.nodes.values() if node["pubkey"] == machine.pubkey), None)

    def totals(self, table: Table[Any]) -> list[Row]:
        """Return the rows of one of the tables of totals."""
        return [cbor2.loads(value) for value in self.bytes[table.space].values()]

    def epoch(self, node: str) -> str:
        """Return what the versions of a node's assignment belong to."""
        return _epoch(next(row["value"] for row in self.rows[MARKS.noun].values() if row["name"] == "epoch"), node)

    def groups_in(self, cluster: str) -> list[Row]:
        """Return the groups of a cluster."""
        return [group for group in self.groups.values() if group["cluster_oid"] == cluster]

    def desired(self, cluster: Row) -> int:
        """Return how many workers a cluster shall have when it runs: frontends, and routers if there are any."""
        frontends = sum(group["scale"] for group in self.groups_in(cluster["oid"]))
        return frontends if is_generic(cluster) else frontends + ungrouped_of(cluster, frontends)

    def rules(self, cluster: str, kind: str) -> list[tuple[Row, Row]]:
        """Return the enabled policies of one kind that a cluster obeys: how it is bound, and what it says."""
        found = []
        for binding in self.bindings[cluster].values():
            policy = self.definitions.get(binding["policy_oid"])
            if binding["enabled"] and policy is not None and policy["spec"]["type"] == kind:
                found.append((binding, policy["spec"]["properties"]))
        return found

    def most_on_a_node(self, cluster: str, node: str) -> int | None:
        """Return how many workers of a cluster may stand on a node; None for any number."""
        return self.most_on_nodes(cluster, [node])[node]

    def most_on_nodes(self, cluster: str, nodes: Iterable[str]) -> dict[str, int | None]:
        """Return how many workers of a cluster may stand on each of these nodes; None for any number."""
        said = [rule["per_node_max"] for _, rule in self.rules(cluster, "affinity")]
        of_policies = [limit for limit in said if limit is not None]
        found: dict[str, int | None] = {}
        for node in nodes:
            member = self.members.get((cluster, node))
            own = [] if member is None or member["hardlimit"] is None else [member["hardlimit"]]
            found[node] = min([*of_policies, *own], default=None)
        return found

    def carries(self, cluster: str, node: str) -> bool:
        """Say whether a node may carry workers of a cluster: a member, or any one of a generic cluster without."""
        if node not in self.nodes or (cluster, node) in self.members:
            return node in self.nodes
        return is_generic(self.clusters[cluster]) and not any(of == cluster for of, _ in self.members)

    def assigned(self) -> dict[str, dict[str, str]]:
        """Return the digest of every worker that a node shall run, by node and worker."""
        found: dict[str, dict[str, str]] = defaultdict(dict)
        for worker in self.workers.values():
            place = assigned_to(worker)
            if place is not None:
                found[place[0]][worker["oid"]] = place[1]
        return found

    def _index(self, noun: str, before: Row | None, after: Row | None) -> None:
        row = after if after is not None else before
        if row is None:
            return
        if noun == WORKERS.noun:
            _set(self.workers, row["oid"], after)
            _set(self.workers_of[row["cluster_oid"]], row["oid"], after)
        elif noun == EVENTS.noun:
            _set(self.events, row["seq"], after)
            self.last_event = max(self.last_event, row["seq"])
        elif noun == NODES.noun:
            _set(self.nodes, row["oid"], after)
        elif noun == CLUSTERS.noun:
            _set(self.clusters, row["oid"], after)
        elif noun == GROUPS.noun:
            _set(self.groups, row["oid"], after)
        elif noun == MEMBERSHIPS.noun:
            _set(self.members, (row["cluster_oid"], row["node_oid"]), after)
        elif noun == ACTIONS.noun:
            _set(self.actions, row["oid"], after)
        elif noun == CHILDREN.noun:
            _set(self.children[row["parent_oid"]], row["oid"], after)
        elif noun == BINDINGS.noun:
            _set(self.bindings[row["cluster_oid"]], row["oid"], after)
        elif noun == DEFINITIONS.noun:
            _set(self.definitions, row["oid"], after)
        elif noun == RECEIVERS.noun:
            _set(self.receivers, row["oid"], after)
        elif noun == REVISIONS.noun:
            _set(self.revisions, (row["cluster_oid"], row["revision"]), after)


@cache
def _epoch(store: str, node: str) -> str:
    return str(assignment_epoch(UUID(store), UUID(node)))


def decode_row(data: bytes) -> Row:
    """Return a record as plain values."""
    row: Row = cbor2.loads(data)
    return row


def is_generic(cluster: Row) -> bool:
    """Say whether a cluster is one of processes or containers."""
    return bool(cluster["type"] == "generic")


def ungrouped_of(cluster: Row, frontends: int) -> int:
    """Return how many workers in no group a cluster wants: routers behind so many frontends, or those that stand by."""
    if not is_generic(cluster):
        return int(cluster["routers"]) if frontends else 0
    pool = cluster["standby"]
    return int(pool["size"]) if pool is not None and cluster["run"] and not cluster["deleting"] else 0


def assigned_to(worker: Row | None) -> tuple[str, str] | None:
    """Return the node that shall run a worker, and with which digest."""
    if worker is None or worker["want"] != "RUN" or worker["node_oid"] is None or worker["digest"] is None:
        return None
    return worker["node_oid"], worker["digest"]


def occupies(worker: Row) -> bool:
    """Say whether a worker counts on its node."""
    return worker["node_oid"] is not None and worker["status"] != "STOPPED"


def _set(rows: dict[Any, Row], key: Any, row: Row | None) -> None:
    if row is None:
        rows.pop(key, None)
    else:
        rows[key] = row
