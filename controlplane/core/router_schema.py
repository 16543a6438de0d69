"""What the configuration of a router cluster may hold: Crossbar.io's own format, less what a cluster cannot honour.

A cluster is proxy workers before router workers, on machines that hold no files of the user's and run no code of the
user's. So a key that Crossbar.io knows is refused, with the reason, when it needs such files or code, when one worker
could not share its effect with the next, or when Crossbar.io accepts it and then does not do it. The facts are those of
Crossbar.io 26.10.1: its checker, its sources, and what it did when it was run.
"""

import ipaddress
import re
from collections.abc import Iterator
from typing import Any

from controlplane.core.router_listening import (
    ENDPOINT,
    LIST_ITEMS_MAX,
    NO_COOKIES,
    NO_FLASH,
    RAWSOCKET,
    WEBSOCKET,
    WEBSOCKET_REFUSED,
)
from controlplane.core.router_rights import (
    ID_GIVEN,
    NUMBER_MAX,
    realms,
    reference,
    uri_characters,
    whole_uri,
)
from controlplane.core.router_shapes import (
    Shape,
    Table,
    Variants,
    anything,
    at,
    each,
    entries,
    flag,
    not_empty,
    one_of,
    shown,
    text,
    whole,
)
from controlplane.errors import Problem

POST_BYTES_MAX = 2**20
DAY_S = 86_400

LEAVES = ("websocket", "redirect", "nodeinfo", "caller", "publisher", "webhook")
"""Web services that answer for every path below their own. At the top the driver sees to it that they do not."""

_PATH_NAME = re.compile(r"[A-Za-z0-9_-]+")
_NEEDS_FILES = "needs files on the edge machine"
_NEEDS_CODE = "needs code on the edge machine"
_REACHES_INSIDE = "would reach services that trust whoever reaches them from the edge machine"


# What a web transport serves.


def _path_name(value: str) -> str | None:
    if value == "/" or _PATH_NAME.fullmatch(value):
        return None
    return "must be letters, digits, '_' and '-', or '/' alone; for deeper paths take the type 'path'"


def _printable_url(value: str) -> str | None:
    good = value.isascii() and value.isprintable() and " " not in value
    return None if good else "must be a URL of ASCII characters without spaces"


def _network(value: str) -> str | None:
    try:
        ipaddress.ip_network(value)
    except ValueError:
        return f"must be a network like '10.0.0.0/8', without bits beyond its mask, not {shown(value)}"
    return None


def _ascii(value: str) -> str | None:
    return None if value.isascii() else "must be ASCII"


def _key_and_secret(value: dict[str, Any], path: str) -> Iterator[Problem]:
    if ("key" in value) != ("secret" in value):
        yield Problem(path, "signed requests need both 'key' and 'secret'")


_SIGNED = Table(
    optional={
        "debug": flag,
        "key": text(not_empty),
        "secret": text(not_empty),
        "require_tls": flag,
        "require_ip": each(text(_network), lowest=1, highest=LIST_ITEMS_MAX),
        "post_body_limit": whole(0, POST_BYTES_MAX),
        "timestamp_delta_limit": whole(0, DAY_S),
    },
    also=_key_and_secret,
)
_HOOK = Table(
    required={"topic": text(uri_characters, whole_uri)},
    optional={
        "debug": flag,
        "post_body_limit": whole(0, POST_BYTES_MAX),
        "success_response": text(),
        "error_response": text(),
        "github_secret": text(not_empty, _ascii),
    },
)


def _bridge(required: dict[str, Shape], optional: dict[str, Shape]) -> Table:
    return Table(
        required={"type": anything, "realm": reference, "role": reference, **required},
        optional=optional,
        refused={"id": ID_GIVEN},
    )


def _nested_paths(value: Any, path: str) -> Iterator[Problem]:
    yield from _paths(value, path, at_top=False)


_NO_OPTIONS = "Crossbar.io ignores the options of this service"
_SERVICE = Variants(
    {
        "websocket": Table(required={"type": anything}, optional=WEBSOCKET, refused=WEBSOCKET_REFUSED),
        "json": Table(required={"type": anything, "value": anything}, refused={"id": ID_GIVEN, "options": _NO_OPTIONS}),
        "redirect": Table(
            required={"type": anything, "url": text(not_empty, _printable_url)}, refused={"id": ID_GIVEN}
        ),
        "nodeinfo": Table(required={"type": anything}, refused={"id": ID_GIVEN}),
        "path": Table(required={"type": anything, "paths": _nested_paths}, refused={"id": ID_GIVEN}),
        "caller": _bridge({}, {"options": _SIGNED}),
        "publisher": _bridge({}, {"options": _SIGNED}),
        "webhook": _bridge({"options": _HOOK}, {}),
    },
    refused={
        "archive": _NEEDS_FILES,
        "catalog": _NEEDS_FILES,
        "cgi": "runs programs of the edge machine",
        "longpoll": "lets everybody in as anonymous: Crossbar.io knows no authentication for it",
        "none": "Crossbar.io cannot check this type",
        "pairme": "pairs the machine with a master; here the agent has done so",
        "resource": _NEEDS_CODE,
        "reverseproxy": _REACHES_INSIDE,
        "static": f"{_NEEDS_FILES} and would serve any of its files; serve them from a web server",
        "upload": "writes files on the edge machine",
        "wap": _NEEDS_FILES,
        "websocket-reverseproxy": _REACHES_INSIDE,
        "wsgi": _NEEDS_CODE,
    },
)


def _paths(value: Any, path: str, *, at_top: bool) -> Iterator[Problem]:
    yield from entries(_SERVICE, named=_path_name, lowest=1, highest=LIST_ITEMS_MAX)(value, path)
    root = value.get("/") if isinstance(value, dict) else None
    kind = root.get("type") if isinstance(root, dict) else None
    if kind == "path":
        yield Problem(at(path, "/"), "is not needed: give its paths beside it")
    elif kind == "json" and at_top:
        yield Problem(at(path, "/"), "Crossbar.io does not answer at '/' with this type; give it a name")
    elif kind in LEAVES and len(value) > 1 and not at_top:
        yield Problem(at(path, "/"), f"a service of type '{kind}' at '/' would answer for all the other paths, too")


def _top_paths(value: Any, path: str) -> Iterator[Problem]:
    yield from _paths(value, path, at_top=True)


_WEB_OPTIONS = Table(
    optional={
        "access_log": flag,
        "display_tracebacks": flag,
        "hsts": flag,
        "hsts_max_age": whole(0, NUMBER_MAX),
        "client_timeout": lambda value, path: iter(()) if value is None else whole(1, DAY_S)(value, path),
    }
)


# Transports, and the whole.


def _universal_name(value: str) -> str | None:
    if value == "/":
        return "must not be '/': Crossbar.io looks for a first part of the path"
    return _path_name(value)


def _some_protocol(value: dict[str, Any], path: str) -> Iterator[Problem]:
    if not any(key in value for key in ("rawsocket", "websocket", "web")):
        yield Problem(path, "speaks no protocol; give 'rawsocket', 'websocket' or 'web'")
    sockets, web = value.get("websocket"), value.get("web")
    paths = web.get("paths") if isinstance(web, dict) else None
    if isinstance(sockets, dict) and isinstance(paths, dict):
        for name in sockets:
            if isinstance(name, str) and name in paths:
                yield Problem(at(at(at(path, "web"), "paths"), name), "is hidden by the WebSocket of this name")


def _transport(
    required: dict[str, Shape], optional: dict[str, Shape], refused: dict[str, str], also: Shape = anything
) -> Table:
    return Table(
        required={"type": anything, **required},
        optional={"endpoint": ENDPOINT, "max_connections": whole(1, NUMBER_MAX), **optional},
        refused={"id": ID_GIVEN, **refused},
        also=also,
    )


_IN_UNIVERSAL = "belongs to the transport as a whole"
_PARTIAL = {"id": ID_GIVEN, "endpoint": _IN_UNIVERSAL, "max_connections": _IN_UNIVERSAL}
_UNIVERSAL: dict[str, Shape] = {
    "rawsocket": Table(optional={"type": one_of("rawsocket"), **RAWSOCKET}, refused=_PARTIAL),
    "websocket": entries(
        Table(required={"type": one_of("websocket")}, optional=WEBSOCKET, refused={**WEBSOCKET_REFUSED, **_PARTIAL}),
        named=_universal_name,
        lowest=1,
        highest=LIST_ITEMS_MAX,
    ),
    "web": Table(
        required={"paths": _top_paths},
        optional={"type": one_of("web")},
        refused={**_PARTIAL, "options": "Crossbar.io ignores the web options of a universal transport"},
    ),
}
_NO_MQTT = "a frontend cannot speak MQTT: it holds no realm"
_TRANSPORT = Variants(
    {
        "websocket": _transport({}, WEBSOCKET, {"cookie": NO_COOKIES}),
        "rawsocket": _transport({}, RAWSOCKET, {}),
        "web": _transport({"paths": _top_paths}, {"options": _WEB_OPTIONS}, {}),
        "universal": _transport({}, _UNIVERSAL, {"mqtt": _NO_MQTT}, _some_protocol),
    },
    refused={
        "mqtt": _NO_MQTT,
        "flashpolicy": NO_FLASH,
        "websocket.testee": "is for tests of WebSocket clients",
        "stream.testee": "is for tests of connections",
    },
)

_NO_WORKERS = "the control plane makes the workers of a cluster itself"
CONFIG: Shape = Table(
    optional={"realms": realms, "transport": _TRANSPORT, "allow_anonymous": flag, "allow_plain_tcp": flag},
    refused={
        "components": "a cluster runs no code of its own; connect components to it as clients",
        "connections": _NO_WORKERS,
        "controller": _NO_WORKERS,
        "manhole": "opens a shell in the worker to whoever holds a key that is built into Crossbar.io",
        "options": "belongs into 'transport' or into one of the 'realms'",
        "rlinks": "links between routers turn errors into results and lose progress and patterns",
        "routes": _NO_WORKERS,
        "transports": "the frontends of a cluster all listen alike; give one 'transport'",
        "type": _NO_WORKERS,
        "version": "is not needed",
        "workers": _NO_WORKERS,
    },
)
"""What a user may give as the configuration of a router cluster."""
