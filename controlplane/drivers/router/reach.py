"""Whether routers on other machines can be reached: a frontend that cannot reach its routers serves nobody."""

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol

from controlplane.clock import limit, sleep
from controlplane.drivers.router.plans import Frontend
from controlplane.errors import NoAnswer, WorkerFailed

REACH_LIMIT_S = 20.0
ANSWER_LIMIT_S = 3.0
PAUSE_S = 0.2
GREETING = b"\x7f\xf3\x00\x00"
"""Of RawSocket: 16 MiB, CBOR."""


class _Greeting(Protocol):
    """Greets, and hears whether it is greeted back."""

    def __init__(self, answer: Deferred[None]) -> None:
        self._answer = answer
        self._heard = b""

    def connectionMade(self) -> None:  # noqa: N802
        """Greet."""
        transport: Any = self.transport
        transport.write(GREETING)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Hear the greeting."""
        self._heard += data
        if len(self._heard) >= len(GREETING) and not self._answer.called:
            self._answer.callback(None)
            transport: Any = self.transport
            transport.loseConnection()

    def connectionLost(self, reason: Any = ConnectionDone()) -> None:  # noqa: N802, B008
        """Hear that there is no greeting to come."""
        if not self._answer.called:
            self._answer.errback(reason)


async def reach_all(reactor: Any, config: Frontend) -> None:
    """Return when every router on another machine answers through its tunnel; raises `WorkerFailed`."""
    end = reactor.seconds() + REACH_LIMIT_S
    for socket, where in config.tunnels.items():
        router, _, node = where.partition("/")
        while not await _is_answered(reactor, socket):
            if reactor.seconds() > end:
                raise WorkerFailed(
                    f"the router worker {router} on node {node} does not answer through the tunnel to it",
                    next_step="see that this node reaches the other's --address, and the logs of both agents",
                )
            await sleep(reactor, PAUSE_S)


async def _is_answered(reactor: Any, socket: str) -> bool:
    answer: Deferred[None] = Deferred()
    factory = Factory.forProtocol(lambda: _Greeting(answer))
    protocol: Any = None
    try:
        protocol = await UNIXClientEndpoint(reactor, socket, timeout=ANSWER_LIMIT_S).connect(factory)
        await limit(reactor, answer, ANSWER_LIMIT_S, socket)
    except CancelledError:
        raise
    except NoAnswer:
        return False
    except Exception:
        return False  # Nobody listens, or the other end has closed: it may be just starting.
    finally:
        if protocol is not None and not answer.called:
            protocol.transport.abortConnection()
    return True
