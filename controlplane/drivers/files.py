"""Files of drivers: small ones of which a reader finds the old or the new content, and one that is locked."""

import fcntl
import os
import shutil
from collections.abc import Callable, Container
from pathlib import Path

from controlplane.errors import WorkerFailed

FILE_MODE = 0o600


def write_whole(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Replace the content of a file; with `durable` it is there after a power failure as well."""
    new = path.with_name(path.name + ".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        if durable:
            file.flush()
            os.fsync(descriptor)
    new.replace(path)
    if durable:
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def lock_driver(directory: Path) -> Callable[[], None]:
    """Make sure that no other agent keeps the same workers, until what is returned is called or we end.

    Raises `WorkerFailed` when one does.
    """
    descriptor = os.open(directory / "driver.lock", os.O_RDWR | os.O_CREAT, FILE_MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise WorkerFailed(f"another agent uses {directory}", next_step="give every agent its own directory") from None
    return lambda: os.close(descriptor)


def remove_homes(directory: Path, spared: Container[str] = ()) -> None:
    """Remove the directories of workers below one, which may not be there yet, but for those with these names."""
    for home in directory.iterdir() if directory.is_dir() else ():
        if home.name not in spared:
            shutil.rmtree(home, ignore_errors=True)


def noted_number(path: Path) -> int:
    """Return a number that was kept in a file; 0 when there is none."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0


def note_number(path: Path, number: int) -> None:
    """Keep a number in a file, if it is not what a missing file says."""
    if number:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(path, str(number).encode())
