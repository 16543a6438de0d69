"""Processes that a worker has left behind, found by a mark in their environment.

A keeper ends everything below it. When a keeper itself was killed, what it kept is nobody's: it is found by the mark
that every process of a worker inherits.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from controlplane.clock import Clock, sleep
from controlplane.drivers.processes import Identity, identify, kill

MARK = "CONTROLPLANE_RUN"
ROUNDS_MAX = 250
PAUSE_S = 0.02


def marked(prefix: str) -> Mapping[Identity, str]:
    """Return the processes whose mark begins so, with the whole of it."""
    sought = f"\0{MARK}={prefix}".encode()
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            environment = b"\0" + Path(f"/proc/{name}/environ").read_bytes()
        except OSError:
            continue  # It has ended, or is another user's.
        at = environment.find(sought)
        identity = identify(int(name)) if at >= 0 else None
        if identity is not None:
            value = environment[at + len(MARK) + 2 :].split(b"\0", 1)[0]
            found[identity] = value.decode(errors="replace")
    return found


async def end_marked(clock: Clock, prefix: str, spared: frozenset[str] = frozenset()) -> int:
    """Kill the processes whose mark begins so, but for some marks; returns how many there were, when none is left."""
    killed: set[Identity] = set()
    for _ in range(ROUNDS_MAX):
        found = [identity for identity, mark in marked(prefix).items() if mark not in spared]
        if not found:
            break
        for identity in found:
            kill(identity)
            killed.add(identity)
        await sleep(clock, PAUSE_S)
    return len(killed)
