"""Looking whether a worker is ready, and again and again whether it still is well.

One look is a coroutine that returns when all is well and else raises `NotWell` with what it found. It may be cancelled.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, NamedTuple

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectError, DNSLookupError, ProcessDone, ProcessTerminated
from twisted.internet.protocol import Factory, ProcessProtocol, Protocol
from twisted.logger import Logger

from controlplane.clock import Clock, limit, sleep
from controlplane.errors import NoAnswer, WorkerFailed
from controlplane.process import kill_child
from controlplane.records.profiles import (
    CommandCheck,
    ContainerProperties,
    Health,
    HttpCheck,
    ProcessProperties,
    Ready,
    TcpCheck,
)

OUTPUT_SHOWN_MAX = 200
PAGE_READ_MAX = 1_048_576
EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
"""What listens everywhere is asked on loopback."""

Look = Callable[[], Coroutine[Deferred[Any], Any, None]]

log = Logger()


class NotWell(Exception):
    """What a look found, in words that go on after 'it'."""


class Place(NamedTuple):
    """Where a worker can be looked at."""

    reactor: Any
    host: str
    ports: Mapping[str, int]
    run: Callable[[Sequence[str]], Coroutine[Deferred[Any], Any, None]]
    """Run a command as the worker would; raises `NotWell` unless it ends with code 0."""


def look_of(check: TcpCheck | HttpCheck | CommandCheck, place: Place) -> Look:
    """Return what to do to look once."""
    match check:
        case TcpCheck(port=port):
            return lambda: _look_at_port(place, port)
        case HttpCheck():
            return lambda: _look_at_page(place, check)
        case CommandCheck(command=command):
            return lambda: place.run(command)


def looks_of(properties: ProcessProperties | ContainerProperties, place: Place) -> tuple[Look, ...]:
    """Return what to look at when somebody wants to know whether a worker is well."""
    asked = [properties.ready.check, None if properties.health is None else properties.health.check]
    checks = [check for check in asked if isinstance(check, TcpCheck | HttpCheck | CommandCheck)]
    return tuple(look_of(check, place) for number, check in enumerate(checks) if check not in checks[:number])


async def look_at_all(looks: Sequence[Look]) -> None:
    """Return when all is well; raises `WorkerFailed` with the first thing that is not."""
    for look in looks:
        try:
            await look()
        except NotWell as problem:
            raise WorkerFailed(f"it failed its check: {problem}") from None


async def until_well(clock: Clock, look: Look, ready: Ready) -> None:
    """Return when a look finds all well; raises `WorkerFailed` when that takes too long."""
    end = clock.seconds() + ready.timeout
    found = "it was never looked at"
    while (left := end - clock.seconds()) > 0:
        try:
            await limit(clock, ensureDeferred(look()), left, "the check")
        except NotWell as problem:
            found = str(problem)
        except NoAnswer:
            found = found if found != "it was never looked at" else "the check did not come to an end"
            break
        else:
            return
        await sleep(clock, min(ready.interval, max(0.0, end - clock.seconds())))
    raise WorkerFailed(f"it was not ready within {ready.timeout:g} s: {found}")


class Prober:
    """Looks at one worker again and again; `failed` is called once, with the reason."""

    def __init__(self, clock: Clock, look: Look, health: Health, failed: Callable[[str], None]) -> None:
        self._clock = clock
        self._look = look
        self._health = health
        self._failed = failed
        self._running: Deferred[None] = ensureDeferred(self._run())
        self._running.addErrback(self._ended)

    def close(self) -> None:
        """Look no more."""
        self._running.cancel()

    async def _run(self) -> None:
        failures, found = 0, ""
        while failures < self._health.failures:
            await sleep(self._clock, self._health.interval)
            try:
                await limit(self._clock, ensureDeferred(self._look()), self._health.timeout, "it")
            except (NotWell, NoAnswer) as problem:
                failures, found = failures + 1, str(getattr(problem, "message", problem))
            else:
                failures = 0
        times = f"{failures} times in a row" if failures > 1 else "once"
        self._failed(f"failed its health check {times} and was killed: {found}")

    def _ended(self, failure: Any) -> None:
        if not failure.check(CancelledError):
            log.failure("a health check came to an end", failure)


async def run_command(
    reactor: Any, command: Sequence[str], env: Mapping[str, str], cwd: str, user: tuple[int, int] | None
) -> None:
    """Run a command on this machine; raises `NotWell` unless it ends with code 0."""
    ran = _Command()
    uid, gid = user or (None, None)
    try:
        reactor.spawnProcess(ran, command[0], list(command), dict(env), cwd, uid, gid)
    except OSError as problem:
        raise NotWell(f"{command[0]} cannot be run: {problem.strerror}") from None
    await ran.ended


class _Command(ProcessProtocol):
    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred(lambda _: kill_child(self.transport))
        self._output = b""

    def outReceived(self, data: bytes) -> None:  # noqa: N802
        self._output = (self._output + data)[-OUTPUT_SHOWN_MAX:]

    errReceived = outReceived  # noqa: N815

    def processEnded(self, reason: Any) -> None:  # noqa: N802
        if self.ended.called:
            return
        if reason.check(ProcessDone):
            self.ended.callback(None)
            return
        said = self._output.decode(errors="replace").strip()
        how = "ended"
        if reason.check(ProcessTerminated):
            code, number = reason.value.exitCode, reason.value.signal
            how = f"was killed by signal {number}" if number else f"ended with code {code}"
        self.ended.errback(NotWell(f"the command {how}" + (f": {said}" if said else "")))


async def _look_at_port(place: Place, name: str) -> None:
    host, port = EVERYWHERE.get(place.host, place.host), place.ports[name]
    try:
        made: Any = Factory.forProtocol(Protocol)
        found: Any = await wait(_endpoint(place.reactor, host, port).connect(made))
    except (ConnectError, DNSLookupError, OSError) as problem:
        raise NotWell(f"nothing accepts connections on port {port} ({_short(problem)})") from None
    # In order: a program that reads from a connection that was reset may take it badly.
    found.transport.loseConnection()


async def _look_at_page(place: Place, check: HttpCheck) -> None:
    # Brings some megabytes along, so only where somebody asks for it.
    from twisted.web.client import Agent, ResponseFailed

    class Factory:
        def endpointForURI(self, uri: Any) -> Any:  # noqa: N802
            return _endpoint(place.reactor, uri.host.decode(), uri.port)

    host, port = EVERYWHERE.get(place.host, place.host), place.ports[check.port]
    authority = f"[{host}]" if ":" in host else host
    url = f"http://{authority}:{port}{check.path}"
    try:
        response: Any = await wait(Agent.usingEndpointFactory(place.reactor, Factory()).request(b"GET", url.encode()))
    except (ConnectError, DNSLookupError, OSError, ResponseFailed) as problem:
        raise NotWell(f"{url} gave no answer ({_short(problem)})") from None
    rest = _Rest()
    response.deliverBody(rest)
    await rest.over
    if not check.status_min <= response.code <= check.status_max:
        raise NotWell(f"{url} answered with status {response.code}")


def _endpoint(reactor: Any, host: str, port: int) -> Any:
    # Not one for host names: that waits for a while after a refusal, in case there is another address.
    return (TCP6ClientEndpoint if ":" in host else TCP4ClientEndpoint)(reactor, host, port)


def wait(work: Deferred[Any]) -> Deferred[Any]:
    """Return something that ends with `CancelledError` when it is cancelled, and with no error of Twisted's own."""
    given_up = []

    def give_up(_: object) -> None:
        given_up.append(True)
        work.cancel()

    def pass_on(result: Any) -> None:
        if not given_up:
            waiting.callback(result)

    waiting: Deferred[Any] = Deferred(give_up)
    work.addBoth(pass_on)
    return waiting


class _Rest(Protocol):
    """What comes after the status: it is read, up to a length, and not kept."""

    def __init__(self) -> None:
        self.over: Deferred[None] = Deferred(lambda _: self._close())
        self._length = 0

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        self._length += len(data)
        if self._length > PAGE_READ_MAX:
            self._close()

    def connectionLost(self, reason: Any = None) -> None:  # noqa: ARG002, N802
        if not self.over.called:
            self.over.callback(None)

    def _close(self) -> None:
        transport: Any = self.transport
        transport.loseConnection()


def _short(problem: Exception) -> str:
    return (str(problem) or type(problem).__name__).rstrip(".")[:OUTPUT_SHOWN_MAX]
