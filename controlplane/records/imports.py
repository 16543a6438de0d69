"""What is taken over from another master: one object at a time, under the oid that it has there."""

from controlplane.records.clusters import Limit
from controlplane.records.nodes import AuthExtra
from controlplane.records.principals import Role
from controlplane.records.types import Authid, Description, Label, Line, Name, Oid, PublicKey, Record, Tags
from controlplane.records.workers import Scale


class ImportedUser(Record, frozen=True, kw_only=True, tag="user", tag_field="noun"):
    """A user of another master."""

    oid: Oid
    authid: Authid
    pubkey: PublicKey
    role: Role
    label: Label | None = None


class ImportedNode(Record, frozen=True, kw_only=True, tag="node", tag_field="noun"):
    """A node that is paired with another master."""

    oid: Oid
    authid: Authid
    pubkey: PublicKey
    label: Label | None = None
    description: Description | None = None
    tags: Tags | None = None
    cluster_ip: Line | None = None
    authextra: AuthExtra | None = None


class ImportedCluster(Record, frozen=True, kw_only=True, tag="router cluster", tag_field="noun"):
    """A router cluster of another master; it is stopped here."""

    oid: Oid
    name: Name
    label: Label | None = None
    description: Description | None = None
    tags: Tags | None = None
    owner_oid: Oid | None = None


class ImportedGroup(Record, frozen=True, kw_only=True, tag="worker group", tag_field="noun"):
    """A worker group of another master."""

    oid: Oid
    cluster_oid: Oid
    name: Name
    label: Label | None = None
    description: Description | None = None
    tags: Tags | None = None
    scale: Scale = 1


class ImportedMembership(Record, frozen=True, kw_only=True, tag="membership", tag_field="noun"):
    """A node's place in a router cluster of another master."""

    cluster_oid: Oid
    node_oid: Oid
    softlimit: Limit | None = None
    hardlimit: Limit | None = None


Imported = ImportedUser | ImportedNode | ImportedCluster | ImportedGroup | ImportedMembership


class Taken(Record, frozen=True, kw_only=True):
    """That an object was taken over, or is here already as it is there."""

    noun: str
    oid: Oid
    created: bool


def noun_of(imported: Imported) -> str:
    """Return what kind of object it is."""
    return str(imported.__struct_config__.tag)
