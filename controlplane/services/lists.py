"""Listing, the same for every noun: in the order of the key, whole or in pages, reading only what is asked for."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from itertools import islice
from typing import Annotated, Any, TypeVar
from uuid import UUID

import msgspec

from controlplane.errors import InvalidArgument, Problem
from controlplane.services.procedures import shown
from controlplane.store.tables import Rows

HELD_PER_ASKED, HELD_MIN = 3, 500
"""How many records are held at most while the first ones of an order are looked for, and sorted at a time."""

T = TypeVar("T")

Order = Sequence[tuple[Callable[[T], tuple[bool, Any]], bool]]
"""Keys, the most important one first, each with whether it is descending."""

Values = Mapping[str, Iterable[Any]]
"""Fields that have one of some values only, with these."""

WHETHER = (True, False)

Limit = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


def oid_text(key: bytes) -> str:
    """Return the oid that a key begins with, as text; faster than through `UUID`."""
    h = key[:16].hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def page_start(marker: UUID | None) -> bytes:
    """Return the first key after the object that the last page ended with."""
    return b"" if marker is None else marker.bytes + b"\0"


def page(items: Iterable[str], limit: int | None) -> list[str]:
    """Return one page of a list, or all of it."""
    return list(items if limit is None else islice(items, limit))


def after_name(names: Iterable[str], marker: str | None) -> Iterator[str]:
    """Yield the names that come after the one that the last page ended with."""
    return (name for name in names if marker is None or name > marker)


def walk(
    rows: Rows[T], sort: str | None, marker: str | None, orders: Mapping[str, str | None]
) -> tuple[Iterator[T], str | None]:
    """Return records for `select` to choose from, and by what it still has to sort them.

    `orders` names the fields in whose order the table or one of its indexes is, None for the table; the first one is
    the usual one. In such an order nothing is read before the record at `marker`, and not much behind the page.
    """
    field, _, direction = (next(iter(orders)) if sort is None else sort.strip()).partition(":")
    if field not in orders or direction not in ("", "asc", "desc"):
        return rows.all(), sort
    try:
        first = None if marker is None else rows.find(UUID(marker))
    except ValueError:
        first = None  # Whoever selects says that it is not in the list.
    return rows.walk(orders[field], first, reverse=direction == "desc"), None


def select(
    records: Iterable[T],
    *,
    filters: Mapping[str, Any] | None,
    sort: str | None,
    limit: int | None,
    marker: str | None,
    fields: Mapping[str, Callable[[T], Any]],
    oid: Callable[[T], str],
    values: Values | None = None,
) -> list[T]:
    """Return the records that a caller asked for, the same way for every noun.

    `filters` names fields and the value that each is to have, or a list of values of which it is to have one. `sort`
    is "field", "field:desc" or several of those with commas between. `marker` is the oid of the last one of the page
    before. Raises `InvalidArgument` for a field that there is not, for a value that none of `values` of its field is,
    and for a marker that is not in the list.
    """
    wanted = {name: value if isinstance(value, list | tuple) else [value] for name, value in (filters or {}).items()}
    known = ", ".join(sorted(fields))
    keys = [_sort_key(part) for part in sort.split(",")] if sort else []
    problems = [Problem(f"$.filters.{name}", f"is none of {known}") for name in wanted if name not in fields]
    problems += [
        Problem("$.sort", f"names {name!r}, which is none of {known}") for name, _ in keys if name not in fields
    ]
    next_step = "name a field that objects have" if problems else "name a value that the field can have"
    problems += _never(wanted, values or {})
    if problems:
        path, message = problems[0]
        raise InvalidArgument(f"{path.removeprefix('$.')} {message}", problems=problems, next_step=next_step)
    found = records
    if wanted:
        found = (
            each for each in records if all(plain(fields[name](each)) in allowed for name, allowed in wanted.items())
        )
    if keys:
        order = [(_order_by(fields[name]), descending) for name, descending in keys]
        found = _first(found, order, limit if marker is None else None)
    if marker is not None:
        found = _after(found, marker, oid)
    return list(found if limit is None else islice(found, limit))


def plain(value: Any) -> Any:
    """Return a value as callers see it."""
    if type(value) in (int, str):
        return value
    return value.value if isinstance(value, Enum) else str(value) if isinstance(value, UUID) else value


def _never(wanted: Mapping[str, Iterable[Any]], values: Values) -> Iterator[Problem]:
    """Yield what is asked for and can never be: an empty list would look as if there were nothing of the kind now."""
    for name, asked in wanted.items():
        admitted = [plain(value) for value in values.get(name, ())]
        odd = [value for value in asked if value not in admitted] if name in values else []
        if odd:
            said = f"'{shown(odd[0])}'" if isinstance(odd[0], str) else shown(odd[0])
            known = ", ".join(map(str, admitted))
            what = "is neither true nor false" if admitted == list(WHETHER) else f"is none of {known}"
            yield Problem(f"$.filters.{name}", f"{said} {what}")


def _order_by(of: Callable[[T], Any]) -> Callable[[T], tuple[bool, Any]]:
    """Return what orders records by a field; those without a value come first."""

    def key(record: T) -> tuple[bool, Any]:
        shown = plain(of(record))
        return shown is not None, "" if shown is None else shown

    return key


def _first(records: Iterable[T], order: Order[T], limit: int | None) -> list[T]:
    """Return the first records in an order, or all of them, without ever holding many more.

    Most records of a long list are behind all that were found before, and one look at their first key says so.
    """
    if limit is None:
        return _sorted(list(records), order)
    first, descending = order[0]
    held_max = HELD_PER_ASKED * limit + HELD_MIN
    held: list[T] = []
    last = None
    for record in records:
        if last is not None:
            key = first(record)
            if key < last if descending else key > last:
                continue
        held.append(record)
        if len(held) >= held_max:
            del _sorted(held, order)[limit:]
            last = first(held[-1])
    return _sorted(held, order)[:limit]


def _sorted(records: list[T], order: Order[T]) -> list[T]:
    """Put records in an order, in place, and return them; what is equal in it stays as it stood."""
    for key, descending in reversed(order):
        records.sort(key=key, reverse=descending)
    return records


def _sort_key(part: str) -> tuple[str, bool]:
    name, _, direction = part.strip().partition(":")
    if direction not in ("", "asc", "desc"):
        raise unfit("$.sort", f"{direction!r} is no direction", "sort by field, field:asc or field:desc")
    return name, direction == "desc"


def _after(records: Iterable[T], marker: str, oid: Callable[[T], str]) -> Iterator[T]:
    iterator = iter(records)
    for record in iterator:
        if oid(record) == marker:
            return iterator
    raise unfit("$.marker", "is not in the list", "pass the oid of the last object of the page before")


def unfit(path: str, message: str, next_step: str) -> InvalidArgument:
    """Return the error of an argument of which one thing is wrong."""
    return InvalidArgument(
        f"{path.removeprefix('$.')} {message}", problems=[Problem(path, message)], next_step=next_step
    )
