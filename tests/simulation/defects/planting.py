"""How a defect gets into the product and out again."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, NamedTuple


class Defect(NamedTuple):
    """One thing that could be wrong with the product."""

    name: str
    text: str
    plant: Callable[[], AbstractContextManager[Any]]


def replaced(*places: tuple[Any, str, Any]) -> Callable[[], AbstractContextManager[None]]:
    """Plant by putting something else in the place of functions, given as (owner, name, other)."""

    @contextmanager
    def plant() -> Iterator[None]:
        with ExitStack() as undo:
            for owner, name, other in places:
                undo.callback(setattr, owner, name, getattr(owner, name))
                setattr(owner, name, other)
            yield

    return plant


def around(owner: Any, name: str, make: Callable[[Any], Any]) -> Callable[[], AbstractContextManager[None]]:
    """Plant by wrapping a function; `make` is given the right one."""
    return replaced((owner, name, make(getattr(owner, name))))
