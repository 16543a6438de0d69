"""Actions of which one beginning fits several: oids are counted here, so all of them begin alike."""

import pytest

from controlplane.errors import Ambiguous

SPEC = {"type": "process", "properties": {"command": ["sleep", "1"]}}


def test_a_beginning_that_fits_several_actions_says_which(plane):
    plane.call("create_profile", {"name": "sleeper", "spec": SPEC})
    for name in ("one", "two", "three", "four"):
        plane.call("create_cluster", {"name": name, "profile": "sleeper", "desired": 3})
    parents = [each["oid"] for each in plane.call("list_actions")]
    children = [each["oid"] for each in plane.call("list_actions", {"parent_oid": parents[0]})]
    with pytest.raises(Ambiguous, match="0000 fits more than one action") as refused:
        plane.call("get_action", "0000")
    assert all(oid in str(refused.value) for oid in parents)
    assert "and more" in str(refused.value)
    for oid in (*parents, *children):
        assert plane.call("get_action", oid.replace("-", ""))["oid"] == oid
