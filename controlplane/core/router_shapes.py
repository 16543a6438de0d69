"""How to say what a configuration looks like, so that all that departs from it is found in one pass.

A shape is a function from a value and the path of that value to the problems in it. Shapes are made from smaller
shapes. None of them raises, whatever the value is, and none goes deeper than the value is nested.
"""

import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from controlplane.errors import Problem

SHOWN_LENGTH_MAX = 64
SUGGESTIONS_MAX = 10
"""Unknown keys of one object for which a near one is looked for; the search is slow."""

KNOWN_SHOWN_MAX = 20
KNOWN_SEARCHED_MAX = 64
SHOWN_NUMBER_MAX = 2**64

Shape = Callable[[Any, str], Iterator[Problem]]
Rule = Callable[[str], str | None]
"""Says what is wrong with a text, or None."""

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def shown(text: str) -> str:
    """Return the text in quotes, short and printable, for use in a message."""
    cut = text if len(text) <= SHOWN_LENGTH_MAX else text[:SHOWN_LENGTH_MAX] + "..."
    return f"'{cut}'" if cut.isprintable() and "'" not in cut else json.dumps(cut)


def at(path: str, key: str | int) -> str:
    """Return the path of an entry of the object or list at `path`."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    if len(key) <= SHOWN_LENGTH_MAX and _PLAIN_KEY.fullmatch(key):
        return f"{path}.{key}"
    return f"{path}[{json.dumps(key if len(key) <= SHOWN_LENGTH_MAX else key[:SHOWN_LENGTH_MAX] + '...')}]"


def near(word: str, known: Sequence[str]) -> str:
    """Return the end of a message that suggests the nearest known word; empty when there is none."""
    found = difflib.get_close_matches(word[:SHOWN_LENGTH_MAX], known[:KNOWN_SEARCHED_MAX], n=1)
    return f"; did you mean {shown(found[0])}?" if found else ""


def not_a(wanted: str, value: Any, path: str) -> Problem:
    """Return the problem of a value that has another type than it should have."""
    return Problem(path, f"must be {wanted}, not {_kind_of(value)}")


def anything(_value: Any, _path: str) -> Iterator[Problem]:
    """Accept every value: what can be read at all has been checked before."""
    yield from ()


def flag(value: Any, path: str) -> Iterator[Problem]:
    """Accept true and false."""
    if not isinstance(value, bool):
        yield not_a("true or false", value, path)


def text(*rules: Rule) -> Shape:
    """Accept a text that breaks none of the rules; only the first broken one is reported."""

    def shape(value: Any, path: str) -> Iterator[Problem]:
        if not isinstance(value, str):
            yield not_a("a text", value, path)
            return
        complaint = next((said for said in (rule(value) for rule in rules) if said is not None), None)
        if complaint is not None:
            yield Problem(path, complaint)

    return shape


def not_empty(value: str) -> str | None:
    """Refuse the empty text."""
    return None if value else "must not be empty"


def matching(pattern: str, says: str, *, secret: bool = False) -> Rule:
    """Refuse a text that the pattern does not match as a whole; a secret is not repeated in the message."""
    compiled = re.compile(pattern)

    def rule(value: str) -> str | None:
        if compiled.fullmatch(value):
            return None
        return f"must be {says}" if secret else f"must be {says}, not {shown(value)}"

    return rule


def one_of(*words: str) -> Shape:
    """Accept one of these texts."""

    def rule(value: str) -> str | None:
        if value in words:
            return None
        return f"must be {_alternatives(words)}, not {shown(value)}{near(value, words)}"

    return text(rule)


def whole(lowest: int, highest: int, *, or_zero: bool = False) -> Shape:
    """Accept a whole number from `lowest` to `highest`."""

    def shape(value: Any, path: str) -> Iterator[Problem]:
        if isinstance(value, bool) or not isinstance(value, int):
            yield not_a("a whole number", value, path)
        elif not (lowest <= value <= highest or (or_zero and value == 0)):
            given = f", not {value}" if abs(value) <= SHOWN_NUMBER_MAX else ""  # Python refuses to write huge ones.
            yield Problem(path, f"must be {'0 or ' if or_zero else ''}from {lowest} to {highest}{given}")

    return shape


def each(shape: Shape, *, lowest: int = 0, highest: int | None = None) -> Shape:
    """Accept a list whose items all have this shape."""

    def listed(value: Any, path: str) -> Iterator[Problem]:
        if not isinstance(value, list):
            yield not_a("a list", value, path)
            return
        yield from _count(len(value), lowest, highest, path)
        for index, item in enumerate(value):
            yield from shape(item, at(path, index))

    return listed


def entries(shape: Shape, *, named: Rule = not_empty, lowest: int = 0, highest: int | None = None) -> Shape:
    """Accept an object whose keys are free names and whose values all have this shape."""

    def keyed(value: Any, path: str) -> Iterator[Problem]:
        if not isinstance(value, dict):
            yield not_a("an object", value, path)
            return
        yield from _count(len(value), lowest, highest, path)
        for key, item in value.items():
            if not isinstance(key, str):
                continue  # Said already by whoever looked whether the config can be read.
            complaint = named(key)
            if complaint is not None:
                yield Problem(at(path, key), f"the name {complaint}")
            yield from shape(item, at(path, key))

    return keyed


@dataclass(frozen=True)
class Table:
    """An object with known keys."""

    required: Mapping[str, Shape] = field(default_factory=dict)
    optional: Mapping[str, Shape] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    """Keys that Crossbar.io knows and that are not accepted here, each with the reason."""

    also: Shape = anything
    """What no key shows alone; it is given an object of which nothing else is certain."""

    def __call__(self, value: Any, path: str) -> Iterator[Problem]:
        """Be a shape."""
        if not isinstance(value, dict):
            yield not_a("an object", value, path)
            return
        unknown = 0
        for key, item in value.items():
            shape = self.required.get(key) or self.optional.get(key)
            if shape is not None:
                yield from shape(item, at(path, key))
            elif key in self.refused:
                yield Problem(at(path, key), self.refused[key])
            elif isinstance(key, str):
                unknown += 1
                yield Problem(at(path, key), self._unknown(key, suggest=unknown <= SUGGESTIONS_MAX))
        for key in self.required:
            if key not in value:
                yield Problem(at(path, key), "is missing")
        yield from self.also(value, path)

    def _unknown(self, key: str, *, suggest: bool) -> str:
        known = [*self.required, *self.optional]
        hint = near(key, known) if suggest else ""
        if hint or len(known) > KNOWN_SHOWN_MAX:
            return f"is an unknown key{hint}"
        return f"is an unknown key; known here: {', '.join(known)}"


@dataclass(frozen=True)
class Variants:
    """An object whose shape depends on a text in it."""

    kinds: Mapping[str, Shape]
    refused: Mapping[str, str] = field(default_factory=dict)
    key: str = "type"

    def __call__(self, value: Any, path: str) -> Iterator[Problem]:
        """Be a shape."""
        if not isinstance(value, dict):
            yield not_a("an object", value, path)
            return
        where = at(path, self.key)
        if self.key not in value:
            yield Problem(where, f"is missing; it must be {_alternatives(list(self.kinds))}")
            return
        kind = value[self.key]
        if isinstance(kind, str) and kind in self.kinds:
            yield from self.kinds[kind](value, path)
        elif isinstance(kind, str) and kind in self.refused:
            yield Problem(where, self.refused[kind])
        else:
            yield from one_of(*self.kinds)(kind, where)


def _alternatives(words: Sequence[str]) -> str:
    quoted = [shown(word) for word in words]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"


def _count(count: int, lowest: int, highest: int | None, path: str) -> Iterator[Problem]:
    if count < lowest:
        yield Problem(path, "must not be empty" if lowest == 1 else f"must have at least {lowest} entries")
    if highest is not None and count > highest:
        yield Problem(path, f"has {count} entries; at most {highest} are allowed")


def _kind_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    names = {dict: "an object", list: "a list", str: "a text", int: "a number", float: "a number"}
    return names.get(type(value), f"a value of type {type(value).__name__}")
