"""Where clients come in to a router cluster, as whom, and whether anybody may.

Written for configurations of which nothing is certain: what has the wrong type is passed over, because its shape has
been complained of already.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from controlplane.core.router_shapes import at, near, shown
from controlplane.errors import Problem

ANONYMOUS = "anonymous"
"""Role of a client that logs in without saying who it is, where nothing else is configured."""

PRINCIPALS_KEYS = {
    "ticket": "principals",
    "wampcra": "users",
    "scram": "principals",
    "cryptosign": "principals",
    "tls": "principals",
}
BRIDGES = ("caller", "publisher", "webhook")

Roles = Mapping[str | None, frozenset[str]]
"""The roles of every realm; the default realm, which takes the name of its cluster, is None."""


class Door(NamedTuple):
    """One place where clients come in: a way to log in, or a web service that acts for whoever calls it."""

    path: str
    service: str
    """The word "login", or the type of the web service."""

    config: Mapping[str, Any]


def doors(transport: object, path: str) -> Iterator[Door]:
    """Find all places where clients come in through a transport."""
    found = _object(transport)
    kind = found.get("type")
    if kind in ("websocket", "rawsocket"):
        yield Door(path, "login", found)
    elif kind == "web":
        yield from _web_doors(found.get("paths"), at(path, "paths"))
    elif kind == "universal":
        if isinstance(found.get("rawsocket"), dict):
            yield Door(at(path, "rawsocket"), "login", found["rawsocket"])
        for name, socket in _object(found.get("websocket")).items():
            if isinstance(name, str) and isinstance(socket, dict):
                yield Door(at(at(path, "websocket"), name), "login", socket)
        web = _object(found.get("web"))
        yield from _web_doors(web.get("paths"), at(at(path, "web"), "paths"))


def login_problems(transport: object, path: str, roles: Roles) -> Iterator[Problem]:
    """Find the logins and services that name a role or a realm that is not there, or that nobody could use."""
    endpoint = _object(_object(transport).get("endpoint"))
    asks_certificates = "ca_certificates" in _object(endpoint.get("tls"))
    asking: list[str] = []
    static_login = False
    for door in doors(transport, path):
        if door.service == "login":
            yield from _door_problems(door, roles, asks_certificates)
            for method, config in _object(door.config.get("auth")).items():
                if _object(config).get("type") == "dynamic":
                    asking.append(at(at(door.path, "auth"), str(method)))
            static_login = static_login or _has_static_login(door)
        else:
            yield from _role_problems(door.path, door.config, "role", "realm", roles)
    if asking and not static_login:
        yield Problem(
            asking[0],
            "nobody could log in to register the authenticator; let it log in by a method of type 'static'",
        )


def way_in(transport: object, path: str) -> str | None:
    """Return the path of the first place where somebody gets in without proving anything; None where nobody does."""
    for door in doors(transport, path):
        if door.service == "login":
            methods = door.config.get("auth")
            if not methods or not isinstance(methods, dict):
                return at(door.path, "auth")
            if ANONYMOUS in methods:
                return at(at(door.path, "auth"), ANONYMOUS)
        elif not _object(door.config.get("options")).get("github_secret" if door.service == "webhook" else "secret"):
            return door.path
    return None


def _web_doors(paths: object, path: str) -> Iterator[Door]:
    for name, service in _object(paths).items():
        if not isinstance(name, str) or not isinstance(service, dict):
            continue
        where, kind = at(path, name), service.get("type")
        if kind == "path":
            yield from _web_doors(service.get("paths"), at(where, "paths"))
        elif kind == "websocket":
            yield Door(where, "login", service)
        elif kind in BRIDGES:
            yield Door(where, kind, service)


def _has_static_login(door: Door) -> bool:
    methods = door.config.get("auth")
    if not methods:
        return True
    return any(_object(config).get("type") == "static" for config in _object(methods).values())


def _door_problems(door: Door, roles: Roles, asks_certificates: bool) -> Iterator[Problem]:
    where, methods = at(door.path, "auth"), door.config.get("auth", {})
    if methods == {}:
        if not any(ANONYMOUS in known for known in roles.values()):
            yield Problem(where, f"without it clients log in with the role '{ANONYMOUS}', which no realm has")
        return
    for method, config in _object(methods).items():
        if not isinstance(method, str) or not isinstance(config, dict):
            continue
        here = at(where, method)
        yield from _role_problems(here, config, "default-role", None, roles)
        if config.get("type") == "dynamic":
            yield from _role_problems(here, config, "authenticator-role", "authenticator-realm", roles, everywhere=True)
        elif method == ANONYMOUS:
            yield from _role_problems(here, {"role": ANONYMOUS, **config}, "role", None, roles)
        elif method in PRINCIPALS_KEYS:
            yield from _principal_problems(at(here, PRINCIPALS_KEYS[method]), method, config, roles)
        if method == "tls" and not asks_certificates:
            yield Problem(
                here, "needs 'ca_certificates' in the 'tls' of the endpoint: else no client shows a certificate"
            )


def _principal_problems(path: str, method: str, config: Mapping[str, Any], roles: Roles) -> Iterator[Problem]:
    for name, principal in _object(config.get(PRINCIPALS_KEYS[method])).items():
        if not isinstance(name, str) or not isinstance(principal, dict):
            continue
        here = at(path, name)
        if "role" in principal:
            yield from _role_problems(here, principal, "role", "realm", roles)
        elif "default-role" not in config:
            yield Problem(at(here, "role"), f"is missing, and '{method}' has no 'default-role'")
        elif "realm" in principal:
            yield from _role_problems(here, {**principal, "role": config["default-role"]}, "role", "realm", roles)


def _role_problems(
    path: str,
    config: Mapping[str, Any],
    role_key: str,
    realm_key: str | None,
    roles: Roles,
    *,
    everywhere: bool = False,
) -> Iterator[Problem]:
    """Look up the role and the realm that `config` names; `everywhere`: without a realm, every realm needs the role."""
    role = config.get(role_key)
    realm = config.get(realm_key) if realm_key is not None else None
    if isinstance(realm, str) and realm_key is not None:
        if realm not in roles:
            names = [name for name in roles if name is not None]
            yield Problem(at(path, realm_key), f"there is no realm {shown(realm)} under 'realms'{near(realm, names)}")
        elif isinstance(role, str) and role not in roles[realm]:
            known = sorted(roles[realm])
            yield Problem(at(path, role_key), f"the realm {shown(realm)} has no role {shown(role)}{near(role, known)}")
    elif isinstance(role, str) and realm is None:
        having = [name for name, known in roles.items() if role in known]
        if not having:
            known = sorted(frozenset().union(*roles.values()))
            yield Problem(at(path, role_key), f"no realm has a role {shown(role)}{near(role, known)}")
        elif everywhere and len(having) < len(roles):
            yield Problem(
                at(path, role_key),
                f"not every realm has a role {shown(role)}; say with '{realm_key}' which one the authenticator is in",
            )


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
