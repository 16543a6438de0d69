"""When schedules act: later than a time, in their time zone, and of times that were missed the last one."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.core.schedules import last_due, next_due
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
