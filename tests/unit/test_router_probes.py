"""When silence means that a process hangs."""

import os

import pytest
from autobahn.wamp.exception import ApplicationError
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from controlplane.clock import limit
from controlplane.drivers.processes import Glance, State
from controlplane.drivers.router.probes import (
    ANSWER_LIMIT_S,
    BUSY_MISSES_MAX,
    MISSES_MAX,
    PERIOD_S,
    Probe,
    guilt_through,
)

SECOND = 1_000_000_000
IDLE = (Glance(State.OTHER, 0), Glance(State.OTHER, SECOND // 100))
BUSY = (Glance(State.OTHER, 0), Glance(State.OTHER, SECOND * 9 // 10))
HELD = (Glance(State.OTHER, 0), Glance(State.HELD, SECOND * 9 // 10))


@pytest.mark.parametrize(
    ("worker", "node", "seconds", "misses"),
    [
        (IDLE, IDLE, 1.0, MISSES_MAX),
        (IDLE, None, 1.0, MISSES_MAX),
        (HELD, IDLE, 1.0, MISSES_MAX),
        (BUSY, IDLE, 1.0, BUSY_MISSES_MAX),
        (BUSY, None, 1.0, BUSY_MISSES_MAX),
        (IDLE, BUSY, 1.0, BUSY_MISSES_MAX),
        (HELD, BUSY, 1.0, BUSY_MISSES_MAX),
        (IDLE, HELD, 1.0, None),
        (IDLE, IDLE, 1.6, None),
    ],
)
def test_silence_weighs_as_much_as_it_says(worker, node, seconds, misses):
    expected = 0 if misses is None else 1 / misses
    assert guilt_through(node, *worker, seconds) == expected


class Asked:
    """A process that answers, or does not, as told."""

    def __init__(self, clock):
        self.clock = clock
        self.answer = lambda: succeed(None)
        self.hung = []
        self.probe = Probe(clock, os.getpid(), self.ask, self.hung.append)

    async def ask(self):
        await limit(self.clock, self.answer(), ANSWER_LIMIT_S, "it")

    def pass_seconds(self, seconds):
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)


@pytest.fixture
def asked():
    found = Asked(Clock())
    yield found
    found.probe.close()


def test_a_process_that_answers_is_never_given_up(asked):
    asked.pass_seconds(100)
    assert asked.hung == []


def test_two_silences_are_enough(asked):
    asked.answer = Deferred
    asked.pass_seconds(PERIOD_S + 1.9 * ANSWER_LIMIT_S)
    assert asked.hung == []
    asked.pass_seconds(0.3)
    assert asked.hung == ["did not answer for 2 s and was killed"]


def test_one_silence_is_forgiven(asked):
    for _ in range(10):
        answers = iter([Deferred()])
        asked.answer = lambda answers=answers: next(answers, succeed(None))
        asked.pass_seconds(PERIOD_S + ANSWER_LIMIT_S + 1)
        assert next(answers, None) is None
    assert asked.hung == []


def test_a_link_that_is_lost_says_nothing_about_the_process(asked):
    def fail():
        raise ApplicationError("wamp.error.canceled")

    asked.answer = fail
    asked.pass_seconds(60)
    assert asked.hung == []


def test_nothing_is_asked_after_the_end(asked):
    asked.probe.close()
    asked.answer = Deferred
    asked.pass_seconds(10)
    assert asked.hung == []
