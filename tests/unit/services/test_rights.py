"""Users, teams, grants and invitations: what the procedures do, and whom they refuse."""

import json
from pathlib import Path

import pytest

from controlplane.core.access import USER_ROLES, allowed
from controlplane.errors import (
    AlreadyExists,
    InvalidConfiguration,
    LimitReached,
    NoSuchObject,
    NotAuthorized,
    TooManyLogins,
    UnknownKey,
)
from controlplane.master.authenticator import host_of
from controlplane.master.throttle import FAILURES_FREE, PAUSE_MIN_S, REMEMBERED_MAX, Throttle
from controlplane.records.principals import Caller
from controlplane.store.catalog import GRANTS, INVITATIONS, POSSESSIONS, PRINCIPALS, TEAM_MEMBERS

OWNER = Caller(session=1, authid="admin", authrole="owner")
KEY, OTHER_KEY, TOKEN_KEY = "ab" * 32, "cd" * 32, "ef" * 32


def login(plane, key, peer="tcp4:10.0.0.1:5000", **asked):
    details = {"authmethod": "cryptosign", "authextra": {"pubkey": key}, "transport": {"peer": peer}, **asked}
    return plane.plane.authenticate("default", details)


def joined(plane, session, found, peer="tcp4:10.0.0.1:5000"):
    """The router says that a login was proven."""
    plane.plane.sessions.joined(
        {
            "session": session,
            "authid": found["authid"],
            "authrole": found["role"],
            "authextra": found["extra"],
            "transport": {"peer": peer},
        }
    )
    plane.settle()
    return Caller(session=session, authid=found["authid"], authrole=found["role"])


def cluster_of(plane, name="shop", **kwargs):
    return plane.call("create_routercluster", {"name": name}, **kwargs)


# Users


def test_a_user_logs_in_with_its_key_in_its_role_and_in_lower_ones(plane):
    plane.call("create_user", authid="ann", role="operator", pubkey=KEY)
    assert login(plane, KEY)["role"] == "operator"
    assert login(plane, KEY, authrole="viewer")["role"] == "viewer"
    for higher in ("admin", "owner", "agent", "joining", "master", "trusted", 5, ""):
        with pytest.raises(NotAuthorized):
            login(plane, KEY, authrole=higher)


@pytest.mark.parametrize("verb", ["disable_user", "remove_user"])
def test_who_is_disabled_or_removed_can_do_nothing_any_more(plane, verb):
    user = plane.call("create_user", authid="ann", role="admin", pubkey=KEY)
    caller = joined(plane, 70, login(plane, KEY))
    cluster_of(plane, caller=caller)
    plane.call(verb, user["oid"])
    assert plane.wire.killed == [70]
    with pytest.raises(NotAuthorized):
        plane.call("list_routerclusters", caller=caller)
    with pytest.raises((NotAuthorized, UnknownKey)):
        login(plane, KEY)


def test_a_session_that_was_ended_stays_out_when_the_name_is_given_to_somebody_else(plane):
    user = plane.call("create_user", authid="ann", role="admin", pubkey=KEY)
    stubborn = joined(plane, 70, login(plane, KEY))
    plane.call("remove_user", user["oid"])
    plane.call("create_user", authid="ann", role="admin", pubkey=OTHER_KEY)
    with pytest.raises(NotAuthorized, match="was ended"):
        plane.call("list_routerclusters", caller=stubborn)
    assert 70 in plane.plane.sessions.ended
    plane.plane.session_left(70)
    assert not plane.plane.sessions.ended
    assert plane.call("list_routerclusters", caller=joined(plane, 71, login(plane, OTHER_KEY))) == []


def test_a_stubborn_session_is_known_again_after_a_restart_of_the_master(plane):
    user = plane.call("create_user", authid="ann", role="admin", pubkey=KEY)
    found = login(plane, KEY)
    plane.call("remove_user", user["oid"])
    plane.call("create_user", authid="ann", role="admin", pubkey=OTHER_KEY)
    plane.plane.sessions.clear()
    stubborn = joined(plane, 70, found)
    with pytest.raises(NotAuthorized, match="was ended"):
        plane.call("list_routerclusters", caller=stubborn)


def test_a_lower_role_ends_sessions_in_the_higher_one(plane):
    user = plane.call("create_user", authid="ann", role="admin", pubkey=KEY)
    high = joined(plane, 70, login(plane, KEY))
    low = joined(plane, 71, login(plane, KEY, authrole="viewer"))
    plane.call("update_user", user["oid"], {"role": "viewer"})
    assert plane.wire.killed == [70]
    with pytest.raises(NotAuthorized):
        plane.call("create_routercluster", {"name": "shop"}, caller=high)
    assert plane.call("list_routerclusters", caller=low) == []


def test_nobody_decides_on_a_role_above_their_own(plane):
    admin = plane.user("ann", "admin")
    owner = plane.call("create_user", authid="olga", role="owner", pubkey=KEY, caller=OWNER)
    for verb, arguments in (
        ("create_user", {"authid": "mallory", "role": "owner"}),
        ("update_user", {"user_oid": owner["oid"], "user": {"role": "viewer"}}),
        ("disable_user", {"user_oid": owner["oid"]}),
        ("remove_user", {"user_oid": owner["oid"]}),
        ("invite_user", {"user_oid": owner["oid"], "pubkey": TOKEN_KEY}),
    ):
        before = plane.dump()
        with pytest.raises(NotAuthorized):
            plane.call(verb, caller=admin, **arguments)
        assert plane.dump() == before
    ann = plane.call("get_user_by_name", "ann")
    with pytest.raises(NotAuthorized):
        plane.call("update_user", ann["oid"], {"role": "owner"}, caller=admin)


def test_one_owner_who_can_log_in_always_remains(plane):
    admin = plane.call("get_user_by_name", "admin")
    for verb, arguments in (
        ("update_user", ({"role": "admin"},)),
        ("disable_user", ()),
        ("remove_user", ()),
    ):
        with pytest.raises(InvalidConfiguration, match="last owner"):
            plane.call(verb, admin["oid"], *arguments, caller=OWNER)
    plane.call("create_user", authid="olga", role="owner", caller=OWNER)
    with pytest.raises(InvalidConfiguration):  # She has no key yet.
        plane.call("remove_user", admin["oid"], caller=OWNER)


def test_a_key_belongs_to_one_holder_only(plane):
    plane.call("create_user", authid="ann", role="viewer", pubkey=KEY)
    ann = Caller(session=1, authid="ann", authrole="viewer")
    plane.call("controlplane.user.rotate_key", pubkey=OTHER_KEY, caller=ann)
    for taken in (KEY, OTHER_KEY):
        with pytest.raises(AlreadyExists, match="pubkey"):
            plane.call("create_user", authid="bob", role="viewer", pubkey=taken)
        with pytest.raises(AlreadyExists, match="pubkey"):
            plane.call("pair_node", pubkey=taken, authid="edge")
        with pytest.raises(AlreadyExists, match="pubkey"):
            plane.call("invite_node", pubkey=taken)


def test_both_keys_work_until_the_new_one_was_used(plane):
    plane.call("create_user", authid="ann", role="viewer", pubkey=KEY)
    old = joined(plane, 70, login(plane, KEY))
    plane.call("controlplane.user.rotate_key", pubkey=OTHER_KEY, caller=old)
    assert login(plane, KEY)["authid"] == login(plane, OTHER_KEY)["authid"] == "ann"
    # A login that was not proven changes nothing.
    assert plane.call("get_user_by_name", "ann")["pubkey"] == KEY
    new = joined(plane, 71, login(plane, OTHER_KEY))
    user = plane.call("get_user_by_name", "ann")
    assert (user["pubkey"], user["next_pubkey"]) == (OTHER_KEY, None)
    assert plane.wire.killed == [70]
    with pytest.raises(UnknownKey):
        login(plane, KEY)
    with pytest.raises(NotAuthorized):
        plane.call("get_own_user", caller=old)
    assert plane.call("get_own_user", caller=new)["authid"] == "ann"


# Clusters: owners, grants, teams


def test_who_was_granted_a_right_on_a_cluster_has_it_there_and_nowhere_else(plane):
    shop, other = cluster_of(plane), cluster_of(plane, "other")
    ann = plane.user("ann", "viewer", 60)
    oid = plane.call("get_user_by_name", "ann")["oid"]
    with pytest.raises(NotAuthorized):
        plane.call("start_routercluster", shop["oid"], caller=ann)
    plane.call("add_grant", shop["oid"], oid, "operate")
    assert plane.call("start_routercluster", shop["oid"], caller=ann)["status"] == "STARTING"
    for verb, cluster in (("start_routercluster", other), ("get_routercluster_config", shop)):
        with pytest.raises(NotAuthorized):
            plane.call(verb, cluster["oid"], caller=ann)
    with pytest.raises(NotAuthorized):
        plane.call("add_grant", shop["oid"], oid, "manage", caller=ann)
    plane.call("add_grant", shop["oid"], oid, "manage")
    assert plane.call("get_routercluster_config", shop["oid"], caller=ann)["revision"] == 1
    assert [(g["name"], g["right"]) for g in plane.call("list_grants", shop["oid"], caller=ann)] == [("ann", "manage")]
    plane.call("remove_grant", shop["oid"], oid)
    with pytest.raises(NotAuthorized):
        plane.call("stop_routercluster", shop["oid"], caller=ann)


def test_a_right_of_a_team_is_its_members_as_long_as_they_are_members(plane):
    shop = cluster_of(plane)
    ann = plane.user("ann", "viewer", 60)
    oid = plane.call("get_user_by_name", "ann")["oid"]
    team = plane.call("create_team", team_name="ops")
    assert plane.call("add_team_member", team["oid"], oid)["members"] == ("ann",)
    plane.call("add_grant", shop["oid"], team["oid"], "manage")
    plane.call("update_routercluster", shop["oid"], {"label": "x"}, caller=ann)
    plane.call("remove_team_member", team["oid"], oid)
    with pytest.raises(NotAuthorized):
        plane.call("update_routercluster", shop["oid"], {"label": "y"}, caller=ann)
    plane.call("add_team_member", team["oid"], oid)
    plane.call("remove_team", team["oid"])
    with pytest.raises(NotAuthorized):
        plane.call("update_routercluster", shop["oid"], {"label": "y"}, caller=ann)
    assert plane.stored(GRANTS) == plane.stored(TEAM_MEMBERS) == []


def test_the_owner_of_a_cluster_manages_it_and_the_former_one_does_not(plane):
    shop = cluster_of(plane)
    ann, bob = plane.user("ann", "viewer", 60), plane.user("bob", "viewer", 61)
    oids = {name: plane.call("get_user_by_name", name)["oid"] for name in ("ann", "bob")}
    plane.call("give_routercluster", shop["oid"], oids["ann"])
    assert plane.call("get_routercluster", shop["oid"])["owner_oid"] == oids["ann"]
    plane.call("give_routercluster", shop["oid"], oids["bob"], caller=ann)
    with pytest.raises(NotAuthorized):
        plane.call("delete_routercluster", shop["oid"], caller=ann)
    assert plane.call("get_user_by_name", "bob")["clusters"] == 1
    plane.call("delete_routercluster", shop["oid"], caller=bob)
    assert plane.stored(POSSESSIONS) == []


def test_a_granted_right_is_no_way_to_groups_of_other_clusters(plane):
    shop, other = cluster_of(plane), cluster_of(plane, "other")
    group = plane.call("add_routercluster_workergroup", other["oid"], {"name": "web"})
    ann = plane.user("ann", "viewer", 60)
    plane.call("add_grant", shop["oid"], plane.call("get_user_by_name", "ann")["oid"], "manage")
    for verb, rest in (("scale_routercluster_workergroup", (5,)), ("remove_routercluster_workergroup", ())):
        with pytest.raises(NoSuchObject):
            plane.call(verb, shop["oid"], group["oid"], *rest, caller=ann)


def test_a_user_owns_no_more_clusters_than_it_may(plane):
    admin = plane.user("ann", "admin", 60)
    oid = plane.call("get_user_by_name", "ann")["oid"]
    plane.call("update_user", oid, {"clusters_max": 1})
    shop = cluster_of(plane, caller=admin)
    with pytest.raises(LimitReached, match="ann owns 1"):
        cluster_of(plane, "other", caller=admin)
    with pytest.raises(LimitReached):
        plane.call("give_routercluster", cluster_of(plane, "third")["oid"], oid)
    plane.call("delete_routercluster", shop["oid"])
    cluster_of(plane, "other", caller=admin)


# Invitations


def test_an_invitation_pairs_one_node_with_what_it_is_bound_to(plane):
    invitation = plane.call("invite_node", pubkey=TOKEN_KEY, node_name="edge", tags=["blue"], capacity=3)
    assert (invitation["realm"], invitation["authid"]) == ("default", "edge")
    joining = joined(plane, 70, login(plane, TOKEN_KEY))
    assert joining.authrole == "joining"
    paired = plane.call("join_node", pubkey=KEY, node_name="mine", caller=joining)
    node = plane.call("get_node", paired["node_oid"])
    assert (node["name"], node["tags"], node["capacity"]) == ("edge", ("blue",), 3)
    assert login(plane, KEY)["role"] == "agent"
    assert plane.wire.killed == [70]
    # Once only.
    with pytest.raises(UnknownKey):
        login(plane, TOKEN_KEY)
    with pytest.raises(NotAuthorized):
        plane.call("join_node", pubkey=OTHER_KEY, caller=joining)
    assert plane.stored(INVITATIONS) == []


def test_an_agent_cannot_take_more_than_its_invitation_admits(plane):
    plane.call("invite_node", pubkey=TOKEN_KEY, node_name="edge", capacity=3)
    paired = plane.call("join_node", pubkey=KEY, caller=joined(plane, 70, login(plane, TOKEN_KEY)))
    facts = {"version": "1", "machine": "m", "address": "127.0.0.1", "sockets": "/x", "drivers": [], "ports": [1, 2]}
    agent = joined(plane, 71, login(plane, KEY))
    for number, (stated, taken) in enumerate(((None, 3), (2, 2), (100, 3))):
        report = {"boot": paired["node_oid"], "sequence": number}
        plane.call("attach_agent", facts={**facts, "capacity": stated}, report=report, caller=agent)
        assert plane.call("get_node", paired["node_oid"])["capacity"] == taken


def test_an_invitation_is_good_for_a_while_only(plane):
    plane.call("invite_node", pubkey=TOKEN_KEY, valid_for=60)
    joining = joined(plane, 70, login(plane, TOKEN_KEY))
    plane.now += 60 * 10**9
    with pytest.raises(NotAuthorized, match="expired"):
        login(plane, TOKEN_KEY)
    with pytest.raises(NotAuthorized):
        plane.call("join_node", pubkey=KEY, node_name="edge", caller=joining)
    assert plane.call("list_invitations") == []
    plane.call("invite_node", pubkey=OTHER_KEY)
    assert [i.pubkey for i in plane.stored(INVITATIONS)] == [OTHER_KEY]


def test_an_invitation_can_be_withdrawn_and_is_of_one_kind(plane):
    user = plane.call("create_user", authid="ann", role="viewer")
    of_user = plane.call("invite_user", user["oid"], TOKEN_KEY)
    joining = joined(plane, 70, login(plane, TOKEN_KEY))
    with pytest.raises(NotAuthorized, match="no invitation of a node"):
        plane.call("join_node", pubkey=KEY, node_name="edge", caller=joining)
    plane.call("remove_invitation", of_user["oid"])
    with pytest.raises(NotAuthorized):
        plane.call("register_key", pubkey=KEY, caller=joining)


def test_a_user_registers_a_key_once_and_a_key_of_before_is_void(plane):
    user = plane.call("create_user", authid="ann", role="viewer", pubkey=KEY)
    old = joined(plane, 69, login(plane, KEY))
    plane.call("invite_user", user["oid"], TOKEN_KEY)
    joining = joined(plane, 70, login(plane, TOKEN_KEY))
    told = plane.call("register_key", pubkey=OTHER_KEY, caller=joining)
    assert (told["authid"], told["role"]) == ("ann", "viewer")
    assert login(plane, OTHER_KEY)["authid"] == "ann"
    with pytest.raises(NotAuthorized):
        plane.call("get_own_user", caller=old)
    with pytest.raises(UnknownKey):
        login(plane, KEY)


def test_who_is_invited_may_do_nothing_else(plane):
    plane.call("invite_node", pubkey=TOKEN_KEY)
    joining = joined(plane, 70, login(plane, TOKEN_KEY))
    for verb in ("list_nodes", "list_routerclusters", "get_own_user", "list_events"):
        with pytest.raises(NotAuthorized):
            plane.call(verb, caller=joining)


# Logins


def test_ten_wrong_logins_do_not_help_the_eleventh(plane):
    plane.call("create_user", authid="ann", role="viewer", pubkey=KEY)
    for _ in range(FAILURES_FREE):
        login(plane, KEY)  # The signature was wrong: no session follows.
    with pytest.raises(TooManyLogins):
        login(plane, KEY)
    # From elsewhere, and of others, nothing is held up.
    assert login(plane, KEY, peer="tcp4:10.0.0.2:5000")
    plane.clock.advance(PAUSE_MIN_S)
    joined(plane, 70, login(plane, KEY))
    for _ in range(FAILURES_FREE):
        login(plane, KEY)


def test_unknown_keys_of_one_machine_are_slowed_down_and_known_ones_are_not(plane):
    for number in range(FAILURES_FREE):
        with pytest.raises(UnknownKey):
            login(plane, f"{number + 10:064x}")
    with pytest.raises(TooManyLogins):
        login(plane, "99" * 32)
    plane.call("create_user", authid="ann", role="viewer", pubkey=KEY)
    assert login(plane, KEY)["authid"] == "ann"


def test_what_the_throttle_remembers_is_bounded_and_forgotten():
    now = [0.0]
    throttle = Throttle(lambda: now[0])
    for number in range(REMEMBERED_MAX + 100):
        throttle.attempted(number)
    assert len(throttle) == REMEMBERED_MAX
    for _ in range(FAILURES_FREE + 3):
        throttle.attempted("x")
    assert throttle.wait("x") == PAUSE_MIN_S * 8
    now[0] += 4000
    assert throttle.wait("x") == 0
    throttle.attempted("x")
    assert throttle.wait("x") == 0


def test_an_attacker_with_a_network_of_its_own_is_one():
    assert host_of("tcp4:10.0.0.1:5000") == host_of("tcp4:10.0.0.1:6000") == "10.0.0.1"
    assert host_of("tcp6:[2001:db8:1:2:3::4]:80") == host_of("tcp6:2001:db8:1:2:ffff::1:80") == "2001:db8:1:2"
    assert host_of("unix") == "unix"
    assert host_of(None) == ""


def test_a_user_has_no_more_sessions_than_it_may(plane):
    plane.call("create_user", authid="ann", role="viewer", pubkey=KEY, sessions_max=1)
    joined(plane, 70, login(plane, KEY))
    with pytest.raises(LimitReached, match="ann has 1 sessions"):
        login(plane, KEY)
    plane.plane.session_left(70)
    assert login(plane, KEY)


def test_administrators_alone_hear_of_users(plane):
    plane.call("create_user", authid="ann", role="viewer", pubkey=KEY)
    ann = Caller(session=1, authid="ann", authrole="viewer")
    topics = lambda **who: [e["topic"] for e in plane.call("list_events", **who)["events"]]  # noqa: E731
    assert "controlplane.user.on_user_created" in topics()
    assert topics(caller=ann) == []
    assert plane.stored(PRINCIPALS)


# The documents


def test_the_table_of_roles_in_the_documents_is_the_one_in_force():
    page = (Path(__file__).parents[3] / "docs" / "rights.rst").read_text()
    table = page[page.index("role       looks") :].split("=\n", 1)[1].split("\n=====", 1)[0]
    said = {row.split()[0]: row.split()[1:] for row in table.splitlines()}
    rights = ("read", "operate", "manage", "administer")
    assert said == {role: ["yes" if allowed(role, right) else "no" for right in rights] for role in USER_ROLES}


def test_nothing_in_the_router_is_open_to_who_has_no_key():
    config = json.loads((Path(__file__).parents[3] / "crossbar-config" / "master.json").read_text())
    methods = []

    def look(value):
        if isinstance(value, dict):
            methods.extend(value.get("auth", {}))
            for part in value.values():
                look(part)
        elif isinstance(value, list):
            for part in value:
                look(part)

    look(config)
    assert set(methods) == {"cryptosign"}
    roles = [role["name"] for realm in config["workers"][0]["realms"] for role in realm["roles"]]
    assert "anonymous" not in roles
