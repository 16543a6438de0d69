"""How long workers may run while the master is silent.

The master places a worker of a cluster with fencing elsewhere when its silent agent must have killed it. So time is
counted from when something was *sent* that the master has answered: whatever the master concluded from silence, it did
so later. Time is that of the machine since it was started, sleep included; the wall clock may be set. What is known is
kept in a file, so that the next run of the agent neither kills what may run nor keeps what may not; and drivers are
told (`Guards`), so that workers end in time although no agent is there, or although it is held.

Nothing may have been sent for hours when a worker gets a lease: there was nothing to say. Such a lease holds from the
master's next answer on, and is not spoken of before.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from twisted.logger import Logger

from controlplane.drivers.files import write_whole
from controlplane.records.types import Oid, Seconds

BEAT_S = 1.0
RENEWALS = 3
"""How often a lease is renewed while it lasts."""

FILE_NAME = "lease.json"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

log = Logger()


class Surroundings(Protocol):
    """Time that nobody sets, and where it is kept."""

    def elapsed(self) -> Seconds:
        """Return a time that goes on while the machine sleeps."""
        ...

    def read(self) -> Seconds | None:
        """Return when the master was last heard of, or None."""
        ...

    def write(self, contact: Seconds) -> None:
        """Keep when the master was last heard of."""
        ...

    def beat(self, call: Callable[[], None]) -> None:
        """Call every second from now on; also when it was asked for before."""
        ...


class Guard(Protocol):
    """Who ends workers in time when nobody calls any more; see `controlplane.drivers.driver.Guards`."""

    def guard(self, fences: Mapping[Oid, Seconds]) -> None:
        """Take over which workers may run for how long without a renewal."""
        ...

    def renew(self, contact: Seconds) -> None:
        """Count from this moment."""
        ...


class Leases:
    """The workers of this node that may not run without a master."""

    def __init__(
        self, surroundings: Surroundings, guard: Guard, changed: Callable[[], None], renew: Callable[[], None]
    ) -> None:
        """`changed` is called when others may run than before, `renew` when the master is to be asked."""
        self._surroundings = surroundings
        self._guard = guard
        self._changed = changed
        self._renew = renew
        self._contact = surroundings.read()
        self._asked = 0.0
        self._fences: dict[Oid, Seconds] = {}
        self._coming: dict[Oid, Seconds] = {}
        """Leases that hold from the master's next answer on."""

        self._coming_since = 0.0
        self.lapsed: frozenset[Oid] = frozenset()
        """Workers that may not run."""

    def now(self) -> Seconds:
        """Return the time by which leases are counted."""
        return self._surroundings.elapsed()

    def keep(self, fences: Mapping[Oid, Seconds], *, known: bool) -> None:
        """Take over which workers may run for how long; those of a former run of the agent are `known`."""
        stale = {} if known else {oid: fence for oid, fence in fences.items() if self._is_stale(oid, fence)}
        self._fences = {oid: fence for oid, fence in fences.items() if oid not in stale}
        if stale.keys() - self._coming.keys():
            self._coming_since = self.now()
        self._coming = stale
        self.lapsed &= self._fences.keys()
        self._tell_guard()
        if fences:
            self._surroundings.beat(self.look)
        if self._coming:
            self._renew()
        self._note_lapsed()

    def fence_of(self, oid: Oid) -> Seconds | None:
        """Return how long a worker may run without a master; None for ever, or for nobody knows yet."""
        return self._fences.get(oid)

    def heard(self, sent: Seconds) -> frozenset[Oid]:
        """Take note that the master has answered something that was sent then; returns whose leases hold from now."""
        if self._contact is None or sent > self._contact:
            self._contact = sent
            if self._fences:
                self._surroundings.write(sent)
                self._guard.renew(sent)
        if not self._coming or sent < self._coming_since:
            return frozenset()
        come, self._coming = self._coming, {}
        self._fences.update(come)
        self._surroundings.write(sent)
        self._tell_guard()
        return frozenset(come)

    def confirm(self) -> None:
        """Take note that what this node is to run is what the master wants now: who had to stop may run again."""
        if self.lapsed and self._expired(min(self._fences.values(), default=0.0)) is False:
            self.lapsed = frozenset()
            self._changed()

    def look(self) -> None:
        """Find out who may run no longer, and whether it is time to ask the master."""
        if self._note_lapsed():
            self._changed()
        shortest = min((*self._fences.values(), *self._coming.values()), default=None)
        if shortest is None:
            return
        if self.now() - max(self._asked, self._contact or 0.0) >= shortest / RENEWALS:
            self._asked = self.now()
            self._renew()

    def _note_lapsed(self) -> bool:
        late = {oid for oid, fence in self._fences.items() if self._expired(fence)} - self.lapsed
        if late:
            log.warn("the master was silent for too long: {count} workers are killed", count=len(late))
            self.lapsed |= late
        return bool(late)

    def _expired(self, fence: Seconds) -> bool:
        return self._contact is None or self.now() >= self._contact + fence

    def _is_stale(self, oid: Oid, fence: Seconds) -> bool:
        """Say whether a worker is new to leases, and nothing was heard for so long that one could not be kept."""
        if oid in self._fences:
            return False
        return self._contact is None or self.now() - self._contact >= fence / RENEWALS

    def _tell_guard(self) -> None:
        # When before for how long: a guard that knew the latter alone would end everybody.
        if self._contact is not None and self._fences:
            self._guard.renew(self._contact)
        self._guard.guard(self._fences)


class Machine:
    """The time of this machine, a file, and a thread that looks at the clock whatever becomes of the reactor's."""

    def __init__(self, reactor: Any, directory: Path) -> None:
        self._reactor = reactor
        self._file = directory / FILE_NAME
        self._boot = BOOT_ID.read_text().strip()
        self._thread: threading.Thread | None = None

    def elapsed(self) -> Seconds:
        """Return the seconds since the machine was started, sleep included."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def read(self) -> Seconds | None:
        """Return when the master was last heard of, in this run of the machine."""
        try:
            kept = json.loads(self._file.read_bytes())
            return float(kept["contact"]) if kept["boot"] == self._boot else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, contact: Seconds) -> None:
        """Keep when the master was last heard of; what cannot be kept is not known to the next run, which is safe."""
        try:
            write_whole(self._file, json.dumps({"boot": self._boot, "contact": contact}).encode())
        except OSError as problem:
            log.warn("{file} cannot be written: {problem}", file=str(self._file), problem=problem)

    def beat(self, call: Callable[[], None]) -> None:
        """Have the reactor call every second."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._beat, args=(call,), name="leases", daemon=True)
            self._thread.start()

    def _beat(self, call: Callable[[], None]) -> None:
        while True:
            time.sleep(BEAT_S)
            self._reactor.callFromThread(call)
