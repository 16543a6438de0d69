import ctypes
import json
import os
import socket
import stat
import subprocess
import sys
import time

import pytest
from twisted.logger import Logger, globalLogPublisher

from controlplane.errors import AlreadyExists, InvalidConfiguration
from controlplane.keys import ensure_key, make_key, public_key, read_key
from controlplane.logs import _json_writer, _text_writer
from controlplane.paths import SOCKET_NAME_BYTES, SOCKET_PATH_BYTES_MAX, free_port, machine_identity, short_directory
from controlplane.process import lock_directory, notify, real_chance, run_until_stopped


def test_systemd_is_told_when_it_asked(tmp_path, monkeypatch):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        notify("READY=1")
        assert listener.recv(100) == b"READY=1"
    notify("STOPPING=1")  # Nobody listens any more; that is not our problem.
    monkeypatch.delenv("NOTIFY_SOCKET")
    notify("READY=1")


def test_a_directory_is_for_one_process(tmp_path):
    held = lock_directory(tmp_path / "state", "master")
    with pytest.raises(AlreadyExists, match="another master runs"):
        lock_directory(tmp_path / "state", "master")
    os.close(held)
    os.close(lock_directory(tmp_path / "state", "master"))
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_time_only_grows():
    chance = real_chance()
    seen = [chance.now() for _ in range(100)]
    assert seen == sorted(seen)
    assert abs(chance.now() / 1e9 - time.time()) < 5


def test_keys_are_for_their_owner_only_and_are_read_again(tmp_path):
    path = tmp_path / "a.key"
    made = make_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert public_key(read_key(path)) == public_key(made) == public_key(ensure_key(path))
    with pytest.raises(FileExistsError):
        make_key(path)


@pytest.mark.parametrize("content", ["", "xyz", "ab" * 31, "ab" * 33])
def test_what_is_no_key_is_refused(tmp_path, content):
    path = tmp_path / "a.key"
    path.write_text(content)
    with pytest.raises(InvalidConfiguration):
        read_key(path)


def test_directories_of_sockets_are_short_enough_private_and_always_the_same(tmp_path):
    near = short_directory(tmp_path / "s")
    far = short_directory(tmp_path / ("long" * 30))
    for directory in (near, far):
        assert len(os.fsencode(directory)) + 1 + SOCKET_NAME_BYTES <= SOCKET_PATH_BYTES_MAX
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert short_directory(tmp_path / ("long" * 30)) == far
    assert short_directory(tmp_path / ("other" * 30)) != far
    far.rmdir()


def test_agents_of_one_machine_say_the_same_of_it():
    assert machine_identity() == machine_identity()


def test_a_port_that_is_taken_is_not_offered():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]
        assert free_port(taken) != taken
    assert free_port(taken) == taken


class Stream:
    def __init__(self):
        self.lines = []

    def write(self, text):
        self.lines.append(text)

    def flush(self):
        pass


def logged(writer):
    stream = Stream()
    observer = writer("master", stream)
    globalLogPublisher.addObserver(observer)
    try:
        log = Logger(namespace="controlplane.test")
        log.info("worker {oid} runs", oid="x", count=3)
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            log.failure("a pass failed")
    finally:
        globalLogPublisher.removeObserver(observer)
    return stream.lines


def test_logs_as_json_have_one_object_per_line_with_all_their_fields():
    first, second = (json.loads(line) for line in logged(_json_writer))
    assert (
        first.items()
        >= {
            "level": "info",
            "process": "master",
            "module": "controlplane.test",
            "message": "worker x runs",
            "oid": "x",
            "count": 3,
        }.items()
    )
    assert first["time"].endswith("Z")
    assert "ZeroDivisionError" in second["traceback"]


def test_logs_as_text_have_no_colours():
    lines = logged(_text_writer)
    assert lines[0].endswith("info     master: worker x runs\n")
    assert "\x1b" not in "".join(lines)


def test_timers_of_a_process_do_not_follow_the_wall_clock():
    class Reactor:
        """A reactor that ends as soon as it runs."""

        def __init__(self):
            self.seconds = time.time

        def callWhenRunning(self, call):  # noqa: N802
            pass

        def run(self, **_):
            pass

    reactor = Reactor()
    assert run_until_stopped(reactor, None, None) == 0
    assert abs(reactor.seconds() - time.monotonic()) < 60


HEAP = """
import ctypes
from controlplane.process import keep_heap_small

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]


class Room(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena a b c mapped d e f g h".split()]


libc.mallinfo2.restype = Room
before = libc.mallinfo2().arena
{begin}
for _ in range(5):
    block = libc.malloc(16 << 20)
    grown = max(0, libc.mallinfo2().arena - before)
    libc.free(block)
print(grown > 8 << 20)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="only glibc tells of its heap")
def test_large_blocks_do_not_come_from_the_heap():
    for begin, comes_from_heap in (("", "True"), ("keep_heap_small()", "False")):
        command = [sys.executable, "-c", HEAP.replace("{begin}", begin)]
        shown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        assert shown.stdout.strip() == comes_from_heap, begin
