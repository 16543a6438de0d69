"""What all of the proxy's methods have in common: calling, paging, naming things, and what is missing."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, NoReturn, Protocol, TypeVar

from controlplane.client.calls import Line, batches
from controlplane.client.client import Client
from controlplane.client.pace import Pace
from controlplane.client.senlin import words
from controlplane.client.senlin.resources import Resource
from controlplane.errors import InvalidArgument, NoSuchObject, NotOffered, Problem
from controlplane.records.types import Seconds

PAGE_SIZE = 200
PAGE_SIZE_MAX = 10_000
PAGING = frozenset({"sort", "limit", "marker", "global_project"})

T = TypeVar("T")
R = TypeVar("R")


class Thread(Protocol):
    """Where what waits is done, while others wait for it."""

    def do(self, work: Callable[[], Any]) -> Any:
        """Run a coroutine function, and return what it returns or raise what it raises."""
        ...


class Methods:
    """What methods are written with."""

    def __init__(self, thread: Thread, line: Line, pace: Pace, within: Seconds) -> None:
        """Call over this line, in this thread."""
        self._thread = thread
        self._pace = pace
        self._client = Client(line, within=within, pace=pace)

    def _do(self, work: Callable[[], Awaitable[T]]) -> T:
        found: T = self._thread.do(work)
        return found

    def _find(self, get: Callable[[Any], R], name_or_id: str, ignore_missing: bool) -> R | None:
        try:
            return get(name_or_id)
        except NoSuchObject:
            if ignore_missing:
                return None
            raise

    def _pages(
        self,
        get: Callable[[int, str | None], Awaitable[list[T]]],
        query: Mapping[str, Any],
        made: Callable[[list[T]], Iterator[R]],
    ) -> Iterator[R]:
        """Go through a list page by page, each when it is needed; `limit` is how long a page is."""
        size, marker = page_size(query), query.get("marker")
        pages = batches(get, size, None if marker is None else str(marker))

        async def following() -> list[T] | None:
            return await anext(pages, None)

        def go() -> Iterator[R]:
            while True:
                page = self._do(following)
                if page is None:
                    return
                yield from made(page)

        return go()


def key(given: Any) -> str:
    """Return what names an object: a resource's id, or what was given."""
    return str(given.id) if isinstance(given, Resource) else str(given)


def page_size(query: Mapping[str, Any]) -> int:
    """Return how many objects are asked for at a time."""
    limit = query.get("limit")
    if limit is None:
        return PAGE_SIZE
    if type(limit) is not int or not 1 <= limit <= PAGE_SIZE_MAX:
        raise refused("limit", f"is no whole number between 1 and {PAGE_SIZE_MAX}", "leave it out, or give one")
    return limit


def read_query(query: Mapping[str, Any], known: frozenset[str], method: str, *, of_events: bool = False) -> str | None:
    """Return how a list is to be sorted, in our words; raises `InvalidArgument` for what lists have not."""
    words.refuse_unknown(query, known | PAGING, method)
    if not isinstance(query.get("global_project", False), bool):
        raise refused("global_project", "is neither True nor False", "there is one project, so both mean the same")
    sort = query.get("sort")
    return None if sort is None else words.sort_text(str(sort), of_events=of_events)


def refused(name: str, message: str, next_step: str) -> InvalidArgument:
    """Return that an argument cannot be used."""
    return InvalidArgument(f"{name} {message}", problems=[Problem(f"$.{name}", message)], next_step=next_step)


def require(attrs: Mapping[str, Any], *names: str) -> None:
    """Raise `InvalidArgument` when something is missing that has to be said, in the words of who has to say it."""
    missing = [name for name in names if attrs.get(name) is None]
    if missing:
        raise InvalidArgument(
            f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing",
            problems=[Problem(f"$.{name}", "is missing") for name in missing],
            next_step=f"give {' and '.join(missing)}",
        )


def not_offered(method: str, instead: str) -> NoReturn:
    """Say that something of Senlin's is not here, and what is."""
    raise NotOffered(f"{method} is not offered", subject={"type": "method", "name": method}, next_step=instead)


def without_none(**given: Any) -> dict[str, Any]:
    """Return what was given."""
    return {name: value for name, value in given.items() if value is not None}
