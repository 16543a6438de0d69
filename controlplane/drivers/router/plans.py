"""What a worker's configuration means in calls to Crossbar.io: pure functions, without a node.

The master composes the configuration of a worker; here it becomes a plan: what to start in which order, and under
which addresses clients find the result. A plan is complete but for the port, which the node decides.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from controlplane.errors import WorkerFailed
from controlplane.records.workers import Address

SOCKET_PATH_LENGTH_MAX = 107
BACKLOG = 1024
"""Connections waiting to be accepted. Crossbar.io's default of 50 is too few when a router's clients all return at
once: a full queue of a unix socket refuses at once."""

TRANSPORT_ID = "listening"
ROOT = "/"
ROOT_BESIDE_OTHERS = ""
"""Where a service that would swallow all other paths is put: it is then found at the root and nowhere else."""

SWALLOWING_TYPES = frozenset({"nodeinfo", "redirect", "websocket", "caller", "publisher", "webhook", "longpoll"})
"""Web services that answer everything below the path that they are put on."""

SPEAKING_TYPES = frozenset({"caller", "publisher", "webhook"})
"""Web services that speak WAMP for whoever asks them."""


class Backend(msgspec.Struct, frozen=True, tag="router", tag_field="kind"):
    """A router worker as the master describes it."""

    cluster: str
    socket: str
    realms: list[dict[str, Any]]


class Route(msgspec.Struct, frozen=True):
    """Where sessions of one realm are sent."""

    roles: list[str]
    backend: str


class Frontend(msgspec.Struct, frozen=True, tag="proxy", tag_field="kind"):
    """A proxy worker as the master describes it."""

    cluster: str
    transport: dict[str, Any]
    realms: dict[str, Route]
    tunnels: dict[str, str] = {}
    """Sockets that lead to routers on other machines: router and node, with a slash between."""


class Realm(NamedTuple):
    """A realm to start on a router worker."""

    id: str
    config: dict[str, Any]
    roles: tuple[tuple[str, dict[str, Any]], ...]


class RouterPlan(NamedTuple):
    """Everything to be started on a router worker."""

    realms: tuple[Realm, ...]
    transport: dict[str, Any]


class ProxyPlan(NamedTuple):
    """Everything to be started on a proxy worker."""

    connections: tuple[tuple[str, dict[str, Any]], ...]
    routes: tuple[tuple[str, dict[str, str]], ...]
    transport: dict[str, Any]
    services: tuple[tuple[str, dict[str, Any]], ...]
    """Of a web transport, by path; they can only be added to one that listens."""


Plan = RouterPlan | ProxyPlan


def read_config(config: Mapping[str, Any]) -> Backend | Frontend:
    """Return what a worker is to be, or raise `WorkerFailed` with what is wrong and where."""
    try:
        found = msgspec.convert(config, Backend | Frontend)
    except msgspec.ValidationError as error:
        raise WorkerFailed(f"the worker's configuration cannot be used: {error}") from None
    if isinstance(found, Backend):
        _check_socket(found.socket)
        for realm in found.realms:
            if not isinstance(realm.get("name"), str) or not isinstance(realm.get("roles", []), list):
                raise WorkerFailed(
                    "the worker's configuration cannot be used: a realm has no name, or no list of roles"
                )
    else:
        _check_transport(found.transport)
        for route in found.realms.values():
            _check_socket(route.backend)
    return found


def realm_names(config: Backend | Frontend) -> tuple[str, ...]:
    """Return the realms that clients of the worker can join."""
    if isinstance(config, Backend):
        return tuple(str(realm["name"]) for realm in config.realms)
    return tuple(config.realms)


def sockets(config: Backend | Frontend) -> frozenset[str]:
    """Return the unix sockets that the worker listens on or connects to."""
    if isinstance(config, Backend):
        return frozenset([config.socket])
    return frozenset(route.backend for route in config.realms.values())


def realm_id(index: int) -> str:
    """Return what the realm in this place of the configuration is called within the worker."""
    return f"realm{index:03d}"


def wanted_port(config: Frontend) -> int | None:
    """Return the port that the configuration names, if it does."""
    port: int | None = config.transport.get("endpoint", {}).get("port")
    return port


def leaned_on(config: Frontend) -> frozenset[str]:
    """Return the sockets of routers to which a proxy keeps sessions of its own.

    It asks dynamic authenticators through them and makes the calls of web services that speak for their callers. It
    never makes such a session again: when the router is started anew, the proxy has to be, too.
    """
    realms = {realm for realm, _ in _own_sessions(config)}
    return frozenset(route.backend for realm, route in config.realms.items() if realm in realms)


def wanted_interface(config: Frontend, address: str) -> str:
    """Return what to listen on; `address` is the node's own, for a configuration that leaves it open."""
    return str(config.transport.get("endpoint", {}).get("interface", address))


def plan_router(config: Backend) -> RouterPlan:
    """Return what makes a router worker."""
    realms = []
    for index, realm in enumerate(config.realms):
        roles = tuple((f"role{place:03d}", role) for place, role in enumerate(realm.get("roles", [])))
        alone = {key: value for key, value in realm.items() if key != "roles"}
        realms.append(Realm(realm_id(index), alone, roles))
    transport = {
        "type": "rawsocket",
        "serializers": ["cbor"],
        "endpoint": {"type": "unix", "path": config.socket, "backlog": BACKLOG},
        "auth": {"anonymous-proxy": {"type": "static"}},
    }
    return RouterPlan(tuple(realms), transport)


def plan_proxy(config: Frontend, interface: str, port: int) -> ProxyPlan:
    """Return what makes a proxy worker that listens there, beside others that do."""
    backends = sorted(sockets(config))
    names = {socket: f"backend{index:03d}" for index, socket in enumerate(backends)}
    roles = {realm: set(route.roles) for realm, route in config.realms.items()}
    for realm, role in _own_sessions(config):
        if realm in roles:
            roles[realm].add(role)
    routes = tuple(
        (realm, dict.fromkeys(sorted(roles[realm]), names[route.backend])) for realm, route in config.realms.items()
    )
    endpoint = {"backlog": BACKLOG, **config.transport.get("endpoint", {})}
    endpoint |= {"type": "tcp", "interface": interface, "port": port, "shared": True}
    if "tls" in endpoint:
        # Crossbar.io finds out by itself that the address is IPv6, and with TLS refuses to be told (seen in 26.10.1).
        endpoint.pop("version", None)
    elif ":" in interface:
        endpoint["version"] = 6
    transport, services = _split_paths({**config.transport, "endpoint": endpoint})
    connections = tuple((names[socket], _connection(socket)) for socket in backends)
    return ProxyPlan(connections, routes, transport, services)


def addresses(config: Frontend, host: str, port: int) -> tuple[Address, ...]:
    """Return where clients can connect to a proxy worker."""
    transport = config.transport
    secure = "s" if "tls" in transport.get("endpoint", {}) else ""
    authority = f"[{host}]:{port}" if _is_ipv6(host) else f"{host}:{port}"

    def address(kind: str, scheme: str, path: str = "") -> Address:
        return Address(type=kind, url=f"{scheme}{secure}://{authority}{path}")

    match transport["type"]:
        case "rawsocket":
            return (address("rawsocket", "rs"),)
        case "websocket":
            return (address("websocket", "ws", ROOT),)
        case "universal":
            found = [address("rawsocket", "rs")] if "rawsocket" in transport else []
            found += [address("websocket", "ws", _url_path(path)) for path in transport.get("websocket", {})]
            web = transport.get("web")
        case _:
            found, web = [], transport
    if web is not None:
        found.append(address("web", "http", ROOT))
        for path, service in web.get("paths", {}).items():
            if service.get("type") == "websocket":
                found.append(address("websocket", "ws", _url_path(path)))
    return tuple(found)


def _check_socket(path: str) -> None:
    if not path.startswith("/") or len(path.encode()) > SOCKET_PATH_LENGTH_MAX:
        raise WorkerFailed(
            f"the unix socket {path!r} cannot be used: "
            f"its path must be absolute and at most {SOCKET_PATH_LENGTH_MAX} bytes long"
        )


def _check_transport(transport: dict[str, Any]) -> None:
    """Refuse what the node's own settings would have to be overruled for; Crossbar.io checks the rest."""
    kind = transport.get("type")
    if kind not in ("websocket", "rawsocket", "web", "universal"):
        raise WorkerFailed(f"the transport's type {kind!r} cannot be used: websocket, rawsocket, web or universal")
    endpoint = transport.get("endpoint", {})
    if not isinstance(endpoint, dict) or endpoint.get("type", "tcp") != "tcp":
        raise WorkerFailed("the transport's endpoint cannot be used: clients of a cluster connect by TCP")
    if "portrange" in endpoint:
        raise WorkerFailed("the transport's endpoint cannot be used: it names a range of ports, not one")
    port = endpoint.get("port")
    if port is not None and (not isinstance(port, int) or isinstance(port, bool)):
        raise WorkerFailed(f"the transport's port {port!r} cannot be used: it must be a number")
    web = transport.get("web", {})
    if not isinstance(web, dict):
        raise WorkerFailed("the transport's part 'web' cannot be used: it must have paths")
    for services in (transport.get("paths", {}), transport.get("websocket", {}), web.get("paths", {})):
        if not isinstance(services, dict) or not all(isinstance(each, dict) for each in services.values()):
            raise WorkerFailed("the transport's paths cannot be used: they must say what is at each")


def _own_sessions(config: Frontend) -> Iterator[tuple[str, str]]:
    """Yield realm and role of every session that a proxy needs for itself; every realm where none is named."""
    for part in _parts(config.transport):
        realm = role = None
        if part.get("type") == "dynamic":
            realm, role = part.get("authenticator-realm"), part.get("authenticator-role")
        elif part.get("type") in SPEAKING_TYPES:
            realm, role = part.get("realm"), part.get("role")
        if isinstance(role, str):
            for each in config.realms if realm is None else (str(realm),):
                yield each, role


def _parts(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every part of a transport that has parts or settings itself."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from _parts(inner)


def _split_paths(transport: dict[str, Any]) -> tuple[dict[str, Any], tuple[tuple[str, dict[str, Any]], ...]]:
    """Separate the services of a web transport, which a proxy only takes one by one, from its root."""
    if transport["type"] == "universal" and "web" in transport:
        root, services = _root_and_others(transport["web"].get("paths", {}))
        return {**transport, "web": {**transport["web"], "paths": root}}, services
    if transport["type"] == "web":
        root, services = _root_and_others(transport.get("paths", {}))
        return {**transport, "paths": root}, services
    return transport, ()


def _root_and_others(paths: dict[str, Any]) -> tuple[dict[str, Any], tuple[tuple[str, dict[str, Any]], ...]]:
    others = {path: service for path, service in paths.items() if path != ROOT}
    root = paths.get(ROOT)
    if root is None:
        return {}, tuple(others.items())
    if others and root.get("type") in SWALLOWING_TYPES:
        return {}, ((ROOT_BESIDE_OTHERS, root), *others.items())
    return {ROOT: root}, tuple(others.items())


def _connection(socket: str) -> dict[str, Any]:
    return {
        "transport": {
            "type": "rawsocket",
            "url": "rs://localhost",
            "serializer": "cbor",
            "endpoint": {"type": "unix", "path": socket},
        },
        "auth": {"anonymous-proxy": {"type": "static"}},
    }


def _url_path(path: str) -> str:
    return ROOT + path.strip("/")


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False
