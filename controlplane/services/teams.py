"""Teams: users that rights are granted to together."""

from controlplane.errors import AlreadyExists, LimitReached, NoSuchObject
from controlplane.records import events
from controlplane.records.principals import Team, TeamMember, TeamView
from controlplane.records.types import Label, Name
from controlplane.services.arguments import ExistingTeam, ExistingUser
from controlplane.services.lists import Limit, after_name, oid_text, page
from controlplane.services.pipeline import Call, WritingCall
from controlplane.services.procedures import procedure
from controlplane.services.quotas import require_room
from controlplane.store.catalog import GRANTS, PRINCIPALS, TEAM_MEMBERS, TEAMS

TEAM = "controlplane.team."


@procedure(TEAM + "list_teams", needs="administer")
def list_teams(
    call: Call, return_names: bool | None = None, limit: Limit | None = None, marker: str | None = None
) -> list[str]:
    """Return the oids of all teams, or with `return_names` their names in order."""
    rows = call.rows(TEAMS)
    if return_names:
        return page(after_name((key.decode() for key, _ in rows.keys_by("name")), marker), limit)
    return page(after_name((oid_text(key) for key in rows.scan_keys()), marker), limit)


@procedure(TEAM + "get_team", needs="administer", raises=(NoSuchObject,))
def get_team(call: Call, team_oid: ExistingTeam) -> TeamView:
    """Return a team and its members."""
    return view_team(call, team_oid)


@procedure(TEAM + "create_team", needs="administer", writes=True, raises=(AlreadyExists, LimitReached))
def create_team(call: WritingCall, team_name: Name, label: Label | None = None) -> TeamView:
    """Create a team without members."""
    require_room(call.limits, "teams_max", call.rows(TEAMS).count() + 1, "teams")
    team = Team(oid=call.new_oid(), name=team_name, label=label, created=call.now)
    call.rows(TEAMS).add(team)
    view = view_team(call, team)
    call.publish(events.TEAM_CREATED, view)
    return view


@procedure(TEAM + "remove_team", needs="administer", writes=True, raises=(NoSuchObject,))
def remove_team(call: WritingCall, team_oid: ExistingTeam) -> TeamView:
    """Remove a team and what was granted to it."""
    team = team_oid
    view = view_team(call, team)
    for member in list(call.rows(TEAM_MEMBERS).all_by("team", team.oid)):
        call.rows(TEAM_MEMBERS).remove(member)
    for grant in list(call.rows(GRANTS).all_by("holder", team.oid)):
        call.rows(GRANTS).remove(grant)
    call.rows(TEAMS).remove(team)
    call.publish(events.TEAM_REMOVED, view)
    return view


@procedure(TEAM + "add_team_member", needs="administer", writes=True, raises=(NoSuchObject, LimitReached))
def add_team_member(call: WritingCall, team_oid: ExistingTeam, user_oid: ExistingUser) -> TeamView:
    """Make a user a member of a team; a member stays one."""
    rows = call.rows(TEAM_MEMBERS)
    if not rows.has(user_oid.oid, team_oid.oid):
        team = {"type": "team", "oid": str(team_oid.oid), "name": team_oid.name}
        require_room(call.limits, "team_members_max", rows.count(team_oid.oid) + 1, "members", team)
        teams = sum(1 for _ in rows.all(user_oid.oid)) + 1
        user = {"type": "user", "oid": str(user_oid.oid), "name": user_oid.authid}
        require_room(call.limits, "team_members_max", teams, "teams", user)
        rows.put(TeamMember(user_oid=user_oid.oid, team_oid=team_oid.oid))
        call.publish(events.TEAM_UPDATED, view_team(call, team_oid))
    return view_team(call, team_oid)


@procedure(TEAM + "remove_team_member", needs="administer", writes=True, raises=(NoSuchObject,))
def remove_team_member(call: WritingCall, team_oid: ExistingTeam, user_oid: ExistingUser) -> TeamView:
    """Take a user out of a team."""
    call.rows(TEAM_MEMBERS).remove(call.rows(TEAM_MEMBERS).get(user_oid.oid, team_oid.oid))
    view = view_team(call, team_oid)
    call.publish(events.TEAM_UPDATED, view)
    return view


def view_team(call: Call, team: Team) -> TeamView:
    """Return a team as callers see it."""
    users = (call.rows(PRINCIPALS).find(m.user_oid) for m in call.rows(TEAM_MEMBERS).all_by("team", team.oid))
    return TeamView(
        oid=team.oid,
        name=team.name,
        label=team.label,
        members=tuple(sorted(user.authid for user in users if user is not None)),
        created=team.created,
    )
