"""What the plane is made of."""

import pytest

from controlplane import __version__
from controlplane.errors import NotAuthorized
from controlplane.records.services import CONTRACT_VERSION


def test_master_and_agents_are_listed_with_their_versions(plane):
    node = plane.call("pair_node", pubkey="ab" * 32, authid="edge1")
    master, agent = plane.call("controlplane.service.list_services")
    assert (master["kind"], master["state"], master["version"]) == ("master", "up", __version__)
    assert (agent["oid"], agent["name"], agent["state"], agent["version"]) == (node["oid"], "edge1", "down", None)
    found = plane.call("controlplane.service.list_services", filters={"kind": "agent"}, sort="name:desc")
    assert [each["name"] for each in found] == ["edge1"]


def test_services_are_for_administrators_and_build_info_for_everybody(plane):
    viewer = plane.user("eve", "viewer")
    with pytest.raises(NotAuthorized):
        plane.call("controlplane.service.list_services", caller=viewer)
    told = plane.call("controlplane.service.get_build_info", caller=viewer)
    assert told == {"version": __version__, "contract": CONTRACT_VERSION}
