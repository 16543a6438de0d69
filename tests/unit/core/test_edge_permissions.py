"""What the router is told of the procedures that nodes without an agent offer: nobody but the master calls them."""

import pytest

from controlplane.core.access import USER_ROLES, permissions
from controlplane.master.plane import PROCEDURES
from controlplane.services.identity import needs_of

URI = "crossbarfabriccenter.node.edge1.start_worker"


@pytest.mark.parametrize("role", USER_ROLES)
def test_nobody_calls_a_node_past_the_master(role):
    found = [
        permission
        for permission in permissions(role, needs_of(PROCEDURES))
        if permission.uri == URI or (permission.match == "prefix" and URI.startswith(permission.uri))
    ]
    # The router takes the entry with the longest beginning of a name.
    longest = max(len(permission.uri) for permission in found)
    nearest = [permission for permission in found if len(permission.uri) == longest]
    assert [permission.actions for permission in nearest] == [frozenset({"subscribe"})]
