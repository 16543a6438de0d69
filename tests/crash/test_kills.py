"""kill -9 at every named point, under load. `scripts/crash --kills N` does the same as often as it is told to."""

import shutil

import pytest_twisted

from tests.crash.campaign import run
from tests.crash.points import AGENT_POINTS, COMMIT_POINTS, MASTER_POINTS


@pytest_twisted.ensureDeferred
async def test_what_clients_were_told_is_there_after_a_kill_at_every_point(tmp_path):
    strace = shutil.which("strace") is not None
    points = MASTER_POINTS + AGENT_POINTS + (COMMIT_POINTS if strace else ())
    campaign = await run(tmp_path, seed=1, kills=len(points), strace=strace)
    # A few lives end before they come to their point; most must not, or this test looks at nothing.
    assert len(campaign.kills) >= len(points) - 4, campaign.report()
    assert campaign.heard > 0
    assert all(user.told > 0 for user in campaign.users)
