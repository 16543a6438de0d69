"""What a long run is judged by: slopes, parts of a run compared, and the table that shows them."""

from bisect import bisect_left
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from tests.bench.harness import quantile

HOUR_S = 3600.0
MIB = 2**20
JUDGED_FROM_S = 1800.0
"""A run that is shorter says nothing about slopes: its figures are shown and not judged."""


class Series:
    """Values of one thing over time, in seconds since the start."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.values: list[float] = []

    def add(self, time: float, value: float) -> None:
        self.times.append(time)
        self.values.append(value)

    def between(self, begin: float, end: float) -> list[float]:
        """Return the values of a part of the run."""
        return self.values[bisect_left(self.times, begin) : bisect_left(self.times, end)]

    def slope(self, begin: float, end: float) -> float:
        """Return the growth per hour in a part of the run, by linear regression."""
        low, high = bisect_left(self.times, begin), bisect_left(self.times, end)
        return slope(self.times[low:high], self.values[low:high]) * HOUR_S


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """Return the growth per unit of time that fits the values best; none for fewer than two points in time."""
    count = len(times)
    if count < 2:
        return 0.0
    middle, mean = sum(times) / count, sum(values) / count
    spread = sum((time - middle) ** 2 for time in times)
    both = sum((time - middle) * (value - mean) for time, value in zip(times, values, strict=True))
    return both / spread if spread else 0.0


class Span(NamedTuple):
    """The part of a run that counts, and its first and last quarter."""

    begin: float
    end: float

    @property
    def first(self) -> tuple[float, float]:
        return self.begin, self.begin + (self.end - self.begin) / 4

    @property
    def last(self) -> tuple[float, float]:
        return self.end - (self.end - self.begin) / 4, self.end


def after_warm_up(seconds: float) -> Span:
    """Return the part of a run of so many seconds that counts: without its first sixth, at most 15 minutes of it."""
    return Span(min(seconds / 6, HOUR_S / 4), seconds)


def caches_full(seconds: float) -> Span:
    """Return the part of a run of so many seconds in which memory is judged: its second half.

    The master keeps 512 records of every table decoded (`DECODED_MAX`), and takes as long to fill that as the load
    takes to make 512 clusters, of which there are the fewest: ten minutes. The shortest run that is judged is three
    times as long; what still grows in its second half is no cache.
    """
    return Span(seconds / 2, seconds)


class Line(NamedTuple):
    """One line of the table; `kept` is None where nothing is promised or the run was too short to say."""

    name: str
    first: str
    last: str
    change: str
    goal: str = ""
    kept: bool | None = None

    def text(self) -> str:
        verdict = "" if self.kept is None else "kept" if self.kept else "MISSED"
        return f"{self.name:<34} {self.first:>12} {self.last:>12} {self.change:>16}  {self.goal:<18} {verdict}"


HEAD = Line("", "first part", "last part", "change", "goal").text().rstrip()


def _judge(span: Span, kept: bool) -> bool | None:
    return kept if span.end >= JUDGED_FROM_S else None


def memory_line(name: str, series: Series, span: Span, judged: bool) -> Line:
    """Memory of a process: at most 1 MB more per hour."""
    growth = series.slope(*span) / 1e6
    kept = _judge(span, growth <= 1.0) if judged else None
    goal = "<= 1 MB/h" if judged else ""
    return Line(name, *_means(series, span, "MiB", MIB), f"{growth:+.2f} MB/h", goal, kept)


def descriptor_line(name: str, series: Series, span: Span, judged: bool) -> Line:
    """Descriptors of a process: in the last quarter as many as in the first, or one more, at the median."""
    first, last = (median(series.between(*part) or [0]) for part in (span.first, span.last))
    growth = f"{series.slope(*span):+.2f} /h"
    kept = _judge(span, last <= first + 1) if judged else None
    return Line(name, f"{first:.0f}", f"{last:.0f}", growth, "flat" if judged else "", kept)


def latency_line(name: str, series: Series, span: Span, part: float, floor: Series | None = None) -> Line:
    """Latency of a call, as it is or divided by that of a floor in the same quarter."""
    figures = []
    for quarter in (span.first, span.last):
        value = quantile(series.between(*quarter) or [0.0], part)
        if floor is not None:
            value /= quantile(floor.between(*quarter) or [1.0], part)
        figures.append(value)
    first, last = figures
    ratio = last / first if first else 1.0
    shown = (f"{v:.2f}" for v in figures) if floor is not None else (f"{1e3 * v:.2f} ms" for v in figures)
    judged = part == 0.99
    return Line(
        name, *shown, f"x {ratio:.2f}", "<= x 1.1" if judged else "", _judge(span, ratio <= 1.1) if judged else None
    )


def amount_line(name: str, series: Series, span: Span, unit: str, scale: float) -> Line:
    """Something that is shown and not judged."""
    return Line(name, *_means(series, span, unit, scale), f"{series.slope(*span) / scale:+.2f} {unit}/h")


def store_line(size: Series, live: Series, span: Span) -> Line:
    """The store's file against a compacted copy of it, at the last time that both were looked at."""
    sizes, lives = size.between(span.begin, span.end + 1), live.between(span.begin, span.end + 1)
    if not sizes or not lives:
        return Line("store / live data", "-", "-", "-")
    first, last = sizes[0] / lives[0], sizes[-1] / lives[-1]
    growth = f"{live.slope(span.begin, span.end + 1) / MIB:+.2f} MiB/h"
    return Line("store / live data", f"{first:.2f}", f"{last:.2f}", growth, "<= 1.2", _judge(span, last <= 1.2))


def _means(series: Series, span: Span, unit: str, scale: float) -> tuple[str, str]:
    means = []
    for quarter in (span.first, span.last):
        values = series.between(*quarter)
        means.append(f"{sum(values) / len(values) / scale:.1f} {unit}" if values else "-")
    return means[0], means[1]
