"""What connects a machine with the router: a line, what can be wrong with it, and the sessions held over it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
from twisted.internet.defer import Deferred

from controlplane.clock import limit
from controlplane.errors import NoAnswer

if TYPE_CHECKING:
    from tests.simulation.machine import Machine
    from tests.simulation.network import Network

UP, DOWN = "up", "down"
"""From a machine to the router, and back."""

encode, decode = msgspec.msgpack.encode, msgspec.msgpack.decode


class Faults(msgspec.Struct):
    """How bad the network is; probabilities are per message."""

    delay_min_s: float = 0.0005
    delay_max_s: float = 0.0005
    drop: float = 0.0
    duplicate: float = 0.0
    reorder: float = 1.0
    """How many of the messages are not held up by those before them."""


class Line:
    """The way between one machine and the router; each direction can be dead without either side noticing."""

    def __init__(self) -> None:
        self.dead: set[str] = set()
        self.held: dict[str, list[Callable[[], Any]]] = {UP: [], DOWN: []}
        self.arrived = {UP: 0.0, DOWN: 0.0}
        self.breaks = 0
        """How often it broke; who noticed a break does not take another one for it."""


class Session:
    """An agent's session, as the agent sees it and as the router does."""

    def __init__(self, network: "Network", number: int, machine: "Machine") -> None:
        assert machine.agent is not None
        self._network = network
        self._clock = machine.clock
        self.id = number
        self.machine = machine
        self.agent = machine.agent
        self.authid = ""
        self.open = False
        """Whether the agent takes it for alive."""

        self.known = False
        """Whether the router does."""

        self.given_up = False
        """Whether the agent waited too long for it to begin."""

        self.taken_out = False
        """Whether it was refused because its node was taken out."""

        self._waiting: list[Deferred[Any]] = []

    def details(self) -> dict[str, Any]:
        """Return the session as the router describes it."""
        return {
            "session": self.id,
            "authid": self.authid,
            "authrole": "agent",
            "authextra": {"pubkey": self.machine.pubkey},
            "transport": {"peer": f"tcp4:{self.machine.name}:50000"},
        }

    def call(self, uri: str, within: float, **arguments: Any) -> Deferred[Any]:
        answer: Deferred[Any] = Deferred()
        self._waiting = [waiting for waiting in self._waiting if not waiting.called]
        self._waiting.append(answer)
        self._network.carry(self, uri, arguments, answer)
        return limit(self._clock, answer, within, uri)

    def break_off(self, reason: str) -> None:
        """Fail what waits for an answer that cannot come any more."""
        waiting, self._waiting = self._waiting, []
        for answer in waiting:
            if not answer.called:
                answer.errback(NoAnswer(reason))
