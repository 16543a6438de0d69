"""What is over is gone at once, and leaves nothing that only the collector of cycles would find.

The collector runs once in 50,000 objects. A cycle around each transaction that had composed or forgotten a
configuration kept all that the transaction had touched until then, and the master grew by 10 MB in an hour.
"""

from itertools import count

import pytest

from tests.integration.test_generic_clusters import SPEC, create
from tests.leftovers import leftovers
from tests.simulation.world import World

OURS = ("controlplane", "zlmdb")


@pytest.fixture
def world():
    made = World(seed=1, nodes=3)
    made.call("create_profile", {"name": "sleeper", "spec": SPEC})
    return made


def live_as_routers(world: World, number: int) -> None:
    """A router cluster from its beginning to its end."""
    cluster = world.call("create_routercluster", {"name": f"shop{number}"})["oid"]
    for node in world.call("controlplane.node.list_nodes"):
        world.call("add_routercluster_node", cluster, node)
    group = world.call("add_routercluster_workergroup", cluster, {"name": "web", "scale": 2})["oid"]
    world.call("start_routercluster", cluster)
    world.wait_for_status(cluster, "RUNNING")
    world.call("scale_routercluster_workergroup", cluster, group, 4)
    world.run(5)
    world.call("stat_routercluster", cluster)
    world.call("list_events", limit=50)
    world.call("stop_routercluster", cluster)
    world.wait_for_status(cluster, "STOPPED")
    world.call("delete_routercluster", cluster)
    world.run(5)


def live_as_anything(world: World, _number: int) -> None:
    """A generic cluster from its beginning to its end."""
    create(world, desired=2)
    world.run(5)
    world.call("scale_out_cluster", "shop")
    world.run(5)
    world.call("delete_cluster", "shop")
    world.run(5)


@pytest.mark.parametrize("live", [live_as_routers, live_as_anything])
def test_a_cluster_that_is_gone_leaves_nothing_to_the_collector(world, live):
    numbers = count()
    live(world, next(numbers))  # What is made once and kept is made now.
    with leftovers(*OURS) as found:
        live(world, next(numbers))
    assert not found
