"""Taking objects over from another master: through the same doors as everything else, but under the oids they have."""

import copy
from typing import Any, TypeVar

from controlplane.errors import AlreadyExists, InvalidConfiguration, LimitReached, NodesNotConnected, NoSuchObject
from controlplane.records.clusters import ClusterInput, GroupInput, MembershipInput
from controlplane.records.imports import (
    Imported,
    ImportedCluster,
    ImportedGroup,
    ImportedMembership,
    ImportedNode,
    ImportedUser,
    Taken,
    noun_of,
)
from controlplane.records.nodes import Node
from controlplane.records.types import Oid
from controlplane.services.clusters import create_routercluster
from controlplane.services.groups import add_routercluster_workergroup
from controlplane.services.identity import Identity
from controlplane.services.memberships import add_routercluster_node
from controlplane.services.nodes import add_node
from controlplane.services.pipeline import WritingCall
from controlplane.services.procedures import procedure
from controlplane.services.users import create_user
from controlplane.store.catalog import CLUSTERS, GROUPS, MEMBERSHIPS, NODES, PRINCIPALS
from controlplane.store.tables import Table

R = TypeVar("R")


@procedure(
    "controlplane.migration.import_object",
    needs="administer",
    writes=True,
    raises=(AlreadyExists, InvalidConfiguration, LimitReached, NoSuchObject, NodesNotConnected),
)
def import_object(call: WritingCall, imported: Imported) -> Taken:
    """Take one object over from another master, as `controlplane import` does; a second time changes nothing."""
    match imported:
        case ImportedMembership():
            cluster = call.rows(CLUSTERS).get(imported.cluster_oid)
            node = call.rows(NODES).get(imported.node_oid)
            known = call.rows(MEMBERSHIPS).find(cluster.oid, node.oid) is not None
            if not known:
                limits = MembershipInput(softlimit=imported.softlimit, hardlimit=imported.hardlimit)
                add_routercluster_node(call, cluster, node, limits)
            return Taken(noun=noun_of(imported), oid=cluster.oid, created=not known)
        case ImportedUser():
            known = _is_here(call, PRINCIPALS, imported.oid, authid=imported.authid, pubkey=imported.pubkey)
            if not known:
                create_user(_as(call, imported.oid), imported.authid, imported.role, imported.pubkey, imported.label)
        case ImportedNode():
            known = _is_here(call, NODES, imported.oid, authid=imported.authid, pubkey=imported.pubkey)
            if not known:
                add_node(call, _node(call, imported))
        case ImportedCluster():
            known = _is_here(call, CLUSTERS, imported.oid, name=imported.name)
            if not known:
                owner = call.rows(PRINCIPALS).find(imported.owner_oid) if imported.owner_oid else None
                whose = call.identity if owner is None else Identity(owner.oid, owner)
                settings = ClusterInput(**_described(imported), name=imported.name)
                create_routercluster(_as(call, imported.oid, whose), settings)
        case ImportedGroup():
            cluster = call.rows(CLUSTERS).get(imported.cluster_oid)
            known = _is_here(call, GROUPS, imported.oid, name=imported.name, cluster_oid=cluster.oid)
            if not known:
                settings_of_group = GroupInput(**_described(imported), name=imported.name, scale=imported.scale)
                add_routercluster_workergroup(_as(call, imported.oid), cluster, settings_of_group)
    return Taken(noun=noun_of(imported), oid=imported.oid, created=not known)


def _is_here(call: WritingCall, table: Table[Any], oid: Oid, **fields: Any) -> bool:
    """Say whether an object is here already; raises `AlreadyExists` when another one has its oid."""
    found = call.rows(table).find(oid)
    if found is None:
        return False
    different = [name for name, value in fields.items() if getattr(found, name) != value]
    if different:
        raise AlreadyExists(
            f"another {table.noun} has the oid {oid}: its {' and '.join(different)} differ",
            subject={"type": table.noun, "oid": str(oid)},
            next_step="remove it here first, or leave it out",
        )
    return True


def _as(call: WritingCall, oid: Oid, identity: Identity | None = None) -> WritingCall:
    """Return the same call, in which the next object gets this oid and belongs to somebody."""
    same = copy.copy(call)
    same.new_oid = lambda: oid
    same.identity = identity or call.identity
    return same


def _node(call: WritingCall, imported: ImportedNode) -> Node:
    return Node(
        oid=imported.oid,
        authid=imported.authid,
        pubkey=imported.pubkey,
        **_described(imported),
        cluster_ip=imported.cluster_ip,
        authextra=imported.authextra,
        created=call.now,
        changed=call.now,
        since=call.now,
    )


def _described(imported: ImportedNode | ImportedCluster | ImportedGroup) -> dict[str, Any]:
    return {"label": imported.label, "description": imported.description, "tags": imported.tags}
