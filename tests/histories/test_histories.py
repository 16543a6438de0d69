"""Many clients at once over one plane: what they see could have come from one call after the other."""

import pytest
import pytest_twisted
from twisted.internet import reactor

from controlplane.master.plane import Plane
from controlplane.process import real_chance
from controlplane.store.catalog import PRINCIPALS
from controlplane.store.lmdb import LmdbEngine
from tests.conftest import ADMIN, ADMIN_RECORD, SilentWire
from tests.histories.clients import run_history
from tests.histories.defects import DEFECTS, planted
from tests.histories.lines import PlaneLine

CLIENTS = 8
CALLS_EACH = 40
NAMES = ["shop", "bank", "club", "pool"]
SEEDS_MAX = 8
"""Within so many histories every defect is found."""


async def history_of(directory, seed):
    """A history of clients of a plane in this process."""
    plane = Plane(LmdbEngine(directory, sync=False), reactor, real_chance(), SilentWire())
    try:
        plane.store.write_now(lambda change: change.rows(PRINCIPALS).put(ADMIN_RECORD))
        plane.start()

        async def connect():
            return PlaneLine(plane, ADMIN)

        return await run_history(reactor, connect, NAMES, seed, CLIENTS, CALLS_EACH)
    finally:
        await plane.close()


@pytest.mark.parametrize("seed", range(4))
@pytest_twisted.ensureDeferred
async def test_what_clients_see_has_an_order(tmp_path, seed):
    history = await history_of(tmp_path / "store", seed)
    assert history.problem() is None
    ends = {operation.outcome[0] for operation in history.operations if operation.outcome}
    assert ends == {"made", "error"}
    assert sum(not operation.is_answered for operation in history.operations) >= 10


@pytest.mark.parametrize("name", DEFECTS)
@pytest_twisted.ensureDeferred
async def test_a_planted_defect_is_found(tmp_path, name):
    with planted(name):
        for seed in range(SEEDS_MAX):
            if (await history_of(tmp_path / str(seed), seed)).problem() is not None:
                return
    pytest.fail(f"{name} is not found in {SEEDS_MAX} histories")
