"""What policies decide: how many workers, which of them, where, and how many at a time; and what they say of it."""

from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.core.counting import so_many
from controlplane.core.policies import (
    POLICY_TYPES,
    Bound,
    Scaling,
    batch_size,
    choose_victims,
    decide_scaling,
    plan_batches,
    plan_growth,
    read_rule,
)
from controlplane.core.resizing import Size
from controlplane.records.actions import Pace
from controlplane.records.balancing import LoadBalancePolicy
from controlplane.records.health_policies import HealthPolicy
from controlplane.records.lifecycle import Farewell, HookedDeletionPolicy
from controlplane.records.policies import (
    Adjustment,
    AffinityPolicy,
    BatchPolicy,
    Binding,
    Decision,
    DeletionPolicy,
    KeepingPolicy,
    RegionPlacementPolicy,
    RegionShare,
    ScalingPolicy,
    Step,
    ZonePlacementPolicy,
    ZoneShare,
)
from controlplane.records.scaling import SchedulePolicy, StepScalingPolicy, TargetTrackingPolicy
from controlplane.records.standby import StandbyPolicy
from controlplane.records.types import NANOSECONDS
from controlplane.records.workers import WorkerStatus
from tests.strategies import CLUSTER, NOW, node, uid, worker

OUT, IN = "CLUSTER_SCALE_OUT", "CLUSTER_SCALE_IN"
RUNNING, ERROR = WorkerStatus.RUNNING, WorkerStatus.ERROR
SICK_OR_GONE = {WorkerStatus.PENDING, WorkerStatus.ERROR, WorkerStatus.UNREACHABLE, WorkerStatus.STOPPED}


def bind(name: str, rule, *, number: int = 1, used: int | None = None) -> Bound:
    binding = Binding(
        oid=uid(6, number),
        cluster_oid=CLUSTER,
        policy_oid=uid(5, number),
        type="of no interest",
        priority=0,
        used=used,
        created=0,
        changed=0,
    )
    return Bound(binding, name, rule)


def said(name: str, text: str, number: int = 1) -> Decision:
    return Decision(policy_oid=uid(5, number), policy_name=name, said=text)


def scaling(event: str = OUT, *, used: int | None = None, name: str = "grow", **step) -> Bound:
    return bind(name, ScalingPolicy(event=event, adjustment=Step(**step)), used=used)


# Which there are


def test_there_are_these_policies_asked_in_this_order():
    ranked = sorted(POLICY_TYPES.items(), key=lambda pair: (pair[1].priority, pair[0]))
    assert [(name, kind.priority, kind.properties, kind.singleton, kind.description) for name, kind in ranked] == [
        ("scaling-1.0", 100, ScalingPolicy, False, "How much and how often a cluster is scaled."),
        ("step_scaling-1.0", 110, StepScalingPolicy, False, "Scales in steps by a metric."),
        ("target_tracking-1.0", 120, TargetTrackingPolicy, False, "Keeps a metric at a target."),
        ("schedule-1.0", 130, SchedulePolicy, False, "Scales at times that are said before."),
        ("batch-1.0", 200, BatchPolicy, True, "How many workers are changed over at a time."),
        ("region_placement-1.0", 200, RegionPlacementPolicy, True, "Which regions carry how much."),
        ("affinity-1.0", 300, AffinityPolicy, True, "How many workers stand on one node."),
        ("affinity-1.1", 300, KeepingPolicy, True, "How workers keep apart or together."),
        ("zone_placement-1.0", 300, ZonePlacementPolicy, True, "Which zones carry how much."),
        ("deletion-1.0", 400, DeletionPolicy, True, "Which workers go when a cluster shrinks."),
        ("deletion-1.1", 400, HookedDeletionPolicy, True, "Which workers go, and what they wait for."),
        ("standby-1.0", 450, StandbyPolicy, True, "Keeps workers ready to be taken at once."),
        ("load_balance-1.0", 500, LoadBalancePolicy, True, "Keeps a balancer in step."),
        ("health-1.0", 600, HealthPolicy, True, "How sick workers are found and brought back."),
    ]


def test_a_type_is_named_by_its_name_and_version():
    assert all(name == kind.full_name == f"{kind.name}-{kind.version}" for name, kind in POLICY_TYPES.items())
    assert {kind.since for kind in POLICY_TYPES.values()} == {"0.1"}


def test_a_rule_is_what_was_stored_with_the_defaults_of_its_type():
    stored = {"event": IN, "adjustment": {"type": "CHANGE_IN_PERCENTAGE", "number": 5}}
    assert read_rule(stored, POLICY_TYPES["scaling-1.0"]) == ScalingPolicy(
        event=IN, adjustment=Step(type=Adjustment.CHANGE_IN_PERCENTAGE, number=5)
    )
    with pytest.raises(msgspec.ValidationError):
        read_rule(stored, POLICY_TYPES["batch-1.0"])


# How many workers a scaling is about


def test_without_a_policy_a_scaling_is_by_what_is_asked_for_or_by_one():
    assert decide_scaling([], OUT, Size(3, 0, 9), None, NOW) == Scaling(1, ())
    assert decide_scaling([], IN, Size(3, 0, 9), None, NOW) == Scaling(1, ())
    assert decide_scaling([], OUT, Size(3, 0, 4), 5, NOW) == Scaling(5, ())
    assert decide_scaling([], OUT, Size(3, 0, 4), 5, NOW).wait_s is None


@pytest.mark.parametrize(
    ("event", "step", "number"),
    [
        (OUT, {"number": 3}, 3),
        (IN, {"number": 3}, 3),
        (IN, {"number": 30}, 8),  # No more than there are.
        (OUT, {"type": Adjustment.EXACT_CAPACITY, "number": 11}, 3),
        (IN, {"type": Adjustment.EXACT_CAPACITY, "number": 2}, 6),
        (OUT, {"type": Adjustment.EXACT_CAPACITY, "number": 2}, 0),
        (IN, {"type": Adjustment.EXACT_CAPACITY, "number": 11}, 0),
        (OUT, {"type": Adjustment.CHANGE_IN_PERCENTAGE, "number": 50}, 4),
        (IN, {"type": Adjustment.CHANGE_IN_PERCENTAGE, "number": 25}, 2),
        (OUT, {"type": Adjustment.CHANGE_IN_PERCENTAGE, "number": 25, "min_step": 3}, 3),
        (IN, {"type": Adjustment.CHANGE_IN_PERCENTAGE, "number": 25, "min_step": 3}, 3),
        (OUT, {"number": 2, "min_step": 5}, 2),  # The least step is for percentages.
    ],
)
def test_a_policy_says_by_how_many_of_eight_workers(event, step, number):
    found = decide_scaling([scaling(event, **step)], event, Size(8, 0, 100), None, NOW)
    verb = "adds" if event == OUT else "removes"
    assert found == Scaling(number, (said("grow", f"{verb} {number} workers"),))


def test_a_policy_is_about_one_direction_only_and_others_say_nothing():
    bound = [bind("batch", BatchPolicy()), scaling(IN, number=4), scaling(OUT, number=2, name="second")]
    assert decide_scaling(bound, OUT, Size(8, 0, 100), None, NOW).number == 2
    assert decide_scaling(bound, IN, Size(8, 0, 100), None, NOW).number == 4
    assert decide_scaling(bound[:2], OUT, Size(8, 0, 100), None, NOW) == Scaling(1, ())


def test_the_first_policy_counts_and_a_number_that_was_asked_for_before_all():
    bound = [scaling(number=4), scaling(name="second", number=2)]
    assert decide_scaling(bound, OUT, Size(8, 0, 100), None, NOW) == Scaling(4, (said("grow", "adds 4 workers"),))
    assert decide_scaling(bound, OUT, Size(8, 0, 100), 7, NOW) == Scaling(7, ())
    assert decide_scaling(bound, OUT, Size(8, 0, 100), 0, NOW) == Scaling(0, ())


def test_a_policy_rests_for_its_cooldown_and_refuses_whatever_is_asked_for():
    bound = [scaling(number=4), scaling(name="second", cooldown=60, used=NOW - 20 * NANOSECONDS)]
    refusal = said("second", "refused: it rests for another 40.0 s")
    assert decide_scaling(bound, OUT, Size(8, 0, 100), None, NOW) == Scaling(
        0, (said("grow", "adds 4 workers"), refusal), 40.0
    )
    assert decide_scaling(bound, OUT, Size(8, 0, 100), 2, NOW) == Scaling(0, (refusal,), 40.0)
    later = NOW + 40 * NANOSECONDS
    assert decide_scaling(bound, OUT, Size(8, 0, 100), 2, later - NANOSECONDS // 2).wait_s == 0.5
    assert decide_scaling(bound, OUT, Size(8, 0, 100), 2, later) == Scaling(2, ())


def test_a_policy_that_was_never_used_or_was_used_in_the_time_to_come_does_not_rest():
    for used in (None, NOW + 1):
        assert decide_scaling([scaling(cooldown=60, used=used)], OUT, Size(8, 0, 100), 2, NOW) == Scaling(2, ())
    assert decide_scaling([scaling(cooldown=60, used=NOW)], OUT, Size(8, 0, 100), 2, NOW).wait_s == 60.0


@given(
    event=st.sampled_from([OUT, IN]),
    sizes=st.lists(st.integers(0, 20), min_size=3, max_size=3).map(sorted),
    count=st.none() | st.integers(0, 30),
    step=st.integers(1, 30),
    unbounded=st.booleans(),
)
def test_best_effort_goes_as_far_as_the_bounds_admit_and_otherwise_nothing_is_cut(event, sizes, count, step, unbounded):
    low, desired, high = sizes
    size = Size(desired, low, None if unbounded else high)
    plain = decide_scaling([scaling(event, number=step)], event, size, count, NOW).number
    best = decide_scaling([scaling(event, number=step, best_effort=True)], event, size, count, NOW).number
    assert plain == (count if count is not None else step if event == OUT else min(step, desired))
    if event == IN:
        assert best == min(plain, desired - low)
    else:
        assert best == (plain if unbounded else min(plain, high - desired))


def test_one_policy_that_does_its_best_is_enough_and_a_cluster_outside_of_its_bounds_is_left_alone():
    bound = [scaling(number=4, best_effort=True), scaling(name="second")]
    assert decide_scaling(bound, OUT, Size(8, 0, 10), None, NOW).number == 2
    assert decide_scaling(bound[::-1], OUT, Size(8, 0, 10), 9, NOW).number == 2
    assert decide_scaling(bound, OUT, Size(8, 0, 7), None, NOW).number == 0
    assert decide_scaling([scaling(IN, best_effort=True)], IN, Size(3, 5, None), None, NOW).number == 0


# Who goes


def unexpected() -> int:
    raise AssertionError("nothing is random here")


def aged(number: int, index: int, created: int, revision: int = 0, status=RUNNING, home=None, **fields):
    found = worker(number, uid(3, 1), index, home, status, **fields)
    return msgspec.structs.replace(found, created=created, revision=revision)


def gone(bound, workers, count, *, random=unexpected, nodes=None) -> list[int]:
    chosen = choose_victims(bound, workers, count, random, nodes or {})
    return [each.index for each in chosen[0]]


def test_policies_that_do_not_say_who_goes_leave_that_to_others():
    bound = [scaling(IN), bind("batch", BatchPolicy()), bind("affinity", AffinityPolicy())]
    assert choose_victims(bound, [aged(1, 0, 0)], 1, unexpected, {}) is None
    assert choose_victims([], [aged(1, 0, 0)], 1, unexpected, {}) is None


@pytest.mark.parametrize(
    ("criteria", "order"),
    [
        ("OLDEST_FIRST", [2, 0, 3, 1]),
        ("YOUNGEST_FIRST", [1, 3, 0, 2]),
        ("OLDEST_PROFILE_FIRST", [3, 1, 2, 0]),
    ],
)
def test_a_deletion_policy_says_in_which_order_workers_go(criteria, order):
    workers = [aged(1, 0, 20, 2), aged(2, 1, 40, 1), aged(3, 2, 10, 2), aged(4, 3, 30, 1)]
    bound = [bind("gone", DeletionPolicy(criteria=criteria))]
    for count in range(6):
        assert gone(bound, workers, count) == order[:count]
        assert gone(bound, workers[::-1], count) == order[:count]


def test_a_policy_without_a_word_on_the_order_takes_workers_at_random():
    workers = [aged(number, number, number) for number in range(4)]
    drawn = iter([3, 1, 0, 2])
    assert gone([bind("gone", DeletionPolicy())], workers, 4, random=lambda: next(drawn)) == [2, 1, 3, 0]


def test_of_equals_the_one_with_the_lower_oid_goes():
    workers = [aged(number, number, 7) for number in (3, 1, 2)]
    assert gone([bind("gone", DeletionPolicy(criteria="OLDEST_FIRST"))], workers, 2) == [1, 2]


def test_sick_ones_go_first_and_it_is_said_how_many_they_were():
    workers = [aged(1, 0, 1), aged(2, 1, 2), aged(3, 2, 9, status=ERROR), aged(4, 3, 5, status=WorkerStatus.STOPPED)]
    victims, decisions = choose_victims(
        [bind("gone", HookedDeletionPolicy(criteria="OLDEST_FIRST"), number=4)], workers, 3, unexpected, {}
    )
    assert [each.index for each in victims] == [3, 2, 0]
    assert decisions == (said("gone", "OLDEST_FIRST: takes out 3 workers, 2 of them because they are sick", 4),)


@pytest.mark.parametrize("status", list(WorkerStatus))
def test_who_is_no_loss_goes_first(status):
    workers = [aged(1, 0, 1), aged(2, 1, 2, status=status)]
    assert gone([bind("gone", DeletionPolicy(criteria="OLDEST_FIRST"))], workers, 1) == [status in SICK_OR_GONE]


def test_who_will_go_anyway_and_who_is_protected_is_not_taken():
    leaving = Farewell(token=uid(9, 1), begun=0, until=1)
    workers = [aged(1, 0, 1, farewell=leaving), aged(2, 1, 2, protected=True), aged(3, 2, 3)]
    assert gone([bind("gone", DeletionPolicy(criteria="OLDEST_FIRST"))], workers, 3) == [2]


NODES = {uid(2, place): node(place, zone=zone) for place, zone in enumerate("abc")}
ZONES = bind("by_zone", ZonePlacementPolicy(zones=tuple(ZoneShare(name=name, weight=1) for name in "abc")), number=2)


def standing(number: int, place: int, created: int = 0, **fields):
    return aged(number, number, created, home=uid(2, place), **fields)


def test_without_a_deletion_policy_the_highest_index_of_the_fullest_zone_goes():
    workers = [standing(0, 0), standing(1, 0), standing(2, 0), standing(3, 1), standing(4, 1)]
    victims, decisions = choose_victims([ZONES], workers, 3, unexpected, NODES)
    assert [each.index for each in victims] == [2, 4, 1]
    assert decisions == (said("by_zone", "takes out 2 from a, 1 from b", 2),)


def test_zones_come_first_and_the_deletion_policy_within_each_of_them():
    workers = [standing(0, 0, 1), standing(1, 0, 2), standing(2, 0, 3), standing(3, 1, 0)]
    bound = [ZONES, bind("gone", DeletionPolicy(criteria="OLDEST_FIRST"))]
    victims, decisions = choose_victims(bound, workers, 2, unexpected, NODES)
    assert [each.index for each in victims] == [0, 1]
    assert decisions == (
        said("by_zone", "takes out 2 from a", 2),
        said("gone", "OLDEST_FIRST: takes out 2 workers, 0 of them because they are sick"),
    )


def test_each_policy_says_from_where_workers_are_taken_and_where_they_had_no_place():
    places = [
        node(1, region="north", zone="n1"),
        node(2, region="north", zone="n2"),
        node(3, region="south"),
        node(4, zone="x"),
    ]
    nodes = {each.oid: each for each in places}
    names = (RegionShare(name="south", weight=1), RegionShare(name="north", weight=1))
    regions = bind("by_region", RegionPlacementPolicy(regions=names), number=3)
    workers = [standing(number, number) for number in range(1, 5)] + [standing(5, 99), aged(6, 6, 0, status=ERROR)]
    bound = [regions, bind("apart", KeepingPolicy(per_zone_max=1)), ZONES]
    victims, decisions = choose_victims(bound, workers, 6, unexpected, nodes)
    assert len(victims) == 6
    assert decisions == (
        said("by_region", "takes out 1 from no region, 2 from north, 1 from south", 3),
        said("by_zone", "takes out 1 from n1, 1 from n2, 1 from no zone, 1 from x", 2),
    )
    waiting = [aged(6, 6, 0, status=WorkerStatus.PENDING)]
    assert choose_victims([ZONES], waiting, 1, unexpected, nodes)[1] == (
        said("by_zone", "takes out none that has a place", 2),
    )


@given(
    homes=st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from(WorkerStatus), st.integers(0, 3), st.booleans()), max_size=8
    ),
    count=st.integers(0, 9),
    criteria=st.sampled_from([None, "OLDEST_FIRST", "YOUNGEST_FIRST", "OLDEST_PROFILE_FIRST", "RANDOM"]),
    zones=st.booleans(),
)
def test_as_many_go_as_are_asked_for_or_as_may_and_no_well_one_before_a_sick_one(homes, count, criteria, zones):
    workers = [
        standing(number, place, created, status=status, protected=kept)
        for number, (place, status, created, kept) in enumerate(homes)
    ]
    bound = [ZONES] * (zones or criteria is None)
    if criteria is not None:
        bound = [*bound, bind("gone", DeletionPolicy(criteria=criteria))]
    victims, _ = choose_victims(bound, workers, count, lambda: 0, NODES)
    able = [each for each in workers if not each.protected]
    assert len({each.oid for each in victims}) == len(victims) == min(count, len(able))
    assert all(each in able for each in victims)
    sick = sum(each.status in SICK_OR_GONE for each in able)
    assert sum(each.status in SICK_OR_GONE for each in victims) == min(count, sick)


# Where growth is wanted


def test_policies_that_spread_say_where_they_want_so_many_workers():
    zones = ZonePlacementPolicy(zones=(ZoneShare(name="a", weight=3), ZoneShare(name="b", weight=1)))
    regions = RegionPlacementPolicy(regions=(RegionShare(name="n", weight=1, cap=1), RegionShare(name="s", weight=1)))
    bound = [
        bind("by_region", regions, number=2),
        bind("gone", DeletionPolicy()),
        bind("by_zone", zones, number=3),
        bind("apart", KeepingPolicy(per_node_max=1)),
    ]
    assert plan_growth(bound, 8) == (
        said("by_region", "wants of 8 workers 1 in n, 7 in s", 2),
        said("by_zone", "wants of 8 workers 6 in a, 2 in b", 3),
    )
    assert plan_growth([bound[1], bound[3]], 8) == ()


# How many at a time


@pytest.mark.parametrize(
    ("total", "in_service", "most", "size"),
    [
        (10, 1, -1, 9),
        (10, 9, -1, 1),
        (10, 10, -1, 5),  # Nobody could be changed, so half of them are.
        (11, 20, -1, 6),
        (10, 0, -1, 10),
        (10, 4, 3, 3),
        (10, 4, 6, 6),
        (10, 4, 0, 6),
        (10, 4, 1, 1),
        (1, 1, -1, 1),
        (0, 0, -1, 1),
        (0, 5, -1, 1),
    ],
)
def test_so_many_are_changed_at_a_time(total, in_service, most, size):
    assert batch_size(BatchPolicy(min_in_service=in_service, max_batch_size=most), total) == size


@given(
    rule=st.builds(
        BatchPolicy, min_in_service=st.integers(0, 30), max_batch_size=st.integers(-1, 30), pause_time=st.just(0.0)
    ),
    total=st.integers(1, 30),
)
def test_a_batch_is_never_empty_and_leaves_those_alone_that_can_be(rule, total):
    size = batch_size(rule, total)
    assert 1 <= size <= total
    if total > rule.min_in_service:
        assert total - size >= rule.min_in_service
    if rule.max_batch_size > 0:
        assert size <= rule.max_batch_size


def test_the_batch_policy_says_how_many_at_a_time_and_how_long_each_has_to_run():
    batch = bind("careful", BatchPolicy(min_in_service=7, pause_time=2.5), number=3)
    assert plan_batches([scaling(), batch], 10) == (
        Pace(batch=3, steady=2.5),
        (said("careful", "changes 3 of 10 workers at a time, each 2.5 s before the next", 3),),
    )
    assert plan_batches([scaling()], 10) is None
    assert plan_batches([], 10) is None


@given(st.lists(st.integers(0, 5), min_size=1, max_size=3).filter(any), st.integers(0, 12))
def test_where_growth_is_wanted_all_workers_have_a_place(weights, total):
    zones = tuple(ZoneShare(name="abc"[place], weight=weight) for place, weight in enumerate(weights))
    (decision,) = plan_growth([bind("by_zone", ZonePlacementPolicy(zones=zones))], total)
    wanted = decision.said.removeprefix(f"wants of {so_many(total, 'worker')} ").split(", ")
    counts = Counter({name: int(number) for number, _, name in (each.partition(" in ") for each in wanted)})
    assert sum(counts.values()) == total
    assert all(not counts["abc"[place]] for place, weight in enumerate(weights) if not weight)


def test_what_caps_leave_no_room_for_is_said():
    shares = (RegionShare(name="n", cap=2), RegionShare(name="s", cap=1))
    (decision,) = plan_growth([bind("by_region", RegionPlacementPolicy(regions=shares))], 6)
    assert decision.said == "wants of 6 workers 2 in n, 1 in s, and has no room for 3 more"
