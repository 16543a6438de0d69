"""Health policies: the real master and real agents, on a clock that only the test turns."""

from uuid import UUID

import pytest
from twisted.internet.defer import Deferred

from controlplane.errors import AlreadyExists, InvalidConfiguration
from tests.integration.generic import configs, create, ended, machine_of, running, sicken, statuses, workers
from tests.simulation.network import decode, encode
from tests.simulation.world import World

POLL = {"type": "NODE_STATUS_POLLING"}
EVENTS = {"type": "LIFECYCLE_EVENTS"}
PAGE = {
    "type": "NODE_STATUS_POLL_URL",
    "options": {"poll_url": "http://127.0.0.1/{nodename}", "poll_url_retry_limit": 1},
}


def attach(world: World, *modes: dict, cluster: str = "shop", recovery: dict | None = None, **detection) -> None:
    properties = {
        "detection": {"interval": 5, "node_update_timeout": 0, "detection_modes": list(modes), **detection},
        "recovery": {"actions": [{"name": "REBOOT"}, {"name": "RECREATE"}], **(recovery or {})},
    }
    spec = {"type": "health", "properties": properties}
    world.call("create_policy", {"name": "nurse", "spec": spec})
    world.call("attach_policy", cluster, "nurse")


def recoveries(world: World) -> list[dict]:
    return [each for each in decode(encode(world.call("list_actions", sort="created"))) if each["cause"] == "policy"]


def given_up(world: World) -> dict:
    return world.call("get_cluster_policy", "shop", "nurse")["given_up"]


def keep_sick(world: World, oid: str) -> None:
    """Have whatever runs of a worker be found not to be well, again and again."""

    def again():
        for machine in world.machines:
            unit = machine.units.get(UUID(oid))
            if unit is not None:
                machine.sick[UUID(oid), unit.started] = "deaf"
        world.clock.callLater(0.5, again)

    again()


def test_a_worker_that_is_found_sick_is_brought_back_and_the_action_says_why(world):
    oid = create(world, desired=3)
    attach(world, POLL)
    world.run(20)
    assert recoveries(world) == []
    victim = workers(world, oid)[1]
    sicken(world, victim, "port 80 is deaf")
    world.run(15)
    (action,) = recoveries(world)
    assert (action["action"], action["who"], action["status"]) == ("CLUSTER_RECOVER", "nurse", "SUCCEEDED")
    assert list(action["outputs"]["done"]) == [victim["oid"]]
    assert "port 80 is deaf" in str(action["decisions"])
    assert "REBOOT, then RECREATE" in str(action["decisions"])
    assert (configs(world)[victim["oid"]]["generation"], set(statuses(world, oid).values())) == (1, {"RUNNING"})


def test_a_page_that_turns_bad_is_found(world):
    oid = create(world, desired=3)
    attach(world, PAGE)
    world.run(20)
    for machine in world.machines:
        machine.bad_pages.add("shop-2")
    world.run(8)
    (action, *_) = recoveries(world)
    assert "status 500" in str(action["decisions"])
    assert action["inputs"]["workers"] == [workers(world, oid)[2]["oid"]]


@pytest.mark.parametrize(("conditional", "found"), [("ANY_FAILED", 1), ("ALL_FAILED", 0)])
def test_one_way_to_look_is_enough_or_not(world, conditional, found):
    oid = create(world, desired=2)
    attach(world, POLL, PAGE, recovery_conditional=conditional)
    sicken(world, workers(world, oid)[0], "deaf")
    world.run(15)
    assert len(recoveries(world)) == found
    if not found:
        for machine in world.machines:
            machine.bad_pages.add("shop-0")
        world.run(6)
        # It is in ERROR by now, and pages are asked of those that run alone.
        assert recoveries(world) == []


def test_a_worker_is_left_alone_for_a_while_after_it_was_started(world):
    oid = create(world, desired=2)
    attach(world, POLL, node_update_timeout=60)
    sicken(world, workers(world, oid)[0], "still warming up")
    world.run(40)
    assert recoveries(world) == []
    world.run(40)
    assert len(recoveries(world)) == 1


def test_a_worker_that_fails_again_and_again_is_recreated_elsewhere_at_once(world):
    oid = create(world, desired=3)
    attach(world, EVENTS, recovery={"actions": [{"name": "RECREATE"}]}, interval=3600)
    victim = workers(world, oid)[0]
    machine = machine_of(world, victim)
    machine.broken["sleep"] = "the disk is full"
    machine.kill_worker(UUID(victim["oid"]))
    world.run(40)
    assert "the disk is full" in str(recoveries(world)[0]["decisions"])
    assert victim["oid"] not in statuses(world, oid)


def test_workers_of_a_silent_node_are_recreated_at_once_when_the_policy_says_so(world):
    oid = create(world, desired=3, grace_period=1000)
    attach(world, EVENTS)
    world.machines[0].disconnect()
    world.run(10)
    (action,) = recoveries(world)
    assert "is offline" in str(action["decisions"])
    assert list(statuses(world, oid).values()).count("RUNNING") == 3


def test_who_is_back_before_the_policy_has_its_turn_to_write_is_left_alone(world, monkeypatch):
    create(world, desired=3, grace_period=1000)
    attach(world, EVENTS)
    health = world.plane.health
    change, held = health._change, []

    def slow(work):
        held.append((work, Deferred()))
        return held[-1][1]

    monkeypatch.setattr(health, "_change", slow)
    world.machines[0].disconnect()
    world.run(2)
    assert held
    world.machines[0].connect()
    world.run(2)
    for work, done in held:
        change(work).addCallback(done.callback)
    monkeypatch.undo()
    world.run(20)
    assert recoveries(world) == []


def test_who_is_brought_back_too_often_is_given_up_with_an_event_and_never_in_a_loop(world):
    oid = create(world, desired=2)
    limits = {"worker_max": 2, "within": 600}
    attach(world, POLL, recovery={"actions": [{"name": "REBOOT"}], "limits": limits})
    victim = workers(world, oid)[0]
    keep_sick(world, victim["oid"])
    world.run(120)
    assert len(recoveries(world)) == 2
    (reason,) = [each["reason"] for each in given_up(world).values()]
    assert "was brought back 2 times within 600 s; now: deaf" in reason
    told = [payload for topic, payload in world.events if topic.endswith("on_cluster_recovery_given_up")]
    assert [(each["worker_oid"], each["policy_name"]) for each in told] == [(victim["oid"], "nurse")]
    assert told[0]["reason"].startswith("worker shop-0: it was brought back 2 times")
    said = [each["said"] for action in recoveries(world) for each in action["decisions"]]
    assert all(each.startswith("worker shop-0 is not well: deaf; REBOOT") for each in said)
    world.kill_master()
    world.start_master()
    world.run(300)
    assert len(recoveries(world)) == 2
    world.call("update_cluster_policy", "shop", "nurse", enabled=True)
    world.run(60)
    assert len(recoveries(world)) == 4
    assert set(given_up(world)) == {f"{UUID(world.call('get_cluster', oid)['groups'][0]['oid']).hex}/0"}


def test_a_policy_that_begins_too_many_actions_stops_for_the_whole_cluster(world):
    oid = create(world, desired=3)
    limits = {"worker_max": 10, "cluster_max": 3, "within": 600}
    attach(world, POLL, recovery={"actions": [{"name": "REBOOT"}], "limits": limits})
    keep_sick(world, workers(world, oid)[0]["oid"])
    world.run(200)
    assert len(recoveries(world)) == 3
    assert list(given_up(world)) == ["*"]


def test_what_is_given_up_is_taken_up_again_when_it_was_well_for_long(world):
    oid = create(world, desired=2)
    limits = {"worker_max": 1, "within": 100}
    attach(world, POLL, recovery={"actions": [{"name": "REBOOT"}], "limits": limits})
    victim = workers(world, oid)[0]
    for _ in range(2):
        sicken(world, workers(world, oid)[0], "deaf")
        world.run(12)
    assert (len(recoveries(world)), len(given_up(world))) == (1, 1)
    machine_of(world, victim).sick.clear()
    world.run(150)
    assert given_up(world) == {}
    sicken(world, workers(world, oid)[0], "deaf again")
    world.run(12)
    assert len(recoveries(world)) == 2


def test_a_policy_is_obeyed_and_not_obeyed_at_once(world):
    oid = create(world, desired=2)
    attach(world, POLL)
    world.call("update_cluster_policy", "shop", "nurse", enabled=False)
    sicken(world, workers(world, oid)[0], "deaf")
    world.run(30)
    assert recoveries(world) == []
    world.call("update_cluster_policy", "shop", "nurse", enabled=True)
    world.run(12)
    assert len(recoveries(world)) == 1
    world.call("detach_policy", "shop", "nurse")
    sicken(world, workers(world, oid)[1], "deaf")
    world.run(30)
    assert len(recoveries(world)) == 1


def test_a_policy_is_obeyed_by_a_master_that_was_started_since(world):
    oid = create(world, desired=2)
    attach(world, POLL)
    world.kill_master()
    world.start_master()
    world.run(10)
    sicken(world, workers(world, oid)[0], "deaf")
    world.run(15)
    assert [each["status"] for each in recoveries(world)] == ["SUCCEEDED"]


def test_a_cluster_that_is_being_changed_or_stopped_is_left_alone(world):
    oid = create(world, desired=3)
    attach(world, POLL)
    sicken(world, workers(world, oid)[0], None)
    action = world.call("check_cluster", "shop")["oid"]
    world.run(3)
    assert recoveries(world) == []
    ended(world, action)
    world.run(20)
    assert len(recoveries(world)) == 1
    world.run(5)
    deleted = world.call("delete_cluster", "shop")["oid"]
    assert ended(world, deleted)["status"] == "SUCCEEDED"
    world.run(20)
    assert running(world) == 0


def test_slow_looks_of_one_cluster_hold_up_no_other(world):
    slow, fast = create(world, desired=3), None
    attach(world, POLL)
    for worker in workers(world, slow):
        sicken(world, worker, None)
    made = world.call("create_cluster", {"name": "fast", "profile": "sleeper", "desired": 2})
    ended(world, made["action_oid"])
    fast = made["oid"]
    world.call("attach_policy", "fast", "nurse")
    world.run(6)
    sicken(world, workers(world, fast)[0], "deaf")
    world.run_until(lambda: any(each["cluster_name"] == "fast" for each in recoveries(world)), 6)


def test_router_clusters_have_health_policies_too(world):
    oid = world.call("create_routercluster", {"name": "mesh"})["oid"]
    for machine in world.machines:
        world.call("add_routercluster_node", oid, str(machine.oid))
    world.call("add_routercluster_workergroup", oid, {"name": "web", "scale": 2})
    world.call("start_routercluster", oid)
    world.wait_for_status(oid, "RUNNING")
    attach(world, POLL, cluster="mesh")
    router = next(worker for worker in world.workers(oid) if worker["workergroup_oid"] is None)
    sicken(world, router, "it does not answer")
    world.run(20)
    assert [each["status"] for each in recoveries(world)] == ["SUCCEEDED"]
    assert world.call("get_routercluster", oid)["status"] == "RUNNING"
    assert router["oid"] in {worker["oid"] for worker in world.workers(oid)}


def test_a_cluster_obeys_one_health_policy(world):
    create(world)
    attach(world, POLL)
    spec = {"type": "health", "properties": {"detection": {"detection_modes": [EVENTS]}}}
    world.call("create_policy", {"name": "doctor", "spec": spec})
    with pytest.raises(AlreadyExists):
        world.call("attach_policy", "shop", "doctor")


def test_every_problem_of_a_health_policy_is_told(world):
    options = {"poll_url": "ftp://{who}/{url}", "poll_url_healthy_response": "(", "poll_url_healthy_status_min": 500}
    modes = [POLL, POLL, {"type": "NODE_STATUS_POLL_URL", "options": options}]
    bad = {"detection": {"detection_modes": modes}, "recovery": {"actions": [{"name": "PRAY"}]}}
    with pytest.raises(InvalidConfiguration) as caught:
        world.call("validate_policy", {"name": "bad", "spec": {"type": "health", "properties": bad}})
    assert [problem.path for problem in caught.value.problems] == ["$.spec.properties.recovery.actions[0].name"]
    bad["recovery"] = {}
    with pytest.raises(InvalidConfiguration) as caught:
        world.call("validate_policy", {"name": "bad", "spec": {"type": "health", "properties": bad}})
    at = "$.spec.properties.detection.detection_modes"
    assert {problem.path for problem in caught.value.problems} == {
        f"{at}[1].type",
        f"{at}[2].options.poll_url",
        f"{at}[2].options.poll_url_healthy_response",
        f"{at}[2].options.poll_url_healthy_status_min",
    }
