"""How many workers policies want: prompt to grow, cautious to shrink, and at rest at constant load."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from controlplane.core.autoscaling import Measured, Verdict, combine, decide, statistic, within_bounds
from controlplane.core.resizing import Size
from controlplane.records.metrics import Aggregate
from controlplane.records.scaling import MetricPolicy, StepIn, StepOut, StepScalingPolicy, TargetTrackingPolicy
from controlplane.records.types import NANOSECONDS

PERIOD = 10
SIZES = st.integers(0, 50)
LOADS = st.floats(0, 10_000, allow_nan=False)


def seconds(number: float) -> int:
    return int(number * NANOSECONDS)


def shared(load: float, workers: int) -> Aggregate | None:
    """What is measured when so many workers share a load."""
    if workers == 0:
        return None
    each = load / workers
    return Aggregate(count=workers, sum=each * workers, minimum=each, maximum=each)


def row(load: float, workers: int, length: int, end: int = 0, warm: int | None = None) -> list[Measured]:
    of_warm = workers if warm is None else warm
    each = load / workers if workers else 0.0
    found = Aggregate(count=of_warm, sum=each * of_warm, minimum=each, maximum=each) if of_warm else None
    return [Measured(seconds(end - PERIOD * back), workers, of_warm, found) for back in range(length - 1, -1, -1)]


@st.composite
def step_rules(draw):
    low = draw(st.floats(1, 100))
    high = low + draw(st.floats(0.5, 200))
    outs = [StepOut(above=high, add=draw(st.integers(1, 9)))]
    if draw(st.booleans()):
        outs.append(StepOut(above=high + draw(st.floats(1, 100)), add=draw(st.integers(1, 20))))
    ins = [StepIn(below=low, remove=draw(st.integers(1, 9)))]
    if draw(st.booleans()):
        ins.append(StepIn(below=low / 2, remove=draw(st.integers(1, 20))))
    return StepScalingPolicy(
        period=PERIOD,
        scale_out=tuple(outs),
        scale_in=tuple(ins),
        statistic=draw(st.sampled_from(["average", "minimum", "maximum"])),
    )


TRACKING = st.builds(
    TargetTrackingPolicy, period=st.just(PERIOD), target=st.floats(1, 100), tolerance=st.floats(0, 0.5)
)
RULES = st.one_of(step_rules(), TRACKING)
BOUNDED = st.tuples(SIZES, SIZES, SIZES).map(lambda three: Size(sorted(three)[1], sorted(three)[0], sorted(three)[2]))


def once(rule: MetricPolicy, load: float, size: Size) -> Size:
    verdict = decide(rule, row(load, size.desired, 60), size, None, 0)
    return size._replace(desired=combine([verdict], size))


@given(rule=RULES, load=LOADS, size=BOUNDED)
def test_at_constant_load_a_cluster_comes_to_rest_and_never_turns_round(rule, load, size):
    sizes = [size.desired]
    for _ in range(200):
        size = once(rule, load, size)
        assert size.min_size <= size.desired <= size.max_size
        if size.desired == sizes[-1]:
            break
        sizes.append(size.desired)
    else:
        raise AssertionError(f"no rest: {sizes[-6:]}")
    # It may grow too far in one step, and then comes back; it never grows after it has shrunk.
    turned = [after > before for before, after in itertools.pairwise(sizes)]
    assert turned == sorted(turned, reverse=True)


@given(rule=RULES, load=LOADS, size=BOUNDED, verdicts=st.lists(st.one_of(st.none(), st.integers(-5, 90))))
def test_no_policy_leaves_the_bounds(rule, load, size, verdicts):
    assert size.min_size <= combine([Verdict(each, "") for each in verdicts], size) <= size.max_size


@given(rule=RULES, load=LOADS, size=BOUNDED, warm=SIZES)
def test_nothing_shrinks_while_a_worker_warms_up_or_was_not_measured(rule, load, size, warm):
    warm = min(warm, size.desired - 1)
    if warm >= 1:
        verdict = decide(rule, row(load, size.desired, 60, warm=warm), size, None, 0)
        assert verdict.desired is None or verdict.desired > size.desired


@given(rule=RULES, load=LOADS, size=BOUNDED, length=st.integers(0, 20))
def test_growing_needs_few_measurements_and_shrinking_many(rule, load, size, length):
    whole = decide(rule, row(load, size.desired, 60), size, None, 0).desired
    some = decide(rule, row(load, size.desired, length), size, None, 0).desired
    needed = rule.evaluation_periods if whole is None or whole > size.desired else rule.scale_in_periods
    assert some == (whole if length >= needed else None)


def test_one_high_measurement_is_no_reason_to_grow():
    rule = TargetTrackingPolicy(target=50, period=PERIOD)
    calm, high = row(40, 1, 2)[0], row(200, 1, 2)[1]
    size = Size(1, 0, 10)
    assert decide(rule, [calm, high], size, None, 0).desired is None
    assert decide(rule, [high._replace(time=calm.time), high], size, None, 0).desired == 4


def test_one_high_measurement_among_low_ones_keeps_all_workers():
    rule = TargetTrackingPolicy(target=50, period=PERIOD)
    low, size = row(10, 4, 8), Size(4, 0, 10)
    assert decide(rule, low, size, None, 0).desired == 1
    low[3] = low[3]._replace(found=shared(200, 4))
    assert decide(rule, low, size, None, 0).desired is None


def test_the_highest_step_that_all_measurements_reach_counts():
    rule = StepScalingPolicy(
        period=PERIOD, scale_out=(StepOut(above=70, add=1), StepOut(above=90, add=5)), scale_in=(StepIn(below=20),)
    )
    size = Size(2, 0, 50)
    high, higher = row(150, 2, 2), row(190, 2, 2)
    assert decide(rule, higher, size, None, 0).desired == 7
    assert decide(rule, [high[0], higher[1]], size, None, 0).desired == 3
    assert decide(rule, row(140, 2, 2), size, None, 0).desired == 3
    assert decide(rule, row(139, 2, 2), size, None, 0).desired is None


def test_fewer_go_when_the_others_could_not_carry_the_load():
    rule = StepScalingPolicy(period=PERIOD, scale_out=(StepOut(above=80),), scale_in=(StepIn(below=60, remove=5),))
    assert decide(rule, row(240, 6, 8), Size(6, 0, 9), None, 0).desired == 4
    alone = StepScalingPolicy(period=PERIOD, scale_in=(StepIn(below=60, remove=5),))
    assert decide(alone, row(240, 6, 8), Size(6, 0, 9), None, 0).desired == 1


def test_of_a_sum_nothing_is_projected():
    rule = StepScalingPolicy(
        period=PERIOD, statistic="sum", scale_out=(StepOut(above=80),), scale_in=(StepIn(below=60, remove=2),)
    )
    assert decide(rule, row(50, 6, 8), Size(6, 0, 9), None, 0).desired == 4
    assert decide(rule, row(90, 6, 8), Size(6, 0, 9), None, 0).desired == 7


def test_workers_that_warm_up_are_counted_on():
    rule = StepScalingPolicy(period=PERIOD, scale_out=(StepOut(above=80, add=2),))
    size = Size(4, 0, 9)
    assert decide(rule, row(4 * 100, 4, 2, warm=2), size, None, 0).desired is None  # 50 each, once all carry.
    assert decide(rule, row(4 * 170, 4, 2, warm=2), size, None, 0).desired == 6
    track = TargetTrackingPolicy(target=50, period=PERIOD)
    assert decide(track, row(4 * 90, 4, 2, warm=2), size, None, 0).desired is None
    assert decide(track, row(4 * 130, 4, 2, warm=2), size, None, 0).desired == 6


def test_what_was_measured_before_a_scaling_does_not_count():
    rule = TargetTrackingPolicy(target=50, period=PERIOD, cooldown=30)
    size = Size(1, 0, 9)
    assert decide(rule, row(400, 1, 5), size, seconds(-29), 0).said == "rests for another 1.0 s"
    assert decide(rule, row(400, 1, 5), size, seconds(-30), 0).desired == 8
    eager = TargetTrackingPolicy(target=50, period=PERIOD)
    assert decide(eager, row(400, 1, 5), size, seconds(-10), 0).desired is None
    assert decide(eager, row(400, 1, 5), size, seconds(-10) - 1, 0).desired == 8


def test_measurements_with_a_gap_are_not_in_a_row():
    rule = TargetTrackingPolicy(target=50, period=PERIOD)
    first, second = row(400, 1, 2)
    size = Size(1, 0, 9)
    early = first._replace(time=seconds(-25))
    assert decide(rule, [early, second], size, None, 0).desired == 8
    assert decide(rule, [early._replace(time=early.time - 1), second], size, None, 0).desired is None
    assert decide(rule, [first, second], size, None, seconds(26)).desired is None


def test_a_metric_that_no_worker_has_moves_nothing():
    rule = TargetTrackingPolicy(target=50, period=PERIOD, metric="queue")
    empty = [each._replace(found=None) for each in row(0, 2, 8)]
    verdict = decide(rule, empty, Size(2, 0, 9), None, 0)
    assert (verdict.desired, "no worker has a value queue" in verdict.said) == (None, True)


def test_shrinking_can_be_forbidden_and_never_takes_the_last_worker():
    size = Size(4, 0, 9)
    assert decide(TargetTrackingPolicy(target=50, period=PERIOD), row(0, 4, 8), size, None, 0).desired == 1
    kept = TargetTrackingPolicy(target=50, period=PERIOD, scale_in=False)
    assert decide(kept, row(0, 4, 8), size, None, 0).desired is None


def test_a_target_is_kept_within_its_tolerance():
    rule = TargetTrackingPolicy(target=50, period=PERIOD, tolerance=0.1)
    size = Size(10, 0, 20)
    assert decide(rule, row(550, 10, 8), size, None, 0).desired is None
    assert decide(rule, row(551, 10, 8), size, None, 0).desired == 12
    assert decide(rule, row(450, 10, 8), size, None, 0).desired is None
    assert decide(rule, row(449, 10, 8), size, None, 0).desired == 9


def test_one_is_enough_to_grow_and_all_are_needed_to_shrink():
    size = Size(5, 2, 9)

    def agreed(*asked):
        return combine([Verdict(each, "") for each in asked], size)

    assert (agreed(), agreed(None), agreed(3, None), agreed(3, 4)) == (5, 5, 5, 4)
    assert (agreed(3, 7), agreed(6, 7), agreed(99), agreed(0)) == (7, 7, 9, 2)


def test_who_put_a_cluster_outside_of_its_bounds_is_not_contradicted():
    assert combine([Verdict(12, "")], Size(10, 2, 9)) == 10
    assert combine([Verdict(0, "")], Size(1, 2, 9)) == 1
    assert combine([Verdict(8, "")], Size(5, 2, None)) == 8


def test_a_policy_says_what_it_saw_and_what_it_wants():
    rule = TargetTrackingPolicy(target=50, period=PERIOD, metric="queue", evaluation_periods=3)
    size = Size(4, 0, 9)

    def said(found, rule=rule):
        return decide(rule, found, size, None, 0)

    assert said(row(200, 4, 2)) == (None, "waits for 3 measurements in a row")
    assert said(row(400, 4, 3)) == (8, "average of queue is 100, and 50 is the target: 8 workers instead of 4")
    assert said(row(200, 4, 3)) == (
        None,
        "average of queue is 50: nothing to add, and too few measurements to take anything out",
    )
    assert said(row(40, 4, 8, warm=3)) == (
        None,
        "average of queue is 10: nothing is taken out until all 4 workers are measured",
    )
    assert said(row(200, 4, 8)) == (None, "average of queue is 50: as it is to be")
    assert said(row(1, 4, 8)) == (1, "average of queue is 0.25, and 50 is the target: 1 worker instead of 4")
    steps = StepScalingPolicy(
        period=PERIOD, statistic="sum", scale_out=(StepOut(above=70),), scale_in=(StepIn(below=30),)
    )
    assert said(row(1_234_567.25, 4, 2), steps) == (5, "sum of cpu is 1,234,567, not below 70: 5 workers instead of 4")
    assert said(row(20, 4, 8), steps) == (3, "sum of cpu is 20, not above 30: 3 workers instead of 4")
    empty = [each._replace(found=None) for each in row(0, 4, 3)]
    assert said(empty).said == (
        "no worker has a value queue: nothing to add, and too few measurements to take anything out"
    )
    cold = [each._replace(found=None, warm=0) for each in row(0, 4, 8)]
    assert said(cold).said == (
        "no worker has run for long enough to be measured: nothing is taken out until all 4 workers are measured"
    )
    assert said(row(400, 4, 9)[:-1] + row(400, 4, 1, end=0)).desired == 8
    assert decide(rule, row(400, 4, 3), size, seconds(-5), seconds(1)).said == "waits for 3 measurements in a row"


def test_what_the_bounds_of_a_cluster_do_not_admit_is_said():
    size = Size(4, 2, 6)
    assert within_bounds(Verdict(7, "much"), size) == (7, "much, and at most 6 are admitted")
    assert within_bounds(Verdict(1, "little"), size) == (1, "little, and at least 2 have to stay")
    for wanted in (2, 4, 6, None):
        assert within_bounds(Verdict(wanted, "this"), size) == (wanted, "this")
    assert within_bounds(Verdict(70, "much"), Size(4, 2, None)).said == "much"
    assert within_bounds(Verdict(8, "less"), Size(9, 2, 6)).said == "less"
    assert within_bounds(Verdict(1, "more"), Size(0, 2, 6)).said == "more"


def test_measurements_that_disagree_add_what_the_least_of_them_asks_for_and_take_out_what_all_can_spare():
    rule = TargetTrackingPolicy(target=50, period=PERIOD, scale_in_periods=3)
    low, high = row(400, 4, 2), row(600, 4, 2)
    assert decide(rule, [high[0], low[1]], Size(4, 0, 99), None, 0).desired == 8
    assert decide(rule, [low[0], high[1]], Size(4, 0, 99), None, 0).desired == 8
    some, few = row(100, 4, 3), row(50, 4, 3)
    assert decide(rule, [few[0], some[1], few[2]], Size(4, 0, 99), None, 0).desired == 2


def test_a_step_looks_at_the_statistic_that_it_names():
    found = Aggregate(count=4, sum=200.0, minimum=10.0, maximum=110.0)
    for name, value in (("average", 50.0), ("minimum", 10.0), ("maximum", 110.0), ("sum", 200.0)):
        assert statistic(StepScalingPolicy(period=PERIOD, statistic=name), found) == value


def test_the_lowest_step_that_is_reached_counts_and_no_more_go_than_there_are():
    rule = StepScalingPolicy(period=PERIOD, scale_in=(StepIn(below=50, remove=1), StepIn(below=20, remove=9)))
    size = Size(4, 0, 9)
    assert decide(rule, row(200, 4, 8), size, None, 0).desired == 3
    assert decide(rule, row(81, 4, 8), size, None, 0).desired == 3
    assert decide(rule, row(80, 4, 8), size, None, 0).desired == 0
    assert decide(rule, row(201, 4, 8), size, None, 0).desired is None
    idle = StepScalingPolicy(period=PERIOD, scale_out=(StepOut(above=90),), scale_in=(StepIn(below=20, remove=9),))
    assert decide(idle, row(0, 4, 8), size, None, 0).desired == 0
    assert decide(idle, row(4, 4, 8), size, None, 0).desired == 1


def test_those_that_are_left_stay_below_what_would_have_workers_added_again():
    rule = StepScalingPolicy(period=PERIOD, scale_out=(StepOut(above=80),), scale_in=(StepIn(below=60, remove=5),))
    assert decide(rule, row(240, 6, 8), Size(6, 0, 9), None, 0).desired == 4  # Three would have exactly 80 each.
    assert decide(rule, row(239, 6, 8), Size(6, 0, 9), None, 0).desired == 3
    two = StepScalingPolicy(
        period=PERIOD, scale_out=(StepOut(above=200), StepOut(above=80)), scale_in=(StepIn(below=60, remove=5),)
    )
    assert decide(two, row(240, 6, 8), Size(6, 0, 9), None, 0).desired == 4


def test_a_size_outside_of_its_bounds_is_moved_by_nobody_the_other_way():
    def agreed(*wanted, size):
        return combine([Verdict(each, "") for each in wanted], size)

    assert agreed(9, 3, size=Size(5, 0, None)) == 9
    assert agreed(3, None, size=Size(5, 0, None)) == 5
    assert agreed(3, 4, size=Size(5, 0, 9)) == 4
    assert agreed(1, size=Size(5, 2, 9)) == 2
    assert agreed(12, size=Size(5, 2, 9)) == 9
    assert agreed(14, size=Size(12, 2, 9)) == 12
    assert agreed(0, size=Size(1, 2, 9)) == 1
    assert agreed(size=Size(5, 0, 3)) == 5
    assert agreed(None, size=Size(5, 0, 3)) == 5


def test_what_is_said_is_what_was_measured_last():
    rule = TargetTrackingPolicy(target=50, period=PERIOD, evaluation_periods=3, scale_in_periods=5)
    size = Size(4, 0, 99)

    def said(*loads, warm=None):
        rows = [row(load, 4, 1, end=PERIOD * place, warm=warm)[0] for place, load in enumerate(loads)]
        return decide(rule, rows, size, None, 0).said.partition(":")[0].partition(",")[0]

    assert said(400, 420, 480) == "average of cpu is 120"
    assert said(190, 190, 200) == "average of cpu is 50"
    assert said(190, 190, 190, 190, 200) == "average of cpu is 50"
    assert said(40, 40, 40, 40, 60, warm=3) == "average of cpu is 15"
    assert said(40, 40, 40, 40, 60) == "average of cpu is 15"


def test_at_the_edge_of_its_tolerance_a_target_is_kept():
    rule = TargetTrackingPolicy(target=50, period=PERIOD, tolerance=0.5)
    size = Size(10, 0, 99)
    assert decide(rule, row(750, 10, 8), size, None, 0).desired is None
    assert decide(rule, row(760, 10, 8), size, None, 0).desired == 16
    assert decide(rule, row(250, 10, 8), size, None, 0).desired is None
    assert decide(rule, row(240, 10, 8), size, None, 0).desired == 5


def test_those_that_warm_up_take_a_part_of_what_workers_share_and_those_that_leave_none():
    def grown(statistic_, above, load, workers, warm=None):
        rule = StepScalingPolicy(period=PERIOD, statistic=statistic_, scale_out=(StepOut(above=above),))
        return decide(rule, row(load, workers, 2, warm=warm), Size(4, 0, 9), None, 0).desired

    assert grown("average", 80, 6 * 70, 6) is None  # Two of the six are on their way out.
    assert grown("sum", 150, 4 * 100, 4, warm=2) == 5  # A sum is not shared: nothing is projected.
    assert grown("average", 0.4, 4 * 0.5, 4, warm=2) is None
    assert grown("average", 0.25, 4 * 0.5, 4, warm=2) == 5
    assert grown("average", 0, 0, 4, warm=2) == 5
