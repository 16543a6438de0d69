"""What the master says, and that it can be killed between any two of its words."""

from collections.abc import Mapping
from typing import Any

from tests.simulation.clock import ProcessClock
from tests.simulation.lines import encode
from tests.simulation.network import Network


class Wire:
    """What one run of the master sends, over its session with the router, which is on its own machine."""

    def __init__(self, network: Network, clock: ProcessClock) -> None:
        self._network = network
        self._clock = clock
        self.sends_left: int | None = None
        """After how many messages more the master is killed."""

    def publish(self, topics: tuple[str, ...], payload: Mapping[str, Any], roles: tuple[str, ...] = ()) -> None:
        if self._may_send():
            self._network.world.events.append((topics[0], dict(payload)))
            self._network.world.observer.published(topics[0], payload)
        else:
            self._network.world.observer.unheard()

    def send(self, topic: str, session: int, payload: Mapping[str, Any]) -> None:
        if self._may_send():
            self._network.send(topic, session, encode(payload), self._clock.lag())

    def announce(self, topic: str, payload: Mapping[str, Any]) -> None:
        if self._may_send():
            wire = encode(payload)
            for session in list(self._network.sessions):
                self._network.send(topic, session, wire, self._clock.lag())

    def tell(self, topic: str, *arguments: Any) -> None:
        """Nobody in the simulation listens to events in Crossbar.io's form."""

    def kill(self, session: int, reason: str) -> None:
        if self._may_send():
            found = self._network.sessions.get(session)
            if found is not None:
                self._network.close_at_router(found)

    def _may_send(self) -> bool:
        if self.sends_left is not None:
            self.sends_left -= 1
            if self.sends_left < 0:
                self._network.world.kill_master()
        if self._clock.dead:
            self._clock.die()
        return self._network.master is not None
