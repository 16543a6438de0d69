"""Events are forgotten in the background when they are too old, or too many since the setting was lowered."""

import pytest

from controlplane.master.retention import Retention
from controlplane.records.types import NANOSECONDS
from controlplane.services import retention as service
from controlplane.store.catalog import EVENTS
from tests.conftest import NOW, TestPlane


@pytest.fixture
def events(plane):
    """One event a second."""
    for number in range(8):
        plane.call("create_routercluster", {"name": f"c{number:03d}"})
        plane.now += NANOSECONDS
    return plane


def seqs(plane: TestPlane) -> list[int]:
    return [event.seq for event in plane.stored(EVENTS)]


def keep(plane: TestPlane, kept: int, kept_s: float) -> Retention:
    made = Retention(plane.clock, plane.plane.store, lambda: plane.now, plane.plane.pipeline.change, kept, kept_s)
    made.start()
    for _ in range(20):
        plane.clock.advance(0.1)
    return made


def test_nothing_is_forgotten_as_shipped(events):
    keep(events, 100_000, 0)
    events.now += 10**6 * NANOSECONDS
    events.clock.advance(10**6)
    assert len(seqs(events)) == 8


def test_what_is_too_many_is_forgotten_step_by_step(events, monkeypatch):
    monkeypatch.setattr(service, "STEP_LENGTH", 2)
    keep(events, 3, 0)
    assert seqs(events) == [6, 7, 8]


def test_what_is_too_old_is_forgotten_when_its_time_has_come(events):
    keep(events, 100_000, 5)
    assert seqs(events) == [4, 5, 6, 7, 8]
    events.now += NANOSECONDS
    for _ in range(20):
        events.clock.advance(0.1)
    assert seqs(events) == [5, 6, 7, 8]
    page = events.call("list_events", after=1)
    assert (page["gap"], page["oldest"], page["last"]) == (True, 5, 8)


def test_the_newest_event_stays_because_the_next_one_is_numbered_after_it(events):
    events.now += 3_600 * NANOSECONDS
    keep(events, 1, 5)
    assert seqs(events) == [8]
    events.call("create_routercluster", {"name": "later"})
    assert seqs(events) == [8, 9]


def test_no_step_is_longer_than_it_may_be(events, monkeypatch):
    monkeypatch.setattr(service, "STEP_LENGTH", 3)
    with events.plane.store.read() as view:
        assert len(service.surplus(view, 1, 0, NOW)) == 3
        assert len(service.surplus(view, 1, 1, NOW + 10**12)) == 3
        assert service.surplus(view, 8, 0, NOW) == []
