"""Whether memory grows: judged by what is in use, not by what the allocator keeps.

The resident set of a process says little of what it holds. Hostile arguments of some MiB are freed at once, and the C
library keeps the room for the next ones: tens of MiB, more or less of it after every batch. So garbage is collected and
freed room is given back first, and what is left without files that are mapped is what the process holds.
"""

import ctypes
import functools
import gc
import os
import re
import signal
import time
from pathlib import Path
from statistics import median

SAMPLES = 20
WARM_PART = 0.4
"""Of the samples: until then caches fill and modules are imported."""

GROWTH_MAX = 0.05
INPUTS_MIN = 20_000
"""With fewer, what is filled once still looks like growth."""

GIVEN_BACK_WITHIN_S = 60.0
WEIGHED = "FUZZ_WEIGHED"
"""Names the folder in which processes say that they have given back what they do not use; see `weighed/`."""

_c = ctypes.CDLL(None)


def give_back() -> None:
    """Collect garbage, and give the room of what was freed back to the system.

    What remembers at most so many results forgets them: it takes 150,000 inputs until every table of the store has
    filled its share, and until then that looks like growth.
    """
    for memory in gc.get_objects():
        if isinstance(memory, functools._lru_cache_wrapper) and memory.cache_parameters()["maxsize"] is not None:
            memory.cache_clear()
    gc.collect()
    _c.malloc_trim(0)


def held(pid: int | str = "self") -> int:
    """Return the bytes that a process holds that are in no file."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Anonymous:\s+(\d+) kB", text, re.MULTILINE)[1]) * 1024


def held_here() -> int:
    """Return the bytes that this process holds, after it gave back what it does not."""
    give_back()
    return held()


def answer_requests() -> None:
    """Give back what is not used upon SIGUSR2, and say so in a file."""
    said = Path(os.environ[WEIGHED]) / str(os.getpid())
    times = 0

    def obey(*_: object) -> None:
        nonlocal times
        give_back()
        times += 1
        said.write_text(str(times))

    signal.signal(signal.SIGUSR2, obey)
    said.write_text("0")


def held_by(pids: list[int], folder: Path) -> int:
    """Return the bytes that other processes hold; those that answer requests give back first what they do not use."""
    total = 0
    for pid in pids:
        said = folder / str(pid)
        if said.exists():
            before = said.read_text()
            os.kill(pid, signal.SIGUSR2)
            end = time.monotonic() + GIVEN_BACK_WITHIN_S
            while said.read_text() in (before, "") and time.monotonic() < end:
                time.sleep(0.01)
        total += held(pid)
    return total


class Growth:
    """What was held in the course of a run."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.samples: list[int] = []

    def due(self, part_done: float) -> bool:
        """Say whether it is time for the next sample."""
        return part_done * SAMPLES >= len(self.samples)

    def verdict(self, inputs: int, inputs_min: int = INPUTS_MIN) -> tuple[str, bool]:
        """Return a line that says how it went, and whether that is growth."""
        warm = self.samples[int(len(self.samples) * WARM_PART) :]
        if len(warm) < 6:
            return f"  memory held by {self.what}: {self.samples[-1] / 2**20:.1f} MiB", False
        third = len(warm) // 3
        before, after = median(warm[:third]), median(warm[-third:])
        growth = after / before - 1
        line = f"  memory held by {self.what}: {before / 2**20:.1f} MiB, then {after / 2**20:.1f} MiB, {growth:+.2%}"
        if inputs < inputs_min:
            return f"{line} (judged from {inputs_min} inputs on)", False
        return line, growth > GROWTH_MAX
