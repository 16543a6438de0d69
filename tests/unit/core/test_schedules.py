"""When schedules act: later than a time, in their time zone, and of times that were missed the last one."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.core.schedules import last_due, next_due, problems_of_schedule
from controlplane.records.scaling import SchedulePolicy
from controlplane.records.types import NANOSECONDS

EXPRESSIONS = st.sampled_from(
    ["* * * * *", "*/7 * * * *", "30 2 * * *", "0 8 * * 1-5", "0 0 1 * *", "15 10 L * *", "0 9 * * MON#1", "0 0 29 2 *"]
)
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Auckland"])
INSTANTS = st.integers(1_600_000_000 * NANOSECONDS, 2_000_000_000 * NANOSECONDS)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).astimezone(UTC).timestamp()) * NANOSECONDS


def cron(expression: str, zone: str = "UTC") -> SchedulePolicy:
    return SchedulePolicy(cron=expression, timezone=zone, change=1)


@given(expression=EXPRESSIONS, zone=ZONES, now=INSTANTS)
def test_the_next_time_is_later_and_the_one_after_it_later_still(expression, zone, now):
    rule = cron(expression, zone)
    first = next_due(rule, now)
    second = next_due(rule, first)
    assert now < first < second
    assert next_due(rule, first - 1) == first


@given(expression=EXPRESSIONS, zone=ZONES, start=INSTANTS, passed=st.integers(0, 100 * 86_400))
def test_of_missed_times_the_last_one_counts(expression, zone, start, passed):
    rule = cron(expression, zone)
    due = next_due(rule, start)
    now = due + passed * NANOSECONDS
    last = last_due(rule, due, now)
    assert due <= last <= now
    following = next_due(rule, last)
    # Where clocks are put back a time comes twice, and forwards and backwards one does not come to the same one.
    assert following > now or abs(following - now) <= 3_600 * NANOSECONDS


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-03-28T12:00:00+01:00", "2026-03-29T03:00:00+02:00"),  # 2:30 is left out: one hour later.
        ("2026-10-24T12:00:00+02:00", "2026-10-25T02:30:00+02:00"),  # It comes twice: the first one counts.
        ("2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"),
    ],
)
def test_a_time_that_there_is_not_or_twice_comes_once(now, expected):
    assert next_due(cron("30 2 * * *", "Europe/Berlin"), at(now)) == at(expected)


def test_one_time_is_in_the_zone_of_the_schedule_unless_it_says_otherwise():
    berlin = SchedulePolicy(at="2026-07-01T08:00:00", timezone="Europe/Berlin", desired=1)
    moment = at("2026-07-01T06:00:00+00:00")
    assert next_due(berlin, moment - 1) == moment
    assert next_due(berlin, moment) is None
    said = SchedulePolicy(at="2026-07-01T08:00:00-01:00", timezone="Europe/Berlin", desired=1)
    assert next_due(said, 0) == at("2026-07-01T09:00:00+00:00")
    assert last_due(said, moment, moment + 10**18) == moment


def test_of_missed_times_one_that_is_now_counts_and_none_that_was_before():
    rule, due = cron("0 8 * * *"), at("2026-01-01T08:00:00+00:00")
    assert last_due(rule, due, due) == due
    assert last_due(rule, due, due + 1) == due
    next_day = at("2026-01-02T08:00:00+00:00")
    assert last_due(rule, due, next_day - 1) == due
    assert last_due(rule, due, next_day) == next_day
    assert last_due(rule, due, next_day + 86_399 * NANOSECONDS) == next_day
    kolkata = cron("0 8 * * *", "Asia/Kolkata")
    assert last_due(kolkata, due - 1, due - 1 + 86_400 * NANOSECONDS) == at("2026-01-02T02:30:00+00:00")
    # The clock was put back, or the rule was another one: what was due stays.
    assert last_due(rule, due + 60 * NANOSECONDS, due + 90 * NANOSECONDS) == due + 60 * NANOSECONDS


def test_a_zone_that_is_no_more_is_as_none():
    assert next_due(cron("0 8 * * *", "Mars/Base"), at("2026-01-01T00:00:00+00:00")) == at("2026-01-01T08:00:00+00:00")
    assert last_due(cron("0 8 * * *", "Mars/Base"), 0, at("2026-01-01T09:00:00+00:00")) == at(
        "2026-01-01T08:00:00+00:00"
    )
    assert next_due(SchedulePolicy(timezone="Mars/Base", at="2026-07-01T08:00:00"), 0) == at(
        "2026-07-01T08:00:00+00:00"
    )


def test_a_schedule_that_will_not_come_again_has_no_next_time():
    assert next_due(SchedulePolicy(), 0) is None
    assert next_due(SchedulePolicy(at="soon"), 0) is None


def problems(**fields) -> list[tuple[str, str]]:
    return [tuple(each) for each in problems_of_schedule(SchedulePolicy(**fields))]


@pytest.mark.parametrize(
    "fields",
    [
        {"cron": "*/5 8-18 * * 1-5", "desired": 0},
        {"cron": "0 0 29 2 *", "min_size": 0},
        {"at": "2030-01-31T08:00:00", "max_size": -1, "desired": 9, "min_size": 9},
        {"at": "2030-01-31T08:00:00+01:00", "change": -1, "timezone": "Europe/Berlin"},
        {"at": "2030-01-31", "min_size": 3, "max_size": 3, "desired": 3},
        {"at": "2030-01-31", "min_size": 0, "max_size": 0, "desired": 0},
    ],
)
def test_nothing_is_wrong_with_a_time_and_something_to_do(fields):
    assert problems(**fields) == []


NO_TIME = (
    "is no time before the year 2262; write it like 2030-01-31T08:00:00, or with an offset, 2030-01-31T08:00:00+01:00"
)
FIVE = "has five fields: minute, hour, day of the month, month, day of the week"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, [("$.cron", "or at is needed, and not both")]),
        ({"cron": "0 8 * * *", "at": "2030-01-31"}, [("$.cron", "or at is needed, and not both")]),
        ({"cron": "0 8 * *"}, [("$.cron", FIVE)]),
        ({"cron": "0 0 8 * * *"}, [("$.cron", FIVE)]),
        ({"cron": ""}, [("$.cron", FIVE)]),
        ({"cron": "61 8 * * *"}, [("$.cron", "is no cron expression: '61' is no minute; there are 0 to 59")]),
        ({"cron": "0 8 */20 * MON#2"}, [("$.cron", "names no day that there ever is")]),
        ({"cron": "0 25 * * *"}, [("$.cron", "is no cron expression: '25' is no hour; there are 0 to 23")]),
        (
            {"cron": "0 0 30 2 *"},
            [
                (
                    "$.cron",
                    "is no cron expression: '30' is no day of month; there are 1 to 31, as many as one of its months "
                    "has, and L for the last one",
                )
            ],
        ),
        (
            {"cron": "0 0 1 13 *"},
            [("$.cron", "is no cron expression: '13' is no month; there are 1 to 12 and JAN to DEC")],
        ),
        (
            {"cron": "0 0 * * 8"},
            [
                (
                    "$.cron",
                    "is no cron expression: '8' is no day of week; there are 0 to 7 and SUN to SAT; 0 and 7 are Sunday",
                )
            ],
        ),
        ({"at": "soon"}, [("$.at", NO_TIME)]),
        ({"at": "2262-04-12"}, [("$.at", NO_TIME)]),
        ({"at": "9999-12-31T23:59:59-12:00"}, [("$.at", NO_TIME)]),
        ({"at": "2030-02-30"}, [("$.at", NO_TIME)]),
        (
            {"at": "soon", "timezone": "Mars/Base"},
            [("$.timezone", "is not known; names are like Europe/Berlin")],
        ),
        (
            {"cron": "x", "timezone": "../etc/passwd"},
            [("$.timezone", "is not known; names are like Europe/Berlin"), ("$.cron", FIVE)],
        ),
    ],
)
def test_a_time_that_never_comes_is_a_problem(fields, expected):
    assert problems(desired=1, **fields) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, [("$", "changes nothing: give desired, change, min_size or max_size")]),
        ({"change": 0}, [("$.change", "is 0, which changes nothing")]),
        ({"change": 1, "desired": 0}, [("$.change", "and desired exclude each other")]),
        ({"min_size": 3, "max_size": 2}, [("$.max_size", "is 2, less than the min_size of 3")]),
        ({"desired": 3, "max_size": 2}, [("$.desired", "is 3, more than the max_size of 2")]),
        ({"desired": 1, "max_size": 0}, [("$.desired", "is 1, more than the max_size of 0")]),
        ({"desired": 1, "min_size": 2}, [("$.desired", "is 1, less than the min_size of 2")]),
        (
            {"desired": 3, "min_size": 4, "max_size": 2},
            [
                ("$.max_size", "is 2, less than the min_size of 4"),
                ("$.desired", "is 3, more than the max_size of 2"),
                ("$.desired", "is 3, less than the min_size of 4"),
            ],
        ),
    ],
)
def test_what_is_to_be_done_changes_something_and_does_not_contradict_itself(fields, expected):
    assert problems(cron="0 8 * * *", **fields) == expected


def test_a_day_that_never_is_has_no_next_time_and_none_that_was_missed():
    never, now = cron("0 8 */20 * MON#2"), at("2026-01-01T08:00:00+00:00")
    assert next_due(never, now) is None
    assert last_due(never, now - NANOSECONDS, now) == now - NANOSECONDS


def test_a_time_beyond_what_an_index_can_hold_never_comes():
    for far in ("2262-04-12", "9999-12-31T23:59:59-12:00"):
        assert next_due(SchedulePolicy(at=far, desired=1), at("2026-07-01T06:00:00+00:00")) is None
    near = SchedulePolicy(at="2262-04-11T00:00:00", desired=1)
    assert next_due(near, at("2026-07-01T06:00:00+00:00")) == at("2262-04-11T00:00:00+00:00")
