"""`controlplane import crossbar-master PATH`: what another master keeps, taken over, with a report of every object."""

import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from twisted.internet.defer import Deferred

from controlplane.errors import ControlPlaneError, NoSuchObject
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
from controlplane.records.types import from_wire, to_wire
from controlplane.store.foreign import (
    APPLICATION_REALMS,
    APPLICATION_ROLES,
    CLUSTERS,
    GROUPS,
    MEMBERSHIPS,
    PRINCIPALS,
    WEB_CLUSTERS,
    WEB_SERVICES,
    Rows,
    read_foreign,
)
from controlplane.wamp import Session

IMPORT_OBJECT = "controlplane.migration.import_object"
CALLS_AT_ONCE = 32
WITHIN_S = 60.0
ROLES: Mapping[int, str] = {1: "admin", 2: "admin", 3: "operator", 4: "viewer"}
"""Crossbar.io's roles on a management realm by number: owner, admin, user, guest. One owner is named by the realm."""

NO_KEY = (
    "no public key is kept for it there; a superuser's is in the file that CROSSBAR_FABRIC_SUPERUSER named: "
    "start 'controlplane master' with it, and invite anybody else"
)
DESCRIBED = ("label", "description", "tags")


class Line(NamedTuple):
    """One line of the report."""

    noun: str
    name: str
    outcome: str
    """`taken`, `here already`, or `not taken`."""

    reason: str = ""


class Found(NamedTuple):
    """What is to be taken over, in the order in which it depends on each other, and what cannot be."""

    objects: list[tuple[str, Imported]]
    """With the name under which the report shows it."""

    refused: list[Line]


def find_objects(rows: Rows, realm_name: str) -> Found:
    """Return what one management realm of another master holds; raises `NoSuchObject`."""
    realms = {record.get("name"): (uuid.UUID(bytes=key), record) for key, record in rows.realms.items()}
    if realm_name not in realms:
        raise NoSuchObject(
            f"there is no management realm {realm_name!r}; there are {', '.join(sorted(map(str, realms))) or 'none'}",
            subject={"type": "management realm", "name": realm_name},
            next_step="name one of them with --realm",
        )
    oid, realm = realms[realm_name]
    tables = rows.by_realm.get(str(oid), {})
    found = Found([], [])
    _add(found, "user", _users(rows, str(oid), realm, found.refused), ImportedUser, "authid")
    _add(found, "node", _nodes(rows, str(oid), found.refused), ImportedNode, "authid")
    clusters = tables.get(CLUSTERS, {})
    _add(found, "router cluster", (_plain(each, "name", "owner_oid") for each in clusters.values()), ImportedCluster)
    names = {str(uuid.UUID(bytes=key)): str(each.get("name")) for key, each in clusters.items()}
    groups = (_plain(each, "name", "scale", "cluster_oid") for each in tables.get(GROUPS, {}).values())
    _add(found, "worker group", groups, ImportedGroup, within=names)
    members = tables.get(MEMBERSHIPS, {}).values()
    _add(found, "membership", (_member(each) for each in members), ImportedMembership, "node_oid", within=names)
    for table, noun, hint in (
        (WEB_CLUSTERS, "web cluster", "give a router cluster its transport with update_routercluster"),
        (WEB_SERVICES, "web service", "give it to the paths of that transport"),
        (APPLICATION_REALMS, "application realm", "name it in the config of a router cluster"),
        (APPLICATION_ROLES, "application role", "name it among the roles of a realm in that config"),
        (PRINCIPALS, "principal", 'give it to the "auth" of that transport'),
    ):
        for each in tables.get(table, {}).values():
            reason = f"there are no {noun}s of their own here; {hint}"
            found.refused.append(Line(noun, str(each.get("name") or each.get("path")), "not taken", reason))
    others = sorted(str(name) for name in realms if name != realm_name)
    found.refused.extend(
        Line("management realm", name, "not taken", "there is one management realm here; import it with --realm")
        for name in others
    )
    return found


async def take_over(session: Session, found: Found) -> list[Line]:
    """Create everything that was found, and return the whole report."""
    lines: list[Line] = []
    for noun in dict.fromkeys(noun_of(imported) for _, imported in found.objects):
        those = [each for each in found.objects if noun_of(each[1]) == noun]
        for start in range(0, len(those), CALLS_AT_ONCE):
            asked: list[tuple[str, Deferred[Any]]] = [
                (name, session.call(IMPORT_OBJECT, WITHIN_S, imported=to_wire(imported)))
                for name, imported in those[start : start + CALLS_AT_ONCE]
            ]
            for name, answer in asked:
                try:
                    taken = from_wire(await answer, Taken)
                except ControlPlaneError as problem:
                    lines.append(Line(noun, name, "not taken", str(problem)))
                else:
                    lines.append(Line(noun, name, "taken" if taken.created else "here already"))
    return lines + found.refused


def read_objects(path: str, realm_name: str) -> Found:
    """Return what is found in the directory of another master; raises `StoreRefused` and `NoSuchObject`."""
    return find_objects(read_foreign(Path(path)), realm_name)


def print_report(lines: list[Line]) -> None:
    """Print every object that was not taken with the reason, and how many of each kind were."""
    for line in lines:
        if line.outcome == "not taken":
            print(f"not taken: {line.noun} {line.name}: {line.reason}")
    for noun in dict.fromkeys(line.noun for line in lines):
        those = [line.outcome for line in lines if line.noun == noun]
        counted = ", ".join(f"{those.count(outcome)} {outcome}" for outcome in dict.fromkeys(those))
        print(f"{noun}: {counted}")


def _add(
    found: Found,
    noun: str,
    records: Iterator[dict[str, Any]],
    kind: type[Any],
    field: str = "name",
    within: Mapping[str, str] | None = None,
) -> None:
    """Read records into what can be sent; what is not as it should be becomes a line of the report."""
    for record in records:
        name = str(record.get(field) or record.get("oid"))
        if within is not None:
            name = f"{within.get(str(record.get('cluster_oid')), '?')}/{name}"
        try:
            imported = msgspec.convert({key: value for key, value in record.items() if value is not None}, kind)
        except msgspec.ValidationError as problem:
            found.refused.append(Line(noun, name, "not taken", str(problem)))
        else:
            found.objects.append((name, imported))


def _plain(record: Mapping[str, Any], *fields: str) -> dict[str, Any]:
    return {field: record.get(field) for field in ("oid", *DESCRIBED, *fields)}


def _member(record: Mapping[str, Any]) -> dict[str, Any]:
    return {field: record.get(field) for field in ("cluster_oid", "node_oid", "softlimit", "hardlimit")}


def _users(rows: Rows, realm_oid: str, realm: Mapping[str, Any], refused: list[Line]) -> Iterator[dict[str, Any]]:
    for key, user in rows.users.items():
        if not user.get("pubkey"):
            # Such is the superuser that Crossbar.io's master makes; its key is in a file alone.
            name = str(user.get("email") or user.get("name") or user.get("oid"))
            refused.append(Line("user", name, "not taken", NO_KEY))
            continue
        granted = rows.roles.get(key + uuid.UUID(realm_oid).bytes, {}).get("roles", [])
        role = "owner" if realm.get("owner") == user.get("oid") else None
        role = role or next((ROLES[number] for number in sorted(granted) if number in ROLES), "viewer")
        yield {
            "oid": user.get("oid"),
            "authid": user.get("email") or user.get("name"),
            "pubkey": user.get("pubkey"),
            "label": user.get("label"),
            "role": role,
        }


def _nodes(rows: Rows, realm_oid: str, refused: list[Line]) -> Iterator[dict[str, Any]]:
    for node in rows.nodes.values():
        if node.get("mrealm_oid") == realm_oid:
            yield _plain(node, "authid", "pubkey", "cluster_ip", "authextra")
        else:
            name = str(node.get("authid") or node.get("oid"))
            refused.append(Line("node", name, "not taken", "it is not paired with this management realm"))
