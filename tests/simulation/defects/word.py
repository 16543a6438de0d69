"""Planted defects of what a master concludes that was away, before agents have told it what runs."""

from typing import Any

from controlplane.core.generic_clusters import _GenericPass
from controlplane.core.planning import Pass
from controlplane.services import convergence
from tests.simulation.defects.planting import Defect, around


def _take_as_heard(advance: Any) -> Any:
    def other(ledger: Any, cluster: Any, plan: Any) -> Any:
        plan.unheard = False
        return advance(ledger, cluster, plan)

    return other


def _wait_for_nobody(*, generic: bool) -> Any:
    def wrap(waits: Any) -> Any:
        def other(self: Pass) -> bool:
            return isinstance(self, _GenericPass) is not generic and bool(waits(self))

        return other

    return wrap


DEFECTS: tuple[Defect, ...] = (
    Defect(
        "ended-unheard",
        "an action ends on what was known of workers before the master was away",
        around(convergence, "advance", _take_as_heard),
    ),
    Defect(
        "proven-unheard",
        "processes are changed over while others were known to run only before the master was away",
        around(Pass, "_waits_for_word", _wait_for_nobody(generic=True)),
    ),
    Defect(
        "routers-unheard",
        "the same of workers of router clusters",
        around(Pass, "_waits_for_word", _wait_for_nobody(generic=False)),
    ),
)
