import copy
import json
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.core.router_configs import (
    DEPTH_MAX,
    PROBLEMS_MAX,
    SIZE_BYTES_MAX,
    check_config,
    default_realm,
    default_transport,
    listens_open,
    listens_plainly,
    with_defaults,
)
from controlplane.errors import Problem

EXAMPLES = settings().max_examples

KEY = "0123456789abcdef" * 4
ANYTHING = {"uri": "", "match": "prefix", "allow": {"call": True}}
REALM = {
    "name": "realm1",
    "roles": [{"name": "anonymous", "permissions": [ANYTHING]}, {"name": "user", "permissions": [ANYTHING]}],
}
OTHER_REALM = {"name": "realm2", "roles": [{"name": "admin", "permissions": []}]}
TICKET = {"type": "static", "principals": {"joe": {"ticket": "sesame", "role": "user"}}}
DYNAMIC = {"type": "dynamic", "authenticator": "auth.login", "authenticator-role": "user"}
SIGNED = {"key": "k", "secret": "s"}


def problems(config):
    return [tuple(problem) for problem in check_config(config)]


def paths(config):
    return [problem.path for problem in check_config(config)]


def with_transport(kind="rawsocket", **more):
    return {"realms": [REALM, OTHER_REALM], "transport": {"type": kind, **more}}


def with_auth(**methods):
    return with_transport(auth={"ticket": TICKET, **methods})


def with_principal(method, holder, **principal):
    return with_auth(**{method: {"type": "static", holder: {"joe": principal}}})


def with_service(**service):
    return with_transport("web", paths={"svc": service})


def with_permissions(*permissions):
    return {"realms": [{"name": "realm1", "roles": [{"name": "anonymous", "permissions": list(permissions)}]}]}


def one(config):
    found = check_config(config)
    assert len(found) == 1, found
    return found[0]


# What a user is told.


def test_nothing_given_is_right():
    assert check_config(None) == []
    assert check_config({}) == []


@pytest.mark.parametrize("config", [5, "x", [], b"", True, float("nan"), object()])
def test_what_is_no_object_is_said_to_be_none(config):
    assert one(config).path == "$"


def test_all_problems_come_in_one_answer_with_their_paths():
    config = {
        "realm": [],
        "realms": [{"name": "r", "roles": [{"name": "user", "permisions": []}]}, {"roles": [{"name": "trusted"}]}],
        "transport": {
            "type": "websocket",
            "endpoint": {"type": "tcp", "port": 0},
            "serializers": ["xml"],
            "auth": {"tickets": {}, "wampcra": {"type": "static", "users": {"joe": {"role": 5}}}},
        },
        "allow_anonymous": "yes",
    }
    assert sorted(paths(config)) == [
        "$.allow_anonymous",
        "$.realm",
        "$.realms[0].name",
        "$.realms[0].roles[0]",
        "$.realms[0].roles[0].permisions",
        "$.realms[1].name",
        "$.realms[1].roles[0]",
        "$.realms[1].roles[0].name",
        "$.transport.auth.tickets",
        "$.transport.auth.wampcra.users.joe.role",
        "$.transport.auth.wampcra.users.joe.secret",
        "$.transport.endpoint.port",
        "$.transport.serializers[0]",
    ]


def test_names_that_are_no_plain_keys_are_quoted_in_paths():
    config = with_auth(ticket={"type": "static", "principals": {'joe "x" @home': {"ticket": "", "role": "user"}}})
    assert paths(config) == ['$.transport.auth.ticket.principals["joe \\"x\\" @home"].ticket']


def test_an_unknown_key_comes_with_the_nearest_known_one():
    assert problems({"tranport": {}}) == [("$.tranport", "is an unknown key; did you mean 'transport'?")]


def test_an_unknown_key_without_a_near_one_comes_with_all_known_ones():
    assert problems({"xyz": 1}) == [
        ("$.xyz", "is an unknown key; known here: realms, transport, allow_anonymous, allow_plain_tcp")
    ]


def test_an_unknown_role_comes_with_the_nearest_known_one():
    config = with_principal("ticket", "principals", ticket="x", role="usr")
    assert one(config).message == "no realm has a role 'usr'; did you mean 'user'?"


def test_a_wrong_type_is_told_from_the_right_one():
    found = problems({"realms": {}, "transport": None, "allow_anonymous": 1})
    assert found == [
        ("$.realms", "must be a list, not an object"),
        ("$.transport", "must be an object, not null"),
        ("$.allow_anonymous", "must be true or false, not a number"),
    ]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (5, "a number"),
        (0.5, "a number"),
        ([], "a list"),
        ({}, "an object"),
    ],
)
def test_every_kind_of_value_has_a_name(value, kind):
    assert problems({"realms": [{**REALM, "name": value}]})[0] == ("$.realms[0].name", f"must be a text, not {kind}")


def test_a_text_has_a_name_as_well():
    assert one({"realms": "x"}) == Problem("$.realms", "must be a list, not a text")


def test_a_number_out_of_range_is_told_the_range():
    config = with_transport(auth={"ticket": TICKET}, endpoint={"type": "tcp", "port": 65536})
    assert one(config).message == "must be from 1 to 65535, not 65536"
    config = with_transport("websocket", options={"auto_ping_interval": 5}, auth={"ticket": TICKET})
    assert one(config).message == "must be 0 or from 1000 to 2147483647, not 5"


def test_a_word_that_is_none_of_the_possible_ones_is_told_them():
    config = with_transport("websockt")
    assert one(config).message == (
        "must be 'websocket', 'rawsocket', 'web' or 'universal', not 'websockt'; did you mean 'websocket'?"
    )
    assert one(with_transport("universal", rawsocket={"type": "x"})).message == "must be 'rawsocket', not 'x'"
    assert one({"transport": {}}).message == "is missing; it must be 'websocket', 'rawsocket', 'web' or 'universal'"


def test_a_text_in_a_message_is_short_and_printable():
    def told(name):
        return one({"realms": [{**REALM, "name": name}]}).message.partition(", not ")[2]

    assert told("é") == "'é'"
    assert told("it's") == '"it\'s"'
    assert told("\x00\u2028") == '"\\u0000\\u2028"'
    assert told("é" * 64) == f"'{'é' * 64}'"
    assert told("é" * 65) == f"'{'é' * 64}...'"


def test_a_key_in_a_path_is_short():
    assert paths({"x" * 64: 1}) == [f"$.{'x' * 64}"]
    assert paths({"x" * 65: 1}) == [f'$["{"x" * 64}..."]']
    assert paths({"é" * 64: 1}) == [f'$["{chr(92) + "u00e9"}{(chr(92) + "u00e9") * 63}"]']


def test_many_unknown_keys_are_all_told_and_only_the_first_get_suggestions():
    found = problems({f"realm{index}": 1 for index in range(20)})
    assert len(found) == 20
    assert ["did you mean 'realms'" in message for _, message in found] == [True] * 10 + [False] * 10


def test_too_many_entries_are_counted():
    assert one({"realms": []}).message == "must not be empty"
    realms = [{"name": f"realm{index}", "roles": REALM["roles"]} for index in range(65)]
    assert one({"realms": realms}).message == "has 65 entries; at most 64 are allowed"


def test_true_is_no_number():
    config = with_transport(endpoint={"type": "tcp", "port": True})
    assert one(config) == Problem("$.transport.endpoint.port", "must be a whole number, not true")


@pytest.mark.parametrize(
    ("method", "holder", "principal"),
    [
        ("ticket", "principals", {"ticket": {"hunter2": "hunter2"}, "role": "user"}),
        ("ticket", "principals", {"ticket": "${hunter2}", "role": "user"}),
        ("wampcra", "users", {"secret": ["hunter2"], "role": "user"}),
        (
            "scram",
            "principals",
            {
                "kdf": "pbkdf2",
                "iterations": 1,
                "memory": 1,
                "role": "user",
                **dict.fromkeys(("salt", "stored-key", "server-key"), "hunter2"),
            },
        ),
    ],
)
def test_secrets_are_not_repeated_in_messages(method, holder, principal):
    found = problems(with_principal(method, holder, **principal))
    assert found
    assert "hunter2" not in str(found)


# Realms and roles.


def test_realm_names_are_given_once():
    assert one({"realms": [REALM, OTHER_REALM, REALM]}).path == "$.realms[2].name"


def test_role_names_are_given_once_in_a_realm():
    assert (
        one({"realms": [{**REALM, "roles": [*REALM["roles"], REALM["roles"][0]]}]}).path == "$.realms[0].roles[2].name"
    )


@pytest.mark.parametrize("name", ["ab", "1realm", "re alm", "realm\n", "réalm", "a" * 256, "0x" + "a" * 39])
def test_bad_realm_names_are_refused(name):
    assert one({"realms": [{**REALM, "name": name}]}).path == "$.realms[0].name"


@pytest.mark.parametrize("name", ["abc", "com.example-1@x", "a" * 255, "0x" + "aB" * 20])
def test_good_realm_names_are_accepted(name):
    assert check_config({"realms": [{**REALM, "name": name}]}) == []


@pytest.mark.parametrize("name", ["", "a b", "trusted", "rlink", "x\n", "a" * 129, "-x"])
def test_bad_role_names_are_refused(name):
    config = {"realms": [{**REALM, "roles": [*REALM["roles"], {"name": name, "permissions": []}]}]}
    assert one(config).path == "$.realms[0].roles[2].name"


def test_a_role_has_permissions_or_an_authorizer_and_not_both():
    roles = [
        {"name": "anonymous", "permissions": []},
        {"name": "a"},
        {"name": "b", "permissions": [], "authorizer": "x.y"},
    ]
    found = problems({"realms": [{"name": "realm1", "roles": roles}]})
    assert [path for path, _ in found] == ["$.realms[0].roles[1]", "$.realms[0].roles[2]"]
    assert ["nothing" in message for _, message in found] == [True, False]


def test_somebody_must_be_able_to_register_the_authorizer():
    asked = {"name": "anonymous", "authorizer": "auth.may"}
    assert one({"realms": [{"name": "realm1", "roles": [asked]}]}).path == "$.realms[0].roles"
    assert check_config({"realms": [{"name": "realm1", "roles": [asked, {"name": "auth", "permissions": []}]}]}) == []


@pytest.mark.parametrize("authorizer", ["", "A.b", "a..b", "a b", "a.b\n", "٣"])
def test_an_authorizer_is_a_procedure(authorizer):
    roles = [*REALM["roles"], {"name": "x", "authorizer": authorizer}]
    assert one({"realms": [{**REALM, "roles": roles}]}).path == "$.realms[0].roles[2].authorizer"


@pytest.mark.parametrize(
    "permission",
    [
        {"uri": "a b"},
        {"uri": "a#"},
        {"uri": ""},
        {"uri": "a."},
        {"uri": ".a"},
        {"uri": "a..b"},
        {"uri": "a..b", "match": "exact"},
        {"uri": "a..b.", "match": "prefix"},
        {"uri": "a.*", "match": "prefix"},
        {"uri": "a.*", "match": "exact"},
        {"uri": "a*.b"},
        {"uri": "*.a"},
        {"uri": ".a", "match": "wildcard"},
        {"uri": "a.", "match": "wildcard"},
        {"uri": "", "match": "wildcard"},
        {"uri": "a..B", "match": "wildcard"},
        {"uri": "A.*.b"},
    ],
)
def test_patterns_that_match_other_than_they_seem_to_are_refused(permission):
    assert one(with_permissions(permission)).path == "$.realms[0].roles[0].permissions[0].uri"


@pytest.mark.parametrize(
    "permission",
    [
        {"uri": "", "match": "prefix"},
        {"uri": "*"},
        {"uri": "a.*"},
        {"uri": "a*"},
        {"uri": "a.", "match": "prefix"},
        {"uri": "a.B.ü", "match": "exact"},
        {"uri": "a.b"},
        {"uri": "a.*.b"},
        {"uri": "a..b", "match": "wildcard"},
        {"uri": "a.*.b.*"},
    ],
)
def test_patterns_that_match_as_they_seem_to_are_accepted(permission):
    assert check_config(with_permissions(permission)) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"uri": "a.b"}, {"uri": "a.b", "match": "prefix"}),
        ({"uri": "a.*"}, {"uri": "a.", "match": "prefix"}),
        ({"uri": "a.*.b"}, {"uri": "a..c", "match": "wildcard"}),
    ],
)
def test_a_permission_that_another_would_replace_is_refused(first, second):
    assert paths(with_permissions(first, {"uri": "x"}, second)) == ["$.realms[0].roles[0].permissions[2]"]


def test_permissions_beside_each_other_are_accepted():
    assert check_config(with_permissions({"uri": "a"}, {"uri": "a.*"}, {"uri": "a.b"}, {"uri": "a.*.b"})) == []


@pytest.mark.parametrize("key", ["id", "store", "rlinks", "inventory"])
def test_keys_of_a_realm_that_do_not_work_are_refused_with_a_reason(key):
    found = one({"realms": [{**REALM, key: {}}]})
    assert found.path == f"$.realms[0].{key}"
    assert "unknown" not in found.message


@pytest.mark.parametrize(
    "key",
    [
        *("components", "connections", "controller", "manhole", "options", "rlinks", "routes", "transports", "type"),
        *("version", "workers"),
    ],
)
def test_keys_of_a_node_are_refused_with_a_reason(key):
    found = one({key: {}})
    assert found.path == f"$.{key}"
    assert "unknown" not in found.message


# Logging in.


@pytest.mark.parametrize(
    ("method", "holder", "principal"),
    [
        ("ticket", "principals", {"ticket": "x"}),
        ("wampcra", "users", {"secret": "x", "salt": "y", "iterations": 1, "keylen": 16}),
        ("cryptosign", "principals", {"authorized_keys": [KEY]}),
        (
            "scram",
            "principals",
            {
                "kdf": "pbkdf2",
                "iterations": 1,
                "memory": 0,
                "salt": "aB",
                "stored-key": KEY,
                "server-key": KEY,
            },
        ),
    ],
)
def test_every_principal_has_a_role_that_is_there(method, holder, principal):
    where = f"$.transport.auth.{method}"
    role = f"{where}.{holder}.joe.role"
    assert check_config(with_principal(method, holder, role="user", **principal)) == []
    assert paths(with_principal(method, holder, role="nobody", **principal)) == [role]
    assert paths(with_principal(method, holder, **principal)) == [role]
    default = {"type": "static", holder: {"joe": principal}, "default-role": "user"}
    assert check_config(with_auth(**{method: default})) == []
    assert paths(with_auth(**{method: {**default, "default-role": "nobody"}})) == [f"{where}.default-role"]


def test_a_role_of_a_realm_is_looked_for_in_that_realm():
    keys = {"authorized_keys": [KEY], "realm": "realm2"}
    where = "$.transport.auth.cryptosign.principals.joe"
    assert check_config(with_principal("cryptosign", "principals", role="admin", **keys)) == []
    assert paths(with_principal("cryptosign", "principals", role="user", **keys)) == [f"{where}.role"]
    assert paths(with_principal("cryptosign", "principals", role="user", **{**keys, "realm": "realm3"})) == [
        f"{where}.realm"
    ]
    default = {"type": "static", "principals": {"joe": keys}, "default-role": "user"}
    assert paths(with_auth(cryptosign=default)) == [f"{where}.role"]
    assert paths(with_principal("cryptosign", "principals", role="x", **{**keys, "realm": 5})) == [f"{where}.realm"]


def test_a_realm_must_be_defined_to_be_named():
    transport = {
        "type": "rawsocket",
        "auth": {"anonymous": {**DYNAMIC, "authenticator-role": "anonymous"}, "ticket": TICKET},
    }
    transport["auth"]["ticket"] = {"type": "static", "principals": {"a": {"ticket": "x", "role": "anonymous"}}}
    assert check_config({"transport": transport}) == []
    transport["auth"]["anonymous"]["authenticator-realm"] = "mycluster"
    assert paths({"transport": transport}) == ["$.transport.auth.anonymous.authenticator-realm"]


@pytest.mark.parametrize("ticket", ["", "${PASSWORD}", "${A}\n", None, 5])
def test_a_ticket_is_a_text_that_stands_in_the_config(ticket):
    config = with_principal("ticket", "principals", ticket=ticket, role="user")
    assert paths(config) == ["$.transport.auth.ticket.principals.joe.ticket"]


@pytest.mark.parametrize("key", ["", KEY[1:], KEY + "0", KEY.upper(), "g" * 64, KEY + "\n", 5, None])
def test_a_cryptosign_key_is_64_lower_case_hexadecimal_digits(key):
    config = with_principal("cryptosign", "principals", authorized_keys=[KEY, key], role="user")
    assert paths(config) == ["$.transport.auth.cryptosign.principals.joe.authorized_keys[1]"]


@pytest.mark.parametrize("partly", [{"salt": "x"}, {"iterations": 5}, {"salt": "x", "keylen": 16}])
def test_salting_is_complete_or_absent(partly):
    assert paths(with_principal("wampcra", "users", secret="x", role="user", **partly)) == [
        "$.transport.auth.wampcra.users.joe"
    ]


def test_anonymous_is_a_role_that_is_there():
    assert check_config(with_auth(anonymous={"type": "static"})) == []
    assert paths(with_auth(anonymous={"type": "static", "role": "x"})) == ["$.transport.auth.anonymous.role"]
    without = {"realms": [OTHER_REALM], "transport": {"type": "rawsocket", "auth": {"anonymous": {"type": "static"}}}}
    assert paths(without) == ["$.transport.auth.anonymous.role"]


@pytest.mark.parametrize("transport", [{"type": "websocket"}, {"type": "rawsocket", "auth": {}}])
def test_without_authentication_clients_need_the_role_anonymous(transport):
    assert check_config({"realms": [REALM], "transport": transport}) == []
    assert paths({"realms": [OTHER_REALM], "transport": transport}) == ["$.transport.auth"]


def test_realms_without_the_role_anonymous_need_a_transport():
    assert check_config({"realms": [REALM]}) == []
    assert paths({"realms": [OTHER_REALM]}) == ["$.transport"]


def test_an_authenticator_without_a_realm_needs_its_role_in_every_realm():
    where = "$.transport.auth.wampcra.authenticator-role"
    assert check_config(with_auth(wampcra={**DYNAMIC, "authenticator-realm": "realm1"})) == []
    assert paths(with_auth(wampcra=DYNAMIC)) == [where]
    assert paths(with_auth(wampcra={**DYNAMIC, "authenticator-role": "trusted"})) == [where]
    assert paths(with_auth(wampcra={**DYNAMIC, "authenticator-realm": "realm2"})) == [where]


def test_somebody_must_be_able_to_log_in_to_register_the_authenticator():
    dynamic = {**DYNAMIC, "authenticator-realm": "realm1"}
    assert paths(with_transport(auth={"ticket": dynamic})) == ["$.transport.auth.ticket"]
    universal = with_transport("universal", rawsocket={"auth": {"ticket": TICKET}}, websocket={})
    universal["transport"]["websocket"] = {"ws": {"type": "websocket", "auth": {"ticket": dynamic}}}
    assert check_config(universal) == []
    universal["transport"]["rawsocket"] = {}
    assert check_config(universal) == []


def test_login_by_certificate_needs_an_endpoint_that_asks_for_one():
    login = {
        "tls": {"type": "static", "principals": {"x": {"certificate-sha1": ":".join(["AB"] * 20), "role": "user"}}}
    }
    tls = {"key": "/k", "certificate": "/c"}
    config = with_transport(auth=login, endpoint={"type": "tcp", "tls": tls})
    assert paths(config) == ["$.transport.auth.tls"]
    tls["ca_certificates"] = ["/ca"]
    assert check_config(config) == []


@pytest.mark.parametrize("method", ["cookie", "anonymous-proxy", "cryptosign-proxy"])
def test_methods_that_a_cluster_cannot_offer_are_refused_with_a_reason(method):
    found = one(with_auth(**{method: {"type": "static"}}))
    assert found.path == f"$.transport.auth.{method}"
    assert "unknown" not in found.message


@pytest.mark.parametrize("kind", ["mqtt", "flashpolicy", "websocket.testee", "stream.testee"])
def test_transports_that_a_cluster_cannot_offer_are_refused_with_a_reason(kind):
    found = one(with_transport(kind))
    assert found.path == "$.transport.type"
    assert "must be" not in found.message


@pytest.mark.parametrize("method", ["anonymous", "ticket", "wampcra", "scram", "cryptosign", "tls"])
def test_functions_are_refused_with_a_reason(method):
    config = with_transport(auth={method: {"type": "function", "create": "a.b"}})
    assert f"$.transport.auth.{method}.type" in paths(config)
    assert "needs code" in str(problems(config))


# Listening.


@pytest.mark.parametrize("port", [0, 65536, -1, "8080", "$PORT", None, 80.0, 2**70])
def test_a_port_is_a_number_from_1_to_65535(port):
    assert paths(with_transport(auth={"ticket": TICKET}, endpoint={"type": "tcp", "port": port})) == [
        "$.transport.endpoint.port"
    ]


@pytest.mark.parametrize(
    "endpoint", [{"type": "tcp"}, {"type": "tcp", "port": 1}, {"type": "tcp", "port": 65535, "shared": True}]
)
def test_a_port_may_be_given_or_not(endpoint):
    assert check_config(with_transport(auth={"ticket": TICKET}, endpoint=endpoint)) == []


@pytest.mark.parametrize("kind", ["unix", "onion", "twisted"])
def test_an_endpoint_that_is_not_tcp_is_refused_with_a_reason(kind):
    found = one(with_transport(auth={"ticket": TICKET}, endpoint={"type": kind, "path": "x"}))
    assert found.path == "$.transport.endpoint.type"
    assert "only 'tcp'" in found.message


@pytest.mark.parametrize(
    ("endpoint", "path"),
    [
        ({"shared": False}, "shared"),
        ({"portrange": [1, 2]}, "portrange"),
        ({"interface": "example.org"}, "interface"),
        ({"interface": "fe80::1%eth0"}, "interface"),
        ({"version": 6}, "version"),
        ({"version": 4, "interface": "::1"}, "version"),
        ({"version": 5}, "version"),
        ({"tls": {"key": "/k", "certificate": "c"}}, "tls.certificate"),
        ({"tls": {"key": "/k"}}, "tls.certificate"),
        ({"tls": {"key": "/k", "certificate": "/c", "ciphers": "x"}}, "tls.ciphers"),
    ],
)
def test_endpoints_that_frontends_cannot_share_are_refused(endpoint, path):
    config = with_transport(auth={"ticket": TICKET}, endpoint={"type": "tcp", **endpoint})
    assert paths(config) == [f"$.transport.endpoint.{path}"]


@pytest.mark.parametrize(
    "kind",
    [
        "archive",
        "catalog",
        "cgi",
        "longpoll",
        "none",
        "pairme",
        "resource",
        "reverseproxy",
        "static",
        "upload",
        "wap",
        "websocket-reverseproxy",
        "wsgi",
    ],
)
def test_web_services_that_a_frontend_cannot_or_must_not_serve_are_refused_with_a_reason(kind):
    found = one(with_service(type=kind))
    assert found.path == "$.transport.paths.svc.type"
    assert "must be" not in found.message


@pytest.mark.parametrize(
    "service", [{"type": "caller"}, {"type": "publisher"}, {"type": "webhook", "options": {"topic": "a"}}]
)
def test_web_services_act_in_roles_that_are_there(service):
    assert check_config(with_service(realm="realm2", role="admin", **service)) == []
    assert paths(with_service(realm="realm2", role="user", **service)) == ["$.transport.paths.svc.role"]
    assert paths(with_service(realm="realm3", role="user", **service)) == ["$.transport.paths.svc.realm"]


@pytest.mark.parametrize("kind", ["websocket", "redirect", "nodeinfo", "caller"])
def test_a_service_at_the_root_of_nested_paths_must_not_hide_the_others(kind):
    root = {
        "websocket": {"type": "websocket"},
        "redirect": {"type": "redirect", "url": "/x"},
        "nodeinfo": {"type": "nodeinfo"},
        "caller": {"type": "caller", "realm": "realm1", "role": "user"},
    }[kind]
    assert check_config(with_transport("web", paths={"/": root})) == []
    assert check_config(with_transport("web", paths={"/": root, "x": {"type": "nodeinfo"}})) == []
    assert check_config(with_service(type="path", paths={"/": root})) == []
    nested = {"type": "path", "paths": {"/": root, "x": {"type": "nodeinfo"}}}
    assert paths(with_service(**nested)) == ['$.transport.paths.svc.paths["/"]']


def test_paths_within_the_root_are_put_beside_it():
    inner = {"type": "path", "paths": {"x": {"type": "nodeinfo"}}}
    assert paths(with_transport("web", paths={"/": inner})) == ['$.transport.paths["/"]']
    assert paths(with_service(type="path", paths={"/": inner})) == ['$.transport.paths.svc.paths["/"]']


def test_json_answers_at_the_root_of_nested_paths_only():
    value = {"type": "json", "value": None}
    assert paths(with_transport("web", paths={"/": value})) == ['$.transport.paths["/"]']
    assert check_config(with_service(type="path", paths={"/": value, "x": value})) == []


@pytest.mark.parametrize("name", ["", "a/b", "/a", "ws\n", "ü", "a.b"])
def test_paths_are_plain_names(name):
    assert len(paths(with_transport("web", paths={name: {"type": "nodeinfo"}}))) == 1


def test_logins_in_nested_paths_are_looked_at():
    socket = {
        "type": "websocket",
        "auth": {"ticket": {"type": "static", "principals": {"a": {"ticket": "x", "role": "y"}}}},
    }
    config = with_service(type="path", paths={"deep": {"type": "path", "paths": {"ws": socket}}})
    where = "$.transport.paths.svc.paths.deep.paths.ws.auth.ticket.principals.a.role"
    assert paths(config) == [where]


# Single values.

SOCKET = {"ticket": TICKET}
DIGITS = "aB" * 32
SCRAM = {"kdf": "pbkdf2", "iterations": 1, "memory": 0, "salt": "aB", "stored-key": DIGITS, "server-key": DIGITS}
SALTED = {"secret": "s", "role": "user", "salt": "x", "iterations": 1, "keylen": 16}
CERTIFICATE = {"certificate-sha1": ":".join(["A1"] * 20), "role": "user"}
BIG = 2**31 - 1
VALUES_OF = [
    ("realms.0.options.event_dispatching_chunk_size", [1, BIG], [0, BIG + 1, "1"]),
    ("realms.0.options.uri_check", ["strict", "loose"], ["lose", None]),
    ("realms.0.options.enable_meta_api", [True, False], [1, "yes"]),
    ("realms.0.options.bridge_meta_api", [], [True, False]),
    ("realms.0.roles.0.id", [], ["role1"]),
    ("realms.0.roles.0.allow-by-default", [], [True]),
    ("realms.0.roles.0.permissions.0.cache", [True, False], [0]),
    ("realms.0.roles.0.permissions.0.match", ["prefix"], ["suffix", 1]),
    ("realms.0.roles.0.permissions.0.allow", [{}, {"publish": False}], [None, []]),
    ("realms.0.roles.0.permissions.0.allow.register", [True], [1]),
    ("realms.0.roles.0.permissions.0.disclose.caller", [False], ["x"]),
    ("realms.0.roles.0.permissions.0.validate", [], [{}]),
    ("websocket.max_connections", [1, BIG], [0, BIG + 1, True]),
    (
        "websocket.url",
        ["ws://x", "wss://x:443/y", "ws://[::1]:80"],
        ["http://x", "ws://", "ws://x:0", "ws://x y", "ws://ü"],
    ),
    ("websocket.url", ["ws://x/"], ["ws://unix:/x", "ws://x/?y", "ws://x/#y", "ws://x:99999", "ws://[", "ws://x\n"]),
    ("websocket.url", ["ws://x/y%20z"], ["", "ws:///y", "ws://x/\x7f", "ws://x/\u00e4", "//x", 5]),
    ("websocket.serializers", [["json"], ["cbor", "ubjson"]], [[], "json", None]),
    ("websocket.serializers.0", ["msgpack"], ["flatbuffers", 5]),
    ("websocket.debug", [True], [1]),
    ("websocket.cookie", [], [{}]),
    ("websocket.id", [], ["transport1"]),
    ("websocket.options.allowed_origins", [[], ["*"], ["https://*.x-y.org:443"]], ["*", None]),
    ("websocket.options.allowed_origins.0", ["http://x"], ["[", "", "a b", 5]),
    ("websocket.options.external_port", [1, 65535], [0, 65536]),
    *(
        (f"websocket.options.{name}", [0, 1000, BIG], [1, 999, -1, BIG + 1, 1000.0])
        for name in ("open_handshake_timeout", "close_handshake_timeout", "auto_ping_interval", "auto_ping_timeout")
    ),
    ("websocket.options.auto_ping_size", [12, 125], [0, 11, 126]),
    *(
        (f"websocket.options.{name}", [0, 64 * 2**20], [-1, 64 * 2**20 + 1])
        for name in ("max_frame_size", "max_message_size", "auto_fragment_size")
    ),
    ("websocket.options.tcp_nodelay", [True], [0]),
    ("websocket.options.enable_hybi10", [True, False], [0]),
    ("websocket.options.enable_rfc6455", [True, False], [0]),
    ("websocket.options.flash_policy", [], ["x"]),
    ("websocket.options.enable_flash_policy", [], [True, False]),
    ("websocket.options.compression", [{}, {"deflate": {}}], [{"bzip2": {}}, None]),
    ("websocket.options.compression.deflate.max_window_bits", [9, 15], [0, 8, 16]),
    ("websocket.options.compression.deflate.request_max_window_bits", [0, 9, 15], [1, 8, 16]),
    ("websocket.options.compression.deflate.memory_level", [1, 9], [0, 10]),
    ("websocket.options.compression.deflate.no_context_takeover", [True], [None]),
    ("websocket.options.compression.deflate.request_no_context_takeover", [False], [0]),
    ("rawsocket.options.max_message_size", [512, 16 * 2**20], [0, 511, 16 * 2**20 + 1]),
    ("rawsocket.endpoint.port", [1, 65535], [0, 65536]),
    ("rawsocket.endpoint.backlog", [1, 65535], [0, 65536]),
    ("rawsocket.endpoint.user_timeout", [0, 65535], [-1, 65536]),
    ("rawsocket.endpoint.interface", ["", "localhost", "0.0.0.0", "::1", "::"], ["x", "1.2.3", " ", 5]),
    ("rawsocket.endpoint.version", [4], [5, 6, "4", 4.5]),
    ("rawsocket.endpoint.shared", [True], [False, 1, "x"]),
    ("rawsocket.endpoint.tls.key", ["/k"], ["k", "", "/", "/a\0", 5]),
    ("rawsocket.endpoint.tls.ca_certificates", [["/a", "/b"]], [[], "/a"]),
    ("rawsocket.endpoint.tls.chain_certificates.0", ["/a"], ["a"]),
    ("rawsocket.endpoint.tls.dhparam", [], ["/x"]),
    ("rawsocket.auth.anonymous.authid", ["x"], ["", 5]),
    ("rawsocket.auth.anonymous.realm", [], ["realm1"]),
    ("rawsocket.auth.wampcra.users.joe.salt", ["x"], ["", 5]),
    ("rawsocket.auth.wampcra.users.joe.iterations", [1, 1_000_000], [0, 1_000_001]),
    ("rawsocket.auth.wampcra.users.joe.keylen", [1, 1024], [0, 1025]),
    ("rawsocket.auth.scram.principals.joe.kdf", ["argon2id-13"], ["md5", None]),
    ("rawsocket.auth.scram.principals.joe.iterations", [1, BIG], [0, BIG + 1]),
    ("rawsocket.auth.scram.principals.joe.memory", [0, BIG], [-1, BIG + 1]),
    ("rawsocket.auth.scram.principals.joe.salt", ["00", "aBcD"], ["", "0", "0g"]),
    ("rawsocket.auth.scram.principals.joe.stored-key", [DIGITS], [DIGITS[1:], DIGITS + "0", "g" * 64]),
    ("rawsocket.auth.scram.principals.joe.server-key", [DIGITS], [DIGITS[1:], DIGITS + "0", "g" * 64]),
    ("rawsocket.auth.tls.principals.joe.role", ["user", "admin"], ["nobody", 5]),
    ("rawsocket.auth.tls.principals.joe.certificate-sha1", [":".join(["00"] * 20)], ["", "00", ":".join(["a1"] * 20)]),
    ("rawsocket.auth.cryptosign.trustroots", [], [{}]),
    ("rawsocket.auth.cryptosign.principals.joe.authorized_keys", [[KEY, KEY]], [[], KEY]),
    ("rawsocket.auth.ticket.principals", [{}], [None, []]),
    ("rawsocket.auth.ticket.principals.joe.ticket", ["${x", "$x", "{x}", "x${y}"], ["${x}", "${x}\n", ""]),
    ("rawsocket.auth.ticket.principals.joe.role", ["user"], ["", None, "trusted"]),
    ("web.options.hsts", [True], [1]),
    ("web.options.hsts_max_age", [0, BIG], [-1, BIG + 1]),
    ("web.options.client_timeout", [None, 1, 86_400], [0, 86_401, "1"]),
    ("web.options.access_log", [False], ["x"]),
    ("web.options.display_tracebacks", [True], ["x"]),
    ("web.paths.hook.options.debug", [True], ["x"]),
    ("web.paths.call.options.debug", [True], ["x"]),
    ("web.paths.socket.debug", [True], ["x"]),
    ("web.paths", [{"a": {"type": "nodeinfo"}}], [{}, [], None]),
    ("web.paths.go.url", ["/", "https://x/?y#z"], ["", "a b", "ü", "a\r\nb"]),
    ("web.paths.data.value", [None, 5, [{}]], []),
    ("web.paths.data.options", [], [{}]),
    ("web.paths.call.realm", ["realm1"], ["", None, "realm9"]),
    ("web.paths.call.options.post_body_limit", [0, 2**20], [-1, 2**20 + 1]),
    ("web.paths.call.options.timestamp_delta_limit", [0, 86_400], [-1, 86_401]),
    ("web.paths.call.options.require_ip", [["10.0.0.0/8", "::1"]], [[], "10.0.0.0/8"]),
    ("web.paths.call.options.require_ip.0", ["1.2.3.4"], ["10.0.0.1/8", "x", ""]),
    ("web.paths.call.options.key", ["x"], [""]),
    ("web.paths.call.options.secret", ["x"], [""]),
    ("web.paths.hook.options.topic", ["a", "com.Ä.b"], ["", "a..b", "a b", "a.", "a#"]),
    ("web.paths.hook.options.github_secret", ["x"], ["", "ü"]),
    ("web.paths.hook.options.post_body_limit", [0, 2**20], [-1, 2**20 + 1]),
    ("web.paths.hook.options.error_response", ["", "no"], [5]),
    ("web.paths.info.id", [], ["x"]),
    ("universal.rawsocket.max_connections", [], [1]),
    ("universal.rawsocket.endpoint", [], [{"type": "tcp"}]),
    ("universal.rawsocket.type", ["rawsocket"], ["websocket"]),
    ("universal.websocket", [{"a": {"type": "websocket"}}], [{}, {"/": {"type": "websocket"}}, {"a": {"type": "web"}}]),
    ("universal.websocket.ws.cookie", [], [{}]),
    ("universal.websocket.ws.id", [], ["x"]),
    ("web.paths.socket.id", [], ["x"]),
    ("web.paths.socket.cookie", [], [{}]),
    ("web.id", [], ["x"]),
    ("web.paths.go.id", [], ["x"]),
    ("web.paths.data.id", [], ["x"]),
    ("web.paths.deep.id", [], ["x"]),
    ("web.paths.call.id", [], ["x"]),
    ("rawsocket.id", [], ["x"]),
    ("universal.id", [], ["x"]),
    ("universal.rawsocket.id", [], ["x"]),
    ("universal.web.id", [], ["x"]),
    ("universal.web.endpoint", [], [{"type": "tcp"}]),
    ("universal.websocket.ws.endpoint", [], [{"type": "tcp"}]),
    ("universal.web.options", [], [{}]),
    ("universal.web.type", ["web"], ["x"]),
    ("universal.mqtt", [], [{}]),
]
TLS = {"key": "/k", "certificate": "/c", "ca_certificates": ["/ca"], "chain_certificates": ["/x"]}
TRANSPORTS = {
    "websocket": {
        "serializers": ["json"],
        "options": {"allowed_origins": ["*"], "compression": {"deflate": {"max_window_bits": 9}}},
    },
    "rawsocket": {
        "endpoint": {"type": "tcp", "tls": TLS},
        "options": {},
        "auth": {
            "anonymous": {"type": "static"},
            "ticket": TICKET,
            "wampcra": {"type": "static", "users": {"joe": SALTED}},
            "scram": {"type": "static", "principals": {"joe": {**SCRAM, "role": "user"}}},
            "cryptosign": {"type": "static", "principals": {"joe": {"authorized_keys": [KEY], "role": "user"}}},
            "tls": {"type": "static", "principals": {"joe": CERTIFICATE}},
        },
    },
    "web": {
        "options": {},
        "paths": {
            "go": {"type": "redirect", "url": "/"},
            "data": {"type": "json", "value": 1},
            "info": {"type": "nodeinfo"},
            "socket": {"type": "websocket"},
            "deep": {"type": "path", "paths": {"x": {"type": "nodeinfo"}}},
            "call": {"type": "caller", "realm": "realm1", "role": "user", "options": {**SIGNED, "require_ip": ["::1"]}},
            "hook": {"type": "webhook", "realm": "realm1", "role": "user", "options": {"topic": "a"}},
        },
    },
    "universal": {
        "rawsocket": {},
        "websocket": {"ws": {"type": "websocket"}},
        "web": {"paths": {"x": {"type": "nodeinfo"}}},
    },
}


def with_value(place, value):
    kind, *steps = place.split(".")
    given = with_transport(kind if kind in TRANSPORTS else "rawsocket", **TRANSPORTS.get(kind, {}))
    config = json.loads(json.dumps(given))  # Unlike a deep copy, it has nothing twice.
    config["realms"][0]["options"] = {}
    config["realms"][0]["roles"][0]["permissions"][0]["disclose"] = {}
    holder = config["transport"] if kind in TRANSPORTS else config["realms"]
    for step in steps[:-1]:
        holder = holder[int(step) if isinstance(holder, list) else step]
    holder[int(steps[-1]) if isinstance(holder, list) else steps[-1]] = value
    return config


@pytest.mark.parametrize("kind", TRANSPORTS)
def test_the_examples_into_which_values_are_put_are_good(kind):
    assert check_config(with_transport(kind, **TRANSPORTS[kind])) == []


@pytest.mark.parametrize(("place", "value"), [(place, value) for place, good, _ in VALUES_OF for value in good])
def test_good_values_are_accepted(place, value):
    assert check_config(with_value(place, value)) == []


@pytest.mark.parametrize(("place", "value"), [(place, value) for place, _, bad in VALUES_OF for value in bad])
def test_bad_values_are_refused_where_they_are(place, value):
    where = re.sub(r"\.(\d+)", r"[\1]", place)
    where = f"$.{where}" if place.startswith("realms") else f"$.transport.{where.partition('.')[2]}"
    found = one(with_value(place, value))
    assert found.path.startswith(where)
    assert found.message


@pytest.mark.parametrize(
    ("place", "entry"),
    [
        ("websocket.serializers", "json"),
        ("websocket.options.allowed_origins", "*"),
        ("rawsocket.endpoint.tls.ca_certificates", "/a"),
        ("rawsocket.endpoint.tls.chain_certificates", "/a"),
        ("web.paths.call.options.require_ip", "::1"),
        ("web.paths.deep.paths", {"type": "nodeinfo"}),
        ("universal.websocket", {"type": "websocket"}),
    ],
)
def test_lists_are_limited_where_nothing_else_is_said(place, entry):
    def many(count):
        return [entry] * count if isinstance(entry, str) else {f"x{index}": entry for index in range(count)}

    assert check_config(with_value(place, many(1_000))) == []
    assert one(with_value(place, many(1_001))).message == "has 1001 entries; at most 1000 are allowed"


REFUSED = [(place, bad[0]) for place, good, bad in VALUES_OF if not good]


@pytest.mark.parametrize(("place", "value"), REFUSED)
def test_keys_that_crossbar_knows_are_refused_with_a_reason(place, value):
    found = one(with_value(place, value))
    assert found.path.endswith(f".{place.rpartition('.')[2]}")
    assert "unknown" not in found.message


@pytest.mark.parametrize(
    "place",
    [
        "rawsocket.options.auto_ping_interval",
        "rawsocket.url",
        "rawsocket.auth.tls.default-role",
        "rawsocket.auth.ticket.principals.joe.realm",
        "web.paths.info.auth",
        "universal.auth",
        "realms.0.permissions",
    ],
)
def test_keys_that_crossbar_does_not_know_are_refused_as_unknown(place):
    assert "is an unknown key" in one(with_value(place, "x")).message


# Limits.


def nested(depth):
    value = {"a": 1}
    for _ in range(depth):
        value = {"a": value}
    return value


def listed(depth):
    value = [1]
    for _ in range(depth):
        value = [value]
    return value


def test_depth_is_limited():
    assert DEPTH_MAX == 32
    assert check_config(with_service(type="json", value=nested(27))) == []
    assert check_config(with_service(type="json", value=listed(27))) == []
    assert "nested" in one(with_service(type="json", value=nested(28))).message
    assert "nested" in one(with_service(type="json", value=listed(28))).message
    assert "nested" in one(nested(100_000)).message


def test_size_is_limited():
    assert SIZE_BYTES_MAX == 262_144
    room = SIZE_BYTES_MAX - 2_000
    assert check_config(with_service(type="json", value="x" * room)) == []
    for value in ("x" * SIZE_BYTES_MAX, "ü" * (SIZE_BYTES_MAX // 2), [0] * SIZE_BYTES_MAX, {"x" * SIZE_BYTES_MAX: 0}):
        assert one(with_service(type="json", value=value)) == Problem("$", "is larger than 256 KiB")


@pytest.mark.parametrize("first", ["x" * SIZE_BYTES_MAX, [float("nan")] * 300])
def test_what_was_not_measured_is_not_looked_into(first):
    deep = {"type": "nodeinfo"}
    for _ in range(10_000):
        deep = {"type": "path", "paths": {"x": deep}}
    assert check_config({"realms": first, "transport": {"type": "web", "paths": {"x": deep}}})


def test_lists_that_hold_themselves_come_to_an_end():
    loop = []
    loop.extend([loop, loop, loop])
    assert check_config({"realms": loop})


def test_counts_are_limited():
    role = {"name": "anonymous", "permissions": []}
    realms = [{"name": f"realm{index}", "roles": [role]} for index in range(65)]
    assert check_config({"realms": realms[:64]}) == []
    assert paths({"realms": realms}) == ["$.realms"]
    roles = [role, *({"name": f"role{index}", "permissions": []} for index in range(64))]
    assert check_config({"realms": [{"name": "realm1", "roles": roles[:64]}]}) == []
    assert paths({"realms": [{"name": "realm1", "roles": roles}]}) == ["$.realms[0].roles"]
    permissions = [{"uri": f"a{index}"} for index in range(1_001)]
    assert check_config(with_permissions(*permissions[:1_000])) == []
    assert paths(with_permissions(*permissions)) == ["$.realms[0].roles[0].permissions"]
    keys = {"authorized_keys": [KEY] * 100, "role": "user"}
    assert check_config(with_principal("cryptosign", "principals", **keys)) == []
    keys["authorized_keys"].append(KEY)
    assert len(paths(with_principal("cryptosign", "principals", **keys))) == 1
    principals = {f"{index:x}": {"ticket": "x"} for index in range(10_001)}
    ticket = {"type": "static", "principals": principals, "default-role": "user"}
    assert paths(with_auth(ticket=ticket)) == ["$.transport.auth.ticket.principals"]
    principals.popitem()
    assert check_config(with_auth(ticket=ticket)) == []


def test_the_number_of_problems_is_limited_and_so_is_the_time_to_find_them():
    roles = [{"name": f"role{index}", "permissions": []} for index in range(64)]
    realms = [{"name": f"realm{index}", "roles": roles} for index in range(60)]
    principals = {f"p{index}": {"ticket": "x", "role": f"rule{index}"} for index in range(1_000)}
    auth = {"ticket": {"type": "static", "principals": principals}}
    began = time.monotonic()
    found = check_config({"realms": realms, "transport": {"type": "rawsocket", "auth": auth}})
    assert len(found) == PROBLEMS_MAX
    assert time.monotonic() - began < 5


def test_more_than_enough_that_is_no_json_is_not_all_told():
    spoiled = [float("nan")] * 300
    assert len(check_config(with_service(type="json", value=spoiled))) == 250
    assert len(check_config({"realms": [*spoiled, nested(100_000)]})) == 250


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63) + 1, 1e308, "\ud7ff\ue000", "\U0001f600", "\0", "", {"": ""}])
def test_all_that_is_json_can_be_a_value(value):
    assert check_config(with_service(type="json", value=value)) == []


@pytest.mark.parametrize("realms", [5, "abc", {"a": 1}, True, [5], [None], [{}], [{"name": "realm1", "roles": 5}]])
def test_roles_are_not_looked_for_in_realms_that_are_none(realms):
    config = {**with_principal("ticket", "principals", ticket="x", role="nobody"), "realms": realms}
    assert paths(config)
    assert all(path.startswith("$.realms") for path in paths(config))


def test_roles_are_not_looked_for_where_there_are_none():
    assert paths({"realms": [{"name": "realm1", "roles": []}]}) == ["$.realms[0].roles"]


@pytest.mark.parametrize("place", ["auth", "auth.ticket.principals", "auth.wampcra.users"])
def test_keys_that_are_no_texts_are_told_and_passed_over(place):
    config = with_auth(wampcra={"type": "static", "users": {}})
    holder = config["transport"]
    for step in place.split("."):
        inner = holder[step] = dict(holder[step])
        holder = inner
    holder[None] = {"type": "dynamic", "ticket": "x", "secret": "x"}
    assert paths(config) == [f"$.transport.{place}"]


def test_paths_that_are_no_texts_are_told_and_passed_over():
    socket = {"type": "websocket"}
    assert paths(with_transport("web", paths={"x": socket, None: socket})) == ["$.transport.paths"]
    universal = with_transport(
        "universal", websocket={"x": socket, None: socket}, web={"paths": {"y": socket, None: socket}}
    )
    assert paths(universal) == ["$.transport.websocket", "$.transport.web.paths"]


@pytest.mark.parametrize(
    "value",
    [b"x", float("nan"), float("inf"), 2**63, {None: 1}, {b"a": 1}, "\ud800", {"\udfff": 1}, (1, 2), {1}],
)
def test_what_is_no_json_is_said_once(value):
    found = one(with_service(type="json", value=value))
    assert found.path == "$.transport.paths.svc.value"


def test_a_number_that_python_refuses_to_write_is_no_trouble():
    assert paths(with_transport(auth={"ticket": TICKET}, max_connections=10**5_000)) == ["$.transport.max_connections"]


def test_what_is_no_json_does_not_hide_the_rest():
    assert sorted(paths({"realms": b"", None: 1, "tranport": 1})) == ["$", "$.realms", "$.tranport"]


# Whatever comes.

WORDS = st.sampled_from(
    [
        *("realms", "name", "roles", "permissions", "uri", "match", "allow", "authorizer", "transport", "type"),
        *("endpoint", "port", "auth", "ticket", "static", "principals", "paths", "path", "websocket", "web", "caller"),
        *("universal", "rawsocket", "realm", "role", "options", "cryptosign", "users", "tcp", "tls", "dynamic", "/"),
    ]
)
TEXTS = st.one_of(WORDS, st.text(max_size=8), st.sampled_from(["\ud800", "${X}", "a b", "\x00", "ws://["]))
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), TEXTS, st.binary(max_size=4), st.just(10**4_000)
)
KEYS = st.one_of(WORDS, WORDS, TEXTS, st.none(), st.binary(max_size=2), st.integers(), st.just(float("nan")))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=5), st.tuples(inner)),
    max_leaves=30,
)
FULL = {
    "realms": [REALM, OTHER_REALM],
    "allow_anonymous": True,
    "allow_plain_tcp": True,
    "transport": {
        "type": "universal",
        "endpoint": {"type": "tcp", "port": 8080, "tls": {"key": "/k", "certificate": "/c", "ca_certificates": ["/d"]}},
        "rawsocket": {"auth": {"ticket": TICKET, "anonymous": {"type": "static"}}},
        "websocket": {"ws": {"type": "websocket", "options": {"compression": {"deflate": {}}}, "url": "ws://x"}},
        "web": {
            "paths": {
                "x": {
                    "type": "path",
                    "paths": {"/": {"type": "caller", "realm": "realm1", "role": "user", "options": SIGNED}},
                },
                "y": {"type": "webhook", "realm": "realm1", "role": "user", "options": {"topic": "a.b"}},
            }
        },
    },
}


def places(value, path=()):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, item in items for found in ((*path, key), *places(item, (*path, key)))]


@st.composite
def spoiled(draw):
    config = copy.deepcopy(FULL)
    for path in draw(st.lists(st.sampled_from(places(FULL)), min_size=1, max_size=3)):
        holder = config
        for key in path[:-1]:
            holder = holder[key] if isinstance(holder, list | dict) and key in places_of(holder) else {}
        if isinstance(holder, list | dict) and path[-1] in places_of(holder):
            holder[path[-1]] = draw(VALUES)
    return config


def places_of(holder):
    return range(len(holder)) if isinstance(holder, list) else holder


def test_the_example_that_is_spoiled_is_good():
    assert check_config(FULL) == []


@settings(max_examples=4 * EXAMPLES)
@given(config=st.one_of(VALUES, spoiled()))
def test_no_value_makes_it_raise_and_every_answer_can_be_sent(config):
    for problem in check_config(config):
        assert problem.path.startswith("$")
        assert len(problem.path) < 10_000
        assert len(problem.message) < 1_000
        json.dumps(problem).encode()
        (problem.path + problem.message).encode()


@settings(deadline=None, max_examples=2 * EXAMPLES)
@given(config=spoiled())
def test_checking_changes_nothing(config):
    before = repr(config)
    check_config(config)
    assert repr(config) == before


# Whether anybody gets in.

OPEN = [
    (None, "$.transport"),
    ({}, "$.transport"),
    ({"realms": [REALM]}, "$.transport"),
    (with_transport("websocket"), "$.transport.auth"),
    (with_transport("rawsocket", auth={}), "$.transport.auth"),
    (with_auth(anonymous={"type": "static"}), "$.transport.auth.anonymous"),
    (with_auth(anonymous={**DYNAMIC, "authenticator-realm": "realm1"}), "$.transport.auth.anonymous"),
    (with_service(type="websocket"), "$.transport.paths.svc.auth"),
    (with_service(type="path", paths={"x": {"type": "websocket"}}), "$.transport.paths.svc.paths.x.auth"),
    (with_service(type="caller", realm="realm1", role="user"), "$.transport.paths.svc"),
    (
        with_service(type="publisher", realm="realm1", role="user", options={"require_tls": True}),
        "$.transport.paths.svc",
    ),
    (with_service(type="webhook", realm="realm1", role="user", options={"topic": "a"}), "$.transport.paths.svc"),
    (with_transport("universal", rawsocket={}), "$.transport.rawsocket.auth"),
    (
        with_transport("universal", rawsocket={"auth": {"ticket": TICKET}}, websocket={"ws": {"type": "websocket"}}),
        "$.transport.websocket.ws.auth",
    ),
    (
        with_transport("universal", web={"paths": {"ws": {"type": "websocket"}}}),
        "$.transport.web.paths.ws.auth",
    ),
]
CLOSED = [
    with_auth(),
    with_service(type="websocket", auth={"ticket": TICKET}),
    with_service(type="json", value=1),
    with_service(type="caller", realm="realm1", role="user", options=SIGNED),
    with_service(type="webhook", realm="realm1", role="user", options={"topic": "a", "github_secret": "s"}),
    with_transport("universal", rawsocket={"auth": {"ticket": TICKET}}),
    with_transport(
        endpoint={"type": "tcp", "tls": {"key": "/k", "certificate": "/c", "ca_certificates": ["/ca"]}},
    ),
]


@pytest.mark.parametrize(("config", "path"), OPEN)
def test_an_open_way_in_beyond_this_machine_is_refused(config, path):
    assert check_config(config) == []
    found = listens_open(config, "192.0.2.1")
    assert found is not None
    assert found.path == path


@pytest.mark.parametrize(("config", "path"), OPEN)
def test_an_open_way_in_is_allowed_on_loopback_or_when_it_is_wanted(config, path):
    assert listens_open(config, "127.0.0.1") is None
    assert listens_open({**(config or {}), "allow_anonymous": True}, "192.0.2.1") is None
    assert listens_open({**(config or {}), "allow_anonymous": False}, "192.0.2.1") is not None


@pytest.mark.parametrize("config", CLOSED)
def test_a_closed_way_in_is_allowed_everywhere(config):
    assert check_config(config) == []
    assert listens_open(config, "0.0.0.0") is None


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.1", "::1", "localhost", "LOCALHOST", "::ffff:127.0.0.1"])
def test_loopback_is_this_machine(address):
    assert listens_open(None, address) is None


@pytest.mark.parametrize(
    "address", ["", "0.0.0.0", "::", "10.0.0.1", "example.org", "127.0.0.1.example.org", "::ffff:10.0.0.1"]
)
def test_all_else_is_beyond_this_machine(address):
    assert listens_open(None, address) is not None


def test_an_interface_counts_for_the_address_of_the_node():
    inside = with_transport(endpoint={"type": "tcp", "interface": "127.0.0.1"})
    outside = with_transport(endpoint={"type": "tcp", "interface": ""})
    assert listens_open(inside, "192.0.2.1") is None
    assert "listen on all addresses" in listens_open(outside, "127.0.0.1").message
    assert "listen on 192.0.2.1" in listens_open(None, "192.0.2.1").message


@pytest.mark.parametrize("config", [None, {}, with_auth(), with_transport(endpoint={"type": "tcp", "port": 5000})])
def test_without_tls_workers_listen_on_loopback_only_unless_it_is_wanted(config):
    found = listens_plainly(config, "192.0.2.1")
    assert "has no TLS" in found.message
    assert found.path == (
        "$.transport.endpoint" if "endpoint" in (config or {}).get("transport", {}) else "$.transport"
    )
    assert listens_plainly(config, "127.0.0.1") is None
    assert listens_plainly({**(config or {}), "allow_plain_tcp": True}, "192.0.2.1") is None
    assert listens_plainly({**(config or {}), "allow_anonymous": True}, "192.0.2.1") is not None


def test_with_tls_workers_listen_everywhere():
    tls = {"key": "/k", "certificate": "/c"}
    assert listens_plainly(with_transport(endpoint={"type": "tcp", "tls": tls}), "192.0.2.1") is None
    inside = with_transport(endpoint={"type": "tcp", "interface": "127.0.0.1"})
    assert listens_plainly(inside, "192.0.2.1") is None
    outside = with_transport(endpoint={"type": "tcp", "interface": "0.0.0.0"})
    assert listens_plainly(outside, "127.0.0.1") is not None


# Defaults.


def test_nothing_given_means_one_open_realm_named_like_the_cluster():
    effective = with_defaults(None, "cluster1")
    assert effective == with_defaults({}, "cluster1")
    assert [realm["name"] for realm in effective["realms"]] == ["cluster1"]
    (role,) = effective["realms"][0]["roles"]
    assert role["name"] == "anonymous"
    (permission,) = role["permissions"]
    assert (permission["uri"], permission["match"]) == ("", "prefix")
    assert set(permission["allow"].items()) == {(right, True) for right in ("call", "register", "publish", "subscribe")}
    assert permission["disclose"] == {"caller": False, "publisher": False}
    assert permission["cache"] is True
    assert effective["transport"] == {
        "type": "websocket",
        "serializers": ["cbor", "msgpack", "json"],
        "auth": {"anonymous": {"type": "static", "role": "anonymous"}},
        "endpoint": {"type": "tcp", "shared": True},
    }
    assert effective["allow_anonymous"] is False
    assert effective["allow_plain_tcp"] is False


@pytest.mark.parametrize("config", [None, {}, FULL, *(config for config, _ in OPEN), *CLOSED])
def test_what_a_config_means_is_itself_a_config_that_means_the_same(config):
    effective = with_defaults(config, "cluster1")
    assert check_config(effective) == []
    assert with_defaults(effective, "another") == effective


def test_what_is_given_stays_as_it_is():
    config = {**with_auth(), "allow_anonymous": True}
    config["transport"]["endpoint"] = {"type": "tcp", "port": 5000, "interface": "127.0.0.1"}
    effective = with_defaults(config, "cluster1")
    assert [{**realm, "options": {}} for realm in effective["realms"]] == [
        {**realm, "options": {}} for realm in config["realms"]
    ]
    assert effective["transport"] == {
        **config["transport"],
        "endpoint": {"type": "tcp", "port": 5000, "interface": "127.0.0.1", "shared": True},
    }
    assert effective["allow_anonymous"] is True


def test_events_leave_for_all_subscribers_at_once_unless_something_else_is_said():
    given = {"uri_check": "loose", "event_dispatching_chunk_size": 7}
    config = {"realms": [{"name": "one1", "roles": []}, {"name": "two2", "roles": [], "options": given}]}
    one, two = with_defaults(config, "cluster1")["realms"]
    assert one["options"] == {"event_dispatching_chunk_size": 1_000_000}
    assert two["options"] == given


def test_what_a_config_means_shares_nothing_with_it():
    config = copy.deepcopy(FULL)
    effective = with_defaults(config, "cluster1")
    effective["realms"][0]["roles"].clear()
    effective["transport"]["rawsocket"]["auth"].clear()
    assert config == FULL


@pytest.mark.parametrize("kind", ["websocket", "universal"])
def test_every_default_transport_is_good(kind):
    transport = default_transport(kind)
    assert transport["type"] == kind
    assert check_config({"realms": [default_realm("realm1")], "transport": transport}) == []


def test_a_universal_default_speaks_what_the_plain_one_speaks_and_rawsocket():
    plain = default_transport("websocket")
    assert default_transport("universal") == {
        "type": "universal",
        "rawsocket": {key: value for key, value in plain.items() if key != "type"},
        "websocket": {"ws": plain},
    }
