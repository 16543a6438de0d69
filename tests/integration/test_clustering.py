"""Clusters in Senlin's words over the real master and real agents, on a clock that only the test turns."""

import pytest
from twisted.internet.defer import Deferred

from controlplane.client.clustering import (
    ConflictException,
    Proxy,
    ResourceFailure,
    ResourceNotFound,
    ResourceTimeout,
)
from controlplane.client.pace import TwistedPace
from controlplane.client.senlin.resources import Service
from controlplane.errors import CannotAdopt, InvalidArgument
from tests.simulation.network import decode, encode
from tests.simulation.world import World

SPEC = {"type": "process", "version": "1.0", "properties": {"command": ["sleep", "100"]}}
BROKEN = {"type": "process", "version": "1.0", "properties": {"command": ["broken"]}}


class WorldLine:
    def __init__(self, world: World) -> None:
        self._world = world

    def call(self, procedure, *args, **kwargs):
        arguments = decode(encode([list(args), kwargs]))
        answer = self._world.ask(procedure, *arguments[0], **arguments[1])
        return answer.addCallback(lambda result: decode(encode(result)))


class WorldThread:
    def __init__(self, world: World) -> None:
        self._world = world

    def do(self, work):
        outcome = []
        Deferred.fromCoroutine(work()).addBoth(outcome.append)
        self._world.run_until(lambda: bool(outcome), 600)
        if hasattr(outcome[0], "raiseException"):
            outcome[0].raiseException()
        return outcome[0]


@pytest.fixture
def world():
    return World(seed=1, nodes=3)


@pytest.fixture
def proxy(world):
    made = Proxy.over(WorldThread(world), WorldLine(world), TwistedPace(world.clock))
    made.create_profile(name="sleeper", spec=SPEC)
    return made


@pytest.fixture
def shop(proxy):
    made = proxy.create_cluster(name="shop", profile_id="sleeper", desired_capacity=3, min_size=1, max_size=6)
    return proxy.wait_for_status(made, "active")


def over(proxy, begun, status="SUCCEEDED"):
    """Wait until the action that a method began has ended."""
    return proxy.wait_for_status(proxy.get_action(begun["action"]), status, failures=["failed", "cancelled"])


def test_what_is_missing_is_named_in_the_words_of_who_has_to_say_it(proxy):
    for method, given, missing in (
        (proxy.create_cluster, {"name": "shop"}, ["$.profile_id"]),
        (proxy.create_cluster, {}, ["$.name", "$.profile_id"]),
        (proxy.create_node, {"name": "one"}, ["$.profile_id"]),
        (proxy.adopt_node, {"type": "process-1.0"}, ["$.identity", "$.machine_id"]),
    ):
        with pytest.raises(InvalidArgument) as refused:
            method(**given)
        assert [each.path for each in refused.value.problems] == missing
        assert all(each.path.removeprefix("$.") in refused.value.next_step for each in refused.value.problems)


def test_everything_that_has_a_status_can_be_waited_for(proxy, shop):
    service = next(proxy.services())
    assert proxy.wait_for_status(service, "enabled") == service
    with pytest.raises(ResourceTimeout):
        proxy.wait_for_status(service, "disabled", wait=5)
    gone = Service(id="00000000-0000-4000-8000-000000000000", status="enabled")
    with pytest.raises(ResourceFailure, match="is no more"):
        proxy.wait_for_status(gone, "disabled")
    assert proxy.wait_for_delete(gone) == gone


def test_a_binding_can_be_waited_for_until_it_is_no_more(proxy, shop):
    spec = {"type": "scaling", "version": "1.0", "properties": {"event": "CLUSTER_SCALE_OUT"}}
    proxy.create_policy(name="by_one", spec=spec)
    proxy.attach_policy_to_cluster(shop, "by_one")
    bound = proxy.get_cluster_policy("by_one", shop)
    with pytest.raises(ResourceTimeout):
        proxy.wait_for_delete(bound, wait=5)
    proxy.detach_policy_from_cluster(shop, "by_one")
    assert proxy.wait_for_delete(bound) == bound


def test_what_is_no_resource_cannot_be_waited_for(proxy, shop):
    for nothing in ("shop", proxy.get_build_info(), None):
        with pytest.raises(InvalidArgument, match="cannot be asked for again"):
            proxy.wait_for_delete(nothing)


def test_an_action_is_found_by_its_name_and_by_the_beginning_of_its_id(proxy, shop):
    action = proxy.get_action(proxy.check_cluster(shop)["action"])
    assert proxy.get_action(action.name) == proxy.get_action(action.id[:8]) == action


def test_statuses_that_actions_have_in_senlin_alone_find_nothing_and_others_are_refused(proxy, shop):
    assert [each.status for each in proxy.actions(status=["READY", "SUCCEEDED"])] == ["SUCCEEDED"]
    assert list(proxy.actions(status="SUSPENDED")) == []
    with pytest.raises(InvalidArgument, match="'DONE' is none of WAITING, RUNNING"):
        list(proxy.actions(status="DONE"))


def test_a_cluster_is_created_and_becomes_active(proxy):
    made = proxy.create_cluster(name="shop", profile_id="sleeper", desired_capacity=3)
    assert made.status == "CREATING"
    assert proxy.wait_for_status(made, "ACTIVE").status == "ACTIVE"
    assert proxy.wait_for_status(proxy.get_action(made.action_id), "succeeded").outputs["done"]
    assert [each.name for each in proxy.clusters(status="ACTIVE")] == ["shop"]
    assert list(proxy.clusters(status="CREATING")) == []
    node = next(proxy.nodes())
    assert (node.status, node.cluster_id, node.profile_name) == ("ACTIVE", made.id, "sleeper")
    assert proxy.get_node(node.name) == proxy.find_node(node.id) == node
    assert isinstance(proxy.get_node(node, details=True).details, dict)
    assert [each.id for each in proxy.nodes(name=node.name, status="active")] == [node.id]


def test_it_is_busy_while_its_size_changes(proxy, shop):
    begun = proxy.scale_out_cluster(shop, 2)
    assert proxy.get_cluster(shop).status == "RESIZING"
    with pytest.raises(ConflictException):
        proxy.scale_in_cluster(shop)
    assert over(proxy, begun).action == "CLUSTER_SCALE_OUT"
    assert (proxy.get_cluster(shop).status, proxy.get_cluster(shop).desired_capacity) == ("ACTIVE", 5)
    over(proxy, proxy.scale_in_cluster("shop"))
    over(proxy, proxy.resize_cluster("shop", adjustment_type="EXACT_CAPACITY", number=2, max_size=4))
    assert len(proxy.get_cluster("shop").node_ids) == 2
    with pytest.raises(InvalidArgument, match="between 1 and 4"):
        proxy.resize_cluster("shop", adjustment_type="CHANGE_IN_CAPACITY", number=9)
    by_name = list(proxy.events(cluster_id="shop"))
    assert by_name
    assert [each.id for each in by_name] == [each.id for each in proxy.events(cluster_id=shop.id)]
    assert [each.id for each in proxy.actions(cluster_id="shop")] == [
        each.id for each in proxy.actions(cluster_id=shop.id)
    ]
    with pytest.raises(ResourceNotFound):
        list(proxy.events(cluster_id="nowhere"))
    assert [each.action for each in proxy.actions(cluster_id=shop.id, sort="created_at:desc", limit=1)] == [
        "CLUSTER_RESIZE",
        "CLUSTER_SCALE_IN",
        "CLUSTER_SCALE_OUT",
        "CLUSTER_CREATE",
    ]


def test_nodes_are_removed_replaced_and_deleted(proxy, shop):
    first, second, third = shop.node_ids
    over(proxy, proxy.remove_nodes_from_cluster(shop, [first], destroy_after_deletion=True))
    assert {second, third} == set(proxy.get_cluster(shop).node_ids)
    over(proxy, proxy.replace_nodes_in_cluster(shop, {second: None}))
    kept = set(proxy.get_cluster(shop).node_ids)
    assert len(kept) == 2
    assert third in kept
    assert second not in kept
    gone = proxy.delete_node(third)
    assert gone.status == "DELETING"
    proxy.wait_for_delete(gone)
    assert proxy.get_cluster(shop).desired_capacity == 1
    assert proxy.delete_node(third) is None
    with pytest.raises(ResourceNotFound):
        proxy.delete_node(third, ignore_missing=False)
    assert len(list(proxy.actions(action="CLUSTER_DEL_NODES", status="SUCCEEDED"))) == 1
    assert [each.target for each in proxy.actions(action="NODE_DELETE", status="SUCCEEDED")] == [third]


def test_a_node_is_made_alone_joins_is_replaced_and_leaves_with_the_same_process(proxy, shop):
    made = proxy.create_node(name="clock", profile_id="sleeper", metadata={"a": 1}, machine_id="node1")
    over(proxy, {"action": made.action_id})
    node = proxy.wait_for_status(made, "ACTIVE")
    assert (node.name, node.cluster_id, node.index, node.metadata) == ("clock", "", -1, {"a": 1})
    assert node.data["placement"]["machine"] == "node1"
    over(proxy, proxy.add_nodes_to_cluster(shop, [node]))
    joined = proxy.get_node(node)
    assert (joined.cluster_id, joined.index, joined.physical_id) == (shop.id, 3, node.physical_id)
    over(proxy, proxy.remove_nodes_from_cluster(shop, "clock"))
    assert (proxy.get_node("clock").cluster_id, proxy.get_cluster(shop).desired_capacity) == ("", 3)
    old = proxy.get_node(shop.node_ids[0])
    over(proxy, proxy.replace_nodes_in_cluster(shop, {old.id: "clock"}))
    assert proxy.get_node(old).cluster_id == ""
    assert {proxy.get_node(each).physical_id for each in (old, "clock")} == {old.physical_id, node.physical_id}
    with pytest.raises(InvalidArgument, match="replaces some of them only"):
        proxy.replace_nodes_in_cluster(shop, {joined.id: old, shop.node_ids[1]: None})
    renamed = proxy.update_node(old, name="timer", metadata={"b": 2})
    assert (renamed.name, renamed.metadata) == ("timer", {"b": 2})
    other = proxy.create_profile(name="other", spec={**SPEC, "properties": {"command": ["sleep", "7"]}})
    assert proxy.update_node("timer", profile_id=other).profile_id == other.id
    member = proxy.create_node(profile_id=other, cluster_id=shop)
    assert (member.cluster_id, member.profile_name) == (shop.id, "other")
    over(proxy, {"action": member.action_id})
    gone = proxy.delete_node("timer")
    proxy.wait_for_delete(gone)
    assert proxy.find_node("timer") is None


def test_another_profile_reaches_the_nodes_and_one_that_does_not_run_is_taken_back(world, proxy, shop):
    other = proxy.create_profile(name="other", spec={**SPEC, "properties": {"command": ["sleep", "7"]}})
    changed = proxy.update_cluster(shop, profile_id=other, metadata={"a": 1})
    assert (changed.status, changed.metadata) == ("UPDATING", {"a": 1})
    assert proxy.wait_for_status(changed, "ACTIVE").profile_id == other.id
    broken = proxy.create_profile(name="broken", spec=BROKEN)
    world.machines[0].broken["broken"] = "no such command"
    world.machines[1].broken["broken"] = "no such command"
    world.machines[2].broken["broken"] = "no such command"
    tried = proxy.update_cluster(shop, profile_id=broken)
    assert proxy.wait_for_status(proxy.get_action(tried.action_id), "FAILED").action == "CLUSTER_UPDATE"
    assert proxy.wait_for_status(shop, "ACTIVE").status == "ACTIVE"
    assert proxy.get_cluster(shop).profile_id == other.id


def test_a_cluster_is_deleted_with_its_nodes(proxy, shop):
    gone = proxy.delete_cluster(shop)
    assert gone.status == "DELETING"
    assert proxy.wait_for_delete(gone).name == "shop"
    assert proxy.find_cluster("shop") is None
    assert proxy.delete_cluster(shop) is None
    with pytest.raises(ResourceNotFound):
        proxy.delete_cluster(shop, ignore_missing=False)
    assert list(proxy.nodes()) == []
    assert list(proxy.events(obj_name="shop", obj_type="CLUSTER", level=["ERROR", "CRITICAL"])) == []


def test_waiting_ends_in_failure_and_in_time(proxy, shop):
    with pytest.raises(ResourceTimeout, match="ACTIVE, and not CRITICAL"):
        proxy.wait_for_status(shop, "CRITICAL", interval=1, wait=5)
    with pytest.raises(ResourceTimeout, match="there still"):
        proxy.wait_for_delete(shop, interval=1, wait=3)
    with pytest.raises(ResourceFailure, match="ACTIVE"):
        proxy.wait_for_status(shop, "CRITICAL", failures=["active"])
    proxy.delete_cluster(shop)
    with pytest.raises(ResourceFailure, match="no more"):
        proxy.wait_for_status(shop, "CRITICAL")


def test_attributes_are_collected_by_senlins_names(proxy, shop):
    found = list(proxy.collect_cluster_attrs(shop, "$.status"))
    assert [(each.node_id, each.attr_value) for each in found] == [(node, "ACTIVE") for node in shop.node_ids]
    assert [each.attr_value for each in proxy.collect_cluster_attrs("shop", "id")] == shop.node_ids
    with pytest.raises(InvalidArgument, match="path"):
        proxy.collect_cluster_attrs(shop, "$.[")


def test_what_failed_is_recovered(proxy, world):
    world.machines[0].broken["sleep"] = "no memory left"
    made = proxy.create_cluster(name="shop", profile_id="sleeper", desired_capacity=3)
    assert proxy.wait_for_status(proxy.get_action(made.action_id), "FAILED").status_reason
    assert [each.action for each in proxy.events(level="ERROR", obj_type="CLUSTER")] == ["CLUSTER_CREATE"]
    assert proxy.get_cluster(made).status == "WARNING"
    sick = [each.id for each in proxy.nodes(status="ERROR")]
    assert len(sick) == 1
    world.machines[0].broken.clear()
    over(proxy, proxy.recover_cluster("shop", operation="recreate", check=True))
    assert proxy.get_cluster("shop").status == "ACTIVE"
    assert sick[0] not in proxy.get_cluster("shop").node_ids


def test_operations_are_carried_out_on_nodes(proxy, shop):
    assert set(proxy.list_profile_type_operations("process-1.0")) == {"signal", "restart"}
    assert over(proxy, proxy.perform_operation_on_cluster(shop, "restart")).outputs["done"] == tuple(
        sorted(shop.node_ids)
    )
    first = shop.node_ids[0]
    begun = proxy.perform_operation_on_node(first, "signal", signal="SIGUSR1")
    assert proxy.get_cluster(shop).status == "OPERATING"
    action = over(proxy, begun)
    assert (action.action, action.target_id, list(action.outputs["done"])) == ("NODE_OPERATION", first, [first])
    name = proxy.get_node(first).name
    begun = proxy.perform_operation_on_cluster(shop, "restart", filters={"name": name, "status": "active"})
    assert list(over(proxy, begun).outputs["done"]) == [first]
    assert [each.id for each in proxy.actions(target=first)] == [action.id]
    with pytest.raises(InvalidArgument):
        proxy.perform_operation_on_cluster(shop, "restart", filters={"role": "x"})
    with pytest.raises(InvalidArgument):
        proxy.perform_operation_on_cluster(shop, "restart", hard=True)


def test_receivers_are_made_found_changed_and_deleted(proxy, shop):
    bell = proxy.create_receiver(name="bell", cluster_id="shop", action="CLUSTER_SCALE_OUT", params={"count": 2})
    assert (bell.type, bell.cluster_id, bell.params) == ("webhook", shop.id, {"count": 2})
    assert bell.channel["webhook_path"].startswith("/v1/webhooks/")
    post = proxy.create_receiver(name="post", cluster_id=shop, action="CLUSTER_SCALE_IN", type="message")
    assert post.channel.keys() == {"procedure", "token"}
    assert proxy.get_receiver("post").channel == {"procedure": "controlplane.receiver.send_message"}
    assert proxy.find_receiver(bell.id).name == "bell"
    assert proxy.find_receiver("nobody") is None
    assert [each.name for each in proxy.receivers(sort="name", limit=1)] == ["bell", "post"]
    assert [each.name for each in proxy.receivers(type="message", cluster_id="shop")] == ["post"]
    assert [each.name for each in proxy.receivers(action="CLUSTER_SCALE_OUT")] == ["bell"]
    changed = proxy.update_receiver(bell, name="gong", params={})
    assert (changed.name, changed.params, changed.action) == ("gong", {}, "CLUSTER_SCALE_OUT")
    proxy.delete_receiver(bell)
    assert proxy.delete_receiver(bell) is None
    with pytest.raises(ResourceNotFound):
        proxy.delete_receiver(bell, ignore_missing=False)
    for wrong in ({"cluster_id": "shop", "actor": {}}, {}):
        with pytest.raises(InvalidArgument):
            proxy.create_receiver(name="other", action="CLUSTER_SCALE_OUT", **wrong)


def test_what_runs_already_becomes_a_node(world, proxy):
    world.machines[1].wild["4711"] = {"command": ["clock"], "env": {"COLOUR": "red"}}
    world.run(1)
    wish = {"type": "process-1.0", "identity": "4711", "machine_id": "node1"}
    spec = proxy.adopt_node(preview=True, **wish)
    assert (spec["type"], spec["version"], spec["properties"]["command"]) == ("process", "1.0", ["clock"])
    assert list(proxy.nodes()) == []
    made = proxy.adopt_node(**wish, name="clock", metadata={"a": 1}, overrides={"env": {}})
    over(proxy, {"action": made.action_id})
    node = proxy.get_node("clock")
    assert (node.status, node.physical_id, node.metadata) == ("ACTIVE", "4711", {"a": 1})
    assert proxy.get_profile(node.profile_id).spec["properties"]["env"] == {}
    with pytest.raises(CannotAdopt):
        proxy.adopt_node(**wish)
    with pytest.raises(InvalidArgument, match="role"):
        proxy.adopt_node(**wish, role="x")


def test_nodes_are_checked_and_brought_back(proxy, shop):
    node = next(iter(proxy.nodes(cluster_id=shop)))
    assert over(proxy, proxy.check_cluster(shop)).action == "CLUSTER_CHECK"
    checked = over(proxy, proxy.check_node(node))
    assert (checked.action, checked.target_id, list(checked.outputs["done"])) == ("NODE_CHECK", node.id, [node.id])
    for operation in ("REBOOT", ["rebuild"]):
        done = over(proxy, proxy.recover_node(node, operation=operation, operation_params={"type": "HARD"}))
        assert (done.action, list(done.outputs["done"])) == ("NODE_RECOVER", [node.id])
    over(proxy, proxy.recover_node(node))
    assert node.id not in proxy.get_cluster(shop).node_ids
