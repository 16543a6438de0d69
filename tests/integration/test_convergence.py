"""The real master and real agents, on a clock that only the test turns, over a network that behaves."""

import pytest

from controlplane.errors import CannotStart, NotStopped
from controlplane.records.types import Oid
from controlplane.records.workers import WorkerStatus
from tests.simulation.world import Machine, World


@pytest.fixture
def world():
    return World(seed=1, nodes=3)


def start_cluster(world: World, scale: int = 4, nodes: int = 2, **settings):
    """A running cluster with one group; returns the oids of both."""
    cluster = world.call("create_routercluster", {"name": "demo", **settings})["oid"]
    for machine in world.machines[:nodes]:
        world.call("add_routercluster_node", cluster, str(machine.oid))
    group = world.call("add_routercluster_workergroup", cluster, {"name": "web", "scale": scale})["oid"]
    world.call("start_routercluster", cluster)
    world.wait_for_status(cluster, "RUNNING")
    return cluster, group


def running(world: World) -> list[int]:
    """How many workers each machine runs."""
    return [len(machine.units) for machine in world.machines]


def statuses(world: World, cluster: str) -> list[str]:
    return [worker["status"] for worker in world.workers(cluster)]


def on(world: World, cluster: str, machine: Machine) -> list[dict]:
    return [worker for worker in world.workers(cluster) if worker["node_oid"] == str(machine.oid)]


def test_a_started_cluster_runs_all_its_workers_evenly_spread(world):
    cluster, _ = start_cluster(world, scale=5)
    assert running(world) == [3, 3, 0]
    assert statuses(world, cluster) == ["RUNNING"] * 6


def test_starting_is_announced_before_started_and_each_once(world):
    start_cluster(world)
    topics = [topic for topic in world.topics() if topic in ("routercluster_starting", "routercluster_started")]
    assert topics == ["routercluster_starting", "routercluster_started"]


def test_a_stopped_cluster_runs_nothing_and_can_be_started_again_and_deleted(world):
    cluster, _ = start_cluster(world)
    world.call("stop_routercluster", cluster)
    world.wait_for_status(cluster, "STOPPED")
    assert running(world) == [0, 0, 0]
    assert statuses(world, cluster) == ["STOPPED"] * 5
    world.call("start_routercluster", cluster)
    world.wait_for_status(cluster, "RUNNING")
    assert sum(running(world)) == 5
    world.call("stop_routercluster", cluster)
    with pytest.raises((NotStopped, CannotStart)):
        world.call("delete_routercluster", cluster)
    world.wait_for_status(cluster, "STOPPED")
    world.call("delete_routercluster", cluster)
    assert world.call("list_routerclusters") == []


def test_a_cluster_without_groups_starts_and_stops_at_once(world):
    cluster = world.call("create_routercluster", {"name": "empty"})["oid"]
    assert world.call("start_routercluster", cluster)["status"] == "STARTING"
    assert world.call("get_routercluster", cluster)["status"] == "RUNNING"
    assert world.call("stop_routercluster", cluster)["status"] == "STOPPING"
    assert world.call("get_routercluster", cluster)["status"] == "STOPPED"
    assert world.topics()[-4:] == [
        "routercluster_starting",
        "routercluster_started",
        "routercluster_stopping",
        "routercluster_stopped",
    ]


def test_scaling_up_leaves_running_workers_alone(world):
    cluster, group = start_cluster(world, scale=2)
    before = {worker["oid"]: worker["started"] for worker in world.workers(cluster)}
    world.call("scale_routercluster_workergroup", cluster, group, 6)
    world.run(1)
    after = {worker["oid"]: worker["started"] for worker in world.workers(cluster)}
    assert len(after) == 7
    assert before.items() <= after.items()
    assert "routercluster_degraded" not in world.topics()


def test_scaling_down_removes_the_highest_indexes(world):
    cluster, group = start_cluster(world, scale=5)
    world.call("scale_routercluster_workergroup", cluster, group, 2)
    world.run(1)
    assert [w["index"] for w in world.workers(cluster) if w["workergroup_oid"]] == [0, 1]
    assert sum(running(world)) == 3


def test_scaling_down_removes_sick_workers_first(world):
    cluster, group = start_cluster(world, scale=3)
    victim = next(w for w in world.workers(cluster) if w["workergroup_oid"] and w["index"] == 0)
    for machine in world.machines:
        machine.broken[victim["oid"]] = "it is broken"
        machine.kill_worker(next((oid for oid in machine.units if str(oid) == victim["oid"]), None))
    world.run(1)
    world.call("scale_routercluster_workergroup", cluster, group, 2)
    world.run(1)
    assert [w["index"] for w in world.workers(cluster) if w["workergroup_oid"]] == [1, 2]


def test_a_group_scaled_to_zero_and_back_needs_no_restart_of_the_cluster(world):
    cluster, group = start_cluster(world, scale=2)
    world.call("scale_routercluster_workergroup", cluster, group, 0)
    world.run(1)
    assert running(world) == [0, 0, 0]
    assert world.call("get_routercluster", cluster)["status"] == "RUNNING"
    world.call("scale_routercluster_workergroup", cluster, group, 2)
    world.run(1)
    assert sum(running(world)) == 3


def test_a_worker_that_dies_is_restarted_on_its_node(world):
    cluster, _ = start_cluster(world)
    machine = world.machines[0]
    oid = next(iter(machine.units))
    machine.kill_worker(oid)
    world.run(1)
    worker = world.call("get_routercluster_worker", cluster, str(oid))
    assert (worker["status"], worker["restarts"], worker["reason"]) == ("RUNNING", 1, None)
    assert worker["node_oid"] == str(machine.oid)
    assert world.topics()[-4:] == [
        "worker_failed",
        "routercluster_degraded",
        "worker_started",
        "routercluster_recovered",
    ]


def test_a_worker_that_fails_again_and_again_is_tried_more_and_more_seldom(world):
    cluster, _ = start_cluster(world, nodes=1, scale=1)
    machine = world.machines[0]
    oid = next(oid for oid in machine.units)
    machine.broken[str(oid)] = "no such port"
    machine.starts.clear()
    machine.kill_worker(oid)
    world.run(60)
    worker = world.call("get_routercluster_worker", cluster, str(oid))
    assert worker["status"] == "ERROR"
    assert "no such port; failed" in worker["reason"]
    assert "trying again in" in worker["reason"]
    assert 4 <= len(machine.starts) <= 8
    machine.broken.clear()
    world.run(90)
    assert world.call("get_routercluster", cluster)["status"] == "RUNNING"


def test_workers_of_a_silent_node_are_unreachable_at_once_and_elsewhere_after_the_grace_period(world):
    cluster, _ = start_cluster(world, nodes=3, scale=6, grace_period=10)
    lost = world.machines[2]
    carried = len(lost.units)
    lost.disconnect()
    world.run(0.5)
    assert [w["status"] for w in on(world, cluster, lost)] == ["UNREACHABLE"] * carried
    assert world.call("get_routercluster", cluster)["status"] == "DEGRADED"
    world.run(9)
    assert len(on(world, cluster, lost)) == carried
    world.run(2)
    assert on(world, cluster, lost) == []
    assert statuses(world, cluster) == ["RUNNING"] * 7
    assert world.topics().count("worker_moved") == carried


def test_a_node_that_returns_in_time_keeps_its_workers(world):
    cluster, _ = start_cluster(world, nodes=2, scale=4, grace_period=10)
    machine = world.machines[1]
    before = dict(machine.units)
    machine.disconnect()
    world.run(5)
    machine.connect()
    world.run(20)
    assert machine.units == before
    assert statuses(world, cluster) == ["RUNNING"] * 5
    assert "worker_moved" not in world.topics()


def test_a_node_that_returns_too_late_stops_what_runs_elsewhere(world):
    cluster, _ = start_cluster(world, nodes=3, scale=6, grace_period=2)
    machine = world.machines[2]
    machine.disconnect()
    world.run(4)
    assert machine.units != {}
    machine.connect()
    world.run(1)
    assert machine.units == {}
    assert statuses(world, cluster) == ["RUNNING"] * 7


def test_workers_stay_on_a_lost_node_when_no_other_can_take_them(world):
    cluster, _ = start_cluster(world, nodes=1, scale=2, grace_period=1)
    machine = world.machines[0]
    before = dict(machine.units)
    machine.disconnect()
    world.run(60)
    assert statuses(world, cluster) == ["UNREACHABLE"] * 3
    machine.connect()
    world.run(1)
    assert machine.units == before
    assert statuses(world, cluster) == ["RUNNING"] * 3


def test_workers_that_fit_nowhere_are_pending_with_a_reason_per_node(world):
    cluster = world.call("create_routercluster", {"name": "demo"})["oid"]
    world.call("add_routercluster_node", cluster, str(world.machines[0].oid), {"hardlimit": 2})
    world.call("add_routercluster_node", cluster, str(world.machines[1].oid), {"hardlimit": 1})
    world.machines[1].disconnect()
    group = world.call("add_routercluster_workergroup", cluster, {"name": "web", "scale": 3})["oid"]
    world.call("start_routercluster", cluster)
    world.run(1)
    pending = [w for w in world.workers(cluster) if w["status"] == "PENDING"]
    assert len(pending) == 2
    assert all(w["reason"] == "no place: node0: hardlimit of 2 reached; node1: offline" for w in pending)
    assert world.call("get_routercluster", cluster)["status"] == "DEGRADED"
    world.machines[1].connect()
    world.call("scale_routercluster_workergroup", cluster, group, 2)
    world.wait_for_status(cluster, "RUNNING")


def test_a_cluster_without_nodes_waits_and_says_for_what(world):
    cluster = world.call("create_routercluster", {"name": "demo"})["oid"]
    world.call("add_routercluster_workergroup", cluster, {"scale": 1})
    world.call("start_routercluster", cluster)
    world.run(1)
    assert world.workers(cluster)[0]["reason"] == "no place: the cluster has no nodes; add one"
    assert world.call("get_routercluster", cluster)["status"] == "STARTING"
    world.call("add_routercluster_node", cluster, str(world.machines[0].oid))
    world.wait_for_status(cluster, "RUNNING")


def test_a_softlimit_is_preferred_to_be_kept_and_may_be_passed(world):
    cluster = world.call("create_routercluster", {"name": "demo"})["oid"]
    world.call("add_routercluster_node", cluster, str(world.machines[0].oid), {"softlimit": 1})
    world.call("add_routercluster_node", cluster, str(world.machines[1].oid), {"hardlimit": 3})
    world.call("add_routercluster_workergroup", cluster, {"name": "web", "scale": 3})
    world.call("start_routercluster", cluster)
    world.wait_for_status(cluster, "RUNNING")
    assert running(world)[:2] == [1, 3]
    group = world.call("list_routercluster_workergroups", cluster)[0]
    world.call("scale_routercluster_workergroup", cluster, group, 5)
    world.run(1)
    assert running(world)[:2] == [3, 3]


def test_a_removed_node_gives_its_workers_to_the_others(world):
    cluster, _ = start_cluster(world, nodes=3, scale=6)
    machine = world.machines[2]
    world.call("remove_routercluster_node", cluster, str(machine.oid))
    world.run(2)
    assert machine.units == {}
    assert sum(running(world)) == 7
    assert world.call("get_routercluster", cluster)["status"] == "RUNNING"


def test_an_added_node_moves_nobody(world):
    cluster, _ = start_cluster(world, nodes=2, scale=4)
    before = [dict(machine.units) for machine in world.machines[:2]]
    world.call("add_routercluster_node", cluster, str(world.machines[2].oid))
    world.run(5)
    assert [machine.units for machine in world.machines[:2]] == before


def test_a_lowered_hardlimit_moves_as_many_as_are_too_many(world):
    cluster, _ = start_cluster(world, nodes=2, scale=5)
    world.call("add_routercluster_node", cluster, str(world.machines[0].oid), {"hardlimit": 1})
    world.run(2)
    assert running(world)[:2] == [1, 5]


def test_the_capacity_of_a_node_is_shared_by_its_clusters():
    world = World(seed=2)
    world.add_machine(capacity=4)
    world.run(1)
    for name in ("first", "second"):
        cluster = world.call("create_routercluster", {"name": name})["oid"]
        world.call("add_routercluster_node", cluster, str(world.machines[0].oid))
        world.call("add_routercluster_workergroup", cluster, {"name": "web", "scale": 2})
        world.call("start_routercluster", cluster)
        world.run(1)
    assert len(world.machines[0].units) == 4
    assert sorted(statuses(world, cluster)) == ["PENDING", "PENDING", "RUNNING"]
    first = world.call("get_routercluster_by_name", "first")["oid"]
    world.call("stop_routercluster", first)
    world.run(2)
    assert statuses(world, cluster) == ["RUNNING"] * 3


def test_a_removed_group_takes_its_workers_along(world):
    cluster, group = start_cluster(world, scale=2)
    other = world.call("add_routercluster_workergroup", cluster, {"name": "more", "scale": 2})["oid"]
    world.run(1)
    world.call("remove_routercluster_workergroup", cluster, group)
    world.run(1)
    assert {w["workergroup_oid"] for w in world.workers(cluster)} == {None, other}
    assert sum(running(world)) == 3


def test_an_unpaired_node_is_cut_off_and_its_workers_are_replaced(world):
    cluster, _ = start_cluster(world, nodes=3, scale=6)
    machine = world.machines[2]
    world.call("unpair_node", str(machine.oid))
    world.run(1)
    assert machine.units == {}
    assert not machine.session.open
    assert statuses(world, cluster) == ["RUNNING"] * 7
    assert str(machine.oid) not in world.call("list_routercluster_nodes", cluster)


def test_an_agent_that_restarts_adopts_what_runs(world):
    cluster, _ = start_cluster(world)
    machine = world.machines[0]
    before, started = dict(machine.units), len(machine.starts)
    machine.kill_agent()
    world.run(3)
    machine.start_agent()
    world.run(20)
    assert machine.units == before
    assert len(machine.starts) == started
    assert statuses(world, cluster) == ["RUNNING"] * 5


def test_a_worker_that_died_while_its_agent_was_away_is_started_on_its_return(world):
    cluster, _ = start_cluster(world)
    machine = world.machines[0]
    machine.kill_agent()
    machine.units.pop(next(iter(machine.units)))
    world.run(3)
    machine.start_agent()
    world.run(5)
    assert len(machine.units) == 3
    assert statuses(world, cluster) == ["RUNNING"] * 5


def test_a_master_that_restarts_touches_no_healthy_worker(world):
    cluster, _ = start_cluster(world)
    before = [dict(machine.units) for machine in world.machines]
    events = len(world.events)
    world.kill_master()
    world.run(30)
    world.start_master()
    world.run(30)
    assert [machine.units for machine in world.machines] == before
    assert [len(machine.starts) for machine in world.machines] == [3, 2, 0]
    assert len(world.events) == events
    assert statuses(world, cluster) == ["RUNNING"] * 5


def test_a_master_killed_in_the_middle_of_a_scale_up_finishes_it_when_it_is_back(world):
    cluster, group = start_cluster(world, scale=2)
    world.call("scale_routercluster_workergroup", cluster, group, 8)
    world.kill_master()
    world.run(5)
    world.start_master()
    world.wait_for_status(cluster, "RUNNING")
    world.run_until(lambda: sum(running(world)) == 9, 10)


def test_what_was_changed_while_an_agent_was_away_is_done_on_its_return(world):
    cluster, group = start_cluster(world, nodes=1, scale=4)
    machine = world.machines[0]
    machine.disconnect()
    world.call("scale_routercluster_workergroup", cluster, group, 1)
    world.run(2)
    assert len(machine.units) == 5
    machine.connect()
    world.run(2)
    assert len(machine.units) == 2
    assert statuses(world, cluster) == ["RUNNING"] * 2


def test_a_node_lost_while_its_cluster_is_stopped_does_not_hold_up_the_stop(world):
    cluster, _ = start_cluster(world, grace_period=3)
    machine = world.machines[1]
    machine.disconnect()
    world.call("stop_routercluster", cluster)
    world.run(1)
    assert world.call("get_routercluster", cluster)["status"] == "STOPPING"
    world.wait_for_status(cluster, "STOPPED", 10)
    world.call("delete_routercluster", cluster)
    machine.connect()
    world.run(2)
    assert machine.units == {}


def test_a_new_configuration_reaches_workers_one_at_a_time_routers_first(world):
    cluster, _ = start_cluster(world, scale=4)
    before = {oid: unit for machine in world.machines for oid, unit in machine.units.items()}
    order = []
    for machine in world.machines:
        machine.starts.clear()
        machine.start_takes_s = 0.5
    config = {"realms": [{"name": "demo", "roles": [{"name": "anonymous", "permissions": []}]}]}
    world.call("update_routercluster", cluster, {"config": config})
    for _ in range(60):
        world.run(0.1)
        order.append(sum(machine.starts != [] for machine in world.machines))
        unreplaced = [o for m in world.machines for o, u in m.units.items() if u == before[o]]
        assert len([w for w in world.workers(cluster) if w["status"] == "RUNNING"]) >= 4
    assert unreplaced == [] or all(
        before[o].digest == u.digest for m in world.machines for o, u in m.units.items() if o in unreplaced
    )
    assert statuses(world, cluster) == ["RUNNING"] * 5
    assert "worker_moved" not in world.topics()


def test_every_event_is_kept_with_a_number_and_none_is_missing(world):
    start_cluster(world)
    page = world.call("list_events", after=0)
    assert [event["seq"] for event in page["events"]] == list(range(1, page["last"] + 1))
    assert [(e["topic"], e["payload"]["seq"]) for e in page["events"]] == [
        (topic, payload["seq"]) for topic, payload in world.events
    ]
    assert (page["gap"], page["next"], page["oldest"]) == (False, None, 1)


def test_every_worker_status_has_a_way_out():
    assert {status.value for status in WorkerStatus} == {
        "PENDING",
        "STARTING",
        "RUNNING",
        "UNREACHABLE",
        "STOPPING",
        "STOPPED",
        "ERROR",
    }


def test_a_node_that_was_taken_out_and_paired_again_carries_workers_again(world):
    cluster, group = start_cluster(world, nodes=2, scale=4)
    machine = world.machines[1]
    # Its assignment has become a high version, higher than the one of the node that it is going to be.
    for scale in (2, 6, 2, 4):
        world.call("scale_routercluster_workergroup", cluster, group, scale)
        world.run(1)
    world.call("unpair_node", str(machine.oid))
    world.run(1)
    machine.oid = Oid(world.call("pair_node", machine.pubkey, machine.name)["oid"])
    machine.disconnect()
    machine.connect()
    world.run(1)
    world.call("add_routercluster_node", cluster, str(machine.oid))
    world.call("scale_routercluster_workergroup", cluster, group, 8)
    world.run(5)
    assert len(machine.units) == 4
    assert statuses(world, cluster) == ["RUNNING"] * 9


def test_an_agent_that_is_told_that_its_node_was_taken_out_stops_its_workers_for_good(world):
    cluster, _ = start_cluster(world, nodes=3, scale=6)
    machine = world.machines[2]
    machine.disconnect()
    world.call("unpair_node", str(machine.oid))
    world.run(20)
    assert machine.units, "cut off, it cannot know"
    machine.agent.dismiss()
    world.run(1)
    assert machine.units == {}
    machine.kill_agent()
    machine.oid = None
    machine.start_agent()
    world.run(1)
    assert machine.units == {}, "nor does the next agent start them"
    assert statuses(world, cluster) == ["RUNNING"] * 7


def test_nothing_is_remembered_of_clusters_that_are_gone(world):
    for number in range(3):
        cluster = world.call("create_routercluster", {"name": f"brief{number}"})["oid"]
        world.call("add_routercluster_node", cluster, str(world.machines[0].oid))
        world.call("add_routercluster_workergroup", cluster, {"name": "web", "scale": 2})
        world.call("start_routercluster", cluster)
        world.wait_for_status(cluster, "RUNNING")
        assert len(world.plane.compositions) > 0
        world.call("stop_routercluster", cluster)
        world.wait_for_status(cluster, "STOPPED")
        world.call("delete_routercluster", cluster)
        world.run(1)
        assert len(world.plane.compositions) == 0
