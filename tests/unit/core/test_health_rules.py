"""What a health policy makes of what is found."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.core.health_rules import (
    STATUS,
    URL,
    WHOLE,
    Case,
    Past,
    chain_of,
    decide,
    fill_url,
    health_problems,
    place_of,
    url_limit,
    what_is_wrong,
)
from controlplane.records.health_policies import (
    Detection,
    GivenUp,
    HealthPolicy,
    LifecycleEvents,
    RecoveryAction,
    RecoveryLimits,
    RecoveryRule,
    StatusPolling,
    UrlLook,
    UrlOptions,
    UrlPolling,
)
from controlplane.records.recoveries import Checked, Operation, OperationParameters
from controlplane.records.workers import Address, Want, WorkerStatus
from tests.strategies import NOW, uid, worker

SECOND = 1_000_000_000
NODE, GROUP = uid(2, 1), uid(3, 1)
PAGE = UrlPolling(options=UrlOptions(poll_url="http://x/"))
MODES = {"status": STATUS, "url": URL}
BAD, GOOD = Checked(well=False, reason="deaf"), Checked(well=True)


def one(number=1, status=WorkerStatus.RUNNING, **fields):
    return worker(number, GROUP, number, NODE, status, **{"started": NOW - 100 * SECOND, **fields})


def policy(*modes, **detection):
    return HealthPolicy(detection=Detection(detection_modes=modes, node_update_timeout=30.0, **detection))


def wrong(rule, found, polled=True, now=NOW, **looks):
    return what_is_wrong(rule, found, {MODES[mode]: look for mode, look in looks.items()}, now, polled)


def test_one_way_to_look_is_enough_or_all_have_to_agree():
    either, both = policy(StatusPolling(), PAGE), policy(StatusPolling(), PAGE, recovery_conditional="ALL_FAILED")
    assert wrong(either, one(), status=BAD, url=GOOD) == "deaf"
    assert wrong(both, one(), status=BAD, url=GOOD) is None
    assert wrong(both, one(), status=BAD, url=Checked(well=False, reason="status 500")) == "deaf; status 500"
    assert wrong(either, one(), status=GOOD, url=GOOD) is None
    assert wrong(either, one()) is None


@pytest.mark.parametrize(("age", "found"), [(29, None), (30, "deaf")])
def test_who_was_started_a_moment_ago_is_well(age, found):
    assert wrong(policy(StatusPolling()), one(started=NOW - age * SECOND), status=BAD) == found
    young = msgspec.structs.replace(one(started=None), changed=NOW - age * SECOND)
    assert wrong(policy(StatusPolling()), young, status=BAD) == found


@pytest.mark.parametrize("status", WorkerStatus)
def test_events_tell_of_failures_and_silence(status):
    found = wrong(policy(LifecycleEvents()), one(status=status, started=None, failures=3, reason="why"), polled=False)
    assert found == ("why" if status in (WorkerStatus.ERROR, WorkerStatus.UNREACHABLE) else None)


def test_a_worker_that_its_agent_starts_again_is_left_to_it():
    rule = policy(LifecycleEvents())
    assert wrong(rule, one(status=WorkerStatus.ERROR, started=None, failures=2)) is None
    assert wrong(rule, one(status=WorkerStatus.ERROR, failures=0, reason="failed its check")) == "failed its check"


def test_nobody_is_judged_who_is_not_wanted_or_was_not_asked():
    assert wrong(policy(StatusPolling()), one(want=Want.REMOVE), status=BAD) is None
    assert wrong(policy(StatusPolling()), one(), polled=False, status=BAD) is None
    assert wrong(policy(StatusPolling(), LifecycleEvents()), one(status=WorkerStatus.UNREACHABLE), polled=False)


def case(number=1):
    return Case(one(number), "deaf")


def rule(**limits):
    return RecoveryRule(limits=RecoveryLimits(**{"worker_max": 2, "cluster_max": 3, "within": 100.0, **limits}))


def past(*ages, number=1):
    return [Past(NOW - age * SECOND, frozenset({place_of(one(number))})) for age in ages]


def test_who_was_brought_back_too_often_is_given_up_once():
    decided = decide(rule(), [case()], [], past(10, 20), {}, NOW)
    assert (decided.recover, [place for place, _ in decided.news]) == ([], [place_of(one())])
    assert decided.given_up[place_of(one())].reason == "it was brought back 2 times within 100 s; now: deaf"
    again = decide(rule(), [case()], [], past(10, 20), decided.given_up, NOW + 1000 * SECOND)
    assert (again.recover, again.news, again.given_up) == ([], [], decided.given_up)


def test_others_are_brought_back_meanwhile_until_the_cluster_is_given_up():
    assert decide(rule(), [case(), case(2)], [], past(10, 20), {}, NOW).recover == [case(2)]
    whole = decide(rule(), [case(2), case(3)], [], past(10, 20, 30), {}, NOW)
    assert (whole.recover, list(whole.given_up), len(whole.news)) == ([], [WHOLE], 1)
    assert "the cluster was brought back 3 times" in whole.given_up[WHOLE].reason


def test_what_is_long_ago_does_not_count():
    assert decide(rule(), [case()], [], past(10, 100), {}, NOW).recover == [case()]
    assert decide(rule(), [case()], [], past(10, 99), {}, NOW).recover == []


def test_what_was_given_up_is_taken_up_again_when_it_is_well_and_was_for_long():
    given_up = {place_of(one()): GivenUp(since=NOW, reason="r"), WHOLE: GivenUp(since=NOW, reason="r")}
    well = [place_of(one())]
    assert decide(rule(), [], well, past(10, 20, 30), given_up, NOW).given_up == given_up
    assert decide(rule(), [], [], [], given_up, NOW).given_up.keys() == {place_of(one())}
    assert decide(rule(), [], well, past(10), given_up, NOW).given_up == {}
    assert decide(rule(), [case(2)], [], [], given_up, NOW).recover == []


@given(
    rounds=st.lists(st.tuples(st.integers(1, 60), st.sets(st.integers(1, 3))), max_size=60),
    worker_max=st.integers(1, 4),
    cluster_max=st.integers(1, 6),
)
def test_a_policy_never_does_more_than_its_limits_admit(rounds, worker_max, cluster_max):
    """However workers do, no window of time has more recoveries than are admitted."""
    limits = rule(worker_max=worker_max, cluster_max=cluster_max)
    history, given_up, now = [], {}, NOW
    for pause, sick in rounds:
        now += pause * SECOND
        cases = [case(number) for number in sick]
        well = [place_of(one(number)) for number in {1, 2, 3} - sick]
        decided = decide(limits, cases, well, history, given_up, now)
        given_up = decided.given_up
        if decided.recover:
            history.append(Past(now, frozenset(place_of(each.worker) for each in decided.recover)))
        window = [each for each in history if now - each.created < 100 * SECOND]
        assert len(window) <= cluster_max
        for number in (1, 2, 3):
            assert sum(place_of(one(number)) in each.places for each in window) <= worker_max


def test_the_chain_is_that_of_the_policy_with_its_longest_patience():
    hard = OperationParameters(timeout=90.0, type="HARD")
    chain = chain_of(
        RecoveryRule(actions=(RecoveryAction(name="REBOOT"), RecoveryAction(name="RECREATE", params=hard)))
    )
    assert (chain.operations, chain.patience, chain.hard) == ((Operation.REBOOT, Operation.RECREATE), 90.0, True)
    assert chain_of(RecoveryRule()).hard is False


def test_urls_are_filled_in_for_each_worker():
    web = one(addresses=(Address(type="web", url="http://127.0.0.1:80"),))
    assert fill_url("{url:web}/{nodename}/{index}", web, "shop-1") == "http://127.0.0.1:80/shop-1/1"
    assert fill_url("http://x/{name}?{oid}", web, "shop-1") == f"http://x/shop-1?{web.oid}"
    assert fill_url("{url:admin}/", web, "shop-1") is None


def test_a_page_takes_as_long_as_all_its_tries():
    options = UrlOptions(poll_url="http://x", poll_url_retry_limit=2, poll_url_retry_interval=1.0, poll_url_timeout=3.0)
    assert url_limit(UrlLook(url="http://x", options=options)) == 8.0


@pytest.mark.parametrize(
    ("options", "at"),
    [
        ({"poll_url": "gopher://x"}, "poll_url"),
        ({"poll_url": "http://{who}"}, "poll_url"),
        ({"poll_url": "{url:web}{name:x}"}, "poll_url"),
        ({"poll_url": "http://x", "poll_url_healthy_response": "("}, "poll_url_healthy_response"),
        ({"poll_url": "http://x", "poll_url_healthy_status_min": 500}, "poll_url_healthy_status_min"),
        ({"poll_url": "{url:web}/{name}"}, None),
    ],
)
def test_problems_of_pages_are_told(options, at):
    found = [problem.path for problem in health_problems(policy(UrlPolling(options=UrlOptions(**options))))]
    assert found == ([] if at is None else [f"$.detection.detection_modes[0].options.{at}"])
