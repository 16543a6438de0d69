"""Stores that were damaged by other hands: bits and pages that changed, files that were cut, and what becomes of them.

There are three good outcomes: the store is refused, an entry is refused, or everything is read as it was. A process
that is ended by a signal, or anything that is read and was never written, is none of them.
"""

import json
import os
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.task import Clock

from controlplane.errors import StoreDamaged, StoreRefused
from controlplane.store.catalog import MARKS, TABLES
from controlplane.store.database import Store
from controlplane.store.lmdb import DATA_FILE, LmdbEngine
from tests.conftest import TestPlane

PAGE_BYTES = 4096
KINDS = ("bit", "byte", "zeros", "noise", "copied page", "cut", "head")
GOOD = frozenset({"store refused", "entry refused", "read as it was"})


def make_store(directory: Path) -> None:
    """A store with everything in it, and with free pages, as one has that was used."""
    plane = TestPlane(directory)
    for number in range(40):
        cluster = plane.call("create_routercluster", {"name": f"cluster_{number}"})["oid"]
        group = plane.call("add_routercluster_workergroup", cluster, {"name": "web", "scale": 2})["oid"]
        node = plane.call("pair_node", f"{number:064x}", f"node{number}")["oid"]
        plane.call("add_routercluster_node", cluster, node)
        plane.call("start_routercluster", cluster)
        plane.settle()
        plane.call("scale_routercluster_workergroup", cluster, group, 3)
        if number % 3 == 0:
            plane.call("remove_routercluster_workergroup", cluster, group)
    plane.close()


def damage(content: bytes, kind: str, random: Random) -> bytes:
    """Return the file with one damage."""
    changed = bytearray(content)
    place = random.randrange(len(content))
    page = place // PAGE_BYTES * PAGE_BYTES
    match kind:
        case "bit":
            changed[place] ^= 1 << random.randrange(8)
        case "byte":
            changed[place] ^= random.randrange(1, 256)
        case "zeros":
            changed[page : page + PAGE_BYTES] = bytes(PAGE_BYTES)
        case "noise":
            changed[page : page + PAGE_BYTES] = random.randbytes(PAGE_BYTES)
        case "copied page":
            other = random.randrange(len(content) // PAGE_BYTES) * PAGE_BYTES
            changed[page : page + PAGE_BYTES] = content[other : other + PAGE_BYTES]
        case "cut":
            del changed[place:]
        case "head":
            changed[random.randrange(2 * PAGE_BYTES) % 200 + random.choice([0, PAGE_BYTES])] ^= 1 << random.randrange(8)
    return bytes(changed)


def read_store(directory: Path) -> list[Any]:
    """Return everything that is stored, after a change to it that leaves it as it is."""
    engine = LmdbEngine(directory, sync=False)
    store = Store(engine, Clock(), _no_oid, only_existing=True)
    try:
        with engine.write() as transaction:
            transaction.put(MARKS.space, b"touched", b"")
        with engine.write() as transaction:
            transaction.delete(MARKS.space, b"touched")
        with store.read() as view:
            return [repr(record) for table in TABLES for record in view.rows(table).all()]
    finally:
        store.close()


def outcome_of(directory: Path, expected: list[Any]) -> str:
    """Return what becomes of a store that may be damaged."""
    try:
        found = read_store(directory)
    except StoreRefused:
        return "store refused"
    except StoreDamaged:
        return "entry refused"
    return "read as it was" if found == expected else "READ OTHERWISE"


def outcomes(scratch: Path, count: int, seed: int, kinds: tuple[str, ...] = KINDS) -> Counter[tuple[str, str]]:
    """Return how often each kind of damage came out how, in processes of their own: one may be ended by a signal."""
    random = Random(seed)
    sound = scratch / "sound"
    make_store(sound)
    content = (sound / DATA_FILE).read_bytes()
    expected = read_store(sound)
    found: Counter[tuple[str, str]] = Counter()
    cases = [kinds[number % len(kinds)] for number in range(count)]
    while cases:
        for kind, outcome in _in_child(scratch / "damaged", content, expected, cases, random.randrange(1 << 60)):
            found[kind, outcome] += 1
            cases.pop(0)
    return found


def _in_child(
    directory: Path, content: bytes, expected: list[Any], cases: list[str], seed: int
) -> Iterator[tuple[str, str]]:
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            random = Random(seed)
            for kind in cases:
                shutil.rmtree(directory, ignore_errors=True)
                directory.mkdir()
                (directory / DATA_FILE).write_bytes(damage(content, kind, random))
                os.write(writable, (json.dumps([kind, outcome_of(directory, expected)]) + "\n").encode())
        except BaseException as problem:
            os.write(writable, (json.dumps([kind, f"RAISED {problem!r}"]) + "\n").encode())
        finally:
            os._exit(0)
    os.close(writable)
    done = 0
    with open(readable) as pipe:
        for line in pipe:
            done += 1
            yield tuple(json.loads(line))
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        yield cases[0], f"ENDED BY {signal.Signals(os.WTERMSIG(status)).name}"


def _no_oid() -> Any:
    raise AssertionError("a store that is read needs no oid")
