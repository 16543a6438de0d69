"""The process that keeps the port of a node's uplink while no agent is there."""

import os
import shutil
import signal
import socket
import time
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from controlplane.drivers.processes import identify, kill
from controlplane.drivers.router.held import ANSWER_LIMIT_S, HeldSocket


@pytest.fixture
def directory(tmp_path):
    path = tmp_path / ("a-long-name-" * 10)
    path.mkdir()
    yield path
    for pid in holders(path):
        kill(identify(pid))


def holders(directory):
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if b"holder.py" in command and str(directory).encode() in command:
            found.append(int(entry.name))
    return found


async def until(condition):
    limit = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < limit
        await deferLater(reactor, 0.05)


def own_bytes(pid):
    """Memory that a process does not share with others."""
    fields = dict(line.split()[:2] for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return (int(fields["Private_Clean:"]) + int(fields["Private_Dirty:"])) * 1024


@pytest_twisted.ensureDeferred
async def test_the_port_outlives_us_and_is_handed_to_who_comes_next(directory):
    first = HeldSocket(reactor, directory)
    await first.open(0)
    port = first.port
    await until(lambda: holders(directory))
    first.let_go()

    waiting = socket.create_connection(("127.0.0.1", port))
    second = HeldSocket(reactor, directory)
    taken = await second.open(0)
    assert second.port == port
    accepted, peer = taken.accept()
    assert peer == waiting.getsockname()
    for each in (accepted, waiting):
        each.close()
    assert len(holders(directory)) == 1
    began = time.monotonic()
    await second.close()
    assert time.monotonic() - began < ANSWER_LIMIT_S, "it was told to end and did"
    assert holders(directory) == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


@pytest_twisted.ensureDeferred
async def test_there_is_one_holder_only_and_it_is_small(directory):
    ours = [HeldSocket(reactor, directory) for _ in range(3)]
    for each in ours:
        await each.open(0)
    assert len({each.port for each in ours}) == 1
    (pid,) = holders(directory)
    assert own_bytes(pid) < 6 * 1024 * 1024
    for each in ours[1:]:
        each.let_go()
    await ours[0].close()


@pytest_twisted.ensureDeferred
async def test_a_holder_that_is_killed_is_replaced_and_nobody_notices(directory):
    held = HeldSocket(reactor, directory)
    await held.open(0)
    await until(lambda: holders(directory))
    (pid,) = holders(directory)
    os.kill(pid, signal.SIGKILL)
    await until(lambda: holders(directory) not in ([], [pid]))
    port = held.port
    held.let_go()
    again = HeldSocket(reactor, directory)
    await again.open(0)
    assert again.port == port
    await again.close()


@pytest_twisted.ensureDeferred
async def test_a_holder_that_hangs_is_killed_and_the_same_port_taken_again(directory):
    held = HeldSocket(reactor, directory)
    await held.open(0)
    port = held.port
    await until(lambda: holders(directory))
    (pid,) = holders(directory)
    await deferLater(reactor, 0.2)
    held.let_go()
    os.kill(pid, signal.SIGSTOP)
    again = HeldSocket(reactor, directory)
    await again.open(port)
    assert again.port == port
    assert holders(directory) != [pid]
    await again.close()


@pytest_twisted.ensureDeferred
async def test_a_holder_whose_directory_vanishes_ends(directory):
    held, again = HeldSocket(reactor, directory), HeldSocket(reactor, directory)
    await held.open(0)
    await again.open(0)
    held.let_go()
    again.let_go()
    shutil.rmtree(directory)
    await until(lambda: not holders(directory))


@pytest_twisted.ensureDeferred
async def test_a_port_that_is_taken_is_not_insisted_on(directory):
    with socket.create_server(("127.0.0.1", 0)) as other:
        held = HeldSocket(reactor, directory)
        await held.open(other.getsockname()[1])
        assert held.port != other.getsockname()[1]
        await held.close()
