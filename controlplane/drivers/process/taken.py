"""A process that was not started by us and is a worker: it has no keeper, and is watched and ended itself.

Its output goes where it went before, and its limits are what they were. What it has started is ended with it as far as
it can be found from it.
"""

import os
import signal
from pathlib import Path

from controlplane.drivers import processes
from controlplane.drivers.process.figures import descendants
from controlplane.drivers.process.running import END_MARGIN_S, Running
from controlplane.drivers.processes import Identity, identify, kill
from controlplane.records.types import NANOSECONDS, Instant


class Taken(Running):
    """One such process; for the driver like any other."""

    async def stop(self) -> None:
        """End the process in order, by force if need be, with what it has started."""
        await self._end_all(self.stop_signal, self.grace)

    async def discard(self) -> None:
        """End it at once, with what it has started."""
        await self._end_all(signal.SIGKILL, END_MARGIN_S)

    def condemn(self, verdict: str) -> None:
        """End it at once, for a reason that counts."""
        self._verdict = self._verdict or verdict
        self._send(signal.SIGKILL)

    async def _end_all(self, number: signal.Signals, patience: float) -> None:
        pid = None if self.note is None else self.note.process.pid
        known = self._keeper is not None and self._keeper.watched
        family = [identify(each) for each in descendants(pid)] if pid is not None and known else []
        await self._end(number, patience)
        for each in family:
            if each is not None:
                kill(each)

    def look_at_lease(self) -> None:
        """Do nothing: there is no keeper."""

    def how_it_ended(self, reason: str = processes.UNKNOWN_END) -> str:
        """Return what it died of, as far as the kernel says."""
        return reason


def started_at(identity: Identity, stat: Path = Path("/proc/stat")) -> Instant:
    """Return when a process was started, by the clock of this machine."""
    booted = next(int(line.split()[1]) for line in stat.read_text().splitlines() if line.startswith("btime "))
    return booted * NANOSECONDS + identity.ticks * NANOSECONDS // os.sysconf("SC_CLK_TCK")
