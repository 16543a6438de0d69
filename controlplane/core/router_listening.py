"""Where the frontends of a router cluster listen, and how they talk: the shapes of endpoints and of sockets.

The facts are those of Crossbar.io 26.10.1: its checker, its sources, and what it did when it was run. A key that it
knows is refused, with the reason, where a cluster cannot honour it.
"""

import ipaddress
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from controlplane.core.router_rights import ID_GIVEN, NUMBER_MAX, auth
from controlplane.core.router_shapes import (
    Shape,
    Table,
    Variants,
    anything,
    at,
    each,
    flag,
    matching,
    one_of,
    shown,
    text,
    whole,
)
from controlplane.errors import Problem

PORT_MAX = 65_535
WEBSOCKET_BYTES_MAX = 64 * 1024 * 1024
RAWSOCKET_BYTES = (512, 16 * 1024 * 1024)
MILLISECONDS_MIN = 1_000
"""Below that, Crossbar.io takes a time in milliseconds for a mistake; 0 switches off."""

PING_BYTES = (12, 125)
DEFLATE_WINDOW_BITS = (9, 15)
DEFLATE_MEMORY_LEVEL = (1, 9)
LIST_ITEMS_MAX = 1_000
NO_FLASH = "no browser has Flash any more"


# Where workers listen.


def is_address(value: str) -> bool:
    """Tell whether the text is an IP address, without a zone."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return "%" not in value


def _interface(value: str) -> str | None:
    if value in ("", "localhost") or is_address(value):
        return None
    return f"must be an IP address, 'localhost', or '' for all addresses of a node, not {shown(value)}"


def _only_shared(value: Any, path: str) -> Iterator[Problem]:
    yield from flag(value, path)
    if value is False:
        yield Problem(path, "must be true: the frontends of a node listen on one port together")


def _matching_version(value: dict[str, Any], path: str) -> Iterator[Problem]:
    version, interface = value.get("version"), value.get("interface")
    is_six = isinstance(interface, str) and ":" in interface
    if version in (4, 6) and version != (6 if is_six else 4):
        yield Problem(
            at(path, "version"),
            "has no effect on a shared port; give an IPv4 or an IPv6 address as 'interface' instead",
        )


def _version(value: Any, path: str) -> Iterator[Problem]:
    yield from whole(4, 6)(value, path)
    if value == 5:
        yield Problem(path, "must be 4 or 6, not 5")


_file = text(
    matching(r"/[^\0]+", "the absolute path of a file, which must be the same on every node"),
)
_TLS = Table(
    required={"key": _file, "certificate": _file},
    optional={
        "chain_certificates": each(_file, highest=LIST_ITEMS_MAX),
        "ca_certificates": each(_file, lowest=1, highest=LIST_ITEMS_MAX),
    },
    refused={
        "ciphers": "has no effect: Crossbar.io listens with TLS 1.3 only, where all ciphers are good ones",
        "dhparam": "has no effect: Crossbar.io listens with TLS 1.3 only, which knows no such parameters",
    },
)
_TCP = Table(
    required={"type": anything},
    optional={
        "port": whole(1, PORT_MAX),
        "interface": text(_interface),
        "version": _version,
        "shared": _only_shared,
        "backlog": whole(1, PORT_MAX),
        "user_timeout": whole(0, PORT_MAX),
        "tls": _TLS,
    },
    refused={"portrange": "the frontends of a node share one port; leave it out, and one of the node's is taken"},
    also=_matching_version,
)
ENDPOINT = Variants(
    {"tcp": _TCP},
    refused={
        "unix": "clients of a cluster come over the network; only 'tcp' is possible",
        "onion": "a Tor service needs a key file and a Tor daemon on the edge machine; only 'tcp' is possible",
        "twisted": "a Twisted endpoint cannot be shared by the frontends of a node; only 'tcp' is possible",
    },
)


# How clients talk.

_milliseconds = whole(MILLISECONDS_MIN, NUMBER_MAX, or_zero=True)


def _some_version(value: dict[str, Any], path: str) -> Iterator[Problem]:
    if value.get("enable_hybi10") is False and value.get("enable_rfc6455") is False:
        yield Problem(path, "'enable_hybi10' and 'enable_rfc6455' are both false, so no client could connect")


_DEFLATE = Table(
    optional={
        "request_no_context_takeover": flag,
        "request_max_window_bits": whole(*DEFLATE_WINDOW_BITS, or_zero=True),
        "no_context_takeover": flag,
        "max_window_bits": whole(*DEFLATE_WINDOW_BITS),
        "memory_level": whole(*DEFLATE_MEMORY_LEVEL),
    }
)
_WEBSOCKET_OPTIONS = Table(
    optional={
        "allowed_origins": each(
            text(matching(r"[A-Za-z0-9_.:/*-]+", "an origin, in which '*' stands for anything")),
            highest=LIST_ITEMS_MAX,
        ),
        "external_port": whole(1, PORT_MAX),
        **dict.fromkeys(
            ("open_handshake_timeout", "close_handshake_timeout", "auto_ping_interval", "auto_ping_timeout"),
            _milliseconds,
        ),
        "auto_ping_size": whole(*PING_BYTES),
        **dict.fromkeys(("max_frame_size", "max_message_size", "auto_fragment_size"), whole(0, WEBSOCKET_BYTES_MAX)),
        **dict.fromkeys(
            (
                "allow_null_origin",
                "apply_mask",
                "auto_ping_restart_on_any_traffic",
                "echo_close_codereason",
                "enable_hybi10",
                "enable_rfc6455",
                "enable_webstatus",
                "fail_by_drop",
                "mask_server_frames",
                "require_masked_client_frames",
                "require_websocket_subprotocol",
                "show_server_version",
                "tcp_nodelay",
                "validate_utf8",
            ),
            flag,
        ),
        "compression": Table(optional={"deflate": _DEFLATE}),
    },
    refused={"enable_flash_policy": NO_FLASH, "flash_policy": NO_FLASH},
    also=_some_version,
)


def _websocket_url(value: str) -> str | None:
    try:
        parts = urlsplit(value)
        good = (
            value.isascii()
            and value.isprintable()
            and " " not in value
            and parts.scheme in ("ws", "wss")
            and parts.hostname not in (None, "", "unix")
            and parts.port != 0
            and not parts.query
            and not parts.fragment
        )
    except ValueError:
        good = False
    return None if good else f"must be like 'ws://host:port/path', without '?' and '#', not {shown(value)}"


_serializers = each(one_of("cbor", "msgpack", "json", "ubjson"), lowest=1, highest=LIST_ITEMS_MAX)
NO_COOKIES = "each frontend keeps cookies of its own, so they would mean nothing at the next"
WEBSOCKET: dict[str, Shape] = {
    "url": text(_websocket_url),
    "serializers": _serializers,
    "options": _WEBSOCKET_OPTIONS,
    "auth": auth,
    "debug": flag,
}
RAWSOCKET: dict[str, Shape] = {
    "serializers": _serializers,
    "options": Table(optional={"max_message_size": whole(*RAWSOCKET_BYTES)}),
    "auth": auth,
    "debug": flag,
}
WEBSOCKET_REFUSED = {"id": ID_GIVEN, "cookie": NO_COOKIES}
