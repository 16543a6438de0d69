"""Receivers: made, changed and removed like anything else, and triggered by whoever knows their token."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

import msgspec

from controlplane.core.wordings import located
from controlplane.errors import (
    AlreadyExists,
    Ambiguous,
    InvalidArgument,
    InvalidConfiguration,
    LimitReached,
    NoSuchObject,
    NotAuthorized,
    NotOffered,
    Problem,
)
from controlplane.records import events
from controlplane.records.clusters import Cluster
from controlplane.records.principals import Caller, Principal
from controlplane.records.receivers import (
    FIXED_PARAMS,
    WEBHOOK_PATH,
    NewReceiverView,
    Params,
    Receiver,
    ReceiverAction,
    ReceiverInput,
    ReceiverType,
    ReceiverUpdate,
    ReceiverView,
)
from controlplane.records.types import mentioned
from controlplane.services.arguments import AnyCluster, AnyReceiver, ExistingReceiver
from controlplane.services.cluster_actions import (
    resize_cluster,
    scale_in_cluster,
    scale_out_cluster,
)
from controlplane.services.lists import WHETHER, Limit, Values, select
from controlplane.services.operations import perform_cluster_operation, require_operation
from controlplane.services.pipeline import Call, WritingCall
from controlplane.services.procedures import Definition, Procedure, procedure
from controlplane.services.quotas import require_room
from controlplane.services.recovering import recover_cluster
from controlplane.store.catalog import CLUSTERS, MESSAGES, PRINCIPALS, RECEIVERS
from controlplane.store.database import View

RECEIVER = "controlplane.receiver."
STARTED: Mapping[ReceiverAction, Callable[..., Any]] = {
    ReceiverAction.CLUSTER_SCALE_OUT: scale_out_cluster,
    ReceiverAction.CLUSTER_SCALE_IN: scale_in_cluster,
    ReceiverAction.CLUSTER_RESIZE: resize_cluster,
    ReceiverAction.CLUSTER_RECOVER: recover_cluster,
    ReceiverAction.CLUSTER_OPERATION: perform_cluster_operation,
}
"""The procedure of each action."""

FIELDS = {
    "oid": lambda r: r.oid,
    "name": lambda r: r.name,
    "type": lambda r: r.type,
    "cluster_oid": lambda r: r.cluster_oid,
    "action": lambda r: r.action,
    "owner_oid": lambda r: r.owner_oid,
    "enabled": lambda r: r.enabled,
    "created": lambda r: r.created,
    "changed": lambda r: r.changed,
}
VALUES: Values = {"type": ReceiverType, "action": ReceiverAction, "enabled": WHETHER}


def _procedure(action: ReceiverAction) -> Procedure:
    declared: Procedure = STARTED[action].__procedure__  # type: ignore[attr-defined]
    return declared


def _known(action: ReceiverAction) -> dict[str, Any]:
    """Return what can be said to an action: of which type, by name."""
    return {each.name: each.kind for each in _procedure(action).parameters if each.name != "cluster"}


def _params_problems(action: ReceiverAction, params: Mapping[str, Any]) -> list[Problem]:
    known = _known(action)
    unknown = [name for name in params if name not in known]
    problems = [Problem(f"$.params.{name}", f"is no argument of {action.value}") for name in unknown]
    for name, value in params.items():
        if name in known:
            try:
                msgspec.convert(value, known[name])
            except (msgspec.ValidationError, TypeError, ValueError, OverflowError) as problem:
                problems.append(located(problem, f"$.params.{name}", known[name]))
    return problems


def _wrong_with_params(given: Mapping[Any, Any]) -> list[Problem]:
    """Return what is wrong with the params of a receiver, as far as they are such and their action is said."""
    try:
        action = msgspec.convert(given.get("action"), ReceiverAction)
        params = msgspec.convert(given.get("params", {}), Params)
    except msgspec.ValidationError:
        return []  # That is said already, unless only the receiver itself knows its action.
    return _params_problems(action, params)


ReceiverSettings = Annotated[ReceiverInput, Definition(further=_wrong_with_params)]
ReceiverChanges = Annotated[ReceiverUpdate, Definition(further=_wrong_with_params)]


class Signal(NamedTuple):
    """What a trigger comes to: a call, in the name of the receiver's owner."""

    caller: Caller
    procedure: Procedure
    arguments: dict[str, Any]

    @property
    def uri(self) -> str:
        """Return the name of what is called."""
        return self.procedure.uri


@procedure(RECEIVER + "list_receivers", needs="manage", raises=(NoSuchObject, Ambiguous))
def list_receivers(
    call: Call,
    cluster: AnyCluster,
    filters: dict[str, Any] | None = None,
    sort: str | None = None,
    limit: Limit | None = None,
    marker: str | None = None,
) -> list[ReceiverView]:
    """Return the receivers of a cluster, in order of their oids unless `sort` says otherwise."""
    found = select(
        call.rows(RECEIVERS).all_by("cluster", cluster.oid),
        filters=filters,
        sort=sort,
        limit=limit,
        marker=marker,
        fields=FIELDS,
        values=VALUES,
        oid=lambda each: str(each.oid),
    )
    return [_view(each, cluster) for each in found]


@procedure(RECEIVER + "list_all_receivers", needs="manage")
def list_all_receivers(
    call: Call,
    filters: dict[str, Any] | None = None,
    sort: str | None = None,
    limit: Limit | None = None,
    marker: str | None = None,
) -> list[ReceiverView]:
    """Return the receivers of all clusters, in order of their oids unless `sort` says otherwise."""
    found = select(
        call.rows(RECEIVERS).all(),
        filters=filters,
        sort=sort,
        limit=limit,
        marker=marker,
        fields=FIELDS,
        values=VALUES,
        oid=lambda each: str(each.oid),
    )
    return [_view(each, call.rows(CLUSTERS).get(each.cluster_oid)) for each in found]


@procedure(RECEIVER + "find_receiver", needs="manage", raises=(NoSuchObject, Ambiguous))
def find_receiver(call: Call, receiver: AnyReceiver) -> ReceiverView:
    """Return a receiver of any cluster, by its name, oid, or the beginning of its oid, without its token."""
    return _view(receiver, call.rows(CLUSTERS).get(receiver.cluster_oid))


@procedure(RECEIVER + "get_receiver", needs="manage", raises=(NoSuchObject, Ambiguous))
def get_receiver(_call: Call, cluster: AnyCluster, receiver: ExistingReceiver) -> ReceiverView:
    """Return a receiver of a cluster, without its token."""
    return _view(_of_cluster(receiver, cluster), cluster)


@procedure(
    RECEIVER + "create_receiver",
    needs="manage",
    writes=True,
    raises=(NoSuchObject, Ambiguous, InvalidConfiguration, AlreadyExists, LimitReached, NotAuthorized, NotOffered),
)
def create_receiver(call: WritingCall, cluster: AnyCluster, definition: ReceiverSettings) -> NewReceiverView:
    """Create a receiver: whoever sends a POST to its address starts its action, in the name of its creator.

    The address is told this once, and only a digest of it is kept. The rights of the creator are looked at whenever it
    is used.
    """
    if not isinstance(call.identity.record, Principal):
        raise NotAuthorized("only users have receivers", next_step="log in as a user")
    _require_params(call, cluster, definition.action, definition.params)
    rows = call.rows(RECEIVERS)
    subject = {"type": "cluster", "oid": str(cluster.oid), "name": cluster.name}
    require_room(call.limits, "receivers_max", rows.count(cluster.oid) + 1, "receivers", subject)
    token = _new_token(call)
    made = Receiver(
        oid=call.new_oid(),
        name=definition.name,
        type=definition.type,
        cluster_oid=cluster.oid,
        action=definition.action,
        params=definition.params,
        owner_oid=call.identity.oid,
        token_digest=digest_of_token(token),
        created=call.now,
        changed=call.now,
    )
    rows.add(made)
    view = _view(made, cluster)
    call.publish(events.RECEIVER_CREATED, view)
    return _told(view, token)


@procedure(
    RECEIVER + "update_receiver",
    needs="manage",
    writes=True,
    raises=(NoSuchObject, Ambiguous, InvalidConfiguration, AlreadyExists, NotAuthorized, NotOffered),
)
def update_receiver(
    call: WritingCall, cluster: AnyCluster, receiver: ExistingReceiver, changes: ReceiverChanges
) -> ReceiverView:
    """Change a receiver; its address stays."""
    given = mentioned(changes)
    changed = msgspec.structs.replace(_of_cluster(receiver, cluster), **given, changed=call.now)
    _require_params(call, cluster, changed.action, changed.params)
    call.rows(RECEIVERS).put(changed, receiver)
    view = _view(changed, cluster)
    call.publish(events.RECEIVER_UPDATED, view)
    return view


@procedure(RECEIVER + "rotate_receiver", needs="manage", writes=True, raises=(NoSuchObject, Ambiguous))
def rotate_receiver(call: WritingCall, cluster: AnyCluster, receiver: ExistingReceiver) -> NewReceiverView:
    """Give a receiver another address; the old one is void at once."""
    token = _new_token(call)
    changed = msgspec.structs.replace(
        _of_cluster(receiver, cluster), token_digest=digest_of_token(token), changed=call.now
    )
    call.rows(RECEIVERS).put(changed, receiver)
    view = _view(changed, cluster)
    call.publish(events.RECEIVER_UPDATED, view)
    return _told(view, token)


@procedure(RECEIVER + "delete_receiver", needs="manage", writes=True, raises=(NoSuchObject, Ambiguous))
def delete_receiver(call: WritingCall, cluster: AnyCluster, receiver: ExistingReceiver) -> ReceiverView:
    """Delete a receiver; its address is void at once."""
    call.rows(RECEIVERS).remove(_of_cluster(receiver, cluster))
    for message in list(call.rows(MESSAGES).all(receiver.oid)):
        call.rows(MESSAGES).remove(message)
    view = _view(receiver, cluster)
    call.publish(events.RECEIVER_DELETED, view)
    return view


def signal_of(view: View, token: str, params: Mapping[str, Any]) -> Signal:
    """Return the call that a webhook's token stands for; raises `NoSuchObject` whatever is wrong with the token."""
    receiver = view.rows(RECEIVERS).find_by("token", digest_of_token(token))
    if receiver is None or receiver.type is not ReceiverType.WEBHOOK or not receiver.enabled:
        raise _nobody()
    return signal_to(view, receiver, params)


def signal_to(view: View, receiver: Receiver, params: Mapping[str, Any]) -> Signal:
    """Return the call that a signal to a receiver stands for.

    Raises `NoSuchObject` when its owner is no more, and `InvalidArgument` for what the receiver alone says.
    """
    owner = owner_of(view, receiver)
    if owner is None:
        raise _nobody()
    fixed = [name for name in ("cluster", *FIXED_PARAMS.get(receiver.action, ())) if name in params]
    if fixed:
        problems = [Problem(f"$.params.{name}", "is said by the receiver alone") for name in fixed]
        raise InvalidArgument(
            f"{problems[0].path} {problems[0].message}", problems=problems, next_step="leave it out of the signal"
        )
    caller = Caller(session=0, authid=owner.authid, authrole=owner.role, through=receiver.name, cause="receiver")
    arguments = {**receiver.params, **params, "cluster": str(receiver.cluster_oid)}
    return Signal(caller, _procedure(receiver.action), arguments)


def about_params(problem: InvalidArgument) -> InvalidArgument:
    """Return what is wrong with the arguments of a signal's call to whoever sent it, who knows only of its params."""
    problems = [Problem(f"$.params{each.path.removeprefix('$')}", each.message) for each in problem.problems]
    if not problems:
        return problem
    return InvalidArgument(
        f"{problems[0].path.removeprefix('$.')}: {problems[0].message}",
        subject=problem.subject,
        problems=problems,
        next_step="mend what is listed under params, or leave it out",
    )


def owner_of(view: View, receiver: Receiver) -> Principal | None:
    """Return in whose name a receiver acts, or None when that is nobody any more."""
    owner: Principal | None = view.rows(PRINCIPALS).find(receiver.owner_oid)
    return None if owner is None or owner.disabled else owner


def _nobody() -> NoSuchObject:
    return NoSuchObject("there is no such receiver", next_step="ask whoever gave you the address")


def _told(view: ReceiverView, token: str) -> NewReceiverView:
    """Return a receiver with what is told once."""
    if view.type == ReceiverType.MESSAGE.value:
        return NewReceiverView(receiver=view, webhook_path="", token=token)
    return NewReceiverView(receiver=view, webhook_path=WEBHOOK_PATH + token)


def digest_of_token(token: str) -> bytes:
    """Return what is kept of a token. Tokens are random and long, so that a plain digest cannot be turned back."""
    return hashlib.sha256(token.encode()).digest()


def _new_token(call: Call) -> str:
    """Return 244 random bits."""
    return call.new_oid().hex + call.new_oid().hex


def _require_params(call: Call, cluster: Cluster, action: ReceiverAction, params: Mapping[str, Any]) -> None:
    """Refuse parameters with which the action could never be started."""
    problems = _params_problems(action, params)
    if problems:
        raise InvalidConfiguration(
            f"params of a receiver of cluster {cluster.name}: {problems[0].path} {problems[0].message}",
            problems=problems,
            next_step=f"take from {', '.join(_known(action)) or 'none'}",
        )
    if action is ReceiverAction.CLUSTER_OPERATION:
        _require_operation(call, cluster, params)


def _require_operation(call: Call, cluster: Cluster, params: Mapping[str, Any]) -> None:
    try:
        require_operation(call, cluster, params.get("operation"), params.get("parameters"))
    except InvalidArgument as problem:
        problems = [Problem(f"$.params{each.path.removeprefix('$')}", each.message) for each in problem.problems]
        raise InvalidConfiguration(problem.message, problems=problems, next_step=problem.next_step) from None


def _of_cluster(receiver: Receiver, cluster: Cluster) -> Receiver:
    if receiver.cluster_oid != cluster.oid:
        raise NoSuchObject(
            f"cluster {cluster.name} has no receiver {receiver.name}",
            subject={"type": "receiver", "oid": str(receiver.oid), "cluster_oid": str(cluster.oid)},
            next_step="list the receivers of the cluster",
        )
    return receiver


def _view(receiver: Receiver, cluster: Cluster) -> ReceiverView:
    return ReceiverView(
        oid=receiver.oid,
        name=receiver.name,
        type=receiver.type.value,
        cluster_oid=receiver.cluster_oid,
        cluster_name=cluster.name,
        action=receiver.action,
        params=receiver.params,
        owner_oid=receiver.owner_oid,
        enabled=receiver.enabled,
        created=receiver.created,
        changed=receiver.changed,
    )
