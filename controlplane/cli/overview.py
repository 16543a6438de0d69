"""Everything there is, read over WAMP for `status` and `dev`."""

from typing import Any

from controlplane.wamp import Session

PREFIX = "controlplane.cluster."
WITHIN_S = 30.0
PAGE_LENGTH = 1_000


async def read_overview(session: Session) -> dict[str, Any]:
    """Return nodes, and clusters with their groups and workers."""
    nodes = [
        await session.call("controlplane.node.get_node", WITHIN_S, oid)
        for oid in await session.call("controlplane.node.list_nodes", WITHIN_S)
    ]
    clusters = await _all(session, PREFIX + "list_clusters")
    for cluster in clusters:
        cluster["groups"] = {group["oid"]: group["name"] for group in cluster["groups"]}
        cluster["workers"] = await _all(session, PREFIX + "list_cluster_workers", cluster["oid"])
    return {
        "nodes": sorted(nodes, key=lambda node: node["name"]),
        "clusters": sorted(clusters, key=lambda cluster: cluster["name"]),
    }


async def _all(session: Session, procedure: str, *arguments: Any) -> list[dict[str, Any]]:
    """Return a whole list, page by page."""
    found: list[dict[str, Any]] = []
    while True:
        marker = found[-1]["oid"] if found else None
        page = await session.call(procedure, WITHIN_S, *arguments, limit=PAGE_LENGTH, marker=marker)
        found.extend(page)
        if len(page) < PAGE_LENGTH:
            return found
