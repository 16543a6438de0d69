"""What is to become of the workers of one cluster: a pure function from what is wanted and seen to new records.

A pass goes in this order:

1. How many workers each group shall have; surplus ones are chosen by the removal rule.
2. Which workers must leave their node, and why; all others stay where they are.
3. Places for those that have none, routers before the frontends that need them.
4. Configurations: workers that serve nobody get the newest at once; those that serve, one at a time, routers first.

The result is the changed workers as they shall be stored, so a pass over its own result changes nothing.
"""

from collections.abc import Collection, Iterable, Mapping
from math import inf
from typing import Any

import msgspec

from controlplane.core.balancing import drain_of, is_drained
from controlplane.core.farewells import next_farewell, waited, why_over
from controlplane.core.fencing import gone_at, may_still_run, why_waited_for
from controlplane.core.placement import (
    NOWHERE,
    Placement,
    Site,
    is_lost,
    leaving,
    lost_at,
    obstacle_to_tunnels,
    occupies,
    over_limits,
)
from controlplane.core.removal import by_index, missing_indexes, surplus_of_group, surplus_routers
from controlplane.core.router_clusters import RENEWALS, TUNNEL
from controlplane.core.situation import HEAR_AGAIN_S, OWN_SOCKET, Plan, Situation
from controlplane.core.spreading import Spread
from controlplane.records.nodes import Node
from controlplane.records.types import NANOSECONDS, Instant, Oid
from controlplane.records.workers import Want, Worker, WorkerStatus

WAITS_FOR_ROUTER = "waits for the router workers of its cluster to get a place"


def plan_cluster(situation: Situation) -> Plan:
    """Return what brings a router cluster nearer to what is wanted of it."""
    return Pass(situation).run()


class Pass:
    """One pass: the workers as they become, beside the workers as they were."""

    UNGROUPED_FIRST = True
    """Whether workers in no group have places before those of groups."""

    def __init__(self, situation: Situation) -> None:
        self.s = situation
        self.plan = Plan(unheard=situation.unheard)
        rules = situation.cluster.placement
        self._spread = None if rules is None else Spread(rules)
        self.placement = Placement(situation.candidates, situation.driver, self._spread)
        self.were = {worker.oid: worker for worker in situation.workers}
        self.become = dict(self.were)
        self._added = 0
        self._sites: dict[Oid, Site] | None = None
        """Of every worker that shall run on a member node; None until somebody asks."""

    def run(self) -> Plan:
        """Return what is to be stored."""
        kept = self._choose()
        if self.s.cluster.run:
            self._place(kept)
            self._configure(kept)
        else:
            for oid in kept:
                self._stop(oid, Want.STOP)
        self.plan.without_room = sum(_has_no_room(self.become[oid]) for oid in kept) if self.s.cluster.run else 0
        self._end_drains()
        self._give_up_on_silent_nodes()
        self._compare()
        return self.plan

    def _set(self, oid: Oid, **fields: Any) -> Worker:
        if "digest" in fields:
            fields["given"] = None
        self.become[oid] = changed = msgspec.structs.replace(self.become[oid], **fields)
        self._note_site(changed)
        return changed

    def _compare(self) -> None:
        # Somebody waits until workers have been as they are for a while: a clock that was set back does not prolong it.
        waited_for = self.s.cluster.action_oid is not None or not self.plan.rolled
        for oid, worker in self.become.items():
            before = self.were.get(oid)
            gone = worker.want is Want.REMOVE and worker.status is WorkerStatus.STOPPED
            if before is None:
                self.plan.added.append(worker)
            elif gone:
                self.plan.removed.append(worker)
            elif worker is not before and worker != before:
                self.plan.changed.append((before, worker))
            elif waited_for and worker.changed > self.s.now:
                self.plan.changed.append((before, worker))
                self._look_again_at(self.s.now)

    # 1. How many

    def _choose(self) -> list[Oid]:
        """Choose who stays, add what is missing, and have the surplus stopped; return who stays, routers first."""
        scales: dict[Oid | None, int] = {group.oid: group.scale for group in self.s.groups}
        order: dict[Oid | None, float] = {group.oid: group.created for group in self.s.groups}
        scales[None] = self._ungrouped(scales)
        order[None] = 0 if self.UNGROUPED_FIRST else inf
        members: dict[Oid | None, list[Worker]] = {group: [] for group in scales}
        for worker in list(self.become.values()):
            if worker.want is Want.REMOVE:
                continue
            of_group = members.get(worker.workergroup_oid)
            if worker.farewell is not None:
                self._see_off(worker)
            elif of_group is not None:
                of_group.append(worker)
            else:
                self._stop(worker.oid, Want.REMOVE)
        held = self._held_places()
        kept: list[Oid] = []
        for group in sorted(scales, key=lambda oid: (order[oid], oid.bytes if oid else b"")):
            stay = self._who_stay(group, members[group], scales[group])
            missing = self._missing(group, stay, scales[group], held.get(group, ()))
            chosen = [*stay, *(self._add(group, index) for index in missing[: self._room(len(missing))])]
            kept.extend(worker.oid for worker in sorted(chosen, key=by_index))
        return kept

    def _held_places(self) -> dict[Oid | None, list[int]]:
        """Return the indexes in each group of who is to go and may still run on a silent node: they are not free."""
        held: dict[Oid | None, list[int]] = {}
        for worker in self.s.workers if self.s.cluster.fence_after is not None else ():
            node = self.s.nodes.get(worker.node_oid) if worker.node_oid else None
            stopping = worker.want is Want.REMOVE and worker.status is WorkerStatus.STOPPING
            if stopping and may_still_run(self.s.cluster, worker, node, self.s.now):
                held.setdefault(worker.workergroup_oid, []).append(worker.index)
        return held

    def _who_stay(self, group: Oid | None, workers: list[Worker], scale: int) -> list[Worker]:
        """Have the surplus of a group stopped, and return the others."""
        if len(workers) <= scale:
            return workers
        going: list[Worker]
        if self.s.cluster.deleting:
            going = workers
        elif group is None:
            going = self._surplus_ungrouped(workers, scale)
        else:
            going = surplus_of_group(workers, scale, self.s.cluster.placement, self.s.nodes)
        for worker in going:
            self._stop(worker.oid, Want.REMOVE)
        return [worker for worker in workers if self.become[worker.oid].want is not Want.REMOVE]

    def _see_off(self, worker: Worker) -> None:
        """Let a worker that will go run on as long as it waits for something, in nobody's place."""
        node = self.s.nodes.get(worker.node_oid) if worker.node_oid else None
        grace = self.s.cluster.grace_period
        waits = next_farewell(worker, node, grace, self.s.now) if self.s.cluster.run else None
        if waits is None:
            assert worker.farewell is not None
            otherwise = why_over(worker, node, grace, self.s.now, run=self.s.cluster.run)
            self.plan.waited.append(waited(worker, worker.farewell, otherwise))
            self._stop(worker.oid, Want.REMOVE)
            return
        if waits != worker.farewell:
            self._set(worker.oid, farewell=waits)
        self._look_again_at(waits.until)
        if node is not None and not node.online:
            self._look_again_at(lost_at(node, grace))

    def _room(self, missing: int) -> int:
        """Return how many workers this pass may still add; the next pass, for more, is to come at once."""
        room = missing if self.s.added_max is None else max(0, self.s.added_max - self._added)
        if room < missing:
            self._look_again_at(self.s.now)
        return room

    def _ungrouped(self, scales: Mapping[Oid | None, int]) -> int:
        """Return how many workers in no group there shall be: routers."""
        return self.s.cluster.routers if any(scales.values()) else 0

    def _surplus_ungrouped(self, workers: list[Worker], scale: int) -> list[Worker]:
        return surplus_routers(workers, scale)

    def _missing(self, _group: Oid | None, stay: list[Worker], scale: int, held: Collection[int]) -> list[int]:
        return missing_indexes(stay, scale, self.s.cluster.run, held)

    def _add(self, group: Oid | None, index: int) -> Worker:
        self._added += 1
        worker = Worker(
            oid=self.s.new_oid(),
            cluster_oid=self.s.cluster.oid,
            workergroup_oid=group,
            index=index,
            created=self.s.now,
            changed=self.s.now,
            made_for=self.s.cluster.action_oid,
        )
        self.become[worker.oid] = worker
        return worker

    def _stop(self, oid: Oid, want: Want) -> None:
        worker = self.become[oid]
        if worker.want is not want:
            drain = drain_of(self.s.cluster, worker, self.s.now) if want is Want.REMOVE else None
            self._set(oid, **leaving(worker, want, drain))

    def _end_drains(self) -> None:
        """Have workers stopped to which their load balancer sends nobody any more."""
        for oid, worker in self.become.items():
            if worker.drain is not None and worker.want is Want.REMOVE:
                if is_drained(self.s.cluster, worker.drain, self.s.now):
                    self._set(oid, drain=None)
                else:
                    self._look_again_at(worker.drain.until)

    def _give_up_on_silent_nodes(self) -> None:
        """Take a worker for stopped when its node is lost: the agent is told on its return."""
        for oid, worker in self.become.items():
            if worker.status is WorkerStatus.STOPPING:
                node = self.s.nodes.get(worker.node_oid) if worker.node_oid else None
                waits = may_still_run(self.s.cluster, worker, node, self.s.now)
                reason = why_waited_for(worker, node if waits else None)
                if reason != worker.reason:
                    self._set(oid, reason=reason)
                if node is not None and waits:
                    self._look_again_at(gone_at(self.s.cluster, worker, node))
                elif is_lost(node, self.s.cluster.grace_period, self.s.now):
                    self._set(oid, status=WorkerStatus.STOPPED)
                elif node is not None and not node.online:
                    self._look_again_at(lost_at(node, self.s.cluster.grace_period))

    # 2. and 3. Where

    def _place(self, kept: list[Oid]) -> None:
        leaving = self._over_limit(kept)
        if self._spread is not None:
            self._count_places(self._spread, kept, leaving)
        for oid in kept:
            worker = self.become[oid]
            cause = self._cause_to_leave(worker, leaving)
            if worker.node_oid is None or cause is not None:
                self._move(worker, cause, may_wait=worker.oid not in leaving)
            elif worker.want is Want.STOP and worker.status is WorkerStatus.STOPPED:
                self._resume(worker)

    def _count_places(self, spread: Spread, kept: list[Oid], leaving: set[Oid]) -> None:
        staying = [
            (worker.workergroup_oid, self.s.nodes[worker.node_oid])
            for worker in map(self.become.__getitem__, kept)
            if worker.node_oid is not None and occupies(worker) and self._cause_to_leave(worker, leaving) is None
        ]
        spread.begin(staying, [c.node for c in self.s.candidates.values() for _ in range(c.of_cluster)])

    def _move(self, worker: Worker, cause: str | None, *, may_wait: bool = False) -> None:
        """Give a worker another place; without one it may wait on a silent node, unless it is too many there."""
        if worker.node_oid is not None and worker.status not in NOWHERE:
            self.placement.release(worker.node_oid)
        self.placement.bind(self._site(worker))
        node = self.placement.place(worker.workergroup_oid)
        if node is not None:
            self._set(
                worker.oid,
                **_NOT_RUNNING,
                want=Want.RUN,
                node_oid=node.oid,
                status=WorkerStatus.STARTING,
                reason=cause,
                fresh=worker.fresh or worker.want is Want.STOP,
            )
        elif (
            may_wait
            and worker.want is Want.RUN
            and self._is_silent(worker)
            and self.placement.hold(worker.node_oid, worker.workergroup_oid)
        ):
            # Its node may come back with the worker still running; nowhere would be worse. Who is beyond a hard limit
            # would have to go then: a node is never said to carry more than that, be it silent or not.
            return
        else:
            self._suspend(worker, self.placement.why_not())

    def _suspend(self, worker: Worker, reason: str) -> None:
        self._set(worker.oid, **_NOT_RUNNING, want=Want.RUN, node_oid=None, status=WorkerStatus.PENDING, reason=reason)

    def _resume(self, worker: Worker) -> None:
        """Start a stopped worker where it ran before, if it still fits there."""
        self.placement.bind(self._site(worker))
        cause = self.placement.take(worker.node_oid, worker.workergroup_oid) if worker.node_oid else None
        if cause is None:
            self._set(worker.oid, **_NOT_RUNNING, want=Want.RUN, status=WorkerStatus.STARTING, fresh=True, reason=None)
        else:
            self._move(worker, f"its former node: {cause}")

    def _cause_to_leave(self, worker: Worker, leaving: set[Oid]) -> str | None:
        """Return why a worker cannot stay where it is, or None when it can or is nowhere."""
        if worker.node_oid is None:
            return None
        node = self.s.nodes.get(worker.node_oid)
        if node is not None and may_still_run(self.s.cluster, worker, node, self.s.now):
            self._look_again_at(gone_at(self.s.cluster, worker, node))
            return None
        if node is None or node.oid not in self.s.candidates:
            return "its node no longer carries the cluster"
        if worker.oid in leaving:
            return "its node carries more workers of the cluster than its hardlimit"
        if not node.online:
            grace = self.s.cluster.grace_period
            if is_lost(node, grace, self.s.now):
                return f"its node {node.authid} was offline for longer than {grace:g} s"
            self._look_again_at(lost_at(node, grace))
        return None

    def _is_silent(self, worker: Worker) -> bool:
        node = self.s.nodes.get(worker.node_oid) if worker.node_oid else None
        return node is not None and not node.online

    def _over_limit(self, kept: Iterable[Oid]) -> set[Oid]:
        """Choose who leaves nodes whose hard limit was lowered: the last ones first, routers last."""
        crowded = over_limits(self.s.candidates.values())
        if not crowded:
            return set()
        here: dict[Oid | None, list[Oid]] = {}
        for oid in kept:
            if occupies(self.become[oid]):
                here.setdefault(self.become[oid].node_oid, []).append(oid)
        leaving: set[Oid] = set()
        for candidate in crowded:
            of_node = here.get(candidate.node.oid, [])
            # Those that are stopping already are among the ones that are too many.
            too_many = candidate.of_cluster - (candidate.hardlimit or 0)
            leaving.update(of_node[max(0, len(of_node) - too_many) :])
        return leaving

    def _site(self, worker: Worker) -> Site | None:
        """Return a machine that the cluster has other workers on: all its workers have to be connected."""
        if self._sites is None:
            self._sites = {}
            for other in self.become.values():
                self._note_site(other)
        return next((site for oid, site in self._sites.items() if oid != worker.oid), None)

    def _note_site(self, worker: Worker) -> None:
        if self._sites is None:
            return
        place = self.s.candidates.get(worker.node_oid) if worker.node_oid else None
        if place is not None and place.node.facts is not None and worker.want is Want.RUN:
            self._sites[worker.oid] = Site(place.node.facts.machine, obstacle_to_tunnels(place.node))
        else:
            self._sites.pop(worker.oid, None)

    # 4. What they run

    def _configure(self, kept: list[Oid]) -> None:
        routers = [oid for oid in kept if self.become[oid].workergroup_oid is None]
        frontends = [oid for oid in kept if self.become[oid].workergroup_oid is not None]
        links = self._links(routers)
        complete = len(links) == len(routers)
        in_order = routers + (frontends if complete else [])
        wanted = {oid: self._links_of(oid, links, routers) for oid in in_order if self.become[oid].node_oid}
        targets = {oid: self.s.digest(self.become[oid], wanted[oid]) for oid in wanted}
        for oid in frontends if not complete else []:
            if self.become[oid].digest is None:
                self._suspend_again(oid)
        unproven = [oid for oid in targets if self._is_unproven(self.become[oid], targets[oid])]
        for oid, target in targets.items():
            worker = self.become[oid]
            if worker.want is not Want.RUN:
                continue
            if worker.digest == target:
                # The revision that it was given is forgotten once all workers have the newest.
                if (worker.revision, worker.links) != (self.s.cluster.revision, wanted[oid]):
                    self._set(oid, revision=self.s.cluster.revision, links=wanted[oid])
                continue
            if worker.status is WorkerStatus.RUNNING and worker.links == wanted[oid]:
                # It serves: at most one of those at a time, and only while the one before proved itself.
                if unproven or self._waits_for_word():
                    continue
                unproven.append(oid)
            self._set(oid, digest=target, revision=self.s.cluster.revision, links=wanted[oid])
        self.plan.rolled = complete and all(
            self.become[oid].digest == target and not self._is_unproven(self.become[oid], target)
            for oid, target in targets.items()
        )

    def _links(self, routers: list[Oid]) -> dict[str, str]:
        return {str(self.become[oid].index): self._socket(oid) for oid in routers if self.become[oid].node_oid}

    def _links_of(self, oid: Oid, links: dict[str, str], routers: list[Oid]) -> dict[str, str]:
        worker = self.become[oid]
        if worker.workergroup_oid is None:
            return {OWN_SOCKET: self._socket(oid)}
        found = dict(links)
        node = self._node_of(worker)
        for router in (self.become[oid] for oid in routers):
            home = self._node_of(router)
            if home.oid != node.oid:
                if home.facts is None or node.facts is None or home.facts.machine != node.facts.machine:
                    found[str(router.index)] = self.s.tunnel_socket(router, node)
                    found[f"{router.index}{TUNNEL}"] = f"{router.oid}/{home.oid}"
                if self.s.lean:  # On a router's own node the driver sees to it.
                    found[f"{router.index}{RENEWALS}"] = str(router.renewals)
        return found

    def _socket(self, oid: Oid) -> str:
        worker = self.become[oid]
        return self.s.router_socket(worker, self._node_of(worker))

    def _node_of(self, worker: Worker) -> Node:
        assert worker.node_oid is not None  # Only asked of workers that have a place, and places are on members.
        return self.s.candidates[worker.node_oid].node

    def _suspend_again(self, oid: Oid) -> None:
        """Take a place back that was given to a frontend whose routers have none."""
        worker = self.become[oid]
        if worker.node_oid is not None:
            self.placement.release(worker.node_oid)
            self._suspend(worker, WAITS_FOR_ROUTER)

    def _is_unproven(self, worker: Worker, target: str) -> bool:
        """Say whether a worker was given its newest configuration and has not shown yet that it runs with it."""
        if worker.digest != target or worker.status in (WorkerStatus.PENDING, WorkerStatus.UNREACHABLE):
            return False
        return worker.status is not WorkerStatus.RUNNING or worker.seen_digest != target

    def _waits_for_word(self) -> bool:
        """Say whether nobody who serves is changed over yet, because agents have yet to say who else does."""
        if self.s.unheard:
            self._look_again_at(self.s.now + int(HEAR_AGAIN_S * NANOSECONDS))
        return self.s.unheard

    def _look_again_at(self, instant: Instant | None) -> None:
        if instant is None:
            return
        seconds = max(0.0, (instant - self.s.now) / NANOSECONDS)
        before = self.plan.look_again_after
        self.plan.look_again_after = seconds if before is None else min(before, seconds)


def _has_no_room(worker: Worker) -> bool:
    return worker.want is Want.RUN and worker.status is WorkerStatus.PENDING and not worker.standby


_NOT_RUNNING: Mapping[str, Any] = {
    "digest": None,
    "drain": None,
    "seen_digest": None,
    "links": {},
    "started": None,
    "pid": None,
    "realms": (),
    "addresses": (),
    "fence_after": None,
}
