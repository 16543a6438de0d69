"""Numbers in sentences for people: one worker, two workers, and figures that can be read."""

READABLE_DIGITS = 6
LONG_FROM = 1_000_000


def so_many(number: int, noun: str) -> str:
    """Return a number of things in words: `1 worker`, `2 workers`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def figure(value: float) -> str:
    """Return a measured value as people read it: six digits of a small one, all before the point of a long one."""
    return f"{value:,.0f}" if LONG_FROM <= abs(value) < 1e15 else f"{value:.{READABLE_DIGITS}g}"
