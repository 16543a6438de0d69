"""Rights on single clusters: given to users and teams by whoever manages the cluster, and its owner."""

import msgspec

from controlplane.errors import LimitReached, NoSuchObject
from controlplane.records import events
from controlplane.records.clusters import Cluster, ClusterView
from controlplane.records.principals import Grant, GrantedRight, GrantView, Possession
from controlplane.records.types import Oid
from controlplane.services.arguments import ClusterByOid, ExistingCluster, ExistingUser
from controlplane.services.clusters import view_cluster
from controlplane.services.names import ROUTERCLUSTER
from controlplane.services.ownership import require_own_room
from controlplane.services.pipeline import Call, WritingCall
from controlplane.services.procedures import procedure
from controlplane.services.quotas import require_room
from controlplane.store.catalog import CLUSTERS, GRANTS, POSSESSIONS, PRINCIPALS, TEAMS

GRANT = "controlplane.grant."


@procedure(GRANT + "list_grants", needs="manage", raises=(NoSuchObject,))
def list_grants(call: Call, routercluster_oid: ClusterByOid) -> list[GrantView]:
    """Return who was granted which right on a cluster; its owner and who has the right everywhere are not listed."""
    return [view_grant(call, grant) for grant in call.rows(GRANTS).all(routercluster_oid.oid)]


@procedure(GRANT + "add_grant", needs="manage", writes=True, raises=(NoSuchObject, LimitReached))
def add_grant(call: WritingCall, routercluster_oid: ClusterByOid, holder_oid: Oid, right: GrantedRight) -> GrantView:
    """Grant a user or a team a right on one cluster, in the place of the one that it had there.

    `operate` starts, stops and scales it; `manage` also changes and deletes it, and grants rights on it.
    """
    grant = Grant(cluster_oid=routercluster_oid.oid, holder_oid=holder_oid, right=right)
    rows = call.rows(GRANTS)
    view = view_grant(call, grant)
    before = rows.find(grant.cluster_oid, grant.holder_oid)
    if before == grant:
        return view
    if before is None:
        cluster = {"type": "router cluster", "oid": str(grant.cluster_oid), "name": routercluster_oid.name}
        require_room(call.limits, "grants_max", rows.count(grant.cluster_oid) + 1, "grants", cluster)
    rows.put(grant, before)
    call.publish(events.GRANT_ADDED, view)
    return view


@procedure(GRANT + "remove_grant", needs="manage", writes=True, raises=(NoSuchObject,))
def remove_grant(call: WritingCall, routercluster_oid: ClusterByOid, holder_oid: Oid) -> GrantView:
    """Take back what a user or a team was granted on one cluster."""
    grant = call.rows(GRANTS).get(routercluster_oid.oid, holder_oid)
    view = view_grant(call, grant)
    call.rows(GRANTS).remove(grant)
    call.publish(events.GRANT_REMOVED, view)
    return view


@procedure(ROUTERCLUSTER + "give_routercluster", needs="manage", writes=True, raises=(NoSuchObject, LimitReached))
def give_routercluster(call: WritingCall, routercluster_oid: ExistingCluster, user_oid: ExistingUser) -> ClusterView:
    """Make a user the owner of a cluster; the former owner keeps no right from having been it."""
    cluster: Cluster = routercluster_oid
    if cluster.owner_oid != user_oid.oid:
        require_own_room(call, user_oid)
        rows = call.rows(POSSESSIONS)
        if cluster.owner_oid is not None:
            rows.remove(Possession(principal_oid=cluster.owner_oid, cluster_oid=cluster.oid))
        rows.put(Possession(principal_oid=user_oid.oid, cluster_oid=cluster.oid))
        given = msgspec.structs.replace(cluster, owner_oid=user_oid.oid, changed=call.now)
        call.rows(CLUSTERS).put(given, cluster)
        cluster = given
        call.publish(events.CLUSTER_GIVEN, view_cluster(call, cluster))
    return view_cluster(call, cluster)


def view_grant(call: Call, grant: Grant) -> GrantView:
    """Return a grant as callers see it; raises `NoSuchObject` when nobody is its holder."""
    user = call.rows(PRINCIPALS).find(grant.holder_oid)
    team = call.rows(TEAMS).find(grant.holder_oid) if user is None else None
    if user is None and team is None:
        raise NoSuchObject(
            f"there is no user and no team {grant.holder_oid}",
            subject={"type": "user or team", "oid": str(grant.holder_oid)},
            next_step="list the users and the teams there are",
        )
    return GrantView(
        cluster_oid=grant.cluster_oid,
        holder="user" if user is not None else "team",
        holder_oid=grant.holder_oid,
        name=user.authid if user is not None else team.name if team is not None else "",
        right=grant.right,
    )
