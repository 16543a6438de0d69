"""Who may do what: one table of roles, names and actions, asked in the router and in the pipeline.

Deny by default: what the table does not allow is refused. The router decides what depends on the role alone, by the
permissions that are generated from this table (`permissions`). What depends on who asks, and for which cluster, is
`IF_GRANTED` here: the router lets it pass, and the pipeline decides by `grants`.
"""

import enum
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from controlplane.core.edge_rights import EDGE_PREFIX, EDGE_ROLE

Action = Literal["call", "register", "publish", "subscribe"]
Right = Literal["read", "operate", "manage", "administer", "self", "agent", "join", "greet"]

ACTIONS: tuple[Action, ...] = ("call", "register", "publish", "subscribe")

RIGHTS: Mapping[str, frozenset[Right]] = {
    "owner": frozenset({"read", "operate", "manage", "administer", "self", "greet"}),
    "admin": frozenset({"read", "operate", "manage", "administer", "self", "greet"}),
    "operator": frozenset({"read", "operate", "self", "greet"}),
    "viewer": frozenset({"read", "self", "greet"}),
    "agent": frozenset({"agent"}),
    "joining": frozenset({"join"}),
    EDGE_ROLE: frozenset({"greet"}),
}
"""By role, in the whole realm.

`read` looks, `operate` starts, stops and scales, `manage` creates, changes and deletes clusters and sees their
configurations, `administer` decides who may do what and pairs nodes, `self` is what everybody may do for themselves,
`agent` speaks for one node, `join` trades an invitation for a key, `greet` asks whether the master is there. An owner
differs from an admin in one thing: nobody gives or takes a role above their own.
"""

ALL_RIGHTS: frozenset[Right] = frozenset(right for rights in RIGHTS.values() for right in rights)

USER_ROLES = ("owner", "admin", "operator", "viewer")
"""Of people and their programs, the highest first."""

GRANTABLE: Mapping[str, frozenset[Right]] = {
    "operate": frozenset({"operate"}),
    "manage": frozenset({"operate", "manage"}),
}
"""What may be granted on a single cluster, and which rights it brings there; its owner has `manage`."""

TOPICS: Mapping[str, tuple[tuple[str, Literal["exact", "prefix"]], ...]] = {
    **dict.fromkeys(USER_ROLES, (("controlplane.", "prefix"), ("crossbarfabriccenter.", "prefix"))),
    "agent": tuple(
        (f"controlplane.agent.{topic}", "exact") for topic in ("on_assignment", "on_question", "on_tick", "on_tunnels")
    ),
    "joining": (),
    EDGE_ROLE: (),
}
"""What a role may subscribe to."""

RESERVED = ("controlplane.agent.", "controlplane.join.", "controlplane.master.")
"""Prefixes in which users have nothing to look for, although they lie within what they may subscribe to."""


class Decision(enum.Enum):
    """What the table says."""

    DENIED = enum.auto()
    ALLOWED = enum.auto()
    IF_GRANTED = enum.auto()
    """On clusters that are granted or owned."""


class Needs(NamedTuple):
    """What a procedure asks of its caller."""

    right: str
    of_cluster: bool
    """Whether it is about one cluster, so that a right on this cluster is enough."""


class Permission(NamedTuple):
    """What the router is to know of one name, or of all names that begin with it."""

    uri: str
    match: Literal["exact", "prefix"]
    actions: frozenset[Action]


def allowed(role: str, right: str) -> bool:
    """Say whether a session with this role has this right in the whole realm."""
    return right in RIGHTS.get(role, frozenset())


def grants(granted: Iterable[str], right: str) -> bool:
    """Say whether what was granted on a cluster brings this right there."""
    return any(right in GRANTABLE.get(grant, ()) for grant in granted)


def covers(role: str, asked: str) -> bool:
    """Say whether who has a role may act in another one: users in their own and in lower ones."""
    if role in USER_ROLES and asked in USER_ROLES:
        return USER_ROLES.index(role) <= USER_ROLES.index(asked)
    return role == asked and role in RIGHTS


def decide(role: str, uri: str, action: Action, procedures: Mapping[str, Needs]) -> Decision:
    """Return what the table says of one role, one name and one action."""
    if action == "call":
        needs = procedures.get(uri)
        return Decision.DENIED if needs is None else decide_needs(role, needs)
    if action == "subscribe" and not (role in USER_ROLES and uri.startswith(RESERVED)):
        for topic, match in TOPICS.get(role, ()):
            if uri == topic or (match == "prefix" and uri.startswith(topic)):
                return Decision.ALLOWED
    # Nobody but the master offers a procedure or publishes an event.
    return Decision.DENIED


def decide_needs(role: str, needs: Needs) -> Decision:
    """Return what the table says of a role and what a procedure asks of its caller."""
    if allowed(role, needs.right):
        return Decision.ALLOWED
    grantable = needs.of_cluster and role in USER_ROLES and grants(GRANTABLE, needs.right)
    return Decision.IF_GRANTED if grantable else Decision.DENIED


def permissions(role: str, procedures: Mapping[str, Needs]) -> list[Permission]:
    """Return what the router is to know of a role: as few entries as say the same as the table.

    The router takes the entry with the longest beginning of a name, and refuses the name when this entry is one for an
    exact name and another one. So an entry for a prefix repeats what shorter prefixes allow.
    """
    found = [Permission(topic, match, frozenset({"subscribe"})) for topic, match in TOPICS.get(role, ())]
    if role in USER_ROLES:
        found.extend(Permission(prefix, "prefix", frozenset()) for prefix in RESERVED)
        # What nodes without an agent offer is there, and for the master alone.
        found.append(Permission(EDGE_PREFIX, "prefix", frozenset({"subscribe"})))
    by_noun: dict[str, list[str]] = {}
    for uri in procedures:
        by_noun.setdefault(uri.rpartition(".")[0] + ".", []).append(uri)
    for noun, uris in by_noun.items():
        decided = {uri: _actions(role, uri, procedures) for uri in sorted(uris)}
        if noun not in RESERVED and role in USER_ROLES and all("call" in actions for actions in decided.values()):
            found.append(Permission(noun, "prefix", frozenset({"call", "subscribe"})))
            continue
        called = [uri for uri, actions in decided.items() if "call" in actions]
        for uri, actions in decided.items():
            # What cannot be called is told as well where an entry for a callable name would be taken for its beginning.
            if actions and uri.startswith(tuple(called)):
                found.append(Permission(uri, "exact", actions))
    return sorted(found, key=lambda permission: permission.uri)


def _actions(role: str, uri: str, procedures: Mapping[str, Needs]) -> frozenset[Action]:
    return frozenset(action for action in ACTIONS if decide(role, uri, action, procedures) is not Decision.DENIED)
