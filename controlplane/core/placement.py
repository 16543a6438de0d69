"""Which node takes a worker: one rule, and for every node that does not a reason.

Candidates are members that are online, not draining, have the driver, stand on the machine that the worker has to be
on, and are below their hard limit and capacity. Among them: below the soft limit first, then the region and the zone
that lack most where policies spread workers over those (`spreading`), then fewest workers of this cluster, then fewest
in all, then the smallest oid. A worker that has a place keeps it: `planning` says when it may not.
"""

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from controlplane.core.addresses import is_default, is_loopback
from controlplane.core.counting import so_many
from controlplane.core.spreading import Able, Area, Spread, area_of
from controlplane.records.balancing import Drain
from controlplane.records.nodes import Node
from controlplane.records.types import NANOSECONDS, Instant, Oid, Seconds
from controlplane.records.workers import Want, Worker, WorkerStatus

REASONS_SHOWN_MAX = 8
NOWHERE = frozenset({WorkerStatus.PENDING, WorkerStatus.STOPPED})


Rank = tuple[bool, int, int, bytes]
Heap = list[tuple[Rank, Oid]]
ANYWHERE = Area(None, None)


class Site(NamedTuple):
    """The machine that a cluster has workers on already."""

    machine: str
    obstacle: str | None
    """Why workers on other machines cannot be connected with those there."""


@dataclass(slots=True)
class Candidate:
    """A member node while one cluster is planned: its limits, and how much it carries so far."""

    node: Node
    softlimit: int | None
    hardlimit: int | None
    of_cluster: int = 0
    """Workers of this cluster that occupy the node."""

    in_all: int = 0
    """Workers of all clusters that occupy the node."""

    exposed: bool = False
    """Whether the cluster's workers must not listen beyond loopback, for lack of TLS or because anybody gets in."""

    limited_by: str | None = None
    """Name of the policy that the hardlimit comes from; None when it is the membership's own."""

    def rank(self) -> Rank:
        """Return what candidates are ordered by; the smallest is taken."""
        above_soft = self.softlimit is not None and self.of_cluster >= self.softlimit
        return above_soft, self.of_cluster, self.in_all, self.node.oid.bytes

    def refusal(self, driver: str, site: Site | None) -> str | None:
        """Return why the node cannot take another worker, or None when it can."""
        facts = self.node.facts
        if not self.node.online or facts is None:
            return "offline"
        if driver not in facts.drivers:
            return f"has no driver {driver!r}"
        if self.exposed and not is_loopback(facts.address):
            return f"listens on {facts.address}, beyond loopback, where the cluster's configuration is not admitted"
        if site is not None and facts.machine != site.machine:
            obstacle = obstacle_to_tunnels(self.node) or site.obstacle
            if obstacle is not None:
                return f"is another machine than the cluster's other workers, and {obstacle}"
        if self.hardlimit is not None and self.of_cluster >= self.hardlimit:
            if self.limited_by is not None:
                return f"policy {self.limited_by} admits {so_many(self.hardlimit, 'worker')} on one node"
            return f"hardlimit of {self.hardlimit} reached"
        if facts.capacity is not None and self.in_all >= facts.capacity:
            return f"capacity of {facts.capacity} reached"
        return None

    def room(self) -> float:
        """Return how many more workers its limits admit."""
        left = [float("inf")]
        if self.hardlimit is not None:
            left.append(self.hardlimit - self.of_cluster)
        if self.node.facts is not None and self.node.facts.capacity is not None:
            left.append(self.node.facts.capacity - self.in_all)
        return min(left)

    def take(self) -> None:
        """Count one more worker."""
        self.of_cluster += 1
        self.in_all += 1

    def give_up(self) -> None:
        """Count one worker less."""
        self.of_cluster -= 1
        self.in_all -= 1


class Placement:
    """Places the workers of one cluster, one after the other, in logarithmic time each."""

    def __init__(self, candidates: Mapping[Oid, Candidate], driver: str, spread: Spread | None = None) -> None:
        self.candidates = candidates
        self._driver = driver
        self._spread = spread
        self._site: Site | None = None
        self._heaps: dict[Area, Heap] | None = None
        """By ranks that are not above the true ones: a rank that grew is noticed when it comes first, one that shrank
        is entered again. There is one for each area if workers are spread over those, else one for all."""

        self._why_not: str | None = None
        self._kept_for: dict[Oid, str] = {}
        """Nodes that are kept for others, and why."""

    def keep(self, nodes: Iterable[Oid], why: str) -> None:
        """Admit nobody to these nodes from now on."""
        self._kept_for = dict.fromkeys(nodes, why)
        self._heaps = None
        self._why_not = None

    def bind(self, site: Site | None) -> None:
        """Admit only nodes that can be connected with this machine from now on."""
        if site != self._site:
            self._site = site
            self._heaps = None
            self._why_not = None

    def place(self, group: Oid | None = None) -> Node | None:
        """Return the best node for a worker of a group and count it there, or None when none can take it."""
        if self._heaps is None:
            self._heaps = self._entered()
        heap = self._heaps[ANYWHERE] if self._spread is None else self._lacking(self._heaps, self._spread, group)
        candidate = None if heap is None else self._top(heap)
        if heap is None or candidate is None:
            return None
        self._why_not = None
        candidate.take()
        if self._spread is not None:
            self._spread.take(group, candidate.node)
        heapq.heapreplace(heap, (candidate.rank(), heap[0][1]))
        return candidate.node

    def _entered(self) -> dict[Area, Heap]:
        able = [candidate for candidate in self.candidates.values() if self._refusal(candidate) is None]
        if self._spread is None:
            heaps = {ANYWHERE: [(candidate.rank(), candidate.node.oid) for candidate in able]}
        else:
            self._spread.settle(Able(candidate.node, candidate.room()) for candidate in able)
            heaps = {}
            for candidate in able:
                if self._spread.shut(candidate.node) is None:
                    entry = candidate.rank(), candidate.node.oid
                    heaps.setdefault(area_of(candidate.node), []).append(entry)
        for heap in heaps.values():
            heapq.heapify(heap)
        return heaps

    def _top(self, heap: Heap) -> Candidate | None:
        """Return the best candidate of a heap, with everything before it brought in order."""
        while heap:
            rank, oid = heap[0]
            candidate = self.candidates[oid]
            if candidate.refusal(self._driver, self._site) is not None:
                heapq.heappop(heap)
            elif rank != candidate.rank():
                heapq.heapreplace(heap, (candidate.rank(), oid))
            else:
                return candidate
        return None

    def _lacking(self, heaps: Mapping[Area, Heap], spread: Spread, group: Oid | None) -> Heap | None:
        """Return the heap of the area that is to get the next worker of a group."""
        found: list[tuple[tuple[bool, tuple[float, float], Rank], Heap]] = []
        for area, heap in heaps.items():
            if spread.full(area) is None and self._top(heap) is not None:
                rank = heap[0][0]
                found.append(((rank[0], spread.lack(group, area), rank), heap))
        return min(found, key=lambda each: each[0])[1] if found else None

    def _count(self, candidate: Candidate, group: Oid | None) -> None:
        candidate.take()
        if self._spread is not None:
            self._spread.take(group, candidate.node)

    def _refusal(self, candidate: Candidate) -> str | None:
        refusal = candidate.refusal(self._driver, self._site) or self._kept_for.get(candidate.node.oid)
        if refusal is None and self._spread is not None:
            refusal = self._spread.shut(candidate.node)
        return refusal

    def take(self, oid: Oid, group: Oid | None = None) -> str | None:
        """Count a worker on a node of its own choice, or return why the node cannot take it."""
        self._why_not = None
        candidate = self.candidates[oid]
        refusal = self._refusal(candidate)
        if refusal is None and self._spread is not None:
            refusal = self._spread.full(area_of(candidate.node))
        if refusal is None:
            self._count(candidate, group)
        return refusal

    def hold(self, oid: Oid | None, group: Oid | None = None) -> bool:
        """Count a worker that stays on a member node whatever its limits; False when the node is no member."""
        candidate = self.candidates.get(oid) if oid else None
        if candidate is None:
            return False
        self._why_not = None
        self._count(candidate, group)
        return True

    def release(self, oid: Oid) -> None:
        """Count one worker less on a node."""
        candidate = self.candidates.get(oid)
        if candidate is None:
            return
        candidate.give_up()
        self._why_not = None
        area = ANYWHERE
        if self._spread is not None:
            self._spread.leave(candidate.node)
            if self._spread.shut(candidate.node) is not None:
                return
            area = area_of(candidate.node)
        if self._heaps is not None and oid not in self._kept_for:
            heapq.heappush(self._heaps.setdefault(area, []), (candidate.rank(), oid))

    def why_not(self) -> str:
        """Return why no node can take a worker, node by node."""
        if self._why_not is None:
            # While nothing fits, nothing changes: the answer is the same for all who wait.
            self._why_not = self._refusals()
        return self._why_not

    def _refusals(self) -> str:
        if not self.candidates:
            return "no place: the cluster has no nodes; add one"
        ordered = sorted(self.candidates.values(), key=lambda candidate: candidate.node.authid)
        refusals = [(c.node.authid, self._refusal(c) or self._full(c.node) or "has room") for c in ordered]
        shown = "; ".join(f"{authid}: {refusal}" for authid, refusal in refusals[:REASONS_SHOWN_MAX])
        more = len(refusals) - REASONS_SHOWN_MAX
        return f"no place: {shown}" + (f"; and {more} more nodes" if more > 0 else "")

    def _full(self, node: Node) -> str | None:
        return None if self._spread is None else self._spread.full(area_of(node))


def obstacle_to_tunnels(node: Node) -> str | None:
    """Return why workers on a node cannot be connected with workers on other machines, or None when they can."""
    facts = node.facts
    if facts is None:
        return None
    if facts.stunnel is None:
        return f"stunnel is not installed on node {node.authid}"
    if is_default(facts.address):
        return f"the agent of node {node.authid} was given no --address that others can reach"
    return None


def occupies(worker: Worker) -> bool:
    """Say whether a worker counts on its node: it runs there, or is about to, or has not stopped yet."""
    return worker.node_oid is not None and worker.status is not WorkerStatus.STOPPED


def is_lost(node: Node | None, grace_period: Seconds, now: Instant) -> bool:
    """Say whether a node is gone, or silent for longer than is waited for."""
    return node is None or (not node.online and now >= lost_at(node, grace_period))


def lost_at(node: Node, grace_period: Seconds) -> Instant:
    """Return when a silent node is given up."""
    return node.since + int(grace_period * NANOSECONDS)


def over_limits(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return the nodes that carry more of the cluster than their hard limit admits."""
    return [c for c in candidates if c.hardlimit is not None and c.of_cluster > c.hardlimit]


def leaving(worker: Worker, want: Want, drain: Drain | None = None) -> dict[str, Any]:
    """Return what changes of a worker that is to stop: at once when nothing of it runs, else when its agent says so.

    The agent is told when the `drain` is over.
    """
    nowhere = worker.node_oid is None or worker.status in NOWHERE
    status = WorkerStatus.STOPPED if nowhere else WorkerStatus.STOPPING
    return {"want": want, "status": status, "reason": None, "farewell": None, "drain": drain}
