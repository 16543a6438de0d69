"""Plans by example: whole records, as they were and as they shall be."""

import msgspec
import pytest

from controlplane.core.planning import WAITS_FOR_ROUTER, plan_cluster
from controlplane.core.situation import Plan
from controlplane.records.workers import Address, Want, Worker, WorkerStatus
from tests.strategies import CLUSTER, NOW, group, node, situation, uid, worker

PENDING, STARTING, RUNNING, UNREACHABLE, STOPPING, STOPPED, ERROR = (
    getattr(WorkerStatus, name)
    for name in ("PENDING", "STARTING", "RUNNING", "UNREACHABLE", "STOPPING", "STOPPED", "ERROR")
)
SECOND = 1_000_000_000
WEB = uid(3, 1)
ONE, TWO, THREE = uid(2, 1), uid(2, 2), uid(2, 3)


def here(number=1, **fields):
    """A member node without limits."""
    return (node(number, **fields), None, None)


def silent(number, seconds, soft=None, hard=None):
    """A member node that was last heard of so long ago."""
    return (node(number, online=False, since=NOW - int(seconds * SECOND)), soft, hard)


def running(number, owner, index, place, **fields):
    """A worker that runs what it shall; a frontend knows the way to the router with the number 1 on node ONE."""
    given = {"digest": "d", "seen_digest": "d", "fresh": False, "revision": 1, "pid": 5, "started": 7, **fields}
    ways = {"self": f"{place}/{uid(4, number)}"} if owner is None else {"0": f"{ONE}/{uid(4, 1)}"}
    return worker(number, owner, index, place, RUNNING, **{"links": ways, **given})


def changed(before, **fields):
    return msgspec.structs.replace(before, **fields)


def planned(groups, members, workers=(), **fields):
    return plan_cluster(situation(groups, members, workers, **{"digest": lambda _worker, _links: "d", **fields}))


def becomes(plan, before):
    """What is to become of a worker; itself when nothing is."""
    return next((new for old, new in plan.changed if old.oid == before.oid), before)


CLEARED = {
    "seen_digest": None,
    "started": None,
    "pid": None,
    "realms": (),
    "addresses": (),
}
USED = {"realms": ("shop",), "addresses": (Address(type="websocket", url="ws://x"),)}


# How many


def test_what_is_missing_is_added_and_placed():
    plan = planned([group(1, 1)], [here()], revision=3)
    router, frontend = plan.added
    common = {"cluster_oid": CLUSTER, "index": 0, "created": NOW, "changed": NOW, "node_oid": ONE, "revision": 3}
    assert router == Worker(
        oid=uid(4, 10_000),
        workergroup_oid=None,
        digest="d",
        status=STARTING,
        links={"self": f"{ONE}/{router.oid}"},
        **common,
    )
    assert frontend == Worker(
        oid=uid(4, 10_001),
        workergroup_oid=WEB,
        digest="d",
        status=STARTING,
        links={"0": f"{ONE}/{router.oid}"},
        **common,
    )
    assert (plan.changed, plan.removed, plan.look_again_after) == ([], [], None)
    assert plan.rolled is False  # They have not shown yet that they run.


def test_a_plan_that_has_something_to_do_is_true():
    assert not Plan()
    one = worker(1, None, 0)
    for plan in (Plan(added=[one]), Plan(changed=[(one, one)]), Plan(removed=[one])):
        assert plan


def test_groups_come_in_the_order_in_which_they_were_made_behind_the_routers():
    groups = [changed(group(1, 1), created=20), changed(group(2, 1), created=10)]
    assert [made.workergroup_oid for made in planned(groups, [here()]).added] == [None, uid(3, 2), uid(3, 1)]
    twins = [changed(group(number, 1), created=10) for number in (2, 1)]
    assert [made.workergroup_oid for made in planned(twins, [here()]).added] == [None, uid(3, 1), uid(3, 2)]


def test_a_group_that_wants_nothing_gets_nothing_beside_one_that_does():
    plan = planned([group(1, 0), group(2, 1)], [here()], routers=2)
    assert [made.workergroup_oid for made in plan.added] == [None, None, uid(3, 2)]


def test_nothing_is_added_to_a_cluster_that_shall_not_run():
    assert not planned([group(1, 3)], [here()], run=False)


def removed_of(scale, statuses):
    """Which indexes of a group are told to stop when it wants so many."""
    workers = [running(9, None, 0, ONE)]
    workers += [
        worker(number, WEB, number, None if status is PENDING else ONE, status)
        for number, status in enumerate(statuses)
    ]
    plan = planned([group(1, scale)], [here()], workers)
    gone = [*plan.removed, *(new for _, new in plan.changed if new.want is Want.REMOVE)]
    return sorted(one.index for one in gone)


@pytest.mark.parametrize("sick", [PENDING, ERROR, UNREACHABLE])
def test_the_sick_ones_are_removed_first_then_the_highest_index(sick):
    assert removed_of(3, [RUNNING, sick, RUNNING]) == []
    assert removed_of(2, [RUNNING, sick, RUNNING]) == [1]
    assert removed_of(1, [RUNNING, sick, RUNNING]) == [1, 2]
    assert removed_of(1, [sick, sick, RUNNING]) == [0, 1]
    assert removed_of(2, [RUNNING, STARTING, RUNNING]) == [2]


def test_of_two_workers_with_one_index_the_greater_oid_is_removed():
    twins = [running(number, WEB, 0, ONE) for number in (2, 1)]
    plan = planned([group(1, 1)], [here()], [running(9, None, 0, ONE), *twins])
    assert [new.oid for _, new in plan.changed if new.want is Want.REMOVE] == [uid(4, 2)]


def test_routers_are_removed_by_their_index_alone_because_realms_live_on_them():
    routers = [worker(1, None, 0, ONE, ERROR), running(2, None, 1, ONE)]
    plan = planned([group(1, 1)], [here()], [*routers, running(3, WEB, 0, ONE)], routers=1)
    assert [old.index for old, new in plan.changed if new.want is Want.REMOVE] == [1]


def test_surplus_stops_and_a_place_that_is_nowhere_is_simply_gone():
    busy = running(1, WEB, 1, ONE, reason="something", **USED)
    waiting = worker(2, WEB, 2)
    stopped = worker(3, WEB, 3, ONE, STOPPED, want=Want.STOP)
    all_here = [running(9, None, 0, ONE), running(8, WEB, 0, ONE), busy, waiting, stopped]
    plan = planned([group(1, 1)], [here()], all_here)
    assert plan.changed[-1:] == [(busy, changed(busy, want=Want.REMOVE, status=STOPPING, reason=None))]
    assert {one.oid for one in plan.removed} == {waiting.oid, stopped.oid}


def test_workers_of_a_group_that_is_gone_are_removed():
    orphan = running(1, uid(3, 77), 0, ONE)
    plan = planned([], [here()], [orphan])
    assert plan.changed == [(orphan, changed(orphan, want=Want.REMOVE, status=STOPPING))]


def test_a_worker_that_was_told_to_go_does_not_count_and_is_not_told_again():
    leaving = worker(1, WEB, 0, ONE, STOPPING, want=Want.REMOVE)
    plan = planned([group(1, 1)], [here()], [running(9, None, 0, ONE), leaving])
    assert [made.index for made in plan.added] == [0]
    assert becomes(plan, leaving) == leaving
    assert leaving not in plan.removed


def test_a_worker_that_has_stopped_and_was_to_go_is_removed():
    gone = worker(1, WEB, 0, ONE, STOPPED, want=Want.REMOVE)
    assert planned([], [here()], [gone]).removed == [gone]


# Stopping


def test_a_cluster_that_is_stopped_keeps_its_places():
    busy = running(1, WEB, 0, ONE, reason="something", **USED)
    waiting = worker(2, WEB, 1, reason="no place")
    plan = planned([group(1, 2)], [here()], [running(9, None, 0, ONE), busy, waiting], run=False)
    assert becomes(plan, busy) == changed(busy, want=Want.STOP, status=STOPPING, reason=None)
    assert becomes(plan, waiting) == changed(waiting, want=Want.STOP, status=STOPPED, reason=None)
    assert (plan.added, plan.removed, plan.rolled) == ([], [], True)


@pytest.mark.parametrize("place", [None, uid(2, 99)])
def test_what_stops_nowhere_has_stopped(place):
    leaving = worker(1, WEB, 0, place, STOPPING, want=Want.STOP)
    assert becomes(planned([group(1, 1)], [here()], [leaving], run=False), leaving).status is STOPPED


def test_what_stops_on_a_silent_node_has_stopped_when_the_node_is_lost():
    leaving = worker(1, WEB, 0, ONE, STOPPING, want=Want.STOP)
    plan = planned([group(1, 1)], [silent(1, 4)], [leaving], run=False)
    assert not plan
    assert plan.look_again_after == 6
    plan = planned([group(1, 1)], [silent(1, 10)], [leaving], run=False)
    assert becomes(plan, leaving) == changed(leaving, status=STOPPED)
    assert plan.look_again_after is None
    plan = planned([group(1, 1)], [here()], [leaving], run=False)
    assert not plan
    assert plan.look_again_after is None


def test_it_is_looked_again_when_the_first_of_several_silent_nodes_is_lost():
    leaving = [worker(n, WEB, n, uid(2, n), STOPPING, want=Want.STOP) for n in (1, 2, 3)]
    members = [silent(1, 4), silent(2, 7.5), silent(3, 1)]
    assert planned([group(1, 3)], members, leaving, run=False).look_again_after == 2.5


# Starting again


def resting(number, owner, index, place, **fields):
    return worker(number, owner, index, place, STOPPED, **{"want": Want.STOP, "fresh": False, **USED, **fields})


def test_a_stopped_cluster_starts_where_it_ran():
    router, frontend = resting(1, None, 0, TWO), resting(2, WEB, 0, TWO, reason="old", pid=4, started=3)
    plan = planned([group(1, 1)], [here(1), here(2)], [router, frontend])
    common = {"want": Want.RUN, "status": STARTING, "fresh": True, "reason": None, "digest": "d", "revision": 1}
    assert becomes(plan, router) == changed(router, links={"self": f"{TWO}/{router.oid}"}, **common, **CLEARED)
    assert becomes(plan, frontend) == changed(frontend, links={"0": f"{TWO}/{router.oid}"}, **common, **CLEARED)


def test_a_stopped_worker_goes_elsewhere_when_it_no_longer_fits_and_says_why():
    router, frontend = running(1, None, 0, ONE), resting(2, WEB, 0, TWO)
    plan = planned([group(1, 1)], [here(1), (node(2), None, 0)], [router, frontend])
    new = becomes(plan, frontend)
    assert (new.node_oid, new.status, new.want, new.fresh) == (ONE, STARTING, Want.RUN, True)
    assert new.reason == "its former node: hardlimit of 0 reached"


def test_a_stopped_worker_with_no_place_anywhere_waits_for_one():
    router, frontend = running(1, None, 0, ONE), resting(2, WEB, 0, ONE)
    plan = planned([group(1, 1)], [(node(1), None, 1)], [router, frontend])
    new = becomes(plan, frontend)
    assert (new.node_oid, new.status, new.want) == (None, PENDING, Want.RUN)
    assert new.reason == "no place: node1: hardlimit of 1 reached"


def test_a_worker_that_still_stops_is_started_once_it_has_stopped():
    leaving = worker(2, WEB, 0, ONE, STOPPING, want=Want.STOP)
    plan = planned([group(1, 1)], [here()], [running(1, None, 0, ONE), leaving])
    assert becomes(plan, leaving) == leaving


# Leaving a node


def moved(plan, before, place, reason):
    new = becomes(plan, before)
    assert (new.node_oid, new.status, new.want, new.reason) == (place, STARTING, Want.RUN, reason)
    assert {name: getattr(new, name) for name in CLEARED} == CLEARED
    return new


def test_a_worker_leaves_a_node_that_no_longer_carries_the_cluster():
    router, frontend = running(1, None, 0, ONE), running(2, WEB, 0, TWO, **USED)
    reason = "its node no longer carries the cluster"
    assert moved(planned([group(1, 1)], [here()], [router, frontend], others=[node(2)]), frontend, ONE, reason)
    assert moved(planned([group(1, 1)], [here()], [router, frontend]), frontend, ONE, reason)


def test_a_worker_that_is_moved_is_not_new():
    router, frontend = running(1, None, 0, ONE), running(2, WEB, 0, TWO)
    plan = planned([group(1, 1)], [here()], [router, frontend])
    assert becomes(plan, frontend).fresh is False


def test_a_worker_leaves_a_node_that_was_silent_for_too_long():
    router, frontend = running(1, None, 0, ONE), running(2, WEB, 0, TWO)
    plan = planned([group(1, 1)], [here(), silent(2, 10)], [router, frontend])
    moved(plan, frontend, ONE, "its node node2 was offline for longer than 10 s")
    assert plan.look_again_after is None
    plan = planned([group(1, 1)], [here(), silent(2, 9.5)], [router, frontend])
    assert becomes(plan, frontend) == frontend
    assert plan.look_again_after == 0.5


def test_a_worker_of_a_lost_node_stays_there_when_there_is_no_other_place():
    router, frontend = running(1, None, 0, ONE), running(2, WEB, 0, TWO)
    plan = planned([group(1, 1)], [(node(1), None, 1), silent(2, 60)], [router, frontend])
    assert not plan


def test_a_worker_without_a_place_gets_the_first_one_that_is_there():
    router, frontend = running(1, None, 0, ONE), worker(2, WEB, 0, reason="no place")
    moved(planned([group(1, 1)], [here()], [router, frontend]), frontend, ONE, None)
    plan = planned([group(1, 1)], [(node(1), None, 1)], [router, frontend])
    assert becomes(plan, frontend) == changed(frontend, reason="no place: node1: hardlimit of 1 reached")


def test_a_lowered_hardlimit_moves_the_last_ones_and_routers_last():
    workers = [running(1, None, 0, ONE), *(running(number, WEB, number - 2, ONE) for number in (2, 3, 4))]

    def leave(hardlimit):
        plan = planned([group(1, 3)], [(node(1), None, hardlimit), here(2)], workers)
        return {new.oid: new.reason for _, new in plan.changed if new.node_oid == TWO}

    reason = "its node carries more workers of the cluster than its hardlimit"
    assert leave(4) == {}
    assert leave(3) == {uid(4, 4): reason}
    assert leave(2) == dict.fromkeys([uid(4, 3), uid(4, 4)], reason)
    assert leave(0) == dict.fromkeys([uid(4, number) for number in (1, 2, 3, 4)], reason)


def test_a_lowered_hardlimit_moves_all_when_it_is_zero_and_another_one_stops_there_already():
    workers = [running(1, None, 0, ONE), *(running(number, WEB, number - 2, ONE) for number in (2, 3, 4))]
    plan = planned([group(1, 2)], [(node(1), None, 0), here(2)], workers)
    assert {old.oid for old, new in plan.changed if new.node_oid == TWO} == {uid(4, 1), uid(4, 2), uid(4, 3)}


def test_who_is_beyond_a_hardlimit_does_not_wait_on_a_silent_node():
    workers = [running(1, None, 0, ONE), *(running(number, WEB, number - 2, TWO) for number in (2, 3, 4))]
    for seconds in (1, 60):  # Before it is lost, and after.
        plan = planned([group(1, 3)], [(node(1), None, 1), silent(2, seconds, hard=1)], workers)
        assert {old.oid: (new.status, new.node_oid) for old, new in plan.changed} == dict.fromkeys(
            [uid(4, 3), uid(4, 4)], (PENDING, None)
        )
        assert becomes(plan, workers[3]).reason == "no place: node1: hardlimit of 1 reached; node2: offline"


def test_a_place_that_is_left_is_free_for_another():
    router, leaver, waiter = running(1, None, 0, ONE), running(2, WEB, 0, THREE), worker(3, WEB, 1)
    members = [(node(1), None, 1), (node(2), None, 1), silent(3, 60, None, None)]
    plan = planned([group(1, 2)], members, [router, leaver, waiter])
    assert becomes(plan, leaver).node_oid == TWO
    assert becomes(plan, waiter).status is PENDING


def test_a_node_that_is_left_by_one_has_room_for_the_next():
    workers = [running(1, None, 0, TWO), running(2, WEB, 0, ONE), running(3, WEB, 1, ONE)]
    plan = planned([group(1, 2)], [(node(1), None, 1), (node(2), None, 1)], workers)
    # Who has to leave finds only the room that it gave up itself.
    new = becomes(plan, workers[2])
    assert (new.node_oid, new.status) == (None, PENDING)


# On which machine


def test_all_workers_are_placed_on_the_machine_of_the_first_when_nothing_connects_others():
    plan = planned([group(1, 3)], [here(1, machine="a"), here(2, machine="b")])
    assert {made.node_oid for made in plan.added} == {ONE}


def test_a_worker_that_is_alone_is_bound_to_no_machine():
    router = running(1, None, 0, ONE)
    plan = planned([], [here(2, machine="b")], [router], others=[node(1, machine="a")])
    assert becomes(plan, router).want is Want.REMOVE
    alone = running(2, WEB, 0, ONE)
    plan = planned([group(1, 1)], [here(2, machine="b")], [alone], others=[node(1, machine="a")])
    assert becomes(plan, alone).node_oid == TWO


def test_a_worker_that_is_to_stop_binds_nobody():
    leaving = running(1, uid(3, 77), 0, ONE)
    plan = planned([group(1, 1)], [(node(1, machine="a"), None, 0), here(2, machine="b")], [leaving])
    assert {made.node_oid for made in plan.added} == {TWO}


# Configurations


def test_frontends_give_up_a_place_when_their_router_has_none():
    frontend = worker(2, WEB, 0)
    members = [(node(1), None, 1), (node(2, drivers=()), None, None)]
    plan = planned([group(1, 1)], members, [worker(1, None, 0), worker(3, None, 1), frontend], routers=2)
    assert becomes(plan, frontend).status is PENDING
    plan = planned([group(1, 1)], [(node(1, drivers=()), None, None)], [worker(1, None, 0), frontend])
    assert not plan.rolled


def test_a_frontend_that_serves_keeps_its_place_while_its_router_has_none():
    router, frontend = worker(1, None, 0), running(2, WEB, 0, ONE, links={"0": "somewhere"})
    plan = planned([group(1, 1)], [(node(1), None, 1)], [router, frontend])
    assert becomes(plan, frontend) == frontend
    assert plan.rolled is False


def test_a_place_that_a_frontend_gives_back_is_told():
    members = [(node(1), None, 2)]
    workers = [worker(1, None, 0), worker(2, None, 1), worker(3, None, 2), worker(4, WEB, 0)]
    plan = planned([group(1, 1)], members, workers, routers=3)
    assert becomes(plan, workers[2]).reason == "no place: node1: hardlimit of 2 reached"
    assert becomes(plan, workers[3]).reason == "no place: node1: hardlimit of 2 reached"
    far = [(node(1, machine="a", drivers=()), None, None), (node(2, machine="b"), None, 1)]
    busy = running(5, WEB, 1, ONE)
    plan = planned([group(1, 2)], [far[0], here(3, machine="b")], [worker(1, None, 0), worker(4, WEB, 0), busy])
    assert becomes(plan, workers[0]).status is PENDING
    assert becomes(plan, workers[3]).status is PENDING


def test_waiting_for_a_router_is_said():
    router = worker(1, None, 0)
    members = [(node(1, machine="a"), None, 1), (node(2, machine="a", drivers=()), None, None)]
    fleet = [router, worker(2, None, 1), worker(3, WEB, 0)]
    plan = planned([group(1, 1)], members, fleet, routers=2)
    assert becomes(plan, fleet[0]).node_oid == ONE
    assert becomes(plan, fleet[1]).reason.startswith("no place: ")
    plan = planned([group(1, 1)], [(node(1), None, None)], fleet[2:], routers=1)
    assert becomes(plan, fleet[2]).links == {"0": f"{ONE}/{uid(4, 10_000)}"}
    assert becomes(plan, fleet[2]).reason != WAITS_FOR_ROUTER


def test_a_revision_that_changes_nothing_of_a_worker_is_noted_without_a_restart():
    workers = [running(1, None, 0, ONE), running(2, WEB, 0, ONE)]
    plan = planned([group(1, 1)], [here()], workers, revision=5)
    assert [new for _, new in plan.changed] == [changed(one, revision=5) for one in workers]
    assert plan.rolled is True
    again = planned([group(1, 1)], [here()], [changed(one, revision=5) for one in workers], revision=5)
    assert not again
    assert again.rolled is True


def test_ways_that_changed_are_noted_without_a_restart_when_nothing_else_did():
    workers = [running(1, None, 0, ONE), running(2, WEB, 0, ONE, links={"0": "elsewhere"})]
    plan = planned([group(1, 1)], [here()], workers)
    assert plan.changed == [(workers[1], changed(workers[1], links={"0": f"{ONE}/{uid(4, 1)}"}))]


def roll(workers, **fields):
    """Who is given the newest configuration, "new"."""
    plan = planned([group(1, len(workers) - 1)], [here()], workers, digest=lambda _worker, _links: "new", **fields)
    assert all(new.digest == "new" for old, new in plan.changed if old.digest != new.digest)
    return [new.oid.int & 0xFF for old, new in plan.changed if old.digest != new.digest], plan.rolled


def served(number, index, **fields):
    return running(number, WEB, index, ONE, **fields)


NEW = {"digest": "new", "seen_digest": "new"}


def test_those_that_serve_get_a_configuration_one_after_the_other_routers_first():
    router, first, second = running(1, None, 0, ONE), served(2, 0), served(3, 1)
    assert roll([router, first, second]) == ([1], False)
    assert roll([changed(router, digest="new"), first, second]) == ([], False)
    assert roll([changed(router, **NEW), first, second]) == ([2], False)
    assert roll([changed(router, **NEW), changed(first, **NEW), second]) == ([3], False)
    assert roll([changed(router, **NEW), changed(first, **NEW), changed(second, digest="new")]) == ([], False)
    assert roll([changed(router, **NEW), changed(first, **NEW), changed(second, **NEW)]) == ([], True)


@pytest.mark.parametrize("status", [STARTING, ERROR, UNREACHABLE])
def test_one_that_does_not_serve_is_not_waited_for_and_gets_it_at_once(status):
    router, first, second = running(1, None, 0, ONE), served(2, 0), served(3, 1)
    assert roll([router, first, changed(second, status=status)])[0] == [1, 3]


@pytest.mark.parametrize(
    ("status", "goes_on"), [(STARTING, False), (ERROR, False), (UNREACHABLE, True), (RUNNING, False)]
)
def test_a_roll_waits_for_the_one_that_was_given_it_last_unless_nobody_knows_of_it(status, goes_on):
    router, second = running(1, None, 0, ONE, **NEW), served(3, 1)
    first = changed(served(2, 0), status=status, digest="new", seen_digest="d")
    assert roll([router, first, second]) == ([3] if goes_on else [], False)


def test_one_whose_ways_changed_gets_it_at_once():
    router, first, second = running(1, None, 0, ONE), served(2, 0), changed(served(3, 1), links={"0": "elsewhere"})
    assert roll([router, first, second])[0] == [1, 3]


def test_one_that_is_to_stop_gets_nothing():
    router, leaving = running(1, None, 0, ONE, **NEW), worker(2, WEB, 0, ONE, STOPPING, want=Want.STOP, digest="d")
    assert roll([router, leaving]) == ([], False)


# What a pass must not do


def test_one_that_leaves_hides_none_behind_it():
    leaving = worker(5, WEB, 0, ONE, STOPPING, want=Want.REMOVE)
    assert not planned([group(1, 1)], [here()], [leaving, running(1, None, 0, ONE), running(2, WEB, 0, ONE)])


def test_routers_come_first_however_old_a_group_is():
    groups = [changed(group(1, 1), created=0)]
    assert [made.workergroup_oid for made in planned(groups, [here()]).added] == [None, WEB]


def test_no_more_are_added_than_are_missing_whatever_indexes_the_others_have():
    workers = [running(1, None, 0, ONE), running(2, WEB, 5, ONE)]
    assert [made.index for made in planned([group(1, 2)], [here()], workers).added] == [0]


def test_a_worker_that_loses_its_place_runs_nothing_any_more():
    router, frontend = running(1, None, 0, ONE), running(2, WEB, 0, TWO, **USED)
    plan = planned([group(1, 1)], [(node(1), None, 1)], [router, frontend])
    assert becomes(plan, frontend) == changed(
        frontend,
        node_oid=None,
        status=PENDING,
        digest=None,
        links={},
        reason="no place: node1: hardlimit of 1 reached",
        **CLEARED,
    )


def test_a_frontend_gives_its_place_back_when_its_router_is_without_one():
    """The router is bound to the machine of the frontend, whose node is lost; the frontend to nothing."""
    router, frontend = worker(1, None, 0), running(2, WEB, 0, TWO)
    lost = silent(2, 60)
    lost = (changed(lost[0], facts=changed(lost[0].facts, machine="b")), None, None)
    begin = situation([group(1, 1)], [here(1, machine="a"), lost], [router, frontend])
    plan = plan_cluster(begin)
    new = becomes(plan, frontend)
    assert (new.node_oid, new.status, new.digest) == (None, PENDING, None)
    assert new.reason == WAITS_FOR_ROUTER == "waits for the router workers of its cluster to get a place"
    assert {oid: one.of_cluster for oid, one in begin.candidates.items()} == {ONE: 0, TWO: 0}
    # Now nothing binds the router.
    plan = planned([group(1, 1)], [here(1, machine="a"), lost], [becomes(plan, router), new])
    assert {one.node_oid for _, one in plan.changed} == {ONE}


def test_a_stopped_worker_starts_on_the_machine_of_the_others_alone():
    router, frontend = running(1, None, 0, ONE), resting(2, WEB, 0, TWO)
    plan = planned([group(1, 1)], [here(1, machine="a"), here(2, machine="b")], [router, frontend])
    assert becomes(plan, frontend).node_oid == ONE
    assert becomes(plan, frontend).reason.startswith("its former node: is another machine")


def test_a_node_without_stunnel_binds_the_others_to_its_machine():
    router, frontend = running(1, None, 0, ONE), worker(2, WEB, 0)
    members = [(node(1, machine="a"), None, 1), here(2, machine="b", stunnel="5.68")]
    assert becomes(planned([group(1, 1)], members, [router, frontend]), frontend).reason == (
        "no place: node1: hardlimit of 1 reached; node2: is another machine than the cluster's other workers, "
        "and stunnel is not installed on node node1"
    )


def test_a_machine_that_nobody_knows_is_another_one():
    router, frontend = running(1, None, 0, ONE), running(2, WEB, 0, TWO)
    unknown = changed(node(1), facts=None)
    plan = planned([group(1, 1)], [(unknown, None, None), here(2)], [router, frontend])
    assert becomes(plan, frontend).links == {
        "0": f"{TWO}/{router.oid}.tunnel",
        "0.tunnel": f"{router.oid}/{ONE}",
    }


def test_a_router_that_still_stops_keeps_no_frontend_from_its_configuration():
    router = worker(1, None, 0, ONE, STOPPING, want=Want.STOP, digest="d")
    frontend = running(2, WEB, 0, ONE, digest="old", links={"0": "elsewhere"})
    assert becomes(planned([group(1, 1)], [here()], [router, frontend]), frontend).digest == "d"
