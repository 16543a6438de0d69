"""Invitations: whoever has the token may leave the key of one node, or of one user, here; once, and not for long.

The token is the secret half of a key pair that the inviting side makes. It logs in like any key does, so it is never
sent, and the store has its public half only.
"""

from typing import Annotated

import msgspec

from controlplane.errors import AlreadyExists, InvalidArgument, LimitReached, NoSuchObject, NotAuthorized, Problem
from controlplane.records import events
from controlplane.records.nodes import Node
from controlplane.records.placement import Zone
from controlplane.records.principals import (
    Bound,
    Invitation,
    InvitationKind,
    InvitationView,
    JoinedNode,
    JoinedUser,
)
from controlplane.records.protocol import JOIN_NODE, REGISTER_KEY
from controlplane.records.types import MANAGEMENT_REALM, NANOSECONDS, Authid, PublicKey, Seconds, Tags
from controlplane.services.arguments import ExistingInvitation, ExistingUser
from controlplane.services.logins import require_free_key
from controlplane.services.nodes import add_node
from controlplane.services.pipeline import Call, WritingCall
from controlplane.services.procedures import procedure
from controlplane.services.quotas import require_room
from controlplane.services.users import replace_user, require_rank, view_user
from controlplane.store.catalog import INVITATIONS, NODES, PRINCIPALS

INVITATION = "controlplane.invitation."
NODE_VALID_MAX_S = 900.0
USER_VALID_MAX_S = 7 * 86_400.0
USER_VALID_S = 86_400.0

NodeValidity = Annotated[float, msgspec.Meta(gt=0, le=NODE_VALID_MAX_S)]
UserValidity = Annotated[float, msgspec.Meta(gt=0, le=USER_VALID_MAX_S)]


@procedure(INVITATION + "list_invitations", needs="administer")
def list_invitations(call: Call, kind: InvitationKind | None = None) -> list[InvitationView]:
    """Return the invitations that are open, or those of one kind."""
    return [
        view_invitation(invitation)
        for invitation in call.rows(INVITATIONS).all()
        if invitation.expires > call.now and kind in (None, invitation.kind)
    ]


@procedure(INVITATION + "invite_node", needs="administer", writes=True, raises=(AlreadyExists, LimitReached))
def invite_node(
    call: WritingCall,
    pubkey: PublicKey,
    node_name: Authid | None = None,
    tags: Tags | None = None,
    capacity: Bound | None = None,
    valid_for: NodeValidity = NODE_VALID_MAX_S,
    region: Zone | None = None,
    zone: Zone | None = None,
) -> InvitationView:
    """Let whoever has the secret half of this key pair one node, within so many seconds, 900 at most.

    The node gets what is given here, its place among them, and takes no more workers than `capacity`.
    """
    if node_name is not None and call.rows(NODES).find_by("authid", node_name) is not None:
        raise AlreadyExists(
            "another node has this authid",
            subject={"type": "node", "name": node_name},
            next_step="choose another name, or unpair the node that has it",
        )
    settings = {"tags": tags, "capacity": capacity, "region": region, "zone": zone}
    return _invite(call, "node", pubkey, valid_for, authid=node_name, **settings)


@procedure(
    INVITATION + "invite_user", needs="administer", writes=True, raises=(NoSuchObject, AlreadyExists, LimitReached)
)
def invite_user(
    call: WritingCall, user_oid: ExistingUser, pubkey: PublicKey, valid_for: UserValidity = USER_VALID_S
) -> InvitationView:
    """Let whoever has the secret half of this key register the key of a user, within so many seconds.

    A key that the user has already is void as soon as the new one is registered.
    """
    require_rank(call, user_oid.role)
    return _invite(call, "user", pubkey, valid_for, authid=user_oid.authid, user_oid=user_oid.oid)


@procedure(INVITATION + "remove_invitation", needs="administer", writes=True, raises=(NoSuchObject,))
def remove_invitation(call: WritingCall, invitation_oid: ExistingInvitation) -> InvitationView:
    """Withdraw an invitation."""
    return _remove(call, invitation_oid, events.INVITATION_REMOVED)


@procedure(JOIN_NODE, needs="join", writes=True, raises=(NotAuthorized, AlreadyExists, LimitReached))
def join_node(call: WritingCall, pubkey: PublicKey, node_name: Authid | None = None) -> JoinedNode:
    """Trade an invitation for the pairing of a node, which logs in with this key from now on.

    `node_name` counts when the invitation is for no name in particular.
    """
    invitation = _own_invitation(call, "node")
    name = invitation.authid or node_name
    if name is None:
        raise InvalidArgument(
            "the invitation is for no name in particular, and none is given",
            problems=[Problem("$.node_name", "is missing")],
            next_step="say how the node is to be called",
        )
    _remove(call, invitation, events.INVITATION_USED)
    node = Node(
        oid=call.new_oid(),
        authid=name,
        pubkey=pubkey,
        tags=invitation.tags,
        capacity_max=invitation.capacity,
        region=invitation.region,
        zone=invitation.zone,
        created=call.now,
        changed=call.now,
        since=call.now,
    )
    add_node(call, node)
    return JoinedNode(node_oid=node.oid, authid=name, realm=invitation.realm)


@procedure(REGISTER_KEY, needs="join", writes=True, raises=(NotAuthorized, AlreadyExists))
def register_key(call: WritingCall, pubkey: PublicKey) -> JoinedUser:
    """Trade an invitation for the key of a user, who logs in with it from now on."""
    invitation = _own_invitation(call, "user")
    user = call.rows(PRINCIPALS).find(invitation.user_oid)
    if user is None:
        raise NotAuthorized("the user is no more", next_step="ask an administrator")
    _remove(call, invitation, events.INVITATION_USED)
    require_free_key(call.view, pubkey)
    changed = replace_user(call, user, pubkey=pubkey, next_pubkey=None)
    call.publish(events.USER_UPDATED, view_user(call, changed))
    return JoinedUser(user_oid=user.oid, authid=user.authid, role=user.role, realm=invitation.realm)


def view_invitation(invitation: Invitation) -> InvitationView:
    """Return an invitation as administrators see it."""
    return InvitationView(
        oid=invitation.oid,
        kind=invitation.kind,
        realm=invitation.realm,
        authid=invitation.authid,
        tags=invitation.tags,
        capacity=invitation.capacity,
        region=invitation.region,
        zone=invitation.zone,
        expires=invitation.expires,
        created=invitation.created,
        created_by=invitation.created_by,
    )


def _invite(
    call: WritingCall, kind: InvitationKind, pubkey: PublicKey, valid_for: Seconds, **fields: object
) -> InvitationView:
    rows = call.rows(INVITATIONS)
    for open_ in list(rows.all()):
        if open_.expires <= call.now:
            _remove(call, open_, events.INVITATION_REMOVED)
    require_room(call.limits, "invitations_max", rows.count() + 1, "invitations")
    require_free_key(call.view, pubkey)
    invitation = msgspec.structs.replace(
        Invitation(
            oid=call.new_oid(),
            kind=kind,
            pubkey=pubkey,
            realm=MANAGEMENT_REALM,
            expires=call.now + int(valid_for * NANOSECONDS),
            created=call.now,
            created_by=call.caller.authid,
        ),
        **fields,
    )
    rows.add(invitation)
    view = view_invitation(invitation)
    call.publish(events.INVITATION_CREATED, view)
    return view


def _remove(call: WritingCall, invitation: Invitation, kind: events.EventType) -> InvitationView:
    view = view_invitation(invitation)
    call.rows(INVITATIONS).remove(invitation)
    call.publish(kind, view)
    sessions, authid = call.sessions, str(invitation.oid)
    call.ledger.change.after_commit(lambda: sessions.end(authid, "the invitation is no more"))
    return view


def _own_invitation(call: Call, kind: InvitationKind) -> Invitation:
    record = call.identity.record
    if not isinstance(record, Invitation) or record.kind != kind:
        raise NotAuthorized(f"this is no invitation of a {kind}", next_step=f"use the token of a {kind}")
    return record
