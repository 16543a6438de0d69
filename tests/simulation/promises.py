"""What actions and policies promise, held against every commit, in other words than the product's own.

An action is seen from its record and from the rows around it: what was when it began, and what is when it ends. Time is
that of the simulation, which the clocks of masters only follow.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from controlplane.records.types import NANOSECONDS
from controlplane.store.catalog import ACTIONS, BINDINGS, CLUSTERS, GROUPS, WORKERS
from tests.simulation.batches import EARLY_S, Batches, pace_of
from tests.simulation.mirror import Changed, Mirror, Row, is_generic

ENDS = ("SUCCEEDED", "FAILED", "CANCELLED")
SICK = ("PENDING", "ERROR", "UNREACHABLE", "STOPPED")
GROWING = ("CLUSTER_SCALE_OUT", "CLUSTER_RESIZE")
SCALING = ("CLUSTER_SCALE_OUT", "CLUSTER_SCALE_IN")
OF_ALL = ("CLUSTER_CREATE", "CLUSTER_UPDATE")
SIZED = (*OF_ALL, *SCALING, "CLUSTER_RESIZE")
EXCHANGED = ("CLUSTER_REMOVE_WORKERS", "CLUSTER_REPLACE_WORKERS", "CLUSTER_RECOVER")
"""Together all actions after which the workers of a cluster are what its groups want."""

AWAY_S = 40.0
"""How long nobody may be there to look at an action, at most: masters that are killed one after the other."""

HEARS_WITHIN_S = 10.0
"""How long a master concludes nothing at most, because agents have not said yet what runs: some do not return."""


class Begun(NamedTuple):
    """What was so when an action began."""

    at: float
    scales: dict[str, int]
    """Of the groups of its cluster."""

    profile: str | None
    config: Any
    """Of the revision that its cluster had."""


class Promises:
    """What is known of actions and policies."""

    def __init__(self) -> None:
        self.ran: set[tuple[str, str]] = set()
        """Workers that really came up, each with the digest of its configuration."""

        self.ended: dict[str, int] = {}
        """How many actions of which kind came to which end."""

        self.wall_jumped = float("-inf")
        """When a master last started with a wall clock that had jumped."""

        self._begun: dict[str, Begun] = {}
        self._scales: dict[str, int] = {}
        """Of every group, as no running action has changed it."""

        self._batches = Batches()
        self._rest_since: dict[str, float] = {}
        """When a scaling that a binding saw ended last."""

        self._leaving: dict[str, list[Row]] = {}
        """Workers, as they were, that were told to go in the commit that is looked at, by cluster."""

        self._undone: list[tuple[Row, Begun]] = []
        """Actions that ended in this commit without success."""

        self._shrunk: dict[str, tuple[str, str]] = {}
        self._were: dict[str, str] = {}
        """The statuses of workers before a commit that changes them."""

        """Cluster and group of actions that began in this commit and left the choice of who goes to a pass."""

    def begin_anew(self, mirror: Mirror, now: float) -> None:
        """Take note that the store was replaced by a backup."""
        ended, ran = self.ended, self.ran
        self.__init__()  # type: ignore[misc]
        self.ended, self.ran, self.wall_jumped = ended, ran, now
        self._scales = {oid: group["scale"] for oid, group in mirror.groups.items()}

    # One change after the other

    def changed(self, change: Changed, mirror: Mirror, now: float) -> Iterator[str]:
        """Look at one row of a commit, when those before it are as they are."""
        match change.noun:
            case ACTIONS.noun:
                yield from self._of_action(change, mirror, now)
            case WORKERS.noun:
                self._of_worker(change, mirror, now)
            case GROUPS.noun if change.after is not None:
                yield from self._of_group(change.after, mirror)
            case _:
                pass

    def _of_group(self, row: Row, mirror: Mirror) -> Iterator[str]:
        self._scales.setdefault(row["oid"], row["scale"])
        cluster = mirror.clusters.get(row["cluster_oid"])
        if cluster is None or cluster["deleting"]:
            return
        high = row["max_size"]
        if row["scale"] < row["min_size"] or (high is not None and row["scale"] > high):
            yield (
                f"cluster {cluster['name']} wants {row['scale']} workers; between {row['min_size']} and {high} are "
                "admitted"
            )

    # Actions

    def _of_action(self, change: Changed, mirror: Mirror, now: float) -> Iterator[str]:
        before, row = change.before, change.after
        if row is None:
            yield f"an action was forgotten: {before}"
            return
        if before is not None and before["status"] in ENDS:
            yield f"action {row['name']} had ended with {before['status']}, and was changed afterwards"
        if before is None:
            yield from self._begins(row, mirror, now)
        elif before["phase"] != row["phase"] == "roll back" and row["kind"] in GROWING:
            yield from self._taken_back(row, mirror)
        if row["status"] in ENDS and (before is None or before["status"] not in ENDS):
            yield from self._ends(row, mirror, now)

    def _begins(self, row: Row, mirror: Mirror, now: float) -> Iterator[str]:
        home = row["cluster_oid"]
        cluster = mirror.clusters[home]
        revision = mirror.revisions.get((home, cluster["revision"]))
        self._begun[row["oid"]] = Begun(
            now,
            {group["oid"]: self._scales[group["oid"]] for group in mirror.groups_in(home)},
            cluster["profile_oid"],
            revision and revision["config"],
        )
        if cluster["deleting"] and row["kind"] in SIZED + EXCHANGED:
            yield f"action {row['name']} was begun on {cluster['name']}, which is being deleted"
        if row["kind"] in SCALING:
            yield from self._rests(row, mirror, now)
        gone = self._leaving.pop(home, [])
        if row["kind"] in ("CLUSTER_SCALE_IN", "CLUSTER_RESIZE") and row["group_oid"] is not None:
            yield from self._chosen(row, gone, mirror)
            if not mirror.rules(home, "deletion"):
                self._shrunk[home] = (row["name"], row["group_oid"])
        if row["kind"] == "CLUSTER_RECOVER" and row["cause"] != "policy" and not row["inputs"].get("check"):
            named = row["inputs"]["workers"]
            sick = [e for e in _counted(mirror, home) if self._is_sick(e)]
            if _is_exchange(row):
                sick = [each for each in sick if not each["protected"]]
            kept = [e["oid"] for e in sick if e["oid"] not in named]
            if kept:
                yield f"action {row['name']} keeps workers that are sick: {kept}"
            healthy = [e["oid"] for e in _counted(mirror, home) if e["status"] not in SICK and e["oid"] in named]
            if healthy:
                yield f"action {row['name']} brings workers back that are healthy: {healthy}"

    def _rests(self, row: Row, mirror: Mirror, now: float) -> Iterator[str]:
        """A policy that rests refuses."""
        for binding, rule in mirror.rules(row["cluster_oid"], "scaling"):
            since = self._rest_since.get(binding["oid"])
            if rule["event"] != row["kind"] or since is None or since <= self.wall_jumped:
                continue
            if now < since + rule["adjustment"]["cooldown"] - EARLY_S:
                yield (
                    f"action {row['name']} began {now - since:.3f} s after the last scaling; the cooldown is "
                    f"{rule['adjustment']['cooldown']} s"
                )

    def _chosen(self, row: Row, gone: list[Row], mirror: Mirror) -> Iterator[str]:
        """Those who go are sick, or nobody is; among the healthy the criteria of the deletion policy say who."""
        rules = mirror.rules(row["cluster_oid"], "deletion")
        criteria = rules[0][1]["criteria"] if rules else "HIGHEST_INDEX"
        here = [each for each in gone if each["workergroup_oid"] == row["group_oid"]]
        stay = [each for each in _counted(mirror, row["cluster_oid"]) if each["workergroup_oid"] == row["group_oid"]]
        yield from self._wrong_choice(row["name"], criteria, here, stay)

    def _ends(self, row: Row, mirror: Mirror, now: float) -> Iterator[str]:
        shown = f"action {row['name']}"
        key = f"{row['kind']} {row['status']}"
        self.ended[key] = self.ended.get(key, 0) + 1
        if row["status"] != "SUCCEEDED" and not row["reason"]:
            yield f"{shown} has {row['status']}, and nobody knows why"
        if row["ended"] is None or row["phase"] != "over":
            yield f"{shown} has {row['status']}, and is in phase {row['phase']}"
        begun = self._begun.pop(row["oid"], None)
        home = row["cluster_oid"]
        if row["kind"] in SCALING:
            for binding, _ in mirror.rules(home, "scaling"):
                self._rest_since[binding["oid"]] = now
        if row["status"] == "SUCCEEDED":
            yield from (f"{shown} has SUCCEEDED, and {wrong}" for wrong in self._not_as_promised(row, begun, mirror))
        elif begun is not None:
            self._undone.append((row, begun))
        for group in mirror.groups_in(home):
            self._scales[group["oid"]] = group["scale"]

    def _not_as_promised(self, row: Row, begun: Begun | None, mirror: Mirror) -> Iterator[str]:
        """What an action that succeeded says is so."""
        home, kind = row["cluster_oid"], row["kind"]
        workers = list(mirror.workers_of[home].values())
        if kind == "CLUSTER_DELETE":
            left = [home in mirror.clusters, bool(workers), bool(mirror.groups_in(home)), bool(mirror.bindings[home])]
            if any([*left, any(each["cluster_oid"] == home for each in mirror.receivers.values())]):
                yield "something of the cluster is left"
            return
        if kind not in SIZED + EXCHANGED:
            return
        cluster = mirror.clusters[home]
        leaving = [each["oid"] for each in workers if each["want"] == "REMOVE" and not each["standby"]]
        if leaving:
            yield f"workers are still leaving: {leaving}"
        named = row["inputs"].get("workers") or ()
        if _is_exchange(row) and any(each["oid"] in named for each in workers):
            yield "a worker that it was to take out is there"
        for group in mirror.groups_in(home) if cluster["run"] else ():
            here = [each for each in workers if each["workergroup_oid"] == group["oid"] and each["want"] == "RUN"]
            if len(here) != group["scale"]:
                yield f"there are {len(here)} workers; {group['scale']} are wanted"
            if begun is not None and group["oid"] == row["group_oid"]:
                yield from _not_resized(row, begun.scales.get(group["oid"], 0), group)
            for each in here:
                if kind in OF_ALL or each["made_for"] == row["oid"]:
                    yield from self._not_running(each, cluster)
        if kind == "CLUSTER_UPDATE":
            wanted = mirror.definitions.get(row["inputs"]["profile"])
            found = mirror.revisions[home, cluster["revision"]]["config"]
            if wanted is not None and found["properties"] != wanted["spec"]["properties"]:
                yield f"the cluster has {found}, not the spec of the profile"

    def _not_running(self, worker: Row, cluster: Row) -> Iterator[str]:
        if worker["status"] != "RUNNING" or worker["seen_digest"] != worker["digest"]:
            yield f"worker {worker['oid']} is {worker['status']}"
        elif is_generic(cluster) and worker["revision"] != cluster["revision"]:
            yield f"worker {worker['oid']} has revision {worker['revision']}, not {cluster['revision']}"
        elif (worker["oid"], worker["digest"]) not in self.ran:
            yield f"worker {worker['oid']} never came up with its configuration"

    def _not_undone(self, row: Row, begun: Begun, mirror: Mirror, in_time: bool) -> Iterator[str]:
        """What an action that failed or was cancelled left behind."""
        home = row["cluster_oid"]
        cluster = mirror.clusters[home]
        if row["kind"] == "CLUSTER_UPDATE":
            found = mirror.revisions[home, cluster["revision"]]["config"]
            if found != begun.config or cluster["profile_oid"] != begun.profile:
                yield f"the cluster has {found}, and had {begun.config}"
            placed = [each for each in _counted(mirror, home) if each["digest"] is not None]
            behind = [each["oid"] for each in placed if each["revision"] != cluster["revision"]]
            if behind and in_time:
                yield f"workers do not have the former configuration: {behind}"
        if row["kind"] in GROWING and row["group_oid"] in mirror.groups and in_time:
            scale, before = mirror.groups[row["group_oid"]]["scale"], begun.scales[row["group_oid"]]
            own = _own(row, mirror)
            if scale > before + len(own):
                yield f"{scale} workers are wanted: {before} were, and {len(own)} of its own are left"

    def _taken_back(self, row: Row, mirror: Mirror) -> Iterator[str]:
        """What is left of a growth that is taken back is what runs."""
        group, begun = mirror.groups.get(row["group_oid"]), self._begun.get(row["oid"])
        if begun is not None and group is not None:
            before = begun.scales[group["oid"]]
            runs = sum(each["status"] == "RUNNING" or each["protected"] for each in _own(row, mirror))
            if group["scale"] > before + runs:
                yield f"action {row['name']} keeps {group['scale']} workers: {before} were, and {runs} of its own run"

    def _wrong_choice(self, name: str, criteria: str, gone: list[Row], stay: list[Row]) -> Iterator[str]:
        healthy = [each for each in gone if each["status"] not in SICK]
        stay = [each for each in stay if not each["protected"]]
        spared = [each["oid"] for each in stay if self._is_sick(each)]
        if healthy and spared:
            yield f"action {name} takes out workers that are healthy, and keeps {spared}, which are sick"
        rest = [each for each in stay if each["status"] not in SICK]
        if not healthy or not rest:
            return
        worst = None
        match criteria:
            case "OLDEST_FIRST":
                worst = max(e["created"] for e in healthy) > min(e["created"] for e in rest)
            case "YOUNGEST_FIRST":
                worst = min(e["created"] for e in healthy) < max(e["created"] for e in rest)
            case "OLDEST_PROFILE_FIRST":
                worst = max(e["revision"] for e in healthy) > min(e["revision"] for e in rest)
            case "HIGHEST_INDEX":
                worst = min(e["index"] for e in healthy) < max(e["index"] for e in rest)
        if worst:
            yield f"action {name} takes out others than {criteria} says: {[e['oid'] for e in healthy]}"

    def _is_sick(self, worker: Row) -> bool:
        """Say whether a worker is not well, and was not before the commit: it may have failed after what is judged."""
        return worker["status"] in SICK and self._were.get(worker["oid"], worker["status"]) in SICK

    # Workers

    def _of_worker(self, change: Changed, mirror: Mirror, now: float) -> None:
        before, after = change.before, change.after
        if before is None:
            return
        home = before["cluster_oid"]
        self._were[before["oid"]] = before["status"]
        goes = before["want"] != "REMOVE" and (after is None or after["want"] == "REMOVE")
        if goes and not before["standby"]:
            self._leaving.setdefault(home, []).append(before)
        cluster = mirror.clusters.get(home)
        if cluster is not None and is_generic(cluster) and not before["standby"]:
            self._batches.changed(before, after, pace_of(cluster, mirror), now)

    # A commit as a whole

    def committed(self, changes: list[Changed], mirror: Mirror, now: float) -> Iterator[str]:
        """Look at the end of a commit: locks, and who was told to go without an action."""
        touched: dict[str, None] = {}
        for change in changes:
            row = change.after or change.before
            if row is not None and change.noun in (ACTIONS.noun, CLUSTERS.noun):
                touched[row["cluster_oid"] if change.noun == ACTIONS.noun else row["oid"]] = None
            if change.noun == BINDINGS.noun and change.before is None and row is not None:
                self._rest_since.pop(row["oid"], None)
        if touched:
            yield from _locks(mirror, touched)
        for home, gone in self._leaving.items():
            cluster = mirror.clusters.get(home)
            if cluster is None or not is_generic(cluster) or cluster["deleting"]:
                continue
            if home in self._shrunk:
                name, group = self._shrunk[home]
                stay = [each for each in _counted(mirror, home) if each["workergroup_oid"] == group]
                yield from self._wrong_choice(name, "HIGHEST_INDEX", gone, stay)
            elif cluster["action_oid"] is None and not any(_is_end(change, home) for change in changes):
                yield f"workers of {cluster['name']} are told to go, and no action says so: {[e['oid'] for e in gone]}"
        yield from self._batches.committed(mirror, now, self.wall_jumped)
        for row, begun in self._undone:
            cluster = mirror.clusters.get(row["cluster_oid"])
            if cluster is not None and not cluster["deleting"] and cluster["action_oid"] is None:
                # A commit that a slow disk held up is seen later than it was begun.
                took = max(now - begun.at, (row["ended"] - row["created"]) / NANOSECONDS)
                in_time = took < 2 * row["timeout"] - EARLY_S and begun.at > self.wall_jumped
                wrong = self._not_undone(row, begun, mirror, in_time)
                yield from (f"action {row['name']} has {row['status']}, and {each}" for each in wrong)
        self._leaving.clear()
        self._shrunk.clear()
        self._were.clear()
        self._undone.clear()

    def check(self, mirror: Mirror, now: float, there_since: float) -> Iterator[str]:
        """Look at the whole: every action that runs holds its cluster, and none runs for longer than it may.

        The master has been there, and reached by agents, since `there_since`.
        """
        yield from _locks(mirror, mirror.clusters)
        for row in mirror.actions.values():
            if row["status"] in ENDS:
                continue
            if row["cluster_oid"] not in mirror.clusters:
                yield f"action {row['name']} runs, and its cluster is gone"
            begun = self._begun.get(row["oid"])
            since = self.wall_jumped if begun is None else max(begun.at, self.wall_jumped)
            if now > max(since + 2 * row["timeout"] + AWAY_S, there_since + HEARS_WITHIN_S):
                yield f"action {row['name']} runs for {now - since:.1f} s; its timeout is {row['timeout']} s"

    def until(self, mirror: Mirror, since: float) -> float:
        """Return until when all actions have to have ended, of which it may take twice the timeout."""
        running = [row for row in mirror.actions.values() if row["status"] not in ENDS]
        ends = []
        for row in running:
            begun = self._begun.get(row["oid"])
            ends.append(max(since if begun is None else begun.at, self.wall_jumped) + 2 * row["timeout"])
        return max(since, *ends) if ends else since


def _is_exchange(action: Row) -> bool:
    """Say whether the workers that an action names are to be no more, or in no cluster, when it has succeeded."""
    return action["kind"] != "CLUSTER_RECOVER" or action["inputs"].get("operation") == ["RECREATE"]


def _is_end(change: Changed, home: str) -> bool:
    after = change.after
    return change.noun == ACTIONS.noun and after is not None and after["cluster_oid"] == home


def _counted(mirror: Mirror, cluster: str) -> list[Row]:
    """Return the workers of a cluster's groups that are to stay."""
    workers = mirror.workers_of[cluster].values()
    return [each for each in workers if each["want"] != "REMOVE" and each["workergroup_oid"] is not None]


def _own(action: Row, mirror: Mirror) -> list[Row]:
    """Return the workers that were made for an action that grows a group."""
    counted = _counted(mirror, action["cluster_oid"])
    mine = [each for each in counted if each["workergroup_oid"] == action["group_oid"]]
    return [each for each in mine if each["made_for"] == action["oid"]]


def _locks(mirror: Mirror, clusters: Iterable[str]) -> Iterator[str]:
    """An action runs as long as it is written into its cluster, and one at a time."""
    wanted = dict.fromkeys(clusters)
    running: dict[str, list[str]] = {}
    for row in mirror.actions.values():
        if row["status"] not in ENDS and row["cluster_oid"] in wanted:
            running.setdefault(row["cluster_oid"], []).append(row["oid"])
    for oid in wanted:
        cluster = mirror.clusters.get(oid)
        if cluster is None:
            if oid in running:
                yield f"actions {running[oid]} run, and their cluster {oid} is gone"
            continue
        held = [] if cluster["action_oid"] is None else [cluster["action_oid"]]
        if running.get(oid, []) != held:
            yield f"cluster {cluster['name']} is locked by {held}, and {running.get(oid, [])} run"


def _not_resized(row: Row, before: int, group: Row) -> Iterator[str]:
    """What was asked for in numbers is what the group wants."""
    asked = row["inputs"]
    wanted = None
    if asked.get("strict") and asked.get("adjustment") == "EXACT_CAPACITY":
        wanted = asked["number"]
    elif asked.get("strict") and asked.get("adjustment") == "CHANGE_IN_CAPACITY":
        wanted = max(0, before + asked["number"])
    if wanted is not None and group["scale"] != wanted:
        yield f"{group['scale']} workers are wanted, not {wanted}"
