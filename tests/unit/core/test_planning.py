import msgspec
from hypothesis import given, settings

from controlplane.core.placement import Candidate, occupies
from controlplane.core.planning import WAITS_FOR_ROUTER, plan_cluster
from controlplane.core.situation import Plan, Situation
from controlplane.records.workers import Want, WorkerStatus
from tests.strategies import EXAMPLES, NOW, group, node, situation, situations, uid, worker

RUNNING = WorkerStatus.RUNNING
SECOND = 1_000_000_000


def after(before: Situation, plan: Plan) -> Situation:
    """The situation once a plan is stored."""
    workers = {w.oid: w for w in before.workers}
    for gone in plan.removed:
        del workers[gone.oid]
    for made in plan.added:
        workers[made.oid] = made
    for was, becomes in plan.changed:
        assert workers[was.oid] == was
        workers[becomes.oid] = becomes
    return refreshed(before, tuple(workers.values()))


def refreshed(before: Situation, workers, **fields) -> Situation:
    """The situation with these workers, counted anew."""
    members = [(c.node, c.softlimit, c.hardlimit) for c in before.candidates.values()]
    candidates = {n.oid: Candidate(n, soft, hard) for n, soft, hard in members}
    for one in workers:
        if occupies(one) and one.node_oid in candidates:
            candidates[one.node_oid].of_cluster += 1
            candidates[one.node_oid].in_all += 1
    given = {name: getattr(before, name) for name in Situation.__slots__}
    return Situation(**{**given, "workers": tuple(workers), "candidates": candidates, **fields})


def obeyed(before: Situation) -> Situation:
    """The situation once agents have done what they were told: online nodes start and stop what they shall."""
    workers = []
    for one in before.workers:
        place = before.nodes.get(one.node_oid) if one.node_oid else None
        if place is not None and place.online:
            if one.want is Want.RUN and one.digest is not None:
                one = msgspec.structs.replace(one, status=RUNNING, seen_digest=one.digest, fresh=False)
            elif one.status is WorkerStatus.STOPPING:
                if one.want is Want.REMOVE:
                    continue
                one = msgspec.structs.replace(one, status=WorkerStatus.STOPPED)
        workers.append(one)
    return refreshed(before, workers)


def settled(begin: Situation) -> Situation:
    """Plan and obey until nothing is to be done any more."""
    now = begin
    for _ in range(60):
        plan = plan_cluster(refreshed(now, now.workers))
        now = obeyed(after(now, plan))
        if not plan and not plan_cluster(refreshed(now, now.workers)):
            return now
    raise AssertionError("does not settle")


def placed(plan: Plan):
    return {w.oid: w.node_oid for w in [*plan.added, *(new for _, new in plan.changed)] if w.want is Want.RUN}


@settings(max_examples=3 * EXAMPLES)
@given(situations())
def test_obeying_plans_settles_from_any_situation(begin):
    end = settled(begin)
    wanted = {g.oid: g.scale for g in begin.groups}
    wanted[None] = begin.cluster.routers if any(wanted.values()) else 0
    for owner, scale in wanted.items():
        kept = [w for w in end.workers if w.workergroup_oid == owner and w.want is not Want.REMOVE]
        if begin.cluster.run:
            assert len(kept) == scale
            assert all(
                w.status
                in (RUNNING, WorkerStatus.PENDING, WorkerStatus.UNREACHABLE, WorkerStatus.STARTING, WorkerStatus.ERROR)
                for w in kept
            )
        else:
            assert len(kept) <= scale
            silent = {oid for oid, n in begin.nodes.items() if not n.online}
            assert all(w.status is WorkerStatus.STOPPED or w.node_oid in silent for w in kept)


@settings(max_examples=3 * EXAMPLES)
@given(situations())
def test_nobody_is_ever_placed_beyond_a_limit_or_on_a_node_that_cannot(begin):
    plan = plan_cluster(refreshed(begin, begin.workers))
    end = after(begin, plan)
    before = {w.oid: w for w in begin.workers}
    for candidate in end.candidates.values():
        arrived = [
            w
            for w in end.workers
            if w.node_oid == candidate.node.oid
            and occupies(w)
            and (w.oid not in before or before[w.oid].node_oid != w.node_oid or not occupies(before[w.oid]))
        ]
        if not arrived:
            continue
        assert candidate.node.online
        here = [w for w in end.workers if w.node_oid == candidate.node.oid and occupies(w)]
        assert candidate.hardlimit is None or len(here) <= candidate.hardlimit
        assert candidate.node.facts.capacity is None or len(here) <= candidate.node.facts.capacity


@settings(max_examples=3 * EXAMPLES)
@given(situations())
def test_nothing_moves_without_a_cause(begin):
    plan = plan_cluster(refreshed(begin, begin.workers))
    members = begin.candidates
    over = {oid for oid, c in members.items() if c.hardlimit is not None and c.of_cluster > c.hardlimit}
    for was, becomes in plan.changed:
        if was.want is Want.RUN and was.node_oid is not None and becomes.node_oid != was.node_oid:
            place = begin.nodes.get(was.node_oid)
            lost = place is None or (not place.online and begin.now - place.since >= 10 * SECOND)
            unlinked = becomes.reason == WAITS_FOR_ROUTER
            assert lost or was.node_oid not in members or was.node_oid in over or unlinked


@settings(max_examples=2 * EXAMPLES)
@given(situations())
def test_workers_spread_as_evenly_as_limits_allow(begin):
    if not begin.cluster.run or begin.cluster.placement is not None:
        return
    end = settled(refreshed(begin, ()))
    free = {
        oid: c
        for oid, c in end.candidates.items()
        if c.node.online and c.softlimit is None and c.hardlimit is None and c.node.facts.capacity is None
    }
    counts = [c.of_cluster for c in free.values()]
    assert not counts or max(counts) - min(counts) <= 1


def test_routers_are_placed_first_and_frontends_know_where_they_listen():
    plan = plan_cluster(situation([group(1, 2)], [(node(1), None, None), (node(2), None, None)], routers=2))
    routers = [w for w in plan.added if w.workergroup_oid is None]
    frontends = [w for w in plan.added if w.workergroup_oid is not None]
    assert [w.index for w in routers] == [0, 1]
    assert all(w.links == {"self": f"{w.node_oid}/{w.oid}"} for w in routers)
    assert all(w.links == {str(r.index): r.links["self"] for r in routers} for w in frontends)


def test_frontends_wait_while_their_router_has_no_place():
    plan = plan_cluster(situation([group(1, 2)], [(node(1), None, 2)], routers=3))
    frontends = [w for w in plan.added if w.workergroup_oid is not None]
    assert {(w.status, w.node_oid) for w in frontends} == {(WorkerStatus.PENDING, None)}


def test_a_cluster_without_workers_wanted_has_no_router_either():
    assert not plan_cluster(situation([], [(node(1), None, None)]))
    assert not plan_cluster(situation([group(1, 0)], [(node(1), None, None)]))


def test_frontends_stay_on_the_machine_of_their_router_when_nothing_connects_others():
    far = node(1, machine="elsewhere")
    router = worker(1, None, 0, uid(2, 2), RUNNING)
    plan = plan_cluster(situation([group(1, 3)], [(far, None, None), (node(2), None, None)], [router]))
    assert set(placed(plan).values()) == {uid(2, 2)}


def apart(**fields):
    """A settled cluster on two machines that stunnel connects."""
    far, near = node(1, machine="elsewhere", stunnel="5.68"), node(2, stunnel="5.68")
    return settled(situation([group(1, 2)], [(far, None, None), (near, None, None)], **fields))


def test_a_frontend_on_another_machine_reaches_its_router_through_a_tunnel():
    workers = apart().workers
    router = next(w for w in workers if w.workergroup_oid is None)
    near = next(w for w in workers if w.workergroup_oid and w.node_oid == router.node_oid)
    far = next(w for w in workers if w.workergroup_oid and w.node_oid != router.node_oid)
    assert near.links == {"0": f"{router.node_oid}/{router.oid}"}
    assert far.links == {
        "0": f"{far.node_oid}/{router.oid}.tunnel",
        "0.tunnel": f"{router.oid}/{router.node_oid}",
    }


def test_a_router_that_moves_has_the_tunnels_to_it_moved():
    before = apart()
    router = next(w for w in before.workers if w.workergroup_oid is None)
    others = [(c.node, None, None) for oid, c in before.candidates.items() if oid != router.node_oid]
    third = (node(3, machine="third", stunnel="5.68"), None, None)
    moved = settled(situation(before.groups, [*others, third], before.workers, others=[node(1), node(2)]))
    home = next(w for w in moved.workers if w.workergroup_oid is None).node_oid
    assert home != router.node_oid
    for frontend in (w for w in moved.workers if w.workergroup_oid and w.node_oid != home):
        assert frontend.links["0.tunnel"] == f"{router.oid}/{home}"


def fleet(count=3, **fields):
    """A settled cluster of one router and some frontends on two nodes."""
    return settled(situation([group(1, count)], [(node(1), None, None), (node(2), None, None)], **fields))


def newer(before: Situation) -> Situation:
    """The same cluster with a new configuration."""
    cluster = msgspec.structs.replace(before.cluster, revision=before.cluster.revision + 1)
    return refreshed(
        before,
        before.workers,
        cluster=cluster,
        digest=lambda w, links: f"{cluster.revision}{w.workergroup_oid is None}{sorted(links.items())}",
    )


def reconfigured(plan: Plan):
    return [new for old, new in plan.changed if old.digest != new.digest]


def test_a_new_configuration_goes_to_one_worker_at_a_time_and_routers_come_first():
    now = newer(fleet(3))
    order = []
    while plan := plan_cluster(refreshed(now, now.workers)):
        assert not plan.rolled
        (one,) = reconfigured(plan)
        order.append(one.workergroup_oid is None)
        now = after(now, plan)
        assert not plan_cluster(refreshed(now, now.workers))  # Nothing more before it has proved itself.
        now = obeyed(now)
    assert order == [True, False, False, False]
    assert plan.rolled
    assert {w.revision for w in now.workers} == {2}


def test_no_router_is_changed_over_before_agents_have_told_a_master_that_was_away():
    now = newer(fleet(3))
    plan = plan_cluster(refreshed(now, now.workers, unheard=True))
    assert (reconfigured(plan), plan.rolled, plan.look_again_after) == ([], False, 0.5)
    assert plan_cluster(refreshed(now, now.workers)).look_again_after is None


def test_a_configuration_that_does_not_start_stops_the_roll():
    now = newer(fleet(3))
    now = obeyed(after(now, plan_cluster(now)))
    plan = plan_cluster(refreshed(now, now.workers))
    (one,) = reconfigured(plan)
    now = after(now, plan)
    workers = [
        msgspec.structs.replace(w, status=RUNNING, seen_digest="the old one") if w.oid == one.oid else w
        for w in now.workers
    ]
    assert not plan_cluster(refreshed(now, workers))


def test_a_worker_that_does_not_serve_gets_the_new_configuration_at_once():
    now = newer(fleet(3))
    workers = [
        msgspec.structs.replace(w, status=WorkerStatus.ERROR, seen_digest=None) if w.index == 1 else w
        for w in now.workers
    ]
    plan = plan_cluster(refreshed(now, workers))
    assert {w.index for w in reconfigured(plan)} >= {1}


def test_frontends_of_a_router_that_moved_are_all_told_at_once():
    begin = fleet(4)
    router = next(w for w in begin.workers if w.workergroup_oid is None)
    gone = {
        oid: (msgspec.structs.replace(n, online=False, since=NOW - 60 * SECOND) if oid == router.node_oid else n)
        for oid, n in begin.nodes.items()
    }
    now = refreshed(begin, begin.workers, nodes=gone)
    for oid, candidate in now.candidates.items():
        candidate.node = gone[oid]
    plan = plan_cluster(now)
    moved = next(new for _, new in plan.changed if new.workergroup_oid is None)
    assert moved.node_oid != router.node_oid
    frontends = [new for _, new in plan.changed if new.workergroup_oid is not None]
    assert len(frontends) == 4
    assert all(w.links == {"0": moved.links["self"]} for w in frontends)


def test_a_pass_looks_again_when_the_grace_period_of_a_silent_node_ends():
    begin = fleet(3)
    silent = {oid: msgspec.structs.replace(n, online=False, since=NOW - 4 * SECOND) for oid, n in begin.nodes.items()}
    now = refreshed(begin, begin.workers, nodes=silent)
    plan = plan_cluster(now)
    assert not plan
    assert plan.look_again_after == 6


def test_the_lowest_free_index_is_given_first():
    workers = [worker(1, uid(3, 1), 2, uid(2, 1), RUNNING), worker(2, None, 0, uid(2, 1), RUNNING)]
    plan = plan_cluster(situation([group(1, 3)], [(node(1), None, None)], workers))
    assert sorted(w.index for w in plan.added) == [0, 1]


def test_frontends_that_keep_sessions_are_renewed_with_a_router_on_another_node():
    begin = fleet(4, lean=True)
    router = next(w for w in begin.workers if w.workergroup_oid is None)
    renewed = [msgspec.structs.replace(w, renewals=1) if w.oid == router.oid else w for w in begin.workers]
    plan = plan_cluster(refreshed(begin, renewed))
    elsewhere = {w.oid for w in begin.workers if w.node_oid != router.node_oid}
    assert {new.oid for _, new in plan.changed} == elsewhere
    assert elsewhere
    begin = fleet(4)
    renewed = [msgspec.structs.replace(w, renewals=1) for w in begin.workers]
    assert not plan_cluster(refreshed(begin, renewed))
