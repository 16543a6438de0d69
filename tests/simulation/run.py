"""One seed: users and faults for a while, then calm, and everything has to be as it was asked for.

The parts of a run, in simulated time:

1. Chaos. Every commit, event, start, stop and answer is checked as it happens, the whole now and then.
2. Healing: all faults end. From here the plane has five seconds. What is not the plane's to hasten is added: a worker
   that starts or stops at that moment takes its time; a worker that failed in a row waits for as long as its reason
   says; on a machine that never comes back workers are waited for until its line was found dead and the grace period is
   over; an answer that was lost as a single message, which no TCP link does, is missed at the time limit of its call
   only. Calls that were made before and arrive now change what is wanted: the five seconds count from the last of them.
3. Calm: nothing at all may happen.
4. Epilogue: stories that have to come to a good end, told in `tests/simulation/epilogue.py`.

Two seeds of five, those that `has_processes` names, have clusters of processes beside router clusters, and operators
who use everything that there is for them. What operators do comes from another source of chance than all the rest.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import msgspec
from twisted.logger import globalLogPublisher

from controlplane.agent.agent import ANSWER_WITHIN_S
from controlplane.core.fencing import FENCE_MARGIN_S
from controlplane.errors import ControlPlaneError
from controlplane.master.uplinks import SETTLE_S
from tests.simulation.callers import Callers
from tests.simulation.chaos import Chaos
from tests.simulation.convergence import held_by, unconverged
from tests.simulation.epilogue import CONVERGED_WITHIN_S, Epilogue
from tests.simulation.network import NOTICED_AFTER_MAX_S
from tests.simulation.operators import Operators
from tests.simulation.process_stories import ProcessStories
from tests.simulation.users import Users
from tests.simulation.wardens import WATCHED_FOR_S, Wardens
from tests.simulation.wards import fences
from tests.simulation.witness import Witness
from tests.simulation.world import Broken, World

CALM_S = 45.0
"""Longer than a worker has to run to count as healthy."""

SETTLED_S = SETTLE_S + 1.0
"""For what is still under way: reports said twice, and what the master looks at when agents had time to attach."""

AUDIT_PERIOD_S = 15.0
LOOK_S = 0.1
PROCESSES_IN = 5
"""In how many seeds there are two with clusters of processes."""

POOL_IN = 15
"""In how many seeds there is one of those in which workers stand by."""

WARDS_IN = 10
"""In how many seeds there are two with clusters that are looked after."""


class Outcome(msgspec.Struct):
    """What came of one seed."""

    seed: int
    problem: str | None
    lines: list[str]
    digest: str
    simulated_s: float
    cpu_s: float
    converged_after_s: float
    faults: Counter[str]
    calls: int
    commits: int
    starts: int


def has_processes(seed: int) -> bool:
    """Say whether a seed has clusters of processes; the others are what they were before there were any."""
    return seed % PROCESSES_IN >= PROCESSES_IN - 2


def has_pool(seed: int) -> bool:
    """Say whether workers stand by for a cluster of processes."""
    return has_processes(seed) and seed % POOL_IN == POOL_IN - 1


def has_wards(seed: int) -> bool:
    """Say whether there are wardens in a seed: those that end in 8 and 9."""
    return seed % WARDS_IN >= WARDS_IN - 2


def run_seed(seed: int, agents: int | None = None) -> Outcome:
    """Run one seed to its end, or until something is wrong."""
    begun = time.process_time()
    witness = Witness()
    run = _Run(seed, agents, witness)
    problem = None
    with _logs_to(witness.logged):
        try:
            run.play()
        except Broken as broken:
            problem = str(broken)
        except AssertionError as broken:
            problem = f"{type(broken).__name__}: {broken}"
        except ControlPlaneError as refused:
            problem = f"a call that must succeed did not: {refused}"
        except Exception as escaped:
            # Out of a timer of the product: a reactor would log it, and go on without what was to follow.
            problem = f"nothing caught {type(escaped).__name__}: {escaped}"
    if problem is not None:
        witness.noted(f"FAILED {problem}")
    return Outcome(
        seed=seed,
        problem=problem,
        lines=witness.lines,
        digest=witness.digest(),
        simulated_s=witness._now(),
        cpu_s=time.process_time() - begun,
        converged_after_s=run.converged_after_s,
        faults=witness.faults,
        calls=sum(each.calls for each in run.callers),
        commits=witness.commits,
        starts=witness.starts_seen,
    )


@contextmanager
def _logs_to(take: Callable[[Any], None]) -> Iterator[None]:
    globalLogPublisher.addObserver(take)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(take)


class _Run:
    """One seed."""

    def __init__(self, seed: int, agents: int | None, witness: Witness) -> None:
        self.seed = seed
        self.agents = agents
        self.witness = witness
        self.callers: list[Callers] = []
        self.converged_after_s = 0.0

    def play(self) -> None:
        witness = self.witness
        world = self.world = World(self.seed, observer=witness)
        witness.world = world
        random = world.random
        number = random.choice([2, 3, 3, 4, 5, 7, 10])
        for _ in range(self.agents or number):
            world.add_machine(**({"capacity": random.randrange(2, 7)} if random.random() < 0.3 else {}))
        world.run(0.5)
        witness.told({("node", str(machine.oid)): True for machine in world.machines})
        users = Users(world, witness, random.randrange(1, 4), random.choice([0.5, 1.5, 3.0]))
        self.callers.append(users)
        self._prepare(users)
        if has_processes(self.seed):
            self.callers.append(
                Operators(world, witness, Random(f"processes of {self.seed}"), pool=has_pool(self.seed))
            )
        wardens = None
        if has_wards(self.seed):
            wardens = Wardens(world, witness, Random(f"wards of {self.seed}"))
            self.callers.append(wardens)
        self.chaos = Chaos(world, witness, random.choice([0.7, 1.5, 4.0]))
        lasts = random.uniform(40, 90)
        while lasts > 0:
            world.run(min(lasts, AUDIT_PERIOD_S))
            lasts -= AUDIT_PERIOD_S
            if world.plane is not None:
                witness.audit()
        for each in self.callers:
            each.stop()
        lossy = bool(witness.faults["message lost"]) and world.faults.drop > 0
        self.chaos.end()
        if wardens is not None:
            wardens.heal(bool(self.chaos.lost))
        self._converge(world.clock.now + (ANSWER_WITHIN_S if lossy else 0.0))
        self._stay_calm()
        if wardens is not None:
            wardens.leave()
            self._require_converged("after the wardens left")
            self._give_up_lost()
        if has_processes(self.seed):
            ProcessStories(world, witness, self.chaos, self._require_converged).play()
        Epilogue(world, witness, self.chaos, self._require_converged).play()
        self._raise()

    def _prepare(self, users: Users) -> None:
        """Make a cluster that runs before the first fault."""
        world = self.world
        cluster = world.call("create_routercluster", {"name": "first", "grace_period": world.random.choice([1, 3])})
        oid = cluster["oid"]
        for machine in world.machines:
            world.call("add_routercluster_node", oid, str(machine.oid))
        scale = world.random.randrange(2, 6)
        group = world.call("add_routercluster_workergroup", oid, {"name": "web", "scale": scale})["oid"]
        world.call("start_routercluster", oid)
        users.clusters[oid] = "first"
        users.groups[group] = oid
        self.witness.told({("cluster", oid): True, ("run", oid): True, ("scale", oid, group): scale})

    # 2. Healing

    def _converge(self, since: float) -> None:
        world, mirror = self.world, self.witness.mirror
        healed = world.clock.now
        deadline = 0.0
        look = True
        while look:
            world.run(LOOK_S)
            problems = list(unconverged(world, mirror, self.chaos.lost))
            if any(each.under_way for each in self.callers):
                since, problems = world.clock.now, [*problems, "users still wait for answers"]
            # What was granted is not taken back: a worker that took its time to start is yet to be reported.
            deadline = max(deadline, self._deadline(since))
            if problems and world.clock.now > deadline:
                text = f"not converged {world.clock.now - healed:.1f} s after the faults were over: {problems[0]}"
                world.broken.append(text)
                raise Broken(text)
            look = bool(problems)
        self.converged_after_s = world.clock.now - healed
        world.note("converged")
        self.witness.audit()
        self.witness.recovered()
        self._raise()

    def _deadline(self, since: float) -> float:
        """Return until when the plane has to have converged."""
        world, lost = self.world, self.chaos.lost
        until = self.witness.promises.until(self.witness.mirror, since)
        for machine in world.machines:
            if machine.agent is not None and any(machine.busy.values()):
                until = max(until, min(world.clock.now, since + 3.0))
        for (name, oid), failed in self.witness.handling.failed.items():
            machine = next(machine for machine in world.machines if machine.name == name)
            entries = machine.agent._entries if machine.agent is not None else {}
            if oid in entries and entries[oid].digest == failed.digest:
                until = max(until, failed.at_last)
        if lost:
            grace = max((cluster["grace_period"] for cluster in self.witness.mirror.clusters.values()), default=0.0)
            fence = fences(self.witness.mirror)
            unseen = max(grace, fence + FENCE_MARGIN_S if fence else 0.0)
            until = max(until, since + NOTICED_AFTER_MAX_S + unseen)
        return until + CONVERGED_WITHIN_S

    # 3. Calm

    def _stay_calm(self) -> None:
        world, witness = self.world, self.witness
        world.run(WATCHED_FOR_S if has_wards(self.seed) else SETTLED_S)
        self._require_converged("some seconds after it was so")
        before = witness.changes, witness.starts_seen, len(world.events)
        world.run(CALM_S)
        after = witness.changes, witness.starts_seen, len(world.events)
        for machine in world.machines:
            if machine.units and not witness.mirror.paired_with(machine) and machine.name not in self.chaos.lost:
                world.broken.append(f"{machine.name} was taken out and still runs workers")
        if before != after:
            world.broken.append(f"something went on in the calm: changes, starts and events {before}, then {after}")
        self._raise()

    def _require_converged(self, when: str) -> None:
        for problem in unconverged(self.world, self.witness.mirror, self.chaos.lost):
            raise Broken(f"{problem}, {when}")
        self._raise()

    def _give_up_lost(self) -> None:
        """Unpair machines that are lost for good and that something may run on unseen: nothing waits for them then."""
        lost = held_by(self.witness.mirror)
        for node in lost:
            self.world.call("unpair_node", node)
            self.witness.told({("node", node): False})
        if lost:
            self.world.run(CONVERGED_WITHIN_S)
            self._require_converged("after machines that are lost for good were unpaired")

    def _raise(self) -> None:
        if self.world.broken:
            raise Broken(self.world.broken[0])
