"""What keepers are told of leases: how long their workers may run when nothing is heard of the master.

One file of the driver says when the master was heard of last; the agent writes it again and again. A file of each
worker that has a lease says how long it may run after that. Keepers look at both by themselves, so an agent that was
killed, or is held, need not be there for its workers to end.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from twisted.logger import Logger

from controlplane.drivers.files import FILE_MODE, write_whole
from controlplane.drivers.process.shim import CONTACT_FORMAT
from controlplane.drivers.processes import boot
from controlplane.records.types import Oid, Seconds

CONTACT_NAME = "lease"
FENCE_NAME = "fence"

log = Logger()


class Guarding:
    """The files of one driver's directory; `homes` are those of the workers, by their oids."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # Time that is counted from the start of the machine says nothing about another run of it.
        self.contact_file = directory / f"{CONTACT_NAME}.{boot()[:8]}"
        self._contact: Seconds | None = None
        self._fences: dict[Oid, Seconds] = {}
        self._told: dict[Oid, Seconds | None] = {}

    def open(self) -> None:
        """Begin, in a directory that is there."""
        self._told.clear()
        for file in self._directory.glob(f"{CONTACT_NAME}.*"):
            if file != self.contact_file:
                file.unlink(missing_ok=True)
        self._write_contact()

    def keep(self, fences: Mapping[Oid, Seconds]) -> None:
        """Take over which workers have leases; `tell` is for each of them."""
        self._fences = dict(fences)

    def renew(self, contact: Seconds) -> None:
        """Have leases count from this moment."""
        self._contact = contact
        self._write_contact()

    def tell(self, oid: Oid, home: Path) -> bool:
        """Have the keeper of a worker find what is so; returns whether that is anything new. Raises `OSError`."""
        fence = self._fences.get(oid)
        if oid in self._told and self._told[oid] == fence:
            return False
        file = fence_file(home)
        if fence is None:
            file.unlink(missing_ok=True)
        else:
            write_whole(file, str(fence).encode())
        self._told[oid] = fence
        return True

    def forget(self, oid: Oid) -> None:
        """Take note that the directory of a worker is no more."""
        self._told.pop(oid, None)

    def _write_contact(self) -> None:
        """Write over what is there: that takes no room on a disk that is full, and workers would end for want of it."""
        if self._contact is None or not self._directory.is_dir():
            return
        try:
            descriptor = os.open(self.contact_file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
            try:
                os.pwrite(descriptor, CONTACT_FORMAT.format(contact=self._contact).encode(), 0)
            finally:
                os.close(descriptor)
        except OSError as problem:
            log.warn("{file} cannot be written: {problem}", file=str(self.contact_file), problem=problem)


def fence_file(home: Path) -> Path:
    """Return where a keeper finds how long its worker may run without a renewal."""
    return home / FENCE_NAME
