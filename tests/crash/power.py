"""Power cuts, played from a record: what a disk may hold at any moment of a run, and what becomes of a store from that.

strace writes down what a process writes to its store, and when it syncs. A disk has everything that was synced. Of what
was written after the last sync it may have anything: all, nothing, some sectors of it in any order, and a file that is
as short as if it had never grown. One sector is written whole or not at all, as disks promise and LMDB builds upon.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

from twisted.internet.task import Clock

from controlplane.store.database import Store
from controlplane.store.lmdb import DATA_FILE, LmdbEngine
from controlplane.store.verification import find_problems
from tests.consistency import check_derived
from tests.crash.writer import digest_of

SECTOR_BYTES = 512
CALLS = "openat,lseek,pwrite64,pwritev,writev,write,fdatasync,fsync,msync,ftruncate"
LINE = re.compile(r"^(?:\d+ +)?(\w+)\((.*)\) += (-?\d+)")
TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


class Write(NamedTuple):
    """Bytes that were written at a place; durable ones need no sync."""

    place: int
    data: bytes
    durable: bool


class Sync(NamedTuple):
    """Everything written before is on the disk."""


class Note(NamedTuple):
    """A line of the diary."""

    line: str


Step = Write | Sync | Note


class Image(NamedTuple):
    """What a disk may hold, and which commit is the least that has to be in it."""

    content: bytes
    commits: int
    about: str


def record(directory: Path, calls: int, seed: int, *, sync: bool = True) -> list[Step]:
    """Run a writer under strace and return what it did."""
    store, diary, trace = directory / "store", directory / "diary", directory / "trace"
    LmdbEngine(store).close()
    begin = Write(0, (store / DATA_FILE).read_bytes(), durable=True)
    subprocess.run(
        [
            *("strace", "-f", "-xx", "-v", "-s", "10000000", "-o", str(trace), "-e", f"trace={CALLS}"),
            *("-P", str(store / DATA_FILE), "-P", str(diary)),
            *(sys.executable, "-m", "tests.crash.writer", str(store), str(diary), str(calls), str(seed)),
            *([] if sync else ["unsynced"]),
        ],
        check=True,
    )
    return [begin, *_read(trace)]


def _read(trace: Path) -> Iterator[Step]:
    """Read what strace wrote; the run is one of a single thread, so no call is cut in two."""
    files: dict[str, tuple[str, bool]] = {}
    places: dict[str, int] = {}
    with open(trace) as lines:
        for line in lines:
            found = LINE.match(line)
            if found is None:
                continue
            call, arguments, result = found.groups()
            descriptor = arguments.partition(",")[0]
            if call == "openat":
                name = Path(_bytes(arguments).decode()).name
                files[result] = (name, "O_DSYNC" in arguments)
                continue
            name, durable = files.get(descriptor, ("", False))
            if name == "diary":
                yield Note(_bytes(arguments).decode().strip())
            elif name != DATA_FILE:
                continue
            elif call in ("fdatasync", "fsync"):
                yield Sync()
            elif call == "lseek":
                places[descriptor] = int(result)
            elif call == "pwrite64":
                yield Write(int(arguments.rpartition(",")[2]), _bytes(arguments), durable)
            elif call == "writev":
                yield Write(places[descriptor], _bytes(arguments), durable)
            else:
                raise AssertionError(f"the store is written to by {call}, which this player does not know")


def _bytes(arguments: str) -> bytes:
    return b"".join(bytes.fromhex(text.replace("\\x", "")) for text in TEXT.findall(arguments))


def images(steps: list[Step], count: int, seed: int) -> Iterator[Image]:
    """Yield so many images: at least the one after each sync, then others, each at some moment with some luck."""
    random = Random(seed)
    begin = steps.index(Note("begin"))
    moments = range(begin + 1, len(steps))
    syncs = [at + 1 for at in moments if isinstance(steps[at], Sync)]
    chosen = sorted(random.sample(syncs, min(len(syncs), count // 4)))
    chosen = sorted(chosen + random.choices(moments, k=count - len(chosen)))
    disk = bytearray()
    waiting: list[Write] = []
    commits = 0
    done = 0
    for moment in chosen:
        for step in steps[done:moment]:
            match step:
                case Write(durable=True):
                    _put(disk, step.place, step.data)
                case Write():
                    waiting.append(step)
                case Sync():
                    for write in waiting:
                        _put(disk, write.place, write.data)
                    waiting = []
                case Note(line) if line.startswith("commit"):
                    commits += 1
        done = moment
        luck = random.choice(["nothing", "everything", "writes", "sectors", "sectors"])
        yield Image(_lucky(disk, waiting, luck, random), commits, f"moment {moment}, {luck} of {len(waiting)} writes")


def _lucky(disk: bytearray, waiting: list[Write], luck: str, random: Random) -> bytes:
    content = bytearray(disk)
    pieces = [(write.place, write.data) for write in waiting]
    if luck == "sectors":
        pieces = [
            (place + at, data[at : at + SECTOR_BYTES])
            for place, data in pieces
            for at in range(0, len(data), SECTOR_BYTES)
        ]
    if luck == "nothing":
        pieces = []
    elif luck != "everything":
        share = random.random()
        pieces = [piece for piece in pieces if random.random() < share]
        random.shuffle(pieces)
    for place, data in pieces:
        _put(content, place, data)
    return bytes(content)


def _put(content: bytearray, place: int, data: bytes) -> None:
    if len(content) < place:
        content.extend(bytes(place - len(content)))
    content[place : place + len(data)] = data


def commits_of(steps: list[Step]) -> list[str]:
    """Return what stands for everything that is stored, after each commit."""
    return [step.line.removeprefix("commit ") for step in steps if isinstance(step, Note) and "commit" in step.line]


def check(image: Image, commits: list[str], directory: Path) -> None:
    """Open a store from an image; raises when it is not exactly the state after a commit that is recent enough."""
    directory.mkdir(exist_ok=True)
    for path in directory.iterdir():
        path.unlink()
    (directory / DATA_FILE).write_bytes(image.content)
    engine = LmdbEngine(directory, sync=False)
    try:
        store = Store(engine, Clock(), lambda: None, only_existing=True)  # type: ignore[arg-type, return-value]
        with engine.read() as transaction:
            assert list(find_problems(transaction)) == [], image.about
        with store.read() as view:
            check_derived(view)
        # What was being committed when the power went may be there too.
        assert digest_of(engine) in commits[max(image.commits - 1, 0) : image.commits + 1], image.about
    finally:
        engine.close()
