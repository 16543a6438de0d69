import copy
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.core.router_clusters import (
    assign_homes,
    digest_of,
    proxy_config,
    router_config,
    socket_path,
    tunnel_path,
)

CLUSTER = UUID("7e0a6b4c-0000-4000-8000-000000000001")
WORKER = UUID("0123456789ab4cde8f00112233445566")
TRANSPORT = {"type": "rawsocket", "endpoint": {"type": "tcp", "shared": True}}
REALMS = [
    {"name": "one", "roles": [{"name": "anonymous", "permissions": []}, {"name": "user", "permissions": []}]},
    {"name": "two", "roles": [{"name": "user", "permissions": []}]},
    {"name": "three", "roles": [{"name": "admin", "permissions": []}]},
]
EFFECTIVE = {"realms": REALMS, "transport": TRANSPORT, "allow_anonymous": False, "allow_plain_tcp": False}
HOMES = {"one": 0, "two": 1, "three": 0}
NAMES = st.lists(st.text(min_size=1, max_size=3), unique=True, max_size=20)


# Homes.


def test_new_realms_go_round():
    assert assign_homes(["a", "b", "c", "d"], 3, {}) == {"a": 0, "b": 1, "c": 2, "d": 0}


def test_a_new_realm_goes_to_the_router_with_the_fewest():
    assert assign_homes(["a", "b", "c"], 2, {"a": 1, "b": 1}) == {"a": 1, "b": 1, "c": 0}


def test_new_realms_fill_up_what_has_fewer():
    homes = assign_homes(list("abcdefg"), 2, {"a": 0, "b": 0, "c": 0})
    assert homes == {"a": 0, "b": 0, "c": 0, "d": 1, "e": 1, "f": 1, "g": 0}


def test_a_realm_that_was_nowhere_is_new():
    assert assign_homes(["a", "b"], 2, {"a": -1}) == {"a": 0, "b": 1}
    assert assign_homes(["a", "b"], 2, {"a": 2}) == {"a": 0, "b": 1}


def test_of_several_routers_with_the_fewest_the_first_is_taken():
    assert assign_homes(["a", "b"], 3, {"a": 1})["b"] == 0


def test_a_realm_leaves_only_a_router_that_is_gone():
    assert assign_homes(["a", "b", "c"], 2, {"a": 0, "b": 2, "c": 1}) == {"a": 0, "b": 0, "c": 1}


def test_more_routers_move_nothing():
    homes = {"a": 0, "b": 0, "c": 0}
    assert assign_homes(["a", "b", "c"], 3, homes) == homes


def test_realms_that_are_gone_leave_room():
    assert assign_homes(["b", "c"], 2, {"a": 0, "b": 1}) == {"b": 1, "c": 0}


@given(realms=NAMES, routers=st.integers(1, 8), previous=st.dictionaries(st.text(max_size=3), st.integers(-2, 12)))
def test_every_realm_has_one_home_that_is_there_and_stays_there(realms, routers, previous):
    homes = assign_homes(realms, routers, previous)
    assert list(homes) == realms
    assert all(home in range(routers) for home in homes.values())
    assert all(homes[realm] == previous[realm] for realm in realms if previous.get(realm, -1) in range(routers))
    assert assign_homes(realms, routers, homes) == homes
    assert assign_homes(realms, routers + 3, homes) == homes


@given(realms=NAMES, routers=st.integers(1, 8), kept=st.integers(0, 20))
def test_realms_are_spread_evenly_over_routers(realms, routers, kept):
    first = assign_homes(realms[:kept], routers, {})
    counts = [list(assign_homes(realms, routers, first).values()).count(index) for index in range(routers)]
    assert max(counts) - min(counts) <= 1


# What workers run.


def test_a_router_runs_the_realms_whose_home_it_is():
    assert router_config(CLUSTER, EFFECTIVE, HOMES, 0, "/run/a.sock") == {
        "kind": "router",
        "cluster": str(CLUSTER),
        "socket": "/run/a.sock",
        "realms": [REALMS[0], REALMS[2]],
    }


def test_a_router_may_be_without_realms():
    assert router_config(CLUSTER, EFFECTIVE, HOMES, 5, "/run/a.sock")["realms"] == []


def test_a_frontend_knows_one_way_to_every_realm_for_all_its_roles():
    assert proxy_config(CLUSTER, EFFECTIVE, HOMES, {"0": "/run/a.sock", "1": "/run/b.sock"}) == {
        "kind": "proxy",
        "cluster": str(CLUSTER),
        "transport": TRANSPORT,
        "realms": {
            "one": {"roles": ["anonymous", "user"], "backend": "/run/a.sock"},
            "two": {"roles": ["user"], "backend": "/run/b.sock"},
            "three": {"roles": ["admin"], "backend": "/run/a.sock"},
        },
    }


def test_every_realm_is_served_by_exactly_one_router():
    served = [
        realm["name"] for index in range(3) for realm in router_config(CLUSTER, EFFECTIVE, HOMES, index, "x")["realms"]
    ]
    assert sorted(served) == sorted(HOMES)


# Digests.

VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(), inner, max_size=4)),
)


def turned(value):
    if isinstance(value, dict):
        return {key: turned(value[key]) for key in reversed(value)}
    return [turned(item) for item in value] if isinstance(value, list) else value


@given(config=st.dictionaries(st.text(), VALUES, max_size=5))
def test_a_digest_does_not_depend_on_the_order_of_keys(config):
    digest = digest_of(config)
    assert digest == digest_of(turned(config))
    assert len(digest) == 32
    assert int(digest, 16) >= 0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, {"a": "1"}),
        ({"a": 1}, {"a": True}),
        ({"a": None}, {}),
        ({"a": [1, 2]}, {"a": [2, 1]}),
        ({"a": {"b": 1}}, {"a": 1, "b": 1}),
    ],
)
def test_other_content_has_another_digest(one, other):
    assert digest_of(one) != digest_of(other)


def test_what_is_no_json_has_no_digest():
    with pytest.raises(ValueError, match="JSON"):
        digest_of({"a": float("nan")})


def test_a_digest_stays_the_same_for_ever():
    """It is stored: were it computed otherwise by a new version, every worker would be replaced."""
    assert digest_of({"b": [1, "ü"], "a": None}) == "1d9b4f989221f8b16a41cf84f4b2c6eb"


def test_making_and_digesting_change_nothing():
    before = copy.deepcopy(EFFECTIVE)
    digest_of(proxy_config(CLUSTER, EFFECTIVE, HOMES, {"0": "a", "1": "b"}))
    digest_of(router_config(CLUSTER, EFFECTIVE, HOMES, 0, "a"))
    assert before == EFFECTIVE


def test_a_frontend_is_told_which_of_its_sockets_are_tunnels():
    links = {"0": "/run/far.tunnel", "0.tunnel": "router/node", "1": "/run/near.sock"}
    config = proxy_config(CLUSTER, EFFECTIVE, HOMES, links)
    assert config["tunnels"] == {"/run/far.tunnel": "router/node"}
    assert {route["backend"] for route in config["realms"].values()} <= {"/run/far.tunnel", "/run/near.sock"}
    assert "tunnels" not in proxy_config(CLUSTER, EFFECTIVE, HOMES, {"0": "a", "1": "b"})


def test_a_frontend_that_was_renewed_has_another_configuration():
    plain = proxy_config(CLUSTER, EFFECTIVE, HOMES, {"0": "a", "1": "b"})
    renewed = proxy_config(CLUSTER, EFFECTIVE, HOMES, {"0": "a", "1": "b", "1.renewals": "2"})
    assert renewed == {**plain, "renewals": {"1.renewals": "2"}}
    assert "renewals" not in plain


# Sockets.


def test_a_socket_is_named_after_its_worker():
    assert socket_path("/run/controlplane", WORKER) == "/run/controlplane/0123456789ab.sock"


def test_the_beginning_of_a_tunnel_is_named_after_the_worker_at_its_end():
    assert tunnel_path("/run/controlplane", WORKER) == "/run/controlplane/0123456789ab.tunnel"
    with pytest.raises(ValueError, match="so long"):
        tunnel_path("/" + "x" * 100, WORKER)


def test_a_socket_path_fits_where_linux_keeps_it():
    longest = "/" + "x" * (107 - 1 - len("/0123456789ab.sock"))
    assert len(socket_path(longest, WORKER)) == 107
    with pytest.raises(ValueError, match="so long"):
        socket_path(longest + "x", WORKER)
    with pytest.raises(ValueError, match="so long"):
        socket_path(longest[:-1] + "ü", WORKER)
