"""Places: what a worker that is in no cluster has in the place of one.

A place is a cluster of exactly one worker that no list shows and no name leads to. So such a worker is planned, placed,
kept, repaired and changed on the one path that all others take: no second monitor, and no second kind of action.
"""

from collections.abc import Callable
from typing import Any

from controlplane.records.clusters import Cluster, ClusterRevision, ClusterStatus, ClusterType, Group
from controlplane.services.ledger import Ledger
from controlplane.store.catalog import CLUSTERS, GROUPS, REVISIONS
from controlplane.store.tables import Rows, Table

RowsOf = Callable[[Table[Any]], Rows[Any]]
GROUP = "default"
"""Name of the one group that a place has, as a cluster of one profile."""


def make_place(
    ledger: Ledger, rows: RowsOf, name: str, spec: dict[str, Any], *, called: str | None = None, **settings: Any
) -> tuple[Cluster, Group]:
    """Make a place for a worker of this name, and no worker in it yet; `rows` says on whose account.

    What runs there may have been `called` otherwise when it was started.
    """
    made = Cluster(
        oid=ledger.new_oid(),
        name=name,
        type=ClusterType.GENERIC,
        alone=True,
        created=ledger.now,
        changed=ledger.now,
        run=True,
        status=ClusterStatus.STARTING,
        **settings,
    )
    group = Group(
        oid=ledger.new_oid(), cluster_oid=made.oid, name=GROUP, max_size=1, created=ledger.now, changed=ledger.now
    )
    rows(CLUSTERS).add(made)
    rows(GROUPS).add(group)
    rows(REVISIONS).add(
        ClusterRevision(cluster_oid=made.oid, revision=made.revision, config=spec, homes={}, called=called or name)
    )
    return made, group
