"""`scripts/netns [NAME ...]`: run scenarios on machines that are network namespaces, and say how they went."""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from controlplane.quiet import leave_out_bjdata

leave_out_bjdata()

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred  # noqa: E402
from twisted.internet.task import react  # noqa: E402

from tests.bench.harness import machine  # noqa: E402
from tests.e2e.installation import kill_what_is_left  # noqa: E402
from tests.netns.machines import why_not  # noqa: E402
from tests.netns.running import HEAD, run_scenario  # noqa: E402
from tests.netns.scenarios import SCENARIOS  # noqa: E402
from tests.netns.world import World  # noqa: E402

SKIPPED = 77
"""Exit status of what cannot be run here, as automake has it."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/netns",
        description="Spoil the network between machines, and see what becomes of it.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="scenarios; all of them when none is named")
    parser.add_argument("--list", action="store_true", help="name them, and do nothing")
    parser.add_argument("--rounds", type=int, default=1, help="how often each (default: 1)")
    parser.add_argument("--seed", type=int, default=1, help="of what is lost and delayed (default: 1)")
    found = parser.parse_args()
    unknown = set(found.names) - SCENARIOS.keys()
    if unknown:
        parser.error(f"there is no scenario {', '.join(sorted(unknown))}; --list names them")
    return found


class Run:
    """Scenarios one after the other; after one that failed everything is made anew."""

    def __init__(self, directory: Path, options: argparse.Namespace) -> None:
        self.problems: list[str] = []
        self._directory = directory
        self._options = options
        self._worlds: list[World] = []

    async def run(self) -> None:
        """Run all that was asked for; cancelling it ends it at once."""
        print(HEAD, flush=True)
        for _ in range(self._options.rounds):
            for name in self._options.names or list(SCENARIOS):
                try:
                    world = self._worlds[0] if self._worlds else await self._make_world()
                    outcome = await run_scenario(world, SCENARIOS[name])
                except CancelledError:
                    raise
                except Exception as problem:
                    self.problems.append(name)
                    print(f"{name:<30} FAILED: {problem!r}", flush=True)
                    if not isinstance(problem, AssertionError):
                        traceback.print_exc()
                    await self.stop()
                else:
                    print(outcome.line(), flush=True)
                    for remark in world.remarks:
                        print(f"  {remark}", flush=True)
                    world.remarks.clear()

    async def stop(self) -> None:
        """End everything."""
        while self._worlds:
            await self._worlds.pop().stop()

    async def _make_world(self) -> World:
        world = World(self._directory / uuid4().hex[:8], seed=self._options.seed)
        self._worlds.append(world)
        await world.start()
        return world


async def main(reactor: Any, whole: Run) -> None:
    stopped: Deferred[None] = Deferred()

    def stop(*_: Any) -> None:
        if not stopped.called:
            stopped.callback(None)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: reactor.callFromThread(stop))
    work = ensureDeferred(whole.run())
    stopped.addCallback(lambda _: work.cancel())
    try:
        await work
    except CancelledError:
        whole.problems.append("not all were run")
    finally:
        await whole.stop()


def run() -> int:
    options = arguments()
    if options.list:
        for scenario in SCENARIOS.values():
            print(f"{scenario.name:<30} {scenario.title}")
        return 0
    reason = why_not()
    if reason is not None:
        print(f"not run: {reason}", file=sys.stderr)
        return SKIPPED
    root = Path(tempfile.mkdtemp(prefix="controlplane-netns-")).resolve()
    whole = Run(root, options)
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} on {machine()}, load {os.getloadavg()[0]:.1f}", flush=True)
    try:
        react(lambda reactor: ensureDeferred(main(reactor, whole)))
    except SystemExit as ended:
        if ended.code:
            return int(ended.code)
    finally:
        left = kill_what_is_left(root)
        shutil.rmtree(root, ignore_errors=True)
    if left:
        print(f"these were left running and have been killed: {left}", flush=True)
    print(f"failed: {', '.join(whole.problems) or 'none'}", flush=True)
    return 1 if left or whole.problems else 0


if __name__ == "__main__":
    sys.exit(run())
