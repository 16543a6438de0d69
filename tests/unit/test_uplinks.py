from uuid import UUID

import pytest

from controlplane.records.workers import Report


@pytest.mark.parametrize(("agents", "ticks"), [(0, 50), (1_000, 50), (10_000, 5)])
def test_all_agents_together_hear_no_more_ticks_than_the_router_carries_easily(plane, agents, ticks):
    heard = []
    plane.wire.announce = lambda *_: heard.append(plane.clock.seconds())
    uplinks = plane.plane.uplinks
    uplinks.joined()
    for number in range(agents):
        uplinks.asked(number)
        uplinks.attach(UUID(int=number + 1), number, Report(boot=UUID(int=1), sequence=1), 0)
    heard.clear()
    for _ in range(100):
        plane.clock.advance(1)
    assert ticks - 1 <= len(heard) <= ticks + 1
