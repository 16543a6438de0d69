"""A file that a process writes its output to, kept from growing without limit while the process goes on writing."""

import os
from pathlib import Path

from controlplane.clock import Clock, DelayedCall

LENGTH_MAX = 8 * 1024 * 1024
KEPT_LENGTH = 1024 * 1024
LOOK_EVERY_S = 20.0
LAST_LINES_LENGTH = 4096


class OutputFile:
    """What a process that outlives us has written; when it is too long, only its end is kept, in a second file."""

    def __init__(self, clock: Clock, path: Path) -> None:
        self.path = path
        self._clock = clock
        self._timer: DelayedCall | None = None

    def watch(self) -> None:
        """Look at the length now and then."""
        self.cut()
        self.let_go()
        self._timer = self._clock.callLater(LOOK_EVERY_S, self.watch)

    def let_go(self) -> None:
        """Look no more."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def descriptor(self) -> int:
        """Return a descriptor for a process to write to; every write goes to the end, also after a cut."""
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def cut(self) -> None:
        """Empty the file when it is too long."""
        try:
            if self.path.stat().st_size > LENGTH_MAX:
                older = self.path.with_name(self.path.name + ".1")
                older.write_bytes(self._end(KEPT_LENGTH))
                older.chmod(0o600)
                os.truncate(self.path, 0)
        except FileNotFoundError:
            pass  # Nothing was written yet.

    def last_line(self) -> str | None:
        """Return the last thing that was written."""
        try:
            lines = self._end(LAST_LINES_LENGTH).decode(errors="replace").split("\n")
        except FileNotFoundError:
            return None
        return next((line.strip() for line in reversed(lines) if line.strip()), None)

    def _end(self, length: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - length))
            return file.read()
