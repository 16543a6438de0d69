"""A reactor of its own in a thread of its own, for programs that have none and want to wait in the plain way.

The process's reactor cannot serve: it runs once in the life of a process, and may be somebody else's. So this is
another one, which nothing else knows of; it is taken down with its thread, and leaves nothing behind.
"""

from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from threading import Lock, Thread, current_thread
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.pollreactor import PollReactor
from twisted.python.failure import Failure

from controlplane.errors import ControlPlaneError, NoAnswer

NAME = "controlplane client"


class ReactorThread:
    """Runs coroutines on a reactor in a thread, for any number of other threads at once."""

    def __init__(self) -> None:
        """Start the thread."""
        self.reactor: Any = PollReactor()
        self._lock = Lock()
        self._closed = False
        self._waiting: set[Future[Any]] = set()
        self._thread = Thread(target=self._run, name=NAME, daemon=True)
        self._thread.start()

    def do(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Run a coroutine function in the thread, and return what it returns, or raise what it raises."""
        if current_thread() is self._thread:
            raise RuntimeError("whoever runs in this thread would wait for ever for themselves")
        result: Future[Any] = Future()
        begun: list[Deferred[Any]] = []

        async def whole() -> Any:
            return await work()  # What is raised before there is a coroutine is raised to the caller as well.

        def begin() -> None:
            begun.append(Deferred.fromCoroutine(whole()))
            begun[0].addCallbacks(lambda value: _settle(result, value), lambda failure: _fail(result, failure))

        def cancel() -> None:
            for each in begun:
                each.cancel()

        try:
            with self._lock:
                if self._closed:
                    raise closed()
                self._waiting.add(result)
                self.reactor.callFromThread(begin)
            return result.result()
        except BaseException:
            # Ctrl-C, say, which may come as soon as the work has begun: nobody waits for it any more.
            if not result.done() and not self._closed:
                self.reactor.callFromThread(cancel)
            raise
        finally:
            with self._lock:
                self._waiting.discard(result)

    def close(self, last: Callable[[], None]) -> None:
        """Do a last thing in the thread and end it; whoever waits for an answer is told that there is none."""
        with self._lock:
            if self._closed:
                return
            self._closed = True

        def stop() -> None:
            last()
            # A turn later, so that what was sent last leaves.
            self.reactor.callLater(0, self.reactor.stop)

        self.reactor.callFromThread(stop)
        self._thread.join()
        for result in list(self._waiting):
            _fail(result, Failure(closed()))

    def _run(self) -> None:
        try:
            self.reactor.run(installSignalHandlers=False)
        finally:
            self.reactor.waker.connectionLost(None)


def closed() -> ControlPlaneError:
    """Return what a caller is told once it is closed."""
    return NoAnswer("the connection was closed", next_step="open another one")


def _settle(result: "Future[Any]", value: Any) -> None:
    if not result.done():
        result.set_result(value)


def _fail(result: "Future[Any]", failure: Any) -> None:
    if not result.done():
        result.set_exception(failure.value)
