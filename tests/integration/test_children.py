"""Actions of single workers, of which an action of a cluster consists: real master and agents, on a test's clock."""

from collections import Counter
from uuid import UUID

import pytest

from controlplane.errors import ActionEnded, ActionHasParent, InvalidArgument, NoSuchObject
from controlplane.services import old_actions
from tests.integration.test_generic_clusters import BROKEN, SPEC, create, ended, workers
from tests.simulation.lines import decode, encode
from tests.simulation.world import World


@pytest.fixture
def world():
    made = World(seed=1, nodes=3)
    made.call("create_profile", {"name": "sleeper", "spec": SPEC})
    made.call("create_profile", {"name": "patient", "spec": {**SPEC, "properties": {"command": ["sleep", "7"]}}})
    made.call("create_profile", {"name": "broken", "spec": BROKEN})
    return made


def children(world: World, action: str, **query) -> list[dict]:
    """The children of an action, each of which is what is found by its oid, too."""
    filters = {"parent_oid": action, **query.pop("filters", {})}
    found = decode(encode(world.call("list_actions", filters=filters, **query)))
    for child in found:
        assert decode(encode(world.call("get_action", child["oid"]))) == child
        assert (child["parent_oid"], child["cause"], child["children"]) == (action, "derived", None)
    return found


def stand(world: World, action: str) -> dict[str, str]:
    """How each worker's child stands, which is what the numbers of the parent say."""
    found = children(world, action)
    numbers = Counter(child["status"].lower() for child in found)
    told = decode(encode(world.call("get_action", action)))["children"]
    assert {name: number for name, number in told.items() if number} == {**numbers, "total": len(found)}
    assert len({child["target"] for child in found}) == len(found)
    return {child["target"]: child["status"] for child in found}


def kinds(world: World, action: str) -> Counter:
    return Counter((child["action"], child["status"]) for child in children(world, action))


def over(world: World, action: str) -> dict:
    """An action that has ended, as have its children."""
    found = ended(world, action)
    assert all(child["ended"] and child["phase"] == "over" for child in children(world, action))
    return found


def test_each_worker_of_a_new_cluster_has_a_child_that_ends_when_it_runs(world):
    made = world.call("create_cluster", {"name": "shop", "profile": "sleeper", "desired": 3})
    action = made["action_oid"]
    assert set(stand(world, action).values()) == {"WAITING"}  # No agent has attached yet.
    assert {"no place" in child["reason"] for child in children(world, action)} == {True}
    seen = {child["oid"] for child in children(world, action)}
    assert over(world, action)["status"] == "SUCCEEDED"
    assert {child["oid"] for child in children(world, action)} == seen
    assert stand(world, action) == {worker["oid"]: "SUCCEEDED" for worker in workers(world, "shop")}
    for child in children(world, action):
        assert child["action"] == "WORKER_CREATE"
        assert child["created"] <= child["started"] < child["ended"]
        assert (child["outputs"]["done"], child["done"], child["total"]) == ([child["target"]], 1, 1)
        assert child["cluster_name"] == "shop"


def test_one_waits_for_its_turn_and_another_is_under_way(world):
    oid = create(world, desired=3)
    action = world.call("update_cluster", "shop", {"profile": "patient"})["action_oid"]
    seen = []

    def look() -> bool:
        now = Counter(stand(world, action).values())
        if not seen or seen[-1] != now:
            seen.append(now)
        return world.call("get_action", action)["ended"] is not None

    world.run_until(look, 60)
    assert [(now["WAITING"], now["RUNNING"], now["SUCCEEDED"]) for now in seen] == [
        (2, 1, 0),
        (1, 1, 1),
        (0, 1, 2),
        (0, 0, 3),
    ]
    first = children(world, action)
    assert {child["action"] for child in first} == {"WORKER_UPDATE"}
    assert stand(world, action).keys() == {worker["oid"] for worker in workers(world, oid)}
    # Who had to wait was begun later than it was created.
    assert sorted(child["started"] - child["created"] > 0 for child in first) == [False, True, True]


def test_a_child_says_why_its_worker_failed_and_what_was_taken_back_is_cancelled(world):
    create(world, desired=3)
    world.machines[0].broken["sleep"] = "no memory left"
    world.machines[1].start_takes_s = 3
    action = over(world, world.call("scale_out_cluster", "shop", 3)["oid"])
    (failed,) = action["outputs"]["failed"]
    found = {child["target"]: child for child in children(world, action["oid"])}
    assert Counter(child["status"] for child in found.values()) == {"FAILED": 1, "SUCCEEDED": 2}
    bad = found[failed["worker_oid"]]
    assert (bad["status"], bad["reason"]) == ("FAILED", failed["reason"])
    assert bad["outputs"]["failed"] == [failed]


def test_an_update_that_is_rolled_back_leaves_no_child_open(world):
    create(world, desired=4)
    for machine in world.machines:
        machine.broken["broken"] = "no such program"
    action = world.call("update_cluster", "shop", {"profile": "broken"})["action_oid"]
    world.run_until(lambda: world.call("get_action", action)["phase"] == "roll back", 60)
    assert Counter(stand(world, action).values()) == {"FAILED": 1, "CANCELLED": 3}
    assert over(world, action)["status"] == "FAILED"
    for child in children(world, action):
        assert "no such program" in child["reason"]
        assert (child["started"] is None) == (child["status"] == "CANCELLED")


def test_what_succeeded_and_is_taken_back_is_cancelled_after_all(world):
    create(world, desired=2)
    action = world.call("update_cluster", "shop", {"profile": "patient"})["action_oid"]
    world.run_until(lambda: "SUCCEEDED" in stand(world, action).values(), 30)
    world.call("cancel_action", "shop", action)
    assert set(stand(world, action).values()) == {"CANCELLED"}
    assert any(child["reason"].startswith("it was taken back") for child in children(world, action))
    assert over(world, action)["status"] == "CANCELLED"


def test_a_worker_that_got_there_and_fails_before_its_parent_is_over_has_failed(world):
    create(world, desired=2)
    world.machines[1].start_takes_s = world.machines[2].start_takes_s = 20
    action = world.call("scale_out_cluster", "shop", 3)["oid"]
    world.run_until(lambda: "SUCCEEDED" in stand(world, action).values(), 10)
    early = next(oid for oid, status in stand(world, action).items() if status == "SUCCEEDED")
    machine = next(machine for machine in world.machines if UUID(early) in machine.units)
    machine.broken["sleep"] = "its disk is full"
    machine.kill_worker(UUID(early), "it died")
    world.run_until(lambda: stand(world, action)[early] == "RUNNING", 10)
    world.run_until(lambda: stand(world, action)[early] == "FAILED", 30)
    done = over(world, action)
    assert (done["status"], [each["worker_oid"] for each in done["outputs"]["failed"]]) == ("FAILED", [early])
    assert stand(world, action)[early] == "FAILED"


def test_a_child_is_cancelled_with_its_parent_alone(world):
    create(world, desired=2)
    for machine in world.machines:
        machine.start_takes_s = 20
    action = world.call("scale_out_cluster", "shop", 2)["oid"]
    child = children(world, action)[0]
    with pytest.raises(ActionHasParent) as refused:
        world.call("cancel_action", "shop", child["oid"])
    assert refused.value.next_step == f"cancel action {action}"
    assert refused.value.subject["oid"] == child["oid"]
    world.call("cancel_action", "shop", action)
    assert over(world, action)["status"] == "CANCELLED"
    assert {(each["status"], each["reason"]) for each in children(world, action)} == {("CANCELLED", "it was cancelled")}
    with pytest.raises(ActionEnded):
        world.call("cancel_action", "shop", child["oid"])


def test_no_child_is_left_open_when_it_took_too_long(world):
    create(world, desired=2, timeout=30)
    for machine in world.machines:
        machine.start_takes_s = 1_000
    late = over(world, world.call("scale_out_cluster", "shop")["oid"])
    assert {each["status"] for each in children(world, late["oid"])} == {"CANCELLED"}
    assert all("longer than 30 s" in each["reason"] for each in children(world, late["oid"]))


def test_no_child_is_left_open_when_a_deletion_goes_first(world):
    create(world, desired=2)
    growing = world.call("scale_out_cluster", "shop", 2)["oid"]
    deletion = world.call("delete_cluster", "shop")["oid"]
    over(world, growing)
    assert kinds(world, growing) == {("WORKER_CREATE", "CANCELLED"): 2}
    assert over(world, deletion)["status"] == "SUCCEEDED"
    assert kinds(world, deletion) == {("WORKER_DELETE", "SUCCEEDED"): 4}


@pytest.mark.parametrize("at", [0.001, 0.02, 0.3, 1.2, 2.5])
def test_children_are_the_same_when_the_master_is_back(world, at):
    oid = create(world, desired=4)
    action = world.call("update_cluster", "shop", {"profile": "patient"})["action_oid"]
    world.run(at)
    before = {child["target"]: child["oid"] for child in children(world, action)}
    world.kill_master()
    world.run(2)
    world.start_master()
    assert over(world, action)["status"] == "SUCCEEDED"
    assert {child["target"]: child["oid"] for child in children(world, action)} == before
    assert stand(world, action) == {worker["oid"]: "SUCCEEDED" for worker in workers(world, oid)}


def test_workers_that_come_and_go_have_children_of_their_own_kind(world):
    oid = create(world, desired=4)
    first, second, third, _ = (worker["oid"] for worker in workers(world, oid))
    action = over(world, world.call("replace_cluster_workers", "shop", [first])["oid"])
    assert kinds(world, action["oid"]) == {("WORKER_DELETE", "SUCCEEDED"): 1, ("WORKER_CREATE", "SUCCEEDED"): 1}
    gone = next(child for child in children(world, action["oid"]) if child["action"] == "WORKER_DELETE")
    assert (gone["target"], gone["outputs"]["removed"]) == (first, [first])
    left = over(world, world.call("remove_cluster_workers", "shop", [second, third], destroy=False)["oid"])
    assert kinds(world, left["oid"]) == {("WORKER_LEAVE", "SUCCEEDED"): 2}
    back = over(world, world.call("add_cluster_workers", "shop", [second])["oid"])
    assert kinds(world, back["oid"]) == {("WORKER_JOIN", "SUCCEEDED"): 1}
    swap = world.call("replace_cluster_workers", "shop", [second], [third])["oid"]
    over(world, swap)
    assert kinds(world, swap) == {("WORKER_DELETE", "SUCCEEDED"): 1, ("WORKER_JOIN", "SUCCEEDED"): 1}


def test_a_recovery_has_children_for_the_sick_and_for_those_who_take_their_places(world):
    oid = create(world, desired=3)
    sick = workers(world, oid)[0]
    machine = next(machine for machine in world.machines if str(machine.oid) == sick["node_oid"])
    machine.broken[sick["oid"]] = "its disk is full"
    machine.kill_worker(UUID(sick["oid"]), "it died")
    world.run_until(lambda: any(worker["status"] == "ERROR" for worker in workers(world, oid)), 30)
    action = over(world, world.call("recover_cluster", "shop")["oid"])
    assert kinds(world, action["oid"]) == {("WORKER_RECOVER", "SUCCEEDED"): 1, ("WORKER_CREATE", "SUCCEEDED"): 1}
    assert stand(world, action["oid"])[sick["oid"]] == "SUCCEEDED"


def test_a_check_has_a_child_for_each_worker_that_says_what_was_found(world):
    oid = create(world, desired=3)
    victim = workers(world, oid)[1]
    machine = next(machine for machine in world.machines if str(machine.oid) == victim["node_oid"])
    machine.sick[UUID(victim["oid"]), machine.units[UUID(victim["oid"])].started] = "port 80 is deaf"
    action = world.call("check_cluster", "shop")["oid"]
    assert kinds(world, action) == {("WORKER_CHECK", "RUNNING"): 3}
    assert {child["phase"] for child in children(world, action)} == {"check"}
    assert over(world, action)["status"] == "SUCCEEDED"
    assert kinds(world, action) == {("WORKER_CHECK", "SUCCEEDED"): 2, ("WORKER_CHECK", "FAILED"): 1}
    (bad,) = children(world, action, filters={"status": "FAILED"})
    assert (bad["target"], bad["reason"]) == (victim["oid"], "port 80 is deaf")


def test_an_operation_has_a_child_for_each_worker(world):
    create(world, desired=4)
    world.machines[0].operations_take_s = 5
    begun = world.call("perform_cluster_operation", "shop", "restart", parallel=1)
    assert Counter(stand(world, begun["oid"]).values())["WAITING"] >= 2
    world.run(0.2)
    assert Counter(stand(world, begun["oid"]).values())["RUNNING"] == 1
    assert over(world, begun["oid"])["status"] == "SUCCEEDED"
    assert kinds(world, begun["oid"]) == {("WORKER_OPERATION", "SUCCEEDED"): 4}
    with pytest.raises(InvalidArgument, match="name its parent"):
        world.call("list_operation_results", "shop", children(world, begun["oid"])[0]["oid"])


def test_an_operation_that_is_cut_off_leaves_no_child_open(world):
    create(world, desired=3)
    for machine in world.machines:
        machine.operations_take_s = 50
    begun = world.call("perform_cluster_operation", "shop", "restart", parallel=1)
    world.run(1)
    world.call("cancel_action", "shop", begun["oid"])
    assert over(world, begun["oid"])["status"] == "CANCELLED"
    assert kinds(world, begun["oid"]) == {("WORKER_OPERATION", "FAILED"): 3}
    stand(world, begun["oid"])


def test_an_action_of_one_worker_has_none(world):
    create(world, desired=2)
    victim = workers(world, "shop")[0]["oid"]
    for verb in ("check_worker", "recover_worker", "delete_worker"):
        action = ended(world, world.call(verb, victim)["oid"])
        assert (action["children"], children(world, action["oid"])) == (None, [])
        victim = workers(world, "shop")[0]["oid"]


def test_children_are_listed_by_their_parent_only_and_like_everything_else(world):
    made = world.call("create_cluster", {"name": "shop", "profile": "sleeper", "desired": 12})["action_oid"]
    over(world, made)
    other = over(world, world.call("scale_out_cluster", "shop", 2)["oid"])["oid"]
    assert [each["oid"] for each in world.call("list_actions")] == [made, other]
    assert len(world.call("list_actions", filters={"cluster_name": "shop"})) == 2
    oids = [each["oid"] for each in children(world, made)]
    assert len(oids) == 12
    for sort, whole in ((None, oids), ("created:desc", oids[::-1]), ("oid", sorted(oids))):
        for filters in ({}, {"status": "SUCCEEDED"}, {"status": ["SUCCEEDED", "FAILED"]}):
            paged: list[str] = []
            while page := children(
                world, made, filters=filters, sort=sort, limit=5, marker=paged[-1] if paged else None
            ):
                paged += [each["oid"] for each in page]
            assert paged == whole
    assert children(world, made, filters={"status": "FAILED"}) == []
    with pytest.raises(InvalidArgument, match="'no such status' is none of WAITING, RUNNING"):
        children(world, made, filters={"status": "no such status"})
    (one,) = children(world, made, filters={"target": workers(world, "shop")[0]["oid"]})
    assert one["oid"] in oids
    both = world.call("list_actions", filters={"parent_oid": [other, made]})
    assert [each["oid"] for each in both[:12]] == oids
    assert {each["parent_oid"] for each in both[12:]} == {other}
    assert [each["oid"] for each in world.call("list_actions", filters={"parent_oid": [made]})] == oids
    for nobody in (str(UUID(int=7)), "no oid", [], 7):
        assert world.call("list_actions", filters={"parent_oid": nobody}) == []
    assert len(world.call("list_actions", filters={"parent_oid": None})) == 2
    with pytest.raises(InvalidArgument, match="is not in the list"):
        world.call("list_actions", filters={"parent_oid": made}, marker=other)
    with pytest.raises(InvalidArgument, match="is not in the list"):
        world.call("list_actions", filters={"parent_oid": other}, marker=oids[0])


def test_children_are_announced_by_their_parent_and_their_workers_alone(world):
    action = create(world, desired=3) and world.call("list_actions")[0]["oid"]
    assert Counter(topic for topic in world.topics() if "action" in topic) == {"action_started": 1, "action_ended": 1}
    (end,) = (payload for topic, payload in world.events if topic.endswith("on_action_ended"))
    assert (end["oid"], end["children"]["succeeded"]) == (str(action), 3)


def test_children_are_forgotten_with_their_parent(world, monkeypatch):
    monkeypatch.setattr(old_actions, "ACTIONS_KEPT_MAX", 2)
    monkeypatch.setattr(old_actions, "CHILDREN_AT_ONCE_MAX", 2)
    made = world.call("create_cluster", {"name": "shop", "profile": "sleeper", "desired": 3})["action_oid"]
    over(world, made)
    first = children(world, made)
    actions = [world.call("scale_out_cluster", "shop")["oid"]]
    over(world, actions[0])
    actions.append(world.call("scale_out_cluster", "shop")["oid"])
    over(world, actions[1])
    # Not too many at a time: the parent is forgotten after the last of them.
    assert [child["oid"] for child in children(world, made)] == [first[2]["oid"]]
    over(world, world.call("scale_out_cluster", "shop")["oid"])
    for oid in (made, *(child["oid"] for child in first)):
        with pytest.raises(NoSuchObject):
            world.call("get_action", oid)
    assert len(children(world, actions[1])) == 1


def test_there_are_never_many_more_children_than_are_kept(world, monkeypatch):
    monkeypatch.setattr(old_actions, "CHILDREN_KEPT_MAX", 5)
    made = world.call("create_cluster", {"name": "shop", "profile": "sleeper", "desired": 3})["action_oid"]
    over(world, made)
    for expected in (3, 3, 3, 2, 1, 0):
        assert len(children(world, made)) == expected
        newest = over(world, world.call("scale_out_cluster", "shop")["oid"])
    assert newest["children"]["total"] == len(children(world, newest["oid"])) == 1
    assert world.call("get_action", made)["children"]["succeeded"] == 3
    # Those of an action that runs stay, however many they are.
    growing = world.call("scale_out_cluster", "shop", 9)["oid"]
    assert over(world, growing)["children"]["total"] == len(children(world, growing)) == 9
