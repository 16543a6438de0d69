"""Resources with Senlin's attributes, made from our records.

An attribute that would take another call is asked for when it is read first, and kept.
"""

from collections.abc import Callable
from typing import Any

from controlplane.client.senlin import words
from controlplane.records.actions import ActionView, Phase
from controlplane.records.clusters import AnyClusterView
from controlplane.records.definitions import DefinitionView, TypeView
from controlplane.records.events import EventView
from controlplane.records.policies import BindingView
from controlplane.records.receivers import SEND_MESSAGE, ReceiverType, ReceiverView
from controlplane.records.services import BuildInfo as OurBuildInfo
from controlplane.records.services import ServiceView
from controlplane.records.types import MANAGEMENT_REALM, to_wire
from controlplane.records.workers import AnyWorkerView, CollectedAttribute

Later = Callable[[], Any]


class Resource:
    """Something of the plane, as it was when it was asked for; its attributes can be read as items, too."""

    def __init__(self, *, later: dict[str, Later] | None = None, **attributes: Any) -> None:
        """Take the attributes, and what asks for those that are not there yet."""
        self._attributes = attributes
        self._later = later or {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in self._later:
            self._attributes[name] = self._later.pop(name)()
        try:
            return self._attributes[name]
        except KeyError:
            raise AttributeError(f"a {type(self).__name__.lower()} has no {name}") from None

    def __getitem__(self, name: str) -> Any:
        try:
            return getattr(self, name)
        except AttributeError as problem:
            raise KeyError(name) from problem

    def __contains__(self, name: object) -> bool:
        return name in self._attributes or name in self._later

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]  # Attributes that come later would change it.

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self._attributes.items())
        return f"{type(self).__name__}({shown})"

    def set(self, name: str, value: Any) -> None:
        """Say what is known better by now."""
        self._attributes[name] = value

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute, or something else when there is none of this name."""
        try:
            return getattr(self, name)
        except AttributeError:
            return default

    def to_dict(self) -> dict[str, Any]:
        """Return all attributes, those included that have to be asked for first."""
        for name in list(self._later):
            getattr(self, name)
        return dict(self._attributes)


class Profile(Resource):
    """What nodes are made of."""


class Policy(Resource):
    """What clusters obey."""


class ProfileType(Resource):
    """What profiles may say."""


class PolicyType(Resource):
    """What policies may say."""


class Cluster(Resource):
    """Nodes of one profile. `action_id` is the action that changes it, which Senlin tells in a header only."""


class Node(Resource):
    """One worker; `cluster_id` is empty and `index` -1 of one that is in no cluster."""


class ClusterPolicy(Resource):
    """That a cluster obeys a policy."""


class ClusterAttr(Resource):
    """What a path leads to in one node."""


class Action(Resource):
    """A change that takes its time.

    One of a cluster depends on those of its nodes: `depends_on` has the ids of those that have not ended, and of such a
    one `depended_by` has the id of its cluster's.
    """


class Event(Resource):
    """Something that happened. It is numbered: `id` is the number, as text."""


class Receiver(Resource):
    """A signal from outside that starts an action."""


class Service(Resource):
    """A master or an agent."""


class BuildInfo(Resource):
    """Which program answers."""


OWNER: dict[str, Any] = {"project_id": MANAGEMENT_REALM, "domain_id": None}
"""There is one project; it is called what the realm is called."""


def profile(view: DefinitionView, kind: type[Resource] = Profile) -> Any:
    """Return a profile, or a policy."""
    return kind(
        id=None if view.oid is None else str(view.oid),
        name=view.name,
        type=view.type,
        type_name=view.type,
        spec=to_wire(view.spec),
        metadata=view.metadata,
        data={},
        user_id=None if view.owner_oid is None else str(view.owner_oid),
        created_at=words.instant(view.created),
        updated_at=words.instant(view.changed),
        **OWNER,
    )


def type_of(view: TypeView, kind: type[Resource]) -> Any:
    """Return a type."""
    return kind(
        id=view.name,
        name=view.name,
        version=view.version,
        description=view.description,
        schema=view.schema,
        operations={name: to_wire(operation) for name, operation in view.operations.items()},
        support_status={view.version: [{"status": view.support_status, "since": view.since}]},
    )


def cluster(view: AnyClusterView, action: ActionView | None, later: dict[str, Later]) -> Cluster:
    """Return a cluster; `action` is the one that changes it."""
    bounds = [group.max_size for group in view.groups]
    status = words.CLUSTER_STATUS[view.status] if action is None else words.BUSY[action.action]
    return Cluster(
        later=later,
        id=str(view.oid),
        name=view.name,
        profile_id=None if view.profile_oid is None else str(view.profile_oid),
        desired_capacity=view.desired,
        min_size=sum(group.min_size for group in view.groups),
        max_size=sum(bound for bound in bounds if bound is not None) if bounds and None not in bounds else -1,
        timeout=int(view.timeout),
        metadata=view.metadata,
        config={} if view.naming is None else {"node.name.format": view.naming},
        status=status,
        status_reason=view.reason,
        action_id=None if view.action_oid is None else str(view.action_oid),
        data={},
        dependents={},
        user_id=None if view.owner_oid is None else str(view.owner_oid),
        init_at=words.instant(view.created),
        created_at=words.instant(view.created),
        updated_at=words.instant(view.changed),
        **OWNER,
    )


def node(view: AnyWorkerView, later: dict[str, Later]) -> Node:
    """Return a node."""
    return Node(
        later=later,
        id=str(view.oid),
        name=view.name,
        profile_id=None if view.profile_oid is None else str(view.profile_oid),
        cluster_id="" if view.alone else str(view.cluster_oid),
        physical_id=None if view.pid is None else str(view.pid),
        index=-1 if view.alone else view.index,
        role=None,
        tainted=False,
        metadata=view.metadata,
        status=words.LEAVING if view.leaving else words.NODE_STATUS[_status(view)],
        status_reason=view.reason,
        details=view.details,
        data={
            "placement": {
                "machine_id": None if view.node_oid is None else str(view.node_oid),
                "machine": view.node_name,
            }
        },
        dependents={},
        addresses=[to_wire(address) for address in view.addresses],
        user_id=None,
        init_at=words.instant(view.created),
        created_at=words.instant(view.created),
        updated_at=words.instant(view.changed),
        **OWNER,
    )


def _status(view: AnyWorkerView) -> Any:
    return next(status for status in words.NODE_STATUS if status.value == view.status)


def binding(view: BindingView) -> ClusterPolicy:
    """Return that a cluster obeys a policy."""
    return ClusterPolicy(
        id=str(view.oid),
        cluster_id=str(view.cluster_oid),
        cluster_name=view.cluster_name,
        policy_id=str(view.policy_oid),
        policy_name=view.policy_name,
        policy_type=view.policy_type,
        priority=view.priority,
        is_enabled=view.enabled,
        enabled=view.enabled,
        last_op=words.instant(view.used),
        data={},
    )


def attribute(found: CollectedAttribute, value: Any) -> ClusterAttr:
    """Return what a path leads to in one node."""
    return ClusterAttr(node_id=str(found.worker_oid), node_name=found.worker_name, attr_value=value)


def action(view: ActionView, depends_on: Later) -> Action:
    """Return an action; `depends_on` asks for those that it waits for."""
    waits = view.ended is None and view.children is not None
    return Action(
        later={"depends_on": depends_on if waits else list},
        id=str(view.oid),
        name=view.name,
        action=words.action_name(view.action.value),
        target_id=str(view.target),
        target=str(view.target),
        cluster_id=str(view.cluster_oid),
        cause=words.CAUSES.get(view.cause, view.cause),
        owner_id=None,
        interval=-1,
        start_at=words.epoch(view.started),
        end_at=words.epoch(view.ended),
        timeout=int(view.timeout),
        status=view.phase.value if view.phase is Phase.LIFECYCLE else view.status.value,
        status_reason=view.reason,
        inputs=view.inputs,
        outputs=to_wire(view.outputs),
        depended_by=[] if view.parent_oid is None else [str(view.parent_oid)],
        data={
            "phase": view.phase.value,
            "done": view.done,
            "total": view.total,
            "children": None if view.children is None else to_wire(view.children),
        },
        user_id=view.who,
        created_at=words.instant(view.created),
        updated_at=words.instant(view.ended or view.created),
        **OWNER,
    )


def event(view: EventView) -> Event:
    """Return an event."""
    return Event(
        id=str(view.seq),
        generated_at=words.instant(view.time),
        timestamp=words.instant(view.time),
        level=view.level.value,
        obj_id=view.object_oid,
        obj_name=view.object_name,
        obj_type=words.object_type(view.object_type),
        cluster_id=view.cluster_oid,
        action=None if view.action is None else words.action_name(view.action),
        status=view.status,
        status_reason=view.reason,
        topic=view.topic,
        meta_data=view.payload,
        user_id=None,
        **OWNER,
    )


def receiver(view: ReceiverView) -> Receiver:
    """Return a receiver."""
    return Receiver(
        id=str(view.oid),
        name=view.name,
        type=view.type,
        cluster_id=str(view.cluster_oid),
        action=words.action_name(view.action.value),
        params=view.params,
        actor={},
        channel={} if view.type == ReceiverType.WEBHOOK.value else {"procedure": SEND_MESSAGE},
        enabled=view.enabled,
        user_id=str(view.owner_oid),
        created_at=words.instant(view.created),
        updated_at=words.instant(view.changed),
        **OWNER,
    )


def service(view: ServiceView) -> Service:
    """Return a service."""
    return Service(
        id=str(view.oid),
        binary=f"controlplane-{view.kind}",
        host=view.name,
        topic=None,
        version=view.version,
        status="enabled",
        disabled_reason=None,
        state=view.state,
        updated_at=words.instant(view.since),
    )


def build_info(told: OurBuildInfo) -> BuildInfo:
    """Return which program answers."""
    return BuildInfo(api={"revision": told.contract}, engine={"revision": told.version})
