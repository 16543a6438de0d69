"""Router clusters: create, change, start, stop, delete, look at."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from controlplane.core.router_configs import check_config, exposures
from controlplane.errors import (
    AlreadyExists,
    CannotStart,
    CannotStop,
    InvalidArgument,
    InvalidConfiguration,
    LimitReached,
    NoSuchObject,
    NotStopped,
    Problem,
)
from controlplane.records import events
from controlplane.records.clusters import (
    Cluster,
    ClusterChange,
    ClusterRevisionView,
    ClusterStatus,
    ClusterView,
    Membership,
)
from controlplane.records.principals import Possession
from controlplane.records.types import Oid, mentioned
from controlplane.services.arguments import ClusterByName, ClusterChanges, ClusterDefinition, ExistingCluster
from controlplane.services.forgetting import forget_cluster
from controlplane.services.ledger import groups_of, whole_tally
from controlplane.services.lists import Limit, oid_text, page, page_start
from controlplane.services.names import ROUTERCLUSTER, crossbar_names
from controlplane.services.ownership import require_own_room
from controlplane.services.pipeline import Call, WritingCall
from controlplane.services.procedures import procedure
from controlplane.services.quotas import require_room
from controlplane.services.specs import effective_config, keep_revision, new_revision, revision_of
from controlplane.services.views import cluster_view
from controlplane.store.catalog import CLUSTERS, MEMBERSHIPS, NODES, POSSESSIONS, REVISIONS

LOOPBACK = "127.0.0.1"


@procedure(ROUTERCLUSTER + "list_routerclusters", needs="read", aliases=crossbar_names("list_routerclusters"))
def list_routerclusters(
    call: Call, return_names: bool | None = None, limit: Limit | None = None, marker: str | None = None
) -> list[str]:
    """Return the oids of all router clusters, or with `return_names` their names in order.

    With `limit` one page; `marker` is the last entry of the page before.
    """
    rows = call.rows(CLUSTERS)
    others = {key for _, key in rows.keys_by("generic")}
    if return_names:
        start = b"" if marker is None else marker.encode() + b"\0"
        return page((name.decode() for name, key in rows.keys_by("name", start=start) if key not in others), limit)
    keys = rows.scan_keys(page_start(_oid(marker)))
    return page((oid_text(key) for key in keys if not others or key not in others), limit)


@procedure(
    ROUTERCLUSTER + "get_routercluster",
    needs="read",
    aliases=crossbar_names("get_routercluster"),
    raises=(NoSuchObject,),
)
def get_routercluster(call: Call, routercluster_oid: ExistingCluster) -> ClusterView:
    """Return a router cluster and how it is, by its oid."""
    return view_cluster(call, routercluster_oid)


@procedure(
    ROUTERCLUSTER + "get_routercluster_by_name",
    needs="read",
    aliases=crossbar_names("get_routercluster_by_name"),
    raises=(NoSuchObject,),
)
def get_routercluster_by_name(call: Call, routercluster_name: ClusterByName) -> ClusterView:
    """Return a router cluster and how it is, by its name."""
    return view_cluster(call, routercluster_name)


@procedure(
    ROUTERCLUSTER + "get_routercluster_config",
    needs="manage",
    aliases=crossbar_names("get_routercluster_config"),
    raises=(NoSuchObject,),
)
def get_routercluster_config(call: Call, routercluster_oid: ExistingCluster) -> ClusterRevisionView:
    """Return the newest configuration of a router cluster, as it was given and as it is in effect."""
    cluster = routercluster_oid
    revision = revision_of(call.view, cluster)
    return ClusterRevisionView(
        cluster_oid=cluster.oid,
        revision=revision.revision,
        config=revision.config,
        effective=effective_config(cluster, revision),
        homes=revision.homes,
    )


@procedure(
    ROUTERCLUSTER + "create_routercluster",
    needs="manage",
    writes=True,
    aliases=crossbar_names("create_routercluster"),
    raises=(InvalidConfiguration, AlreadyExists, LimitReached),
)
def create_routercluster(call: WritingCall, routercluster: ClusterDefinition) -> ClusterView:
    """Create a router cluster, stopped. It belongs to whoever creates it."""
    _require_valid(routercluster.config)
    require_room(call.limits, "clusters_max", call.rows(CLUSTERS).count() + 1, "router clusters")
    cluster = Cluster(
        oid=call.new_oid(),
        name=routercluster.name,
        label=routercluster.label,
        description=routercluster.description,
        tags=routercluster.tags,
        owner_oid=call.identity.oid,
        created=call.now,
        changed=call.now,
        routers=routercluster.routers,
        grace_period=routercluster.grace_period,
    )
    require_own_room(call, call.identity.record)
    call.rows(CLUSTERS).add(cluster)
    call.rows(POSSESSIONS).put(Possession(principal_oid=call.identity.oid, cluster_oid=cluster.oid))
    keep_revision(call.rows(REVISIONS), new_revision(cluster, cluster.revision, routercluster.config, {}))
    view = view_cluster(call, cluster)
    call.publish(events.CLUSTER_CREATED, view)
    return view


@procedure(
    ROUTERCLUSTER + "update_routercluster",
    needs="manage",
    writes=True,
    aliases=crossbar_names("update_routercluster"),
    raises=(InvalidConfiguration, NoSuchObject, LimitReached),
)
def update_routercluster(
    call: WritingCall, routercluster_oid: ExistingCluster, routercluster: ClusterChanges
) -> ClusterView:
    """Change settings of a router cluster, running or not; what is not mentioned stays.

    A new `config` or number of `routers` reaches the workers one after the other, routers first.
    """
    cluster = routercluster_oid
    given = mentioned(routercluster)
    current = revision_of(call.view, cluster)
    config = given.pop("config", current.config)
    _require_valid(config)
    changed = msgspec.structs.replace(cluster, **given, changed=call.now)
    if changed.routers > cluster.routers:
        require_workers(call, changed, sum(group.scale for group in groups_of(call.view, cluster.oid)))
    if config != current.config or changed.routers != cluster.routers:
        changed = msgspec.structs.replace(changed, revision=cluster.revision + 1)
        require_protected(call, changed.oid, config)
        revision = new_revision(changed, changed.revision, config, current.homes, current.called)
        keep_revision(call.rows(REVISIONS), revision)
    call.rows(CLUSTERS).put(changed, cluster)
    call.ledger.touch_cluster(cluster.oid)
    call.ledger.wake(cluster.oid)
    view = view_cluster(call, changed)
    call.publish(events.CLUSTER_UPDATED, view)
    return view


@procedure(
    ROUTERCLUSTER + "start_routercluster",
    needs="operate",
    writes=True,
    aliases=crossbar_names("start_routercluster"),
    raises=(NoSuchObject, CannotStart, InvalidConfiguration),
)
def start_routercluster(call: WritingCall, routercluster_oid: ExistingCluster) -> ClusterChange:
    """Start a router cluster; returns at once, and events tell how it goes on."""
    cluster = routercluster_oid
    if cluster.status is not ClusterStatus.STOPPED:
        raise CannotStart(
            f"router cluster {cluster.name} is {cluster.status.value}; only a STOPPED one can be started",
            subject=_subject(cluster),
            next_step="wait until it is STOPPED" if cluster.status is ClusterStatus.STOPPING else "stop it first",
        )
    require_protected(call, cluster.oid, revision_of(call.view, cluster).config)
    return _set_run(call, cluster, run=True)


@procedure(
    ROUTERCLUSTER + "stop_routercluster",
    needs="operate",
    writes=True,
    aliases=crossbar_names("stop_routercluster"),
    raises=(NoSuchObject, CannotStop),
)
def stop_routercluster(call: WritingCall, routercluster_oid: ExistingCluster) -> ClusterChange:
    """Stop a router cluster; returns at once, and an event tells when it is STOPPED."""
    cluster = routercluster_oid
    if not cluster.run:
        raise CannotStop(
            f"router cluster {cluster.name} is {cluster.status.value} already",
            subject=_subject(cluster),
            next_step="nothing is to be done",
        )
    return _set_run(call, cluster, run=False)


@procedure(
    ROUTERCLUSTER + "delete_routercluster",
    needs="manage",
    writes=True,
    aliases=crossbar_names("delete_routercluster"),
    raises=(NoSuchObject, NotStopped),
)
def delete_routercluster(call: WritingCall, routercluster_oid: ExistingCluster) -> ClusterView:
    """Delete a stopped router cluster with its memberships, groups and workers."""
    cluster = routercluster_oid
    if cluster.status is not ClusterStatus.STOPPED:
        raise NotStopped(
            f"router cluster {cluster.name} is {cluster.status.value}; only a STOPPED one can be deleted",
            subject=_subject(cluster),
            next_step="stop it and wait until it is STOPPED",
        )
    forget_cluster(call.rows, call.ledger, cluster)
    view = cluster_view(msgspec.structs.replace(cluster, changed=call.now), {}, 0)
    call.publish(events.CLUSTER_DELETED, view)
    return view


def view_cluster(call: Call, cluster: Cluster) -> ClusterView:
    """Return a cluster as callers see it."""
    return cluster_view(cluster, *(whole_tally(call.view, cluster) if cluster.run else ({}, 0)))


def require_workers(call: Call, cluster: Cluster, frontends: int) -> None:
    """Refuse more workers than a cluster may want; raises `LimitReached`."""
    require_room(call.limits, "workers_max", frontends + cluster.routers, "workers", _subject(cluster))


def require_protected(
    call: Call, cluster_oid: Oid, config: Mapping[str, Any] | None, members: Iterable[Membership] | None = None
) -> None:
    """Refuse a configuration that lets anybody in from other machines, or has no TLS there, unless it is meant to.

    All nodes of the cluster are looked at, or only some `members` when the others are known to be well.
    """
    problems: list[Problem] = []
    for membership in call.rows(MEMBERSHIPS).all(cluster_oid) if members is None else members:
        node = call.rows(NODES).find(membership.node_oid)
        address = node.facts.address if node is not None and node.facts is not None else LOOPBACK
        problems += [problem for problem in exposures(config, address) if problem not in problems]
    if problems:
        raise InvalidConfiguration(
            "; ".join(problem.message for problem in problems),
            subject={"type": "router cluster", "oid": str(cluster_oid)},
            problems=problems,
            next_step="mend the configuration, or have the nodes listen on loopback",
        )


def _require_valid(config: Mapping[str, Any] | None) -> None:
    problems = [] if config is None else check_config(config)
    own = [Problem(p.path.replace("$", "$.config", 1), p.message) for p in problems]
    if not own and config is not None:
        own = [Problem(p.path.replace("$", "$.config", 1), p.message) for p in exposures(config, LOOPBACK)]
    if own:
        raise InvalidConfiguration(
            f"config has {len(own)} problem{'s' if len(own) > 1 else ''}; first, {own[0].path}: {own[0].message}",
            problems=own,
            next_step="mend what is listed and call again",
        )


def _set_run(call: WritingCall, cluster: Cluster, *, run: bool) -> ClusterChange:
    status = ClusterStatus.STARTING if run else ClusterStatus.STOPPING
    changed = msgspec.structs.replace(cluster, run=run, ready=None, status=status, changed=call.now)
    call.rows(CLUSTERS).put(changed, cluster)
    change = ClusterChange(oid=cluster.oid, status=status, changed=call.now, who=call.who)
    call.publish(events.CLUSTER_STARTING if run else events.CLUSTER_STOPPING, change)
    call.ledger.touch_cluster(cluster.oid)
    call.ledger.wake(cluster.oid)
    return change


def _subject(cluster: Cluster) -> dict[str, Any]:
    return {"type": "router cluster", "oid": str(cluster.oid), "name": cluster.name, "status": cluster.status.value}


def _oid(marker: str | None) -> Oid | None:
    if marker is None:
        return None
    try:
        return Oid(marker)
    except ValueError:
        raise InvalidArgument(
            "marker is no oid",
            problems=[Problem("$.marker", "is no oid")],
            next_step="pass the last oid of the page before",
        ) from None
