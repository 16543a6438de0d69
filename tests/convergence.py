"""Whether an installation whose workers sleep is as it is wanted: clusters, workers and processes."""

from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from tests.sleepers import sleepers_in

Call = Callable[..., Awaitable[Any]]


class Wanted:
    """What a cluster with one group shall be."""

    def __init__(self, oid: str, group: str, scale: int) -> None:
        self.oid = oid
        self.group = group
        self.scale = scale
        self.run = True


async def difference(call: Call, clusters: Iterable[Wanted], directory: Path, others: Iterable[str] = ()) -> str | None:
    """Return what is not as it is wanted, or None; `others` are clusters that are not looked at."""
    clusters = list(clusters)
    if set(await call("list_routerclusters")) - set(others) != {cluster.oid for cluster in clusters}:
        return "other clusters are there than were made"
    pids: set[int] = set()
    for cluster in clusters:
        want = "RUNNING" if cluster.run else "STOPPED"
        status = (await call("get_routercluster", cluster.oid))["status"]
        if status != want:
            return f"cluster {cluster.oid} is {status} instead of {want}"
        workers = [
            await call("get_routercluster_worker", cluster.oid, oid)
            for oid in await call("list_routercluster_workers", cluster.oid)
        ]
        running = [worker for worker in workers if worker["status"] == "RUNNING"]
        if len(running) != (cluster.scale + 1 if cluster.run else 0):
            return f"cluster {cluster.oid} has {len(running)} workers for a scale of {cluster.scale}"
        pids.update(worker["pid"] for worker in running)
    alive = {process.pid for process in sleepers_in(directory)}
    if alive != pids:
        return f"{len(alive - pids)} processes too many and {len(pids - alive)} too few"
    return None
