"""Looks on while a world runs, writes down what happens, and says at once when something is so that must never be."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from twisted.python.failure import Failure

from controlplane.errors import ControlPlaneError, InternalError
from controlplane.records.types import Oid
from controlplane.records.workers import WorkerSpec
from controlplane.services.specs import Compositions
from controlplane.store.catalog import (
    ACTIONS,
    AUDIT,
    CHILDREN,
    CLUSTERS,
    GROUPS,
    LOADS,
    MEMBERSHIPS,
    NODES,
    TALLIES,
    WORKERS,
)
from controlplane.store.database import View
from tests.simulation.announced import check_events
from tests.simulation.children import check_all_children, check_child, check_children
from tests.simulation.clock import Killed
from tests.simulation.commits import check_numbers, check_silence, check_statuses, check_versions
from tests.simulation.disk import Disk, Step
from tests.simulation.handling import Handling
from tests.simulation.history import History, Key, Write
from tests.simulation.lines import encode
from tests.simulation.machine import Machine
from tests.simulation.mirror import Changed, Mirror, occupies
from tests.simulation.observer import Observer
from tests.simulation.promises import Promises
from tests.simulation.wards import Wards, is_fenced
from tests.simulation.word import Word
from tests.simulation.world import World

LOOKED_AT = frozenset({ACTIONS.noun, CHILDREN.noun, GROUPS.noun, NODES.noun, WORKERS.noun})
"""Of what one row of a commit says something by itself."""

CHECKS = {
    check_numbers: {WORKERS.noun},
    check_versions: {NODES.noun, WORKERS.noun},
    check_statuses: {CLUSTERS.noun, GROUPS.noun, WORKERS.noun},
    check_silence: {NODES.noun},
}
"""What is looked at when a commit is whole, and of which rows it follows."""

OF_CHILDREN = {ACTIONS.noun, CHILDREN.noun}

EARLY_S = 0.001
"""By how much rounding may shorten a grace period."""


class Witness(Observer):
    """Everything that is noticed of one world."""

    def __init__(self) -> None:
        self.world: World | None = None
        self.lines: list[str] = []
        self.faults: Counter[str] = Counter()
        self.mirror = Mirror()
        self.handling = Handling()
        self.history = History()
        self.promises = Promises()
        self.wards = Wards()
        self.word = Word()
        self.commits = 0
        self.changes = 0
        """Commits that did more than to write down a refusal, as of an agent that was taken out and keeps trying."""

        self.starts_seen = 0
        self._offline_since: dict[str, float] = {}
        self._published = 0
        self._gap = True
        self._there: object = None
        """The session of the master that was seen last, and since when it is there."""

        self._came = float("inf")

        self.wall_jumped = float("-inf")
        """When a master last started with a wall clock that had jumped."""

    def digest(self) -> str:
        """Return the identity of everything that happened, in order."""
        return hashlib.blake2b("\n".join(self.lines).encode(), digest_size=16).hexdigest()

    # What happens

    def noted(self, line: str) -> None:
        self.lines.append(f"{self._now():.6f} {line}")

    def injected(self, kind: str) -> None:
        self.faults[kind] += 1

    def committed(self, steps: list[Step]) -> None:
        self.commits += 1
        self.changes += any(step.space != AUDIT.space for step in steps)
        last = self.mirror.last_event
        changes = []
        for change in self.mirror.take_all(steps):
            changes.append(change)
            if change.noun not in LOOKED_AT:
                continue
            self._say(self.promises.changed(change, self.mirror, self._now()))
            self._say(check_child(change, self.mirror))
            self._say(self.word.changed(change, self.mirror))
            if self.world is not None:
                self._say(self.wards.changed(change, self.mirror, self.world, self._offline_since))
            if change.noun == WORKERS.noun:
                self._say(self._check_move(change))
                self._say(self._check_gone(change))
            elif change.noun == NODES.noun:
                self._note_online(change)
        self.handling.assigned(changes, self.mirror)
        nouns = {change.noun for change in changes}
        for check, about in CHECKS.items():
            if not nouns.isdisjoint(about):
                self._say(check(self.mirror, changes))
        self._say(self.promises.committed(changes, self.mirror, self._now()))
        if not nouns.isdisjoint(OF_CHILDREN):
            self._say(check_children(self.mirror, changes))
        self._say(check_events(self.mirror, changes, last))

    def published(self, topic: str, payload: Mapping[str, Any]) -> None:
        seq = payload["seq"]
        self.noted(f"event {seq} {topic} {payload.get('oid', '')} {payload.get('status', '')}")
        stored = self.mirror.events.get(seq)
        if stored is None or stored["topic"] != topic or encode(stored["payload"]) != encode(payload):
            self._say([f"event {seq} {topic} was published and is not stored: {stored}"])
        if seq <= self._published or (seq != self._published + 1 and not self._gap):
            self._say([f"event {seq} was published after {self._published}"])
        self._published = seq
        self._gap = False

    def unheard(self) -> None:
        self._gap = True

    def cut_off(self) -> None:
        self.word.cut_off()

    def answered(self, authid: str, uri: str) -> None:
        self.word.answered(authid, uri)

    def agent_says(self, machine: Machine, arguments: Mapping[str, Any]) -> None:
        problem = self.handling.says(machine, arguments)
        self._say([problem] if problem else [])

    def agent_died(self, machine: Machine) -> None:
        self.handling.agent_died(machine)
        self.wards.look(machine, self._now())

    def starts(self, machine: Machine, spec: WorkerSpec) -> None:
        self.starts_seen += 1
        self.noted(f"{machine.name} begins to start worker {spec.oid} {spec.digest[:6]}")
        problem = self.handling.starts(machine, spec, self._now())
        self._say([problem] if problem else [])

    def started(self, machine: Machine, spec: WorkerSpec) -> None:
        self.promises.ran.add((str(spec.oid), spec.digest))

    def failed(self, machine: Machine, oid: Oid, digest: str, ran: float) -> None:
        self.handling.failed_again(machine, oid, digest, ran, self._now())

    def stops(self, machine: Machine, oid: Oid) -> None:
        self.noted(f"{machine.name} begins to stop worker {oid}")
        problem = None if is_fenced(machine, oid) else self.handling.stops(machine, oid, self.mirror)
        self._say([problem] if problem else [])

    def logged(self, event: Mapping[str, Any]) -> None:
        """Take in what the product logs: an exception that is no `ControlPlaneError` is a defect."""
        failure = event.get("log_failure")
        if failure is None or not isinstance(failure, Failure):
            return
        expected = failure.check(ControlPlaneError) and not failure.check(InternalError)
        if not expected and not failure.check(Killed):
            text = str(event.get("log_format"))
            self._say([f"{text}: {failure.type.__name__}: {failure.value}"])

    def note_wall_jump(self) -> None:
        """Take note that the master starts with a wall clock that has jumped."""
        self.wall_jumped = self.promises.wall_jumped = self.wards.wall_jumped = self._now()

    # What users were told

    def attempt(self, writes: Mapping[Key, Any]) -> list[tuple[Key, Write]]:
        """Take note that somebody is about to write."""
        return self.history.begin(writes, self._now())

    def replied(self, attempt: list[tuple[Key, Write]]) -> None:
        """Take note that the master says that it is written: it must be, by now."""
        kept = [(write, write.acknowledged) for _, write in attempt]
        self.history.acknowledge(attempt, self._now())
        self._say(self.history.check(self.mirror, [key for key, _ in attempt]))
        for write, before in kept:
            write.acknowledged = before

    def acknowledged(self, attempt: list[tuple[Key, Write]]) -> None:
        """Take note that a user was told that it is written."""
        self.history.acknowledge(attempt, self._now())

    def refused(self, attempt: list[tuple[Key, Write]]) -> None:
        """Take note that a user was told that nothing was written."""
        self.history.refused(attempt)

    def told(self, values: Mapping[Key, Any], begun: float | None = None) -> None:
        """Take note of what a user was told of something new, by a call that was made at this time."""
        attempt = self.history.begin(values, self._now() if begun is None else begun)
        self.history.acknowledge(attempt, self._now())

    def paired(self) -> set[str]:
        """Return the keys of all nodes."""
        return {node["pubkey"] for node in self.mirror.nodes.values()}

    # Looking at the whole

    def recovered(self) -> None:
        """Check what is on the disk after a kill or a power cut: everything that was committed, and nothing else."""
        assert self.world is not None
        disk = self.world.disk
        if isinstance(disk, Disk) and not self.mirror.agrees(disk.contents()):
            self._say(["what was committed is not what is on the disk"])
        self._say(self.history.check(self.mirror))

    def restored(self) -> None:
        """Begin anew with a store that was replaced by a backup."""
        assert self.world is not None
        assert isinstance(self.world.disk, Disk)
        self.mirror.load(self.world.disk.image())
        self.handling.begin_anew(self.mirror)
        self.history.begin_anew(self.mirror, self._now())
        self.promises.begin_anew(self.mirror, self._now())
        self.wards.begin_anew(self._now())
        self._published, self._gap = 0, True
        self._offline_since = {oid: -1e9 for oid, node in self.mirror.nodes.items() if not node["online"]}

    def audit(self) -> None:
        """Check what is derived against what it is derived from, and what agents hold against what they shall."""
        self._say(self._check_counts())
        self._say(self._check_assignments())
        self._say(self.promises.check(self.mirror, self._now(), self._there_since()))
        self._say(check_all_children(self.mirror))
        self._say(self.history.check(self.mirror))

    def _there_since(self) -> float:
        """Return since when the master has been there, and has had a router, as far as audits have seen."""
        assert self.world is not None
        master = self.world.network.master
        if master is None or master is not self._there:
            self._there, self._came = master, self._now()
        return self._came

    def check_configurations(self) -> None:
        """Check that what workers were given follows from what is stored, composed by one who remembers nothing."""
        assert self.world is not None
        compositions = Compositions()
        with self.world.disk.read() as transaction:
            view = View(transaction)
            for oid in self.mirror.workers:
                worker = view.rows(WORKERS).get(UUID(oid))
                cluster = view.rows(CLUSTERS).get(worker.cluster_oid)
                if worker.digest is None or worker.revision != cluster.revision:
                    continue
                if compositions.of(view, cluster, worker.revision).digest(worker, worker.links) != worker.digest:
                    self._say([f"worker {oid} was given a configuration that is not stored"])

    # Inside

    def _now(self) -> float:
        return 0.0 if self.world is None else self.world.clock.now

    def _say(self, problems: Iterable[str]) -> None:
        for problem in problems:
            self.noted(f"BROKEN {problem}")
            if self.world is not None:
                self.world.broken.append(problem)

    def _note_online(self, change: Changed) -> None:
        if change.after is not None and change.value("online")[0] and not change.after["online"]:
            self._offline_since[change.after["oid"]] = self._now()

    def _check_move(self, change: Changed) -> Iterable[str]:
        """A worker leaves its node for a cause: it carries the cluster no longer, is full, or silent for too long."""
        before, after = change.before, change.after
        if before is None or after is None or before["want"] != "RUN" or after["want"] != "RUN":
            return
        place, digest = before["node_oid"], before["digest"]
        if place is None or place == after["node_oid"] or digest is None:
            return
        if after["node_oid"] is None and before["rebuilds"] < after["rebuilds"]:
            return  # Somebody wants it made anew, on any node that has room.
        node = self.mirror.nodes.get(place)
        if node is None or not self.mirror.carries(after["cluster_oid"], place):
            return
        others = self.mirror.workers_of[after["cluster_oid"]].values()
        here = sum(other["node_oid"] == place and occupies(other) for other in others) + 1
        limit = self.mirror.most_on_a_node(after["cluster_oid"], place)
        if limit is not None and here > limit:
            return
        cluster = self.mirror.clusters[after["cluster_oid"]]
        silent_since = self._offline_since.get(place, -1e9)
        if node["online"]:
            yield f"worker {after['oid']} leaves {node['authid']}, which is online and carries its cluster"
        elif self._now() < silent_since + cluster["grace_period"] - EARLY_S and not silent_since <= self.wall_jumped:
            yield (
                f"worker {after['oid']} leaves {node['authid']} {self._now() - silent_since:.3f} s after that went "
                f"silent; its grace period is {cluster['grace_period']} s"
            )

    def _check_gone(self, change: Changed) -> Iterable[str]:
        """A worker counts as stopped when nothing of it runs, unless its node is silent for too long."""
        before, after = change.before, change.after
        if before is None or before["status"] != "STOPPING" or (after is not None and after["status"] != "STOPPED"):
            return
        node = self.mirror.nodes.get(before["node_oid"])
        if node is None or not node["online"] or self.world is None:
            return
        for machine in self.world.machines:
            if machine.pubkey == node["pubkey"] and UUID(before["oid"]) in machine.units:
                yield f"worker {before['oid']} counts as stopped, and runs on {machine.name}"

    def _check_counts(self) -> Iterable[str]:
        loads: Counter[str] = Counter()
        tallies: Counter[tuple[str, str | None, str]] = Counter()
        for worker in self.mirror.workers.values():
            if occupies(worker):
                loads[worker["node_oid"]] += 1
            state = "NEW" if worker["status"] == "STARTING" and worker["fresh"] else worker["status"]
            if worker["standby"] and worker["want"] == "RUN":
                state = "STANDBY" if worker["status"] == "RUNNING" else f"STANDBY_{worker['status']}"
            tallies[worker["cluster_oid"], worker["workergroup_oid"], state] += 1
        stored: Counter[tuple[str, str | None, str]] = Counter()
        for tally in self.mirror.totals(TALLIES):
            for state, number in tally["counts"].items():
                stored[tally["cluster_oid"], tally["workergroup_oid"], state] += number
        if stored != tallies:
            yield f"the tallies are not what the workers are: {stored - tallies} too many, {tallies - stored} missing"
        kept = Counter({row["node_oid"]: row["workers"] for row in self.mirror.totals(LOADS)})
        if +kept != loads:
            yield f"the loads are not what the workers are: {dict(kept)}, {dict(loads)}"
        members = {cluster for cluster, _ in self.mirror.members}
        if not members <= self.mirror.clusters.keys():
            yield f"{MEMBERSHIPS.noun}s of clusters that are gone"

    def _check_assignments(self) -> Iterable[str]:
        assert self.world is not None
        assigned = self.mirror.assigned()
        for machine in self.world.machines:
            agent, node = machine.agent, self.mirror.nodes.get(str(machine.oid))
            if agent is None or node is None or agent._version != node["assignment"]:
                continue
            if str(agent._epoch) != self.mirror.epoch(node["oid"]):
                continue
            held = {str(oid): entry.digest for oid, entry in agent._entries.items()}
            if held != assigned[node["oid"]]:
                yield f"{machine.name} holds the newest assignment, and not what is in it"
