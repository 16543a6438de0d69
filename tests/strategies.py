"""Hypothesis strategies for situations of a cluster."""

from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st

from controlplane.core.placement import Candidate, occupies
from controlplane.core.situation import Situation
from controlplane.records.clusters import Cluster, Group
from controlplane.records.nodes import Node, NodeFacts
from controlplane.records.placement import PlacementRules, Share
from controlplane.records.workers import Want, Worker, WorkerStatus

NOW = 1_700_000_000_000_000_000
CLUSTER = UUID(int=1 << 64)
GRACE_S = 10.0
EXAMPLES = settings().max_examples
"""As many as the profile says; what is looked into more closely takes a multiple."""


def uid(kind: int, number: int) -> UUID:
    return UUID(int=(kind << 96) | number)


def node(
    number: int,
    *,
    online=True,
    since=NOW,
    capacity=None,
    machine="here",
    drivers=("router",),
    stunnel=None,
    region=None,
    zone=None,
) -> Node:
    return Node(
        oid=uid(2, number),
        authid=f"node{number}",
        pubkey=f"{number:064x}",
        created=0,
        changed=0,
        online=online,
        since=since,
        region=region,
        zone=zone,
        facts=NodeFacts(
            version="1",
            machine=machine,
            address=f"10.0.0.{number}",
            sockets=f"/run/{number}",
            drivers=drivers,
            ports=(1, 2),
            capacity=capacity,
            stunnel=stunnel,
        ),
    )


def group(number: int, scale: int) -> Group:
    return Group(oid=uid(3, number), cluster_oid=CLUSTER, name=f"g{number}", scale=scale, created=number, changed=0)


def worker(number: int, group_oid, index: int, node_oid=None, status=WorkerStatus.PENDING, **fields) -> Worker:
    digest = "d" if node_oid is not None and status is not WorkerStatus.STOPPED else None
    given = {"digest": digest, "want": Want.RUN, **fields}
    return Worker(
        oid=uid(4, number),
        cluster_oid=CLUSTER,
        workergroup_oid=group_oid,
        index=index,
        created=0,
        changed=0,
        node_oid=node_oid,
        status=status,
        **given,
    )


def situation(
    groups,
    members,
    workers=(),
    *,
    run=True,
    routers=1,
    others=(),
    now=NOW,
    digest=None,
    revision=1,
    lean=False,
    placement=None,
):
    """A situation; `members` are (node, softlimit, hardlimit), `others` nodes that are no members."""
    nodes = {n.oid: n for n, _, _ in members} | {n.oid: n for n in others}
    candidates = {n.oid: Candidate(n, soft, hard) for n, soft, hard in members}
    for one in workers:
        if occupies(one) and one.node_oid in candidates:
            candidates[one.node_oid].of_cluster += 1
            candidates[one.node_oid].in_all += 1
    numbers = iter(range(10_000, 20_000))
    return Situation(
        cluster=Cluster(
            oid=CLUSTER,
            name="demo",
            created=0,
            changed=0,
            run=run,
            routers=routers,
            grace_period=GRACE_S,
            revision=revision,
            placement=placement,
        ),
        groups=tuple(groups),
        workers=tuple(workers),
        driver="router",
        candidates=candidates,
        nodes=nodes,
        router_socket=lambda w, n: f"{n.oid}/{w.oid}",
        tunnel_socket=lambda w, n: f"{n.oid}/{w.oid}.tunnel",
        digest=digest or (lambda w, links: f"{w.workergroup_oid is None}{sorted(links.items())}"),
        lean=lean,
        now=now,
        new_oid=lambda: uid(4, next(numbers)),
    )


ZONES = ("a", "b", "c")
REGIONS = ("north", "south")
PLACES = (("north", "a"), ("north", "b"), ("south", "c"), ("south", None), (None, None))
LIMITS = st.none() | st.integers(0, 6)


@st.composite
def members(draw, max_nodes=5):
    count = draw(st.integers(0, max_nodes))
    found = []
    for number in range(1, count + 1):
        hard = draw(LIMITS)
        soft = draw(st.none() | st.integers(0, 6 if hard is None else hard))
        online = draw(st.booleans() | st.just(True))
        since = NOW - draw(st.integers(0, 30)) * 1_000_000_000
        region, zone = draw(st.sampled_from(PLACES))
        place = node(number, online=online, since=since, capacity=draw(LIMITS), region=region, zone=zone)
        found.append((place, soft, hard))
    return found


@st.composite
def placements(draw):
    """What policies may say of where workers stand."""
    weights = st.integers(0, 4)
    zones = draw(st.lists(st.sampled_from(ZONES), unique=True, max_size=3))
    regions = draw(st.lists(st.sampled_from(REGIONS), unique=True, max_size=2))
    return PlacementRules(
        zones=tuple(Share(name=name, weight=draw(weights)) for name in zones),
        zone_policy="by_zone",
        regions=tuple(Share(name=name, weight=draw(weights), cap=draw(LIMITS)) for name in regions),
        region_policy="by_region",
        per_zone_max=draw(st.none() | st.integers(1, 4)),
        together=draw(st.none() | st.sampled_from(["node", "zone"])),
        affinity_policy="keeping",
    )


@st.composite
def situations(draw):
    """Situations as the store may hold them, nice or not."""
    where = draw(members())
    groups = [group(number, draw(st.integers(0, 5))) for number in range(draw(st.integers(0, 2)))]
    others = [node(90), node(91, online=False, since=NOW - 60 * 10**9)]
    places = [n.oid for n, _, _ in where] + [n.oid for n in others] + [uid(2, 99)]
    workers = []
    for number in range(draw(st.integers(0, 8))):
        status = draw(st.sampled_from(WorkerStatus))
        want = draw(st.sampled_from(Want))
        place = None if status is WorkerStatus.PENDING else draw(st.sampled_from(places))
        if (status is WorkerStatus.STOPPED) is (want is Want.RUN) or (
            want is not Want.RUN and status not in (WorkerStatus.STOPPED, WorkerStatus.STOPPING)
        ):
            continue
        if want is Want.RUN and status is WorkerStatus.STOPPING:
            continue
        if want is Want.REMOVE and status is WorkerStatus.STOPPED:
            continue
        owner = draw(st.sampled_from([None, *(g.oid for g in groups), uid(3, 77)]))
        workers.append(worker(number, owner, draw(st.integers(0, 5)), place, status, want=want))
    return situation(
        groups,
        where,
        workers,
        run=draw(st.booleans()),
        routers=draw(st.integers(1, 2)),
        others=others,
        placement=draw(st.none() | placements()),
    )
