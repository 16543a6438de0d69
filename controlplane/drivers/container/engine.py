"""The container engine, through the docker SDK: calls in threads of our own, and what it tells by itself.

The SDK blocks, so every call takes a thread of a small pool, and the stream of events one for itself. When the stream
breaks, the engine is asked again and again; when it is back, whoever listens has to look at everything anew, because
nobody knows what was missed.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from controlplane.clock import DelayedCall
from controlplane.drivers.driver import Unavailable
from controlplane.errors import WorkerFailed
from controlplane.records.types import Seconds

THREADS_MAX = 8
FETCHES_MAX = 4
CALL_LIMIT_S = 30.0
RECONNECT_PAUSE_MIN_S = 0.1
RECONNECT_PAUSE_MAX_S = 5.0
AUDIT_EVERY_S = 30.0
"""How often everything is looked at although nothing was told."""

R = TypeVar("R")

log = Logger()


class EngineProblem(Exception):
    """The engine did not do what was asked of it, in words for a user."""


class EngineAway(EngineProblem):
    """The engine does not answer; whether it did what was asked is not certain."""


class Missing(EngineProblem):
    """The engine does not have this."""


@contextmanager
def reported() -> Iterator[None]:
    """Have problems of the engine end as `WorkerFailed`."""
    try:
        yield
    except EngineProblem as problem:
        raise WorkerFailed(str(problem)) from None


class Ears(NamedTuple):
    """Who hears what an engine tells."""

    told: Callable[[Mapping[str, Any]], None]
    """Given an event of a container that is known."""

    renewed: Callable[[], None]
    """Everything has to be looked at."""

    knows: Callable[[str], bool]
    """Whether a container is ours: those that were adopted bear no label, so all events are read, and most passed over.
    Asked in a thread of its own."""


class Engine:
    """Calls of the engine, and what it tells by itself."""

    def __init__(self, reactor: Any, url: str, labels: Mapping[str, str], ears: Ears) -> None:
        self._reactor = reactor
        self._url = url
        self._labels = [f"{name}={value}" for name, value in labels.items()]
        self._told, self._renewed, self._knows = ears
        self._pool = _pool(THREADS_MAX, "container engine")
        self._apart = _pool(FETCHES_MAX, "container images")
        self._clients = threading.local()
        self._stream: Any = None
        self._failures = 0
        self._timer: DelayedCall | None = None
        self.closed = False
        self.version = ""

    async def open(self) -> None:
        """Find the engine, or raise `Unavailable` with why there is none."""
        try:
            import docker  # noqa: F401
        except ImportError:
            raise Unavailable("the Python package docker is not installed: install controlplane[container]") from None
        for pool in (self._pool, self._apart):
            pool.start()
        try:
            found = await self.call(lambda client: client.version())
        except EngineProblem as problem:
            await self.close()
            raise Unavailable(f"{problem}: start one, or say where it is with --engine or DOCKER_HOST") from None
        self.version = str(found.get("Version", ""))
        self._listen()

    def call(self, work: Callable[[Any], R], within: Seconds = CALL_LIMIT_S, apart: bool = False) -> Deferred[R]:
        """Do something with a client of the SDK, in a thread; fails with `EngineProblem`.

        Given up, it goes on to its end in its thread. What may take very long is done apart, and holds up nothing else.
        """
        if self.closed:
            return fail(EngineAway("the container engine is not used any more"))
        pool = self._apart if apart else self._pool
        found: Deferred[R] = deferToThreadPool(self._reactor, pool, self._work, work, within)
        return found

    async def list(self) -> list[dict[str, Any]]:
        """Return all containers of ours, also those that have ended."""
        labels = {"label": self._labels}
        found: list[dict[str, Any]] = await self.call(lambda client: client.containers(all=True, filters=labels))
        return found

    async def remove(self, container: str) -> None:
        """End and remove a container; one that is not there is no error."""
        try:
            await self.call(lambda client: client.remove_container(container, v=True, force=True))
        except Missing:
            pass

    def close(self) -> Deferred[None]:
        """Let go of the engine; threads that wait for it come to their end by themselves."""
        if self.closed:
            return succeed(None)
        self.closed = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        stream, self._stream = self._stream, None
        done: Deferred[None] = Deferred()

        def end() -> None:
            if stream is not None:
                _close_stream(stream)
            self._reactor.callFromThread(done.callback, None)
            for pool in (self._pool, self._apart):
                pool.stop()

        threading.Thread(target=end, daemon=True, name="container engine closes").start()
        return done

    # In threads

    def _work(self, work: Callable[[Any], R], within: Seconds) -> R:
        import docker.errors
        import requests

        try:
            return work(self._client(within))
        except docker.errors.NotFound as problem:
            raise Missing(explain(problem)) from None
        except docker.errors.APIError as problem:
            raise EngineProblem(explain(problem)) from None
        except requests.Timeout:
            raise EngineAway(f"the container engine did not answer within {within:g} s") from None
        except (docker.errors.DockerException, requests.RequestException, OSError) as problem:
            raise EngineAway(
                f"the container engine cannot be reached ({_where(self._url)}): {_short(problem)}"
            ) from None

    def _client(self, within: Seconds) -> Any:
        """Return a client of this thread: the SDK does not promise that threads can share one."""
        kept = self._clients.__dict__.setdefault("kept", {})
        if within not in kept:
            kept[within] = connect(self._url, within)
        return kept[within]

    # Events

    def _listen(self) -> None:
        self._timer = None
        threading.Thread(target=self._read_events, daemon=True, name="container engine events").start()

    def _read_events(self) -> None:
        problem: Exception | None = None
        try:
            client = connect(self._url, None)
            stream = client.events(decode=True, filters={"type": "container"})
            self._reactor.callFromThread(self._connected, stream)
            for event in stream:
                if self._knows(container_of(event)):
                    self._reactor.callFromThread(self._hear, event)
        except Exception as found:
            # Whatever it is: without events we are blind, so they are asked for anew.
            problem = found
        if not self.closed:
            self._reactor.callFromThread(self._broke, problem)

    def _connected(self, stream: Any) -> None:
        if self.closed:
            _close_stream(stream)
            return
        if self._failures:
            log.info("the container engine is back")
        self._failures = 0
        self._stream = stream
        self._audit()

    def _audit(self) -> None:
        if not self.closed and self._stream is not None:
            self._timer = self._reactor.callLater(AUDIT_EVERY_S, self._audit)
            self._renewed()

    def _hear(self, event: Mapping[str, Any]) -> None:
        if not self.closed:
            self._told(event)

    def _broke(self, problem: Exception | None) -> None:
        if self.closed:
            return
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._stream = None
        if not self._failures:
            why = _short(problem) if problem is not None else "it hung up"
            log.warn("the container engine is away ({why}); what runs is believed to run on", why=why)
        self._failures += 1
        pause = min(RECONNECT_PAUSE_MAX_S, RECONNECT_PAUSE_MIN_S * 2.0 ** min(self._failures, 10))
        self._timer = self._reactor.callLater(pause, self._listen)


def _pool(threads: int, name: str) -> ThreadPool:
    pool = ThreadPool(0, threads, name)
    # A program that ends does not wait for a call that nobody waits for.
    pool.threadFactory = lambda *a, **k: threading.Thread(*a, daemon=True, **k)  # type: ignore[assignment]
    return pool


def container_of(event: Mapping[str, Any]) -> str:
    """Return the container that an event is about."""
    return str(event.get("id") or event.get("Actor", {}).get("ID"))


def connect(url: str, within: Seconds | None) -> Any:
    """Return a client of the SDK; `url` empty means DOCKER_HOST or the usual socket."""
    from docker import APIClient
    from docker.utils import kwargs_from_env

    settings: dict[str, Any] = {"base_url": url} if url else kwargs_from_env()
    return APIClient(version="auto", timeout=within, **settings)


def explain(problem: Any) -> str:
    """Return what the engine says about an error."""
    said = problem.explanation
    said = said.decode(errors="replace") if isinstance(said, bytes) else str(said or problem)
    return f"the container engine says: {said.strip()}"


def _close_stream(stream: Any) -> None:
    try:
        stream.close()
    except Exception:
        pass  # It has broken already.


def _where(url: str) -> str:
    return url or "DOCKER_HOST or unix:///var/run/docker.sock"


def _short(problem: Exception) -> str:
    cause: BaseException = problem
    while cause.__context__ is not None:
        cause = cause.__context__
    return str(cause)[:200] or type(problem).__name__
