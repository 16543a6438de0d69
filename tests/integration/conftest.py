"""What these tests share: a plane with three machines, and a profile of which their workers are."""

import pytest
from twisted.logger import globalLogPublisher

from tests.integration.generic import SPEC
from tests.simulation.world import World


@pytest.fixture
def world():
    made = World(seed=1, nodes=3)
    made.call("create_profile", {"name": "sleeper", "spec": SPEC})
    return made


@pytest.fixture
def failures():
    """What was logged as a failure: no story may end in one."""
    seen = []

    def look(event):
        if event.get("log_failure") is not None:
            seen.append(event["log_failure"].value)

    globalLogPublisher.addObserver(look)
    yield seen
    globalLogPublisher.removeObserver(look)
