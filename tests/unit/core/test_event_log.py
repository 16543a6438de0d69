"""Stored events as callers see them: whom each is about, of which cluster, and how much it matters."""

import msgspec
import pytest

from controlplane.core.event_log import event_view
from controlplane.records.events import ACTION_ENDED, ACTION_STARTED, EVENT_TYPES, EventLevel, EventView, StoredEvent

WITHOUT_IDENTITY = {"grant"}
"""What has no oid of its own: a right is told by whose it is, and on which cluster."""

NOUNS = {
    *("cluster", "workergroup", "worker", "node", "profile", "policy", "receiver"),
    *("user", "team", "grant", "invitation"),
}


def view(topic: str, **payload) -> EventView:
    return event_view(StoredEvent(seq=7, time=8, topic="controlplane." + topic, payload=payload))


def about(found: EventView) -> tuple[str, str | None, str | None, str | None]:
    return found.object_type, found.object_oid, found.object_name, found.cluster_oid


def test_an_event_is_shown_as_it_was_stored_with_what_it_is_about():
    payload = {"oid": "1", "name": "shop", "status": "DEGRADED", "reason": "two workers died", "changed": 3}
    assert view("cluster.on_cluster_degraded", **payload) == EventView(
        seq=7,
        time=8,
        topic="controlplane.cluster.on_cluster_degraded",
        payload=payload,
        level=EventLevel.WARNING,
        object_type="cluster",
        object_oid="1",
        object_name="shop",
        cluster_oid="1",
        action=None,
        status="DEGRADED",
        reason="two workers died",
    )


@pytest.mark.parametrize(
    ("topic", "payload", "expected"),
    [
        ("routercluster.on_routercluster_created", {"oid": "1", "name": "edge"}, ("cluster", "1", "edge", "1")),
        (
            "routercluster.on_routercluster_node_added",
            {"cluster_oid": "1", "node_oid": "2"},
            ("node", "2", None, "1"),
        ),
        (
            "routercluster.on_routercluster_node_removed",
            {"cluster_oid": "1", "node_oid": "2"},
            ("node", "2", None, "1"),
        ),
        (
            "routercluster.on_routercluster_workergroup_scaled",
            {"cluster_oid": "1", "oid": "3", "name": "fronts"},
            ("workergroup", "3", "fronts", "1"),
        ),
        (
            "worker.on_worker_started",
            {"oid": "4", "cluster_oid": "1", "workergroup_oid": "3", "node_oid": "2"},
            ("worker", "4", None, "1"),
        ),
        (
            "worker.on_worker_leaving",
            {"worker_oid": "4", "worker_name": "shop-1", "node_oid": "2", "cluster_oid": "1", "cluster_name": "shop"},
            ("worker", "4", "shop-1", "1"),
        ),
        ("node.on_node_paired", {"oid": "2", "authid": "edge-1", "name": None}, ("node", "2", "edge-1", None)),
        ("node.on_node_offline", {"oid": "2", "authid": "edge-1"}, ("node", "2", "edge-1", None)),
        ("user.on_user_key_rotated", {"oid": "5", "authid": "ann"}, ("user", "5", "ann", None)),
        ("profile.on_profile_created", {"oid": "6", "name": "web"}, ("profile", "6", "web", None)),
        (
            "grant.on_grant_added",
            {"cluster_oid": "1", "holder_oid": "5", "name": "ann"},
            ("grant", None, "ann", "1"),
        ),
        (
            "cluster.on_cluster_policy_attached",
            {"oid": "8", "cluster_oid": "1", "cluster_name": "shop", "policy_oid": "9", "policy_name": "grow"},
            ("policy", "9", "grow", "1"),
        ),
        (
            "cluster.on_cluster_policy_skipped",
            {"cluster_oid": "1", "cluster_name": "shop", "policy_oid": "9", "policy_name": "grow"},
            ("policy", "9", "grow", "1"),
        ),
        (
            "cluster.on_cluster_recovery_given_up",
            {"oid": "1", "name": "shop", "policy_oid": "9", "policy_name": "heal", "worker_oid": "4"},
            ("policy", "9", "heal", "1"),
        ),
    ],
)
def test_an_event_is_about_the_nearest_thing_that_it_names(topic, payload, expected):
    assert about(view(topic, **payload)) == expected


def all_fields(kind) -> dict[str, str]:
    return {field.name: f"<{field.name}>" for field in msgspec.structs.fields(kind.payload)}


@pytest.mark.parametrize("kind", EVENT_TYPES, ids=lambda kind: kind.topic)
def test_every_event_says_whom_it_is_about_and_of_which_cluster(kind):
    payload = all_fields(kind)
    found = event_view(StoredEvent(seq=1, time=1, topic=kind.topic, payload=payload))
    assert (found.object_oid is None) == (found.object_type in WITHOUT_IDENTITY)
    assert found.object_type in NOUNS
    if "cluster_oid" in payload:
        assert found.cluster_oid == "<cluster_oid>"
    else:
        of_cluster = kind.topic.partition(".")[2].startswith(("cluster.", "routercluster."))
        assert found.cluster_oid == ("<oid>" if of_cluster else None)
    assert found.status == payload.get("status")
    assert found.reason == payload.get("reason")


@pytest.mark.parametrize("kind", EVENT_TYPES, ids=lambda kind: kind.topic)
def test_only_the_end_of_an_action_matters_as_its_status_says(kind):
    def level(**payload):
        return event_view(StoredEvent(seq=1, time=1, topic=kind.topic, payload={"oid": "1", **payload})).level

    bad, taken_back = level(status="FAILED"), level(status="CANCELLED")
    if kind is ACTION_ENDED:
        assert (bad, taken_back) == (EventLevel.ERROR, EventLevel.WARNING)
        assert level(status="SUCCEEDED") is level() is EventLevel.INFO
    else:
        assert bad is taken_back is kind.level


@pytest.mark.parametrize("kind", [ACTION_STARTED, ACTION_ENDED], ids=lambda kind: kind.topic)
def test_an_action_is_about_its_cluster_or_about_one_worker_of_it(kind):
    topic = kind.topic.removeprefix("controlplane.")
    action = {"oid": "0", "name": "n", "action": "CLUSTER_RESIZE", "cluster_oid": "1", "cluster_name": "shop"}
    for payload in (action, {**action, "target": "1"}):  # Old ones do not say what they are about.
        assert about(view(topic, **payload)) == ("cluster", "1", "shop", "1")
        assert view(topic, **payload).action == "CLUSTER_RESIZE"
    assert about(view(topic, **action, target="4")) == ("worker", "4", None, "1")


def test_the_field_action_is_that_of_an_action_and_of_nothing_else():
    assert view("cluster.on_cluster_updated", oid="1", action="CLUSTER_RESIZE").action is None


def test_what_an_older_or_newer_plane_has_stored_is_shown_as_far_as_it_can_be():
    found = view("comet.on_comet_seen", oid="1", name="halley")
    assert (about(found), found.level) == (("comet", "1", "halley", None), EventLevel.INFO)
    assert about(view("routercluster.on_routercluster_moved", oid="1")) == ("cluster", "1", None, "1")
    assert about(view("routercluster.on_routercluster_node_moved", node_oid="2")) == ("node", "2", None, None)
    assert about(view("routercluster.on_routercluster_node_was_moved", node_oid="2"))[0] == "node"
    assert about(view("cluster.on_cluster_node_moved", oid="1"))[0] == "cluster"
    assert about(view("nonsense"))[1:] == (None, None, None)
