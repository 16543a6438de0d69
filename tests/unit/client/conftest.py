"""The client before the real pipeline over a real store, in one process."""

import pytest
from twisted.internet.defer import Deferred

from controlplane.client.client import Client
from controlplane.client.clustering import Proxy
from controlplane.client.pace import TwistedPace
from controlplane.master.plane import PROCEDURES
from controlplane.records.principals import Caller
from tests.conftest import ADMIN
from tests.simulation.network import decode, encode


class PlaneLine:
    """A line to a plane: what goes over it is encoded as it would be for a router."""

    def __init__(self, plane, caller: Caller = ADMIN) -> None:
        self._plane = plane
        self._caller = caller
        self.calls: list[tuple[str, dict]] = []
        self.faults: list[Exception] = []
        """What the next answers are lost by, after the call was made."""

    def call(self, procedure, *args, **kwargs):
        self.calls.append((procedure, kwargs))
        assert procedure in PROCEDURES, procedure
        args, kwargs = decode(encode(list(args))), decode(encode(kwargs))
        answer = Deferred.fromCoroutine(self._plane.plane.invoke(self._caller, procedure, tuple(args), kwargs))
        answer.addCallback(lambda result: decode(encode(result)))
        return answer.addBoth(self._lose)

    def _lose(self, result):
        if self.faults:
            raise self.faults.pop(0)
        return result


class ClockThread:
    """In the place of a thread: turns the clock until there is an answer."""

    def __init__(self, clock) -> None:
        self._clock = clock

    def do(self, work):
        outcome = []
        Deferred.fromCoroutine(work()).addBoth(outcome.append)
        while not outcome:
            self._clock.advance(0.01)
        if hasattr(outcome[0], "raiseException"):
            outcome[0].raiseException()
        return outcome[0]


@pytest.fixture
def line(plane):
    return PlaneLine(plane)


@pytest.fixture
def client(plane, line):
    return Client(line, pace=TwistedPace(plane.clock))


@pytest.fixture
def wait(plane):
    """Run a coroutine function to its end."""
    return ClockThread(plane.clock).do


@pytest.fixture
def proxy(plane, line):
    return Proxy.over(ClockThread(plane.clock), line, TwistedPace(plane.clock))
