"""Defects that are planted to see that histories find them; each is a patch of the product from outside."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.defer import succeed

from controlplane.errors import IdempotencyConflict
from controlplane.services import idempotency
from controlplane.services.clusters import update_routercluster
from controlplane.services.pipeline import Pipeline
from controlplane.store.catalog import OUTCOMES
from controlplane.store.database import Change, Store

DEFECTS: dict[str, Callable[[], None]] = {}
EVERY = 4
"""So seldom does a defect strike that would otherwise be seen at once."""


def defect(plant: Callable[[], None]) -> Callable[[], None]:
    DEFECTS[plant.__name__] = plant
    return plant


@defect
def a_read_is_stale() -> None:
    """A question is answered as it was answered the last time."""
    right = Pipeline._look
    answers: dict[str, Any] = {}
    asked = 0

    async def wrong(self: Any, caller: Any, declared: Any, bound: Any) -> Any:
        nonlocal asked
        key = repr((declared.uri, bound))
        asked += 1
        if key in answers and asked % EVERY == 0:
            return answers[key]
        answers[key] = await right(self, caller, declared, bound)
        return answers[key]

    Pipeline._look = wrong  # type: ignore[method-assign]


@defect
def an_update_is_lost() -> None:
    """What is there is read before the call's turn to write, so that a change in between is written over."""
    right = Pipeline._change

    async def wrong(self: Any, caller: Any, declared: Any, args: Any, kwargs: Any) -> Any:
        if kwargs.get("idempotency_key") is not None or declared.function is not update_routercluster:
            return await right(self, caller, declared, args, kwargs)
        bound = declared.bind(args, kwargs, self._limits)
        with self._store.read() as view:
            parsed = declared.parse(bound, view)

        def work(change: Change) -> Any:
            identity = self._permit(caller, declared, bound, change)
            return self._write(caller, identity, declared, parsed, change, {})

        return await self._store.write(work)

    Pipeline._change = wrong  # type: ignore[method-assign]


@defect
def a_key_counts_for_nothing() -> None:
    """A call with a key is made as often as it is sent."""
    idempotency.Key.recall = lambda *_: None  # type: ignore[assignment,method-assign]


@defect
def another_call_gets_the_answer_of_a_key() -> None:
    """It is not noticed that a key was used for another call."""
    right = idempotency.Key.recall

    def wrong(self: Any, *args: Any) -> Any:
        try:
            return right(self, *args)
        except IdempotencyConflict:
            self._call = args[0].rows(OUTCOMES).find(self._principal, self._key).call
            return right(self, *args)

    idempotency.Key.recall = wrong  # type: ignore[method-assign]


@defect
def an_error_is_not_remembered() -> None:
    """A repetition of a call that ended in an error makes it anew."""
    right = idempotency.Key.keep

    def wrong(self: Any, change: Any, now: Any, limits: Any, outcome: Any) -> None:
        if isinstance(outcome, idempotency.Result):
            right(self, change, now, limits, outcome)

    idempotency.Key.keep = wrong  # type: ignore[method-assign]


@defect
def an_answer_comes_before_the_change() -> None:
    """A change is answered when it was tried, and written a little later."""
    right = Store.write

    class Tried(Exception):
        pass

    def wrong(self: Any, work: Any) -> Any:
        found: list[Any] = []

        def attempt(change: Change) -> None:
            found.append(work(change))
            raise Tried

        try:
            with self._engine.write() as transaction, transaction.child() as nested:
                attempt(Change(nested))
        except Tried:
            self._clock.callLater(0.02, lambda: right(self, work).addErrback(lambda _: None))
            return succeed(found[0])
        except Exception:
            pass
        return right(self, work)

    Store.write = wrong  # type: ignore[method-assign]


@defect
def a_change_is_answered_and_dropped() -> None:
    """Now and then a change is answered and never written."""
    right = Pipeline._write_permitted
    made = 0

    def wrong(self: Any, caller: Any, declared: Any, bound: Any, change: Any, answers: Any) -> Any:
        nonlocal made
        made += declared.uri.endswith("update_routercluster")
        if made % EVERY or not declared.uri.endswith("update_routercluster"):
            return right(self, caller, declared, bound, change, answers)
        reply: list[Any] = []

        class Dropped(Exception):
            pass

        try:
            with change.nested() as inner:
                reply.append(right(self, caller, declared, bound, inner, answers))
                raise Dropped
        except Dropped:
            return reply[0]

    Pipeline._write_permitted = wrong  # type: ignore[method-assign]


PATCHED = (
    (Pipeline, ("_look", "_write_permitted", "_change")),
    (idempotency.Key, ("recall", "keep")),
    (Store, ("write",)),
)


@contextmanager
def planted(name: str) -> Iterator[None]:
    """Have a defect for a while."""
    before = [(kind, attribute, getattr(kind, attribute)) for kind, attributes in PATCHED for attribute in attributes]
    DEFECTS[name]()
    try:
        yield
    finally:
        for kind, attribute, right in before:
            setattr(kind, attribute, right)
