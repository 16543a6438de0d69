"""`scripts/soak`: run an installation for hours under steady changes, and say what grew."""

import argparse
import os
import shutil
import signal
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from controlplane.quiet import leave_out_bjdata

leave_out_bjdata()

from twisted.internet.defer import Deferred, ensureDeferred  # noqa: E402
from twisted.internet.task import react  # noqa: E402
from twisted.internet.threads import deferToThread  # noqa: E402

from controlplane.clock import sleep  # noqa: E402
from tests.bench.harness import machine, timed  # noqa: E402
from tests.e2e.installation import kill_what_is_left  # noqa: E402
from tests.soak import figures  # noqa: E402
from tests.soak.changes import Changes  # noqa: E402
from tests.soak.figures import HOUR_S, MIB, Line, Series  # noqa: E402
from tests.soak.world import World, weigh, write_json  # noqa: E402

SAMPLES_MAX = 2000
"""Samples are this many at most, and not more often than every second."""

CHECKS = 12
CHECK_PERIOD_MIN_S, CHECK_PERIOD_MAX_S = 6.0, 300.0
ECHOES_PER_SAMPLE = 3
LIFETIME_MARGIN_S = 600
TABLE_EVERY = 4
RESTART_EVERY = 2
"""The table is printed, and an agent is restarted, once in so many checks."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/soak", description="Run an installation under steady changes and say what grew."
    )
    parser.add_argument("--hours", type=float, required=True, help="how long; 0.01 is 36 seconds")
    parser.add_argument("--out", type=Path, help="write the samples and the report there, as JSON")
    parser.add_argument("--rate", type=float, default=20.0, help="changes and reads per second (default: 20)")
    parser.add_argument("--agents", type=int, default=4, help="agents whose workers only sleep (default: 4)")
    parser.add_argument("--no-routers", action="store_true", help="leave out the node with real router workers")
    parser.add_argument("--seed", type=int, default=1, help="of what is done (default: 1)")
    parser.add_argument("--events-kept", type=int, default=5000, help="setting of the master (default: 5000)")
    found = parser.parse_args()
    if found.hours <= 0 or found.rate <= 0 or found.agents < 1:
        parser.error("--hours and --rate are more than nothing, and there is at least one agent")
    return found


class Soak:
    """One run."""

    def __init__(self, options: argparse.Namespace, directory: Path) -> None:
        self.seconds = options.hours * HOUR_S
        self._options = options
        lifetime = int(self.seconds) + LIFETIME_MARGIN_S
        self.world = World(directory, options.agents, not options.no_routers, lifetime)
        self.changes = Changes(self.world, options.seed)
        self.memory: dict[str, Series] = {}
        self.descriptors: dict[str, Series] = {}
        self.processor, self.store, self.live, self.logs = Series(), Series(), Series(), Series()
        self.echoes, self.settled, self.events = Series(), Series(), Series()

    async def run(self, reactor: Any) -> None:
        """Go on until the time is over; cancelling it ends it at once."""
        await self.world.start()
        self._say(f"{datetime.now(UTC):%Y-%m-%d %H:%M} on {machine()}, load {os.getloadavg()[0]:.1f}")
        self._say(f"{self.seconds / HOUR_S:g} h, {self._options.rate:g} changes and reads per second, state in "
                  f"{self.world.directory}")  # fmt: skip
        random = Random(self._options.seed + 1)
        sample_every = max(1.0, self.seconds / SAMPLES_MAX)
        check_every = max(CHECK_PERIOD_MIN_S, min(CHECK_PERIOD_MAX_S, self.seconds / CHECKS))
        next_sample = 0.0
        next_check = check_every
        checks = 0
        while self.world.elapsed() < self.seconds:
            now = self.world.elapsed()
            if now >= next_sample:
                next_sample = now + sample_every
                await self._sample()
            if now >= next_check:
                next_check = now + check_every
                await self._check(checks)
                checks += 1
                if checks % TABLE_EVERY == 0:
                    self._say(self.report())
            self.changes.begin()
            await sleep(reactor, random.expovariate(self._options.rate))
        await self._sample()
        await self._check(None)

    async def _sample(self) -> None:
        now, total = self.world.elapsed(), 0.0
        # In a thread, because calls whose time is taken are under way.
        for name, (memory, descriptors, seconds) in (await deferToThread(weigh, self.world.families())).items():
            total += seconds
            self.memory.setdefault(name, Series()).add(now, memory)
            self.descriptors.setdefault(name, Series()).add(now, descriptors)
        self.processor.add(now, total)
        self.store.add(now, self.world.store_bytes())
        self.logs.add(now, self.world.log_bytes())
        self.events.add(now, self.world.events)
        for taken in await timed(self.world.echo, ECHOES_PER_SAMPLE):
            self.echoes.add(now, taken)

    async def _check(self, number: int | None) -> None:
        """Let everything settle, see whether it did, and look at the store; then disturb what is disturbed seldom."""
        taken = await self.changes.settle()
        if taken is not None:
            self.settled.add(self.world.elapsed(), taken)
        self.live.add(self.world.elapsed(), await self.world.compacted())
        if number is None:
            return
        if number % RESTART_EVERY == RESTART_EVERY - 1:
            # Always the same one: the memory of the others tells something.
            self.changes.restart(self.world.agents[-1], gently=number // RESTART_EVERY % 2 == 1)
        await self.world.vary_routers(3 if number % 2 else 2)

    def report(self) -> str:
        """Return the table of what was seen so far."""
        return "\n".join([figures.HEAD, *(line.text() for line in self.lines()), *self._summary()])

    def lines(self) -> list[Line]:
        span = figures.after_warm_up(self.world.elapsed())
        steady = [name for name in self.memory if name != self.world.agents[-1] or len(self.world.agents) == 1]
        half = figures.caches_full(self.world.elapsed())
        lines = [figures.memory_line(f"memory of {n}", s, span, judged=False) for n, s in self.memory.items()]
        lines += [figures.memory_line(f"{n}, second half", s, half, n in steady) for n, s in self.memory.items()]
        lines += [
            figures.descriptor_line(f"descriptors of {n}", s, span, n in steady) for n, s in self.descriptors.items()
        ]
        lines.append(figures.store_line(self.store, self.live, span))
        lines.append(figures.amount_line("store on disk", self.store, span, "MiB", MIB))
        lines.append(figures.amount_line("logs", self.logs, span, "MiB", MIB))
        for name, series in (("read", self.changes.reads), ("write", self.changes.writes), ("echo", self.echoes)):
            for part in (0.5, 0.99):
                lines.append(figures.latency_line(f"{name}, p{part * 100:g}", series, span, part))
        for name, series in (("read", self.changes.reads), ("write", self.changes.writes)):
            lines.append(figures.latency_line(f"{name} / echo, p50", series, span, 0.5, self.echoes))
        lines.append(figures.amount_line("time to settle", self.settled, span, "s", 1.0))
        return lines

    def _summary(self) -> list[str]:
        span = figures.after_warm_up(self.world.elapsed())
        core = self.processor.slope(*span) / HOUR_S
        done = ", ".join(f"{kind} {count}" for kind, count in self.changes.done.items())
        problems = [f"problem: {text}" for text in self.changes.problems]
        return [
            f"after {self.world.elapsed() / HOUR_S:.3f} h: {core:.0%} of a core; {done}; {self.world.events} events; "
            f"{self.changes.problem_count} problems; settled {len(self.settled.values)} times",
            *problems,
        ]

    def write(self, file: Path) -> None:
        """Write everything that was seen."""
        series = {
            **{f"memory {name}": one for name, one in self.memory.items()},
            **{f"descriptors {name}": one for name, one in self.descriptors.items()},
            "processor": self.processor,
            "store": self.store,
            "live": self.live,
            "logs": self.logs,
            "settled": self.settled,
            "events": self.events,
        }
        write_json(
            file,
            {
                "lines": [line._asdict() for line in self.lines()],
                "problems": self.changes.problems,
                "done": self.changes.done,
                "series": {name: [one.times, one.values] for name, one in series.items()},
            },
        )

    def _say(self, text: str) -> None:
        print(text, flush=True)


async def main(reactor: Any, soak: Soak, out: Path | None) -> None:
    stopped: Deferred[None] = Deferred()

    def stop(*_: Any) -> None:
        if not stopped.called:
            stopped.callback(None)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: reactor.callFromThread(stop))
    work = ensureDeferred(soak.run(reactor))
    stopped.addCallback(lambda _: work.cancel())
    try:
        await work
    except Exception as problem:
        if not stopped.called:
            soak.changes.note(f"the run ended early: {problem!r}")
    finally:
        soak.world.ending = True
        if not soak.memory:
            print("\n".join(soak.changes.problems), flush=True)
        else:
            print(soak.report(), flush=True)
            if out is not None:
                soak.write(out)
        print("stopping: agents with their workers, master, router", flush=True)
        await deferToThread(soak.world.stop)


def run() -> int:
    options = arguments()
    os.environ["CONTROLPLANE_MASTER_EVENTS_KEPT"] = str(options.events_kept)
    root = Path(tempfile.mkdtemp(prefix="controlplane-soak-")).resolve()
    soak = Soak(options, root)
    try:
        react(lambda reactor: ensureDeferred(main(reactor, soak, options.out)))
    except SystemExit as ended:
        if ended.code:
            return int(ended.code)
    finally:
        soak.world.stop()
        left = kill_what_is_left(root)
        shutil.rmtree(root, ignore_errors=True)
    if left:
        print(f"problem: these were left running and have been killed: {left}", flush=True)
    return 1 if left or soak.changes.problem_count else 0


if __name__ == "__main__":
    sys.exit(run())
