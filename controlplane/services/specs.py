"""What a worker is configured with: found from its own record and the revision of its cluster that it was given."""

from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec

from controlplane.core.generic_clusters import worker_config
from controlplane.core.recovering import as_given
from controlplane.core.router_clusters import assign_homes, digest_of, proxy_config, router_config
from controlplane.core.router_configs import exposures, keeps_sessions, with_defaults
from controlplane.core.situation import OWN_SOCKET, Links
from controlplane.core.worker_types import worker_type
from controlplane.records.clusters import Cluster, ClusterRevision, ClusterType
from controlplane.records.definitions import Spec
from controlplane.records.types import Oid, from_wire
from controlplane.records.workers import Entry, Worker
from controlplane.store.catalog import CLUSTERS, REVISIONS
from controlplane.store.database import Change, View

ROUTER_DRIVER = "router"
DIGESTS_MAX = 128
"""Of the workers of one configuration of processes that are remembered: enough for all of most clusters."""

COMPOSITIONS_MAX = 1_000


def revision_of(view: Any, cluster: Cluster, number: int | None = None) -> ClusterRevision:
    """Return a configuration of a cluster, the newest unless a number is given.

    A first configuration that says nothing is not stored: most clusters have one, and are created that much faster.
    """
    wanted = cluster.revision if number is None else number
    found: ClusterRevision | None = view.rows(REVISIONS).find(cluster.oid, wanted)
    return found if found is not None else new_revision(cluster, wanted, None, {})


def new_revision(
    cluster: Cluster, number: int, config: dict[str, Any] | None, homes: Mapping[str, int], called: str | None = None
) -> ClusterRevision:
    """Return a configuration whose realms stay on the routers that they were on."""
    realms = [realm["name"] for realm in with_defaults(config, called or cluster.name)["realms"]]
    return ClusterRevision(
        cluster_oid=cluster.oid,
        revision=number,
        config=config,
        homes=assign_homes(realms, cluster.routers, homes),
        called=called,
    )


def effective_config(cluster: Cluster, revision: ClusterRevision) -> dict[str, Any]:
    """Return the configuration of a router cluster with the defaults for what was not given."""
    return with_defaults(revision.config, revision.called or cluster.name)


def keep_name(change: Any, cluster: Cluster) -> None:
    """Have workers go by the name that their cluster has now, although it is about to be given another one.

    What they run follows from it. They would be started anew, all of them, as soon as somebody looked.
    """
    rows = change.rows(REVISIONS)
    stored = list(rows.all(cluster.oid))
    for revision in stored:
        if revision.called is None:
            rows.put(msgspec.structs.replace(revision, called=cluster.name), revision)
    if not stored:
        rows.add(msgspec.structs.replace(revision_of(change, cluster), called=cluster.name))


def keep_revision(rows: Any, revision: ClusterRevision) -> None:
    """Store a configuration, unless it is a first one that says nothing."""
    if revision.config is not None or revision.revision > 1:
        rows.add(revision)


class GenericRevision:
    """One spec of a cluster of processes or containers; each worker has a configuration of its own."""

    lean = False
    exposed = False

    def __init__(self, cluster: Cluster, revision: ClusterRevision) -> None:
        self._cluster = cluster
        self._called = revision.called or cluster.name
        self.spec = from_wire(revision.config, Spec)
        self.driver = worker_type(self.spec).driver
        self._digests: dict[tuple[Oid, int, int, int, int], str] = {}
        """Of workers that have kept nothing of their own, by what their configurations say of them."""

    def compose(self, worker: Worker, _links: Links) -> tuple[str, dict[str, Any]]:
        """Return the digest and the configuration of a worker."""
        config = worker_config(self._cluster, self._called, self.spec, worker)
        return digest_of(config), config

    def digest(self, worker: Worker, links: Links) -> str:
        """Return the digest of a worker's configuration, which every pass over its cluster asks for."""
        if worker.kept is not None or worker.adopts is not None:
            return self.compose(worker, links)[0]
        key = worker.oid, worker.index, worker.generation, worker.rebuilds, worker.kills
        found = self._digests.get(key)
        if found is None:
            if len(self._digests) >= DIGESTS_MAX:
                self._digests.clear()
            found = self._digests[key] = self.compose(worker, links)[0]
        return found


class RouterRevision:
    """One configuration of a router cluster, composed for its workers as they are asked for."""

    driver = ROUTER_DRIVER

    def __init__(self, cluster: Cluster, revision: ClusterRevision) -> None:
        self._cluster = cluster
        self._homes = revision.homes
        self._effective = effective_config(cluster, revision)
        self.lean = keeps_sessions(self._effective)
        self.exposed = bool(exposures(self._effective, ""))
        """Whether workers must not listen with it beyond loopback."""

        self._composed: dict[tuple[int, int, tuple[tuple[str, str], ...]], tuple[str, dict[str, Any]]] = {}

    def compose(self, worker: Worker, links: Links) -> tuple[str, dict[str, Any]]:
        """Return the digest and the configuration of a worker with these links."""
        index = -1 if worker.workergroup_oid else worker.index
        key = (index, worker.generation, tuple(sorted(links.items())))
        if key not in self._composed:
            oid = self._cluster.oid
            if worker.workergroup_oid is None:
                config = router_config(oid, self._effective, self._homes, index, links[OWN_SOCKET])
            else:
                config = proxy_config(oid, self._effective, self._homes, links)
            if worker.generation:
                config = {**config, "generation": worker.generation}
            self._composed[key] = (digest_of(config), config)
        return self._composed[key]

    def digest(self, worker: Worker, links: Links) -> str:
        """Return the digest of a worker's configuration with these links."""
        return self.compose(worker, links)[0]


Revision = RouterRevision | GenericRevision

RevisionKey = tuple[Oid, int, int]
"""Cluster, number of the revision, and number of routers."""


class Compositions:
    """Configurations that were composed lately: a revision never changes, so they are good until they are forgotten."""

    def __init__(self) -> None:
        self._revisions: OrderedDict[RevisionKey, Revision] = OrderedDict()

    def find(self, cluster: Cluster, number: int) -> Revision | None:
        """Return a configuration that is remembered, or None."""
        return self._revisions.get((cluster.oid, number, cluster.routers))

    def of(self, view: Any, cluster: Cluster, number: int) -> Revision:
        """Return a configuration of a cluster, composed for its workers as they are asked for."""
        key = (cluster.oid, number, cluster.routers)
        found = self._revisions.get(key)
        if found is None:
            kind = RouterRevision if cluster.type is ClusterType.ROUTER else GenericRevision
            found = self._revisions[key] = kind(cluster, revision_of(view, cluster, number))
            if len(self._revisions) > COMPOSITIONS_MAX:
                self._revisions.popitem(last=False)
        self._revisions.move_to_end(key)
        return found

    def keep(self, composed: Mapping[RevisionKey, Revision]) -> None:
        """Take over what was composed in a transaction, now that it is committed."""
        self._revisions.update(composed)
        while len(self._revisions) > COMPOSITIONS_MAX:
            self._revisions.popitem(last=False)

    def forget(self, cluster_oid: Oid) -> None:
        """Let go of a cluster that was deleted: one configuration takes about 20 kB."""
        for key in [key for key in self._revisions if key[0] == cluster_oid]:
            del self._revisions[key]

    def __len__(self) -> int:
        return len(self._revisions)


class Drafts(Compositions):
    """Configurations as one writing transaction sees them, its own among them.

    When the transaction is undone, the next one may give the same number to another configuration: what was composed in
    a transaction is remembered for others only when it is committed.
    """

    def __init__(self, committed: Compositions, change: Change) -> None:
        super().__init__()
        self._committed = committed
        self._change = change

    def of(self, view: Any, cluster: Cluster, number: int) -> Revision:
        """Return a configuration of a cluster, composed for its workers as they are asked for."""
        known = self._committed.find(cluster, number)
        if known is not None:
            return known
        if not self._revisions:
            self._change.after_commit(partial(self._committed.keep, self._revisions))
        return super().of(view, cluster, number)

    def forget(self, cluster_oid: Oid) -> None:
        """Let go of a cluster as soon as it is deleted for good."""
        super().forget(cluster_oid)
        self._change.after_commit(partial(self._committed.forget, cluster_oid))


class Specs:
    """What agents are told of workers, as of one snapshot."""

    def __init__(self, view: View, compositions: Compositions) -> None:
        self._view = view
        self._compositions = compositions
        self.configs: dict[str, Mapping[str, Any]] = {}
        """Of all entries so far, by digest."""

    def entry(self, worker: Worker) -> Entry | None:
        """Return a worker as an agent is told of it, or None when its cluster is gone."""
        cluster = self._view.rows(CLUSTERS).find(worker.cluster_oid)
        if cluster is None:
            return None
        revision = self._compositions.of(self._view, cluster, worker.revision)
        digest, config = revision.compose(as_given(worker), worker.links)
        self.configs[digest] = config
        return Entry(oid=worker.oid, driver=revision.driver, digest=digest, fence_after=cluster.fence_after)
