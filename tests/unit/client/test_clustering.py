"""The plane in Senlin's words: every method with its arguments and defaults, resources, errors, paging."""

import inspect
from pathlib import Path

import pytest

from controlplane.client.clustering import (
    BadRequestException,
    ConflictException,
    DuplicateResource,
    Proxy,
    ResourceNotFound,
)
from controlplane.client.senlin import words
from controlplane.client.senlin.resources import Cluster, Policy, Profile
from controlplane.errors import InUse, InvalidArgument, InvalidConfiguration, NotOffered
from controlplane.records.actions import ActionKind
from controlplane.records.clusters import ClusterStatus
from controlplane.records.workers import WorkerStatus

SIGNATURES = (Path(__file__).parent / "senlin_methods.txt").read_text().split("\n")[:-1]
SPEC = {"type": "process", "version": "1.0", "properties": {"command": ["sleep", "100"]}}
SCALING = {"type": "scaling", "version": "1.0", "properties": {"event": "CLUSTER_SCALE_OUT"}}


def signature_of(method: str) -> inspect.Signature:
    """The arguments of a method of the proxy, without their types."""
    found = inspect.signature(getattr(Proxy, method))
    plain = [each.replace(annotation=inspect.Parameter.empty) for each in list(found.parameters.values())[1:]]
    return inspect.Signature(plain)


@pytest.mark.parametrize("documented", SIGNATURES)
def test_every_documented_method_is_there_with_its_arguments_and_defaults(documented):
    name = documented.partition("(")[0]
    assert name + str(signature_of(name)) == documented
    assert inspect.getdoc(getattr(Proxy, name))


def test_all_of_them_are_documented():
    public = {name for name in vars(Proxy) if not name.startswith("_")} - {"over", "close"}
    for part in Proxy.__bases__:
        public |= {name for name in vars(part) if not name.startswith("_")}
    assert public == {line.partition("(")[0] for line in SIGNATURES}


def test_each_of_our_words_has_one_of_senlins():
    assert words.CLUSTER_STATUS.keys() == set(ClusterStatus)
    assert words.NODE_STATUS.keys() == set(WorkerStatus)
    assert words.BUSY.keys() == set(ActionKind)


def test_types_are_listed_and_shown(proxy):
    names = [each.name for each in proxy.profile_types()]
    assert "process-1.0" in names
    assert "command" in str(proxy.get_profile_type("process-1.0").schema)
    assert "scaling-1.0" in [each.name for each in proxy.policy_types()]
    assert proxy.get_policy_type(next(proxy.policy_types())).schema
    for wrong in (proxy.get_profile_type, proxy.get_policy_type):
        with pytest.raises(ResourceNotFound):
            wrong("os.nova.server-1.0")
    with pytest.raises(ResourceNotFound):
        proxy.get_profile_type("scaling-1.0")


def test_profiles_live_as_in_senlin(proxy):
    made = proxy.create_profile(name="sleeper", spec=SPEC, metadata={"team": "red"})
    assert isinstance(made, Profile)
    assert (made.name, made["type"], made.metadata) == ("sleeper", "process-1.0", {"team": "red"})
    assert made.created_at == "2023-11-14T22:13:20Z"
    for key in (made, made.id, "sleeper"):
        assert proxy.get_profile(key) == made
    changed = proxy.update_profile(made, name="dozer", metadata={})
    assert (changed.id, changed.name, changed.metadata) == (made.id, "dozer", {})
    assert proxy.find_profile("dozer") == changed
    assert proxy.find_profile("nobody") is None
    with pytest.raises(ResourceNotFound):
        proxy.find_profile("nobody", ignore_missing=False)
    assert proxy.delete_profile(changed) is None
    assert proxy.delete_profile(changed) is None
    with pytest.raises(ResourceNotFound):
        proxy.delete_profile(changed, ignore_missing=False)


def test_a_profile_is_checked_without_being_kept(proxy):
    checked = proxy.validate_profile(spec=SPEC)
    assert checked.id is None
    assert checked.spec["properties"]["command"] == ["sleep", "100"]
    assert list(proxy.profiles()) == []
    with pytest.raises(InvalidConfiguration, match="command"):
        proxy.validate_profile(spec={**SPEC, "properties": {}})
    with pytest.raises(BadRequestException, match="specification"):
        proxy.create_profile(name="sleeper", specification=SPEC)


def test_lists_are_filtered_sorted_and_paged(proxy, line):
    for number in range(5):
        proxy.create_profile(name=f"profile_{number}", spec=SPEC, metadata={"odd": number % 2})
    line.calls.clear()
    names = [each.name for each in proxy.profiles(sort="name:desc", limit=2)]
    assert names == [f"profile_{number}" for number in (4, 3, 2, 1, 0)]
    assert len(line.calls) == 3
    third = proxy.get_profile("profile_2")
    assert [each.name for each in proxy.profiles(sort="name", marker=third.id)] == ["profile_3", "profile_4"]
    assert [each.name for each in proxy.profiles(metadata={"odd": 1}, sort="created_at,name")] == [
        "profile_1",
        "profile_3",
    ]
    assert [each.name for each in proxy.profiles(name="profile_3", type="process-1.0", global_project=True)] == [
        "profile_3"
    ]
    for wrong in ({"limit": 0}, {"limit": "2"}, {"global_project": "yes"}, {"size": 3}, {"metadata": 3}):
        with pytest.raises(BadRequestException):
            proxy.profiles(**wrong)
    for wrong in ({"sort": "size"}, {"sort": "name:up"}, {"marker": "3eccb1fd-251b-4eda-bee9-06b3d24b1c5e"}):
        with pytest.raises(BadRequestException):
            list(proxy.profiles(**wrong))


def test_a_list_asks_for_a_page_only_when_it_is_needed(proxy, line):
    for number in range(5):
        proxy.create_profile(name=f"profile_{number}", spec=SPEC)
    line.calls.clear()
    found = proxy.profiles(limit=2)
    assert line.calls == []
    next(found)
    next(found)
    assert len(line.calls) == 1


def test_policies_live_as_in_senlin(proxy):
    made = proxy.create_policy(name="grow", spec=SCALING)
    assert isinstance(made, Policy)
    assert proxy.get_policy("grow") == proxy.find_policy(made.id) == made
    assert [each.name for each in proxy.policies(type=made.type)] == ["grow"]
    assert proxy.update_policy(made, name="grow_more").name == "grow_more"
    assert proxy.validate_policy(spec=SCALING).id is None
    with pytest.raises(BadRequestException):
        proxy.update_policy(made, spec=SCALING)
    proxy.delete_policy("grow_more")
    proxy.delete_policy("grow_more")
    with pytest.raises(ResourceNotFound):
        proxy.get_policy(made)


def test_a_cluster_has_senlins_attributes(proxy):
    profile = proxy.create_profile(name="sleeper", spec=SPEC)
    made = proxy.create_cluster(
        name="shop",
        profile_id=profile,
        desired_capacity=2,
        min_size=1,
        max_size=5,
        timeout=60,
        metadata={"a": 1},
        config={"node.name.format": "shop-$2I"},
    )
    assert isinstance(made, Cluster)
    assert (made.status, made.desired_capacity, made.min_size, made.max_size) == ("CREATING", 2, 1, 5)
    assert (made.timeout, made.metadata, made.config) == (60, {"a": 1}, {"node.name.format": "shop-$2I"})
    assert (made.profile_id, made.profile_name) == (profile.id, "sleeper")
    assert (made.project_id, len(made.node_ids), made.policies) == ("default", 2, [])
    assert proxy.get_action(made.action_id).action == "CLUSTER_CREATE"
    assert proxy.get_action(proxy.get_action(made.action_id).name).id == made.action_id
    action = proxy.get_action(made.action_id)
    derived = list(proxy.actions(parent_id=action))
    assert {(each.action, each.cause) for each in derived} == {("NODE_CREATE", "Derived Action")}
    assert {each.status for each in derived} <= {"WAITING", "RUNNING"}
    assert {each.target_id for each in derived} == set(made.node_ids)
    assert ([each.id for each in derived], action.depended_by) == (action.depends_on, [])
    assert [(each.depended_by, each.depends_on) for each in derived] == [([action.id], [])] * 2
    assert proxy.get_action(derived[0]) == derived[0]
    assert action.id in [each.id for each in proxy.actions()]
    assert not {each.id for each in derived} & {each.id for each in proxy.actions()}
    assert [node.name for node in proxy.nodes(cluster_id="shop", sort="index")] == ["shop-00", "shop-01"]
    assert made.to_dict()["node_ids"] == [node.id for node in proxy.nodes(cluster_id=made, sort="index")]
    with pytest.raises(AttributeError):
        made.size  # noqa: B018
    with pytest.raises(InUse):
        proxy.delete_profile(profile)
    with pytest.raises(ConflictException):
        proxy.scale_out_cluster("shop")


def test_what_a_cluster_has_not_is_refused(proxy):
    proxy.create_profile(name="sleeper", spec=SPEC)
    good = {"name": "shop", "profile_id": "sleeper"}
    for wrong in ({"size": 3}, {"config": {"cluster.stop_node_before_delete": True}}, {"config": 3}):
        with pytest.raises(BadRequestException):
            proxy.create_cluster(**good, **wrong)
    with pytest.raises(InvalidConfiguration):
        proxy.create_cluster(**good, min_size=3, max_size=2)
    with pytest.raises(ResourceNotFound):
        proxy.create_cluster(name="shop", profile_id="nobody")
    with pytest.raises(BadRequestException):
        proxy.delete_cluster("shop", force_delete="yes")
    proxy.create_cluster(**good)
    with pytest.raises(NotOffered):
        proxy.update_cluster("shop", profile_id="sleeper", profile_only=True)
    with pytest.raises(InvalidArgument):
        proxy.recover_cluster("shop", check="perhaps")


def test_policies_are_attached_and_detached_at_once(proxy):
    proxy.create_profile(name="sleeper", spec=SPEC)
    proxy.create_cluster(name="shop", profile_id="sleeper")
    policy = proxy.create_policy(name="grow", spec=SCALING)
    attached = proxy.attach_policy_to_cluster("shop", policy, enabled=False)
    assert proxy.get_action(attached["action"]).action == "CLUSTER_ATTACH_POLICY"
    bound = proxy.get_cluster_policy(policy, "shop")
    assert (bound.is_enabled, bound.policy_name, bound.cluster_name) == (False, "grow", "shop")
    assert proxy.update_cluster_policy("shop", "grow", enabled=True)["cluster_policy"] == bound.id
    assert [each.id for each in proxy.cluster_policies("shop", enabled=True)] == [bound.id]
    assert list(proxy.cluster_policies("shop", enabled=False)) == []
    assert proxy.get_cluster("shop").policies == [policy.id]
    proxy.detach_policy_from_cluster("shop", policy)
    with pytest.raises(ResourceNotFound):
        proxy.get_cluster_policy(bound, "shop")


def test_an_ambiguous_beginning_is_an_error_of_its_own(proxy):
    proxy.create_profile(name="one", spec=SPEC)
    proxy.create_profile(name="two", spec=SPEC)
    with pytest.raises(DuplicateResource):
        proxy.find_profile("00000000")


def test_events_are_found_by_senlins_words(proxy):
    proxy.create_profile(name="sleeper", spec=SPEC)
    shop = proxy.create_cluster(name="shop", profile_id="sleeper", desired_capacity=2)
    found = list(proxy.events(obj_type="NODE", level="debug"))
    assert [(each.obj_type, each.cluster_id, each.level) for each in found] == [("NODE", shop.id, "DEBUG")] * 2
    newest, *_ = proxy.events(sort="timestamp:desc", limit=1)
    assert proxy.get_event(newest) == newest
    assert [each.id for each in proxy.events()] == [str(int(newest.id) - n) for n in range(int(newest.id))][::-1]
    started = list(proxy.events(cluster_id=shop.id, action="CLUSTER_CREATE", obj_id=shop.id, obj_name="shop"))
    assert [(each.obj_type, each.status) for each in started] == [("CLUSTER", "RUNNING")]
    assert list(proxy.events(level=10)) == found
    assert next(proxy.events(marker=found[0].id)).id == str(int(found[0].id) + 1)
    for nobody in ("99999", "shop", "1" * 40):
        with pytest.raises(ResourceNotFound):
            proxy.get_event(nobody)


def test_services_and_build_info(proxy, plane):
    plane.call("pair_node", pubkey="ab" * 32, authid="edge1")
    found = {each.binary: (each.host, each.state) for each in proxy.services()}
    assert found == {"controlplane-master": ("master", "up"), "controlplane-agent": ("edge1", "down")}
    assert proxy.get_build_info().api["revision"] == "1.0"


def test_only_what_has_a_status_can_be_waited_for(proxy):
    profile = proxy.create_profile(name="sleeper", spec=SPEC)
    with pytest.raises(AttributeError):
        proxy.wait_for_status(profile, "ACTIVE")
    proxy.delete_profile(profile)
    assert proxy.wait_for_delete(profile) == profile
