"""When a schedule acts: a pure function of its rule and of a time."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from controlplane.errors import Problem
from controlplane.records.scaling import SchedulePolicy
from controlplane.records.types import NANOSECONDS, Instant

FIELDS = 5
"""Of a cron expression: seconds are no part of it."""

ADMITTED = {
    "minute": "there are 0 to 59",
    "hour": "there are 0 to 23",
    "day-of-month": "there are 1 to 31, as many as one of its months has, and L for the last one",
    "month": "there are 1 to 12 and JAN to DEC",
    "day-of-week": "there are 0 to 7 and SUN to SAT; 0 and 7 are Sunday",
}
"""What may stand in each field, in order, by the name that it has in errors."""

INSTANT_MAX = 2**63 - 1
"""The last one that every serializer can carry, and every index hold; in the year 2262."""


def problems_of_schedule(rule: SchedulePolicy) -> Iterator[Problem]:
    """Yield what is wrong with a schedule although all its fields are of the right types."""
    if (rule.cron is None) is (rule.at is None):
        yield Problem("$.cron", "or at is needed, and not both")
    zone = _zone(rule.timezone)
    if zone is None:
        yield Problem("$.timezone", "is not known; names are like Europe/Berlin")
    if rule.cron is not None:
        yield from _problems_of_cron(rule.cron)
    if rule.at is not None and zone is not None and _moment(rule.at, zone) is None:
        yield Problem(
            "$.at",
            "is no time before the year 2262; write it like 2030-01-31T08:00:00, or with an offset, "
            "2030-01-31T08:00:00+01:00",
        )
    if rule.desired is not None and rule.change is not None:
        yield Problem("$.change", "and desired exclude each other")
    if rule.change == 0:
        yield Problem("$.change", "is 0, which changes nothing")
    if all(value is None for value in (rule.desired, rule.change, rule.min_size, rule.max_size)):
        yield Problem("$", "changes nothing: give desired, change, min_size or max_size")
    low, high = rule.min_size, rule.max_size
    if high is not None and high >= 0:
        if low is not None and low > high:
            yield Problem("$.max_size", f"is {high}, less than the min_size of {low}")
        if rule.desired is not None and rule.desired > high:
            yield Problem("$.desired", f"is {rule.desired}, more than the max_size of {high}")
    if low is not None and rule.desired is not None and rule.desired < low:
        yield Problem("$.desired", f"is {rule.desired}, less than the min_size of {low}")


def next_due(rule: SchedulePolicy, after: Instant) -> Instant | None:
    """Return when a schedule acts next, later than an instant; None for never again."""
    zone = _zone(rule.timezone) or UTC
    if rule.cron is None:
        moment = _moment(rule.at or "", zone)
        return moment if moment is not None and moment > after else None
    found = next(CronSim(rule.cron, _local(after, zone)), None)
    return None if found is None else _instant(found)


def last_due(rule: SchedulePolicy, due: Instant, now: Instant) -> Instant:
    """Return the last time of a schedule that is not later than now, given one that is not.

    Of times that were missed only the last one is of interest: the others would have been overtaken by it.
    """
    if rule.cron is None:
        return due
    found = next(
        CronSim(rule.cron, _local(now, _zone(rule.timezone) or UTC) + timedelta(seconds=1), reverse=True), None
    )
    last = due if found is None else _instant(found)
    return last if due <= last <= now else due


def _problems_of_cron(expression: str) -> Iterator[Problem]:
    if len(expression.split()) != FIELDS:
        yield Problem("$.cron", "has five fields: minute, hour, day of the month, month, day of the week")
        return
    try:
        found = next(CronSim(expression, datetime(2026, 1, 1, tzinfo=UTC)), None)
    except (CronSimError, ValueError, AssertionError) as problem:
        yield Problem("$.cron", f"is no cron expression: {_in_words(expression, str(problem))}")
        return
    if found is None:
        yield Problem("$.cron", "names no day that there ever is")


def _in_words(expression: str, problem: str) -> str:
    """Return which field is wrong and what it may be; a day that none of the months has counts as a wrong one."""
    for text, (name, admitted) in zip(expression.split(), ADMITTED.items(), strict=True):
        if problem == f"Bad {name}":
            return f"{text!r} is no {name.replace('-', ' ')}; {admitted}"
    return problem


def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # The errors of paths, of bad names, and of names that there are not.
        return None


def _moment(text: str, zone: tzinfo) -> Instant | None:
    try:
        moment = datetime.fromisoformat(text)
        instant = _instant(moment if moment.tzinfo is not None else moment.replace(tzinfo=zone))
    except (ValueError, OverflowError):
        return None
    return instant if instant <= INSTANT_MAX else None


def _local(instant: Instant, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(instant // NANOSECONDS, tz=zone)


def _instant(moment: datetime) -> Instant:
    return int(moment.timestamp()) * NANOSECONDS
