"""What a pass over a cluster looks at, and what comes of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from controlplane.core.placement import Candidate
from controlplane.core.standby import Taken
from controlplane.records.clusters import Cluster, Group
from controlplane.records.lifecycle import Waited
from controlplane.records.nodes import Node
from controlplane.records.types import Instant, Oid, Seconds
from controlplane.records.workers import Worker

Links = Mapping[str, str]
"""What a worker's configuration depends on: for a frontend, where the routers of its cluster listen, by their index;
for a router, where it listens itself, under `OWN_SOCKET`."""

OWN_SOCKET = "self"

HEAR_AGAIN_S = 0.5
"""How soon it is looked whether agents have said what runs, for which a decision waits."""


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything that a pass may look at."""

    cluster: Cluster
    groups: tuple[Group, ...]
    workers: tuple[Worker, ...]
    driver: str
    """What a node has to have to carry workers of the cluster."""

    candidates: Mapping[Oid, Candidate]
    """Members of the cluster by node, with what they carry; the pass counts on in them."""

    nodes: Mapping[Oid, Node]
    """Nodes that workers stand on, members or not."""

    router_socket: Callable[[Worker, Node], str]
    """Where a router worker listens when it runs on a node."""

    tunnel_socket: Callable[[Worker, Node], str]
    """Where the tunnel to a router worker on another machine begins on a node."""

    digest: Callable[[Worker, Links], str]
    """Identity of the newest configuration of a worker, given its links."""

    lean: bool
    """Whether frontends keep sessions of their own at routers, which they cannot renew when a router is."""

    now: Instant
    new_oid: Callable[[], Oid]
    added_max: int | None = None
    """How many workers one pass may add; the next one adds more."""

    may_relieve: bool = True
    """Whether workers that stand by may take the places of others; no while an action is about what those do."""

    waited_for: Callable[[], frozenset[Oid]] = frozenset
    """Nodes for whose room workers of other clusters wait: nobody is placed there to stand by."""

    canary: int = 0
    """So many have to prove themselves with the newest configuration before others that serve are given it."""

    unheard: bool = False
    """Whether agents have yet to tell this run of the master what runs on nodes of the workers: what is known may be of
    long ago, and proves nothing."""


@dataclass(slots=True)
class Plan:
    """Workers to store, and when to look again if nothing happens before."""

    added: list[Worker] = field(default_factory=list)
    changed: list[tuple[Worker, Worker]] = field(default_factory=list)
    """As they were, as they shall be."""

    removed: list[Worker] = field(default_factory=list)
    rolled: bool = True
    """Whether every worker has been given the newest configuration."""

    waited: list[Waited] = field(default_factory=list)
    """How it ended that something was waited for before workers go."""

    taken: list[Taken] = field(default_factory=list)
    """Workers that stood by and are in the cluster from now on."""

    pool_said: str | None = None
    """What those that stand by could do about workers that were missing; None when none were."""

    without_room: int = 0
    """How many workers have no place, not counting those that stand by."""

    unheard: bool = False
    """As the situation says."""

    look_again_after: Seconds | None = None

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)
