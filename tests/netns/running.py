"""How a scenario is run and judged."""

import re
from typing import NamedTuple

from twisted.internet import reactor

from tests.netns.scenarios import Scenario
from tests.netns.world import World

CONVERGED_WITHIN_S = 60.0
GOAL_S = 5.0
"""What is promised after healing; shown beside the figures, and never asserted: the machine may be slow."""

BROKEN = re.compile(r"Traceback|Unhandled error|CRITICAL", re.IGNORECASE)


class Outcome(NamedTuple):
    """What was seen of a scenario."""

    name: str
    lasted_s: float
    converged_s: float
    harmed: int

    def line(self) -> str:
        verdict = "kept" if self.converged_s <= GOAL_S else "MISSED"
        return f"{self.name:<30} {self.lasted_s:>7.1f} s {self.converged_s:>9.2f} s {self.harmed:>9} {verdict:>8}"


HEAD = f"{'scenario':<30} {'lasted':>9} {'converged':>11} {'packets':>9} {'<= 5 s':>8}"


async def run_scenario(world: World, scenario: Scenario) -> Outcome:
    """Run a scenario from a converged state to a converged state; raises AssertionError for what ought not to be."""
    await world.converged()
    before = world.placed()
    steady = set() if "keep" in scenario.restarts else await world.workers_of("keep")
    harmed, logged, begun = world.network.harm(), len(world.logs()), reactor.seconds()
    await scenario.act(world)
    lasted = reactor.seconds() - begun
    _expect_running(before, world, steady, "before the lines were good again")
    world.network.heal()
    healed = reactor.seconds()
    await world.probe()
    await world.converged(CONVERGED_WITHIN_S)
    converged = reactor.seconds() - healed
    _expect_running(before, world, steady, "afterwards")
    broken = BROKEN.search(world.logs(), logged)
    assert broken is None, world.logs()[max(0, broken.start() - 200) : broken.start() + 3000]
    return Outcome(scenario.name, lasted, converged, world.network.harm() - harmed)


def _expect_running(before: dict, world: World, steady: set[str], when: str) -> None:
    """Workers that had no reason to be restarted run where they ran, and nowhere else."""
    now = world.placed()
    for oid in steady & before.keys():
        assert now.get(oid) == before[oid], f"worker {oid} {when}: {now.get(oid)} instead of {before[oid]}"
