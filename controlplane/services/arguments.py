"""What procedures are about: how each kind of argument is read into the object that is meant, or the settings given."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

import msgspec

from controlplane.core.policies import POLICY_TYPES
from controlplane.core.specs import spec_problems
from controlplane.core.worker_types import WORKER_TYPES
from controlplane.errors import Problem
from controlplane.records import definitions
from controlplane.records.actions import Action
from controlplane.records.clusters import (
    Cluster,
    ClusterInput,
    ClusterType,
    ClusterUpdate,
    GenericClusterInput,
    GenericClusterUpdate,
    Group,
    GroupInput,
    MembershipInput,
)
from controlplane.records.lone_workers import AdoptionInput, WorkerInput, WorkerUpdate
from controlplane.records.nodes import Node, NodeUpdate
from controlplane.records.principals import Invitation, Principal, Team, UserChanges
from controlplane.records.receivers import Receiver
from controlplane.records.workers import Worker
from controlplane.services.finding import resolve
from controlplane.services.finding_actions import find_action
from controlplane.services.finding_workers import find_worker
from controlplane.services.procedures import Definition, Find, Lookup
from controlplane.store.catalog import (
    ACTIONS,
    CLUSTERS,
    DEFINITIONS,
    GROUPS,
    INVITATIONS,
    NODES,
    PRINCIPALS,
    RECEIVERS,
    TEAMS,
    WORKERS,
)
from controlplane.store.database import View


def _is_router_cluster(cluster: Cluster) -> bool:
    return cluster.type is ClusterType.ROUTER


def _is_no_place(cluster: Cluster) -> bool:
    return not cluster.alone


def _cluster_of(view: View, part: Worker | Receiver) -> Cluster:
    found: Cluster = view.rows(CLUSTERS).get(part.cluster_oid)
    return found


def _find_receiver(view: View, key: str) -> Receiver:
    found: Receiver = resolve(view, RECEIVERS, key, str.encode)
    return found


def profile_key(name: str) -> bytes:
    """Return the unique key of a profile's name."""
    return f"{definitions.DefinitionKind.PROFILE.value}\0{name}".encode()


def policy_key(name: str) -> bytes:
    """Return the unique key of a policy's name."""
    return f"{definitions.DefinitionKind.POLICY.value}\0{name}".encode()


def is_profile(definition: definitions.Definition) -> bool:
    """Say whether a definition is a profile."""
    return definition.kind is definitions.DefinitionKind.PROFILE


def _is_policy(definition: definitions.Definition) -> bool:
    return definition.kind is definitions.DefinitionKind.POLICY


ExistingCluster = Annotated[Cluster, Lookup(CLUSTERS, None, _is_router_cluster)]
"""A router cluster."""

ClusterByOid = Annotated[Cluster, Lookup(CLUSTERS)]
"""A cluster of any type, by its oid."""

ClusterByName = Annotated[Cluster, Lookup(CLUSTERS, "name", _is_router_cluster)]
AnyCluster = Annotated[Cluster, Find(CLUSTERS, admits=_is_no_place)]
"""A cluster of any type, by name, oid, or beginning of its oid."""

ClusterOrPlace = Annotated[Cluster, Find(CLUSTERS)]
"""The same, or the place that a worker in no cluster has for itself."""

AnyWorker = Annotated[Worker, Find(WORKERS, find=find_worker, cluster_of=_cluster_of)]
"""A worker of a cluster of any type or of none, by oid, name, or beginning of its oid."""

WorkerDefinition = Annotated[WorkerInput, Definition()]
AdoptionDefinition = Annotated[AdoptionInput, Definition()]
WorkerChanges = Annotated[WorkerUpdate, Definition()]

ExistingProfile = Annotated[definitions.Definition, Find(DEFINITIONS, profile_key, is_profile, noun="profile")]
ExistingPolicy = Annotated[definitions.Definition, Find(DEFINITIONS, policy_key, _is_policy, noun="policy")]
ExistingReceiver = Annotated[Receiver, Find(RECEIVERS)]
AnyReceiver = Annotated[Receiver, Find(RECEIVERS, find=_find_receiver, cluster_of=_cluster_of)]
"""A receiver of any cluster, by name, oid, or beginning of its oid."""

ExistingAction = Annotated[Action, Find(ACTIONS, find=find_action)]
"""Of its own, or a child of another one; by oid, name, or beginning of its oid."""

_ECHOED = ("oid", "kind", "type", "owner_oid", "created", "changed")


def _wrong_with_spec(types: Mapping[str, Any], given: Mapping[Any, Any]) -> list[Problem]:
    """Return what is wrong with the spec of a definition, as far as it is one."""
    try:
        spec = msgspec.convert(given.get("spec"), dict[str, Any])
    except msgspec.ValidationError:
        return []  # That is said already.
    return spec_problems(spec, types)


ProfileSettings = Annotated[definitions.DefinitionInput, Definition(_ECHOED, partial(_wrong_with_spec, WORKER_TYPES))]
PolicySettings = Annotated[definitions.DefinitionInput, Definition(_ECHOED, partial(_wrong_with_spec, POLICY_TYPES))]
DefinitionChanges = Annotated[definitions.DefinitionUpdate, Definition(_ECHOED)]
GenericClusterDefinition = Annotated[GenericClusterInput, Definition()]
GenericClusterChanges = Annotated[GenericClusterUpdate, Definition()]
ExistingGroup = Annotated[Group, Lookup(GROUPS)]
ExistingNode = Annotated[Node, Lookup(NODES)]
NodeByName = Annotated[Node, Lookup(NODES, "authid")]
NodeChanges = Annotated[
    NodeUpdate,
    Definition(("oid", "authid", "name", "pubkey", "next_pubkey", "status", "since", "created", "changed")),
]
ExistingUser = Annotated[Principal, Lookup(PRINCIPALS)]
UserByName = Annotated[Principal, Lookup(PRINCIPALS, "authid")]
ExistingTeam = Annotated[Team, Lookup(TEAMS)]
ExistingInvitation = Annotated[Invitation, Lookup(INVITATIONS)]
UserDefinition = Annotated[
    UserChanges,
    Definition(
        ("oid", "authid", "disabled", "pubkey", "next_pubkey", "clusters", "sessions", "teams", "created", "changed")
    ),
]
ExistingWorker = Annotated[Worker, Lookup(WORKERS)]
ClusterDefinition = Annotated[
    ClusterInput,
    Definition(("oid", "status", "owner_oid", "changed", "created", "reason", "revision")),
]
ClusterChanges = Annotated[ClusterUpdate, Definition(("oid", "status", "owner_oid", "changed", "created", "reason"))]
GroupDefinition = Annotated[GroupInput, Definition(("oid", "status", "changed", "created"))]
MembershipDefinition = Annotated[MembershipInput, Definition(("cluster_oid", "node_oid"))]
