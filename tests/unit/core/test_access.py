"""The table of rights, cell by cell, and what the router is told of it."""

import pytest

from controlplane.core.access import (
    ACTIONS,
    ALL_RIGHTS,
    GRANTABLE,
    RIGHTS,
    Decision,
    Needs,
    Permission,
    allowed,
    covers,
    decide,
    decide_needs,
    grants,
    permissions,
)

USERS = ("owner", "admin", "operator", "viewer")
OTHERS = ("agent", "joining", "node")
NOBODY = ("", "anonymous", "trusted", "Owner")

WHO_HAS = {
    "read": {"owner", "admin", "operator", "viewer"},
    "operate": {"owner", "admin", "operator"},
    "manage": {"owner", "admin"},
    "administer": {"owner", "admin"},
    "self": {"owner", "admin", "operator", "viewer"},
    "agent": {"agent"},
    "join": {"joining"},
    "greet": {"owner", "admin", "operator", "viewer", "node"},
}
PROCEDURES = {
    "controlplane.node.list_nodes": Needs("read", False),
    "controlplane.node.pair_node": Needs("administer", False),
    "controlplane.cluster.show": Needs("read", True),
    "controlplane.cluster.start": Needs("operate", True),
    "controlplane.cluster.start_all": Needs("operate", False),
    "controlplane.agent.attach": Needs("agent", False),
    "controlplane.join.join_node": Needs("join", False),
    "controlplane.master.greet": Needs("greet", False),
}


# Roles and rights


def test_every_role_has_the_rights_that_it_shall_have():
    assert set(RIGHTS) == {*USERS, *OTHERS}
    assert set(WHO_HAS) == ALL_RIGHTS
    for role in (*USERS, *OTHERS, *NOBODY):
        assert {right for right in WHO_HAS if allowed(role, right)} == {r for r, who in WHO_HAS.items() if role in who}


def test_a_right_that_nobody_knows_is_nobodys():
    assert not any(allowed(role, right) for role in RIGHTS for right in ("", "fly", "Read"))


def test_a_user_acts_in_the_own_role_and_in_lower_ones():
    for place, role in enumerate(USERS):
        assert [covers(role, asked) for asked in USERS] == [False] * place + [True] * (len(USERS) - place)


def test_who_is_no_user_acts_in_the_own_role_alone():
    for role in OTHERS:
        assert [asked for asked in (*USERS, *OTHERS, *NOBODY) if covers(role, asked)] == [role]
        assert not any(covers(user, role) for user in USERS)


def test_a_role_that_is_not_in_the_table_covers_not_even_itself():
    assert not any(covers(role, asked) for role in NOBODY for asked in (*USERS, *OTHERS, *NOBODY))


# Grants on a cluster


@pytest.mark.parametrize(
    ("granted", "brings"),
    [([], set()), (["operate"], {"operate"}), (["manage"], {"operate", "manage"}), (["nothing"], set())],
)
def test_what_a_grant_brings(granted, brings):
    assert {right for right in ALL_RIGHTS if grants(granted, right)} == brings
    assert {right for right in ALL_RIGHTS if grants(["nothing", *granted], right)} == brings


def test_what_can_be_granted():
    assert set(GRANTABLE) == {"operate", "manage"}


# Decisions


@pytest.mark.parametrize("right", WHO_HAS)
def test_a_call_is_decided_by_the_right_that_it_needs(right):
    for role in (*USERS, *OTHERS, *NOBODY):
        allowed_at_once = role in WHO_HAS[right]
        expected = Decision.ALLOWED if allowed_at_once else Decision.DENIED
        assert decide_needs(role, Needs(right, False)) is expected
        if not allowed_at_once and role in USERS and right in ("operate", "manage"):
            expected = Decision.IF_GRANTED
        assert decide_needs(role, Needs(right, True)) is expected


def test_who_is_no_user_can_be_granted_nothing():
    assert decide_needs("agent", Needs("operate", True)) is Decision.DENIED


def test_a_procedure_is_called_as_it_needs_and_an_unknown_one_by_nobody():
    assert decide("viewer", "controlplane.node.list_nodes", "call", PROCEDURES) is Decision.ALLOWED
    assert decide("viewer", "controlplane.cluster.start", "call", PROCEDURES) is Decision.IF_GRANTED
    assert decide("viewer", "controlplane.cluster.start_all", "call", PROCEDURES) is Decision.DENIED
    for role in RIGHTS:
        assert decide(role, "controlplane.node.unknown", "call", PROCEDURES) is Decision.DENIED


@pytest.mark.parametrize("action", ["register", "publish", "fly"])
def test_nobody_offers_a_procedure_or_publishes_an_event(action):
    for role in (*USERS, *OTHERS, *NOBODY):
        for uri in (*PROCEDURES, "controlplane.cluster.on_cluster_started", "controlplane.agent.on_tick"):
            assert decide(role, uri, action, PROCEDURES) is Decision.DENIED


SUBSCRIPTIONS = {
    "controlplane.cluster.on_cluster_started": {*USERS},
    "controlplane.": {*USERS},
    "crossbarfabriccenter.mrealm.routercluster.on_routercluster_started": {*USERS},
    "crossbarfabriccenter.": {*USERS},
    "controlplane.agent.on_assignment": {"agent"},
    "controlplane.agent.on_question": {"agent"},
    "controlplane.agent.on_tick": {"agent"},
    "controlplane.agent.on_tunnels": {"agent"},
    "controlplane.agent.on_tick.more": set(),
    "controlplane.agent.on_other": set(),
    "controlplane.agent.": set(),
    "controlplane.join.on_joined": set(),
    "controlplane.master.on_left": set(),
    "controlplane": set(),
    "crossbarfabriccenter": set(),
    "wamp.session.on_join": set(),
    "": set(),
}


@pytest.mark.parametrize(("uri", "who"), SUBSCRIPTIONS.items())
def test_who_hears_of_what(uri, who):
    for role in (*USERS, *OTHERS, *NOBODY):
        expected = Decision.ALLOWED if role in who else Decision.DENIED
        assert decide(role, uri, "subscribe", PROCEDURES) is expected


# What the router is told


def told(role):
    return {(entry.uri, entry.match): set(entry.actions) for entry in permissions(role, PROCEDURES)}


EVERY_USER = {
    ("controlplane.", "prefix"): {"subscribe"},
    ("crossbarfabriccenter.", "prefix"): {"subscribe"},
    ("controlplane.agent.", "prefix"): set(),
    ("controlplane.join.", "prefix"): set(),
    ("controlplane.master.", "prefix"): set(),
    ("controlplane.master.greet", "exact"): {"call"},
    ("crossbarfabriccenter.node.", "prefix"): {"subscribe"},
}
TOLD = {
    "owner": {
        **EVERY_USER,
        ("controlplane.node.", "prefix"): {"call", "subscribe"},
        ("controlplane.cluster.", "prefix"): {"call", "subscribe"},
    },
    "operator": {
        **EVERY_USER,
        ("controlplane.node.list_nodes", "exact"): {"call", "subscribe"},
        ("controlplane.cluster.", "prefix"): {"call", "subscribe"},
    },
    "viewer": {
        **EVERY_USER,
        ("controlplane.node.list_nodes", "exact"): {"call", "subscribe"},
        ("controlplane.cluster.show", "exact"): {"call", "subscribe"},
        ("controlplane.cluster.start", "exact"): {"call", "subscribe"},
        # The entry before would be taken for its beginning, and refuse the topic.
        ("controlplane.cluster.start_all", "exact"): {"subscribe"},
    },
    "agent": {
        ("controlplane.agent.attach", "exact"): {"call"},
        ("controlplane.agent.on_assignment", "exact"): {"subscribe"},
        ("controlplane.agent.on_question", "exact"): {"subscribe"},
        ("controlplane.agent.on_tick", "exact"): {"subscribe"},
        ("controlplane.agent.on_tunnels", "exact"): {"subscribe"},
    },
    "joining": {("controlplane.join.join_node", "exact"): {"call"}},
    "node": {("controlplane.master.greet", "exact"): {"call"}},
    "anonymous": {},
}
TOLD["admin"] = TOLD["owner"]


@pytest.mark.parametrize("role", TOLD)
def test_the_router_is_told_as_little_as_says_the_same_as_the_table(role):
    assert told(role) == TOLD[role]


@pytest.mark.parametrize("role", TOLD)
def test_what_the_router_is_told_is_in_order_and_says_nothing_twice(role):
    entries = permissions(role, dict(reversed(PROCEDURES.items())))
    assert [entry.uri for entry in entries] == sorted(entry.uri for entry in entries)
    assert len({(entry.uri, entry.match) for entry in entries}) == len(entries)


def as_the_router_decides(entries, uri, action):
    """The entry with the longest beginning decides; one for an exact name refuses every other name."""
    beginnings = [entry for entry in entries if uri.startswith(entry.uri)]
    nearest = max(beginnings, key=lambda entry: len(entry.uri), default=Permission("", "prefix", frozenset()))
    return action in nearest.actions and (nearest.match == "prefix" or nearest.uri == uri)


@pytest.mark.parametrize("role", [*USERS, *OTHERS, *NOBODY])
def test_the_router_decides_of_every_known_name_as_the_table_does(role):
    entries = permissions(role, PROCEDURES)
    for uri in (*PROCEDURES, *SUBSCRIPTIONS):
        for action in ACTIONS:
            if action == "call" and uri not in PROCEDURES:
                continue  # There is nothing to be called.
            said = decide(role, uri, action, PROCEDURES) is not Decision.DENIED
            assert as_the_router_decides(entries, uri, action) is said, (uri, action)
