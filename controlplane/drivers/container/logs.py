"""What a container has written, as its engine keeps it: every line has the time at which it was written."""

import re
from datetime import UTC, datetime

from controlplane.drivers.container.engine import Engine
from controlplane.drivers.following import LogPart

NOTHING = ""
"""Position in the output of a container that has written nothing yet."""

STAMPED = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z) ")


async def read_logs(engine: Engine, container: str | None, after: str | None, lines: int, length: int) -> LogPart:
    """Return what a container has written after a position, which is a time, or without one its last lines."""
    if container is None:
        return LogPart("", after or NOTHING)
    since = None if not after else int(_seconds(after))
    if after is None:
        said: bytes = await engine.call(lambda client: client.logs(container, tail=lines, timestamps=True))
    else:
        said = await engine.call(lambda client: client.logs(container, timestamps=True, since=since))
    text, position, last = b"", after or NOTHING, after or NOTHING
    stamped = [_split(line) for line in said.splitlines(keepends=True)]
    if after is None:
        while stamped and sum(len(line) for _, line in stamped) > length:
            stamped.pop(0)
    for stamp, line in stamped:
        last = stamp or last
        if after and last <= after:
            continue
        if len(text) + len(line) > length and text:
            break
        text, position = text + line[:length], last
    return LogPart(text.decode(errors="replace"), position)


def _split(line: bytes) -> tuple[str | None, bytes]:
    found = STAMPED.match(line)
    return (None, line) if found is None else (_comparable(found[1].decode()), line[found.end() :])


def _comparable(stamp: str) -> str:
    """Return a time with all its nine digits, so that later ones come later in the order of texts, too."""
    whole, _, part = stamp.removesuffix("Z").partition(".")
    return f"{whole}.{part.ljust(9, '0')}Z"


def _seconds(position: str) -> float:
    try:
        return datetime.strptime(position[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return 0.0
