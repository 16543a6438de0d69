"""Users: who they are, in which role, and with which key they log in.

Nobody gives or takes a role above their own, and one owner who can log in always remains.
"""

from typing import Any

import msgspec

from controlplane.core.access import covers
from controlplane.errors import AlreadyExists, InvalidConfiguration, LimitReached, NoSuchObject, NotAuthorized
from controlplane.records import events
from controlplane.records.principals import Bound, Principal, Role, UserView
from controlplane.records.types import Authid, Label, PublicKey, mentioned
from controlplane.services.arguments import ExistingUser, UserByName, UserDefinition
from controlplane.services.lists import Limit, after_name, oid_text, page
from controlplane.services.logins import require_free_key
from controlplane.services.pipeline import Call, WritingCall
from controlplane.services.procedures import procedure
from controlplane.services.quotas import require_room
from controlplane.store.catalog import GRANTS, INVITATIONS, POSSESSIONS, PRINCIPALS, TEAM_MEMBERS, TEAMS

USER = "controlplane.user."


@procedure(USER + "list_users", needs="administer")
def list_users(
    call: Call, return_names: bool | None = None, limit: Limit | None = None, marker: str | None = None
) -> list[str]:
    """Return the oids of all users, or with `return_names` their names in order."""
    rows = call.rows(PRINCIPALS)
    if return_names:
        return page(after_name((key.decode() for key, _ in rows.keys_by("authid")), marker), limit)
    return page(after_name((oid_text(key) for key in rows.scan_keys()), marker), limit)


@procedure(USER + "get_user", needs="administer", raises=(NoSuchObject,))
def get_user(call: Call, user_oid: ExistingUser) -> UserView:
    """Return a user, by its oid."""
    return view_user(call, user_oid)


@procedure(USER + "get_user_by_name", needs="administer", raises=(NoSuchObject,))
def get_user_by_name(call: Call, user_name: UserByName) -> UserView:
    """Return a user, by the name that it logs in with."""
    return view_user(call, user_name)


@procedure(USER + "get_own_user", needs="self")
def get_own_user(call: Call) -> UserView:
    """Return who calls."""
    return view_user(call, _own(call))


@procedure(USER + "create_user", needs="administer", writes=True, raises=(AlreadyExists, LimitReached))
def create_user(
    call: WritingCall,
    authid: Authid,
    role: Role,
    pubkey: PublicKey | None = None,
    label: Label | None = None,
    sessions_max: Bound | None = None,
    clusters_max: Bound | None = None,
) -> UserView:
    """Create a user who logs in with this key; without a key, invite the user to register one."""
    require_rank(call, role)
    require_room(call.limits, "users_max", call.rows(PRINCIPALS).count() + 1, "users")
    if pubkey is not None:
        require_free_key(call.view, pubkey)
    user = Principal(
        oid=call.new_oid(),
        authid=authid,
        pubkey=pubkey,
        role=role,
        label=label,
        sessions_max=sessions_max,
        clusters_max=clusters_max,
        created=call.now,
        changed=call.now,
    )
    call.rows(PRINCIPALS).add(user)
    view = view_user(call, user)
    call.publish(events.USER_CREATED, view)
    return view


@procedure(USER + "update_user", needs="administer", writes=True, raises=(NoSuchObject, InvalidConfiguration))
def update_user(call: WritingCall, user_oid: ExistingUser, user: UserDefinition) -> UserView:
    """Change the role, label or limits of a user; what is not mentioned stays. Sessions in a lost role end at once."""
    given = mentioned(user)
    require_rank(call, user_oid.role)
    require_rank(call, given.get("role", user_oid.role))
    return _replace(call, user_oid, **given)


@procedure(USER + "disable_user", needs="administer", writes=True, raises=(NoSuchObject, InvalidConfiguration))
def disable_user(call: WritingCall, user_oid: ExistingUser) -> UserView:
    """Refuse a user from now on; its sessions end at once, and everything of it stays."""
    require_rank(call, user_oid.role)
    return _replace(call, user_oid, disabled=True)


@procedure(USER + "enable_user", needs="administer", writes=True, raises=(NoSuchObject,))
def enable_user(call: WritingCall, user_oid: ExistingUser) -> UserView:
    """Admit a user again who was disabled."""
    require_rank(call, user_oid.role)
    return _replace(call, user_oid, disabled=False)


@procedure(USER + "remove_user", needs="administer", writes=True, raises=(NoSuchObject, InvalidConfiguration))
def remove_user(call: WritingCall, user_oid: ExistingUser) -> UserView:
    """Remove a user with its memberships, rights and invitations; its sessions end at once, its clusters stay."""
    user = user_oid
    require_rank(call, user.role)
    _require_another_owner(call, user)
    view = view_user(call, user)
    for member in list(call.rows(TEAM_MEMBERS).all(user.oid)):
        call.rows(TEAM_MEMBERS).remove(member)
    for grant in list(call.rows(GRANTS).all_by("holder", user.oid)):
        call.rows(GRANTS).remove(grant)
    for invitation in list(call.rows(INVITATIONS).all()):
        if invitation.user_oid == user.oid:
            call.rows(INVITATIONS).remove(invitation)
    call.rows(PRINCIPALS).remove(user)
    sessions = call.sessions
    # Before the event, which its sessions are not to hear any more.
    call.ledger.change.after_commit(lambda: sessions.end(user.authid, "the user was removed"))
    call.publish(events.USER_REMOVED, view)
    return view


@procedure(USER + "rotate_key", needs="self", writes=True, raises=(AlreadyExists,))
def rotate_key(call: WritingCall, pubkey: PublicKey) -> UserView:
    """Announce a new key of one's own; the old one is void as soon as somebody logs in with the new one."""
    user = _own(call)
    if pubkey not in (user.pubkey, user.next_pubkey):
        require_free_key(call.view, pubkey)
    return _replace(call, user, next_pubkey=None if pubkey == user.pubkey else pubkey)


def view_user(call: Call, user: Principal) -> UserView:
    """Return a user as administrators see it."""
    teams = (call.rows(TEAMS).find(member.team_oid) for member in call.rows(TEAM_MEMBERS).all(user.oid))
    return UserView(
        oid=user.oid,
        authid=user.authid,
        role=user.role,
        label=user.label,
        disabled=user.disabled,
        pubkey=user.pubkey,
        next_pubkey=user.next_pubkey,
        sessions_max=user.sessions_max,
        clusters_max=user.clusters_max,
        clusters=call.rows(POSSESSIONS).count(user.oid),
        sessions=call.sessions.count(user.authid),
        teams=tuple(sorted(team.name for team in teams if team is not None)),
        created=user.created,
        changed=user.changed,
    )


def replace_user(call: WritingCall, user: Principal, **fields: Any) -> Principal:
    """Store a user that was changed, and end those of its sessions that could not log in any more."""
    changed = msgspec.structs.replace(user, **fields, changed=call.now)
    call.rows(PRINCIPALS).put(changed, user)
    sessions = call.sessions
    call.ledger.change.after_commit(lambda: sessions.judge(user.authid))
    return changed


def require_rank(call: Call, role: str) -> None:
    """Refuse to give or take a role above the caller's own; raises `NotAuthorized`."""
    if not covers(call.caller.authrole, role):
        raise NotAuthorized(
            f"{call.caller.authid} has the role {call.caller.authrole!r} and may not decide on {role!r}",
            subject={"type": "role", "name": role},
            next_step=f"ask somebody with the role {role!r}",
        )


def _replace(call: WritingCall, user: Principal, **fields: Any) -> UserView:
    changed = msgspec.structs.replace(user, **fields)
    if changed == user:
        return view_user(call, user)
    if changed.disabled or changed.role != "owner":
        _require_another_owner(call, user)
    view = view_user(call, replace_user(call, user, **fields))
    call.publish(events.USER_UPDATED, view)
    return view


def _require_another_owner(call: Call, user: Principal) -> None:
    if user.role != "owner" or user.disabled:
        return
    others = (
        other
        for other in call.rows(PRINCIPALS).all()
        if other.role == "owner" and not other.disabled and other.pubkey is not None and other.oid != user.oid
    )
    if next(others, None) is None:
        raise InvalidConfiguration(
            f"{user.authid} is the last owner who can log in",
            subject={"type": "user", "oid": str(user.oid), "name": user.authid},
            next_step="make somebody else an owner first",
        )


def _own(call: Call) -> Principal:
    if not isinstance(call.identity.record, Principal):
        raise NotAuthorized(f"{call.caller.authid} is no user", next_step="log in with the key of a user")
    return call.identity.record
