"""The real pipeline on a real store against a plain model, step by step, with keys, retries and unknown outcomes.

`CONTROLPLANE_EXAMPLES` and `CONTROLPLANE_STEPS` ask for more than the suite has time for: 20000 and 50 for a night.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule
from twisted.internet.defer import ensureDeferred

from controlplane.errors import AlreadyExists, ControlPlaneError, IdempotencyConflict, NoSuchObject, NotStopped
from controlplane.master.plane import PROCEDURES
from controlplane.store.catalog import CLUSTERS, GROUPS, MEMBERSHIPS, NODES
from tests.conftest import ADMIN, TestPlane

EXAMPLES = int(os.environ.get("CONTROLPLANE_EXAMPLES", "30"))
STEPS = int(os.environ.get("CONTROLPLANE_STEPS", "50"))

NAMES = st.sampled_from([f"cluster_{letter}" for letter in "abcd"])
GROUP_NAMES = st.sampled_from(["web", "api", "batch"])
NODE_NUMBERS = st.integers(1, 3)
SCALES = st.integers(0, 3)
KEYS = st.none() | st.sampled_from(["k1", "k2", "k3", "k4"])
UNKNOWN = "11111111-1111-4111-8111-111111111111"

Outcome = tuple[str, Any]


class Model:
    """What there is, in plain dicts, and what became of calls with keys."""

    def __init__(self) -> None:
        self.clusters: dict[str, dict[str, Any]] = {}
        self.nodes: dict[str, int] = {}
        self.remembered: dict[str, tuple[Any, Outcome]] = {}

    def missing(self, verb: str, args: tuple[Any, ...]) -> bool:
        """Say whether a call names an object that is not there: it is refused before it is made."""
        if verb in ("create_routercluster", "pair_node"):
            return False
        if verb == "unpair_node":
            return args[0] not in self.nodes
        if args[0] not in self.clusters:
            return True
        if verb in ("add_routercluster_node", "remove_routercluster_node"):
            return args[1] not in self.nodes
        if verb in ("scale_routercluster_workergroup", "remove_routercluster_workergroup"):
            return not any(args[1] in cluster["groups"] for cluster in self.clusters.values())
        return False


class RealAndModel(RuleBasedStateMachine):
    """Makes the same calls of both, and compares what comes back and what is there."""

    clusters = Bundle("clusters")
    groups = Bundle("groups")
    nodes = Bundle("nodes")

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="model-")
        self.plane = TestPlane(Path(self.folder.name))
        self.model = Model()

    def teardown(self) -> None:
        self.plane.close()
        self.folder.cleanup()

    def call(self, verb: str, *args: Any, key: str | None, lost: bool = False) -> Outcome:
        """Make a call, twice when the first answer is lost and there is a key, and check it against the model."""
        kwargs = {} if key is None else {"idempotency_key": key}
        if lost and key is not None:
            uri = next(u for u in PROCEDURES if u.endswith("." + verb))
            unheard = ensureDeferred(self.plane.plane.invoke(ADMIN, uri, args, kwargs))
            unheard.addErrback(lambda _: None)
            unheard.cancel()
        expected = self.expect(verb, args, key)
        try:
            outcome: Outcome = "made", self.plane.call(verb, *args, **kwargs)
        except ControlPlaneError as problem:
            outcome = "error", problem.uri
        assert outcome[0] == expected[0], (verb, args, key, outcome, expected)
        if outcome[0] == "error" or expected[1] is not None:
            assert self.seen(outcome) == self.seen(expected), (verb, args, key)
        self.remember(verb, args, key, outcome)
        return outcome

    @staticmethod
    def seen(outcome: Outcome) -> Any:
        return outcome[1]["oid"] if isinstance(outcome[1], dict) and "oid" in outcome[1] else outcome[1]

    def expect(self, verb: str, args: tuple[Any, ...], key: str | None) -> Outcome:
        if key in self.model.remembered:
            call, outcome = self.model.remembered[key]
            return outcome if call == (verb, args) else ("error", IdempotencyConflict.uri)
        if self.model.missing(verb, args):
            return "error", NoSuchObject.uri
        return self.apply(verb, args)

    def remember(self, verb: str, args: tuple[Any, ...], key: str | None, outcome: Outcome) -> None:
        if key is not None and key not in self.model.remembered and not self.refused:
            self.model.remembered[key] = ((verb, args), outcome)

    refused = False

    def apply(self, verb: str, args: tuple[Any, ...]) -> Outcome:
        """Change the model as the call shall change the plane; None stands for a result that is not compared."""
        clusters, nodes = self.model.clusters, self.model.nodes
        match verb:
            case "create_routercluster":
                taken = any(cluster["name"] == args[0]["name"] for cluster in clusters.values())
                return ("error", AlreadyExists.uri) if taken else ("made", None)
            case "delete_routercluster":
                if clusters[args[0]]["run"]:
                    return "error", NotStopped.uri
                del clusters[args[0]]
            case "start_routercluster":
                if clusters[args[0]]["run"]:
                    return "error", "crossbar.error.cannot_start"
                clusters[args[0]]["run"] = True
            case "pair_node":
                return ("error", AlreadyExists.uri) if int(args[0], 16) in nodes.values() else ("made", None)
            case "unpair_node":
                del nodes[args[0]]
                for cluster in clusters.values():
                    cluster["members"].pop(args[0], None)
            case "add_routercluster_node":
                clusters[args[0]]["members"][args[1]] = args[2].get("hardlimit")
            case "remove_routercluster_node":
                if args[1] not in clusters[args[0]]["members"]:
                    return "error", NoSuchObject.uri
                del clusters[args[0]]["members"][args[1]]
            case "add_routercluster_workergroup":
                taken = any(name == args[1]["name"] for name, _ in clusters[args[0]]["groups"].values())
                return ("error", AlreadyExists.uri) if taken else ("made", None)
            case "scale_routercluster_workergroup" | "remove_routercluster_workergroup":
                groups = clusters[args[0]]["groups"]
                if args[1] not in groups:
                    return "error", NoSuchObject.uri
                if verb.startswith("scale"):
                    groups[args[1]] = (groups[args[1]][0], args[2])
                else:
                    del groups[args[1]]
        return "made", None

    def made(self, verb: str, *args: Any, key: str | None, lost: bool) -> Any:
        """Make a call, and return its result if this is the first time that it was made."""
        before = key in self.model.remembered
        self.refused = not before and self.model.missing(verb, args)
        outcome = self.call(verb, *args, key=key, lost=lost)
        return outcome[1] if outcome[0] == "made" and not before else None

    @rule(target=clusters, name=NAMES, key=KEYS, lost=st.booleans())
    def create_cluster(self, name, key, lost):
        made = self.made("create_routercluster", {"name": name}, key=key, lost=lost)
        if made is None:
            return UNKNOWN
        self.model.clusters[made["oid"]] = {"name": name, "groups": {}, "members": {}, "run": False}
        return made["oid"]

    @rule(cluster=clusters, key=KEYS, lost=st.booleans())
    def delete_cluster(self, cluster, key, lost):
        self.made("delete_routercluster", cluster, key=key, lost=lost)

    @rule(cluster=clusters, key=KEYS, lost=st.booleans())
    def start_cluster(self, cluster, key, lost):
        self.made("start_routercluster", cluster, key=key, lost=lost)

    @rule(target=nodes, number=NODE_NUMBERS, key=KEYS, lost=st.booleans())
    def pair(self, number, key, lost):
        made = self.made("pair_node", f"{number:064x}", f"node{number}", key=key, lost=lost)
        if made is None:
            return UNKNOWN
        self.model.nodes[made["oid"]] = number
        return made["oid"]

    @rule(node=nodes, key=KEYS, lost=st.booleans())
    def unpair(self, node, key, lost):
        self.made("unpair_node", node, key=key, lost=lost)

    @rule(cluster=clusters, node=nodes, limit=SCALES, key=KEYS, lost=st.booleans())
    def add_node(self, cluster, node, limit, key, lost):
        self.made("add_routercluster_node", cluster, node, {"hardlimit": limit}, key=key, lost=lost)

    @rule(cluster=clusters, node=nodes, key=KEYS, lost=st.booleans())
    def remove_node(self, cluster, node, key, lost):
        self.made("remove_routercluster_node", cluster, node, key=key, lost=lost)

    @rule(target=groups, cluster=clusters, name=GROUP_NAMES, scale=SCALES, key=KEYS, lost=st.booleans())
    def add_group(self, cluster, name, scale, key, lost):
        made = self.made("add_routercluster_workergroup", cluster, {"name": name, "scale": scale}, key=key, lost=lost)
        if made is None:
            return UNKNOWN
        self.model.clusters[cluster]["groups"][made["oid"]] = (name, scale)
        return made["oid"]

    @rule(cluster=clusters, group=groups, scale=SCALES, key=KEYS, lost=st.booleans())
    def scale_group(self, cluster, group, scale, key, lost):
        self.made("scale_routercluster_workergroup", cluster, group, scale, key=key, lost=lost)

    @rule(cluster=clusters, group=groups, key=KEYS, lost=st.booleans())
    def remove_group(self, cluster, group, key, lost):
        self.made("remove_routercluster_workergroup", cluster, group, key=key, lost=lost)

    @rule()
    def restart(self):
        self.plane.settle()
        self.plane.close()
        self.plane = TestPlane(Path(self.folder.name), first=next(self.plane.numbers))

    @invariant()
    def the_plane_has_what_the_model_has(self):
        if not hasattr(self, "plane"):
            return
        stored = {str(c.oid): (c.name, c.run) for c in self.plane.stored(CLUSTERS)}
        assert stored == {oid: (c["name"], c["run"]) for oid, c in self.model.clusters.items()}
        assert {str(n.oid) for n in self.plane.stored(NODES)} == set(self.model.nodes)
        groups = {(str(g.cluster_oid), str(g.oid)): (g.name, g.scale) for g in self.plane.stored(GROUPS)}
        wanted = {(oid, g): held for oid, c in self.model.clusters.items() for g, held in c["groups"].items()}
        assert groups == wanted
        members = {(str(m.cluster_oid), str(m.node_oid)): m.hardlimit for m in self.plane.stored(MEMBERSHIPS)}
        assert members == {(oid, n): held for oid, c in self.model.clusters.items() for n, held in c["members"].items()}


TestRealAndModel = RealAndModel.TestCase
TestRealAndModel.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    derandomize=EXAMPLES <= 30,
    suppress_health_check=list(HealthCheck),
)
