import pytest

from controlplane.errors import AlreadyExists, InvalidArgument, NodeUnpaired, NotAuthorized, TooManyLogins, UnknownKey
from controlplane.master.authenticator import KNOWN_PAUSE_MAX_S
from controlplane.records.principals import Caller, Principal
from controlplane.store.catalog import NODES, PRINCIPALS

KEY = "ab" * 32


def login(plane, key, realm="default", **details):
    return plane.plane.authenticate(realm, {"authmethod": "cryptosign", "authextra": {"pubkey": key}, **details})


def test_a_paired_node_is_found_by_oid_and_by_name(plane):
    node = plane.call("pair_node", pubkey=KEY, authid="edge-1", label="first")
    assert plane.call("get_node", node["oid"]) == plane.call("get_node_by_name", "edge-1") == node
    assert (node["status"], node["workers"], node["label"]) == ("offline", 0, "first")
    assert plane.call("list_nodes") == [node["oid"]]
    assert plane.call("list_nodes", return_names=True) == ["edge-1"]
    assert plane.call("list_nodes", filter_by_status="online") == []
    assert plane.call("list_nodes", filter_by_status="offline") == [node["oid"]]


def test_a_key_and_a_name_pair_once(plane):
    plane.call("pair_node", pubkey=KEY, authid="edge-1")
    with pytest.raises(AlreadyExists, match="pubkey"):
        plane.call("pair_node", pubkey=KEY, authid="edge-2")
    with pytest.raises(AlreadyExists, match="authid"):
        plane.call("pair_node", pubkey="cd" * 32, authid="edge-1")


def test_an_unpaired_node_can_be_paired_again(plane):
    node = plane.call("pair_node", pubkey=KEY, authid="edge-1")
    assert plane.call("unpair_node", node["oid"])["oid"] == node["oid"]
    again = plane.call("pair_node", pubkey=KEY, authid="edge-1")
    assert again["oid"] != node["oid"]
    assert plane.topics() == ["node_paired", "node_unpaired", "node_paired"]


def test_a_node_logs_in_by_its_key_under_its_oid(plane):
    node = plane.call("pair_node", pubkey=KEY, authid="edge-1")
    found = login(plane, KEY)
    assert (found["realm"], found["authid"], found["role"]) == ("default", node["oid"], "agent")
    assert found["pubkey"] == found["extra"]["pubkey"] == KEY
    assert login(plane, KEY.upper(), None)["authid"] == node["oid"]
    plane.call("unpair_node", node["oid"])
    with pytest.raises(NodeUnpaired, match="taken out"):
        login(plane, KEY)
    with pytest.raises(UnknownKey, match="nobody has the public key"):
        login(plane, "cd" * 32)


def test_an_administrator_logs_in_by_its_key(plane):
    record = Principal(oid=plane.plane.store.epoch, authid="second", pubkey=KEY, role="admin", created=0)
    plane.plane.store.write_now(lambda change: change.rows(PRINCIPALS).add(record))
    assert login(plane, KEY)["role"] == "admin"
    assert login(plane, KEY, None, authrole="admin")["authid"] == "second"
    with pytest.raises(NotAuthorized, match="has the role 'admin'"):
        login(plane, KEY, authrole="agent")
    with pytest.raises(NotAuthorized, match="may not join realm"):
        login(plane, KEY, "another")
    with pytest.raises(AlreadyExists, match="another user has this pubkey"):
        plane.call("pair_node", pubkey=KEY, authid="edge-1")


@pytest.mark.parametrize(
    "details",
    [
        {},
        {"authmethod": "ticket"},
        {"authextra": None},
        {"authextra": {"pubkey": 5}},
        {"authextra": {"pubkey": "z" * 64}},
        {"authextra": {"pubkey": "ab"}},
    ],
)
def test_a_login_without_a_key_is_refused_in_words(plane, details):
    from controlplane.errors import InvalidArgument

    given = {"authmethod": "cryptosign", "authextra": {}, **details}
    with pytest.raises(InvalidArgument):
        plane.plane.authenticate("default", given)


def test_a_node_whose_logins_failed_again_and_again_is_let_in_soon_after_its_line_is_good(plane):
    plane.call("pair_node", pubkey=KEY, authid="edge-1")
    for _ in range(200):
        try:
            login(plane, KEY)
        except TooManyLogins:
            plane.clock.advance(0.1)
    waited = 0
    while waited < 60:
        try:
            login(plane, KEY)
            break
        except TooManyLogins:
            plane.clock.advance(1.0)
            waited += 1
    assert waited <= KNOWN_PAUSE_MAX_S


def test_a_key_that_nobody_has_waits_much_longer(plane):
    for _ in range(40):
        try:
            login(plane, "cd" * 32)
        except UnknownKey:
            pass
        except TooManyLogins:
            plane.clock.advance(2 * KNOWN_PAUSE_MAX_S)
    with pytest.raises(TooManyLogins):
        login(plane, "cd" * 32)


def test_an_address_that_is_too_long_is_refused_and_not_stored(plane):
    with pytest.raises(InvalidArgument, match="cluster_ip"):
        plane.call(
            "crossbarfabriccenter.mrealm.pair_node", KEY, "default", "edge1", authextra={"cluster_ip": "x" * 300}
        )
    assert plane.stored(NODES) == []


def test_a_node_stands_where_it_is_said_to_and_may_be_said_to_stand_elsewhere(plane):
    node = plane.call("pair_node", pubkey=KEY, authid="edge-1", region="north", zone="rack1", label="first")
    assert (node["region"], node["zone"]) == ("north", "rack1")
    changed = plane.call("update_node", node["oid"], {"zone": "rack2"})
    assert (changed["region"], changed["zone"], changed["label"]) == ("north", "rack2", "first")
    changed = plane.call("update_node", node["oid"], {"region": None, "zone": None, "tags": ["old"]})
    assert (changed["region"], changed["zone"], changed["tags"]) == (None, None, ("old",))
    assert plane.call("get_node", node["oid"]) == changed
    assert plane.topics() == ["node_paired", "node_updated", "node_updated"]


def test_an_invited_node_stands_where_its_invitation_says(plane):
    invitation = plane.call("invite_node", pubkey=KEY, node_name="edge-1", region="north", zone="rack1")
    assert (invitation["region"], invitation["zone"]) == ("north", "rack1")
    invited = Caller(session=9, authid=invitation["oid"], authrole="joining")
    plane.call("join_node", pubkey="cd" * 32, caller=invited)
    node = plane.call("get_node_by_name", "edge-1")
    assert (node["region"], node["zone"]) == ("north", "rack1")
