"""Clients that change things all the time, each its own clusters, and remember what they were told.

What a client was told is a model in plain dicts: its clusters with their groups and members, and the changes it made,
in order. A call that was not answered may have happened wholly or not at all; the store says which of the two.
"""

import copy
from random import Random
from typing import Any

from controlplane.errors import ControlPlaneError, NoAnswer
from tests.e2e.installation import PREFIX

CLUSTERS_EACH = 3
GROUPS_EACH = 2
SCALE_MAX = 3
CALL_WITHIN_S = 20.0

State = dict[str, dict[str, Any]]


class Change:
    """One call: what it asks for, and what it makes of the model."""

    def __init__(self, verb: str, cluster: str, *args: Any, **about: Any) -> None:
        self.verb = verb
        self.cluster = cluster
        self.args = args
        self.about = about

    def apply(self, state: State, answer: dict[str, Any] | None) -> State:
        """Return the model after the change; an oid that nobody told is None."""
        state = copy.deepcopy(state)
        oid = None if answer is None else answer.get("oid")
        match self.verb:
            case "create_routercluster":
                state[self.cluster] = {"oid": oid, "run": False, "groups": {}, "members": {}}
            case "delete_routercluster":
                del state[self.cluster]
            case "start_routercluster" | "stop_routercluster":
                state[self.cluster]["run"] = self.verb.startswith("start")
            case "add_routercluster_workergroup":
                state[self.cluster]["groups"][self.about["name"]] = {"oid": oid, "scale": self.about["scale"]}
            case "scale_routercluster_workergroup":
                state[self.cluster]["groups"][self.about["name"]]["scale"] = self.about["scale"]
            case "remove_routercluster_workergroup":
                del state[self.cluster]["groups"][self.about["name"]]
            case "add_routercluster_node":
                state[self.cluster]["members"][self.about["node"]] = self.about["hardlimit"]
            case "remove_routercluster_node":
                del state[self.cluster]["members"][self.about["node"]]
        return state

    def event(self) -> tuple[str, Any]:
        """Return what the event of this change looks like: the end of its topic, and what is told apart by it."""
        word, detail = {
            "create_routercluster": ("routercluster_created", self.cluster),
            "delete_routercluster": ("routercluster_deleted", self.cluster),
            "start_routercluster": ("routercluster_starting", None),
            "stop_routercluster": ("routercluster_stopping", None),
            "add_routercluster_workergroup": ("routercluster_workergroup_added", self.about.get("name")),
            "scale_routercluster_workergroup": ("routercluster_workergroup_scaled", self.about.get("scale")),
            "remove_routercluster_workergroup": ("routercluster_workergroup_removed", self.about.get("name")),
            "add_routercluster_node": ("routercluster_node_added", self.about.get("node")),
            "remove_routercluster_node": ("routercluster_node_removed", self.about.get("node")),
        }[self.verb]
        return word, detail


def detail_of(word: str, payload: dict[str, Any]) -> Any:
    """Return what tells events of this kind apart."""
    match word.removeprefix("routercluster_"):
        case "created" | "deleted" | "workergroup_added" | "workergroup_removed":
            return payload["name"]
        case "workergroup_scaled":
            return payload["scale"]
        case "node_added" | "node_removed":
            return payload["node_oid"]
    return None


USER_EVENTS = frozenset(
    f"routercluster_{word}"
    for word in "created deleted starting stopping node_added node_removed workergroup_added workergroup_scaled "
    "workergroup_removed".split()
)


class User:
    """One client."""

    def __init__(self, number: int, session: Any, random: Random, nodes: list[str]) -> None:
        self.prefix = f"user{number}_"
        self.state: State = {}
        self.history: list[tuple[str, Any]] = []
        self.oids: set[str] = set()
        self.pending: Change | None = None
        self.told = 0
        self.refused = 0
        self.session = session
        self._random = random
        self._nodes = nodes
        self._made = 0

    async def work(self) -> None:
        """Change things until a call is not answered."""
        while self.pending is None:
            await self._make(self._next())

    async def _make(self, change: Change) -> None:
        self.pending = change
        try:
            answer = await self.session.call(PREFIX + change.verb, CALL_WITHIN_S, *change.args)
        except NoAnswer:
            return
        except ControlPlaneError as problem:
            if problem.uri == "controlplane.error.internal_error":
                raise
            self.refused += 1
        else:
            self.state = change.apply(self.state, answer)
            self.oids |= {cluster["oid"] for cluster in self.state.values()}
            self.history.append(change.event())
            self.told += 1
        self.pending = None

    def compare(self, stored: State) -> None:
        """Hold what is stored against what was told; what was not answered is settled now."""
        self.oids |= {cluster["oid"] for cluster in stored.values()}
        if same(self.state, stored):
            self.pending = None
            return
        assert self.pending is not None, f"{self.prefix}: told {self.state}, stored {stored}"
        after = self.pending.apply(self.state, None)
        assert same(after, stored), f"{self.prefix}: told {self.state}, then {self.pending.verb}, stored {stored}"
        self.state = stored
        self.history.append(self.pending.event())
        self.pending = None

    def _next(self) -> Change:
        random = self._random
        if len(self.state) < CLUSTERS_EACH and (not self.state or random.random() < 0.2):
            self._made += 1
            name = f"{self.prefix}c{self._made}"
            return Change("create_routercluster", name, {"name": name})
        name = random.choice(sorted(self.state))
        cluster = self.state[name]
        oid, groups, members = cluster["oid"], cluster["groups"], cluster["members"]
        kind = random.random()
        if len(members) < 1 or (len(members) < len(self._nodes) and kind < 0.1):
            node = random.choice([node for node in self._nodes if node not in members])
            limit = random.choice([None, 5])
            return Change("add_routercluster_node", name, oid, node, {"hardlimit": limit}, node=node, hardlimit=limit)
        if not groups or (len(groups) < GROUPS_EACH and kind < 0.2):
            self._made += 1
            group = {"name": f"g{self._made}", "scale": random.randint(1, SCALE_MAX)}
            return Change("add_routercluster_workergroup", name, oid, group, **group)
        if not cluster["run"] and kind < 0.7:
            verb = "delete_routercluster" if random.random() < 0.3 else "start_routercluster"
            return Change(verb, name, oid)
        if kind < 0.3:
            return Change("stop_routercluster" if cluster["run"] else "start_routercluster", name, oid)
        if kind < 0.35 and len(members) > 1:
            node = random.choice(sorted(members))
            return Change("remove_routercluster_node", name, oid, node, node=node)
        group = random.choice(sorted(groups))
        group_oid, scale = groups[group]["oid"], groups[group]["scale"]
        if kind < 0.4:
            return Change("remove_routercluster_workergroup", name, oid, group_oid, name=group)
        wanted = random.choice([number for number in range(SCALE_MAX + 1) if number != scale])
        return Change("scale_routercluster_workergroup", name, oid, group_oid, wanted, name=group, scale=wanted)


def same(told: Any, stored: Any) -> bool:
    """Say whether a model is what is stored; None is an oid that nobody was told."""
    if isinstance(told, dict) and isinstance(stored, dict):
        return told.keys() == stored.keys() and all(
            (key == "oid" and told[key] is None) or same(told[key], stored[key]) for key in told
        )
    return bool(told == stored)
