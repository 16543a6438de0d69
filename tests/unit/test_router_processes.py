"""Watching processes, ours and others', through their pidfds."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from controlplane.drivers.processes import (
    Identity,
    Process,
    State,
    connections,
    glance,
    identify,
    kill,
    output_of,
    spawn,
)

GRANDPARENT = """
import subprocess, sys
child = subprocess.Popen(sys.argv[1:])
print(child.pid, flush=True)
child.wait()
input()
"""


@pytest.fixture
def started():
    """Starts programs and ends them, whatever the test did."""
    found = []

    def start(*arguments, output=os.devnull, inherited=()):
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            found.append(spawn(arguments, dict(os.environ), descriptor, inherited))
        finally:
            os.close(descriptor)
        return found[-1]

    yield start
    for identity in found:
        kill(identity)


@pytest.fixture
def somebody_elses():
    """A process that is no child of ours."""
    parent = subprocess.Popen(
        [sys.executable, "-c", GRANDPARENT, "/bin/sleep", "60"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    pid = int(parent.stdout.readline())
    yield identify(pid)
    parent.kill()
    parent.communicate()
    kill(Identity(pid, 0))


def watch(identity):
    ended = Deferred()
    return Process(reactor, identity, ended.callback), ended


@pytest_twisted.ensureDeferred
async def test_a_child_that_is_killed_is_noticed_and_buried(started):
    identity = started("/bin/sleep", "60")
    process, ended = watch(identity)
    process.send(signal.SIGKILL)
    assert await ended.addTimeout(2, reactor) == "killed by signal 9"
    assert not process.watched
    assert not Path(f"/proc/{identity.pid}").exists()


@pytest_twisted.ensureDeferred
async def test_a_child_that_exits_is_noticed_with_its_code(started):
    _, ended = watch(started("/bin/sh", "-c", "exit 3"))
    assert await ended.addTimeout(2, reactor) == "exited with code 3"


@pytest_twisted.ensureDeferred
async def test_a_process_of_somebody_else_is_noticed_as_well(somebody_elses):
    process, ended = watch(somebody_elses)
    process.send(signal.SIGTERM)
    assert await ended.addTimeout(2, reactor) == "killed by signal 15"


@pytest_twisted.ensureDeferred
async def test_who_waits_for_the_end_is_told(started):
    process, _ = watch(started("/bin/sleep", "60"))
    waiting, given_up = process.end(), process.end()
    given_up.addErrback(lambda _: None)
    given_up.cancel()
    process.send(signal.SIGKILL)
    await waiting.addTimeout(2, reactor)
    await process.end()


@pytest_twisted.ensureDeferred
async def test_a_process_that_was_let_go_of_lives_on_unwatched(started):
    identity = started("/bin/sleep", "60")
    process, ended = watch(identity)
    process.let_go()
    process.send(signal.SIGKILL)
    await deferLater(reactor, 0.05)
    assert identify(identity.pid) == identity
    assert not ended.called


def test_a_pid_that_was_given_to_another_process_is_not_taken_for_the_first(started):
    identity = started("/bin/sleep", "60")
    earlier = Identity(identity.pid, identity.ticks - 1)
    with pytest.raises(ProcessLookupError):
        watch(earlier)
    kill(earlier)
    time.sleep(0.05)
    assert identify(identity.pid) == identity


def test_a_process_outlives_us_in_a_session_of_its_own_and_gets_the_descriptors_it_shall_have(started, tmp_path):
    read, write = os.pipe()
    with socket.socket() as other:
        identity = started(
            "/bin/sh",
            "-c",
            "(echo here >&4); exec sleep 60",
            output=tmp_path / "out",
            inherited=(other.fileno(), write),
        )
    os.close(write)
    assert os.read(read, 100) == b"here\n"
    assert os.getsid(identity.pid) == identity.pid
    assert output_of(identity.pid) == tmp_path / "out"
    assert identify(identity.pid) == identity
    os.close(read)


def test_a_stopped_process_is_seen_to_be_held(started):
    identity = started("/bin/sleep", "60")
    os.kill(identity.pid, signal.SIGSTOP)
    limit = time.monotonic() + 2
    while glance(identity.pid).state is not State.HELD:
        assert time.monotonic() < limit
    assert glance(2**22 + 1).state is State.ENDED


def test_a_busy_process_is_seen_to_be_busy():
    before = glance(os.getpid())
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    assert glance(os.getpid()).busy_ns - before.busy_ns > 150_000_000


def test_connections_to_a_port_are_counted():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert connections(os.getpid(), port) == 0
        with socket.create_connection(("127.0.0.1", port)):
            accepted, _ = server.accept()
            assert connections(os.getpid(), port) == 1
            accepted.close()
