from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from controlplane.loop import PASSES_PER_TURN_MAX, RETRY_PAUSE_MAX_S, Loop


class Passes:
    """A loop whose passes the test ends itself."""

    def __init__(self, **options):
        self.clock = Clock()
        self.begun = []
        self.waiting = {}
        self.answers = {}
        self.loop = Loop("test", self.clock, self.work, **options)

    async def work(self, key):
        self.begun.append(key)
        if key in self.answers:
            return await self.answers[key]()
        self.waiting[key] = Deferred()
        return await self.waiting[key]

    def end(self, key, result=None):
        self.waiting.pop(key).callback(result)


def answer(result=None):
    async def give():
        return result

    return give


async def fail():
    raise ZeroDivisionError


def test_a_woken_key_has_one_pass():
    passes = Passes()
    passes.answers["a"] = answer()
    passes.loop.wake("a")
    passes.loop.wake("a")
    passes.clock.advance(0)
    assert passes.begun == ["a"]
    passes.clock.advance(100)
    assert passes.begun == ["a"]


def test_a_key_woken_during_its_pass_has_another_and_never_two_at_a_time():
    passes = Passes()
    passes.loop.wake("a")
    passes.clock.advance(0)
    passes.loop.wake("a")
    passes.loop.wake("a")
    passes.clock.advance(1)
    assert passes.begun == ["a"]
    passes.end("a")
    passes.clock.advance(0)
    assert passes.begun == ["a", "a"]
    passes.end("a")
    passes.clock.advance(1)
    assert passes.begun == ["a", "a"]


def test_a_pass_that_wakes_its_own_key_has_another_one():
    passes = Passes()
    left = [3]

    async def again():
        left[0] -= 1
        if left[0]:
            passes.loop.wake("a")

    passes.answers["a"] = again
    passes.loop.wake("a")
    for _ in range(10):
        passes.clock.advance(0)
    assert passes.begun == ["a"] * 3


def test_a_pass_says_when_to_look_again():
    passes = Passes()
    passes.answers["a"] = answer(5)
    passes.loop.wake("a")
    passes.clock.advance(0)
    passes.clock.advance(4.9)
    assert passes.begun == ["a"]
    passes.clock.advance(0.2)
    passes.clock.advance(0)
    assert passes.begun == ["a", "a"]


def test_a_key_that_waits_can_be_woken_earlier():
    passes = Passes()
    passes.answers["a"] = answer(5)
    passes.loop.wake("a")
    passes.clock.advance(0)
    passes.loop.wake("a")
    passes.clock.advance(0)
    assert passes.begun == ["a", "a"]
    passes.clock.advance(4)
    assert passes.begun == ["a", "a"]


def test_waking_later_keeps_the_earlier_date():
    passes = Passes()
    passes.answers["a"] = answer()
    passes.loop.wake_after("a", 2)
    passes.loop.wake_after("a", 5)
    passes.clock.advance(2)
    passes.clock.advance(0)
    assert passes.begun == ["a"]
    passes.clock.advance(10)
    assert passes.begun == ["a"]


def test_an_exception_ends_neither_the_loop_nor_the_key():
    passes = Passes()
    passes.answers["a"] = fail
    passes.answers["b"] = answer()
    passes.loop.wake("a")
    passes.loop.wake("b")
    passes.clock.advance(0)
    assert passes.begun == ["a", "b"]
    for _ in range(2000):
        passes.clock.advance(0.1)
    count = passes.begun.count("a")
    assert 8 < count < 8 + 200 / RETRY_PAUSE_MAX_S + 3
    passes.answers["a"] = answer()
    for _ in range(400):
        passes.clock.advance(0.1)
    assert passes.begun.count("a") in (count, count + 1)
    assert not passes.clock.getDelayedCalls()


def test_only_so_many_passes_at_a_time():
    passes = Passes(parallel_max=2)
    for key in "abcd":
        passes.loop.wake(key)
    passes.clock.advance(0)
    assert passes.begun == ["a", "b"]
    passes.end("a")
    passes.clock.advance(0)
    assert passes.begun == ["a", "b", "c"]
    passes.end("b")
    passes.end("c")
    passes.clock.advance(0)
    assert passes.begun == ["a", "b", "c", "d"]


def test_many_woken_keys_do_not_all_run_in_one_turn():
    passes = Passes()
    for key in range(PASSES_PER_TURN_MAX * 2):
        passes.answers[key] = answer()
        passes.loop.wake(key)
    others_turn = []
    passes.clock.callLater(0, lambda: others_turn.append(len(passes.begun)))
    passes.clock.advance(0)
    assert others_turn == [PASSES_PER_TURN_MAX]
    assert len(passes.begun) == PASSES_PER_TURN_MAX * 2


def test_a_closed_loop_begins_nothing_and_leaves_nothing_scheduled():
    from twisted.internet.defer import ensureDeferred

    passes = Passes()
    passes.answers["b"] = answer(5)
    passes.loop.wake("a")
    passes.loop.wake("b")
    passes.clock.advance(0)
    done = ensureDeferred(passes.loop.close())
    assert done.called
    passes.loop.wake("c")
    passes.loop.wake_after("d", 1)
    passes.clock.advance(10)
    assert passes.begun == ["a", "b"]
    assert not passes.clock.getDelayedCalls()
