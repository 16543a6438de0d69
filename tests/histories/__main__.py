"""Histories of clients that call a real router all at once; each is judged whether it has an order."""

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from controlplane.quiet import leave_out_bjdata

leave_out_bjdata()

from twisted.internet.defer import ensureDeferred  # noqa: E402
from twisted.internet.task import react  # noqa: E402

from controlplane.clock import sleep  # noqa: E402
from tests.histories.clients import History, run_history  # noqa: E402
from tests.histories.defects import DEFECTS  # noqa: E402
from tests.histories.lines import Installed  # noqa: E402

NAMES = ("shop", "bank", "club", "pool")
KILL_EVERY_S = 1.0
"""Half of it to one and a half pass between the kills of the master."""


def main() -> int:
    """Make the histories; return the exit status."""
    options = argparse.ArgumentParser(prog="scripts/histories", description=__doc__)
    options.add_argument("--histories", type=int, default=20, help="How many. [default: 20]")
    options.add_argument("--clients", type=int, default=8, help="Who call at once. [default: 8]")
    options.add_argument("--calls", type=int, default=50, help="Of each client in one history. [default: 50]")
    options.add_argument("--seed", type=int, default=1, help="Of the first one. [default: 1]")
    options.add_argument("--kills", action="store_true", help="Kill the master again and again meanwhile.")
    options.add_argument("--defect", choices=tuple(DEFECTS), help="Plant this defect in the master.")
    given = options.parse_args()
    problems: list[Any] = []

    async def run(reactor: Any) -> None:
        with tempfile.TemporaryDirectory(prefix="histories-") as folder:
            installed = Installed(Path(folder), given.defect)
            try:
                await installed.begin()
                await _run(reactor, installed, given, problems)
            except BaseException as problem:
                problems.append(problem)
            finally:
                installed.end()
                await sleep(reactor, 0.2)

    try:
        react(lambda reactor: ensureDeferred(run(reactor)))
    except SystemExit:
        pass
    if problems and isinstance(problems[0], BaseException):
        raise problems[0]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


async def _run(reactor: Any, installed: Installed, given: Any, problems: list[Any]) -> None:
    outcomes: Counter[str] = Counter()
    kills, begun, judging = 0, time.perf_counter(), 0.0
    for seed in range(given.seed, given.seed + given.histories):
        names = [f"{name}_{seed}" for name in NAMES]
        working = ensureDeferred(run_history(reactor, installed.join, names, seed, given.clients, given.calls))
        if given.kills:
            random = Random(f"kills {seed}")
            while not working.called:
                await sleep(reactor, KILL_EVERY_S * (0.5 + random.random()))
                if not working.called:
                    await installed.restart_master(given.defect)
                    kills += 1
        history: History = await working
        count(history, outcomes)
        looked = time.perf_counter()
        problem = history.problem()
        judging += time.perf_counter() - looked
        if problem is not None:
            problems.append(f"seed {seed}: {problem}")
            break
    calls = sum(outcomes.values())
    took = time.perf_counter() - begun
    print(
        f"{seed - given.seed + 1} histories from seed {given.seed}: {calls} calls, {took:.0f} s, {calls / took:.0f}/s"
    )
    print(f"  {kills} kills of the master, {judging:.1f} s for judging")
    for outcome, number in outcomes.most_common():
        print(f"  {number:8}  {outcome}")


def count(history: History, outcomes: Counter[str]) -> None:
    """Add how the calls of a history ended."""
    for operation in history.operations:
        if operation.outcome is None:
            outcomes["never answered"] += 1
        else:
            outcomes["result" if operation.outcome[0] == "made" else operation.outcome[1]] += 1


if __name__ == "__main__":
    sys.exit(main())
