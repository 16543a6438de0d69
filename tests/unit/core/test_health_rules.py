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
    modes_of,
    place_of,
    url_limit,
    url_mode,
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
    reason = "the cluster was brought back 3 times within 100 s; now: deaf"
    assert whole.given_up == {"*": GivenUp(since=NOW, reason=reason)}


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


def test_who_says_nothing_of_why_is_said_something_of():
    rule = policy(LifecycleEvents(), StatusPolling())
    assert wrong(rule, one(status=WorkerStatus.UNREACHABLE)) == "its node is silent"
    assert wrong(rule, one(status=WorkerStatus.ERROR, failures=3)) == "it failed"
    assert wrong(rule, one(), status=Checked(well=False)) == "it was not found to be well"
    for status in (WorkerStatus.PENDING, WorkerStatus.STOPPED):
        assert wrong(rule, one(status=status), status=BAD) is None


def test_ways_to_look_that_say_the_same_say_it_once():
    assert wrong(policy(StatusPolling(), PAGE), one(), status=BAD, url=BAD) == "deaf"
    assert wrong(policy(PAGE), one(), status=BAD, url=GOOD) is None
    assert wrong(policy(PAGE), one(), status=GOOD, url=BAD) == "deaf"
    assert wrong(policy(PAGE), one(), polled=False, url=BAD) is None


def test_all_ways_have_to_agree_also_those_that_nobody_looked_in():
    all_of_them = policy(LifecycleEvents(), StatusPolling(), recovery_conditional="ALL_FAILED")
    silent = one(status=WorkerStatus.UNREACHABLE, reason="cut off")
    assert wrong(all_of_them, silent, polled=False, status=BAD) is None
    assert wrong(all_of_them, silent) is None
    assert wrong(all_of_them, silent, status=BAD) == "cut off; deaf"
    assert wrong(all_of_them, one()) is None


def test_a_policy_says_in_which_ways_it_looks_and_at_which_page():
    looks = policy(StatusPolling(), PAGE, LifecycleEvents()).detection
    assert modes_of(looks) == {"NODE_STATUS_POLLING", "NODE_STATUS_POLL_URL", "LIFECYCLE_EVENTS"} >= {STATUS, URL}
    assert url_mode(looks) is PAGE
    assert url_mode(policy(StatusPolling()).detection) is None
    assert modes_of(policy(StatusPolling()).detection) == {STATUS}


def test_a_place_is_one_of_a_group_or_of_the_routers():
    assert place_of(one(7)) == f"{GROUP.hex}/7"
    assert place_of(worker(1, None, 3)) == "router/3"


def test_what_of_a_url_is_no_placeholder_of_ours_is_left():
    assert fill_url("http://x/{who}/{name}{", one(), "a") == "http://x/{who}/a{"
    assert fill_url("{url:web}{url:admin}", one(addresses=(Address(type="web", url="u"),)), "a") is None
    two = one(addresses=(Address(type="web", url="u"), Address(type="a_1", url="v")))
    assert fill_url("{url:web}/{url:a_1}/{name:web}", two, "a") == "u/v/a"


def test_what_is_well_is_taken_up_again_when_less_was_done_than_is_admitted():
    given_up = {place_of(one()): GivenUp(since=NOW, reason="r")}
    well = [place_of(one())]
    assert decide(rule(cluster_max=9), [], well, past(10, 20), given_up, NOW).given_up == given_up
    assert decide(rule(cluster_max=9), [], well, past(10, 100), given_up, NOW).given_up == {}


def test_every_place_is_counted_by_itself_and_all_of_them_for_the_cluster():
    history = [*past(1, 2), *past(3, number=2)]
    wide = rule(cluster_max=9)
    assert decide(wide, [case(), case(2), case(3)], [], history, {}, NOW).recover == [case(2), case(3)]
    decided = decide(wide, [case(), case(2)], [], [*history, *past(4, number=2)], {}, NOW)
    assert [(place, each) for place, each in decided.news] == [
        (place_of(one()), case()),
        (place_of(one(2)), case(2)),
    ]
    assert decided.given_up == {
        place_of(one(number)): GivenUp(since=NOW, reason="it was brought back 2 times within 100 s; now: deaf")
        for number in (1, 2)
    }


def test_the_cluster_is_taken_up_again_only_when_nobody_is_sick_and_little_was_done():
    whole = {WHOLE: GivenUp(since=NOW, reason="r")}
    assert decide(rule(), [], [], past(10, 20), whole, NOW).given_up == {}
    assert decide(rule(), [], [], past(10, 20, 30), whole, NOW).given_up == whole
    assert decide(rule(), [case()], [], [], whole, NOW) == ([], whole, [])


def test_the_first_that_is_given_up_does_not_keep_others_from_being_brought_back():
    given_up = {place_of(one()): GivenUp(since=NOW, reason="r")}
    assert decide(rule(), [case(), case(2)], [], [], given_up, NOW) == ([case(2)], given_up, [])


def said(*modes) -> list[tuple[str, str]]:
    return [tuple(each) for each in health_problems(policy(*modes))]


def page(poll_url="http://x", **options):
    return UrlPolling(options=UrlOptions(poll_url=poll_url, **options))


def test_what_is_wrong_with_a_policy_is_said_with_its_place():
    at = "$.detection.detection_modes"
    assert said(StatusPolling(), page("https://x/{oid}{index}{nodename}{url:a_1}"), LifecycleEvents()) == []
    assert said(LifecycleEvents(), StatusPolling(), LifecycleEvents()) == [(f"{at}[2].type", "is there twice")]
    options = f"{at}[1].options"
    assert said(StatusPolling(), page("{name}://x")) == [
        (f"{options}.poll_url", "begins with neither http:// nor https:// nor {url:NAME}")
    ]
    assert said(StatusPolling(), page("http://{who}/{url}/{name:x}")) == [
        (f"{options}.poll_url", "has a placeholder {who} that there is not"),
        (f"{options}.poll_url", "has a placeholder {url} that there is not"),
        (f"{options}.poll_url", "has a placeholder {name} that there is not"),
    ]
    assert said(StatusPolling(), page(poll_url_healthy_status_min=400)) == [
        (f"{options}.poll_url_healthy_status_min", "is more than the highest status")
    ]
    assert said(StatusPolling(), page(poll_url_healthy_status_min=399)) == []
    ((path, text),) = said(page(poll_url_healthy_response="("))
    assert path == f"{at}[0].options.poll_url_healthy_response"
    assert text == "is no regular expression: missing ), unterminated subpattern at position 0"


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
