import itertools

from hypothesis import given
from hypothesis import strategies as st

from controlplane.core.reconcile import (
    HEALTHY_AFTER_S,
    RULES,
    Act,
    Decision,
    Desired,
    Failures,
    Seen,
    after_failure,
    decide,
    describe,
)

SECOND = 1_000_000_000
DIGESTS = st.none() | st.sampled_from(["a", "b"])


def test_every_pair_of_states_has_a_rule():
    assert RULES.keys() == set(itertools.product(Desired, Seen))


@given(DIGESTS, DIGESTS)
def test_obeying_reaches_what_is_desired_in_one_step(desired, seen):
    match decide(desired, seen, None, 0).act:
        case Act.START | Act.REPLACE:
            seen = desired
        case Act.STOP:
            seen = None
    assert seen == desired
    assert decide(desired, seen, None, 0).act is Act.NOTHING


def test_a_decision_to_act_is_a_decision_not_to_wait():
    assert decide("a", None, None, 0).wait_s is None


def test_even_the_rest_of_a_pause_is_waited_for():
    failures = Failures(digest="a", count=3, retry_at=SECOND // 2)
    assert decide("a", None, failures, 0) == Decision(act=Act.NOTHING, wait_s=0.5)
    assert decide("a", None, failures, SECOND // 2) == Decision(act=Act.START)


@given(DIGESTS, DIGESTS, st.integers(0, 100), st.integers(0, 100))
def test_a_worker_that_failed_waits_and_only_it(desired, seen, retry_at, now):
    failures = Failures(digest="a", count=3, retry_at=retry_at * SECOND)
    decision = decide(desired, seen, failures, now * SECOND)
    plain = decide(desired, seen, None, now * SECOND)
    if plain.act in (Act.START, Act.REPLACE) and desired == "a" and now < retry_at:
        assert decision == Decision(act=Act.NOTHING, wait_s=retry_at - now)
    else:
        assert decision == plain


def test_the_first_failure_is_followed_by_a_start_at_once():
    first = after_failure(None, "a", 0, 5, 0.9)
    assert (first.count, first.retry_at) == (1, 5)
    assert describe("it died", first, 5) == "it died; starting it again"


def test_pauses_double_up_to_a_limit_and_are_jittered_by_no_more_than_said():
    failures, pauses = None, []
    for _ in range(12):
        failures = after_failure(failures, "a", 0, 0, 0.0)
        pauses.append(failures.retry_at / SECOND)
    assert pauses == [0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60]
    assert after_failure(failures, "a", 0, 0, 0.5).retry_at / SECOND == 60 * 1.125
    assert after_failure(failures, "a", 0, 0, 1.0).retry_at / SECOND == 60 * 1.25


def test_a_worker_that_failed_for_years_waits_no_longer_than_one_that_failed_for_minutes():
    failures = Failures(digest="a", count=100_000, retry_at=0)
    assert after_failure(failures, "a", 0, 0, 0.0).retry_at == 60 * SECOND


def test_a_worker_that_was_healthy_for_a_while_starts_counting_anew():
    failures = after_failure(after_failure(None, "a", 0, 0, 0), "a", 0, 0, 0)
    assert HEALTHY_AFTER_S == 30
    assert after_failure(failures, "a", HEALTHY_AFTER_S - 0.001, 0, 0).count == 3
    assert after_failure(failures, "a", HEALTHY_AFTER_S, 0, 0).count == 1


def test_another_configuration_starts_counting_anew():
    failures = after_failure(after_failure(None, "a", 0, 0, 0), "a", 0, 0, 0)
    assert after_failure(failures, "b", 0, 0, 0).count == 1


def test_a_crash_loop_says_so():
    failures = Failures(digest="a", count=4, retry_at=8 * SECOND)
    assert describe("it died", failures, 0) == "it died; failed 4 times in a row, trying again in 8 s"
    assert describe("it died", failures, 7 * SECOND) == "it died; failed 4 times in a row, trying again in 1 s"
    assert describe("it died", failures, 8 * SECOND) == "it died; starting it again"
