"""`scripts/mutate`: change controlplane/core in every small way, one at a time, and see whether its tests notice."""

import argparse
import gc
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tests.mutation.killers import ALL, CORE, MODULES, killers_of
from tests.mutation.mutants import Mutant, mutants_of
from tests.mutation.survivors import UNEXPLAINED, Survivor, read_list, survivor_of, write_list
from tests.mutation.trial import Outcome, Trial

KILLED_PERCENT_MIN = 85
CPU_S_MAX = 600
CPU_FACTOR, CPU_EXTRA_S = 4, 5
"""A mutant may use so many times what the tests of the untouched module use, and so many seconds more."""

FIRST_TESTS = 20
told_to_stop: list[bool] = []


class Count(NamedTuple):
    """What became of the mutants of a module."""

    module: str
    mutants: int
    survivors: list[tuple[Mutant, Survivor]]
    took_s: float

    @property
    def killed(self) -> int:
        """Say how many were found by a test."""
        return self.mutants - len(self.survivors)


def main() -> int:
    """Return 0 when enough mutants were killed and every survivor is listed with a reason, else 1."""
    options = _options()
    # An exception would get lost where it is raised in a fork; children are not to be left behind.
    signal.signal(signal.SIGTERM, lambda *_: told_to_stop.append(True))
    gc.freeze()  # What is there before the fork is no garbage of any trial.
    known = read_list()
    counts = []
    print(_row("module", "mutants", "killed", "", "took"), flush=True)
    for module in options.module or MODULES:
        count = _try_module(module, options.jobs, options.limit, known if options.listed else None)
        counts.append(count)
        print(_line(count), flush=True)
        for mutant, survivor in count.survivors:
            if options.verbose or known.get(survivor, UNEXPLAINED) == UNEXPLAINED:
                print(f"  {module}.py:{mutant.line} {mutant.where}\n    - {mutant.minus}\n    + {mutant.plus}")
        if options.write and options.limit is None:
            write_list((survivor for _, survivor in count.survivors), [module])
    if not options.module and ALL != MODULES:
        print(f"without tests of their own, so not tried: {', '.join(sorted(set(ALL) - set(MODULES)))}")
    total = Count(
        "all", sum(c.mutants for c in counts), [s for c in counts for s in c.survivors], sum(c.took_s for c in counts)
    )
    if len(counts) > 1:
        print(_line(total))
    known = read_list()
    new = [one for _, one in total.survivors if known.get(one, UNEXPLAINED) == UNEXPLAINED]
    if new:
        print(f"{len(new)} survivors are not listed with a reason in docs/mutation-survivors.toml")
    enough = options.listed or total.killed * 100 >= total.mutants * KILLED_PERCENT_MIN
    if not enough:
        print(f"less than {KILLED_PERCENT_MIN} % were killed")
    return 0 if enough and not new else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/mutate",
        description="Change controlplane/core in every small way and see whether its tests notice.",
    )
    parser.add_argument("--module", action="append", choices=MODULES, help="only this one; may be repeated")
    parser.add_argument("--limit", type=_positive, metavar="N", help="so many mutants of each module, spread over it")
    parser.add_argument("--jobs", type=_positive, default=2, metavar="N", help="processes at a time (default: 2)")
    parser.add_argument("--listed", action="store_true", help="only mutants that are listed as survivors")
    parser.add_argument("--write", action="store_true", help="write the survivors into the list")
    parser.add_argument("--verbose", action="store_true", help="show listed survivors as well")
    return parser.parse_args()


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return int(text)


def _try_module(module: str, jobs: int, limit: int | None, only: dict[Survivor, str] | None) -> Count:
    begun = time.monotonic()
    mutants = mutants_of((CORE / f"{module}.py").read_text())
    if only is not None:
        mutants = [mutant for mutant in mutants if survivor_of(module, mutant) in only]
    if limit is not None and len(mutants) > limit:
        mutants = [mutants[len(mutants) * number // limit] for number in range(limit)]
    tests = killers_of(module)
    untouched = next(_outcomes(module, [None], tests, 1, CPU_S_MAX))[1]
    if untouched.killed or not tests:
        sys.exit(f"the tests of the untouched {module} fail: {untouched.by}; run {' '.join(tests) or 'what there is'}")
    cpu_s = int(untouched.cpu_s * CPU_FACTOR) + CPU_EXTRA_S
    survivors = [
        (mutants[index], survivor_of(module, mutants[index]))
        for index, outcome in _outcomes(module, [mutant.source for mutant in mutants], tests, jobs, cpu_s)
        if not outcome.killed
    ]
    survivors.sort(key=lambda pair: pair[0].line)
    return Count(module, len(mutants), survivors, time.monotonic() - begun)


def _outcomes(
    module: str, sources: Sequence[str | None], tests: Sequence[str], jobs: int, cpu_s: int
) -> Iterator[tuple[int, Outcome]]:
    """Try these sources of a module, some at a time; what found the last ones is run first on the next."""
    running: dict[int, tuple[int, Trial]] = {}
    finders: dict[str, None] = {}
    waiting = iter(enumerate(sources))
    try:
        while True:
            while len(running) < jobs and (following := next(waiting, None)) is not None:
                first = [*reversed(finders)][:FIRST_TESTS]
                trial = Trial(f"controlplane.core.{module}", following[1], tests, first, cpu_s)
                running[trial.pid] = following[0], trial
            if not running:
                return
            if told_to_stop:
                sys.exit("told to stop")
            pid, status, used = os.wait4(-1, 0)
            index, trial = running.pop(pid)
            outcome = trial.end(status, used.ru_utime + used.ru_stime)
            finders.pop(outcome.by, None)
            finders[outcome.by] = None  # The last one is the first to be asked: neighbours are found by the same tests.
            yield index, outcome
    finally:
        for pid in running:
            os.kill(pid, 9)
            os.waitpid(pid, 0)


def _line(count: Count) -> str:
    percent = f"{100 * count.killed / count.mutants:.1f} %" if count.mutants else "-"
    return _row(count.module, str(count.mutants), str(count.killed), percent, f"{count.took_s:.0f} s")


def _row(module: str, mutants: str, killed: str, percent: str, took: str) -> str:
    return f"{module:20}{mutants:>9}{killed:>9}{percent:>10}{took:>9}"


if __name__ == "__main__":
    sys.exit(main())
