"""Who may log in: users, teams of them, what is granted to them, and invitations to join."""

from typing import Annotated, Literal

import msgspec

from controlplane.records.placement import Zone
from controlplane.records.types import Authid, Instant, Label, Name, Oid, PublicKey, Record, Tags

Role = Literal["owner", "admin", "operator", "viewer"]
GrantedRight = Literal["operate", "manage"]
InvitationKind = Literal["node", "user"]
Bound = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]


class Principal(Record, frozen=True, kw_only=True):
    """A person or program that logs in with a key of its own: a user."""

    oid: Oid
    authid: Authid
    pubkey: PublicKey | None
    """None until a key is registered with an invitation."""

    next_pubkey: PublicKey | None = None
    """The key that takes the place of `pubkey` as soon as somebody logs in with it."""

    role: Role
    label: Label | None = None
    disabled: bool = False
    sessions_max: Bound | None = None
    clusters_max: Bound | None = None
    created: Instant
    changed: Instant = 0


class Possession(Record, frozen=True, kw_only=True):
    """That a cluster belongs to a user; kept in step with every change of an owner."""

    principal_oid: Oid
    cluster_oid: Oid


class UserChanges(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Settings of a user to change; what is not mentioned stays."""

    role: Role | msgspec.UnsetType = msgspec.UNSET
    label: Label | None | msgspec.UnsetType = msgspec.UNSET
    sessions_max: Bound | None | msgspec.UnsetType = msgspec.UNSET
    clusters_max: Bound | None | msgspec.UnsetType = msgspec.UNSET


class UserView(Record, frozen=True, kw_only=True):
    """A user as administrators see it."""

    oid: Oid
    authid: str
    role: Role
    label: str | None
    disabled: bool
    pubkey: str | None
    next_pubkey: str | None
    sessions_max: int | None
    """None for what the master's setting sessions_per_user_max says."""

    clusters_max: int | None
    """None for what the master's setting clusters_per_user_max says."""

    clusters: int
    """Clusters that belong to it."""

    sessions: int
    """Sessions that it has now."""

    teams: tuple[str, ...]
    created: Instant
    changed: Instant


class KeyChange(Record, frozen=True, kw_only=True):
    """That a user has another key."""

    oid: Oid
    authid: str
    pubkey: PublicKey


class Team(Record, frozen=True, kw_only=True):
    """Users that rights are granted to together."""

    oid: Oid
    name: Name
    label: Label | None = None
    created: Instant


class TeamMember(Record, frozen=True, kw_only=True):
    """That a user belongs to a team."""

    user_oid: Oid
    team_oid: Oid


class TeamView(Record, frozen=True, kw_only=True):
    """A team as callers see it."""

    oid: Oid
    name: str
    label: str | None
    members: tuple[str, ...]
    """Authids, in order."""

    created: Instant


class Grant(Record, frozen=True, kw_only=True):
    """A right on one cluster, given to a user or to a team."""

    cluster_oid: Oid
    holder_oid: Oid
    right: GrantedRight


class GrantView(Record, frozen=True, kw_only=True):
    """A right on one cluster as callers see it."""

    cluster_oid: Oid
    holder: Literal["user", "team"]
    holder_oid: Oid
    name: str
    """Of the user or team."""

    right: GrantedRight


class Invitation(Record, frozen=True, kw_only=True):
    """A key that logs in once, to leave the key of a node or a user here.

    Whoever invites makes the key pair; the secret half is the token, and never comes here.
    """

    oid: Oid
    kind: InvitationKind
    pubkey: PublicKey
    realm: str
    authid: Authid | None = None
    """Of the user that registers a key; of a node the name that it gets, None for the name that it asks for."""

    user_oid: Oid | None = None
    tags: Tags | None = None
    capacity: Bound | None = None
    """Most workers that the node will take, whatever its agent says."""

    region: Zone | None = None
    zone: Zone | None = None
    """Where the node stands."""

    expires: Instant
    created: Instant
    created_by: str


class InvitationView(Record, frozen=True, kw_only=True):
    """An open invitation as administrators see it."""

    oid: Oid
    kind: InvitationKind
    realm: str
    authid: str | None
    tags: Tags | None
    capacity: int | None
    region: str | None
    zone: str | None
    expires: Instant
    created: Instant
    created_by: str


class JoinedNode(Record, frozen=True, kw_only=True):
    """What a machine is told that joined with an invitation."""

    node_oid: Oid
    authid: str
    """The node's name."""

    realm: str


class JoinedUser(Record, frozen=True, kw_only=True):
    """What somebody is told who registered a key with an invitation."""

    user_oid: Oid
    authid: str
    role: Role
    realm: str


class Caller(Record, frozen=True, kw_only=True):
    """Who makes a call, as the router discloses it."""

    session: int
    authid: str
    authrole: str
    through: str | None = None
    """Name of the receiver that was triggered, or of the policy that acts, when it was one."""

    cause: str = "call"
    """Why actions are begun: `call`, `receiver`, `policy`."""


class Who(Record, frozen=True, kw_only=True):
    """The caller as replies show it, in Crossbar.io's spelling."""

    session: int
    authid: str
    authrole: str
