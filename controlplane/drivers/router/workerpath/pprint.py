"""Stands before the module `pprint` on the Python path of workers, and lets it format each value once only.

For every client that joins, a Crossbar.io proxy formats the configuration of its backend several times for a log that
is not written: a quarter of what a join costs it. A value is the same when its representation is, and that is made a
hundred times faster. Whoever imports this gets the real module, found behind this one, with a `pformat` that remembers.
"""

from collections.abc import Callable
from typing import Any

FORMS_MAX = 256
REPRESENTATION_LENGTH_MAX = 20_000
RECURSION = "..."
"""Where a value contains itself, its form has an address that its representation leaves out."""


def remembering(pformat: Callable[..., str]) -> Callable[..., str]:
    """Return a `pformat` that returns what it returned before for the same value and options."""
    known: dict[tuple[Any, ...], str] = {}

    def pformat_once(value: Any, *given: Any, **options: Any) -> str:
        representation = repr(value)
        if len(representation) > REPRESENTATION_LENGTH_MAX or RECURSION in representation:
            return pformat(value, *given, **options)
        key = (type(value), representation, given, tuple(sorted(options.items())))
        if key not in known:
            if len(known) >= FORMS_MAX:
                known.clear()
            known[key] = pformat(value, *given, **options)
        return known[key]

    return pformat_once


def load_real() -> None:
    """Put the real module in the place of this one."""
    from controlplane_behind import load_behind  # type: ignore[import-not-found]  # Found by workers alone.

    real: Any = load_behind("pprint")
    real.pformat = remembering(real.pformat)


if __name__ == "pprint":
    load_real()
