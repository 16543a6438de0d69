"""Everything there is, read over WAMP for `status` and `dev`."""

from typing import Any

from controlplane.wamp import Session

PREFIX = "controlplane.routercluster."
WITHIN_S = 30.0


async def read_overview(session: Session) -> dict[str, Any]:
    """Return nodes, and clusters with their groups and workers."""
    nodes = [
        await session.call("controlplane.node.get_node", WITHIN_S, oid)
        for oid in await session.call("controlplane.node.list_nodes", WITHIN_S)
    ]
    clusters = []
    for oid in await session.call(PREFIX + "list_routerclusters", WITHIN_S):
        cluster = await session.call(PREFIX + "get_routercluster", WITHIN_S, oid)
        cluster["groups"] = {}
        for group in await session.call(PREFIX + "list_routercluster_workergroups", WITHIN_S, oid):
            found = await session.call(PREFIX + "get_routercluster_workergroup", WITHIN_S, oid, group)
            cluster["groups"][group] = found["name"]
        cluster["workers"] = [
            await session.call(PREFIX + "get_routercluster_worker", WITHIN_S, oid, worker)
            for worker in await session.call(PREFIX + "list_routercluster_workers", WITHIN_S, oid)
        ]
        clusters.append(cluster)
    return {
        "nodes": sorted(nodes, key=lambda node: node["name"]),
        "clusters": sorted(clusters, key=lambda cluster: cluster["name"]),
    }
