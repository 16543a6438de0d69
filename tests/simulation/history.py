"""What users asked for and what they were told, against what is stored.

Every thing that can be written is a register. A write that was acknowledged must be there, unless a later one, or one
at the same time, took its place. A write without an answer may have happened or not, and may happen late.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from tests.simulation.mirror import Mirror

Key = tuple[str, ...]
LATE_S = 60.0
"""How long a call can be under way at the very most."""


class Write:
    """One attempt to write a register."""

    __slots__ = ("acknowledged", "begun", "value")

    def __init__(self, value: Any, begun: float) -> None:
        self.value = value
        self.begun = begun
        self.acknowledged: float | None = None


class History:
    """Every register with its writes."""

    def __init__(self) -> None:
        self._registers: dict[Key, list[Write]] = {}
        self._anew = float("-inf")

    def begin(self, values: Mapping[Key, Any], now: float) -> list[tuple[Key, Write]]:
        """Take note that somebody is about to write; returns what is told of the outcome."""
        attempt = []
        for key, value in values.items():
            write = Write(value, now)
            self._registers.setdefault(key, []).append(write)
            attempt.append((key, write))
        return attempt

    def refused(self, attempt: list[tuple[Key, Write]]) -> None:
        """Take note that nothing was written."""
        for key, write in attempt:
            if write in self._registers.get(key, ()):
                self._registers[key].remove(write)

    def acknowledge(self, attempt: list[tuple[Key, Write]], now: float) -> None:
        """Take note that everything was written, unless the answer may be from a store that was replaced since."""
        for _, write in attempt:
            if write.begun >= self._anew:
                write.acknowledged = now

    def check(self, mirror: Mirror, keys: list[Key] | None = None) -> Iterator[str]:
        """Yield what was acknowledged and is not there."""
        for key in self._registers if keys is None else keys:
            writes = self._registers.get(key, [])
            if not any(write.acknowledged is not None for write in writes) or not _is_there(mirror, key):
                continue
            newest = max(write.begun for write in writes if write.acknowledged is not None)
            possible = [w.value for w in writes if w.acknowledged is None or w.acknowledged >= newest]
            found = _found(mirror, key)
            if found not in possible:
                yield f"{' '.join(key)} is {found!r}, and was acknowledged as {' or '.join(map(repr, possible))}"

    def begin_anew(self, mirror: Mirror, now: float) -> None:
        """Take note that the store was replaced by a backup: what is in it counts from now on."""
        self._anew = now
        for key, writes in self._registers.items():
            late = [write for write in writes if write.acknowledged is None and write.begun > now - LATE_S]
            present = Write(_found(mirror, key), now)
            present.acknowledged = now
            self._registers[key] = [*late, present]


def _is_there(mirror: Mirror, key: Key) -> bool:
    """Say whether what a register belongs to still exists, which is a register of its own."""
    kind = key[0]
    if kind in ("run", "label", "scale", "member", "bound") and key[1] not in mirror.clusters:
        return False
    return kind != "member" or key[2] in mirror.nodes


def _found(mirror: Mirror, key: Key) -> Any:
    match key:
        case ("cluster", oid):
            return oid in mirror.clusters
        case ("node", oid):
            return oid in mirror.nodes
        case ("run" | "label" as field, oid):
            return mirror.clusters[oid][field] if oid in mirror.clusters else None
        case ("deleting", oid):
            return oid not in mirror.clusters or mirror.clusters[oid]["deleting"]
        case ("action", oid):
            return oid in mirror.actions
        case ("definition", oid):
            return oid in mirror.definitions
        case ("bound", cluster, policy):
            found = [each["enabled"] for each in mirror.bindings[cluster].values() if each["policy_oid"] == policy]
            return found[0] if found else None
        case ("scale", _, oid):
            return mirror.groups[oid]["scale"] if oid in mirror.groups else None
        case ("member", cluster, node):
            member = mirror.members.get((cluster, node))
            return None if member is None else (member["softlimit"], member["hardlimit"])
        case _:
            raise KeyError(key)
