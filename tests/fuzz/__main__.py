"""Hostile input, as much as is asked for: on the pipeline, over the real router, and as raw bytes on each listener."""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from controlplane.quiet import leave_out_bjdata

leave_out_bjdata()

import psutil  # noqa: E402
from twisted.internet.defer import ensureDeferred  # noqa: E402
from twisted.internet.task import react  # noqa: E402
from twisted.internet.threads import deferToThread  # noqa: E402

from controlplane.clock import sleep  # noqa: E402
from tests.fuzz import frames, router  # noqa: E402
from tests.fuzz.pipeline import BATCH_LENGTH, Found, Run  # noqa: E402
from tests.fuzz.target import Target  # noqa: E402

GROWTH_MAX = 0.05
GROWTH_INPUTS_MIN = 3_000
"""With fewer, what is filled once still looks like growth."""

WARM_PART = 0.4
QUIET_S = 3.0
SHARES = {"pipeline": 0.95, "router": 0.04, "frames": 0.01}
"""Of the inputs: the pipeline is where most of them get to anyway, and a hundred times as fast."""


def main() -> int:
    """Run the parts that are asked for; return the exit status."""
    options = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    options.add_argument("--inputs", type=int, default=100_000, help="How many in all. [default: 100000]")
    options.add_argument("--seed", type=int, default=1, help="Same seed, same inputs. [default: 1]")
    options.add_argument("--part", choices=tuple(SHARES), help="Only this part, with all inputs. [default: all]")
    options.add_argument("--batch", type=int, help="Only this batch of the pipeline, with every input shown.")
    given = options.parse_args()
    try:
        if given.batch is not None:
            Run(given.seed).batch(given.batch, show=True)
            print("nothing is wrong with this batch")
            return 0
        shares = {given.part: 1.0} if given.part else SHARES
        if "pipeline" in shares:
            pipeline(given.seed, int(given.inputs * shares["pipeline"]))
        if "router" in shares or "frames" in shares:
            on_the_router(given.seed, {part: int(given.inputs * share) for part, share in shares.items()})
    except Found as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


def pipeline(seed: int, inputs: int) -> None:
    """Fuzz the pipeline in this process."""
    run, process = Run(seed), psutil.Process()
    begun, warm = time.perf_counter(), 0
    batches = max(1, inputs // BATCH_LENGTH)
    for number in range(batches):
        run.batch(number)
        if number == int(batches * WARM_PART):
            warm = process.memory_info().rss
    tell("pipeline", run, seed, time.perf_counter() - begun)
    grown("this process", warm, process.memory_info().rss, inputs)


def on_the_router(seed: int, inputs: dict[str, int]) -> None:
    """Fuzz a router and a master of their own, in processes of their own."""
    problems: list[BaseException] = []

    async def run(reactor: Any) -> None:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            target = Target(Path(folder))
            try:
                await target.start()
                await _fuzz(reactor, target, seed, inputs)
            except BaseException as problem:
                problems.append(problem)
            finally:
                target.stop()
                await sleep(reactor, 0.2)

    try:
        react(lambda reactor: ensureDeferred(run(reactor)))
    except SystemExit:
        pass
    if problems:
        raise problems[0]


async def _fuzz(reactor: Any, target: Target, seed: int, inputs: dict[str, int]) -> None:
    calls = router.Run(target, seed)
    raw = frames.Run(target.children.port, target.state.master_socket, seed)
    target.start_neighbour()
    await sleep(reactor, 2.0)
    await deferToThread(target.phase)
    await sleep(reactor, QUIET_S)
    quiet = await deferToThread(target.phase)
    if inputs.get("router"):
        begun, warm, number = time.perf_counter(), 0, 0
        while calls.inputs < inputs["router"]:
            await calls.batch(number)
            number += 1
            if not warm and calls.inputs >= inputs["router"] * WARM_PART:
                warm = target.memory()
        tell("router", calls, seed, time.perf_counter() - begun)
        beside(quiet, await deferToThread(target.phase))
        grown("router and master", warm, target.memory(), calls.inputs)
    if inputs.get("frames"):
        begun, warm, number = time.perf_counter(), 0, 0
        before, open_before = target.contents(), target.descriptors()
        while raw.inputs < inputs["frames"]:
            await deferToThread(raw.connection, number)
            number += 1
            if not warm and raw.inputs >= inputs["frames"] * WARM_PART:
                warm = target.memory()
        tell("frames", raw, seed, time.perf_counter() - begun)
        beside(quiet, await deferToThread(target.phase))
        grown("router and master", warm, target.memory(), raw.inputs)
        if target.contents() != before:
            raise Found("raw bytes changed the store")
        await _until_closed(reactor, target, open_before)
    for name, number in target.noise().most_common():
        print(f"  logged by the router: {number} x {name}")
    complaints = target.complaints()
    if complaints:
        raise Found(f"{len(complaints)} complaints in the logs; the first:\n{complaints[0]}")


async def _until_closed(reactor: Any, target: Target, before: int) -> None:
    """Wait until the connections that were left open are closed by the router."""
    for _ in range(900):
        if target.descriptors() <= before + 2:
            return
        await sleep(reactor, 0.1)
    raise Found(f"{target.descriptors() - before} connections stay open")


def tell(part: str, run: Any, seed: int, took: float) -> None:
    print(f"{part}: {run.inputs} inputs, seed {seed}, {took:.0f} s, {run.inputs / took:.0f}/s")
    for outcome, number in run.outcomes.most_common():
        print(f"  {number:8}  {outcome}")


def beside(quiet: dict[str, Any], now: dict[str, Any]) -> None:
    """Say how a client that behaves fared."""
    print(
        f"  beside it: p50 {now['p50'] * 1e3:.2f} ms ({now['p50'] / quiet['p50']:.2f} of quiet), "
        f"p99 {now['p99'] * 1e3:.2f} ms ({now['p99'] / quiet['p99']:.2f}), {now['calls']} calls, "
        f"{now['failures']} failures"
    )
    if now["failures"] or not now["calls"]:
        raise Found("a client that behaves was not answered")


def grown(what: str, before: int, after: int, inputs: int) -> None:
    growth = after / before - 1
    print(f"  memory of {what}: {after / 2**20:.0f} MiB, {growth:+.1%}")
    if growth > GROWTH_MAX and inputs >= GROWTH_INPUTS_MIN:
        raise Found(f"the memory of {what} grew by {growth:.1%}")


if __name__ == "__main__":
    sys.exit(main())
