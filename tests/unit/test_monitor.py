"""The audit: what it finds, what it leaves alone, and how much time it takes."""

from itertools import pairwise

import msgspec
from twisted.internet.task import Clock

from controlplane.master.monitor import AUDIT_PERIOD_S, AUDIT_SHARE, AUDIT_STEP_LENGTH, Monitor
from controlplane.store.catalog import CLUSTERS, GROUPS


class BusyClock(Clock):
    """A clock that a hundredth of a second passes on whenever somebody looks at it."""

    looked = 0

    def seconds(self):
        self.rightNow += 0.01
        return self.rightNow


def make_cluster(plane, name="shop"):
    cluster = plane.call("create_routercluster", {"name": name})["oid"]
    group = plane.call("add_routercluster_workergroup", cluster, {"name": "web", "scale": 1})["oid"]
    return cluster, group


def change_behind_its_back(plane, group, scale):
    """Change what is wanted as a master did that was killed before it woke the monitor."""

    def write(change):
        before = change.rows(GROUPS).get(group)
        change.rows(GROUPS).put(msgspec.structs.replace(before, scale=scale), before)

    plane.plane.store.write_now(write)


def audit(plane):
    plane.clock.advance(AUDIT_PERIOD_S + 1)
    plane.settle()


def test_what_no_change_announced_is_found_by_the_audit(plane):
    cluster, _ = make_cluster(plane)
    group = plane.stored(GROUPS)[0].oid
    plane.call("start_routercluster", cluster)
    plane.plane.start()
    audit(plane)
    change_behind_its_back(plane, group, 3)
    audit(plane)
    assert len(plane.call("list_routercluster_workers", cluster)) == 3 + 1


def test_an_audit_of_what_is_as_it_shall_be_writes_nothing(plane):
    cluster, _ = make_cluster(plane)
    plane.call("start_routercluster", cluster)
    before = plane.dump()
    plane.plane.start()
    audit(plane)
    assert plane.dump() == before


def test_what_was_under_way_when_the_master_ended_comes_first(plane):
    oids = [make_cluster(plane, f"c{number:03d}")[0] for number in range(2 * AUDIT_STEP_LENGTH + 1)]
    plane.call("start_routercluster", oids[-1])
    woken = []
    plane.plane.monitor._loop.wake = lambda oid: woken.append(str(oid))
    plane.plane.monitor.start()
    assert woken[0] == oids[-1]


def test_an_audit_leaves_most_of_the_time_to_others(plane):
    for number in range(3):
        make_cluster(plane, f"c{number:03d}")
    clock = BusyClock()
    looked = []
    monitor = Monitor(clock, plane.plane.store, plane.plane.pipeline._chance, None, None)
    monitor._look_at = lambda _view, oid: looked.append((oid, clock.rightNow))
    monitor.start()
    while len(looked) < len(plane.stored(CLUSTERS)):
        due = min(call.getTime() for call in clock.getDelayedCalls())
        clock.advance(due - clock.rightNow)
    assert len({oid for oid, _ in looked}) == 3
    times = [time for _, time in looked]
    # A step looks at the clock three times at least, and the share of that is its whole length.
    assert all(later - earlier >= 0.02 / AUDIT_SHARE for earlier, later in pairwise(times))


def test_a_cluster_that_cannot_be_planned_does_not_end_the_audit(plane):
    oids = sorted(make_cluster(plane, f"c{number:03d}")[0] for number in range(3))
    for oid in oids:
        plane.call("start_routercluster", oid)
    compositions = plane.plane.monitor._compositions
    original = compositions.of
    woken = []

    def broken(view, cluster, number):
        if str(cluster.oid) == oids[0]:
            raise RuntimeError("planted")
        return original(view, cluster, number)

    compositions.of = broken
    plane.plane.monitor._loop.wake = lambda oid: woken.append(str(oid))
    plane.plane.monitor._audit()
    assert woken == [oids[0]]
    assert plane.plane.monitor._next is not None
