"""What a worker's configuration means in calls to Crossbar.io."""

import pytest

from controlplane.drivers.router.plans import (
    ROOT_BESIDE_OTHERS,
    Backend,
    Frontend,
    addresses,
    leaned_on,
    plan_proxy,
    plan_router,
    read_config,
    realm_names,
)
from controlplane.errors import WorkerFailed

SOCKET, OTHER_SOCKET = "/run/cp/a.sock", "/run/cp/b.sock"
REALMS = {
    "realm1": {"roles": ["anonymous"], "backend": SOCKET},
    "realm2": {"roles": ["user", "admin"], "backend": OTHER_SOCKET},
}


def frontend(realms=REALMS, **transport):
    found = read_config({"kind": "proxy", "cluster": "c", "transport": transport, "realms": realms})
    assert isinstance(found, Frontend)
    return found


def test_a_router_listens_on_its_socket_only_and_starts_realms_before_their_roles():
    roles = [{"name": "user", "permissions": []}, {"name": "admin", "authorizer": "my.authorize"}]
    config = read_config(
        {
            "kind": "router",
            "cluster": "c",
            "socket": SOCKET,
            "realms": [{"name": "realm1", "roles": roles, "options": {}}],
        }
    )
    assert isinstance(config, Backend)
    plan = plan_router(config)
    assert plan.transport["endpoint"]["path"] == SOCKET
    assert plan.transport["auth"] == {"anonymous-proxy": {"type": "static"}}
    (realm,) = plan.realms
    assert realm.config == {"name": "realm1", "options": {}}
    assert [role for _, role in realm.roles] == roles
    assert realm_names(config) == ("realm1",)


def test_a_proxy_has_one_connection_per_router_and_all_roles_of_a_realm_go_there():
    plan = plan_proxy(frontend(type="rawsocket"), "127.0.0.1", 9000)
    sockets = {name: connection["transport"]["endpoint"]["path"] for name, connection in plan.connections}
    ways = {realm: {role: sockets[name] for role, name in roles.items()} for realm, roles in plan.routes}
    assert ways == {"realm1": {"anonymous": SOCKET}, "realm2": {"user": OTHER_SOCKET, "admin": OTHER_SOCKET}}


def test_a_proxy_shares_the_port_that_the_node_decided():
    plan = plan_proxy(frontend(type="rawsocket", endpoint={"tls": {"key": "k"}, "backlog": 7}), "127.0.0.1", 9000)
    assert plan.transport["endpoint"] == {
        "type": "tcp",
        "interface": "127.0.0.1",
        "port": 9000,
        "shared": True,
        "backlog": 7,
        "tls": {"key": "k"},
    }


def test_a_proxy_reaches_its_dynamic_authenticator_in_the_role_that_is_named():
    auth = {
        "ticket": {
            "type": "dynamic",
            "authenticator": "a.b",
            "authenticator-realm": "realm2",
            "authenticator-role": "asker",
        },
        "anonymous": {"type": "static", "role": "anonymous"},
    }
    config = frontend(type="universal", websocket={"ws": {"type": "websocket", "auth": auth}})
    routes = dict(plan_proxy(config, "127.0.0.1", 9000).routes)
    assert set(routes["realm2"]) == {"user", "admin", "asker"}
    assert set(routes["realm1"]) == {"anonymous"}
    assert leaned_on(config) == {OTHER_SOCKET}


def test_without_a_realm_the_authenticator_may_be_in_any():
    auth = {"ticket": {"type": "dynamic", "authenticator": "a.b", "authenticator-role": "user"}}
    assert leaned_on(frontend(type="rawsocket", auth=auth)) == {SOCKET, OTHER_SOCKET}


def test_a_web_service_that_speaks_for_its_callers_leans_on_a_router():
    paths = {"call": {"type": "caller", "realm": "realm1", "role": "http"}}
    config = frontend(type="web", paths=paths)
    assert leaned_on(config) == {SOCKET}
    assert "http" in dict(plan_proxy(config, "127.0.0.1", 9000).routes)["realm1"]


def test_nothing_is_leaned_on_where_everything_is_static():
    auth = {"anonymous": {"type": "static", "role": "anonymous"}}
    assert leaned_on(frontend(type="rawsocket", auth=auth)) == frozenset()


@pytest.mark.parametrize("root", ["nodeinfo", "websocket", "redirect"])
def test_a_root_that_swallows_all_paths_is_put_beside_the_others(root):
    paths = {"/": {"type": root}, "ws": {"type": "websocket"}}
    plan = plan_proxy(frontend(type="web", paths=paths), "127.0.0.1", 9000)
    assert plan.transport["paths"] == {}
    assert plan.services == ((ROOT_BESIDE_OTHERS, {"type": root}), ("ws", {"type": "websocket"}))


def test_any_other_root_and_a_lone_one_stay_where_they_are():
    paths = {"/": {"type": "json", "value": 1}, "ws": {"type": "websocket"}}
    plan = plan_proxy(frontend(type="universal", web={"paths": paths}), "127.0.0.1", 9000)
    assert plan.transport["web"]["paths"] == {"/": paths["/"]}
    assert plan.services == (("ws", {"type": "websocket"}),)
    plan = plan_proxy(frontend(type="web", paths={"/": {"type": "nodeinfo"}}), "127.0.0.1", 9000)
    assert plan.transport["paths"] == {"/": {"type": "nodeinfo"}}


@pytest.mark.parametrize(
    ("transport", "expected"),
    [
        ({"type": "websocket"}, ["ws://h:9000/"]),
        ({"type": "websocket", "endpoint": {"tls": {}}}, ["wss://h:9000/"]),
        ({"type": "rawsocket"}, ["rs://h:9000"]),
        ({"type": "rawsocket", "endpoint": {"tls": {}}}, ["rss://h:9000"]),
        ({"type": "universal", "rawsocket": {}, "websocket": {"ws": {}}}, ["rs://h:9000", "ws://h:9000/ws"]),
        ({"type": "universal", "web": {"paths": {}}}, ["http://h:9000/"]),
        (
            {"type": "web", "paths": {"/": {"type": "websocket"}, "x": {"type": "json"}, "y": {"type": "websocket"}}},
            ["http://h:9000/", "ws://h:9000/", "ws://h:9000/y"],
        ),
    ],
)
def test_clients_are_told_every_address(transport, expected):
    assert [address.url for address in addresses(frontend(**transport), "h", 9000)] == expected


def test_an_ipv6_address_is_put_in_brackets():
    (address,) = addresses(frontend(type="rawsocket"), "::1", 9000)
    assert address.url == "rs://[::1]:9000"
    assert plan_proxy(frontend(type="rawsocket"), "::1", 9000).transport["endpoint"]["version"] == 6
    secured = frontend(
        type="rawsocket", endpoint={"type": "tcp", "version": 6, "tls": {"key": "k", "certificate": "c"}}
    )
    assert "version" not in plan_proxy(secured, "::1", 9000).transport["endpoint"]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"kind": "other"}, "kind"),
        ({"kind": "router", "cluster": "c", "socket": SOCKET}, "realms"),
        ({"kind": "router", "cluster": "c", "socket": "relative", "realms": []}, "absolute"),
        ({"kind": "router", "cluster": "c", "socket": "/" + "x" * 107, "realms": []}, "107 bytes"),
        ({"kind": "router", "cluster": "c", "socket": SOCKET, "realms": [{}]}, "no name"),
        ({"kind": "proxy", "cluster": "c", "transport": {"type": "mqtt"}, "realms": {}}, "mqtt"),
        ({"kind": "proxy", "cluster": "c", "transport": {"type": "web", "paths": 7}, "realms": {}}, "paths"),
        (
            {"kind": "proxy", "cluster": "c", "transport": {"type": "web", "endpoint": {"type": "unix"}}, "realms": {}},
            "TCP",
        ),
        (
            {"kind": "proxy", "cluster": "c", "transport": {"type": "web", "endpoint": {"port": "80"}}, "realms": {}},
            "number",
        ),
        (
            {
                "kind": "proxy",
                "cluster": "c",
                "transport": {"type": "web", "endpoint": {"portrange": []}},
                "realms": {},
            },
            "range",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(config, said):
    with pytest.raises(WorkerFailed, match=said):
        read_config(config)
