"""The roles of the master's realm in the router's configuration, generated from the table of rights.

`python -m controlplane.contract` writes them into `crossbar-config/master.json`, and compares them with `--check`.
"""

import json
import re
from typing import Any

from controlplane.core.access import ACTIONS, RIGHTS, USER_ROLES, Permission, permissions
from controlplane.core.edge_rights import AUTHORIZE, EDGE_ROLE
from controlplane.master.plane import PROCEDURES
from controlplane.records.types import GLOBAL_REALM, MANAGEMENT_REALM
from controlplane.services.identity import needs_of

MASTER_ROLE = "master"
CROSSBAR_PREFIX = "crossbarfabriccenter."
DISCLOSE = {"caller": True, "publisher": True}


def realm_roles() -> list[dict[str, Any]]:
    """Return the roles of the management realm as Crossbar.io's configuration wants them; the master's comes first."""
    needs = needs_of(PROCEDURES)
    everything = Permission("", "prefix", frozenset(ACTIONS))
    roles = {MASTER_ROLE: [everything], **{role: permissions(role, needs) for role in RIGHTS if role != EDGE_ROLE}}
    return [*_with_permissions(roles), {"name": EDGE_ROLE, "authorizer": AUTHORIZE}]


def global_roles() -> list[dict[str, Any]]:
    """Return the roles of the global realm: users find there what Crossbar.io's programs look for, and no more."""
    needs = {uri: need for uri, need in needs_of(PROCEDURES).items() if uri.startswith(CROSSBAR_PREFIX)}
    everything = Permission("", "prefix", frozenset(ACTIONS))
    users = {
        role: [each for each in permissions(role, needs) if each.uri.startswith(CROSSBAR_PREFIX)] for role in USER_ROLES
    }
    return _with_permissions({MASTER_ROLE: [everything], **users})


def _with_permissions(roles: dict[str, list[Permission]]) -> list[dict[str, Any]]:
    return [
        {"name": role, "permissions": [_entry(permission) for permission in found]} for role, found in roles.items()
    ]


def router_config(current: dict[str, Any]) -> str:
    """Return the router's configuration with the roles that are generated, a line per permission."""
    config = json.loads(json.dumps(current))
    for realm in config["workers"][0]["realms"]:
        if realm["name"] == MANAGEMENT_REALM:
            realm["roles"] = realm_roles()
        elif realm["name"] == GLOBAL_REALM:
            realm["roles"] = global_roles()
    lines: list[str] = []

    def shorten(value: Any) -> Any:
        if isinstance(value, dict) and "match" in value and "allow" in value:
            lines.append(json.dumps(value))
            return f"\0{len(lines) - 1}\0"
        if isinstance(value, dict):
            return {key: shorten(part) for key, part in value.items()}
        return [shorten(part) for part in value] if isinstance(value, list) else value

    text = json.dumps(shorten(config), indent=2)
    return re.sub(r'"\\u0000(\d+)\\u0000"', lambda found: lines[int(found[1])], text) + "\n"


def _entry(permission: Permission) -> dict[str, Any]:
    return {
        "uri": permission.uri,
        "match": permission.match,
        "allow": {action: True for action in ACTIONS if action in permission.actions},
        "disclose": DISCLOSE,
        "cache": True,
    }
