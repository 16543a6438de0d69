"""A store that is written to all the time, so that what a backup holds can be told from its last event alone.

`python -m tests.crash.pouring DIRECTORY COUNTER RATE` creates clusters and deletes those from before, so many calls per
second and many to a commit, and keeps the number of answered ones in the file COUNTER.
"""

import os
import struct
import sys
import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

from twisted.internet.defer import ensureDeferred

from controlplane.store.catalog import CLUSTERS, EVENTS
from tests.conftest import ADMIN
from tests.crash.writer import PREFIX, Writer

KEPT = 200
"""Clusters that are there at a time."""

BATCH_LENGTH = 50
EVENTS_KEPT = 2_000
"""So that the store does not grow with the time that it is written to."""

COUNTER = struct.Struct("<Q")


def deeds() -> Iterator[tuple[str, int]]:
    """Every change in order: what is done, to the cluster with which number."""
    for number in count():
        yield "create", number
        if number >= KEPT:
            yield "delete", number - KEPT


def state_after(events: int) -> list[str]:
    """Return the names of the clusters that are there after so many events."""
    there: dict[int, None] = {}
    for deed, number in islice(deeds(), events):
        if deed == "create":
            there[number] = None
        else:
            del there[number]
    return sorted(map(name_of, there))


def name_of(number: int) -> str:
    return f"cluster{number:08d}"


def state_in(view: Any) -> tuple[int, list[str]]:
    """Return the last event of a snapshot and the names of its clusters."""
    last = next((int.from_bytes(key, "big") for key in view.rows(EVENTS).scan_keys(reverse=True)), 0)
    return last, sorted(cluster.name for cluster in view.rows(CLUSTERS).all())


def answered(counter: Path) -> int:
    """Return how many calls were answered by now."""
    return int(COUNTER.unpack(counter.read_bytes())[0]) if counter.exists() and counter.stat().st_size else 0


def pour(directory: Path, counter: Path, rate: int) -> None:
    """Write until this process is ended."""
    writer = Writer(directory, Path(os.devnull), 0, sync=True, watched=False, events_kept=EVENTS_KEPT)
    descriptor = os.open(counter, os.O_WRONLY | os.O_CREAT)
    oids: dict[int, str] = {}
    done = 0
    begun = time.monotonic()
    upcoming = deeds()
    while True:
        answers: list[Any] = []
        for deed, number in islice(upcoming, BATCH_LENGTH):
            arguments = ({"name": name_of(number)},) if deed == "create" else (oids.pop(number),)
            call = writer.plane.invoke(ADMIN, f"{PREFIX}{deed}_routercluster", arguments, {})
            answers.append((number, ensureDeferred(call)))
        writer.clock.advance(0.001)
        for number, answer in answers:
            assert answer.called
            answer.addCallback(lambda result, number=number: oids.__setitem__(number, result["oid"]))
            answer.addErrback(lambda failure: failure.raiseException())
        done += len(answers)
        os.pwrite(descriptor, COUNTER.pack(done), 0)
        time.sleep(max(0.0, begun + done / rate - time.monotonic()))


if __name__ == "__main__":
    pour(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
