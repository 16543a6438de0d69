"""What a worker and everything that it has started use."""

import os
from pathlib import Path
from typing import Any

STATE, USER_TICKS, SYSTEM_TICKS, BURIED_USER_TICKS, BURIED_SYSTEM_TICKS, THREADS, PAGES = 0, 11, 12, 13, 14, 17, 21
"""Fields of /proc/<pid>/stat, counted from behind the name."""


def figures(keeper: int, itself: bool = False) -> dict[str, Any]:
    """Return what the processes below a keeper use, or with it `itself`, and what those have used that have ended."""
    tick, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    ticks = pages = threads = processes = files = 0
    for pid in (*([keeper] if itself else ()), *descendants(keeper)):
        fields = _stat(pid)
        if fields is None or fields[STATE] == "Z":
            continue
        ticks += sum(int(fields[at]) for at in (USER_TICKS, SYSTEM_TICKS, BURIED_USER_TICKS, BURIED_SYSTEM_TICKS))
        pages += int(fields[PAGES])
        threads += int(fields[THREADS])
        processes += 1
        files += _files(pid)
    own = _stat(keeper)
    if own is not None and not itself:
        ticks += int(own[BURIED_USER_TICKS]) + int(own[BURIED_SYSTEM_TICKS])
    return {
        "cpu_seconds": ticks / tick,
        "memory": pages * page,
        "processes": processes,
        "threads": threads,
        "open_files": files,
    }


def descendants(pid: int) -> list[int]:
    """Return the processes below one."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        each = waiting.pop()
        try:
            threads = os.listdir(f"/proc/{each}/task")
        except OSError:
            continue
        for thread in threads:
            try:
                children = [int(child) for child in Path(f"/proc/{each}/task/{thread}/children").read_text().split()]
            except OSError:
                continue
            found += children
            waiting += children
    return found


def _stat(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text[text.rindex(")") + 2 :].split()


def _files(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0
