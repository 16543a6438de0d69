"""The parts that need a real router and a real master: calls and messages of joined clients, and raw bytes."""

import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import react
from twisted.internet.threads import deferToThread

from controlplane.clock import sleep
from tests.fuzz import frames, router
from tests.fuzz.__main__ import judged, tell
from tests.fuzz.bench import Found
from tests.fuzz.memory import Growth
from tests.fuzz.target import Target

INPUTS_MIN = 5_000
"""From how many inputs on memory is judged."""

QUIET_S = 3.0


def fuzz_installed(seed: int, inputs: dict[str, int], only: int | None = None) -> list[str]:
    """Fuzz a router and a master of their own, with one batch `only` if it is given.

    Returns what is wrong with the whole; raises `Found` for an input.
    """
    problems: list[BaseException] = []
    found: list[str] = []

    async def run(reactor: Any) -> None:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            target = Target(Path(folder))
            try:
                await target.start()
                if only is None:
                    found.extend(await _fuzz(reactor, target, seed, inputs))
                else:
                    await _again(target, seed, next(iter(inputs)), only)
                found.extend(f"in the logs: {complaint}" for complaint in target.complaints()[:1])
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
    return found


async def _again(target: Target, seed: int, part: str, number: int) -> None:
    if part == "router":
        await router.Run(target, seed).batch(number, show=True)
    else:
        raw = frames.Run(target.children.port, target.state.master_socket, seed)
        await deferToThread(raw.connection, number, show=True)


async def _fuzz(reactor: Any, target: Target, seed: int, inputs: dict[str, int]) -> list[str]:
    target.start_neighbour()
    await sleep(reactor, 2.0)
    await deferToThread(target.phase)
    await sleep(reactor, QUIET_S)
    quiet = await deferToThread(target.phase)
    problems = []
    if inputs.get("router"):
        calls = router.Run(target, seed)

        async def send(number: int) -> None:
            await calls.batch(number)

        problems += await _part("router", target, seed, calls, inputs["router"], send, quiet)
    if inputs.get("frames"):
        raw = frames.Run(target.children.port, target.state.master_socket, seed)
        before, open_before = target.contents(), target.descriptors()
        problems += await _part(
            "frames", target, seed, raw, inputs["frames"], lambda number: deferToThread(raw.connection, number), quiet
        )
        if target.contents() != before:
            raise Found("raw bytes changed the store")
        await _until_closed(reactor, target, open_before)
    for name, number in target.noise().most_common():
        print(f"  logged by the router: {number} x {name}")
    return problems


async def _part(
    part: str, target: Target, seed: int, run: Any, inputs: int, send: Any, quiet: dict[str, Any]
) -> list[str]:
    begun, number = time.perf_counter(), 0
    growths = Growth("the router"), Growth("the master")
    while run.inputs < inputs:
        await send(number)
        number += 1
        if growths[0].due(run.inputs / inputs):
            await deferToThread(target.weigh, growths)
    tell(part, run.inputs, seed, time.perf_counter() - begun, run.outcomes)
    beside(quiet, await deferToThread(target.phase))
    return [problem for growth in growths for problem in judged(growth, run.inputs, INPUTS_MIN)]


async def _until_closed(reactor: Any, target: Target, before: int) -> None:
    """Wait until the connections that were left open are closed by the router."""
    for _ in range(900):
        if target.descriptors() <= before + 2:
            return
        await sleep(reactor, 0.1)
    raise Found(f"{target.descriptors() - before} connections stay open")


def beside(quiet: dict[str, Any], now: dict[str, Any]) -> None:
    """Say how a client that behaves fared."""
    print(
        f"  beside it: p50 {now['p50'] * 1e3:.2f} ms ({now['p50'] / quiet['p50']:.2f} of quiet), "
        f"p99 {now['p99'] * 1e3:.2f} ms ({now['p99'] / quiet['p99']:.2f}), {now['calls']} calls, "
        f"{now['failures']} failures"
    )
    if now["failures"] or not now["calls"]:
        raise Found("a client that behaves was not answered")
