"""What tests share: a plane over a real store in a temporary folder, with a fixed time and counted oids."""

import sys
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import settings
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from controlplane.clock import Chance
from controlplane.master.plane import PROCEDURES, Plane
from controlplane.records.limits import DEFAULT_LIMITS, Limits
from controlplane.records.principals import Caller, Principal
from controlplane.store.catalog import AUDIT, PRINCIPALS, TABLES
from controlplane.store.lmdb import LmdbEngine

# Of a property that fails Hypothesis would write a patch with LibCST, which raises beside Twisted (LibCST issue 1458)
# and takes pytest along, so that nobody sees the example. When this cannot be imported, it goes on without a patch.
sys.modules["hypothesis.extra._patching"] = None  # type: ignore[assignment]

settings.register_profile("default", deadline=None)
settings.load_profile("default")

ADMIN = Caller(session=7, authid="admin", authrole="admin")
ADMIN_RECORD = Principal(oid=UUID(int=1), authid="admin", pubkey="ad" * 32, role="owner", created=0)
NOW = 1_700_000_000_000_000_000


class SilentWire:
    """Keeps what the master sends."""

    def __init__(self) -> None:
        self.published: list[tuple[str, dict[str, Any]]] = []
        self.sent: list[tuple[str, int, dict[str, Any]]] = []
        self.killed: list[int] = []
        self.told: list[tuple[Any, ...]] = []
        """Events in the form of Crossbar.io's master."""

    def publish(self, topics, payload, roles=()):
        self.published.append((topics[0], dict(payload)))

    def send(self, topic, session, payload):
        self.sent.append((topic, session, dict(payload)))

    def announce(self, topic, payload):
        pass

    def tell(self, topic, *arguments):
        self.told.append((topic, *arguments))

    def kill(self, session, reason):
        self.killed.append(session)


class TestPlane:
    """The real pipeline over a real store, called as a test wants to call it."""

    __test__ = False

    def __init__(self, directory: Path, limits: Limits = DEFAULT_LIMITS, first: int = 1) -> None:
        """Open or make a store; oids are counted from `first`."""
        self.clock = Clock()
        self.wire = SilentWire()
        self.numbers = numbers = count(first)
        self.now = NOW
        chance = Chance(lambda: self.now, lambda: UUID(int=next(numbers) << 64, version=4), lambda: 0.5)
        self.engine = LmdbEngine(directory, sync=False)
        self.plane = Plane(self.engine, self.clock, chance, self.wire, limits=limits)
        self.plane.store.write_now(lambda change: change.rows(PRINCIPALS).put(ADMIN_RECORD))

    def call(self, name: str, *args: Any, caller: Caller = ADMIN, **kwargs: Any) -> Any:
        """Call a procedure by its last part or its full name and return the reply, or raise."""
        uri = name if "." in name else next(u for u in PROCEDURES if u.endswith("." + name))
        outcome: list[Any] = []
        ensureDeferred(self.plane.invoke(caller, uri, args, kwargs)).addBoth(outcome.append)
        while not outcome:
            self.clock.advance(0.001)
        if hasattr(outcome[0], "raiseException"):
            outcome[0].raiseException()
        return outcome[0]

    def user(self, authid: str, role: str, number: int = 50) -> Caller:
        """Return somebody who has logged in."""
        record = Principal(oid=UUID(int=number), authid=authid, pubkey=f"{number:064x}", role=role, created=0)
        self.plane.store.write_now(lambda change: change.rows(PRINCIPALS).put(record))
        return Caller(session=1000 + number, authid=authid, authrole=role)

    def settle(self) -> None:
        """Let everything that is due now happen."""
        for _ in range(20):
            self.clock.advance(0.001)

    def stored(self, table: Any) -> list[Any]:
        with self.plane.store.read() as view:
            return list(view.rows(table).all())

    def dump(self) -> list[Any]:
        """Return everything that is stored, but for the audit: that tells also of what was refused."""
        return [record for table in TABLES if table is not AUDIT for record in self.stored(table)]

    def topics(self) -> list[str]:
        return [topic.rpartition(".on_")[2] for topic, _ in self.wire.published]

    def close(self) -> None:
        self.plane.store.close()


@pytest.fixture
def limited(tmp_path):
    """Make planes with limits of their own."""
    made = []

    def make(**limits: int) -> TestPlane:
        made.append(TestPlane(tmp_path / f"store{len(made)}", Limits(**limits)))
        return made[-1]

    yield make
    for plane in made:
        plane.close()


@pytest.fixture
def plane(tmp_path):
    made = TestPlane(tmp_path / "store")
    yield made
    made.close()


@pytest.fixture(scope="session")
def engine():
    """A container engine; where none can run, the tests that need it are skipped, with the reason."""
    from tests.drivers.engines import NoEngine, start_engine

    try:
        made = start_engine()
    except NoEngine as problem:
        pytest.skip(f"no container engine: {problem}")
    yield made
    made.end()
