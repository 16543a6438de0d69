"""Workers that outlive their agent: each is a file, so that everybody can see what runs, and since when.

A file appears and changes at once, as a process that serves does. The agent that is started next adopts what it finds.
"""

import json
import os
from pathlib import Path
from typing import Any
from uuid import UUID

from controlplane.drivers.driver import Unit
from controlplane.process import real_chance
from controlplane.records.types import from_wire, to_wire
from controlplane.records.workers import Address


class FolderDriver:
    """Runs workers that are files in a folder."""

    name = "router"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._units: dict[Any, Unit] = {}
        self._chance = real_chance()

    async def open(self, lost):
        self._folder.mkdir(parents=True, exist_ok=True)
        self._units = {unit.oid: unit for unit in running(self._folder)}
        return dict(self._units)

    async def start(self, spec):
        unit = Unit(
            oid=spec.oid,
            digest=spec.digest,
            started=self._chance.now(),
            pid=os.getpid(),
            addresses=(Address(type="websocket", url="ws://127.0.0.1:1/"),),
        )
        fresh = self._folder / f"{spec.oid}.new"
        fresh.write_text(json.dumps(to_wire(unit)))
        os.rename(fresh, self._folder / str(spec.oid))
        self._units[spec.oid] = unit
        return unit

    def find(self, oid):
        return self._units.get(oid)

    async def stop(self, oid):
        (self._folder / str(oid)).unlink(missing_ok=True)
        self._units.pop(oid, None)

    async def statistics(self, oid):
        return {}

    async def close(self, keep):
        if not keep:
            for oid in list(self._units):
                await self.stop(oid)


def running(folder: Path) -> list[Unit]:
    """What runs in a folder."""
    found = []
    for path in sorted(folder.iterdir()) if folder.exists() else ():
        try:
            UUID(path.name)
            found.append(from_wire(json.loads(path.read_text()), Unit))
        except (ValueError, FileNotFoundError):
            continue  # About to appear, or just gone.
    return found
