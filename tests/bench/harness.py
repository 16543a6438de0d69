"""What all benchmarks have in common: rounds that alternate, medians, and one printed line per figure.

A figure is a ratio of two sides measured in the same run on the same machine; its bar says what is wanted. Nothing here
asserts: a benchmark prints, and a person judges.
"""

import statistics
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, NamedTuple


class Figure(NamedTuple):
    """One result."""

    name: str
    ratio: float
    ours: str
    floor: str
    bar: str
    kept: bool

    def line(self) -> str:
        verdict = "kept" if self.kept else "MISSED"
        return f"{self.name:<58} {self.ratio:>7.3f}  {self.ours:<34} / {self.floor:<40} bar {self.bar:<10} {verdict}"


def at_most(name: str, ours: float, floor: float, bar: float, unit: str, what: str, scale: float = 1.0) -> Figure:
    """A figure whose ratio shall not be larger than the bar."""
    ratio = ours / floor if floor else float("inf")
    return Figure(
        name, ratio, f"{ours * scale:.3f} {unit}", f"{floor * scale:.3f} {unit} {what}", f"<= {bar:g}", ratio <= bar
    )


def at_least(name: str, ours: float, floor: float, bar: float, unit: str, what: str) -> Figure:
    """A figure whose ratio shall not be smaller than the bar."""
    ratio = ours / floor if floor else 0.0
    return Figure(name, ratio, f"{ours:,.0f} {unit}", f"{floor:,.0f} {unit} {what}", f">= {bar:g}", ratio >= bar)


def quantile(values: Iterable[float], part: float) -> float:
    """The value below which this part of all lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


async def timed(work: Callable[[], Coroutine[Any, Any, Any]], count: int) -> list[float]:
    """How long each of so many runs, one after the other, took in seconds."""
    taken = []
    for _ in range(count):
        begun = time.perf_counter()
        await work()
        taken.append(time.perf_counter() - begun)
    return taken


async def in_turn(works: list[Callable[[], Coroutine[Any, Any, Any]]], count: int) -> list[list[float]]:
    """How long each run of several works took, one run of each after the other: what drifts, drifts for all."""
    taken: list[list[float]] = [[] for _ in works]
    for _ in range(count):
        for work, times in zip(works, taken, strict=True):
            begun = time.perf_counter()
            await work()
            times.append(time.perf_counter() - begun)
    return taken


async def rate(start: Callable[[], Any], count: int, in_flight: int) -> float:
    """How many calls per second are answered when so many are under way at any time."""
    from twisted.internet.defer import Deferred

    done: Deferred[None] = Deferred()
    state = {"begun": 0, "ended": 0}

    def begin(_: Any = None) -> None:
        if state["begun"] < count:
            state["begun"] += 1
            # A call that fails ends the measurement, instead of leaving it without an end.
            start().addCallback(end).addErrback(lambda failure: None if done.called else done.errback(failure))

    def end(result: Any) -> Any:
        state["ended"] += 1
        if state["ended"] == count:
            done.callback(None)
        else:
            begin()
        return result

    begun = time.perf_counter()
    for _ in range(in_flight):
        begin()
    await done
    return count / (time.perf_counter() - begun)


def machine() -> str:
    """The machine, in a few words, for the table in the documents."""
    import os
    import platform

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}, Linux {platform.release()}"
