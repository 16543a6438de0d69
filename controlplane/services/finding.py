"""How callers name an object: by its oid, its name, or the first digits of its oid."""

import re
from collections.abc import Callable
from itertools import islice
from typing import Any
from uuid import UUID

from controlplane.errors import Ambiguous, NoSuchObject
from controlplane.store.database import View
from controlplane.store.tables import Table

DIGITS_MIN = 4
"""Of an oid, for its beginning: fewer would fit by chance."""

SHOWN_MAX = 5
_BEGINNING = re.compile(rf"[0-9a-f]{{{DIGITS_MIN},32}}")


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
    digits = key.lower().replace("-", "")
    fitting: list[bytes] = []
    if _BEGINNING.fullmatch(digits):
        low = bytes.fromhex(digits.ljust(32, "0"))
        high = bytes.fromhex(digits.ljust(32, "f")) + b"\0"
        keys = rows.scan_keys(low, high)
        fitting = list(islice((each for each in keys if admits is None or admits(rows.get(each))), SHOWN_MAX + 1))
    if len(fitting) == 1:
        return rows.get(fitting[0])
    noun = called or table.noun
    if not fitting:
        raise NoSuchObject(
            f"there is no {noun} {key}",
            subject={"type": noun, "oid": key},
            next_step=f"list the {plural(noun)} there are",
        )
    shown = ", ".join(str(UUID(bytes=each[:16])) for each in fitting[:SHOWN_MAX])
    raise Ambiguous(
        f"{key} fits more than one {noun}: {shown}" + (", and more" if len(fitting) > SHOWN_MAX else ""),
        subject={"type": noun, "oid": key},
        next_step="give more digits, or the name",
    )


def plural(noun: str) -> str:
    """Return what several of them are called."""
    return f"{noun[:-1]}ies" if noun.endswith("cy") else f"{noun}s"
