"""One router cluster as a plain value: what calls of it shall do, one after the other, with their idempotency keys."""

from collections.abc import Hashable
from typing import Any, NamedTuple

from controlplane.errors import (
    AlreadyExists,
    CannotStart,
    CannotStop,
    IdempotencyConflict,
    NoSuchObject,
    NotStopped,
)
from tests.histories.checker import Operation

Outcome = tuple[str, Hashable]


class Group(NamedTuple):
    oid: str
    name: str
    scale: int


class Cluster(NamedTuple):
    """A cluster without nodes: it is STOPPED as soon as it is stopped. What it is else is told by events."""

    oid: str
    label: str | None = None
    run: bool = False
    groups: frozenset[Group] = frozenset()

    def view(self) -> Hashable:
        return self.oid, self.label, self.run

    def group(self, oid: str) -> Group | None:
        return next((group for group in self.groups if group.oid == oid), None)


class State(NamedTuple):
    """The cluster of one name, if there is one, and what is remembered of calls with keys."""

    cluster: Cluster | None = None
    remembered: frozenset[tuple[str, Hashable, Outcome]] = frozenset()


class Asked(NamedTuple):
    """The argument of an operation."""

    cluster_oid: str | None = None
    group_oid: str | None = None
    value: Hashable = None
    key: str | None = None
    made: str | None = None
    """The oid that this call gave to what it made, if it made anything: from the answer, or from a repetition's."""

    def call(self, verb: str) -> Hashable:
        return verb, self.cluster_oid, self.group_oid, self.value


class Clusters:
    """The model."""

    def initial(self, thing: Hashable) -> State:
        return State()

    def agree(self, expected: Hashable, seen: Hashable) -> bool:
        return expected == seen

    def apply(self, state: State, operation: Operation) -> tuple[State, Outcome]:
        asked: Asked = operation.argument
        for key, call, outcome in state.remembered:
            if key == asked.key:
                same = call == asked.call(operation.verb)
                return state, outcome if same else ("error", IdempotencyConflict.uri)
        cluster = state.cluster
        if not self._is_there(cluster, operation.verb, asked):
            return state, ("error", NoSuchObject.uri)
        after, outcome = self._make(cluster, operation.verb, asked)
        remembered = state.remembered
        if asked.key is not None:
            remembered |= {(asked.key, asked.call(operation.verb), outcome)}
        return State(after, remembered), outcome

    @staticmethod
    def _is_there(cluster: Cluster | None, verb: str, asked: Asked) -> bool:
        if verb in ("create", "list"):
            return True
        if cluster is None or (verb != "get_by_name" and cluster.oid != asked.cluster_oid):
            return False
        return asked.group_oid is None or cluster.group(asked.group_oid) is not None

    def _make(self, cluster: Cluster | None, verb: str, asked: Asked) -> tuple[Cluster | None, Outcome]:
        """Return what becomes of the cluster, and the answer."""
        value: Any = asked.value
        if verb == "list":
            return cluster, ("made", cluster is not None)
        if verb == "create":
            if cluster is not None:
                return cluster, ("error", AlreadyExists.uri)
            made = Cluster(str(asked.made), value)
            return made, ("made", made.view())
        assert cluster is not None
        group = cluster.group(asked.group_oid or "")
        match verb:
            case "get" | "get_by_name":
                return cluster, ("made", cluster.view())
            case "update":
                after = cluster._replace(label=value)
                return after, ("made", after.view())
            case "delete":
                return (cluster, ("error", NotStopped.uri)) if cluster.run else (None, ("made", cluster.view()))
            case "start":
                if cluster.run:
                    return cluster, ("error", CannotStart.uri)
                return cluster._replace(run=True), ("made", "STARTING")
            case "stop":
                if not cluster.run:
                    return cluster, ("error", CannotStop.uri)
                return cluster._replace(run=False), ("made", "STOPPING")
            case "add_group":
                name, scale = value
                if any(group.name == name for group in cluster.groups):
                    return cluster, ("error", AlreadyExists.uri)
                new = Group(str(asked.made), name, scale)
                return cluster._replace(groups=cluster.groups | {new}), ("made", (new.oid, scale))
            case "list_groups":
                return cluster, ("made", tuple(sorted(group.name for group in cluster.groups)))
        assert group is not None
        match verb:
            case "get_group":
                return cluster, ("made", (group.oid, group.scale))
            case "scale":
                scaled = group._replace(scale=value)
                return cluster._replace(groups=cluster.groups - {group} | {scaled}), ("made", (group.oid, value))
            case "remove_group":
                return cluster._replace(groups=cluster.groups - {group}), ("made", (group.oid, group.scale))
        raise AssertionError(verb)
