"""What a person reads of an event in a terminal."""

from controlplane.cli.render import event_line


def test_an_event_about_a_policy_of_a_cluster_names_both():
    payload = {
        "seq": 7,
        "cluster_oid": "9368ab93-d343",
        "cluster_name": "shop",
        "policy_name": "night",
        "reason": "late",
    }
    line = event_line({"topic": "controlplane.cluster.on_cluster_policy_skipped", "time": 0, "payload": payload})
    assert line.split()[2:] == ["cluster_policy_skipped", "9368ab93", "cluster=shop", "policy=night", "reason=late"]


def test_an_event_about_one_object_names_that_one():
    payload = {"seq": 8, "oid": "618eba29-0e14", "name": "edge1", "status": "online"}
    line = event_line({"topic": "controlplane.node.on_node_online", "time": 0, "payload": payload})
    assert line.split()[2:] == ["node_online", "618eba29", "name=edge1", "status=online"]
