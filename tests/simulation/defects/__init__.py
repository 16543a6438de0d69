"""Defects that are planted one by one, to see that the simulation finds them: each is a patch of the product."""

from tests.simulation.defects.agents import DEFECTS as OF_AGENTS
from tests.simulation.defects.master import DEFECTS as OF_MASTER
from tests.simulation.defects.planning import DEFECTS as OF_PLANNING
from tests.simulation.defects.planting import Defect
from tests.simulation.defects.store import DEFECTS as OF_STORE

DEFECTS: tuple[Defect, ...] = (*OF_STORE, *OF_MASTER, *OF_PLANNING, *OF_AGENTS)

__all__ = ["DEFECTS", "Defect"]
