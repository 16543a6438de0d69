"""Clusters of processes and containers: names, configurations, and how they are changed over in batches."""

import msgspec
import pytest

from controlplane.core.generic_clusters import (
    name_pattern,
    plan_generic_cluster,
    spec_identity,
    steady_at,
    worker_config,
    worker_name,
)
from controlplane.records.clusters import ClusterType
from controlplane.records.definitions import Spec
from controlplane.records.types import to_wire
from controlplane.records.workers import Kept, Want, WorkerStatus
from tests.strategies import NOW, group, node, situation, uid, worker

SECOND = 1_000_000_000
ONE = uid(2, 1)
WEB = uid(3, 1)


def begin(workers=(), scale=3, members=None, digest="new", revision=2, now=NOW, **cluster):
    made = situation(
        [group(1, scale)],
        members or [(node(1), None, None)],
        workers,
        digest=lambda _worker, _links: digest,
        revision=revision,
        now=now,
    )
    given = {"type": ClusterType.GENERIC, "steady": 5.0, **cluster}
    return msgspec.structs.replace(made.cluster, **given), made


def planned(workers=(), **fields):
    cluster, made = begin(workers, **fields)
    given = {name: getattr(made, name) for name in type(made).__slots__}
    return plan_generic_cluster(type(made)(**{**given, "cluster": cluster}))


def serving(number, digest="old", revision=1, ran_s=60.0, **fields):
    """A worker that has run with its configuration for so long."""
    given = {"digest": digest, "seen_digest": digest, "revision": revision, "fresh": False, **fields}
    made = worker(number, WEB, number, ONE, given.pop("status", WorkerStatus.RUNNING), **given)
    return msgspec.structs.replace(made, changed=NOW - int(ran_s * SECOND))


def told(plan):
    return [new.index for old, new in plan.changed if old.digest != new.digest]


# Names


@pytest.mark.parametrize(
    ("naming", "name"),
    [
        (None, "demo-7"),
        ("web-$I", "web-7"),
        ("web-$3I", "web-007"),
        ("web-$1I", "web-7"),
        ("$R", "ABCDEF01"),
        ("$r", "abcdef01"),
        ("$4r-$2R", "abcd-AB"),
        ("$I$I", "77"),
        ("a$b", "a$b"),
        ("plain", "plain"),
    ],
)
def test_a_worker_is_called_by_the_pattern_of_its_cluster(naming, name):
    cluster, _ = begin(naming=naming)
    one = msgspec.structs.replace(worker(1, WEB, 7), oid=uid(0xABCDEF01, 1))
    assert one.oid.hex.startswith("abcdef01")
    assert worker_name(cluster, one) == name


def test_workers_of_a_router_cluster_are_called_by_their_group_as_well():
    cluster, _ = begin(type=ClusterType.ROUTER, naming="x$I")
    one = worker(1, WEB, 7)
    assert worker_name(cluster, one, "web") == "demo-web-7"
    assert worker_name(cluster, one) == "demo-router-7"


@pytest.mark.parametrize(
    ("naming", "fits", "does_not_fit"),
    [
        ("web-$I", ["web-7", "web-123"], ["web-", "web-x", "web-a", "xweb-1", "web-1x"]),
        ("a.b$3I", ["a.b007"], ["aXb007"]),
        ("$r-$I.x", ["0aF-1.x"], ["g-1.x", "-1.x", "a-1yx"]),
        ("plain", ["plain"], ["plainer"]),
    ],
)
def test_what_names_look_like(naming, fits, does_not_fit):
    pattern = name_pattern(begin(naming=naming)[0])
    assert [name for name in (*fits, *does_not_fit) if pattern.fullmatch(name)] == fits


def test_names_without_a_pattern_begin_with_the_name_of_the_cluster():
    assert name_pattern(begin()[0]) is None


def test_a_driver_is_told_the_name_the_place_the_generation_and_the_properties():
    cluster, _ = begin()
    spec = Spec(type="process", version="1.0", properties={"command": ["a"]})
    one = msgspec.structs.replace(worker(1, WEB, 7), generation=4)
    assert worker_config(cluster, "demo", spec, one) == {
        "name": "demo-7",
        "index": 7,
        "generation": 4,
        "properties": {"command": ["a"]},
    }


PROCESS = Spec(type="process", version="1.0", properties={"command": ["a"]})
OTHER = Spec(type="process", version="1.0", properties={"command": ["b"]})
PLAIN = {"name": "demo-7", "index": 7, "generation": 0, "properties": {"command": ["a"]}}


def config(**fields):
    return worker_config(begin()[0], "demo", PROCESS, msgspec.structs.replace(worker(1, WEB, 7), **fields))


def test_one_that_has_a_name_of_its_own_or_is_alone_is_called_by_that():
    cluster, _ = begin()
    assert worker_name(cluster, msgspec.structs.replace(worker(1, WEB, 7), name="mine")) == "mine"
    assert worker_name(msgspec.structs.replace(cluster, alone=True, naming="x$I"), worker(1, WEB, 7)) == "demo"
    called = worker_config(cluster, "before", PROCESS, msgspec.structs.replace(worker(1, WEB, 7), name="mine"))
    assert called == {**PLAIN, "name": "before-7"}


def test_a_driver_is_told_what_came_later_only_when_it_says_something():
    assert config() == PLAIN
    assert config(rebuilds=2) == {**PLAIN, "rebuilds": 2}
    assert config(kills=3) == {**PLAIN, "kills": 3}
    assert config(adopts={}) == {**PLAIN, "adopts": {}}
    assert config(adopts={"pid": 1}) == {**PLAIN, "adopts": {"pid": 1}}


def test_one_that_joined_goes_on_with_what_it_has_kept_until_its_cluster_has_another_spec():
    here, there = spec_identity(PROCESS), spec_identity(OTHER)
    assert here != there
    kept = Kept(name="alone", index=3, profile_oid=None, spec=None, beside=here)
    assert config(kept=kept) == {**PLAIN, "name": "alone", "index": 3}
    own = msgspec.structs.replace(kept, spec=to_wire(OTHER))
    assert config(kept=own, generation=1) == {
        "name": "alone", "index": 3, "generation": 1, "properties": {"command": ["b"]}
    }  # fmt: skip
    assert config(kept=msgspec.structs.replace(own, beside=there)) == PLAIN


def test_what_a_worker_has_kept_is_forgotten_when_it_is_as_the_others_and_nobody_may_return_to_it():
    kept = Kept(name="alone", index=3, profile_oid=None, spec=None, beside="x")
    one = serving(0, "new", 2, kept=kept)
    assert [new for _, new in planned([one], scale=1).changed] == [msgspec.structs.replace(one, kept=None)]
    assert not planned([one], scale=1, action_oid=uid(9, 9)).changed
    made = situation([group(1, 1)], [(node(1), None, None)], [serving(0, "own", 1, kept=kept)], digest=own_digest)
    assert not plan_generic_cluster(made).changed


def own_digest(one, links):
    assert links == {}
    return "new" if one.kept is None else "own"


def test_a_worker_is_steady_after_so_many_seconds():
    cluster, _ = begin(steady=2.5)
    assert steady_at(cluster, msgspec.structs.replace(worker(1, WEB, 0), changed=NOW)) == NOW + 2_500_000_000


# Plans


def test_workers_are_added_without_a_router():
    plan = planned(scale=2)
    assert [(one.workergroup_oid, one.index, one.node_oid) for one in plan.added] == [(WEB, 0, ONE), (WEB, 1, ONE)]
    assert all((one.digest, one.revision, one.links) == ("new", 2, {}) for one in plan.added)
    assert all(one.status is WorkerStatus.STARTING for one in plan.added)
    assert plan.rolled is False


def test_workers_need_no_tunnels_between_machines():
    members = [(node(1, machine="a"), None, 1), (node(2, machine="b"), None, 1)]
    assert {one.node_oid for one in planned(scale=2, members=members).added} == {ONE, uid(2, 2)}


def test_a_worker_without_a_place_is_given_no_configuration():
    plan = planned(scale=2, members=[(node(1), None, 1)])
    assert [(one.digest, one.status) for one in plan.added] == [
        ("new", WorkerStatus.STARTING),
        (None, WorkerStatus.PENDING),
    ]


@pytest.mark.parametrize(("batch", "first"), [(1, [0]), (2, [0, 1]), (3, [0, 1, 2]), (9, [0, 1, 2])])
def test_so_many_that_serve_are_changed_at_a_time(batch, first):
    workers = [serving(number) for number in range(3)]
    plan = planned(workers, batch=batch)
    assert told(plan) == first
    assert all((new.digest, new.revision) == ("new", 2) for _, new in plan.changed)
    assert plan.rolled is False


def test_the_next_batch_waits_until_those_before_run_with_it_for_long_enough():
    waiting = [serving(1), serving(2)]
    assert told(planned([serving(0, "new", 2, ran_s=5), *waiting])) == [1]
    assert planned([serving(0, "new", 2, ran_s=5), *waiting]).look_again_after is None
    plan = planned([serving(0, "new", 2, ran_s=3), *waiting])
    assert (told(plan), plan.look_again_after) == ([], 2.0)
    plan = planned([serving(0, "new", 2, seen_digest="old"), *waiting])
    assert (told(plan), plan.look_again_after) == ([], None)
    assert told(planned([serving(0, "new", 2, ran_s=3), *waiting], batch=2)) == [1]


def test_those_that_just_came_up_are_waited_for_but_for_a_batch_of_them():
    one = [serving(0), serving(1, ran_s=3), serving(2)]
    assert (told(planned(one)), planned(one).look_again_after) == ([1], None)
    two = [serving(0, ran_s=2), serving(1, ran_s=3), serving(2)]
    assert (told(planned(two)), planned(two).look_again_after) == ([], 2.0)
    assert (told(planned(two, batch=2)), planned(two, batch=2).look_again_after) == ([0, 1], None)
    assert told(planned(two, batch=3)) == [0, 1, 2]


@pytest.mark.parametrize("status", [WorkerStatus.ERROR, WorkerStatus.STARTING])
def test_one_that_does_not_serve_is_changed_at_once_and_counts(status):
    workers = [serving(0), serving(1), msgspec.structs.replace(serving(2), status=status)]
    plan = planned(workers)
    assert (told(plan), plan.look_again_after) == ([2], 5.0)
    assert told(planned(workers, batch=2)) == [0, 2]


def test_one_that_is_being_changed_is_given_what_is_wanted_now():
    workers = [serving(0), serving(1), serving(2, "other", 1, seen_digest="old")]
    assert told(planned(workers)) == [2]


def test_one_that_cannot_be_reached_and_may_serve_waits_until_it_is_back():
    away = msgspec.structs.replace(serving(0), status=WorkerStatus.UNREACHABLE)
    assert told(planned([away, serving(1), serving(2)])) == [1]
    assert planned([away]).rolled is False


def test_one_that_cannot_be_reached_and_is_being_changed_is_given_what_is_wanted_now_and_counts():
    away = msgspec.structs.replace(serving(0, "other", 1, seen_digest="old"), status=WorkerStatus.UNREACHABLE)
    assert told(planned([away, serving(1), serving(2)])) == [0]
    assert told(planned([away, serving(1), serving(2)], batch=2)) == [0, 1]


def test_one_that_went_silent_while_it_was_changed_is_waited_for_and_one_that_was_seen_with_it_is_not():
    away = msgspec.structs.replace(serving(0, "new", 2, seen_digest="old"), status=WorkerStatus.UNREACHABLE)
    assert told(planned([away, serving(1), serving(2)])) == []
    away = msgspec.structs.replace(serving(0, "new", 2), status=WorkerStatus.UNREACHABLE)
    assert told(planned([away, serving(1), serving(2)])) == [1]


def test_those_that_have_run_for_too_short_a_time_are_changed_first():
    assert told(planned([serving(0), serving(1, ran_s=1), serving(2)])) == [1]


def test_a_revision_that_changes_nothing_of_a_worker_is_noted():
    workers = [serving(number, "new", 1) for number in range(3)]
    plan = planned(workers)
    assert [new for _, new in plan.changed] == [msgspec.structs.replace(one, revision=2) for one in workers]
    assert plan.rolled is True


def test_when_all_run_with_the_newest_for_long_enough_everything_is_done():
    plan = planned([serving(number, "new", 2) for number in range(3)])
    assert not plan
    assert plan.rolled is True
    assert plan.look_again_after is None
    plan = planned([*(serving(number, "new", 2) for number in range(2)), serving(2, "new", 2, ran_s=1)])
    assert not plan
    assert plan.rolled is False
    assert plan.look_again_after == 4.0


def test_one_that_is_to_stop_is_given_nothing():
    leaving = worker(0, WEB, 0, ONE, WorkerStatus.STOPPING, want=Want.STOP, digest="old", revision=1)
    plan = planned([leaving, serving(1, "new", 2), serving(2, "new", 2)])
    assert not plan
    assert plan.rolled is False


def test_a_configuration_is_that_of_the_worker_alone():
    asked = []

    def digest(one, links):
        asked.append((one.index, links))
        return "new"

    made = situation([group(1, 2)], [(node(1), None, None)], digest=digest)
    plan_generic_cluster(made)
    assert asked == [(0, {}), (1, {})]


def test_one_that_is_to_stop_keeps_the_configuration_from_nobody():
    leaving = worker(0, WEB, 0, ONE, WorkerStatus.STOPPING, want=Want.STOP, digest="old", revision=1)
    assert told(planned([leaving, serving(1), serving(2)])) == [1]


def test_what_somebody_waits_for_begins_now_when_the_clock_was_set_back():
    later = msgspec.structs.replace(serving(0, "new", 2), changed=NOW + 10**12)
    plan = planned([later], scale=1, action_oid=uid(9, 9))
    assert (plan.changed, plan.look_again_after) == ([(later, later)], 0.0)
    plan = planned([later], scale=1)
    assert (plan.changed, plan.rolled) == ([(later, later)], False)
    now = msgspec.structs.replace(later, changed=NOW)
    assert not planned([now], scale=1, action_oid=uid(9, 9)).changed


def test_a_clock_that_was_set_back_touches_nobody_when_nobody_waits():
    away = msgspec.structs.replace(serving(0, "new", 2), status=WorkerStatus.UNREACHABLE, changed=NOW + 10**12)
    assert not planned([away], scale=1)


def test_while_one_that_was_changed_over_proves_itself_nobody_who_came_back_meanwhile_is_changed():
    back = serving(0, "new", 2, ran_s=0.4)
    newest = serving(1, "new", 2, ran_s=0.2)
    plan = planned([back, newest], scale=2, digest="old", revision=3, batch=1)
    assert (told(plan), plan.look_again_after) == ([], 4.6)


def test_nobody_who_serves_is_changed_over_before_agents_have_told_a_master_that_was_away():
    cluster, made = begin([serving(0), serving(1), serving(2, status=WorkerStatus.ERROR)])
    given = {name: getattr(made, name) for name in type(made).__slots__}
    plan = plan_generic_cluster(type(made)(**{**given, "cluster": cluster, "unheard": True}))
    assert told(plan) == [2]
    assert (plan.unheard, plan.look_again_after) == (True, 0.5)
    settled = plan_generic_cluster(
        type(made)(**{**given, "cluster": cluster, "unheard": True, "workers": (serving(0, "new", 2),), "groups": ()})
    )
    assert settled.look_again_after is None
