"""Web clusters and application realms of Crossbar.io's master: what of them is found in router clusters.

A web cluster is there a set of proxy workers with one transport: here the worker groups of a router cluster, with the
transport in its configuration. An application realm is there a realm with roles that is started on a router cluster
and a web cluster: here one of the realms in that configuration. So both can be listed, looked at, started and stopped;
they are made and changed by the configuration alone, and every other procedure says so instead of being absent.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar
from uuid import uuid5

from controlplane.errors import CannotStart, CannotStop, InvalidConfiguration, NoSuchObject, NotOffered
from controlplane.records.clusters import Cluster, ClusterChange, ClusterStatus, ClusterType, ClusterView
from controlplane.records.limits import DEFAULT_LIMITS, Limits
from controlplane.records.nodes import NodeStatus
from controlplane.records.types import Instant, Oid, Record
from controlplane.services.arguments import ClusterByName, ExistingCluster
from controlplane.services.clusters import (
    get_routercluster,
    list_routerclusters,
    start_routercluster,
    stop_routercluster,
    view_cluster,
)
from controlplane.services.memberships import list_routercluster_nodes
from controlplane.services.pipeline import Call, WritingCall
from controlplane.services.procedures import Procedure, procedure
from controlplane.services.specs import effective_config, revision_of
from controlplane.store.catalog import CLUSTERS

MREALM = "crossbarfabriccenter.mrealm."
WEB = MREALM + "webcluster."
AREALM = MREALM + "arealm."

ROUTERCLUSTER_HINT = (
    "use a router cluster: its worker groups are the proxies, and its config has the transport with its web services"
)
REALM_HINT = "name realms, roles and permissions in the config of a router cluster, with update_routercluster"


F = TypeVar("F")


class WebService(Record, frozen=True, kw_only=True):
    """What is found at one path of the transport of a router cluster."""

    oid: Oid
    webcluster_oid: Oid
    path: str
    type: str


class ApplicationRealm(Record, frozen=True, kw_only=True):
    """One realm of a router cluster, in the form in which Crossbar.io's master shows application realms."""

    oid: Oid
    name: str
    status: ClusterStatus
    routercluster_oid: Oid
    roles: tuple[str, ...]
    changed: Instant


@procedure(WEB + "list_webclusters", needs="read")
def list_webclusters(call: Call, return_names: bool | None = None) -> list[str]:
    """Return the oids of all router clusters, each of which is its own web cluster, or their names."""
    return list_routerclusters(call, return_names)


@procedure(WEB + "get_webcluster", needs="read", raises=(NoSuchObject,))
def get_webcluster(call: Call, webcluster_oid: ExistingCluster) -> ClusterView:
    """Return the router cluster that a web cluster is, by its oid."""
    return get_routercluster(call, webcluster_oid)


@procedure(WEB + "get_webcluster_by_name", needs="read", raises=(NoSuchObject,))
def get_webcluster_by_name(call: Call, webcluster_name: ClusterByName) -> ClusterView:
    """Return the router cluster that a web cluster is, by its name."""
    return view_cluster(call, webcluster_name)


@procedure(WEB + "list_webcluster_nodes", needs="read", raises=(NoSuchObject,))
def list_webcluster_nodes(
    call: Call,
    webcluster_oid: ExistingCluster,
    return_names: bool | None = None,
    filter_by_status: NodeStatus | None = None,
) -> list[str]:
    """Return the nodes of the router cluster that a web cluster is."""
    return list_routercluster_nodes(call, webcluster_oid, return_names, filter_by_status)


@procedure(WEB + "list_webcluster_services", needs="manage", raises=(NoSuchObject,))
def list_webcluster_services(
    call: Call, webcluster_oid: ExistingCluster, prefix: str | None = None, return_paths: bool | None = None
) -> list[str]:
    """Return what is found under the paths of a cluster's transport, as oids or as paths."""
    services = [each for each in _services(call, webcluster_oid) if each.path.startswith(prefix or "")]
    return [each.path if return_paths else str(each.oid) for each in services]


@procedure(WEB + "get_webcluster_service_by_path", needs="manage", raises=(NoSuchObject,))
def get_webcluster_service_by_path(call: Call, webcluster_oid: ExistingCluster, path: str) -> WebService:
    """Return what is found at a path of a cluster's transport."""
    return _only(_services(call, webcluster_oid), "path", path, "web service")


@procedure(WEB + "get_webcluster_service", needs="manage", raises=(NoSuchObject,))
def get_webcluster_service(call: Call, webcluster_oid: ExistingCluster, webservice_oid: Oid) -> WebService:
    """Return what is found at a path of a cluster's transport, by its oid."""
    return _only(_services(call, webcluster_oid), "oid", webservice_oid, "web service")


@procedure(
    WEB + "start_webcluster",
    needs="operate",
    writes=True,
    raises=(NoSuchObject, CannotStart, InvalidConfiguration),
)
def start_webcluster(call: WritingCall, webcluster_oid: ExistingCluster) -> ClusterChange:
    """Start the router cluster that a web cluster is."""
    return start_routercluster(call, webcluster_oid)


@procedure(WEB + "stop_webcluster", needs="operate", writes=True, raises=(NoSuchObject, CannotStop))
def stop_webcluster(call: WritingCall, webcluster_oid: ExistingCluster) -> ClusterChange:
    """Stop the router cluster that a web cluster is."""
    return stop_routercluster(call, webcluster_oid)


@procedure(AREALM + "list_arealms", needs="manage")
def list_arealms(call: Call, return_names: bool | None = None) -> list[str]:
    """Return the oids of the realms of all router clusters, or with `return_names` their names in order."""
    realms = list(_realms(call))
    return sorted({each.name for each in realms}) if return_names else [str(each.oid) for each in realms]


@procedure(AREALM + "get_arealm", needs="manage", raises=(NoSuchObject,))
def get_arealm(call: Call, arealm_oid: Oid) -> ApplicationRealm:
    """Return a realm of a router cluster, by its oid."""
    return _only(_realms(call), "oid", arealm_oid, "realm")


@procedure(AREALM + "get_arealm_by_name", needs="manage", raises=(NoSuchObject,))
def get_arealm_by_name(call: Call, arealm_name: str) -> ApplicationRealm:
    """Return a realm of a router cluster, by its name; of several the one of the first cluster."""
    return _only(_realms(call), "name", arealm_name, "realm")


@dataclass(frozen=True, slots=True)
class Refusing(Procedure):
    """A procedure that takes anything, because it does nothing with it."""

    def bind(
        self, _args: Iterable[Any], _kwargs: Mapping[str, Any], _limits: Limits = DEFAULT_LIMITS
    ) -> dict[str, Any]:
        """Pass everything over."""
        return {}


class Absent(NamedTuple):
    """Procedures of Crossbar.io's master that are not offered, and what to use instead."""

    prefix: str
    names: tuple[str, ...]
    why: str
    instead: str


ABSENT = (
    Absent(
        WEB,
        (
            "create_webcluster",
            "delete_webcluster",
            "add_webcluster_node",
            "remove_webcluster_node",
            "get_webcluster_node",
            "add_webcluster_service",
            "remove_webcluster_service",
        ),
        "there are no web clusters of their own",
        ROUTERCLUSTER_HINT,
    ),
    Absent(
        AREALM,
        (
            "create_arealm",
            "delete_arealm",
            "start_arealm",
            "stop_arealm",
            "stat_arealm",
            "list_router_workers",
            "list_principals",
            "get_principal",
            "get_principal_by_name",
            "add_principal",
            "remove_principal",
            "list_principal_credentials",
            "get_principal_credential",
            "add_principal_credential",
            "remove_principal_credential",
            "list_roles",
            "get_role",
            "get_role_by_name",
            "create_role",
            "delete_role",
            "list_role_permissions",
            "add_role_permission",
            "remove_role_permission",
            "get_role_permission",
            "get_role_permissions_by_uri",
            "list_arealm_roles",
            "add_arealm_role",
            "remove_arealm_role",
            "get_arealm_role",
        ),
        "there are no application realms apart from router clusters",
        REALM_HINT,
    ),
    Absent(
        MREALM,
        ("get_trace_data", "get_trace", "get_traces", "create_trace", "start_trace", "stop_trace", "delete_trace"),
        "there are no traces over several nodes",
        "look at one worker with crossbarfabriccenter.remote.tracing, or at the cluster with stat_routercluster",
    ),
    Absent(
        MREALM,
        (
            "modify_mrealm",
            "set_roles_on_mrealm_for_user",
            "list_nodes",
            "list_nodes_by_mrealm",
            "list_nodes_by_mrealm_name",
            "modify_node",
            "delete_node",
            "stat_node",
        ),
        "Crossbar.io's own master names it and does not do it",
        "use get_nodes, get_node_by_authid, unpair_node, and the procedures controlplane.user for rights",
    ),
    Absent(
        MREALM + "metadata.",
        ("get_docs", "add_docs", "delete_docs"),
        "there are no documents about objects",
        "give objects a label, a description and tags",
    ),
    Absent(
        "crossbarfabriccenter.user.",
        (
            "get_user",
            "get_user_by_pubkey",
            "get_user_by_email",
            "modify_user",
            "list_users",
            "list_users_by_organization",
            "list_organizations",
            "get_organization",
            "create_organization",
            "modify_organization",
            "delete_organization",
            "list_organizations_by_user",
            "set_roles_on_organization_for_user",
            "get_roles_on_organization_for_user",
        ),
        "there are no organizations",
        "use the procedures controlplane.user and controlplane.team",
    ),
)


def _refuse(uri: str, absent: Absent) -> Any:
    def refuse(_call: Call) -> None:
        raise NotOffered(
            f"{uri} of Crossbar.io's master is not offered: {absent.why}",
            subject={"type": "procedure", "uri": uri},
            next_step=absent.instead,
        )

    refuse.__doc__ = f"Refuse, because {absent.why}; {absent.instead}."
    function: Any = refuse
    declared = procedure(uri, needs="read", raises=(NotOffered,))(function).__procedure__
    function.__procedure__ = Refusing(**{name: getattr(declared, name) for name in Procedure.__dataclass_fields__})
    return function


GENERATED = tuple(_refuse(absent.prefix + name, absent) for absent in ABSENT for name in absent.names)
"""The procedures that are answered by saying what to use instead."""


def _services(call: Call, cluster: Cluster) -> Iterator[WebService]:
    transport = _effective(call, cluster)["transport"]
    paths = transport.get("paths") or (transport.get("web") or {}).get("paths") or {}
    for path, service in paths.items():
        yield WebService(
            oid=uuid5(cluster.oid, f"path {path}"), webcluster_oid=cluster.oid, path=path, type=str(service.get("type"))
        )


def _realms(call: Call) -> Iterator[ApplicationRealm]:
    for cluster in call.rows(CLUSTERS).all():
        if cluster.type is not ClusterType.ROUTER:
            continue
        for realm in _effective(call, cluster)["realms"]:
            yield ApplicationRealm(
                oid=uuid5(cluster.oid, f"realm {realm['name']}"),
                name=realm["name"],
                status=cluster.status,
                routercluster_oid=cluster.oid,
                roles=tuple(role["name"] for role in realm["roles"]),
                changed=cluster.changed,
            )


def _effective(call: Call, cluster: Cluster) -> dict[str, Any]:
    return effective_config(cluster, revision_of(call.view, cluster))


def _only(found: Iterable[F], field: str, value: Any, noun: str) -> F:
    for each in found:
        if getattr(each, field) == value:
            return each
    raise NoSuchObject(
        f"there is no {noun} {value}",
        subject={"type": noun, field: str(value)},
        next_step=f"list the {noun}s there are",
    )
