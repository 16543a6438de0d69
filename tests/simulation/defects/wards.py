"""Planted defects of fencing, recoveries, protection, and of workers that join and leave."""

from typing import Any

import msgspec

from controlplane.agent.leases import Leases
from controlplane.core import health_rules, planning
from controlplane.core.health_rules import Decided
from controlplane.master import health as rounds
from controlplane.services import convergence, health, lone_workers, members, recoveries
from tests.simulation.defects.planting import Defect, around, replaced


def _never(*_: Any) -> bool:
    return False


def _obey_nothing(*_: Any) -> None:
    """Do nothing."""


def _without_limits(decide: Any) -> Any:
    def other(_rule: Any, cases: Any, *_: Any) -> Decided:
        return Decided(list(cases), {}, [])

    return other


def _everybody_is_sick(judge: Any) -> Any:
    def other(seen: Any, looks: Any, now: int, polled: bool) -> Any:
        cases, _ = judge(seen, looks, now, polled)
        known = {case.worker.oid for case in cases}
        others = [each for each in seen.workers if each.oid not in known and each.started is not None]
        return [*cases, *(health_rules.Case(each, "nobody knows") for each in others)], []

    return other


def _start_anew(spec_identity: Any) -> Any:
    return lambda spec: spec_identity(spec)[::-1]


def _move_and_forget(move_worker: Any) -> Any:
    def other(self: Any, old: Any, new: Any) -> Any:
        return move_worker(self, old, msgspec.structs.replace(new, started=None, pid=None))

    return other


DEFECTS: tuple[Defect, ...] = (
    Defect(
        "fence-not-waited-for",
        "with fencing, too, workers of a silent node are placed elsewhere after the grace period",
        replaced((planning, "may_still_run", _never), (recoveries, "may_still_run", _never)),
    ),
    Defect(
        "lease-never-ends",
        "agents kill nobody, however long their master is silent",
        replaced((Leases, "_note_lapsed", _never)),
    ),
    Defect(
        "recoveries-without-limit",
        "a health policy never gives up",
        around(health, "decide", _without_limits),
    ),
    Defect(
        "healthy-brought-back",
        "a health policy brings back who is well",
        replaced((rounds, "judge", _everybody_is_sick(health.judge))),
    ),
    Defect(
        "joined-and-restarted",
        "a worker that joins a cluster is given the cluster's configuration",
        around(members, "spec_identity", _start_anew),
    ),
    Defect(
        "left-and-forgotten",
        "what runs of a worker is forgotten when it changes its cluster",
        around(members.Ledger, "move_worker", _move_and_forget),
    ),
    Defect(
        "place-left-behind",
        "of a worker whose deletion took too long its place is left",
        replaced((convergence, "_is_left_over", _never)),
    ),
    Defect(
        "growth-by-one-not-announced",
        "nobody is told that a cluster was given one more worker",
        replaced((lone_workers, "announce_size", _obey_nothing)),
    ),
)
