"""What these tests share: a plane with three machines, and a profile of which their workers are."""

import pytest

from tests.integration.generic import SPEC
from tests.simulation.world import World


@pytest.fixture
def world():
    made = World(seed=1, nodes=3)
    made.call("create_profile", {"name": "sleeper", "spec": SPEC})
    return made
