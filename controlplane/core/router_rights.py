"""Who may log in to a router cluster and what a role may do there: the shapes of `realms` and of every `auth`.

The facts are those of Crossbar.io 26.10.1: its checker, its sources, and what it did when it was run. A key that it
knows is refused, with the reason, where a cluster cannot honour it.
"""

import re
from collections.abc import Iterator
from typing import Any

from controlplane.core.router_shapes import (
    Shape,
    Table,
    Variants,
    anything,
    at,
    each,
    entries,
    flag,
    matching,
    not_empty,
    one_of,
    shown,
    text,
    whole,
)
from controlplane.errors import Problem

REALMS_MAX = 64
ROLES_MAX = 64
PERMISSIONS_MAX = 1_000
PRINCIPALS_MAX = 10_000
KEYS_MAX = 100
"""Public keys of one principal."""

NUMBER_MAX = 2**31 - 1
PBKDF2_ITERATIONS_MAX = 1_000_000
"""The worker derives the key itself, at every login, and serves nobody meanwhile."""

PBKDF2_KEY_BYTES_MAX = 1_024

ID_GIVEN = "the control plane gives ids itself; leave it out"
RESERVED_ROLES = {
    "trusted": "the role 'trusted' is Crossbar.io's own and may do everything; take another name",
    "rlink": "the role 'rlink' is kept for links between routers, which a cluster does not have; take another name",
}
ROLES_OF_RIGHTS = ("permissions", "authorizer")

_SPACE_OR_HASH = re.compile(r"[\s#]")
_WILDCARD_PART = re.compile(r"[a-z0-9][a-z0-9_-]*|")


def uri_characters(value: str) -> str | None:
    """Refuse what can be in no URI."""
    return "must hold neither spaces nor '#'" if _SPACE_OR_HASH.search(value) else None


def whole_uri(value: str) -> str | None:
    """Refuse what is not one URI, but a pattern or nothing."""
    return None if all(value.split(".")) else f"must be a URI without empty parts, not {shown(value)}"


procedure = text(
    matching(r"[0-9a-z_]+(\.[0-9a-z_]+)*", "a URI of lower-case letters, digits and '_', with dots between its parts")
)
realm_name = text(
    matching(
        r"[A-Za-z][A-Za-z0-9_@.-]{2,254}|0x[A-Fa-f0-9]{40}",
        "3 to 255 letters, digits and '_', '-', '@', '.', beginning with a letter",
    )
)


def _not_reserved(value: str) -> str | None:
    return RESERVED_ROLES.get(value)


def _not_from_environment(value: str) -> str | None:
    if value.startswith("${") and value.rstrip("\n").endswith("}"):
        return "Crossbar.io would read it from the environment of the edge machine; give the value itself"
    return None


role_name = text(
    matching(
        r"[A-Za-z0-9_][A-Za-z0-9_.@:-]{0,127}",
        "1 to 128 letters, digits and '_', '-', '.', '@', ':', beginning with a letter, a digit or '_'",
    ),
    _not_reserved,
)
reference = text()
"""The name of a role or realm that has to be there: what can be wrong with the name shows where it is defined."""

_secret = text(not_empty, _not_from_environment)


# What a role may do.


def _permission_pattern(value: dict[str, Any], path: str) -> Iterator[Problem]:
    uri, match = value.get("uri"), value.get("match")
    complaint = _pattern_complaint(uri, match) if isinstance(uri, str) else None
    if complaint is not None:
        yield Problem(at(path, "uri"), complaint)


def _pattern_complaint(uri: str, match: str | None) -> str | None:
    if match is not None and "*" in uri:
        return "'*' has no meaning beside 'match'; leave out one of the two"
    if any("*" in part and part != "*" for part in uri.removesuffix("*").split(".")):
        return "'*' must stand for a whole part of the URI, or at its end"
    pattern, kind = _plain_pattern(uri, match)
    if kind == "wildcard":
        if ".." not in pattern:
            return "Crossbar.io does not heed a wildcard that is alone at the beginning or at the end of the URI"
        if not all(_WILDCARD_PART.fullmatch(part) for part in pattern.split(".")):
            return "Crossbar.io heeds wildcards only beside parts of lower-case letters, digits, '_' and '-'"
    elif ".." in pattern or pattern.startswith("."):
        return 'has an empty part; for a pattern say "match": "wildcard"'
    elif kind == "exact" and (not pattern or pattern.endswith(".")):
        return 'matches nothing; to match every URI that begins with it say "match": "prefix"'
    return None


def _plain_pattern(uri: str, match: str | None) -> tuple[str, str]:
    """Return what Crossbar.io makes of a URI: stars mean something only where nothing is said of matching."""
    if match is not None:
        return uri, match
    if "*" not in uri:
        return uri, "exact"
    if uri.index("*") == len(uri) - 1:
        return uri[:-1], "prefix"
    return uri.replace("*", ""), "wildcard"


def _role_rights(value: dict[str, Any], path: str) -> Iterator[Problem]:
    given = [key for key in ROLES_OF_RIGHTS if key in value]
    if not given:
        yield Problem(path, "says nothing of what the role may do; give 'permissions' or 'authorizer'")
    elif len(given) > 1:
        yield Problem(path, "has both 'permissions' and 'authorizer'; only one of them can decide")
    yield from _shadowed_permissions(value.get("permissions"), at(path, "permissions"))


def _shadowed_permissions(permissions: object, path: str) -> Iterator[Problem]:
    seen: dict[tuple[bool, str], int] = {}
    for index, permission in enumerate(permissions if isinstance(permissions, list) else ()):
        uri, match = (permission.get("uri"), permission.get("match")) if isinstance(permission, dict) else (None, None)
        if not isinstance(uri, str):
            continue
        pattern, _ = _plain_pattern(uri, match)
        wild = ".." in pattern
        key = (wild, pattern[: pattern.index("..")] if wild else pattern)
        first = seen.setdefault(key, index)
        if first != index:
            beginning = "a wildcard permission with the same beginning" if wild else "a permission for the same URI"
            yield Problem(at(path, index), f"is {beginning} as [{first}]; Crossbar.io would heed only the last of them")


_PERMISSION = Table(
    required={"uri": text(uri_characters)},
    optional={
        "match": one_of("exact", "prefix", "wildcard"),
        "allow": Table(optional=dict.fromkeys(("call", "register", "publish", "subscribe"), flag)),
        "disclose": Table(optional=dict.fromkeys(("caller", "publisher"), flag)),
        "cache": flag,
    },
    refused={"validate": "needs a type inventory, which is a file on the edge machine"},
    also=_permission_pattern,
)
_ROLE = Table(
    required={"name": role_name},
    optional={"permissions": each(_PERMISSION, highest=PERMISSIONS_MAX), "authorizer": procedure},
    refused={
        "id": ID_GIVEN,
        "allow-by-default": "is not documented by Crossbar.io; give 'permissions'",
    },
    also=_role_rights,
)


# Realms.


def repeated_names(items: object, path: str, noun: str) -> Iterator[Problem]:
    """Find the items that have the name of an earlier one."""
    seen: dict[str, int] = {}
    for index, item in enumerate(items if isinstance(items, list) else ()):
        name = item.get("name") if isinstance(item, dict) else None
        if isinstance(name, str) and seen.setdefault(name, index) != index:
            yield Problem(at(at(path, index), "name"), f"is the name of the {noun} [{seen[name]}], too: {shown(name)}")


def _realm_roles(value: dict[str, Any], path: str) -> Iterator[Problem]:
    roles = value.get("roles")
    yield from repeated_names(roles, at(path, "roles"), "role")
    listed = roles if isinstance(roles, list) else []
    if listed and all(isinstance(role, dict) and "authorizer" in role for role in listed):
        yield Problem(
            at(path, "roles"),
            "every role asks an authorizer, so nobody may register one; give one role 'permissions'",
        )


_REALM = Table(
    required={"name": realm_name, "roles": each(_ROLE, lowest=1, highest=ROLES_MAX)},
    optional={
        "options": Table(
            optional={
                "event_dispatching_chunk_size": whole(1, NUMBER_MAX),
                "uri_check": one_of("strict", "loose"),
                "enable_meta_api": flag,
            },
            refused={"bridge_meta_api": "the management of the node belongs to the control plane"},
        ),
    },
    refused={
        "id": ID_GIVEN,
        "store": (
            "Crossbar.io's event history repeats events for every receiver and forgets those that nobody received, "
            "and its call queue has no limit, whatever is given"
        ),
        "rlinks": "links between routers turn errors into results and lose progress and patterns",
        "inventory": "needs files on the edge machine",
    },
    also=_realm_roles,
)


def realms(value: Any, path: str) -> Iterator[Problem]:
    """Accept what may be given as `realms`."""
    yield from each(_REALM, lowest=1, highest=REALMS_MAX)(value, path)
    yield from repeated_names(value, path, "realm")


# Logging in.

_NO_FUNCTION = {"function": "needs code on the edge machine; take 'static' or 'dynamic'"}
_DYNAMIC = Table(
    required={"type": anything, "authenticator": procedure, "authenticator-role": reference},
    optional={"authenticator-realm": reference, "default-role": reference},
)


def _static(keys: dict[str, Shape], *, refused: dict[str, str] | None = None, default_role: bool = True) -> Variants:
    optional = {"default-role": reference} if default_role else {}
    static = Table(required={"type": anything, **keys}, optional=optional, refused=refused or {})
    return Variants({"static": static, "dynamic": _DYNAMIC}, refused=_NO_FUNCTION)


def _principals(required: dict[str, Shape], optional: dict[str, Shape], also: Shape = anything) -> Shape:
    principal = Table(required=required, optional=optional, also=also)
    return entries(principal, highest=PRINCIPALS_MAX)


def _salting(value: dict[str, Any], path: str) -> Iterator[Problem]:
    salting = ("salt", "iterations", "keylen")
    given = [key for key in salting if key in value]
    if given and len(given) < len(salting):
        yield Problem(
            path, "salting needs all of 'salt', 'iterations' and 'keylen'; Crossbar.io ignores a part of them"
        )


_hex_key = text(matching(r"[0-9a-f]{64}", "64 lower-case hexadecimal digits"))
_ANONYMOUS = Variants(
    {
        "static": Table(
            required={"type": anything},
            optional={"role": reference, "authid": text(not_empty)},
            refused={"realm": "Crossbar.io ignores it: anonymous clients join whichever realm they name"},
        ),
        "dynamic": _DYNAMIC,
    },
    refused=_NO_FUNCTION,
)
_CRYPTOSIGN = _static(
    {
        "principals": _principals(
            {"authorized_keys": each(_hex_key, lowest=1, highest=KEYS_MAX)}, {"role": reference, "realm": reference}
        )
    },
    refused={"trustroots": "needs certificate files on the edge machine; give 'principals'"},
)
_SCRAM = _static(
    {
        "principals": _principals(
            {
                "kdf": one_of("argon2id-13", "pbkdf2"),
                "iterations": whole(1, NUMBER_MAX),
                "memory": whole(0, NUMBER_MAX),
                "salt": text(matching(r"([0-9A-Fa-f]{2})+", "pairs of hexadecimal digits", secret=True)),
                "stored-key": text(matching(r"[0-9A-Fa-f]{64}", "64 hexadecimal digits", secret=True)),
                "server-key": text(matching(r"[0-9A-Fa-f]{64}", "64 hexadecimal digits", secret=True)),
            },
            {"role": reference},
        )
    }
)
_TLS = _static(
    {
        "principals": _principals(
            {
                "certificate-sha1": text(
                    matching(r"([0-9A-F]{2}:){19}[0-9A-F]{2}", "20 pairs of upper-case hexadecimal digits with colons")
                ),
                "role": reference,
            },
            {},
        )
    },
    default_role=False,
)
_WAMPCRA = _static(
    {
        "users": _principals(
            {"secret": _secret},
            {
                "role": reference,
                "salt": text(not_empty),
                "iterations": whole(1, PBKDF2_ITERATIONS_MAX),
                "keylen": whole(1, PBKDF2_KEY_BYTES_MAX),
            },
            also=_salting,
        )
    }
)

auth = Table(
    optional={
        "anonymous": _ANONYMOUS,
        "ticket": _static({"principals": _principals({"ticket": _secret}, {"role": reference})}),
        "wampcra": _WAMPCRA,
        "scram": _SCRAM,
        "cryptosign": _CRYPTOSIGN,
        "tls": _TLS,
    },
    refused={
        "cookie": "each frontend keeps cookies of its own, so who logged in at one would be a stranger at the next",
        "anonymous-proxy": "lets a client say who it is; it is used only between the workers of a cluster",
        "cryptosign-proxy": "checks no signature; it is used only between the workers of a cluster",
    },
)
"""The ways to log in to one listening point."""
