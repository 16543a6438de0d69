"""Who calls: the user, node or invitation that a session speaks for, as the store knows it at this very call.

What the router says of a session was true when it logged in. Whoever was removed, disabled or given another role since
then is refused here, also when the session ignores that it was asked to leave.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from controlplane.core.access import Decision, Needs, allowed, covers, decide_needs, grants
from controlplane.core.edge_rights import EDGE_ROLE
from controlplane.errors import Ambiguous, NoSuchObject, NotAuthorized
from controlplane.records.clusters import Cluster
from controlplane.records.definitions import Definition
from controlplane.records.nodes import Node
from controlplane.records.principals import Caller, Invitation, Principal
from controlplane.records.types import Instant, Oid
from controlplane.services.finding import resolve
from controlplane.services.procedures import Find, Procedure
from controlplane.store.catalog import CLUSTERS, GRANTS, INVITATIONS, NODES, PRINCIPALS, TEAM_MEMBERS
from controlplane.store.database import View

NAMES_KEPT = 16_384
"""Of nodes: every call of an agent says which one it is."""


class Identity(NamedTuple):
    """Whom a session speaks for."""

    oid: Oid
    record: Principal | Node | Invitation | Definition
    """A definition is a policy that acts by itself."""


Finder = Callable[[View, Caller, Instant], Identity | None]


def identify(view: View, caller: Caller, now: Instant) -> Identity:
    """Return whom a session speaks for; raises `NotAuthorized` when that is nobody any more."""
    finder = FINDERS.get(caller.authrole)
    found = finder(view, caller, now) if finder is not None else None
    if found is None:
        raise NotAuthorized(
            f"{caller.authid} may not act as {caller.authrole!r} any more",
            subject={"type": "principal", "authid": caller.authid},
            next_step="log in again",
        )
    return found


def require_conceivable(caller: Caller, declared: Procedure) -> None:
    """Refuse a call that nobody in this role may make, before anything is looked at."""
    if allowed(caller.authrole, declared.needs):
        return
    if decide_needs(caller.authrole, _needs(declared)) is Decision.DENIED:
        raise _refusal(caller, declared)


def require_right(
    view: View, identity: Identity, caller: Caller, declared: Procedure, bound: Mapping[str, Any]
) -> None:
    """Refuse a call that this caller has no right to, neither in the realm nor on the cluster that it is about."""
    if allowed(caller.authrole, declared.needs):
        return
    cluster = _cluster_of(view, declared, bound)
    if cluster is None or not grants(granted_on(view, identity.oid, cluster), declared.needs):
        raise _refusal(caller, declared)


def granted_on(view: View, holder: Oid, cluster: Cluster) -> Iterator[str]:
    """Yield what somebody was granted on a cluster, as its owner, in person, or as a member of teams."""
    if cluster.owner_oid == holder:
        yield "manage"
    rows = view.rows(GRANTS)
    own = rows.find(cluster.oid, holder)
    if own is not None:
        yield own.right
    for member in view.rows(TEAM_MEMBERS).all(holder):
        grant = rows.find(cluster.oid, member.team_oid)
        if grant is not None:
            yield grant.right


def needs_of(procedures: Mapping[str, Procedure]) -> dict[str, Needs]:
    """Return what every name of a procedure asks of its caller, as the table of rights wants it."""
    return {uri: _needs(declared) for uri, declared in procedures.items()}


def _needs(declared: Procedure) -> Needs:
    return Needs(declared.needs, declared.cluster_argument is not None)


def _refusal(caller: Caller, declared: Procedure) -> NotAuthorized:
    return NotAuthorized(
        f"{caller.authid} may not call {declared.uri}",
        subject={"type": "procedure", "uri": declared.uri},
        next_step=f"ask an administrator for the right {declared.needs!r}",
    )


def _cluster_of(view: View, declared: Procedure, bound: Mapping[str, Any]) -> Cluster | None:
    named = bound.get(declared.cluster_argument or "")
    if not isinstance(named, str | Oid):
        return None
    reader = next(each.reader for each in declared.parameters if each.name == declared.cluster_argument)
    try:
        if isinstance(reader, Find) and reader.find is not None and reader.cluster_of is not None:
            of_worker: Cluster = reader.cluster_of(view, reader.find(view, str(named)))
            return of_worker
        found: Cluster = resolve(view, CLUSTERS, str(named), str.encode)
    except (NoSuchObject, Ambiguous, ValueError):
        return None
    return found


@lru_cache(maxsize=NAMES_KEPT)
def _oid_in(authid: str) -> Oid:
    return Oid(authid)


def _find_user(view: View, caller: Caller, _now: Instant) -> Identity | None:
    user = view.rows(PRINCIPALS).find_by("authid", caller.authid)
    if user is None or user.disabled or not covers(user.role, caller.authrole):
        return None
    return Identity(user.oid, user)


def _find_node(view: View, caller: Caller, _now: Instant) -> Identity | None:
    try:
        node = view.rows(NODES).find(_oid_in(caller.authid))
    except ValueError:
        return None
    return None if node is None else Identity(node.oid, node)


def _find_edge_node(view: View, caller: Caller, now: Instant) -> Identity | None:
    node = view.rows(NODES).find_by("authid", caller.authid)
    return _find_node(view, caller, now) if node is None else Identity(node.oid, node)


def _find_invitation(view: View, caller: Caller, now: Instant) -> Identity | None:
    try:
        invitation = view.rows(INVITATIONS).find(_oid_in(caller.authid))
    except ValueError:
        return None
    return None if invitation is None or invitation.expires <= now else Identity(invitation.oid, invitation)


FINDERS: dict[str, Finder] = {
    "owner": _find_user,
    "admin": _find_user,
    "operator": _find_user,
    "viewer": _find_user,
    "agent": _find_node,
    "joining": _find_invitation,
    EDGE_ROLE: _find_edge_node,
}
"""By role: how the one that a session speaks for is found in the store."""
