"""One process of a worker, from the moment it is asked for to its end."""

import os
import signal
from uuid import uuid4

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from controlplane.drivers.processes import identify, kill, spawn
from controlplane.drivers.router.notes import WorkerNote
from controlplane.drivers.router.running import LEAVE_LIMIT_S, STALE_LIMIT_S, Phase, Running
from controlplane.drivers.router.workers import Description
from controlplane.errors import WorkerFailed


class TurnedReactor(Clock):
    """The real reactor's descriptors on a clock that the test turns."""

    addReader = staticmethod(reactor.addReader)  # noqa: N815
    removeReader = staticmethod(reactor.removeReader)  # noqa: N815


class Node:
    """A node with one worker, which is a process that sleeps."""

    pid = None

    def __init__(self, process):
        self.process = process
        self.stops = 0
        self.refuses = False
        self.is_linked = True

    async def linked(self):
        return self.is_linked

    async def ask(self, worker_id, timeout):
        return None

    async def stop(self, worker_id):
        self.stops += 1
        if self.refuses:
            raise WorkerFailed("no")
        os.kill(self.process.pid, signal.SIGTERM)

    async def describe(self, worker_id):
        alive = identify(self.process.pid) == self.process
        return Description("started", self.process.pid, 1) if alive else None


@pytest.fixture
def node():
    descriptor = os.open(os.devnull, os.O_WRONLY)
    process = spawn(["/bin/sleep", "60"], dict(os.environ), descriptor)
    os.close(descriptor)
    yield Node(process)
    kill(process)


@pytest.fixture
def clock():
    return TurnedReactor()


@pytest.fixture
def running(node, clock):
    ended = Deferred()
    found = Running(clock, node, node, uuid4(), "w1", lambda who, reason: ended.callback((who.phase, reason)))
    found.end_seen = ended
    yield found
    found.let_go()


def serve(running, node):
    running.watch(node.process)
    note = WorkerNote(
        oid=running.oid, digest="d", kind="router", worker_id="w1", process=node.process, started=1, cluster="c"
    )
    running.serve(note)


@pytest_twisted.ensureDeferred
async def test_a_worker_that_left_its_node_has_a_moment_to_end_and_is_killed_then(running, node, clock):
    serve(running, node)
    for _ in range(50):
        running.left_node()
    assert len(clock.getDelayedCalls()) == 2, "one for the probe and one for all that was said"
    clock.advance(LEAVE_LIMIT_S - 0.1)
    await deferLater(reactor, 0.05)
    assert not running.end_seen.called
    clock.advance(0.2)
    seen = await running.end_seen.addTimeout(2, reactor)
    assert seen == (Phase.SERVING, "left its node and was killed")
    await deferLater(reactor, 0)
    assert running.phase is Phase.ENDED


@pytest_twisted.ensureDeferred
async def test_a_worker_that_is_to_be_replaced_is_not_kept_for_ever(running, node, clock):
    serve(running, node)
    running.outlive()
    for _ in range(int(STALE_LIMIT_S) + 1):
        clock.advance(1)
    assert await running.end_seen.addTimeout(2, reactor) == (Phase.STALE, "killed by signal 9")


@pytest_twisted.ensureDeferred
async def test_a_worker_is_stopped_in_order(running, node):
    serve(running, node)
    await running.stop()
    assert running.ending == "killed by signal 15"
    assert identify(node.process.pid) is None
    await running.stop()
    assert node.stops == 1


@pytest_twisted.ensureDeferred
async def test_a_worker_that_cannot_be_stopped_in_order_is_killed(running, node):
    serve(running, node)
    node.refuses = True
    await running.stop()
    assert running.ending == "killed by signal 9"


@pytest_twisted.ensureDeferred
async def test_a_worker_that_was_held_is_not_asked(running, node):
    serve(running, node)
    os.kill(node.process.pid, signal.SIGSTOP)
    await deferLater(reactor, 0.05)
    await running.stop()
    assert node.stops == 0
    assert running.ending == "killed by signal 9"


@pytest_twisted.ensureDeferred
async def test_a_process_of_which_only_the_name_is_known_is_found_and_ended(running, node):
    await running.discard()
    assert running.ending == "killed by signal 9"
    await running.discard()


@pytest_twisted.ensureDeferred
async def test_without_its_node_there_is_nothing_to_find(running, node):
    node.is_linked = False
    await running.discard()
    assert running.ending is None


@pytest_twisted.ensureDeferred
async def test_a_process_that_died_is_known_to_have_died_before_it_is_noticed(running, node):
    assert not running.has_died()
    running.watch(node.process)
    assert not running.has_died()
    os.kill(node.process.pid, signal.SIGKILL)
    while identify(node.process.pid) is not None:
        pass
    assert running.has_died()
    await running.gone()
    assert running.has_died()
