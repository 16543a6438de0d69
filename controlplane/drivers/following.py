"""Following what a worker writes: which drivers can, and how it is done with files that are put aside when full."""

import codecs
import os
import zlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol, runtime_checkable

from controlplane.drivers.operations import tail
from controlplane.records.types import Oid

RECOGNISED_BY = 4_096
"""Bytes before a position by which the file is known again."""

NOTHING = "nothing"
"""Position in the output of a worker that has written nothing yet."""


class LogPart(NamedTuple):
    """A part of what a worker has written."""

    text: str
    position: str
    """Where it ends, in words of the driver."""

    gap: bool = False
    """Whether something before it was asked for, and is kept no longer."""


@runtime_checkable
class Follows(Protocol):
    """A driver that can say what a worker has written after what it was asked for last."""

    async def follow(self, oid: Oid, after: str | None, lines: int, length: int) -> LogPart:
        """Return what was written after a position, oldest first and at most that long; without one the last lines.

        A position that the driver does not know is one of which nothing is kept any more.
        """
        ...


def follow(files: Sequence[Path], after: str | None, lines: int, length: int) -> LogPart:
    """Return what was written to files after a position, the newest first in the list, and no more than that long.

    A position is the number of a file, which a file keeps when it is put aside, how much of it was seen, and a digest
    of the end of that: numbers of files that are gone are given to new ones.
    """
    with ExitStack() as stack:
        opened: dict[int, BinaryIO] = {}
        for file in files:
            with suppress(FileNotFoundError):
                stream = stack.enter_context(file.open("rb"))
                # A file that is put aside while we open them is met twice.
                opened.setdefault(os.fstat(stream.fileno()).st_ino, stream)
        numbers = list(opened)[::-1]
        if after is None:
            newest = opened[numbers[-1]] if numbers else None
            position = NOTHING if newest is None else _position(numbers[-1], newest, newest.seek(0, os.SEEK_END))
            return LogPart(tail(files, lines, length), position)
        begun = _found(opened, after)
        start = numbers.index(begun[0]) if begun else 0
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text, left, position = "", length, after if begun else NOTHING
        for each in numbers[start:]:
            opened[each].seek(begun[1] if begun and each == begun[0] else 0)
            data = opened[each].read(left)
            text += decoder.decode(data)
            left -= len(data)
            # What is not a whole character yet is read again.
            position = _position(each, opened[each], opened[each].tell() - len(decoder.getstate()[0]))
            if left <= 0:
                break
        return LogPart(text, position, gap=not begun and after != NOTHING)


def _position(number: int, stream: BinaryIO, offset: int) -> str:
    """Return in words how far a file was read, and leave it there."""
    stream.seek(max(0, offset - RECOGNISED_BY))
    seen = zlib.crc32(stream.read(min(offset, RECOGNISED_BY)))
    return f"{number}:{offset}:{seen}"


def _found(opened: Mapping[int, BinaryIO], position: str) -> tuple[int, int] | None:
    """Return the file of a position and how much of it was seen; None when it is none of these."""
    number, _, rest = position.partition(":")
    offset = rest.partition(":")[0]
    if not (number.isascii() and number.isdigit() and offset.isascii() and offset.isdigit()):
        return None
    stream = opened.get(int(number))
    if stream is None or _position(int(number), stream, int(offset)) != position:
        return None
    return int(number), int(offset)
