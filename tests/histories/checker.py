"""Whether a history of concurrent calls is linearisable: whether it could have come from one call after the other.

The search is that of Wing and Gong with Lowe's memory: of all calls that may come next (nobody else had returned before
they began) one is tried after the other on the plain model. What was tried is remembered as the set of calls that are
placed and the state that they lead to, so no situation is looked at twice. A call that was never answered may have been
made at any time after it began, or never. The history of each object is judged by itself: a history is linearisable
just when those of all its objects are (Herlihy and Wing), and the search is short then.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable
from typing import Any, NamedTuple, Protocol

STEPS_MAX = 2_000_000
NEVER = float("inf")


class Operation(NamedTuple):
    """One call, from its beginning to its answer."""

    client: int
    verb: str
    argument: Hashable
    begun: float
    ended: float
    """`NEVER` when there was no answer."""

    outcome: Hashable
    """What was answered, None when nothing was."""

    thing: Hashable
    """Which object it is about."""

    @property
    def is_answered(self) -> bool:
        return self.ended != NEVER


class Model(Protocol):
    """What the calls of one object shall do, one after the other."""

    def initial(self, thing: Hashable) -> Hashable:
        """Return the state before all calls."""
        ...

    def apply(self, state: Any, operation: Operation) -> tuple[Hashable, Hashable]:
        """Return the state after a call, and what it answers."""
        ...

    def agree(self, expected: Hashable, seen: Hashable) -> bool:
        """Say whether an answer is the one that the model gives."""
        ...


class Undecided(Exception):
    """The search was given up."""


def explain(operations: Iterable[Operation], model: Model) -> str | None:
    """Return None when a history is linearisable, or else a text with the shortest piece of it that is not."""
    things = defaultdict(list)
    for operation in operations:
        things[operation.thing].append(operation)
    for thing, those in things.items():
        if not is_linearisable(those, model):
            return f"{thing} has no order of its calls that explains the answers:\n" + shown(shortest(those, model))
    return None


def is_linearisable(operations: list[Operation], model: Model) -> bool:
    """Say whether the calls of one object have an order that explains all answers; raises `Undecided`."""
    if not operations:
        return True
    calls = sorted(operations, key=lambda operation: operation.begun)
    answered = sum(1 << number for number, call in enumerate(calls) if call.is_answered)
    seen: set[tuple[int, Hashable]] = set()
    stack: list[tuple[int, Hashable]] = [(0, model.initial(calls[0].thing))]
    while stack:
        placed, state = stack.pop()
        if placed & answered == answered:
            return True
        if (placed, state) in seen:
            continue
        seen.add((placed, state))
        if len(seen) > STEPS_MAX:
            raise Undecided(f"{len(calls)} calls have too many orders")
        first_return = NEVER
        following: list[tuple[float, int, int, Hashable]] = []
        for number, call in enumerate(calls):
            if placed >> number & 1:
                continue
            if call.begun > first_return:
                break  # Sorted: all others began after an answer that must come before them, too.
            first_return = min(first_return, call.ended)
            after, answer = model.apply(state, call)
            if model.agree(answer, call.outcome) if call.is_answered else after != state:
                # Without an answer and a change it does not matter whether it was made.
                following.append((call.ended, number, placed | 1 << number, after))
        # What was answered first is tried first: it most likely was made first.
        following.sort(key=lambda each: each[:2], reverse=True)
        stack.extend(each[2:] for each in following)
    return False


def shortest(operations: list[Operation], model: Model) -> list[Operation]:
    """Return a piece of a wrong history that is wrong itself: up to an answer, and without what it does not need."""
    calls = sorted(operations, key=lambda operation: operation.ended)
    for length in range(1, len(calls) + 1):
        if not is_linearisable(_as_of(operations, calls[length - 1].ended), model):
            calls = _as_of(operations, calls[length - 1].ended)
            break
    for call in list(calls):
        if call.verb in READS:
            without = [other for other in calls if other is not call]
            if not is_linearisable(without, model):
                calls = without
    return calls


READS = frozenset({"get", "get_by_name", "list", "get_group", "list_groups"})
"""Verbs that change nothing: without such a call the others are as right as before."""


def _as_of(operations: list[Operation], moment: float) -> list[Operation]:
    """Return a history as it was at a moment: what was answered later is not answered yet."""
    return [
        call if call.ended <= moment else call._replace(ended=NEVER, outcome=None)
        for call in operations
        if call.begun <= moment
    ]


def shown(operations: Iterable[Operation]) -> str:
    """Return a history as people read it, by the time at which calls began."""
    lines = []
    for call in sorted(operations, key=lambda operation: operation.begun):
        until = f"{call.ended:6}" if call.is_answered else " never"
        lines.append(f"  {call.begun:6} {until}  client {call.client}: {call.verb} {call.argument} -> {call.outcome}")
    return "\n".join(lines)
