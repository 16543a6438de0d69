import pytest

from controlplane.errors import (
    AlreadyExists,
    CannotStart,
    CannotStop,
    InvalidConfiguration,
    NoSuchObject,
    NotStopped,
)
from controlplane.records import events
from controlplane.store.catalog import EVENTS

DOCUMENTED = {"oid", "label", "description", "tags", "name", "status", "owner_oid", "changed"}
ROLE = {"name": "staff", "permissions": [{"uri": "", "match": "prefix", "allow": {"call": True}}]}
TICKET = {"ticket": {"type": "static", "principals": {"joe": {"ticket": "sesame", "role": "staff"}}}}
PLAIN = {"realms": [{"name": "office", "roles": [ROLE]}], "transport": {"type": "websocket", "auth": TICKET}}
TLS = {"endpoint": {"type": "tcp", "tls": {"key": "/k", "certificate": "/c"}}}
SECURE = {**PLAIN, "transport": {**PLAIN["transport"], **TLS}}


def create(plane, name="shop", **settings):
    return plane.call("create_routercluster", {"name": name, **settings})


def node(plane, number=1):
    return plane.call("pair_node", pubkey=f"{number:064x}", authid=f"node{number}")["oid"]


def test_a_created_cluster_is_stopped_and_announced_with_all_documented_fields(plane):
    made = create(plane, label="l", description="d", tags=["a", "b"])
    assert made.keys() >= DOCUMENTED
    assert (made["status"], made["label"], made["description"], list(made["tags"])) == ("STOPPED", "l", "d", ["a", "b"])
    ((topic, payload),) = plane.wire.published
    assert topic == "controlplane.routercluster.on_routercluster_created"
    assert payload == {**made, "seq": 1, "time": plane.now}
    assert plane.call("get_routercluster", made["oid"]) == plane.call("get_routercluster_by_name", "shop") == made


def test_a_name_is_taken_once_and_free_again_after_deletion(plane):
    made = create(plane)
    with pytest.raises(AlreadyExists, match="this name") as caught:
        create(plane)
    assert caught.value.subject["oid"] == made["oid"]
    plane.call("delete_routercluster", made["oid"])
    create(plane)


def test_lists_are_in_order_and_come_in_pages(plane):
    oids = sorted(create(plane, name)["oid"] for name in ("bb_", "cc_", "aa_", "dd_"))
    assert plane.call("list_routerclusters") == oids
    assert plane.call("list_routerclusters", return_names=True) == ["aa_", "bb_", "cc_", "dd_"]
    assert plane.call("list_routerclusters", limit=2) == oids[:2]
    assert plane.call("list_routerclusters", limit=2, marker=oids[1]) == oids[2:]
    assert plane.call("list_routerclusters", return_names=True, limit=2, marker="bb_") == ["cc_", "dd_"]
    assert plane.call("list_routerclusters", True, 1, "dd_") == []


def test_a_reply_can_be_sent_back_as_a_definition(plane):
    made = create(plane)
    again = plane.call("create_routercluster", {**made, "name": "other"})
    assert again["oid"] != made["oid"]


def test_every_problem_of_a_definition_is_told_with_its_path(plane):
    with pytest.raises(InvalidConfiguration) as caught:
        create(plane, "X", lable="typo", tags=5, routers=0, grace_period=-1)
    found = {p.path: p.message for p in caught.value.problems}
    assert found.keys() == {"$.name", "$.lable", "$.tags", "$.routers", "$.grace_period"}
    assert "did you mean 'label'?" in found["$.lable"]


def test_every_problem_of_a_config_is_told_with_its_path(plane):
    config = {"realms": [{"name": "r", "roles": [{"name": "a"}, {"name": "a"}]}], "transport": {"type": "nonsense"}}
    with pytest.raises(InvalidConfiguration) as caught:
        create(plane, config=config)
    assert len(caught.value.problems) >= 2
    assert all(p.path.startswith("$.config.") for p in caught.value.problems)
    assert plane.call("list_routerclusters") == []


def test_start_and_stop_say_who_and_refuse_the_wrong_state(plane):
    oid = create(plane)["oid"]
    plane.call("add_routercluster_workergroup", oid, {"name": "web"})
    change = plane.call("start_routercluster", oid)
    assert change == {
        "oid": oid,
        "status": "STARTING",
        "changed": plane.now,
        "who": {"session": 7, "authid": "admin", "authrole": "admin"},
    }
    with pytest.raises(CannotStart, match="is STARTING"):
        plane.call("start_routercluster", oid)
    with pytest.raises(NotStopped):
        plane.call("delete_routercluster", oid)
    assert plane.call("stop_routercluster", oid)["status"] == "STOPPING"
    with pytest.raises(CannotStop, match="is STOPPED already"):
        plane.call("stop_routercluster", oid)


def test_a_group_belongs_to_its_cluster_alone(plane):
    first, second = create(plane, "first")["oid"], create(plane, "second")["oid"]
    group = plane.call("add_routercluster_workergroup", first, {"name": "web", "scale": 2})
    assert group.keys() >= {
        "changed", "cluster_oid", "description", "label", "name", "oid", "scale", "status", "tags",
    }  # fmt: skip
    for verb in ("get_routercluster_workergroup", "remove_routercluster_workergroup", "stat_routercluster_workergroup"):
        with pytest.raises(NoSuchObject, match="has no worker group"):
            plane.call(verb, second, group["oid"])
    with pytest.raises(NoSuchObject):
        plane.call("scale_routercluster_workergroup", second, group["oid"], 3)
    with pytest.raises(NoSuchObject):
        plane.call("get_routercluster_workergroup_by_name", "second", "web")
    assert plane.call("get_routercluster_workergroup_by_name", "first", "web") == group
    with pytest.raises(InvalidConfiguration, match="names another cluster"):
        plane.call("add_routercluster_workergroup", second, {"cluster_oid": first})


@pytest.mark.parametrize("scale", [-1, 129, 1.5, "2", None, True])
def test_a_scale_out_of_range_is_refused(plane, scale):
    oid = create(plane)["oid"]
    with pytest.raises(InvalidConfiguration) as caught:
        plane.call("add_routercluster_workergroup", oid, {"name": "web", "scale": scale})
    assert caught.value.problems[0].path == "$.scale"


def test_a_group_without_a_name_gets_one(plane):
    oid = create(plane)["oid"]
    group = plane.call("add_routercluster_workergroup", oid, {})
    assert group["name"] == f"cwg_{group['oid'][:8]}"
    assert group["scale"] == 1


def test_groups_are_listed_by_name_and_filtered_by_status(plane):
    oid = create(plane)["oid"]
    groups = {name: plane.call("add_routercluster_workergroup", oid, {"name": name})["oid"] for name in ("bbb", "aaa")}
    assert plane.call("list_routercluster_workergroups", oid) == [groups["aaa"], groups["bbb"]]
    assert plane.call("list_routercluster_workergroups", oid, return_names=True) == ["aaa", "bbb"]
    assert plane.call("list_routercluster_workergroups", oid, filter_by_status="RUNNING") == []
    assert len(plane.call("list_routercluster_workergroups", oid, filter_by_status="STOPPED")) == 2
    assert plane.call("list_routercluster_workergroups", oid, limit=1, marker=groups["aaa"]) == [groups["bbb"]]


def test_memberships_have_limits_that_can_be_changed(plane):
    oid, one, two = create(plane)["oid"], node(plane, 1), node(plane, 2)
    expected = {"cluster_oid": oid, "node_oid": one, "softlimit": None, "hardlimit": None}
    assert plane.call("add_routercluster_node", oid, one) == expected
    limited = plane.call("add_routercluster_node", oid, one, {"softlimit": 1, "hardlimit": 2})
    assert limited == {**expected, "softlimit": 1, "hardlimit": 2} == plane.call("get_routercluster_node", oid, one)
    plane.call("add_routercluster_node", oid, two)
    assert plane.call("list_routercluster_nodes", oid) == sorted([one, two])
    assert plane.call("list_routercluster_nodes", oid, return_names=True) == ["node1", "node2"]
    assert plane.call("list_routercluster_nodes", oid, filter_by_status="online") == []
    assert plane.call("list_routercluster_nodes", oid, True, "offline") == ["node1", "node2"]
    assert plane.call("remove_routercluster_node", oid, one) == limited
    with pytest.raises(NoSuchObject, match="is not in router cluster"):
        plane.call("get_routercluster_node", oid, one)


@pytest.mark.parametrize(
    "limits", [{"softlimit": 3, "hardlimit": 2}, {"softlimit": -1}, {"hardlimit": "x"}, {"hard": 1}]
)
def test_limits_that_make_no_sense_are_refused(plane, limits):
    oid, one = create(plane)["oid"], node(plane)
    with pytest.raises(InvalidConfiguration):
        plane.call("add_routercluster_node", oid, one, limits)
    assert plane.call("list_routercluster_nodes", oid) == []


def test_the_configuration_is_kept_as_given_and_shown_in_effect(plane):
    oid = create(plane, config=SECURE)["oid"]
    shown = plane.call("get_routercluster_config", oid)
    assert shown["config"] == SECURE
    assert shown["effective"]["transport"]["auth"] == TICKET
    assert shown["homes"] == {"office": 0}
    default = plane.call("get_routercluster_config", create(plane, "plain")["oid"])
    assert (default["config"], list(default["homes"])) == (None, ["plain"])


def test_an_update_changes_what_is_mentioned_and_nothing_else(plane):
    oid = create(plane, label="old", config=SECURE)["oid"]
    changed = plane.call("update_routercluster", oid, {"label": None, "grace_period": 3})
    assert (changed["label"], changed["grace_period"], changed["revision"]) == (None, 3, 1)
    assert plane.call("update_routercluster", oid, {"config": None})["revision"] == 2
    assert plane.call("update_routercluster", oid, {"routers": 2})["revision"] == 3
    assert plane.call("get_routercluster_config", oid)["config"] is None
    with pytest.raises(InvalidConfiguration):
        plane.call("update_routercluster", oid, {"name": "other"})


def test_realms_stay_where_they_are_when_others_come(plane):
    def realms(*names):
        return {"realms": [{"name": name, "roles": [ROLE]} for name in names],
                "transport": {"type": "websocket", "auth": TICKET}}  # fmt: skip

    oid = create(plane, config=realms("one", "two", "three"), routers=2)["oid"]
    assert plane.call("get_routercluster_config", oid)["homes"] == {"one": 0, "two": 1, "three": 0}
    plane.call("update_routercluster", oid, {"config": realms("new", "two", "three")})
    assert plane.call("get_routercluster_config", oid)["homes"] == {"new": 0, "two": 1, "three": 0}


def attach(plane, oid, address):
    from controlplane.records.principals import Caller

    facts = {"version": "1", "machine": "here", "address": address, "sockets": "/run/x", "drivers": ["router"],
             "ports": [1, 2]}  # fmt: skip
    report = {"boot": "3eccb1fd-251b-4eda-bee9-06b3d24b1c5e", "sequence": 1}
    caller = Caller(session=40, authid=oid, authrole="agent")
    plane.call("attach_agent", facts=facts, report=report, caller=caller)


def test_nothing_lets_anybody_in_from_other_machines_unless_it_is_said(plane):
    far = node(plane)
    attach(plane, far, "10.0.0.7")
    oid = create(plane)["oid"]
    with pytest.raises(InvalidConfiguration, match="lets anybody in"):
        plane.call("add_routercluster_node", oid, far)
    assert plane.call("list_routercluster_nodes", oid) == []
    for half, missing in (("allow_plain_tcp", "lets anybody in"), ("allow_anonymous", "has no TLS")):
        plane.call("update_routercluster", oid, {"config": {half: True}})
        with pytest.raises(InvalidConfiguration, match=missing):
            plane.call("add_routercluster_node", oid, far)
    plane.call("update_routercluster", oid, {"config": {"allow_anonymous": True, "allow_plain_tcp": True}})
    plane.call("add_routercluster_node", oid, far)
    with pytest.raises(InvalidConfiguration, match="lets anybody in") as caught:
        plane.call("update_routercluster", oid, {"config": None})
    assert "has no TLS" in caught.value.message
    assert len(caught.value.problems) == 2
    plane.call("update_routercluster", oid, {"config": SECURE})
    with pytest.raises(InvalidConfiguration, match="has no TLS"):
        plane.call("update_routercluster", oid, {"config": PLAIN})


def test_what_a_node_says_of_its_address_after_it_became_a_member_counts_too(plane):
    far = node(plane)
    oid = create(plane)["oid"]
    # Nothing is known of its address yet.
    plane.call("add_routercluster_node", oid, far)
    plane.call("add_routercluster_workergroup", oid, {"name": "web"})
    plane.call("start_routercluster", oid)
    attach(plane, far, "10.0.0.7")
    plane.settle()
    workers = [plane.call("get_routercluster_worker", oid, w) for w in plane.call("list_routercluster_workers", oid)]
    assert [worker["status"] for worker in workers] == ["PENDING"] * 2
    assert all("beyond loopback" in worker["reason"] for worker in workers)
    plane.call("update_routercluster", oid, {"config": {"allow_anonymous": True, "allow_plain_tcp": True}})
    plane.settle()
    placed = [plane.call("get_routercluster_worker", oid, worker["oid"])["node_oid"] for worker in workers]
    assert placed == [far] * 2


def test_events_are_published_under_every_documented_name():
    kinds = {kind.topic.rpartition(".")[2]: kind for kind in events.EVENT_TYPES}
    for verb in ("created", "deleted", "starting", "started", "stopping", "stopped", "node_added", "node_removed"):
        names = kinds[f"on_routercluster_{verb}"].aliases
        assert f"crossbarfabriccenter.mrealm.routercluster.on_routercluster_{verb}" in names
        assert f"crossbarfabriccenter.mrealm.cluster.on_routercluster_{verb}" in names
        assert f"crossbarfabriccenter.routercluster.on_routercluster_{verb}" in names
    for verb in ("added", "removed"):
        names = kinds[f"on_routercluster_workergroup_{verb}"].aliases
        assert f"crossbarfabriccenter.mrealm.routercluster.on_workergroup_{verb}" in names


def test_events_are_read_in_pages_and_a_gap_is_told(plane):
    plane.plane.pipeline._events_kept = 5
    for number in range(8):
        create(plane, f"c{number:03d}")
    assert [event.seq for event in plane.stored(EVENTS)] == [4, 5, 6, 7, 8]
    page = plane.call("list_events", after=1)
    assert (page["gap"], page["oldest"], page["last"], page["next"]) == (True, 4, 8, None)
    page = plane.call("list_events", after=3, limit=2)
    assert (page["gap"], [e["seq"] for e in page["events"]], page["next"]) == (False, [4, 5], 5)
    assert [e["seq"] for e in plane.call("list_events", after=5)["events"]] == [6, 7, 8]
    assert plane.call("list_events", after=8)["events"] == ()
    assert plane.call("list_events", topic_prefix="controlplane.node.")["events"] == ()


def test_statistics_of_a_cluster_that_does_nothing(plane):
    oid = create(plane)["oid"]
    plane.call("add_routercluster_workergroup", oid, {"name": "web", "scale": 2})
    found = plane.call("stat_routercluster", oid)
    assert (found["status"], found["desired"], found["workers_by_status"], found["realms"]) == ("STOPPED", 3, {}, ())
    plane.call("start_routercluster", oid)
    found = plane.call("stat_routercluster", oid)
    assert found["workers_by_status"] == {"PENDING": 3}
    assert found["workers_by_node"] == {"": {"PENDING": 3}}
    assert [group["name"] for group in found["groups"]] == [None, "web"]
    assert "3 without a place" in found["reason"]
