"""How callers name an object: by its oid, its name, or the first digits of its oid."""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Protocol, TypeVar
from uuid import UUID

from controlplane.errors import Ambiguous, NoSuchObject
from controlplane.store.database import View
from controlplane.store.tables import Table

DIGITS_MIN = 4
"""Of an oid, for its beginning: fewer would fit by chance."""

SHOWN_MAX = 5
_BEGINNING = re.compile(rf"[0-9a-f]{{{DIGITS_MIN},32}}")


class HasOid(Protocol):
    """What is told apart by its oid."""

    @property
    def oid(self) -> UUID:
        """Return whose it is."""
        ...


Found = TypeVar("Found", bound=HasOid)


def resolve(
    view: View,
    table: Table[Any],
    key: str,
    named: Callable[[str], bytes],
    admits: Callable[[Any], bool] | None = None,
    called: str | None = None,
) -> Any:
    """Return the object that is meant; raises `NoSuchObject`, or `Ambiguous` when a beginning fits several."""
    rows = view.rows(table)
    try:
        found = rows.find(UUID(key))
    except ValueError:
        found = None
    if found is None:
        found = rows.find_by("name", named(key))
    if found is not None and (admits is None or admits(found)):
        return found
    fitting = (each for each in beginning(view, table, key) if admits is None or admits(each))
    return the_only(called or table.noun, key, fitting)


def the_only(noun: str, key: str, fitting: Iterable[Found], next_step: str = "give more digits, or the name") -> Found:
    """Return the one that fits; raises `NoSuchObject` for none, `Ambiguous` with the first few of several."""
    found = list(islice(fitting, SHOWN_MAX + 1))
    if len(found) == 1:
        return found[0]
    subject = {"type": noun, "oid": key}
    if not found:
        raise NoSuchObject(f"there is no {noun} {key}", subject=subject, next_step=f"list the {plural(noun)} there are")
    shown = ", ".join(str(each.oid) for each in found[:SHOWN_MAX])
    more = ", and more" if len(found) > SHOWN_MAX else ""
    raise Ambiguous(f"{key} fits more than one {noun}: {shown}{more}", subject=subject, next_step=next_step)


def beginning(view: View, table: Table[Any], key: str) -> Iterator[Any]:
    """Yield the objects of a table, whose keys begin with oids, that have an oid which begins with these digits."""
    bounds = _bounds(key)
    if bounds is not None:
        rows = view.rows(table)
        yield from map(rows.get, rows.scan_keys(bounds[0], bounds[1] + b"\0"))


def oids_beginning(view: View, table: Table[Any], key: str) -> Iterator[UUID]:
    """Yield what begins with these digits of the oids that an index `oid` holds."""
    bounds = _bounds(key)
    if bounds is None:
        return
    for found, _ in view.rows(table).keys_by("oid", start=bounds[0]):
        if found > bounds[1]:
            return
        yield UUID(bytes=found)


def _bounds(key: str) -> tuple[bytes, bytes] | None:
    """Return the first and the last oid that begin with these digits, or nothing if these are none."""
    digits = key.lower().replace("-", "")
    if not _BEGINNING.fullmatch(digits):
        return None
    return bytes.fromhex(digits.ljust(32, "0")), bytes.fromhex(digits.ljust(32, "f"))


def plural(noun: str) -> str:
    """Return what several of them are called."""
    return f"{noun[:-1]}ies" if noun.endswith("cy") else f"{noun}s"
