"""`scripts/simulate`: run seeds and print figures, or replay one of them."""

import argparse
import gc
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from twisted.logger import globalLogBeginner

from tests.simulation.defects import ALL, STOOD
from tests.simulation.run import Outcome, run_seed

PROGRESS_S = 60.0


def main(arguments: list[str]) -> int:
    """Return 0 when every seed passed, 1 when one did not, 2 when the arguments cannot be read."""
    options = _options(arguments)
    if options.teeth:
        return _count_teeth(options.seeds, options.agents, options.jobs)
    if options.replay is not None:
        return _replay(options.replay, options.agents)
    return _run(options.seeds, options.agents, options.jobs)


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/simulate", description="Run the real master and real agents under faults, from seeds."
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--seeds", type=_seeds, metavar="A-B", help="run these seeds, both ends included")
    what.add_argument("--replay", type=int, metavar="SEED", help="run one seed and print everything that happens")
    parser.add_argument(
        "--teeth", action="store_true", help="plant defects one by one, and count the seeds that find each"
    )
    parser.add_argument("--agents", type=int, metavar="N", help="as many agents in every run; otherwise the seed says")
    parser.add_argument(
        "--jobs", type=int, default=cores(), metavar="N", help="processes that share the seeds (default: one a core)"
    )
    options = parser.parse_args(arguments)
    if options.teeth and options.seeds is None:
        parser.error("--teeth needs --seeds")
    return options


def _seeds(text: str) -> range:
    first, _, last = text.partition("-")
    try:
        seeds = range(int(first), int(last or first) + 1)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no range of seeds; write for example 0-199") from None
    if not seeds:
        raise argparse.ArgumentTypeError(f"{text!r} is an empty range")
    return seeds


def _replay(seed: int, agents: int | None) -> int:
    outcome = run_seed(seed, agents)
    print("\n".join(outcome.lines))
    print(f"seed {seed}: {outcome.problem or 'passed'}; trace {outcome.digest}")
    return 1 if outcome.problem else 0


def _run(seeds: range, agents: int | None, jobs: int) -> int:
    begun = spoke = time.monotonic()
    total = _Total()
    for outcome in outcomes(seeds, agents, jobs):
        total.add(outcome)
        if outcome.problem is not None:
            more = f" --agents {agents}" if agents else ""
            print(f"seed {outcome.seed} FAILED: {outcome.problem}", flush=True)
            print(f"  replay it: scripts/simulate --replay {outcome.seed}{more}", flush=True)
        if time.monotonic() - spoke > PROGRESS_S:
            spoke = time.monotonic()
            print(f"... {total.seeds} of {len(seeds)} seeds, {len(total.failed)} failed", flush=True)
    total.print(time.monotonic() - begun, jobs)
    return 1 if total.failed else 0


def cores() -> int:
    """Return how many processes can work at the same time."""
    return len(os.sched_getaffinity(0))


def outcomes(seeds: range, agents: int | None, jobs: int) -> Iterator[Outcome]:
    """Yield what came of every seed, in order."""
    if jobs <= 1:
        yield from (_run_one(seed, agents) for seed in seeds)
    else:
        yield from shared(_Job(agents), seeds, jobs, chunksize=min(8, -(-len(seeds) // (4 * jobs))))


def shared(work: Callable[[Any], Any], items: Iterable[Any], jobs: int, chunksize: int = 1) -> Iterator[Any]:
    """Yield what comes of every item, in order, worked out by so many processes, which end in order.

    A pool that is ended instead, as `with` does it, may wait for ever for a process that it had just begun.
    """
    pool = multiprocessing.get_context("fork").Pool(jobs)
    yield from pool.imap(work, items, chunksize=chunksize)
    pool.close()
    pool.join()


def _count_teeth(seeds: range, agents: int | None, jobs: int) -> int:
    """Print in how many seeds each planted defect is found; returns 1 when one is found in none that should be."""
    blind = []
    bite, names = _Bite(seeds, agents), [defect.name for defect in ALL]
    for name, found in map(bite, names) if jobs <= 1 else shared(bite, names, jobs):
        print(f"{found:>5} of {len(seeds)}  {name}{f' ({STOOD[name]})' if name in STOOD else ''}", flush=True)
        if not found and name not in STOOD:
            blind.append(name)
    print(f"not found: {', '.join(blind) or 'none'}")
    return 1 if blind else 0


class _Bite:
    """What a process of the pool does about one planted defect."""

    def __init__(self, seeds: range, agents: int | None) -> None:
        self._seeds = seeds
        self._agents = agents

    def __call__(self, name: str) -> tuple[str, int]:
        (defect,) = (defect for defect in ALL if defect.name == name)
        with defect.plant():
            return name, sum(_run_one(seed, self._agents).problem is not None for seed in self._seeds)


class _Job:
    """What a process of the pool does; its trace is left out, a replay makes it again."""

    def __init__(self, agents: int | None) -> None:
        self._agents = agents

    def __call__(self, seed: int) -> Outcome:
        outcome = _run_one(seed, self._agents)
        outcome.lines = []
        return outcome


class _Total:
    """Figures of many seeds."""

    def __init__(self) -> None:
        self.seeds = 0
        self.failed: list[int] = []
        self._faults: Counter[str] = Counter()
        self._simulated_s = self._cpu_s = self._slowest_s = 0.0
        self._calls = self._commits = self._starts = 0

    def add(self, outcome: Outcome) -> None:
        self.seeds += 1
        if outcome.problem is not None:
            self.failed.append(outcome.seed)
        self._faults += outcome.faults
        self._simulated_s += outcome.simulated_s
        self._cpu_s += outcome.cpu_s
        self._slowest_s = max(self._slowest_s, outcome.converged_after_s)
        self._calls += outcome.calls
        self._commits += outcome.commits
        self._starts += outcome.starts

    def print(self, wall_s: float, jobs: int) -> None:
        """Print everything, the failing seeds last."""
        for kind, number in sorted(self._faults.items(), key=lambda entry: (-entry[1], entry[0])):
            print(f"{number:>10,} x {kind}")
        print(f"{sum(self._faults.values()):>10,} faults in all")
        print(f"{self._calls:,} calls of users, {self._commits:,} commits, {self._starts:,} starts of workers")
        print(
            f"{self.seeds} seeds in {wall_s:.1f} s with {jobs} job{'s' if jobs > 1 else ''}: "
            f"{self.seeds / wall_s * 60:,.0f} seeds per minute"
        )
        print(
            f"{self._simulated_s:,.0f} simulated seconds in {wall_s:.1f} s, {self._cpu_s:.1f} s of processor time: "
            f"{self._simulated_s / wall_s:,.0f} times real time, {self._simulated_s / self._cpu_s:,.0f} per core"
        )
        print(f"slowest convergence: {self._slowest_s:.1f} s after the faults were over, waiting included")
        print(f"failed: {', '.join(map(str, self.failed)) or 'none'}")


def _run_one(seed: int, agents: int | None) -> Outcome:
    """Run one seed and clear away what is left of its world."""
    begun = time.process_time()
    outcome = run_seed(seed, agents)
    gc.collect()
    outcome.cpu_s = time.process_time() - begun
    return outcome


def _collect_between_seeds() -> None:
    """Look for garbage at no other time, and not among what is there now: that took a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.disable()


if __name__ == "__main__":
    _collect_between_seeds()
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)
    sys.exit(main(sys.argv[1:]))
