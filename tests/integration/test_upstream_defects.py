"""The defects of Crossbar.io's own master, by the numbers that our reference gives them: ours has none of them.

Those that need real routers (1, 3 and 10) are also seen end to end, in `tests/e2e/test_story.py`.
"""

import re
from pathlib import Path

import pytest

from controlplane.errors import AlreadyExists, NoSuchObject, NotAuthorized, NotStopped
from controlplane.records.limits import DEFAULT_LIMITS
from controlplane.records.principals import Caller
from controlplane.store.catalog import GROUPS, LOADS, MEMBERSHIPS, REVISIONS, TALLIES, WORKERS
from tests.simulation.world import World

PREFIX = "crossbarfabriccenter.mrealm.routercluster."


@pytest.fixture
def world():
    return World(seed=5, nodes=2)


def create(world, name="demo", nodes=2, scale=4):
    cluster = world.call(PREFIX + "create_routercluster", {"name": name, "grace_period": 2})["oid"]
    for machine in world.machines[:nodes]:
        world.call(PREFIX + "add_routercluster_node", cluster, str(machine.oid))
    group = world.call(PREFIX + "add_routercluster_workergroup", cluster, {"name": "web", "scale": scale})["oid"]
    return cluster, group


def started(world, **options):
    cluster, group = create(world, **options)
    world.call(PREFIX + "start_routercluster", cluster)
    world.wait_for_status(cluster, "RUNNING")
    return cluster, group


def test_1_a_group_of_two_or_more_workers_runs(world):
    cluster, _ = started(world, scale=2)
    assert [worker["status"] for worker in world.workers(cluster)] == ["RUNNING"] * 3


def test_2_what_is_stopped_becomes_stopped_and_can_be_started_changed_and_deleted(world):
    cluster, group = started(world)
    world.call(PREFIX + "stop_routercluster", cluster)
    world.wait_for_status(cluster, "STOPPED")
    assert all(not machine.units for machine in world.machines)
    assert "routercluster_stopped" in world.topics()
    world.call(PREFIX + "start_routercluster", cluster)
    world.wait_for_status(cluster, "RUNNING")
    world.call(PREFIX + "stop_routercluster", cluster)
    world.wait_for_status(cluster, "STOPPED")
    world.call(PREFIX + "remove_routercluster_workergroup", cluster, group)
    world.call(PREFIX + "delete_routercluster", cluster)


def test_3_a_list_of_tens_of_thousands_is_answered(world):
    count = 28_500
    for number in range(0, count, 500):
        answers = [world.ask("create_routercluster", {"name": f"c{n:05d}"}) for n in range(number, number + 500)]
        world.run(0.001)
        assert all(answer.called for answer in answers)
    oids = world.call(PREFIX + "list_routerclusters")
    assert len(oids) == len(set(oids)) == count
    assert sum(len(oid) + 3 for oid in oids) < DEFAULT_LIMITS.reply_bytes_max
    names = world.call(PREFIX + "list_routerclusters", return_names=True)
    assert names == [f"c{n:05d}" for n in range(count)]
    pages, marker = [], None
    while page := world.call(PREFIX + "list_routerclusters", limit=10_000, marker=marker):
        pages.extend(page)
        marker = page[-1]
    assert pages == oids


def test_4_workers_are_spread_over_the_nodes(world):
    started(world, scale=5)
    assert [len(machine.units) for machine in world.machines] == [3, 3]


def test_5_a_cluster_knows_its_own_nodes_only(world):
    for number in range(6):
        cluster, _ = create(world, f"demo{number}", nodes=1)
        assert world.call(PREFIX + "list_routercluster_nodes", cluster) == [str(world.machines[0].oid)]
    other, _ = create(world, "other", nodes=2)
    assert len(world.call(PREFIX + "list_routercluster_nodes", other)) == 2
    world.machines[1].disconnect()
    world.call(PREFIX + "start_routercluster", cluster)
    world.wait_for_status(cluster, "RUNNING")


def test_6_every_procedure_asks_for_a_right(world):
    cluster, group = create(world)
    node = Caller(session=50, authid=str(world.machines[0].oid), authrole="agent")
    world.call("controlplane.user.create_user", authid="ann", role="viewer", pubkey="12" * 32)
    viewer = Caller(session=51, authid="ann", authrole="viewer")
    changes = (
        ("start_routercluster", [cluster]),
        ("stop_routercluster", [cluster]),
        ("add_routercluster_node", [cluster, str(world.machines[0].oid)]),
        ("remove_routercluster_node", [cluster, str(world.machines[0].oid)]),
        ("add_routercluster_workergroup", [cluster, {"name": "more"}]),
    )
    reads = (("list_routerclusters", []), ("get_routercluster_workergroup", [cluster, group]))
    for caller, asked in ((node, (*changes, *reads)), (viewer, changes)):
        for verb, arguments in asked:
            with pytest.raises(NotAuthorized):
                world.call(PREFIX + verb, *arguments, caller=caller)


def test_7_running_is_taken_back_when_nodes_die(world):
    cluster, _ = started(world)
    for machine in world.machines:
        machine.disconnect()
    world.run(0.1)
    assert world.call(PREFIX + "get_routercluster", cluster)["status"] == "DEGRADED"
    assert "routercluster_degraded" in world.topics()


def test_8_a_group_name_is_unique_in_its_cluster(world):
    cluster, _ = create(world)
    with pytest.raises(AlreadyExists):
        world.call(PREFIX + "add_routercluster_workergroup", cluster, {"name": "web"})
    other, _ = create(world, "other")
    assert world.call(PREFIX + "get_routercluster_workergroup_by_name", "other", "web")["cluster_oid"] == other


def test_9_a_group_can_be_added_to_a_cluster_without_nodes(world):
    cluster, group = create(world, nodes=0)
    assert world.call(PREFIX + "get_routercluster_workergroup", cluster, group)["scale"] == 4
    world.call(PREFIX + "start_routercluster", cluster)
    world.run(1)
    assert {worker["status"] for worker in world.workers(cluster)} == {"PENDING"}


def test_10_nothing_is_running_before_its_workers_are(world):
    for machine in world.machines:
        machine.start_takes_s = 3
    cluster, group = create(world)
    world.call(PREFIX + "start_routercluster", cluster)
    world.run(2)
    assert world.call(PREFIX + "get_routercluster", cluster)["status"] == "STARTING"
    assert world.call(PREFIX + "get_routercluster_workergroup", cluster, group)["status"] == "STARTING"
    world.wait_for_status(cluster, "RUNNING")
    assert world.call(PREFIX + "get_routercluster_workergroup", cluster, group)["status"] == "RUNNING"


def test_11_frontends_are_linked_to_the_router_where_it_runs(world):
    started(world)
    with world.plane.store.read() as view:
        workers = list(view.rows(WORKERS).all())
    router = next(worker for worker in workers if worker.workergroup_oid is None)
    home = next(machine for machine in world.machines if machine.oid == router.node_oid)
    for worker in workers:
        if worker.workergroup_oid is not None:
            assert worker.links["0"].startswith(home.facts.sockets)


def test_12_a_deleted_cluster_leaves_nothing(world):
    cluster, _ = started(world)
    with pytest.raises(NotStopped):
        world.call(PREFIX + "delete_routercluster", cluster)
    world.call(PREFIX + "stop_routercluster", cluster)
    world.wait_for_status(cluster, "STOPPED")
    world.call(PREFIX + "delete_routercluster", cluster)
    with world.plane.store.read() as view:
        for table in (MEMBERSHIPS, GROUPS, WORKERS, TALLIES, REVISIONS):
            assert list(view.rows(table).all()) == []
        assert all(load.workers == 0 for load in view.rows(LOADS).all())
    with pytest.raises(NoSuchObject):
        world.call(PREFIX + "get_routercluster", cluster)


def test_the_order_of_starting_and_started(world):
    started(world)
    topics = world.topics()
    assert topics.index("routercluster_starting") < topics.index("routercluster_started")


def test_the_documented_example_of_a_group_needs_no_cluster_oid(world):
    cluster, _ = create(world)
    added = world.call(PREFIX + "add_routercluster_workergroup", cluster, {"name": "mygroup1", "scale": 4})
    assert (added["cluster_oid"], added["scale"], added["status"]) == (cluster, 4, "STOPPED")
    same = world.call(PREFIX + "add_routercluster_workergroup", cluster, {"cluster_oid": cluster, "name": "mygroup2"})
    assert same["scale"] == 1


def test_errors_always_carry_a_message(world):
    cluster, _ = started(world)
    with pytest.raises(NotStopped) as caught:
        world.call(PREFIX + "delete_routercluster", cluster)
    assert "only a STOPPED one can be deleted" in str(caught.value)


def test_the_table_in_the_documents_names_these_tests():
    page = (Path(__file__).parents[2] / "docs" / "coming-from-crossbar.rst").read_text()
    named = re.findall(r"``(test_[0-9]+_\w+)``", page)
    assert named == [name for name in globals() if re.match("test_[0-9]", name)]
    assert len(named) == 12
