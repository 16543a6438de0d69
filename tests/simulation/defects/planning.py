"""What could be wrong with where workers are placed and how many there are."""

from typing import Any

from controlplane.core import planning
from controlplane.core.placement import Candidate
from controlplane.services import convergence
from tests.simulation.defects.planting import Defect, around, replaced


def _lose_at_once(node: Any, _grace: float, _now: int) -> bool:
    return node is None or not node.online


def _never_lose(node: Any, _grace: float, _now: int) -> bool:
    return node is None


def _one_more(field: str) -> Any:
    def wrap(refusal: Any) -> Any:
        def other(self: Candidate, driver: str, machine: str | None) -> Any:
            reason = refusal(self, driver, machine)
            if reason is not None and reason.startswith(field):
                limit = self.hardlimit if field == "hardlimit" else self.node.facts and self.node.facts.capacity
                count = self.of_cluster if field == "hardlimit" else self.in_all
                if limit is not None and count == limit:
                    return None
            return reason

        return other

    return wrap


def _place_offline(refusal: Any) -> Any:
    def other(self: Candidate, driver: str, machine: str | None) -> Any:
        reason = refusal(self, driver, machine)
        return None if reason == "offline" and self.node.facts is not None else reason

    return other


def _one_too_many(stay: list[Any], scale: int, run: bool, _held: Any) -> list[int]:
    taken = {worker.index for worker in stay}
    free = [index for index in range(scale + 1) if index not in taken]
    return free[: max(0, scale + 1 - len(stay))] if run and scale else []


def _same_place(stay: list[Any], scale: int, run: bool, _held: Any) -> list[int]:
    return list(range(scale - len(stay))) if run else []


def _keep_lowered(self: Any, _kept: Any) -> set[Any]:
    return set()


def _move_the_healthy(cause: Any) -> Any:
    def other(self: Any, worker: Any, leaving: Any) -> Any:
        found = cause(self, worker, leaving)
        place = self.s.candidates.get(worker.node_oid)
        if found is None and place is not None and place.of_cluster >= 4:
            return "its node carries many"
        return found

    return other


def _never_give_up(self: Any) -> None:
    """Wait for the agent of a lost node to say that a worker stopped."""


def _stop_half(stop: Any) -> Any:
    def other(self: Any, oid: Any, want: Any) -> None:
        if want is not planning.Want.STOP or oid.int % 2:
            stop(self, oid, want)

    return other


def _plan_without_load(situation: Any) -> Any:
    def other(*given: Any) -> Any:
        found = situation(*given)
        for candidate in found.candidates.values():
            candidate.in_all = 0
        return found

    return other


DEFECTS = (
    Defect(
        "no-grace-period", "workers of a silent node are moved at once", replaced((planning, "is_lost", _lose_at_once))
    ),
    Defect("endless-grace-period", "a silent node is never given up", replaced((planning, "is_lost", _never_lose))),
    Defect(
        "hardlimit-off-by-one",
        "a node takes one worker more than its hardlimit",
        around(Candidate, "refusal", _one_more("hardlimit")),
    ),
    Defect(
        "capacity-off-by-one",
        "a node takes one worker more than its capacity",
        around(Candidate, "refusal", _one_more("capacity")),
    ),
    Defect(
        "capacity-per-cluster",
        "workers of other clusters do not count",
        around(convergence, "_situation", _plan_without_load),
    ),
    Defect("placed-offline", "a node that is away is given workers", around(Candidate, "refusal", _place_offline)),
    Defect(
        "one-too-many",
        "a group gets one worker more than it wants",
        replaced((planning, "missing_indexes", _one_too_many)),
    ),
    Defect(
        "place-given-twice",
        "two workers of a group have the same index",
        replaced((planning, "missing_indexes", _same_place)),
    ),
    Defect(
        "lowered-limit-ignored",
        "a hardlimit that is lowered moves nobody",
        replaced((planning.Pass, "_over_limit", _keep_lowered)),
    ),
    Defect(
        "healthy-moved",
        "workers are moved for the sake of balance",
        around(planning.Pass, "_cause_to_leave", _move_the_healthy),
    ),
    Defect(
        "lost-never-stopped",
        "a worker on a lost node never counts as stopped",
        replaced((planning.Pass, "_give_up_on_silent_nodes", _never_give_up)),
    ),
    Defect(
        "stopped-by-half", "a cluster that is stopped keeps some workers", around(planning.Pass, "_stop", _stop_half)
    ),
)
