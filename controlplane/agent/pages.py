"""Asking for pages of workers, because a policy wants to know whether they are well.

What a policy looks for is a pattern of a user, and what it is looked for in comes from a worker: together they can take
for ever. So a process of its own looks, and is killed when it takes too long.
"""

import re
import sys
from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredList, DeferredSemaphore, ensureDeferred
from twisted.internet.protocol import ProcessProtocol, Protocol

from controlplane.clock import limit, sleep
from controlplane.core.health_rules import PAGES_PARALLEL_MAX
from controlplane.drivers.checks import wait
from controlplane.errors import NoAnswer
from controlplane.process import kill_child
from controlplane.records.health_policies import UrlLook, UrlOptions
from controlplane.records.recoveries import Checked
from controlplane.records.types import to_wire

PAGE_LENGTH_MAX = 512 * 1024
SEARCH_LIMIT_S = 5.0
SEARCH = "import re, sys; sys.exit(not re.search(sys.argv[1], sys.stdin.buffer.read().decode(errors='replace')))"
ASK = """
import http.client, ssl, sys, urllib.parse
url, verify, length = sys.argv[1], sys.argv[2] == "True", int(sys.argv[3])
parts = urllib.parse.urlsplit(url)
context = ssl.create_default_context()
if not verify:
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
try:
    line = http.client.HTTPSConnection(parts.hostname, parts.port, context=context)
    line.request("GET", (parts.path or "/") + ("?" + parts.query if parts.query else ""))
    answer = line.getresponse()
    content = answer.read(length)
except Exception as problem:
    sys.exit(str(problem) or type(problem).__name__)
sys.stdout.buffer.write(b"%d\\n" % answer.status + content)
"""
"""How a page is asked for over TLS: an agent that has none to its master does without OpenSSL's many megabytes."""

REASON_LENGTH_MAX = 200


class Refused(Exception):
    """Nobody answered, in words."""


class Bad(Exception):
    """Somebody answered, and not as one who is well, in words."""


async def poll_pages(reactor: Any, looks: Mapping[str, UrlLook]) -> dict[str, Any]:
    """Return what was found of each worker."""
    turns = DeferredSemaphore(PAGES_PARALLEL_MAX)
    found: dict[str, Any] = {}

    async def look_at(oid: str, look: UrlLook) -> None:
        found[oid] = to_wire(await poll_page(reactor, look))

    await DeferredList([turns.run(look_at, oid, look) for oid, look in looks.items()], consumeErrors=True)
    return found


async def poll_page(reactor: Any, look: UrlLook) -> Checked:
    """Ask for a page until it is good, as often as is wanted."""
    options = look.options
    reason = ""
    for attempt in range(options.poll_url_retry_limit):
        if attempt:
            await sleep(reactor, options.poll_url_retry_interval)
        try:
            await limit(reactor, ensureDeferred(_ask(reactor, look.url, options)), options.poll_url_timeout, look.url)
        except (Refused, NoAnswer) as problem:
            if not options.poll_url_conn_error_as_unhealthy:
                return Checked(well=True)
            reason = str(getattr(problem, "message", problem))
        except Bad as problem:
            reason = str(problem)
        else:
            return Checked(well=True)
    return Checked(well=False, reason=f"{reason}, {options.poll_url_retry_limit} times in a row")


async def _ask(reactor: Any, url: str, options: UrlOptions) -> None:
    try:
        if url.startswith("https:"):
            status, content = await _get_protected(reactor, url, options.poll_url_ssl_verify)
        else:
            status, content = await _get(reactor, url)
    except (CancelledError, Refused):
        raise
    except Exception as problem:
        raise Refused(f"{url} gave no answer ({_short(str(problem) or type(problem).__name__)})") from None
    if not options.poll_url_healthy_status_min <= status <= options.poll_url_healthy_status_max:
        raise Bad(f"{url} answered with status {status}")
    if not await _is_found(reactor, options.poll_url_healthy_response, content):
        raise Bad(f"{url} answered without {options.poll_url_healthy_response!r}")


async def _get(reactor: Any, url: str) -> tuple[int, bytes]:
    # Brings some megabytes along, so only where somebody asks for it.
    from twisted.web.client import Agent

    response: Any = await wait(Agent(reactor).request(b"GET", url.encode()))
    body = _Body()
    response.deliverBody(body)
    return response.code, await body.over


async def _get_protected(reactor: Any, url: str, verify: bool) -> tuple[int, bytes]:
    code, said, wrong = await _run(reactor, [ASK, url, str(verify), str(PAGE_LENGTH_MAX)], b"")
    if code:
        raise Refused(f"{url} gave no answer ({_short(wrong.decode(errors='replace').strip())})")
    status, _, content = said.partition(b"\n")
    return int(status), content


async def _is_found(reactor: Any, pattern: str, content: bytes) -> bool:
    if re.escape(pattern) == pattern:
        return pattern.encode() in content
    try:
        looking = ensureDeferred(_run(reactor, [SEARCH, pattern], content))
        code, _, _ = await limit(reactor, looking, SEARCH_LIMIT_S, "the search for the pattern")
    except NoAnswer as problem:
        raise Bad(problem.message) from None
    return bool(code == 0)


async def _run(reactor: Any, arguments: list[str], given: bytes) -> tuple[int | None, bytes, bytes]:
    """Run a program of Python's own, and return its code, what it said, and what it complained of."""
    program = _Program(given)
    reactor.spawnProcess(program, sys.executable, [sys.executable, "-I", "-S", "-c", *arguments], {})
    return await program.over


class _Program(ProcessProtocol):
    def __init__(self, given: bytes) -> None:
        self.over: Deferred[tuple[int | None, bytes, bytes]] = Deferred(lambda _: kill_child(self.transport))
        self._given = given
        self._said = self._wrong = b""

    def connectionMade(self) -> None:  # noqa: N802
        transport: Any = self.transport
        transport.write(self._given)
        transport.closeStdin()

    def outReceived(self, data: bytes) -> None:  # noqa: N802
        self._said += data

    def errReceived(self, data: bytes) -> None:  # noqa: N802
        self._wrong = (self._wrong + data)[:PAGE_LENGTH_MAX]

    def processEnded(self, reason: Any) -> None:  # noqa: N802
        if not self.over.called:
            self.over.callback((reason.value.exitCode, self._said, self._wrong))


class _Body(Protocol):
    """What was answered, up to a length."""

    def __init__(self) -> None:
        self.over: Deferred[bytes] = Deferred(lambda _: self._close())
        self._content = b""

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        self._content = (self._content + data)[:PAGE_LENGTH_MAX]
        if len(self._content) == PAGE_LENGTH_MAX:
            self._close()

    def connectionLost(self, reason: Any = None) -> None:  # noqa: ARG002, N802
        if not self.over.called:
            self.over.callback(self._content)

    def _close(self) -> None:
        transport: Any = self.transport
        transport.abortConnection() if hasattr(transport, "abortConnection") else transport.loseConnection()


def _short(text: str) -> str:
    return text.rstrip(".")[:REASON_LENGTH_MAX]
