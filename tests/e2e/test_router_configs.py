"""Crossbar.io itself agrees with what `check_config` says of configurations.

Crossbar.io's checker runs in a process of its own, which answers one line for each configuration. It does not look at
proxy workers at all, so the transport is given to it once more, as a proxy worker does when it starts to listen. And
because it passes much that then fails to start, a node is started with every accepted transport at once.
"""

import copy
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controlplane.core.router_configs import check_config, default_realm, default_transport, with_defaults
from tests.certificates import self_signed

CROSSBAR = Path(sys.executable).with_name("crossbar")
START_SECONDS_MAX = 90
CHECKER = """
import json, os, sys
answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)
import copy
import txaio
txaio.use_twisted()
from autobahn.wamp.message import identify_realm_name_category
from crossbar.edge.personality import Personality as Edge
from crossbar.personality import Personality as Standalone
answers.write("ready\\n")
for line in sys.stdin:
    complaint = None
    try:
        for personality in (Standalone, Edge):
            config = json.loads(line)
            personality.check_config(personality, config)
            routers, proxy = config["workers"]
            for transport in proxy["transports"]:
                personality.check_router_transport(personality, transport)
            for realm in routers["realms"]:
                assert identify_realm_name_category(realm["name"]) is not None, "not a realm name"
    except Exception as error:
        complaint = f"{type(error).__name__}: {error}"
    answers.write(json.dumps(complaint) + "\\n")
"""


class Checker:
    """Crossbar.io's own checker, as a process."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", CHECKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout.readline() == "ready\n"

    def complaint(self, config):
        self.process.stdin.write(json.dumps(node_of(config)) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)


@pytest.fixture(scope="module")
def checker():
    checker = Checker()
    yield checker
    checker.close()


def node_config(realms, transports, directory="/tmp"):
    """Write a node as the router driver makes it: one router worker with the realms, one frontend."""
    inner = {"type": "unix", "path": f"{directory}/back.sock"}
    link = {"type": "rawsocket", "serializer": "cbor", "url": "rs://127.0.0.1", "endpoint": inner}
    listening = {"type": "rawsocket", "serializers": ["cbor"], "endpoint": inner, "auth": TRUSTING}
    sound = realms if check_config({"realms": realms, "transport": NOBODY}) == [] else []
    router = {"type": "router", "id": "back0", "realms": realms, "transports": [listening]}
    proxy = {
        "type": "proxy",
        "id": "front0",
        "connections": {"conn0": {"transport": link, "auth": TRUSTING}},
        "routes": {realm["name"]: {role["name"]: "conn0" for role in realm["roles"]} for realm in sound},
        "transports": transports,
    }
    controller = {"id": "testnode", "options": {"shutdown": ["shutdown_on_shutdown_requested"]}}
    return {"version": 2, "controller": controller, "workers": [router, proxy]}


def node_of(config):
    """Write a node for one configuration, good or bad, without making it any better."""
    given = copy.deepcopy(config)
    transport = given.get("transport", default_transport())
    if isinstance(transport, dict):
        place(transport, 8080)
    return node_config(given.get("realms", [default_realm("cluster")]), [transport])


def node_of_all(configs, ports, directory):
    """Write a node that has the realms and the transports of many configurations."""
    effective = [with_defaults(config, "cluster") for config in configs]
    realms = {realm["name"]: realm for config in effective for realm in config["realms"]}
    for config, port in zip(effective, ports, strict=True):
        place(config["transport"], port)
    return node_config(list(realms.values()), [config["transport"] for config in effective], directory)


def place(transport, port):
    """Do what the driver does for an endpoint without port."""
    endpoint = transport.setdefault("endpoint", {"type": "tcp"})
    if isinstance(endpoint, dict) and endpoint.get("type") == "tcp":
        endpoint.setdefault("port", port)
        endpoint.setdefault("shared", True)


TRUSTING = {"anonymous-proxy": {"type": "static"}}
KEY = "ab" * 32
ALL = {"call": True, "register": True, "publish": True, "subscribe": True}
NOBODY = {"type": "rawsocket", "auth": {"ticket": {"type": "static", "principals": {}}}}
REALM = {
    "name": "realm1",
    "roles": [
        {"name": "anonymous", "permissions": [{"uri": "", "match": "prefix", "allow": ALL, "cache": True}]},
        {"name": "user", "permissions": [{"uri": "com.example.*", "allow": ALL}]},
        {"name": "service", "permissions": [{"uri": "auth.", "match": "prefix", "allow": {"call": True}}]},
    ],
}
SCRAM = {"kdf": "argon2id-13", "iterations": 4096, "memory": 512, "salt": "ab" * 16}
STATIC = {
    "anonymous": {"type": "static", "role": "anonymous"},
    "ticket": {"type": "static", "principals": {"joe": {"ticket": "sesame", "role": "user"}}},
    "wampcra": {
        "type": "static",
        "users": {"joe": {"secret": "s", "role": "user", "salt": "x", "iterations": 100, "keylen": 32}},
        "default-role": "user",
    },
    "scram": {
        "type": "static",
        "principals": {"joe": {**SCRAM, "stored-key": KEY, "server-key": KEY, "role": "user"}},
    },
    "cryptosign": {
        "type": "static",
        "principals": {"joe@x.org": {"authorized_keys": [KEY], "role": "user", "realm": "realm1"}},
    },
}
DYNAMIC = {"type": "dynamic", "authenticator": "auth.login", "authenticator-role": "service"}


def websocket(**more):
    return {"type": "websocket", "auth": STATIC, **more}


def rawsocket(**more):
    return {"type": "rawsocket", "auth": STATIC, **more}


def web(**paths):
    return {"type": "web", "paths": paths}


def options(**more):
    return websocket(options=more)


def endpoint(**more):
    return rawsocket(endpoint={"type": "tcp", **more})


def auth(**more):
    return rawsocket(auth={**STATIC, **more})


def permission(**more):
    return {"realms": [{"name": "realm1", "roles": [{"name": "anonymous", "permissions": [{"uri": "a.b", **more}]}]}]}


def realm(name, **more):
    return {"realms": [{**REALM, "name": name, **more}]}


def role(**more):
    return {"realms": [{"name": "realm1", "roles": [*REALM["roles"], {"name": "more", **more}]}]}


def accepted(files):
    """Return transports that work, and realms that work; `files` is a folder with a key and a certificate."""
    tls = {"key": f"{files}/key.pem", "certificate": f"{files}/cert.pem"}
    mutual = {**tls, "ca_certificates": [f"{files}/cert.pem"], "chain_certificates": [f"{files}/cert.pem"]}
    certificates = {
        "tls": {"type": "static", "principals": {"x": {"certificate-sha1": ":".join(["AB"] * 20), "role": "user"}}}
    }
    hook = {"type": "webhook", "realm": "realm1", "role": "user", "options": {"topic": "com.example.hook"}}
    caller = {"type": "caller", "realm": "realm1", "role": "user"}
    signed = {
        "key": "k",
        "secret": "s",
        "require_tls": False,
        "require_ip": ["10.0.0.0/8", "::1"],
        "post_body_limit": 1000,
        "timestamp_delta_limit": 0,
        "debug": True,
    }
    transports = {
        "websocket": websocket(),
        "websocket without auth": {"type": "websocket"},
        "websocket with empty auth": {"type": "websocket", "auth": {}},
        "rawsocket": rawsocket(debug=False),
        "all serializers on websocket": websocket(serializers=["cbor", "msgpack", "json", "ubjson"]),
        "all serializers on rawsocket": rawsocket(serializers=["cbor", "msgpack", "json", "ubjson"]),
        "dynamic methods": auth(ticket=DYNAMIC, wampcra={**DYNAMIC, "authenticator-realm": "realm1"}, scram=DYNAMIC),
        "dynamic anonymous": auth(anonymous={**DYNAMIC, "default-role": "user"}, cryptosign=DYNAMIC),
        "anonymous with authid": rawsocket(auth={"anonymous": {"type": "static", "authid": "nobody"}}),
        "no principals": NOBODY,
        "websocket options": options(
            allowed_origins=["https://*.example.org:443", "*"],
            allow_null_origin=False,
            external_port=443,
            enable_hybi10=False,
            open_handshake_timeout=0,
            close_handshake_timeout=1000,
            auto_ping_interval=10_000,
            auto_ping_timeout=5_000,
            auto_ping_size=12,
            auto_ping_restart_on_any_traffic=True,
            max_frame_size=0,
            max_message_size=67_108_864,
            auto_fragment_size=65_536,
            fail_by_drop=True,
            show_server_version=False,
            require_websocket_subprotocol=True,
            compression={"deflate": {"request_max_window_bits": 0, "max_window_bits": 15, "memory_level": 9}},
        ),
        "websocket url": websocket(url="wss://example.org:8443/ws"),
        "rawsocket options": rawsocket(options={"max_message_size": 512}),
        "endpoint options": endpoint(backlog=100, user_timeout=0, interface="127.0.0.1", version=4),
        "localhost": endpoint(interface="localhost"),
        "IPv6": endpoint(interface="::1", version=6),
        "IPv6 with TLS": endpoint(interface="::1", tls=tls),
        "TLS": websocket(endpoint={"type": "tcp", "tls": tls}, max_connections=10),
        "client certificates": rawsocket(endpoint={"type": "tcp", "tls": mutual}, auth={**STATIC, **certificates}),
        "web": {
            **web(
                ws={"type": "websocket", "auth": STATIC},
                info={"type": "nodeinfo"},
                go={"type": "redirect", "url": "https://example.org/x?y=z"},
                data={"type": "json", "value": {"a": [1, None, 2.5]}},
                deep={"type": "path", "paths": {"/": {"type": "json", "value": 1}, "two": {"type": "nodeinfo"}}},
                call={**caller, "options": signed},
                open={**caller, "type": "publisher"},
                hook=hook,
                secret_hook={**hook, "options": {"topic": "a.b", "github_secret": "s", "success_response": ""}},
            ),
            "options": {"hsts": True, "hsts_max_age": 1, "client_timeout": None, "access_log": False},
        },
        "web with a root": web(**{"/": {"type": "redirect", "url": "/x"}}),
        "web with a root beside others": web(ws={"type": "websocket"}, **{"/": {"type": "nodeinfo"}}),
        "web with a websocket at the root": {**web(**{"/": {"type": "websocket"}}), "options": {"client_timeout": 60}},
        "web with a caller at the root": web(**{"/": caller}),
        "universal": {
            "type": "universal",
            "max_connections": 100,
            "rawsocket": {"type": "rawsocket", "auth": STATIC},
            "websocket": {"ws": {"type": "websocket", "auth": STATIC, "serializers": ["json"]}},
            "web": {"type": "web", "paths": {"info": {"type": "nodeinfo"}, "ws2": {"type": "websocket"}}},
        },
        "universal with one protocol": {"type": "universal", "rawsocket": {}},
        "universal default": default_transport("universal"),
    }
    realms = {
        "realm with options": realm(
            "realm2",
            options={"event_dispatching_chunk_size": 1, "uri_check": "loose", "enable_meta_api": False},
        ),
        "realm with an address as its name": realm("com.example@x-y.eth"),
        "realm with an Ethereum address as its name": realm("0x" + "aB" * 20),
        "realm with an authorizer": realm(
            "realm3", roles=[REALM["roles"][0], {"name": "asked", "authorizer": "auth.authorize"}]
        ),
        "realm with patterns": realm(
            "realm4",
            roles=[
                {
                    "name": "anonymous",
                    "permissions": [
                        {"uri": "com.Ä.b", "match": "exact", "disclose": {"caller": True, "publisher": False}},
                        {"uri": "com..get", "match": "wildcard"},
                        {"uri": "org.*.get.*"},
                        {"uri": "..x", "match": "wildcard"},
                        {"uri": "*"},
                        {"uri": "a.b*", "allow": {}},
                    ],
                },
                {"name": "A-b.c@d:e", "permissions": []},
            ],
        ),
    }
    both = {name: {"realms": [REALM], "transport": transport} for name, transport in transports.items()}
    return {"defaults": {}, "only a transport": {"transport": default_transport()}, **both, **realms}


ACCEPTED = accepted("/files")

REFUSED_BY_BOTH = {
    "unknown key of a transport": {"transport": websocket(authh={})},
    "unknown type of a transport": {"transport": {"type": "websockets"}},
    "transport without type": {"transport": {"auth": {}}},
    "transport that is a list": {"transport": []},
    "realms that are an object": {"realms": {}},
    "realm name too short": realm("r1"),
    "realm name with a space": realm("realm 1"),
    "realm name that is a number": realm(5),
    "unknown realm option": realm("realm1", options={"x": 1}),
    "chunk size of zero": realm("realm1", options={"event_dispatching_chunk_size": 0}),
    "meta API that is a text": realm("realm1", options={"enable_meta_api": "yes"}),
    "permissions and authorizer": role(permissions=[], authorizer="a.b"),
    "authorizer that is no URI": role(authorizer="A b"),
    "permissions that are an object": role(permissions={}),
    "permission without URI": role(permissions=[{"match": "prefix"}]),
    "URI with a space": permission(uri="a b"),
    "unknown match": permission(match="suffix"),
    "unknown right": permission(allow={"read": True}),
    "right that is a number": permission(allow={"call": 1}),
    "unknown disclosure": permission(disclose={"callee": True}),
    "cache that is a text": permission(cache="yes"),
    "unknown key of a permission": permission(allowed={}),
    "unknown method": {"transport": auth(oauth={"type": "static"})},
    "method without type": {"transport": auth(ticket={"principals": {}})},
    "method of unknown type": {"transport": auth(ticket={"type": "statics", "principals": {}})},
    "ticket without principals": {"transport": auth(ticket={"type": "static"})},
    "principal without ticket": {"transport": auth(ticket={"type": "static", "principals": {"x": {"role": "user"}}})},
    "principal with unknown key": {
        "transport": auth(ticket={"type": "static", "principals": {"x": {"ticket": "x", "role": "user", "roles": []}}})
    },
    "user without secret": {"transport": auth(wampcra={"type": "static", "users": {"x": {"role": "user"}}})},
    "keys that are a number": {
        "transport": auth(cryptosign={"type": "static", "principals": {"x": {"authorized_keys": 5, "role": "user"}}})
    },
    "unknown derivation": {
        "transport": auth(
            scram={
                "type": "static",
                "principals": {"x": {**SCRAM, "kdf": "md5", "role": "user", "stored-key": KEY, "server-key": KEY}},
            }
        )
    },
    "dynamic without authenticator": {"transport": auth(ticket={"type": "dynamic", "authenticator-role": "user"})},
    "authenticator that is no URI": {"transport": auth(ticket={**DYNAMIC, "authenticator": "A B"})},
    "unknown key of anonymous": {"transport": rawsocket(auth={"anonymous": {"type": "static", "roles": []}})},
    "anonymous by function": {"transport": rawsocket(auth={"anonymous": {"type": "function", "create": "a.b"}})},
    "auth that is a list": {"transport": rawsocket(auth=[])},
    "auth of null": {"transport": rawsocket(auth=None)},
    "unknown type of endpoint": {"transport": rawsocket(endpoint={"type": "udp"})},
    "endpoint without type": {"transport": rawsocket(endpoint={"port": 80})},
    "port 0": {"transport": endpoint(port=0)},
    "port 65536": {"transport": endpoint(port=65536)},
    "port that is a float": {"transport": endpoint(port=80.5)},
    "backlog 0": {"transport": endpoint(backlog=0)},
    "interface that is a number": {"transport": endpoint(interface=1)},
    "IP version 5": {"transport": endpoint(version=5)},
    "TLS without certificate": {"transport": endpoint(tls={"key": "/k"})},
    "unknown key of TLS": {"transport": endpoint(tls={"key": "/k", "certificate": "/c", "versions": []})},
    "unknown serializer on rawsocket": {"transport": rawsocket(serializers=["xml"])},
    "flatbuffers on rawsocket": {"transport": rawsocket(serializers=["flatbuffers"])},
    "serializers that are a number": {"transport": websocket(serializers=5)},
    "message size too small": {"transport": rawsocket(options={"max_message_size": 511})},
    "message size too large": {"transport": rawsocket(options={"max_message_size": 16 * 2**20 + 1})},
    "websocket message size too large": {"transport": options(max_message_size=64 * 2**20 + 1)},
    "unknown websocket option": {"transport": options(auto_ping=True)},
    "half a second": {"transport": options(auto_ping_interval=500)},
    "ping size 11": {"transport": options(auto_ping_size=11)},
    "window of 8 bits": {"transport": options(compression={"deflate": {"max_window_bits": 8}})},
    "memory level 0": {"transport": options(compression={"deflate": {"memory_level": 0}})},
    "unknown compression": {"transport": options(compression={"bzip2": {}})},
    "connections of 0": {"transport": websocket(max_connections=0)},
    "url of http": {"transport": websocket(url="http://example.org")},
    "url with a fragment": {"transport": websocket(url="ws://example.org/#x")},
    "web without paths": {"transport": {"type": "web"}},
    "path with a slash": {"transport": web(**{"a/b": {"type": "nodeinfo"}})},
    "service without type": {"transport": web(a={})},
    "service of unknown type": {"transport": web(a={"type": "php"})},
    "service 'none'": {"transport": web(a={"type": "none"})},
    "service 'upload'": {"transport": web(a={"type": "upload"})},
    "json without value": {"transport": web(a={"type": "json"})},
    "redirect without url": {"transport": web(a={"type": "redirect"})},
    "caller without role": {"transport": web(a={"type": "caller", "realm": "realm1"})},
    "body limit too large": {
        "transport": web(
            a={"type": "caller", "realm": "realm1", "role": "user", "options": {"post_body_limit": 2**20 + 1}}
        )
    },
    "webhook without options": {"transport": web(a={"type": "webhook", "realm": "realm1", "role": "user"})},
    "unknown web option": {"transport": {**web(a={"type": "nodeinfo"}), "options": {"timeout": 1}}},
    "client timeout 0": {"transport": {**web(a={"type": "nodeinfo"}), "options": {"client_timeout": 0}}},
    "universal with an unknown protocol": {"transport": {"type": "universal", "rawsocket": {}, "http": {}}},
    "endpoint in a part of universal": {
        "transport": {"type": "universal", "rawsocket": {"endpoint": {"type": "tcp", "port": 80}}}
    },
    "connections in a part of universal": {"transport": {"type": "universal", "rawsocket": {"max_connections": 5}}},
    "websocket of universal without type": {"transport": {"type": "universal", "websocket": {"ws": {}}}},
    "cookie without store type": {"transport": websocket(cookie={"store": {}})},
}

STRICTER = {
    "a realm must have roles, or nobody can join it": {"realms": [{"name": "realm1", "roles": []}]},
    "two realms cannot have one name": {"realms": [REALM, REALM]},
    "two roles cannot have one name; the second fails to start": role(name="user", permissions=[]),
    "role names are not any text": role(name="a b", permissions=[]),
    "the role trusted fails to start": role(name="trusted", permissions=[]),
    "the role rlink is treated as a router": role(name="rlink", permissions=[]),
    "a role without rights says nothing": role(),
    "rights by default are undocumented": role(permissions=[], **{"allow-by-default": True}),
    "ids are given by the control plane": realm("realm1", id="rlm1"),
    "event history does not work": realm("realm1", store={"type": "memory"}),
    "links lose errors": realm("realm1", rlinks=[]),
    "inventories are files": realm("realm1", inventory={}),
    "unknown keys of a realm are passed over": realm("realm1", permissions=[]),
    "unknown keys of a role are passed over": role(permissions=[], disclose={}),
    "any text passes as a URI check": realm("realm1", options={"uri_check": "lose"}),
    "the management of the node is ours": realm("realm1", options={"bridge_meta_api": True}),
    "only authorizers, and nobody to register one": realm("realm1", roles=[{"name": "anonymous", "authorizer": "a.b"}]),
    "validation needs an inventory": permission(validate={"call": "x"}),
    "a star beside match is a letter": permission(uri="a.*", match="prefix"),
    "a star in a part": permission(uri="a.b*.c"),
    "a wildcard at the beginning is never heeded": permission(uri="*.x"),
    "a wildcard beside capital letters is never heeded": permission(uri="a..B", match="wildcard"),
    "an exact URI with an empty part acts as a wildcard": permission(uri="a..b", match="exact"),
    "an empty exact URI matches nothing": permission(uri=""),
    "a URI given twice": role(permissions=[{"uri": "a"}, {"uri": "a", "match": "prefix"}]),
    "wildcards with one beginning": role(permissions=[{"uri": "a.*.b"}, {"uri": "a..c", "match": "wildcard"}]),
    "a role that no realm has": {
        "transport": auth(ticket={"type": "static", "principals": {"x": {"ticket": "y", "role": "usr"}}})
    },
    "no role and no default": {
        "transport": auth(ticket={"type": "static", "principals": {"x": {"ticket": "y"}}}),
    },
    "an empty ticket": {
        "transport": auth(ticket={"type": "static", "principals": {"x": {"ticket": "", "role": "user"}}}),
    },
    "a ticket from the environment": {
        "transport": auth(ticket={"type": "static", "principals": {"x": {"ticket": "${HOME}", "role": "user"}}}),
    },
    "a key that is not hexadecimal": {
        "transport": auth(
            cryptosign={"type": "static", "principals": {"x": {"authorized_keys": ["abc"], "role": "user"}}}
        ),
    },
    "capital letters in a key match no client": {
        "transport": auth(
            cryptosign={"type": "static", "principals": {"x": {"authorized_keys": [KEY.upper()], "role": "user"}}}
        ),
    },
    "a realm that is not there": {
        "transport": auth(
            cryptosign={
                "type": "static",
                "principals": {"x": {"authorized_keys": [KEY], "role": "user", "realm": "realm2"}},
            }
        ),
    },
    "half of the salting is ignored": {
        "transport": auth(wampcra={"type": "static", "users": {"x": {"secret": "s", "role": "user", "salt": "x"}}}),
    },
    "trust roots are files": {"transport": auth(cryptosign={"type": "static", "trustroots": {}})},
    "functions are code": {"transport": auth(ticket={"type": "function", "create": "a.b"})},
    "the realm of anonymous is ignored": {
        "transport": auth(anonymous={"type": "static", "realm": "realm1"}),
    },
    "an authenticator without role never works": {
        "transport": auth(ticket={"type": "dynamic", "authenticator": "auth.login"}),
    },
    "an authenticator in a role that is not there": {
        "transport": auth(ticket={**DYNAMIC, "authenticator-role": "trusted"}),
    },
    "nobody to register the authenticator": {"transport": rawsocket(auth={"ticket": DYNAMIC})},
    "certificates that nobody asks for": {
        "transport": auth(tls={"type": "static", "principals": {}}),
    },
    "cookies are kept by one frontend": {
        "transport": websocket(cookie={"store": {"type": "memory"}}),
    },
    "logins by cookie": {"transport": auth(cookie={"type": "static"})},
    "anonymous-proxy is for frontends": {
        "transport": auth(**{"anonymous-proxy": {"type": "static"}}),
    },
    "cryptosign-proxy is for frontends": {
        "transport": auth(**{"cryptosign-proxy": {"type": "static", "principals": {}}}),
    },
    "anonymous clients without a role": {
        "realms": [{**REALM, "roles": REALM["roles"][1:]}],
        "transport": {"type": "websocket"},
    },
    "the default transport without a role": {"realms": [{**REALM, "roles": REALM["roles"][1:]}]},
    "unix endpoints": {"transport": rawsocket(endpoint={"type": "unix", "path": "x"})},
    "twisted endpoints": {
        "transport": rawsocket(endpoint={"type": "twisted", "server_string": "x"}),
    },
    "ports that are not shared": {"transport": endpoint(shared=False)},
    "port ranges": {"transport": endpoint(portrange=[8000, 9000])},
    "a version that does not fit": {"transport": endpoint(version=6)},
    "a host name as interface": {"transport": endpoint(interface="example.org")},
    "numbers that are true": {"transport": endpoint(backlog=True)},
    "a file of TLS with a relative path": {
        "transport": endpoint(tls={"key": "k", "certificate": "/c"}),
    },
    "ciphers are ignored": {
        "transport": endpoint(tls={"key": "/k", "certificate": "/c", "ciphers": "x"}),
    },
    "flatbuffers fail to start": {"transport": websocket(serializers=["flatbuffers"])},
    "unknown serializers fail to start": {"transport": websocket(serializers=["xml"])},
    "no serializer fails to start": {"transport": websocket(serializers=[])},
    "an origin that is a number fails to start": {"transport": options(allowed_origins=[1])},
    "an origin that is no expression fails to start": {"transport": options(allowed_origins=["["])},
    "a url with a query fails to start": {"transport": websocket(url="ws://example.org/?x=y")},
    "no protocol version": {"transport": options(enable_hybi10=False, enable_rfc6455=False)},
    "Flash": {"transport": options(enable_flash_policy=True)},
    "a fragment size below zero": {"transport": options(auto_fragment_size=-1)},
    "MQTT": {"transport": {"type": "mqtt", "options": {"realm": "realm1"}}},
    "MQTT in universal": {
        "transport": {"type": "universal", "rawsocket": {}, "mqtt": {"options": {"realm": "realm1"}}},
    },
    "universal without protocols": {"transport": {"type": "universal"}},
    "universal with a WebSocket at the root": {
        "transport": {"type": "universal", "websocket": {"/": {"type": "websocket"}}},
    },
    "universal ignores web options": {
        "transport": {"type": "universal", "web": {"paths": {"a": {"type": "nodeinfo"}}, "options": {}}},
    },
    "a web path hidden by a WebSocket": {
        "transport": {
            "type": "universal",
            "websocket": {"a": {"type": "websocket"}},
            "web": {"paths": {"a": {"type": "nodeinfo"}}},
        },
    },
    "static files": {"transport": web(a={"type": "static", "directory": "x"})},
    "WSGI": {"transport": web(a={"type": "wsgi", "module": "x", "object": "y"})},
    "CGI": {"transport": web(a={"type": "cgi", "directory": "x", "processor": "y"})},
    "resources": {"transport": web(a={"type": "resource", "classname": "x"})},
    "long polling knows no authentication": {"transport": web(a={"type": "longpoll"})},
    "reverse proxies": {"transport": web(a={"type": "reverseproxy", "host": "x", "port": 80})},
    "json ignores its options": {"transport": web(a={"type": "json", "value": 1, "options": {}})},
    "json does not answer at the root": {"transport": web(**{"/": {"type": "json", "value": 1}})},
    "nodeinfo at a nested root answers for all": {
        "transport": web(a={"type": "path", "paths": {"/": {"type": "nodeinfo"}, "ws": {"type": "websocket"}}})
    },
    "paths at the root belong beside it": {
        "transport": web(**{"/": {"type": "path", "paths": {"ws": {"type": "websocket"}}}})
    },
    "a key without a secret": {
        "transport": web(a={"type": "caller", "realm": "realm1", "role": "user", "options": {"key": "x"}}),
    },
    "a network that is none fails to start": {
        "transport": web(a={"type": "caller", "realm": "realm1", "role": "user", "options": {"require_ip": ["x"]}}),
    },
    "a webhook without topic": {
        "transport": web(a={"type": "webhook", "realm": "realm1", "role": "user", "options": {}}),
    },
    "a service in a role that is not there": {
        "transport": web(a={"type": "caller", "realm": "realm1", "role": "usr"}),
    },
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_we_accept_crossbar_accepts(checker, name):
    assert check_config(ACCEPTED[name]) == []
    assert checker.complaint(ACCEPTED[name]) is None


@pytest.mark.parametrize("name", REFUSED_BY_BOTH)
def test_what_crossbar_refuses_we_refuse(checker, name):
    config = {"realms": [REALM], **REFUSED_BY_BOTH[name]}
    assert checker.complaint(config) is not None
    assert len(check_config(config)) == 1


@pytest.mark.parametrize("name", STRICTER)
def test_where_we_are_stricter_it_is_on_purpose(checker, name):
    config = {"realms": [REALM], **STRICTER[name]}
    assert checker.complaint(config) is None
    found = check_config(config)
    assert 1 <= len(found) <= 2
    assert name.startswith("unknown") or "unknown key" not in str(found)


def test_the_shipped_checker_says_the_same(tmp_path):
    """The process above is the checker that `crossbar check` runs."""
    good = node_of_all(ACCEPTED.values(), range(9000, 9000 + len(ACCEPTED)), tmp_path)
    bad = copy.deepcopy(good)
    bad["workers"][0]["realms"][0]["roles"][0]["permissions"][0]["allow"] = {"call": 1}
    for config, code in ((good, 0), (bad, 1)):
        (tmp_path / "config.json").write_text(json.dumps(config))
        ran = subprocess.run([CROSSBAR, "check", "--cbdir", tmp_path], capture_output=True, text=True, timeout=60)
        assert ran.returncode == code, ran.stdout + ran.stderr


JUNK = [
    *(None, True, False, 0, -1, 1, 5, 3.5, 70_000, 2**40),
    *("", " ", "x", "a b", "a..b", "*", "trusted", "static", "dynamic", "websocket", "path", "nodeinfo", "user", "/"),
    *("${HOME}", "é\n", "ws://a:99999", "0" * 64, [], [1], ["x"], {}, {"type": "static"}, {"type": "tcp"}, {"x": 1}),
]
EXTRA_KEYS = ["id", "type", "name", "options", "role", "realm", "cookie", "auth", "debug", "x", "/", "default-role"]


def places(value, path=()):
    """Return the paths of everything inside a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, item in items for found in ((*path, key), *places(item, (*path, key)))]


@st.composite
def spoiled_configs(draw):
    """Take an accepted configuration and change one to three things in it."""
    config = copy.deepcopy(draw(st.sampled_from(list(ACCEPTED.values()))))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(config) or [("transport",)]))
        holder = config
        for key in path[:-1]:
            holder = holder[key]
        change = draw(st.sampled_from(["replace", "remove", "add", "repeat"]))
        junk = copy.deepcopy(draw(st.sampled_from(JUNK)))
        if change == "remove" and isinstance(holder, dict):
            holder.pop(path[-1], None)
        elif change == "add" and isinstance(holder, dict):
            holder[draw(st.sampled_from(EXTRA_KEYS))] = junk
        elif change == "repeat" and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[path[-1]]))
        else:
            holder[path[-1]] = junk
    return config


@settings(max_examples=1_500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(config=spoiled_configs())
def test_nothing_that_we_accept_is_refused_by_crossbar(checker, config):
    problems = check_config(config)
    assert problems or checker.complaint(config) is None


def test_every_accepted_transport_listens_in_a_running_node(tmp_path):
    write_certificate(tmp_path)
    configs = list(accepted(tmp_path).values())
    ports = free_ports(len(configs))
    node = node_of_all(configs, ports, tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(node))
    log = tmp_path / "node.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [CROSSBAR, "start", "--cbdir", tmp_path, "--loglevel", "warn"],
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        end = time.monotonic() + START_SECONDS_MAX
        endpoints = [transport["endpoint"] for transport in node["workers"][1]["transports"]]
        closed = {(endpoint["port"], endpoint.get("interface", "127.0.0.1")) for endpoint in endpoints}
        while closed:
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < end, (closed, log.read_text()[-3000:])
            closed = {(port, interface) for port, interface in closed if not is_open(port, interface)}
            time.sleep(0.2)
        assert "Could not start" not in log.read_text()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def is_open(port, interface):
    try:
        socket.create_connection((interface, port), timeout=1).close()
    except OSError:
        return False
    return True


def free_ports(count):
    sockets = [socket.create_server(("", 0)) for _ in range(count)]
    ports = [held.getsockname()[1] for held in sockets]
    for held in sockets:
        held.close()
    return ports


def write_certificate(directory):
    made = self_signed()
    (directory / "key.pem").write_bytes(made.key)
    (directory / "cert.pem").write_bytes(made.certificate)
