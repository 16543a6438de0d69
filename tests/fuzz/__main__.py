"""Hostile input, as much as is asked for: on the pipeline, over the real router, and as raw bytes on each listener."""

import argparse
import os
import resource
import sys
import time
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import NamedTuple

from controlplane.quiet import leave_out_bjdata

leave_out_bjdata()

from tests.fuzz.bench import Found  # noqa: E402
from tests.fuzz.calls import OWN  # noqa: E402
from tests.fuzz.memory import Growth, held_here  # noqa: E402
from tests.fuzz.pipeline import BATCH_LENGTH, Run  # noqa: E402

SHARES = {"pipeline": 0.93, "lasting": 0.05, "router": 0.015, "frames": 0.005}
"""Of the inputs: the pipeline is where most of them get to anyway, and many times as fast."""


BYTES_MAX = 4 * 2**30
"""Address space of a process that calls the pipeline."""


class Task(NamedTuple):
    """What one process does of the parts that need no router."""

    seed: int
    lasting: int
    """Batches on one plane."""

    batches: range
    """Numbers of batches that have a plane each."""


class Report(NamedTuple):
    """How one part of a task went."""

    part: str
    inputs: int
    outcomes: Counter[str]
    made: Counter[str]
    growth: Growth


def main() -> int:
    """Run the parts that are asked for; return the exit status."""
    options = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    options.add_argument("--inputs", type=int, default=100_000, help="How many in all. [default: 100000]")
    options.add_argument("--seed", type=int, default=1, help="Same seed, same inputs. [default: 1]")
    options.add_argument("--part", choices=tuple(SHARES), help="Only this part, with all inputs. [default: all]")
    options.add_argument("--batch", type=int, help="Only this batch of a part, with every input shown.")
    options.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="Processes for what needs no router. [default: as cores]"
    )
    given = options.parse_args()
    try:
        if given.batch is not None:
            again(given.part or "pipeline", given.seed, given.batch)
            print("nothing is wrong with this batch")
            return 0
        shares = {given.part: 1.0} if given.part else SHARES
        inputs = {part: int(given.inputs * share) for part, share in shares.items()}
        problems = pipeline(given.seed, inputs, given.jobs) if {"pipeline", "lasting"} & inputs.keys() else []
        if {"router", "frames"} & inputs.keys():
            from tests.fuzz.installed import fuzz_installed

            problems += fuzz_installed(given.seed, inputs)
        for problem in problems:
            print(problem, file=sys.stderr)
        return 1 if problems else 0
    except Found as problem:
        traceback.print_exception(problem)
        return 1


def again(part: str, seed: int, number: int) -> None:
    """Make the inputs of one batch again and show them; raises `Found`."""
    if part == "pipeline":
        Run(seed).batch(number, show=True)
    elif part == "lasting":
        raise Found("a batch of this part comes after all before it: repeat it with --inputs")
    else:
        from tests.fuzz.installed import fuzz_installed

        fuzz_installed(seed, {part: 1}, only=number)


def pipeline(seed: int, inputs: dict[str, int], jobs: int) -> list[str]:
    """Fuzz the pipeline in processes of their own.

    Returns what is wrong with the whole; raises `Found` for an input.
    """
    batches, lasting = (
        max(1, inputs[part] // BATCH_LENGTH) if part in inputs else 0 for part in ("pipeline", "lasting")
    )
    first = max(0, (batches + lasting) // jobs - lasting)
    tasks, begin = [Task(seed, lasting, range(first))], first
    for number in range(1, jobs):
        end = first + (batches - first) * number // (jobs - 1)
        tasks.append(Task(seed, 0, range(begin, end)))
        begin = end
    if jobs == 1:
        tasks = [Task(seed, lasting, range(batches))]
    begun = time.perf_counter()
    with ProcessPoolExecutor(jobs, get_context("fork")) as pool:
        reports = []
        for share in as_completed([pool.submit(work, task) for task in tasks]):
            try:
                reports += share.result()
            except BrokenProcessPool:
                raise Found(f"a process with one of these shares was ended by a signal: {tasks}") from None
    took = time.perf_counter() - begun
    problems: list[str] = []
    for part in ("pipeline", "lasting"):
        those = [report for report in reports if report.part == part]
        if those:
            tell(part, sum(r.inputs for r in those), seed, took, sum((r.outcomes for r in those), Counter()))
            for report in those:
                problems += judged(report.growth, report.inputs)
    made = sum((report.made for report in reports), Counter())
    print(f"  {sum(uri in made for uri, _ in OWN)} of {len(OWN)} procedures ended in a result at least once")
    return problems


def work(task: Task) -> list[Report]:
    """Do one process's share."""
    # What would take all memory is an input that is found, and not the end of the machine.
    resource.setrlimit(resource.RLIMIT_AS, (BYTES_MAX, BYTES_MAX))
    reports = []
    if task.lasting:
        run, growth = Run(task.seed), Growth("one plane that lasts")
        for number, _ in enumerate(run.lasting(task.lasting), 1):
            if growth.due(number / task.lasting):
                growth.samples.append(held_here())
        reports.append(Report("lasting", run.inputs, run.outcomes, run.made, growth))
    if task.batches:
        run, growth = (
            Run(task.seed),
            Growth(f"the process with batches {task.batches.start} to {task.batches.stop - 1}"),
        )
        for number, batch in enumerate(task.batches, 1):
            run.batch(batch)
            if growth.due(number / len(task.batches)):
                growth.samples.append(held_here())
        reports.append(Report("pipeline", run.inputs, run.outcomes, run.made, growth))
    return reports


def tell(part: str, inputs: int, seed: int, took: float, outcomes: Counter[str]) -> None:
    """Say how a part went."""
    print(f"{part}: {inputs} inputs, seed {seed}, {took:.0f} s, {inputs / took:.0f}/s")
    for outcome, number in outcomes.most_common(20):
        print(f"  {number:8}  {outcome}")
    others = sum(outcomes.values()) - sum(number for _, number in outcomes.most_common(20))
    if others:
        print(f"  {others:8}  others")
    sys.stdout.flush()


def judged(growth: Growth, inputs: int, inputs_min: int | None = None) -> list[str]:
    """Say what is held in memory; returns what is wrong with it."""
    line, grows = growth.verdict(inputs) if inputs_min is None else growth.verdict(inputs, inputs_min)
    print(line)
    return [f"this is growth:{line}"] if grows else []


if __name__ == "__main__":
    sys.exit(main())
