"""`scripts/crash`: kills, power cuts, backups and damage in large numbers; the test suite has them in small ones."""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import react

from controlplane.quiet import leave_out_bjdata
from tests.crash.pouring import answered

CALLS_PER_RECORD = 150
IMAGES_PER_RECORD = 1_000


def main() -> None:
    leave_out_bjdata()
    parser = argparse.ArgumentParser(prog="scripts/crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=0, help="kill -9 of the master and of agents, under load")
    parser.add_argument("--point", default="", help="of the kills; the beginning of its name is enough")
    parser.add_argument("--power-cuts", type=int, default=0, help="images of what a disk may hold after a power cut")
    parser.add_argument("--backups", type=int, default=0, help="taken under 1,000 writes per second and put back")
    parser.add_argument("--damages", type=int, default=0, help="files with bits and pages that changed")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="crash-", ignore_cleanup_errors=True) as folder:
        directory = Path(folder)
        if asked.power_cuts:
            _timed(_power_cuts, directory / "power", asked.power_cuts, asked.seed)
        if asked.backups:
            _timed(_backups, directory / "backups", asked.backups)
        if asked.damages:
            _timed(_damages, directory / "damages", asked.damages, asked.seed)
        if asked.kills:
            _timed(_kills, directory / "kills", asked.kills, asked.seed, asked.point)


def _power_cuts(directory: Path, count: int, seed: int) -> None:
    from tests.crash.power import check, commits_of, images, record

    done = 0
    while done < count:
        recording = directory / f"recording{seed}"
        recording.mkdir()
        steps = record(recording, CALLS_PER_RECORD, seed)
        commits = commits_of(steps)
        for image in images(steps, min(IMAGES_PER_RECORD, count - done), seed):
            check(image, commits, directory / "image")
            done += 1
        seed += 1
    _say(f"power cuts: {done} images, all opened and whole, each with everything that was told")


def _backups(directory: Path, count: int) -> None:
    from tests.crash.backups import pouring, take

    with pouring(directory) as counter:
        before, begun = answered(counter), time.monotonic()
        lasts = [take(directory, counter, number) for number in range(count)]
        rate = (answered(counter) - before) / (time.monotonic() - begun)
    _say(f"backups: {len(lasts)} of {count} are committed states, under {rate:.0f} writes per second")


def _damages(directory: Path, count: int, seed: int) -> None:
    from tests.crash.damage import GOOD, outcomes

    found = outcomes(directory, count, seed)
    for (kind, outcome), number in sorted(found.items()):
        _say(f"damages: {kind}: {outcome} {number}")
    if bad := {outcome for _, outcome in found} - GOOD:
        sys.exit(f"damages: {bad}")


def _kills(directory: Path, count: int, seed: int, point: str) -> None:
    from tests.crash.campaign import run

    async def work() -> None:
        campaign = await run(directory, seed, count, strace=shutil.which("strace") is not None, only=point, say=_say)
        for line in campaign.report():
            _say(line)
        _say("kills: 0 acknowledged losses, 0 half-applied changes, 0 healthy workers restarted")

    react(lambda _reactor: ensureDeferred(work()))


def _timed(work: Callable[..., None], directory: Path, *arguments: Any) -> None:
    directory.mkdir()
    begun = time.monotonic()
    try:
        work(directory, *arguments)
    except SystemExit as ended:
        # What Twisted's `react` does at its end; other things may be asked for too.
        if ended.code:
            raise
    _say(f"took {time.monotonic() - begun:.0f} s")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
