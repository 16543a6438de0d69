"""How a client calls: typed, with a time limit, and again when no answer came.

What writes carries an idempotency key of its own, the same one every time it is tried: so trying again never makes
anything twice, also when the first call was made and only its answer was lost.
"""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar
from uuid import UUID, uuid4

import msgspec
from autobahn.exception import Disconnected
from autobahn.wamp.exception import ApplicationError, TransportLost

from controlplane.client.pace import Pace, pace_of
from controlplane.errors import InvalidArgument, NoAnswer, Overloaded, RemoteError, TooManyCalls
from controlplane.records.outcomes import IDEMPOTENCY_KEY
from controlplane.records.types import Seconds, to_wire
from controlplane.wire_errors import from_application_error

CALL_WITHIN_S = 30.0
"""In all, however often a call is tried."""

PAUSE_MIN_S = 0.1
PAUSE_MAX_S = 2.0
"""Before a call is tried again; twice as long before every further time."""

PAGE_SIZE = 500
WORTH_TRYING_AGAIN = (NoAnswer, Overloaded, TooManyCalls)
"""Nothing was changed, or it is not known; whatever else goes wrong would go wrong again."""

LOST = (TransportLost, Disconnected)
Key = UUID | str
"""What names an object: its oid, and where the procedure says so its name or the beginning of its oid."""

T = TypeVar("T")


class Line(Protocol):
    """A session with a router: one of Autobahn's, for Twisted or for asyncio, or whatever calls as they do."""

    def call(self, procedure: str, *args: Any, **kwargs: Any) -> Awaitable[Any]:
        """Call a procedure."""
        ...


class Calls:
    """Calls procedures over one line."""

    def __init__(
        self,
        line: Line,
        *,
        within: Seconds = CALL_WITHIN_S,
        pace: Pace | None = None,
        new_key: Callable[[], str] = lambda: str(uuid4()),
    ) -> None:
        """Give a call up after `within` seconds; until then it is tried again whenever it got no answer."""
        self._line = line
        self._within = within
        self._pace = pace
        self._new_key = new_key

    async def read(self, uri: str, given: Mapping[str, Any], kind: type[T]) -> T:
        """Call a procedure that changes nothing, and return what it returns as a record."""
        return _typed(await self.call(uri, **_given(given)), kind, uri)

    async def write(self, uri: str, given: Mapping[str, Any], kind: type[T], key: str | None) -> T:
        """Call a procedure that changes something, once however often it is tried; return a record."""
        keyed = {**_given(given), IDEMPOTENCY_KEY: key or self._new_key()}
        return _typed(await self.call(uri, **keyed), kind, uri)

    async def call(self, uri: str, *args: Any, **kwargs: Any) -> Any:
        """Call any procedure, by its full name, and return its answer as it comes; raises `ControlPlaneError`."""
        pause, end = PAUSE_MIN_S, math.inf
        while True:
            try:
                answer = self._begin(uri, args, kwargs)
                if self._pace is None:
                    self._pace = pace_of(answer)
                end = min(end, self._pace.seconds() + self._within)
                return await self._finish(uri, answer, end - self._pace.seconds())
            except WORTH_TRYING_AGAIN:
                if self._pace is None or self._pace.seconds() + pause >= end:
                    raise
            await self._pace.sleep(pause)
            pause = min(2 * pause, PAUSE_MAX_S)

    async def pages(self, get: Callable[[int, str | None], Awaitable[list[T]]], size: int) -> AsyncIterator[T]:
        """Go through a list page by page; what is deleted meanwhile does not end it."""
        async for page in batches(get, size):
            for item in page:
                yield item

    async def numbered(self, get: Callable[[int, int | None], Awaitable[Any]], size: int) -> AsyncIterator[Any]:
        """Go through pages that say themselves how to go on."""
        page = await get(size, None)
        while True:
            for item in page.events:
                yield item
            if page.next is None:
                return
            page = await get(size, page.next)

    def _begin(self, uri: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Awaitable[Any]:
        try:
            return self._line.call(uri, *args, **kwargs)
        except LOST as problem:
            raise NoAnswer(f"the line was lost before {uri} was called", next_step="try again") from problem

    async def _finish(self, uri: str, answer: Awaitable[Any], within: Seconds) -> Any:
        if self._pace is None:
            raise AssertionError("it is known since there was something to wait for")
        try:
            return await self._pace.within(answer, within, uri)
        except ApplicationError as problem:
            raise from_application_error(problem, uri) from None
        except LOST as problem:
            raise NoAnswer(f"the line was lost before {uri} was answered", next_step="try again") from problem


class Noun:
    """Procedures of one noun."""

    def __init__(self, calls: Calls) -> None:
        """Call in this way."""
        self._calls = calls


async def batches(
    get: Callable[[int, str | None], Awaitable[list[T]]], size: int, marker: str | None = None
) -> AsyncIterator[list[T]]:
    """Go through the pages of a list, after a marker if one is given."""
    page = await get(size, marker)
    more = len(page) == size
    while page:
        yield page
        if not more:
            return
        page, more = await _following(get, page, size)


async def _following(
    get: Callable[[int, str | None], Awaitable[list[T]]], page: list[T], size: int
) -> tuple[list[T], bool]:
    """Return the page after this one, and whether there may be more after it.

    The last object that is still there says where it begins; those after that one are known already.
    """
    back = 1
    while True:
        try:
            found = await get(size, _marker(page[-back]))
        except InvalidArgument as problem:
            if back == len(page) or not any(each.path == "$.marker" for each in problem.problems):
                raise
            back = min(2 * back, len(page))
            continue
        known = {_marker(item) for item in page[len(page) - back :]}
        fresh = [item for item in found if _marker(item) not in known]
        if fresh or len(found) < size:
            return fresh, len(found) == size
        page, back = found, 1


def _marker(item: Any) -> str:
    return item if isinstance(item, str) else str(item.oid)


def _given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: to_wire(value) for name, value in arguments.items() if value is not None}


def _typed(answer: Any, kind: type[T], uri: str) -> T:
    try:
        return msgspec.convert(answer, kind)
    except msgspec.ValidationError as problem:
        raise RemoteError(
            f"{uri} answered with what this client does not know: {problem}",
            next_step="use a client of the master's version, which controlplane.service.get_build_info tells",
        ) from problem
