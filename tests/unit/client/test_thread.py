"""A reactor in a thread of its own: for many threads at once, and gone when it is closed."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from twisted.internet.defer import CancelledError, Deferred

from controlplane.client.thread import NAME, ReactorThread
from controlplane.clock import sleep
from controlplane.errors import NoAnswer


def alive() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == NAME]


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def thread():
    made = ReactorThread()
    yield made
    made.close(lambda: None)
    assert alive() == []


async def value(given):
    return given


def test_what_is_done_there_comes_back_here(thread):
    assert thread.do(lambda: value(5)) == 5

    async def where():
        return threading.current_thread().name

    assert thread.do(where) == NAME

    async def fails():
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        thread.do(fails)


def test_what_fails_before_there_is_anything_to_wait_for_comes_back_as_well(thread):
    def fails():
        raise KeyError("never begun")

    with pytest.raises(KeyError, match="never begun"):
        thread.do(fails)


def test_many_threads_use_it_at_once(thread):
    meeting: Deferred[None] = Deferred()
    waiting = []

    async def meet(number):
        waiting.append(number)
        if len(waiting) == 8:
            meeting.callback(None)
        elif not meeting.called:
            joined: Deferred[None] = Deferred()
            meeting.addCallback(lambda _: joined.callback(None))
            await joined
        return number

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(lambda number: thread.do(lambda: meet(number)), range(8))) == list(range(8))


def test_closing_tells_who_waits_and_leaves_nothing_behind():
    ReactorThread().close(lambda: None)  # Whatever Twisted opens once and keeps.
    before = open_files()
    for _ in range(5):
        thread = ReactorThread()
        begun = threading.Event()
        problems = []

        async def for_ever(begun=begun):
            begun.set()
            await Deferred()

        def wait(thread=thread, work=for_ever, problems=problems):
            try:
                thread.do(work)
            except NoAnswer as problem:
                problems.append(problem)

        waiter = threading.Thread(target=wait)
        waiter.start()
        begun.wait(30)
        last = []
        thread.close(lambda last=last: last.append(threading.current_thread().name))
        thread.close(lambda: None)
        waiter.join(30)
        assert (len(problems), last) == (1, [NAME])
        with pytest.raises(NoAnswer, match="closed"):
            thread.do(lambda: value(1))
    assert alive() == []
    assert open_files() == before


def test_who_gives_up_waiting_has_it_given_up_there(thread):
    ended = threading.Event()

    async def long():
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await sleep(thread.reactor, 3600)
        except CancelledError:
            ended.set()
            raise

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            thread.do(long)
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.wait(30)


def test_its_own_thread_cannot_wait_for_itself(thread):
    async def inside():
        return thread.do(lambda: value(1))

    with pytest.raises(RuntimeError, match="for ever"):
        thread.do(inside)
