"""The checker of histories says yes to what has an order and no to what has none."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.histories.checker import NEVER, Operation, explain, is_linearisable


class Register:
    """A value that is written and read."""

    def initial(self, thing):
        return 0

    def apply(self, state, operation):
        return (operation.argument, "ok") if operation.verb == "write" else (state, state)

    def agree(self, expected, seen):
        return expected == seen


def call(verb, argument, begun, ended, outcome, client=0, thing="x"):
    return Operation(client, verb, argument, begun, ended, outcome, thing)


def write(value, begun, ended=NEVER):
    return call("write", value, begun, ended, "ok" if ended != NEVER else None)


def get(seen, begun, ended):
    return call("get", None, begun, ended, seen)


RIGHT = {
    "nothing at all": [],
    "one after the other": [write(1, 1, 2), get(1, 3, 4)],
    "a read beside a write sees it or not": [write(1, 1, 6), get(0, 2, 3), get(1, 4, 5)],
    "a write without an answer is seen later": [write(1, 1), get(0, 2, 3), get(1, 4, 5)],
    "a write without an answer is never seen": [write(1, 1), get(0, 2, 3), get(0, 4, 5)],
    "two writes at once, in either order": [write(1, 1, 4), write(2, 2, 5), get(1, 6, 7)],
}
WRONG = {
    "a read of what was written over": [write(1, 1, 2), get(0, 3, 4)],
    "a read that goes back": [write(1, 1, 8), get(1, 2, 3), get(0, 4, 5)],
    "a value that nobody wrote": [write(1, 1, 2), get(7, 3, 4)],
    "two reads that see two orders": [write(1, 1, 3), write(2, 2, 4), get(1, 5, 6), get(2, 7, 8)],
    "a write without an answer that is undone": [write(1, 1), get(1, 2, 3), get(0, 4, 5)],
    "a read of the future": [get(1, 1, 2), write(1, 3, 4)],
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_history_that_has_an_order_has_one(name):
    assert explain(RIGHT[name], Register()) is None


@pytest.mark.parametrize("name", WRONG)
def test_a_history_without_an_order_is_shown(name):
    assert "->" in explain(WRONG[name], Register())


def test_objects_are_judged_by_themselves():
    other = [operation._replace(thing="y") for operation in WRONG["a read that goes back"]]
    assert explain(RIGHT["one after the other"] + other, Register()).startswith("y has no order")


@given(data=st.data())
@settings(max_examples=200)
def test_what_came_from_one_call_after_the_other_is_always_accepted(data):
    """Each call takes effect at one moment between its beginning and its end; some are never answered."""
    model, state, moment = Register(), 0, 0
    history = []
    for _ in range(data.draw(st.integers(1, 14))):
        moment += 10
        begun = moment - data.draw(st.integers(0, 60))
        ended = moment + data.draw(st.integers(0, 60))
        operation = call(data.draw(st.sampled_from(["write", "get"])), data.draw(st.integers(1, 3)), begun, ended, None)
        state, answer = model.apply(state, operation)
        lost = data.draw(st.integers(0, 5)) == 0
        history.append(operation._replace(ended=NEVER) if lost else operation._replace(outcome=answer))
    assert is_linearisable(history, model)


@given(data=st.data())
@settings(max_examples=200)
def test_a_value_that_nobody_wrote_is_never_accepted(data):
    test = [write(n, n * 5, n * 5 + data.draw(st.integers(1, 40))) for n in range(1, data.draw(st.integers(2, 10)))]
    begun = data.draw(st.integers(1, 40))
    assert not is_linearisable([*test, get(99, begun, begun + data.draw(st.integers(1, 40)))], Register())
