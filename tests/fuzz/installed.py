"""The parts that need a real router and a real master: calls and messages of joined clients, and raw bytes."""

import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor
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

WINDOW_S = 2.0
"""So long hostile input goes on, and as long there is none: what a client that behaves waits is compared within
seconds, because what else the machine does changes."""

CALMS_MAX = 60


def fuzz_installed(seed: int, inputs: dict[str, int], only: int | None = None) -> list[str]:
    """Fuzz a router and a master of their own, with one batch `only` if it is given.

    Returns what is wrong with the whole; raises `Found` for an input.
    """
    problems: list[BaseException] = []
    found: list[str] = []

    async def run(_reactor: Any) -> None:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            target = Target(Path(folder))
            try:
                await target.start()
                if only is None:
                    found.extend(await _fuzz(target, seed, inputs))
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


async def _fuzz(target: Target, seed: int, inputs: dict[str, int]) -> list[str]:
    target.start_neighbour()
    await sleep(reactor, 2.0)
    problems = []
    if inputs.get("router"):
        calls = router.Run(target, seed)

        async def send(number: int) -> None:
            await calls.batch(number)

        problems += await _part("router", target, seed, calls, inputs["router"], send)
    if inputs.get("frames"):
        raw = frames.Run(target.children.port, target.state.master_socket, seed)
        before, open_before = target.contents(), target.descriptors()
        problems += await _part(
            "frames", target, seed, raw, inputs["frames"], lambda number: deferToThread(raw.connection, number)
        )
        if target.contents() != before:
            raise Found("raw bytes changed the store")
        await _until_closed(reactor, target, open_before)
    for name, number in target.noise().most_common():
        print(f"  logged by the router: {number} x {name}")
    return problems


async def _part(part: str, target: Target, seed: int, run: Any, inputs: int, send: Any) -> list[str]:
    begun, calm, number = time.perf_counter(), 0.0, 0
    growths = Growth("the router"), Growth("the master")
    beside: list[float] = []
    alone: list[float] = []
    calms = 0
    await deferToThread(target.phase)
    since = time.perf_counter()
    while run.inputs < inputs:
        await send(number)
        number += 1
        if time.perf_counter() - since >= WINDOW_S or run.inputs >= inputs:
            beside += await deferToThread(target.phase)
            since = time.perf_counter()
            if calms < CALMS_MAX:
                calms += 1
                await sleep(reactor, WINDOW_S)
                alone += await deferToThread(target.phase)
            if growths[0].due(run.inputs / inputs):
                await deferToThread(target.weigh, growths)
                await deferToThread(target.phase)
            calm += time.perf_counter() - since
            since = time.perf_counter()
    tell(part, run.inputs, seed, time.perf_counter() - begun - calm, run.outcomes)
    compare(beside, alone)
    return [problem for growth in growths for problem in judged(growth, run.inputs, INPUTS_MIN)]


async def _until_closed(reactor: Any, target: Target, before: int) -> None:
    """Wait until the connections that were left open are closed by the router."""
    for _ in range(900):
        if target.descriptors() <= before + 2:
            return
        await sleep(reactor, 0.1)
    raise Found(f"{target.descriptors() - before} connections stay open")


def compare(beside: list[float], alone: list[float]) -> None:
    """Say how long a client that behaves waited beside hostile input, and in the pauses of it."""
    if not beside or not alone:
        raise Found("a client that behaves was not answered")
    shown = []
    for name, part in (("p50", 0.5), ("p99", 0.99)):
        with_it, without = (sorted(times)[int(len(times) * part)] for times in (beside, alone))
        shown.append(f"{name} {with_it * 1e3:.2f} ms ({with_it / without:.2f} of {without * 1e3:.2f} ms in the pauses)")
    print(f"  beside it: {', '.join(shown)}; {len(beside)} and {len(alone)} calls, all answered")
