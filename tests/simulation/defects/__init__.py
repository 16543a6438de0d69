"""Defects that are planted one by one, to see that the simulation finds them: each is a patch of the product.

Some do no harm, because something else stands in for what they break. They are listed apart, with what that is, so that
nobody takes for tested what is only doubled.
"""

from collections.abc import Mapping

from tests.simulation.defects.actions import DEFECTS as OF_ACTIONS
from tests.simulation.defects.agents import DEFECTS as OF_AGENTS
from tests.simulation.defects.master import DEFECTS as OF_MASTER
from tests.simulation.defects.planning import DEFECTS as OF_PLANNING
from tests.simulation.defects.planting import Defect
from tests.simulation.defects.store import DEFECTS as OF_STORE
from tests.simulation.defects.wards import DEFECTS as OF_WARDS
from tests.simulation.defects.word import DEFECTS as OF_WORD

STOOD: Mapping[str, str] = {
    "any-difference-taken": "the master makes differences only to what this run of the agent said it holds",
    "old-session-accepted": "a router passes nothing on of a session that ended, and reports of one run are numbered",
    "silent-after-failures": "every tick of the master wakes an agent whose last call failed",
}
"""Why a planted defect does no harm, by its name."""

ALL: tuple[Defect, ...] = (*OF_STORE, *OF_MASTER, *OF_PLANNING, *OF_AGENTS, *OF_ACTIONS, *OF_WARDS, *OF_WORD)
DEFECTS = tuple(defect for defect in ALL if defect.name not in STOOD)

__all__ = ["ALL", "DEFECTS", "STOOD", "Defect"]
