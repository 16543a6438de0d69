"""What an agent keeps on disk: the newest assignment, so that it goes on keeping it while the master is away.

The file is replaced as a whole and carries a checksum. A file that is damaged counts as none: the agent then asks the
master for everything, and stops nothing before it has been told.
"""

import hashlib
import os
from pathlib import Path

import cbor2
import msgspec
from twisted.logger import Logger

from controlplane.records.types import from_bytes, to_bytes
from controlplane.records.workers import Assignment

FILE_NAME = "assignment.cbor"
DIGEST_LENGTH = 32

log = Logger()


class Notebook:
    """The assignment on disk."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE_NAME

    def read(self) -> Assignment | None:
        """Return what was written last, or None when there is nothing that can be trusted."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as problem:
            log.warn("{path} cannot be read and is not used: {problem}", path=str(self._path), problem=problem)
            return None
        body = data[DIGEST_LENGTH:]
        if hashlib.sha256(body).digest() != data[:DIGEST_LENGTH]:
            log.warn("{path} is damaged and is not used", path=str(self._path))
            return None
        try:
            return from_bytes(body, Assignment)
        except (msgspec.ValidationError, cbor2.CBORDecodeError) as problem:
            log.warn("{path} cannot be read and is not used: {problem}", path=str(self._path), problem=problem)
            return None

    def write(self, assignment: Assignment) -> None:
        """Replace what is kept, or raise `OSError` and leave it as it is; it is on the disk when this returns."""
        body = to_bytes(assignment)
        fresh = self._path.with_suffix(".new")
        try:
            with open(fresh, "wb", opener=_owner_only) as file:
                file.write(hashlib.sha256(body).digest() + body)
                file.flush()
                # The master is told that this node holds it, and takes what is not in it for gone for good.
                os.fsync(file.fileno())
            os.replace(fresh, self._path)
            _sync_directory(self._path.parent)
        except OSError:
            # What was written of it takes room that is missing.
            fresh.unlink(missing_ok=True)
            raise


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
