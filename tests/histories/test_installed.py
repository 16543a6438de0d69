"""Eight clients at once over a real router, and a defect that is planted in a real master."""

import traceback

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from tests.histories.lines import Installed
from tests.histories.machine import state_machine

EXAMPLES = 25
EXAMPLES_WITH_DEFECT = 200
"""Far fewer are needed; the first one that goes wrong ends it."""

STEPS = 30


@pytest_twisted.async_yield_fixture(scope="module")
async def installed(tmp_path_factory):
    """A router and a master."""
    made = Installed(tmp_path_factory.mktemp("histories"))
    try:
        await made.begin()
        yield made
    finally:
        made.end()


@pytest_twisted.ensureDeferred
async def test_what_hypothesis_does_over_a_router_has_an_order(installed):
    await deferToThread(state_machine, installed.join, EXAMPLES, STEPS)


@pytest_twisted.ensureDeferred
async def test_hypothesis_finds_a_defect_of_the_real_master(installed):
    await installed.restart_master("a_key_counts_for_nothing")
    # A story that goes another way the second time is a failure, too, and what was found is in it.
    with pytest.raises((AssertionError, BaseExceptionGroup)) as found:
        await deferToThread(state_machine, installed.join, EXAMPLES_WITH_DEFECT, STEPS, shrink=False)
    assert "no order" in "".join(traceback.format_exception(found.value))
