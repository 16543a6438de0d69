"""Stands before the module `pyqrcode` on the Python path of workers, and lets it draw each code once only.

For every client that joins, a Crossbar.io proxy reads its node's key twice, and draws a QR code of it each time, which
is then thrown away: 11 ms of arithmetic each, which leave room for about 40 joins per second. The key is always the
same. Whoever imports this gets the real module, found behind this one, with a `create` that remembers.
"""

import functools
from collections.abc import Callable
from typing import Any

CODES_MAX = 16


class Drawn:
    """A code that remembers how it was drawn."""

    def __init__(self, code: Any) -> None:
        self._code = code
        self.terminal = functools.lru_cache(CODES_MAX)(code.terminal)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._code, name)


def remembering(create: Callable[..., Any]) -> Callable[..., Drawn]:
    """Return a `create` that returns the same object for the same content and options."""

    def create_drawn(*content: Any, **options: Any) -> Drawn:
        return Drawn(create(*content, **options))

    return functools.lru_cache(CODES_MAX)(create_drawn)


def load_real() -> None:
    """Put the real module in the place of this one."""
    from controlplane_behind import load_behind  # type: ignore[import-not-found]  # Found by workers alone.

    real: Any = load_behind("pyqrcode")
    real.create = remembering(real.create)


if __name__ == "pyqrcode":
    load_real()
