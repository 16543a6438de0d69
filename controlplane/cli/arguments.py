"""Arguments of a procedure as they are typed: JSON, or text where the procedure wants text."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from controlplane.cli.procedures import arguments_of
from controlplane.errors import InvalidArgument, Problem

OPENING = ("{", "[")


def read_arguments(
    procedure: str, given: Iterable[str], named: Iterable[tuple[str, str]]
) -> tuple[list[Any], dict[str, Any]]:
    """Return what is to be passed to a procedure; raises `InvalidArgument` for JSON that is not whole."""
    known = arguments_of(procedure)
    names = list(known)
    args = [_read(text, names[place] if place < len(names) else str(place), known) for place, text in enumerate(given)]
    return args, {name: _read(text, name, known) for name, text in named}


def _read(text: str, name: str, known: Mapping[str, Any]) -> Any:
    try:
        value = json.loads(text)
    except ValueError as problem:
        if text.startswith(OPENING):
            raise InvalidArgument(
                f"{name} begins like JSON and is none: {problem}",
                problems=[Problem(f"$.{name}", f"is no JSON: {problem}")],
                next_step=f"mend it, or write '{json.dumps(text)}' if this text is meant",
            ) from None
        return text
    return text if _is_meant_as_text(value, known.get(name, {})) else value


def _is_meant_as_text(value: Any, argument: Mapping[str, Any]) -> bool:
    """Say whether what reads as a number, true, false or null is a name, or the first digits of an oid."""
    if isinstance(value, str | dict | list) or (value is None and not argument.get("required")):
        return False
    schema = argument.get("schema", {})
    forms = {form.get("type") for form in schema.get("anyOf", [schema])}
    return "string" in forms and forms <= {"string", "null"}
