"""What is promised about workers that are looked after: fencing, recoveries, protection, joining and leaving.

Held against every commit, in other words than the product's own, and against what really runs at that time.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from controlplane.store.catalog import ACTIONS, WORKERS
from tests.simulation.mirror import Changed, Mirror, Row

if TYPE_CHECKING:
    from tests.simulation.machine import Machine
    from tests.simulation.world import World

UNWELL = ("ERROR", "UNREACHABLE")
UNTOUCHED = ("node_oid", "digest", "seen_digest", "pid", "started", "generation", "rebuilds", "kills", "restarts")
"""Fields that a worker keeps when it joins a cluster or leaves one."""

UNANSWERED = ("did not say", "did not answer", "silent")
"""In what is said of workers of an agent that was asked how they are, and said nothing."""

AWAKE_FOR_S = 3.0
"""How long an agent may take to end what it has to after it was started or has stalled."""


class Place(NamedTuple):
    """Where in which cluster a worker stands."""

    cluster: str
    group: str | None
    index: int


class Joined(NamedTuple):
    """What must not change of a worker that joined or left, as long as nobody wants it changed."""

    digest: str
    told: tuple[Any, ...]


class Wards:
    """What is known of workers that are looked after."""

    def __init__(self) -> None:
        self.wall_jumped = float("-inf")
        self._places: dict[str, Place] = {}
        self._nodes: dict[str, str] = {}
        """The node that each worker stands on, or stood on as last."""

        self._asleep: dict[str, float] = {}
        """When the agent of a machine was last seen to be dead or stalled."""

        self._joined: dict[str, Joined] = {}
        self._recovered: dict[str, list[tuple[float, Row]]] = {}
        """Recoveries that policies began, by binding."""

    def begin_anew(self, now: float) -> None:
        """Take note that the store was replaced by a backup."""
        asleep = self._asleep
        self.__init__()  # type: ignore[misc]
        self._asleep, self.wall_jumped = asleep, now

    def look(self, machine: "Machine", now: float) -> None:
        """Take note of an agent that cannot do what it should."""
        if machine.agent is None or machine.clock.lag():
            self._asleep[machine.name] = now

    # A commit

    def changed(self, change: Changed, mirror: Mirror, world: "World", silent: dict[str, float]) -> Iterator[str]:
        """Look at one row of a commit; `silent` says since when nodes are."""
        before, after = change.before, change.after
        if change.noun == ACTIONS.noun and before is None and after is not None:
            yield from self._recovers(after, mirror, world)
        if change.noun != WORKERS.noun:
            return
        row = after if after is not None else before
        assert row is not None
        oid = row["oid"]
        if before is not None and after is not None and before["cluster_oid"] != after["cluster_oid"]:
            yield from self._moves(before, after)
        elif after is None:
            self._joined.pop(oid, None)
        if after is None:
            return
        self._places[oid] = Place(after["cluster_oid"], after["workergroup_oid"], after["index"])
        if before is not None:
            yield from self._stays(before, after, mirror)
        if before is None or before["node_oid"] != after["node_oid"]:
            yield from self._placed(after, mirror, world, silent)
        if after["node_oid"] is not None:
            self._nodes[oid] = after["node_oid"]

    def _moves(self, was: Row, after: Row) -> Iterator[str]:
        """One that joins a cluster or leaves one goes on as what it is."""
        differ = [name for name in UNTOUCHED if was[name] != after[name]]
        if differ:
            yield f"worker {after['oid']} changes its cluster, and so changes its {', '.join(differ)}"
        if after["digest"] is not None:
            self._joined[after["oid"]] = Joined(after["digest"], _told(after))

    def _stays(self, before: Row, after: Row, mirror: Mirror) -> Iterator[str]:
        """Nobody who is protected is chosen to go; who has joined is what it was until it is told otherwise."""
        cluster = mirror.clusters.get(after["cluster_oid"])
        chosen = before["protected"] and before["want"] != "REMOVE" == after["want"]
        if chosen and cluster is not None and not cluster["deleting"]:
            yield f"worker {after['oid']} is protected, and is told to go"
        joined = self._joined.get(after["oid"])
        if joined is None:
            return
        told = cluster is None or cluster["action_oid"] is not None or _told(after) != joined.told
        if told or after["want"] != "RUN":
            del self._joined[after["oid"]]
        elif after["digest"] not in (None, joined.digest):
            yield f"worker {after['oid']} joined as it was, and is given another configuration that nobody asked for"

    def _placed(self, worker: Row, mirror: Mirror, world: "World", silent: dict[str, float]) -> Iterator[str]:
        """With fencing nobody is placed where somebody may still run whom nobody can see."""
        cluster = mirror.clusters.get(worker["cluster_oid"])
        if worker["node_oid"] is None or cluster is None or cluster["fence_after"] is None:
            return
        place, now = self._places[worker["oid"]], world.clock.now
        for machine in world.machines:
            node = mirror.paired_with(machine)
            if node is None or node["online"] or node["oid"] == worker["node_oid"] or not machine.units:
                continue
            self.look(machine, now)
            asleep = now < self._asleep.get(machine.name, -1e9) + AWAKE_FOR_S
            if asleep or self.wall_jumped >= silent.get(node["oid"], -1e9):
                continue
            for oid in machine.units:
                if self._nodes.get(str(oid)) != node["oid"]:
                    continue  # It was there when the machine was another node, which has been taken out.
                if str(oid) == worker["oid"] or self._places.get(str(oid)) == place:
                    yield (
                        f"worker {worker['oid']} of {cluster['name']}, which has fencing, is placed anew, and {oid} "
                        f"runs in its place on {machine.name}, which nobody can see"
                    )

    # Recoveries

    def _recovers(self, row: Row, mirror: Mirror, world: "World") -> Iterator[str]:
        """A policy brings back those that are not well, and no more often than it says."""
        if row["kind"] != "CLUSTER_RECOVER" or row["cause"] != "policy":
            return
        home, now = row["cluster_oid"], world.clock.now
        for oid in row["inputs"]["workers"]:
            worker = mirror.workers.get(oid)
            unwell = any(str(sick) == oid for machine in world.machines for sick, _ in machine.sick)
            # One that its agent has ended, because its lease was over, may not have been reported yet.
            unwell |= not any(str(unit) == oid for machine in world.machines for unit in machine.units)
            asked = any(word in str(row["decisions"]) for word in UNANSWERED)
            if worker is not None and worker["status"] not in UNWELL and not unwell and not asked:
                yield f"action {row['name']} brings worker {oid} back, which is {worker['status']}"
        for binding, rule in mirror.rules(home, "health"):
            limits = rule["recovery"].get("limits") or {}
            within = limits.get("within", 3600.0)
            past = self._recovered.setdefault(binding["oid"], [])
            since = max(now - within, self.wall_jumped)
            # It counts anew from when it was attached, enabled or changed.
            counted = [old for at, old in past if at > since and old["created"] >= binding["changed"]]
            checked = [("its cluster", limits.get("cluster_max", 20), len(counted))]
            for place in row["inputs"]["places"]:
                times = sum(place in old["inputs"]["places"] for old in counted)
                checked.append((f"place {place}", limits.get("worker_max", 3), times))
            for shown, most, number in checked:
                if number >= most:
                    yield f"action {row['name']} is recovery {number + 1} of {shown} in {within} s; {most} are admitted"
            past.append((now, row))


def _told(worker: Row) -> tuple[Any, ...]:
    """Return what makes another configuration of a worker when somebody wants that."""
    return worker["cluster_oid"], worker["revision"], worker["generation"], worker["rebuilds"], worker["kills"]


def fences(mirror: Mirror) -> float:
    """Return how long it takes, at most, until a worker of a silent node is known to be gone."""
    said = [cluster["fence_after"] for cluster in mirror.clusters.values() if cluster["fence_after"] is not None]
    return max(said, default=0.0)


def is_fenced(machine: "Machine", oid: UUID) -> bool:
    """Say whether an agent may end a worker because it has not heard of its master."""
    agent = machine.agent
    return agent is not None and agent._leases is not None and oid in agent._leases.lapsed
