"""What failed with one profile says nothing of the next one that a cluster is given."""

import pytest

from tests.integration.generic import SPEC, commands, create, ended, workers
from tests.simulation.world import World

DOOMED = {**SPEC, "properties": {"command": ["sleep", "doomed"]}}
OTHER = {**SPEC, "properties": {"command": ["sleep", "otherwise"]}}


@pytest.fixture
def world():
    made = World(seed=1, nodes=2)
    for name, spec in (("sleeper", SPEC), ("doomed", DOOMED), ("other", OTHER)):
        made.call("create_profile", {"name": name, "spec": spec})
    spoil(made, "doomed", "it was never to be")
    return made


def spoil(world: World, word: str, reason: str) -> None:
    """Have no worker come up whose command has this word."""
    for machine in world.machines:
        machine.broken[word] = reason


def update(world: World, cluster: str, profile: str) -> dict:
    return ended(world, world.call("update_cluster", cluster, {"profile": profile})["action_oid"])


def test_a_good_profile_right_after_one_that_failed_is_given_and_not_taken_back(world):
    cluster = create(world, 2, steady=0.1)
    assert update(world, cluster, "doomed")["status"] == "FAILED"
    over = update(world, cluster, "other")
    assert (over["status"], over["reason"]) == ("SUCCEEDED", None)
    assert commands(world, cluster) == {"['sleep', 'otherwise']"}


def test_each_update_that_fails_says_what_failed_with_its_own_profile(world):
    cluster = create(world, 2, steady=0.1)
    assert "it was never to be" in update(world, cluster, "doomed")["reason"]
    spoil(world, "otherwise", "its image cannot be had")
    over = update(world, cluster, "other")
    assert over["status"] == "FAILED"
    assert over["reason"].startswith(
        "1 worker failed; first, worker shop-0: its image cannot be had; failed 3 times in a row"
    )


def test_a_profile_that_was_mended_on_its_nodes_is_tried_again_when_its_pause_is_over(world):
    cluster = create(world, 2, steady=0.1)
    spoil(world, "otherwise", "its image cannot be had")
    for times in (3, 4, 5):
        assert f"failed {times} times in a row" in update(world, cluster, "other")["reason"]
    for machine in world.machines:
        machine.broken.clear()
    assert update(world, cluster, "other")["status"] == "SUCCEEDED"


def test_a_worker_that_was_never_changed_over_says_no_more_why_it_was_not(world):
    cluster = create(world, 2, steady=0.1)
    assert update(world, cluster, "doomed")["status"] == "FAILED"
    world.run(5)
    assert [(each["status"], each["reason"]) for each in workers(world, cluster)] == [("RUNNING", None)] * 2
    world.kill_master()
    world.start_master()
    world.run(8)
    assert [(each["status"], each["reason"]) for each in workers(world, cluster)] == [("RUNNING", None)] * 2
