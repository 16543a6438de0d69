"""Who may do what: one table of roles and rights, asked on every procedure.

Deny by default: a role or a right that is not in the table is refused.
"""

from collections.abc import Mapping

RIGHTS: Mapping[str, frozenset[str]] = {
    "admin": frozenset({"read", "manage"}),
    "agent": frozenset({"agent"}),
}
"""By role. `read` looks, `manage` changes, `agent` speaks for a node."""

ALL_RIGHTS = frozenset(right for rights in RIGHTS.values() for right in rights)


def allowed(role: str, right: str) -> bool:
    """Say whether a session with this role has this right."""
    return right in RIGHTS.get(role, frozenset())
