"""Disks that are small, and disks that fail."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

BALLAST = "ballast"
PIECE = 4096


@contextmanager
def small_disk(directory: Path, size: int) -> Iterator[Path]:
    """Put a disk of so many bytes in the place of a directory; skips the test where that is not permitted."""
    directory.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(directory)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def fill(directory: Path, leave: int = 0) -> None:
    """Use a disk up but for so many bytes."""
    with open(directory / BALLAST, "wb", buffering=0) as file:
        room = os.statvfs(directory)
        try:
            file.write(bytes(max(0, room.f_bavail * room.f_frsize - leave)))
            if not leave:
                while True:
                    file.write(bytes(PIECE))
        except OSError:
            pass


def make_room(directory: Path) -> None:
    """Give back what `fill` took."""
    (directory / BALLAST).unlink()
