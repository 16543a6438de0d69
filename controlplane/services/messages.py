"""Messages: signals to receivers over WAMP, each of which starts at most one action."""

import hashlib
import hmac
from itertools import islice

from controlplane.core.access import allowed, grants
from controlplane.errors import (
    ActionConflict,
    ActionCooldown,
    Ambiguous,
    InvalidArgument,
    LimitReached,
    NoSuchObject,
    NotAuthorized,
    NotOffered,
)
from controlplane.records.actions import Action, ActionView
from controlplane.records.clusters import Cluster
from controlplane.records.messages import MESSAGES_KEPT_MAX, Message, MessageId, MessageParams, Secret
from controlplane.records.receivers import SEND_MESSAGE, Receiver, ReceiverType
from controlplane.records.types import Line, Oid
from controlplane.services.finding import resolve
from controlplane.services.identity import granted_on, identify, require_right
from controlplane.services.pipeline import WritingCall
from controlplane.services.procedures import procedure
from controlplane.services.receivers import Signal, about_params, digest_of_token, owner_of, signal_to
from controlplane.services.surroundings import Surroundings
from controlplane.services.views import action_view
from controlplane.store.catalog import ACTIONS, CLUSTERS, MESSAGES, RECEIVERS


@procedure(
    SEND_MESSAGE,
    needs="self",
    writes=True,
    raises=(NoSuchObject, NotAuthorized, ActionConflict, ActionCooldown, LimitReached, NotOffered),
)
def send_message(
    call: WritingCall,
    receiver: Line,
    message_id: MessageId,
    params: MessageParams | None = None,
    token: Secret | None = None,
) -> ActionView:
    """Have a receiver of messages start its action, in the name of its owner; return the action.

    Whoever may operate the receiver's cluster needs no `token`, and everybody else the receiver's. A message counts
    once: sent again with the same `message_id` it returns the action that it started. One that was refused did not
    count, and may be sent again.
    """
    found = _require_receiver(call, receiver, token)
    digest = hashlib.sha256(message_id.encode("utf-8", "surrogatepass")).digest()
    before: Message | None = call.rows(MESSAGES).find(found.oid, digest)
    if before is not None:
        action: Action = call.rows(ACTIONS).get(before.action_oid)
        return action_view(action)
    signal = signal_to(call.view, found, params or {})
    try:
        started = _start(call, signal)
    except InvalidArgument as problem:
        raise about_params(problem) from None
    call.rows(MESSAGES).add(Message(receiver_oid=found.oid, digest=digest, action_oid=started.oid, time=call.now))
    _forget_old(call, found.oid)
    return started


def _require_receiver(call: WritingCall, named: str, token: str | None) -> Receiver:
    """Return the receiver that is meant; who neither knows its token nor has a right does not learn whether it is."""
    missing = NoSuchObject(
        f"there is no receiver {named} for messages of yours",
        subject={"type": "receiver", "name": named},
        next_step="give its name or oid, and its token unless you may operate its cluster",
    )
    try:
        found: Receiver = resolve(call.view, RECEIVERS, named, str.encode)
    except (NoSuchObject, Ambiguous):
        raise missing from None
    if found.type is not ReceiverType.MESSAGE or not found.enabled or owner_of(call.view, found) is None:
        raise missing
    knows = token is not None and hmac.compare_digest(digest_of_token(token), found.token_digest)
    if not knows and not _may_operate(call, call.rows(CLUSTERS).get(found.cluster_oid)):
        raise missing
    return found


def _may_operate(call: WritingCall, cluster: Cluster) -> bool:
    granted = granted_on(call.view, call.identity.oid, cluster)
    return allowed(call.caller.authrole, "operate") or grants(granted, "operate")


def _start(call: WritingCall, signal: Signal) -> ActionView:
    """Do what a signal comes to, with all that is checked of any call, in the transaction of this one."""
    declared = signal.procedure
    bound = declared.bind((), signal.arguments, call.limits)
    identity = identify(call.view, signal.caller, call.now)
    require_right(call.view, identity, signal.caller, declared, bound)
    surroundings = Surroundings(call.agents, call.sessions, call.limits, call.metrics, call.obstacle)
    own = WritingCall(signal.caller, identity, call.ledger, surroundings)
    own.written = call.written
    started: ActionView = declared.function(own, **declared.parse(bound, call.view))
    return started


def _forget_old(call: WritingCall, receiver_oid: Oid) -> None:
    rows = call.rows(MESSAGES)
    surplus = rows.count(receiver_oid) - MESSAGES_KEPT_MAX
    for message in list(islice(rows.all_by("time", receiver_oid), max(0, surplus))):
        rows.remove(message)
