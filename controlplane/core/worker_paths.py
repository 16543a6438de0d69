"""Paths into what is known of a worker, in JSONPath: `$.details.cpu_seconds`, `status`, `addresses[*].url`.

A path comes from a caller, so it may only do what takes time in proportion to the worker: go to fields, elements and
slices, and at most twice to anything below. Unions, filters and the way back up multiply what is found with each step.
"""

from collections.abc import Iterator
from typing import Any

from jsonpath_ng import Child, Descendants, Fields, Index, JSONPath, Root, Slice, This
from jsonpath_ng.exceptions import JSONPathError
from jsonpath_ng.parser import parse

LENGTH_MAX = 256
ANYTHING_BELOW_MAX = 2
DETAILS = "details"
ADMITTED = "may have fields, [n], [a:b], * and .. only"
STEPS = frozenset("|&`?()")
"""Signs of steps that are not admitted; the library warns of some of them before they can be seen."""


NONE = object()
"""What is found where a path leads nowhere; not None, which a field may well be."""


class BadPath(ValueError):
    """The path is none, or one of a kind that is not admitted; the message says which."""


class WorkerPath:
    """A path that was read."""

    def __init__(self, text: str) -> None:
        """Read a path; raises `BadPath`."""
        if not text.strip():
            raise BadPath("is empty")
        if len(text) > LENGTH_MAX:
            raise BadPath(f"has {len(text)} characters; {LENGTH_MAX} are admitted")
        if not STEPS.isdisjoint(text):
            raise BadPath(f"{ADMITTED}, and none of {' '.join(sorted(STEPS))}")
        try:
            self._parsed: JSONPath = parse(text)
        except (JSONPathError, RecursionError, ValueError, TypeError, AttributeError) as problem:
            raise BadPath(f"is no JSONPath: {problem}") from None
        parts = list(_parts(self._parsed))
        strange = next((part for part in parts if not _is_plain(part)), None)
        if strange is not None:
            kind = "union" if isinstance(strange, Fields | Index) else type(strange).__name__.lower()
            raise BadPath(f"{ADMITTED}, and no {kind}")
        if sum(isinstance(part, Descendants) for part in parts) > ANYTHING_BELOW_MAX:
            raise BadPath(f"has .. more than {ANYTHING_BELOW_MAX} times")
        self.of_details = any(isinstance(part, Fields) and DETAILS in part.fields for part in parts)
        """Whether it asks for what only an agent can say."""

    def first(self, record: Any) -> Any:
        """Return the first thing that the path leads to, or `NONE`."""
        try:
            found = self._parsed.find(record)
        except (TypeError, ValueError, KeyError, IndexError, AttributeError):
            # An index into a number, say: the path leads nowhere there.
            return NONE
        return found[0].value if found else NONE


def _parts(path: JSONPath) -> Iterator[JSONPath]:
    waiting = [path]
    while waiting:
        part = waiting.pop()
        yield part
        if isinstance(part, Child | Descendants):
            waiting += [part.right, part.left]


def _is_plain(part: JSONPath) -> bool:
    if type(part) is Fields:
        return len(part.fields) == 1
    if type(part) is Index:
        return len(part.indices) == 1
    return type(part) in (Child, Descendants, Root, This, Slice) or type(part).__name__ == "Wildcard"
