"""What workers have written, for `logs`."""

import sys
from typing import Any

from controlplane.clock import sleep
from controlplane.errors import NoAnswer, NotAttached, NotOffered, WorkerFailed
from controlplane.wamp import Session

GET_WORKER_LOGS = "controlplane.worker.get_worker_logs"
WITHIN_S = 30.0
LENGTH = 1_048_576
PAUSE_S = 1.0
GAP = "... something was written here that is kept no longer"


class WorkerLog:
    """What one worker has written, as far as it was shown."""

    def __init__(self, worker: str, lines: int) -> None:
        self._worker = worker
        self._lines = lines
        self._after: str | None = None
        self._at_line = True

    async def print_last(self, session: Session) -> None:
        """Print the last lines, with an end of line after the last one."""
        self._print((await self._read(session))["text"])
        if not self._at_line:
            print()

    async def follow(self, session: Session) -> None:
        """Print the last lines, and then what is written; a node that is away is waited for."""
        while True:
            try:
                said = await self._read(session)
            except (NoAnswer, NotAttached, WorkerFailed) as problem:
                if self._after is None:
                    raise
                print(f"{problem.message}", file=sys.stderr)
            else:
                if said["gap"]:
                    print(GAP, file=sys.stderr)
                self._print(said["text"])
                self._after = said["next"]
                if self._after is None:
                    raise NotOffered(
                        f"what worker {self._worker} writes cannot be followed", next_step="leave --follow out"
                    )
            await sleep(session.clock, PAUSE_S)

    async def _read(self, session: Session) -> dict[str, Any]:
        found: dict[str, Any] = await session.call(
            GET_WORKER_LOGS, WITHIN_S, self._worker, self._lines, LENGTH, self._after
        )
        return found

    def _print(self, text: str) -> None:
        if text:
            self._at_line = text.endswith("\n")
            sys.stdout.write(text)
            sys.stdout.flush()
