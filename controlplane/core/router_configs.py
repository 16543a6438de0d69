"""The configuration of a router cluster: all its problems in one answer, and what it means where parts are missing.

`check_config` looks at a configuration three times: can it be read at all (depth, size, JSON only); is every part of
it what `router_schema` describes; do its parts fit each other, so that every login leads to a role that is there.
"""

import copy
import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from controlplane.core.addresses import is_loopback
from controlplane.core.router_logins import ANONYMOUS, Roles, login_problems, way_in
from controlplane.core.router_schema import CONFIG
from controlplane.core.router_shapes import at, not_a
from controlplane.errors import Problem

DEPTH_MAX = 32
SIZE_BYTES_MAX = 256 * 1024
NUMBER_BITS_MAX = 63
PROBLEMS_MAX = 250
"""Found in one pass; whoever has more is not helped by more."""

TransportType = Literal["websocket", "universal"]
DEFAULT_TRANSPORT_TYPE: TransportType = "websocket"
DEFAULT_SERIALIZERS = ("cbor", "msgpack", "json")
DEFAULT_PATH = "ws"
"""Where the WebSocket of a default universal transport is; at '/' there can be none."""

DEFAULT_REALM_OPTIONS = {"event_dispatching_chunk_size": 1_000_000}
"""Events leave for all subscribers at once. When Crossbar.io sends them in parts, as it does to more than a hundred,
the later parts name the wrong subscription where several match a topic, and it is subscribers who are thrown out."""

TRANSPORT = "$.transport"
SESSION_KEEPERS = frozenset({"dynamic", "caller", "publisher", "webhook"})


def check_config(config: object) -> list[Problem]:
    """Return all that is wrong with a configuration, each with its path; None, for all defaults, is right.

    It takes any value whatsoever, and never raises.
    """
    if config is None:
        return []
    if not isinstance(config, dict):
        return [not_a("an object or null", config, "$")]
    unreadable, measured = _read(config)
    if not measured:
        return unreadable
    found = unreadable
    for look in (CONFIG(config, "$"), _misfits(config)):
        said = {problem.path for problem in found}
        room = PROBLEMS_MAX - len(found)
        found += itertools.islice((problem for problem in look if problem.path not in said), room)
    return found


def listens_open(config: Mapping[str, Any] | None, address: str) -> Problem | None:
    """Return why workers must not listen with this configuration: anybody could get in from other machines.

    `address` is where the workers of the node listen unless the configuration names an interface. Whoever has to show
    a client certificate is not anybody; a web service that acts for its callers asks them for a signature or lets
    everybody in.
    """
    given = {} if config is None else config
    if given.get("allow_anonymous") is True:
        return None
    transport = given["transport"] if "transport" in given else default_transport()
    endpoint = transport.get("endpoint", {})
    listening = endpoint.get("interface", address)
    if is_loopback(listening) or "ca_certificates" in endpoint.get("tls", {}):
        return None
    where = way_in(transport, TRANSPORT)
    if where is None:
        return None
    return Problem(
        where if "transport" in given else TRANSPORT,
        f"lets anybody in, and the workers listen on {listening or 'all addresses'}, beyond this machine; "
        'configure authentication, or say "allow_anonymous": true',
    )


def listens_plainly(config: Mapping[str, Any] | None, address: str) -> Problem | None:
    """Return why workers must not listen with this configuration: what clients send could be read and changed.

    `address` is where the workers of the node listen unless the configuration names an interface.
    """
    given = {} if config is None else config
    endpoint = given.get("transport", {}).get("endpoint", {})
    listening = endpoint.get("interface", address)
    if given.get("allow_plain_tcp") is True or "tls" in endpoint or is_loopback(listening):
        return None
    return Problem(
        at(TRANSPORT, "endpoint") if endpoint else TRANSPORT,
        f"has no TLS, and the workers listen on {listening or 'all addresses'}, beyond this machine; "
        'give its endpoint "tls", or say "allow_plain_tcp": true',
    )


def exposures(config: Mapping[str, Any] | None, address: str) -> list[Problem]:
    """Return all that forbids workers to listen with this configuration where `address` is."""
    return [problem for look in (listens_open, listens_plainly) if (problem := look(config, address)) is not None]


def keeps_sessions(effective: Mapping[str, Any]) -> bool:
    """Say whether frontends with this transport keep sessions of their own at the routers behind them.

    They do for dynamic authenticators and for web services that call or publish. Crossbar.io never renews such a
    session, so that the frontend has to be replaced when the router is (seen in 26.10.1).
    """
    return _keeps_sessions(effective["transport"])


def _keeps_sessions(part: Any) -> bool:
    if isinstance(part, Mapping):
        return part.get("type") in SESSION_KEEPERS or any(_keeps_sessions(inner) for inner in part.values())
    return isinstance(part, list | tuple) and any(_keeps_sessions(inner) for inner in part)


def with_defaults(config: Mapping[str, Any] | None, cluster_name: str) -> dict[str, Any]:
    """Return what a checked configuration means, with everything that it leaves to the control plane.

    Only the port and the address are left open, which are a matter of the node.
    """
    given = {} if config is None else copy.deepcopy(dict(config))
    transport = given.get("transport") or default_transport()
    transport["endpoint"] = {"type": "tcp", **transport.get("endpoint", {}), "shared": True}
    realms = given.get("realms") or [default_realm(cluster_name)]
    return {
        "realms": [{**realm, "options": {**DEFAULT_REALM_OPTIONS, **realm.get("options", {})}} for realm in realms],
        "transport": transport,
        "allow_anonymous": given.get("allow_anonymous", False),
        "allow_plain_tcp": given.get("allow_plain_tcp", False),
    }


def default_realm(name: str) -> dict[str, Any]:
    """Return a realm in which anonymous clients may do everything and stay unnamed."""
    everything = {
        "uri": "",
        "match": "prefix",
        "allow": {"call": True, "register": True, "publish": True, "subscribe": True},
        "disclose": {"caller": False, "publisher": False},
        "cache": True,
    }
    return {"name": name, "roles": [{"name": ANONYMOUS, "permissions": [everything]}]}


def default_transport(kind: TransportType = DEFAULT_TRANSPORT_TYPE) -> dict[str, Any]:
    """Return a transport through which anonymous clients log in."""
    if kind == "universal":
        socket = {"type": "websocket", **_anonymous_login()}
        return {"type": "universal", "rawsocket": _anonymous_login(), "websocket": {DEFAULT_PATH: socket}}
    return {"type": kind, **_anonymous_login()}


def _anonymous_login() -> dict[str, Any]:
    return {
        "serializers": list(DEFAULT_SERIALIZERS),
        "auth": {ANONYMOUS: {"type": "static", "role": ANONYMOUS}},
    }


def _read(config: dict[Any, Any]) -> tuple[list[Problem], bool]:
    """Return what is no JSON in the configuration, and whether the rest of it can be looked at.

    It keeps its own stack, so that no depth can exhaust Python's, and it ends where the limits are passed, so that a
    list that holds itself ends as well.
    """
    problems: list[Problem] = []
    size = 0
    waiting: list[tuple[str, Any, int]] = [("$", config, 0)]
    while waiting and len(problems) < PROBLEMS_MAX:
        path, value, depth = waiting.pop()
        if isinstance(value, dict | list) and depth >= DEPTH_MAX:
            return [Problem(path, f"is nested more than {DEPTH_MAX} deep")], False
        texts = [value] if isinstance(value, str) else []
        if isinstance(value, dict):
            texts = [key for key in value if isinstance(key, str)]
            if len(texts) < len(value):
                problems.append(Problem(path, "has a key that is not a text"))
        size += 1 + (len(value) if isinstance(value, dict | list) else 0) + sum(_encoded_size(text) for text in texts)
        if size > SIZE_BYTES_MAX:
            return [Problem("$", f"is larger than {SIZE_BYTES_MAX // 1024} KiB")], False
        if isinstance(value, dict):
            children = [(at(path, key), item, depth + 1) for key, item in value.items() if isinstance(key, str)]
            waiting.extend(reversed(children))
        elif isinstance(value, list):
            waiting.extend((at(path, index), value[index], depth + 1) for index in reversed(range(len(value))))
        problems.extend(Problem(path, complaint) for complaint in _unwritable(value, texts))
    return problems, not waiting


def _encoded_size(text: str) -> int:
    return len(text) if len(text) > SIZE_BYTES_MAX else len(text.encode("utf-8", "surrogatepass"))


def _unwritable(value: object, texts: list[str]) -> Iterator[str]:
    """Say why the value, or a text that it is or has as a key, cannot be written as JSON."""
    if any("\ud800" <= character <= "\udfff" for text in texts for character in text):
        yield "has a character that cannot be written in UTF-8"
    if isinstance(value, bool | str | dict | list) or value is None:
        return
    if isinstance(value, int):
        if value.bit_length() > NUMBER_BITS_MAX:
            yield f"is a number of more than {NUMBER_BITS_MAX} bits"
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield "is not a finite number"
    else:
        yield f"is a value of type {type(value).__name__}, which JSON does not have"


def _misfits(config: dict[Any, Any]) -> Iterator[Problem]:
    """Find the parts that are good alone and do not fit each other."""
    roles: Roles | None = {None: frozenset([ANONYMOUS])}
    if "realms" in config:
        roles = _roles_of(config["realms"])
    if roles is None:
        return
    if "transport" in config:
        yield from login_problems(config["transport"], TRANSPORT, roles)
    elif not any(ANONYMOUS in known for known in roles.values()):
        yield Problem(
            TRANSPORT,
            f"is missing: by default clients log in with the role '{ANONYMOUS}', which no realm has; "
            "give a transport with authentication",
        )


def _roles_of(realms: object) -> Roles | None:
    """Return the roles of the realms; None when that cannot be known."""
    if not isinstance(realms, list) or not realms:
        return None
    found: dict[str | None, frozenset[str]] = {}
    for realm in realms:
        name, roles = (realm.get("name"), realm.get("roles")) if isinstance(realm, dict) else (None, None)
        if not isinstance(name, str) or not isinstance(roles, list) or not roles:
            return None
        names = frozenset(
            role["name"] for role in roles if isinstance(role, dict) and isinstance(role.get("name"), str)
        )
        found[name] = names | found.get(name, frozenset())
    return found
