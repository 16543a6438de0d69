"""Clusters that scale by themselves, with real processes on the real router, master and agents."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest_twisted

from controlplane.errors import ControlPlaneError
from controlplane.records.types import NANOSECONDS
from tests.e2e.generic import call, ended
from tests.e2e.installation import Installation, running

COPY = "while :; do cp '{source}' {{directory}}/new && mv {{directory}}/new {{directory}}/values.json; sleep 0.1; done"
"""Work that the worker says it has: what a file of the test says."""

BURN = "while [ -e '{source}' ]; do :; done; exec sleep 100000"
NEVER = {"scale_out": [{"above": 1e12}], "period": 1, "warm_up": 0}


@pytest_twisted.async_yield_fixture(scope="module")
async def plant(tmp_path_factory):
    """Two agents that have the driver for processes alone."""
    made = Installation(tmp_path_factory.mktemp("scaling"))
    made.children.agent_options = ["--drivers", "process"]
    async with running(made):
        yield made


def say(source: Path, queue: float) -> None:
    """Have all workers say that they have so much to do."""
    new = source.with_suffix(".new")
    new.write_text(json.dumps({"queue": queue}))
    new.rename(source)


async def create(plant: Installation, name: str, script: str, **settings) -> None:
    spec = {"type": "process", "properties": {"command": ["sh", "-c", script], "metrics": "values.json"}}
    await call(plant, "profile.create_profile", {"name": name, "spec": spec})
    made = await call(plant, "cluster.create_cluster", {"name": name, "profile": name, **settings})
    assert (await ended(plant, made["action_oid"]))["status"] == "SUCCEEDED"


async def attach(plant: Installation, cluster: str, name: str, kind: str, properties: dict) -> dict:
    await call(plant, "policy.create_policy", {"name": name, "spec": {"type": kind, "properties": properties}})
    return await call(plant, "cluster.attach_policy", cluster, name)


async def settled(plant: Installation, cluster: str, count: int) -> None:
    """Wait until so many workers of a cluster run and no action changes it, also while the master is away."""

    async def there():
        try:
            found = await call(plant, "cluster.get_cluster", cluster)
        except ControlPlaneError:
            return False
        return found["workers_by_status"] == {"RUNNING": count} and found["action_oid"] is None

    await plant.until(there, 120, f"{count} workers of {cluster}")


async def by_policy(plant: Installation, cluster: str) -> list[dict]:
    wanted = {"cluster_name": cluster, "cause": "policy"}
    return await call(plant, "action.list_actions", filters=wanted, sort="created")


async def delete(plant: Installation, cluster: str) -> None:
    await ended(plant, (await call(plant, "cluster.delete_cluster", cluster))["oid"])


@pytest_twisted.ensureDeferred
async def test_load_makes_a_cluster_grow_and_shrink_also_when_the_master_is_killed_in_between(plant):
    source = plant.directory / "load.json"
    say(source, 50)
    await create(plant, "shop", COPY.format(source=source), desired=2, min_size=1, max_size=4)
    tracking = {"metric": "queue", "target": 50, "period": 1, "warm_up": 0, "scale_in_periods": 3}
    await attach(plant, "shop", "track", "target_tracking", tracking)
    say(source, 100)
    await settled(plant, "shop", 4)
    plant.kill("master")
    say(source, 5)
    plant.respawn("master")
    await settled(plant, "shop", 1)
    actions = await by_policy(plant, "shop")
    assert {each["who"] for each in actions} == {"track"}
    assert actions[0]["action"] == "CLUSTER_SCALE_OUT"
    assert actions[-1]["action"] == "CLUSTER_SCALE_IN"
    assert "average of queue is" in actions[0]["decisions"][0]["said"]
    assert all(each["status"] == "SUCCEEDED" for each in actions)
    await delete(plant, "shop")


@pytest_twisted.ensureDeferred
async def test_agents_measure_what_workers_really_use(plant):
    source = plant.directory / "burn"
    source.touch()
    await create(plant, "burner", BURN.format(source=source), desired=1)
    await attach(plant, "burner", "never", "step_scaling", NEVER)

    async def measured():
        points = (await call(plant, "cluster.get_cluster_metrics", "burner"))["points"]
        found = points[-1]["groups"]["default"]["metrics"] if points else {}
        return found if "cpu" in found else None

    found = await plant.until(measured, 60, "a measurement")
    # How much of a processor it gets is the machine's affair; asleep it would use none.
    assert found["cpu"]["maximum"] > 1
    assert found["memory"]["minimum"] > 100_000
    source.unlink()
    await delete(plant, "burner")


@pytest_twisted.ensureDeferred
async def test_a_schedule_acts_once_although_the_master_is_killed_when_it_is_due(plant):
    await create(plant, "night", "exec sleep 100000", desired=1, max_size=9)
    bound = None
    for attempt in range(5):
        moment = datetime.now(UTC) + timedelta(seconds=3 * 2**attempt)
        once = {"at": moment.isoformat(), "change": 2}
        bound = await attach(plant, "night", f"once{attempt}", "schedule", once)
        if bound["due"] is not None:
            break  # Else this machine was too slow, and the time has passed.
    assert bound["due"] == int(moment.timestamp()) * NANOSECONDS
    plant.kill("master")

    async def passed():
        return datetime.now(UTC) > moment

    await plant.until(passed, 120, "its time")
    plant.respawn("master")
    await settled(plant, "night", 3)
    plant.kill("master")
    plant.respawn("master")
    await settled(plant, "night", 3)
    actions = await by_policy(plant, "night")
    assert [(each["action"], each["status"], each["inputs"]) for each in actions] == [
        ("CLUSTER_RESIZE", "SUCCEEDED", {"change": 2})
    ]
    await delete(plant, "night")
