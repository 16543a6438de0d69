"""What is wrong with a value that is not of its type: where it is, and what would be right, in words."""

import re
from collections.abc import Mapping
from typing import Any

from msgspec import inspect

from controlplane.errors import Problem
from controlplane.records import patterns
from controlplane.records.types import LABEL_PATTERN, NAME_PATTERN, PUBLIC_KEY_PATTERN

ENUM = "Invalid enum value "
KEY = "key` in `"
LISTED_MAX = 40
PATTERNS: Mapping[str, str] = {
    f"Expected `str` matching regex {pattern!r}": words
    for pattern, words in (
        (NAME_PATTERN, "has to be 3 to 64 small letters, digits and underlines, the first one a letter"),
        (LABEL_PATTERN, "has to be 1 to 128 letters, digits and any of _ . @ -, the first one a letter or digit"),
        (PUBLIC_KEY_PATTERN, "has to be 64 hexadecimal digits, with small letters"),
        *patterns.WORDS.items(),
    )
}
_STEP = re.compile(r"\.([^.\[]+)|\[[^\]]*\]")


def located(problem: Exception, path: str, kind: Any = None) -> Problem:
    """Return what msgspec says of a value at a path, with the path into the value that it says.

    Given the `kind` that the value was to be of, it is said which values there are where there are but some.
    """
    message, _, inner = str(problem).partition(" - at `")
    inner = inner.removesuffix("`").removeprefix(KEY).removeprefix("$")
    if message.startswith(ENUM):
        admitted = _admitted(kind, inner)
        if admitted:
            message = f"{message.removeprefix(ENUM)} is none of {', '.join(admitted)}"
    message = PATTERNS.get(message, message)
    return Problem(path + inner, message[:1].lower() + message[1:])


def _admitted(kind: Any, inner: str) -> list[str]:
    """Return the values that there may be at a path into something of a type; none when they are too many to list."""
    try:
        found = [inspect.type_info(kind)]
    except TypeError:
        return []
    for step in _STEP.finditer(inner):
        found = [part for each in found for part in _parts(each, step[1])]
    values = [str(value) for each in _members(found) for value in _values(each)]
    return values if len(values) <= LISTED_MAX else []


def _values(kind: inspect.Type) -> list[Any]:
    """Return the values of a type that has but some."""
    match kind:
        case inspect.EnumType():
            return [each.value for each in kind.cls]
        case inspect.LiteralType():
            return list(kind.values)
    return []


def _members(types: list[inspect.Type]) -> list[inspect.Type]:
    found: list[inspect.Type] = []
    for each in types:
        plain = each.type if isinstance(each, inspect.Metadata) else each
        found.extend(_members(list(plain.types)) if isinstance(plain, inspect.UnionType) else [plain])
    return found


def _parts(kind: inspect.Type, name: str | None) -> list[inspect.Type]:
    found: list[inspect.Type] = []
    for each in _members([kind]):
        match each:
            case inspect.StructType():
                found.extend(field.type for field in each.fields if field.encode_name == name)
            case inspect.DictType():
                found.append(each.value_type)
            case inspect.ListType() | inspect.VarTupleType() | inspect.SetType() | inspect.FrozenSetType():
                found.append(each.item_type)
    return found
