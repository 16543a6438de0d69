"""What an agent does about one worker: a table of every pair of wanted and seen, and a function without effects.

Time is an argument. Waiting is a result. The jitter of a pause is drawn when the failure is noted, and kept with it.
"""

import enum
from collections.abc import Mapping

from controlplane.records.types import NANOSECONDS, Instant, Record, Seconds

RESTART_PAUSE_FIRST_S = 1.0
RESTART_PAUSE_MAX_S = 60.0
RESTART_JITTER = 0.25
"""Part of a pause by which it is lengthened at most, so that workers that failed together do not return together."""

HEALTHY_AFTER_S = 30.0
"""A worker that ran this long counts as healthy: its next failure is its first."""


class Desired(enum.Enum):
    """What the assignment says of a worker."""

    RUNNING = enum.auto()
    ABSENT = enum.auto()


class Seen(enum.Enum):
    """How a worker is found on the node."""

    ABSENT = enum.auto()
    CURRENT = enum.auto()
    """Running as wanted."""

    STALE = enum.auto()
    """Running with another configuration."""


class Act(enum.Enum):
    """What is done about a worker."""

    NOTHING = enum.auto()
    START = enum.auto()
    REPLACE = enum.auto()
    STOP = enum.auto()


RULES: Mapping[tuple[Desired, Seen], Act] = {
    (Desired.RUNNING, Seen.ABSENT): Act.START,
    (Desired.RUNNING, Seen.CURRENT): Act.NOTHING,
    (Desired.RUNNING, Seen.STALE): Act.REPLACE,
    (Desired.ABSENT, Seen.ABSENT): Act.NOTHING,
    (Desired.ABSENT, Seen.CURRENT): Act.STOP,
    (Desired.ABSENT, Seen.STALE): Act.STOP,
}


class Failures(Record, frozen=True, kw_only=True):
    """How often a worker failed in a row with one configuration, and when it may be tried again."""

    digest: str
    count: int
    retry_at: Instant


class Decision(Record, frozen=True, kw_only=True):
    """What to do now, or when to look again."""

    act: Act
    wait_s: Seconds | None = None


def decide(desired: str | None, seen: str | None, failures: Failures | None, now: Instant) -> Decision:
    """Return what to do about a worker that is wanted with one digest and runs with another, or does not."""
    want = Desired.ABSENT if desired is None else Desired.RUNNING
    found = Seen.ABSENT if seen is None else Seen.CURRENT if seen == desired else Seen.STALE
    act = RULES[want, found]
    if act in (Act.START, Act.REPLACE) and failures is not None and failures.digest == desired:
        wait = (failures.retry_at - now) / NANOSECONDS
        if wait > 0:
            return Decision(act=Act.NOTHING, wait_s=wait)
    return Decision(act=act)


def after_failure(before: Failures | None, digest: str, ran_s: Seconds, now: Instant, chance: float) -> Failures:
    """Return the failures after one more, of a worker that ran `ran_s`; `chance` is from 0 up to 1.

    The first failure is followed by a start at once: most deaths are accidents, and waiting would only prolong them.
    """
    if before is None or before.digest != digest or ran_s >= HEALTHY_AFTER_S:
        return Failures(digest=digest, count=1, retry_at=now)
    pause = min(RESTART_PAUSE_MAX_S, RESTART_PAUSE_FIRST_S * 2.0 ** min(before.count - 1, 30))
    pause *= 1 + RESTART_JITTER * chance
    return Failures(digest=digest, count=before.count + 1, retry_at=now + int(pause * NANOSECONDS))


def describe(reason: str, failures: Failures, now: Instant) -> str:
    """Return a failure in words, with what follows from it."""
    wait = (failures.retry_at - now) / NANOSECONDS
    if wait <= 0:
        return f"{reason}; starting it again"
    return f"{reason}; failed {failures.count} times in a row, trying again in {wait:.0f} s"
