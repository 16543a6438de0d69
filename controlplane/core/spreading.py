"""How the workers of a cluster are spread over regions and zones, as its policies say.

A region or zone has a share, by its weight. The next worker goes where the share is fulfilled least, the next one to be
taken out comes from where it is exceeded most: Sainte-Laguë's rule, which brings numbers of workers as near to the
weights as whole numbers and the room that there is admit. Regions are looked at before zones. Each worker group is
spread for itself, so that none of them stands in one zone alone; caps are about all workers of the cluster.

What runs is never moved for balance.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from controlplane.core.counting import so_many
from controlplane.records.nodes import Node
from controlplane.records.placement import PlacementRules, Share
from controlplane.records.policies import KeepingPolicy, RegionPlacementPolicy, ZonePlacementPolicy
from controlplane.records.types import Oid

NEVER = float("inf")


class Area(NamedTuple):
    """Where a machine stands."""

    region: str | None
    zone: str | None


class Able(NamedTuple):
    """A node that could take workers, and for how many it has room."""

    node: Node
    room: float


def area_of(node: Node) -> Area:
    """Return where a node stands."""
    return Area(node.region, node.zone)


def rules_of(policies: Iterable[tuple[str, Any]]) -> PlacementRules | None:
    """Return what policies, by name, say of where workers stand; None when they say nothing."""
    found = PlacementRules()
    for name, rule in policies:
        match rule:
            case ZonePlacementPolicy():
                zones = tuple(Share(name=each.name, weight=each.weight) for each in rule.zones)
                found = msgspec.structs.replace(found, zones=zones, zone_policy=name)
            case RegionPlacementPolicy():
                regions = tuple(
                    Share(name=each.name, weight=each.weight, cap=None if each.cap < 0 else each.cap)
                    for each in rule.regions
                )
                found = msgspec.structs.replace(found, regions=regions, region_policy=name)
            case KeepingPolicy(per_zone_max=limit, together=together) if limit is not None or together is not None:
                found = msgspec.structs.replace(found, per_zone_max=limit, together=together, affinity_policy=name)
    return None if found == PlacementRules() else found


def apportion(shares: Sequence[Share], total: int) -> dict[str, int]:
    """Return how many of so many workers each share comes to, if there is room everywhere; caps may leave some out."""
    given = {share.name: 0 for share in shares}
    for _ in range(total):
        open_ = [share for share in shares if share.weight and (share.cap is None or given[share.name] < share.cap)]
        if not open_:
            break
        least = min(open_, key=lambda share: _lack(given[share.name], share.weight))
        given[least.name] += 1
    return given


class Spread:
    """What a cluster has where, while one pass places its workers."""

    def __init__(self, rules: PlacementRules) -> None:
        self._rules = rules
        self._regions = {share.name: share for share in rules.regions}
        self._zones = {share.name: share for share in rules.zones}
        self._staying: Counter[tuple[Oid | None, str, str | None]] = Counter()
        """Workers of a group that stay, by `region` or `zone` and its name: what balance goes by."""

        self._standing: Counter[tuple[str, str | None]] = Counter()
        """Workers of the cluster that occupy a place, those on their way out too: what caps go by."""

        self._anchor: Oid | str | None = None
        """The node or the zone in which all are kept together."""

    def begin(self, staying: Iterable[tuple[Oid | None, Node]], standing: Iterable[Node]) -> None:
        """Count who stays, by worker group, and what is occupied; to be done before the first place is looked for."""
        homes: Counter[Any] = Counter()
        for group, node in staying:
            for kind, name in _places(node):
                self._staying[group, kind, name] += 1
            home = self._home(node)
            if home is not None:
                homes[home] += 1
        for node in standing:
            self._standing.update(_places(node))
        if homes:
            self._anchor = min(homes, key=lambda home: (-homes[home], str(home)))

    def settle(self, able: Iterable[Able]) -> None:
        """Choose where all are kept together, if they are and nothing of the cluster stands anywhere: the most room."""
        if self._rules.together is None or self._anchor is not None:
            return
        room: defaultdict[Any, float] = defaultdict(float)
        for node, of_node in able:
            home = self._home(node)
            if home is not None and self.shut(node) is None and self.full(area_of(node)) is None:
                room[home] += of_node
        if room:
            self._anchor = min(room, key=lambda home: (-room[home], str(home)))

    def shut(self, node: Node) -> str | None:
        """Return why a node is never to take workers of the cluster, or None when it may."""
        rules = self._rules
        if rules.regions:
            refusal = _unnamed("region", node.region, self._regions, rules.region_policy)
            if refusal is not None:
                return refusal
        if rules.zones:
            refusal = _unnamed("zone", node.zone, self._zones, rules.zone_policy)
            if refusal is not None:
                return refusal
        if node.zone is None and (rules.per_zone_max is not None or rules.together == "zone"):
            return f"is in no zone, and policy {rules.affinity_policy} goes by zones"
        if self._anchor is not None and self._home(node) != self._anchor:
            return f"is not the {rules.together} in which policy {rules.affinity_policy} keeps all workers together"
        return None

    def full(self, area: Area) -> str | None:
        """Return why no node of an area can take another worker now, or None when some may."""
        region = None if area.region is None else self._regions.get(area.region)
        if region is not None and region.cap is not None and self._standing["region", area.region] >= region.cap:
            return f"policy {self._rules.region_policy} admits {so_many(region.cap, 'worker')} in region {area.region}"
        limit = self._rules.per_zone_max
        if limit is not None and self._standing["zone", area.zone] >= limit:
            return f"policy {self._rules.affinity_policy} admits {so_many(limit, 'worker')} in zone {area.zone}"
        return None

    def lack(self, group: Oid | None, area: Area) -> tuple[float, float]:
        """Return what areas are ordered by: the smallest is to get the next worker of a group."""
        found = [0.0, 0.0]
        for place, (kind, name, shares) in enumerate(self._looked_at(area)):
            if shares and name is not None:
                found[place] = _lack(self._staying[group, kind, name], shares[name].weight)
        return found[0], found[1]

    def take(self, group: Oid | None, node: Node) -> None:
        """Count one more worker that stays and occupies."""
        for kind, name in _places(node):
            self._staying[group, kind, name] += 1
            self._standing[kind, name] += 1

    def leave(self, node: Node) -> None:
        """Count one that occupied and was not counted among those that stay."""
        for place in _places(node):
            self._standing[place] -= 1

    def _looked_at(self, area: Area) -> tuple[tuple[str, str | None, Mapping[str, Share]], ...]:
        return ("region", area.region, self._regions), ("zone", area.zone, self._zones)

    def _home(self, node: Node) -> Oid | str | None:
        match self._rules.together:
            case "node":
                return node.oid
            case "zone":
                return node.zone
        return None


def _places(node: Node) -> tuple[tuple[str, str | None], tuple[str, str | None]]:
    return ("region", node.region), ("zone", node.zone)


def _lack(count: int, weight: int) -> float:
    return (2 * count + 1) / weight if weight else NEVER


def _unnamed(kind: str, name: str | None, shares: Mapping[str, Share], policy: str) -> str | None:
    if name is None:
        return f"is in no {kind}, and policy {policy} names {kind}s"
    if name not in shares:
        return f"is in {kind} {name}, which policy {policy} does not name"
    if not shares[name].weight:
        return f"is in {kind} {name}, to which policy {policy} gives no weight"
    return None
