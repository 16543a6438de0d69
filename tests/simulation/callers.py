"""How users call: over the network, with a time limit, and with a note of what they were told."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from controlplane.clock import limit
from controlplane.errors import ControlPlaneError, InternalError, NoAnswer
from controlplane.records.principals import Caller
from tests.simulation.history import Key
from tests.simulation.lines import decode, encode
from tests.simulation.world import World, full_name

if TYPE_CHECKING:
    from tests.simulation.witness import Witness

ANSWER_WITHIN_S = 10.0


class Callers:
    """Somebody who makes calls."""

    def __init__(self, world: World, witness: "Witness") -> None:
        self._world = world
        self._witness = witness
        self._active = True
        self.calls = 0
        self.under_way = 0

    def stop(self) -> None:
        """Make no more calls; those under way come to their ends."""
        self._active = False

    async def _call(
        self, caller: Caller, verb: str, *args: Any, writes: Mapping[Key, Any] | None = None, **kwargs: Any
    ) -> Any:
        """Return the answer, or None when there is none or the call was refused."""
        self.calls += 1
        self.under_way += 1
        try:
            return await self._try(caller, verb, args, kwargs, writes)
        finally:
            self.under_way -= 1

    async def _try(
        self,
        caller: Caller,
        verb: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        writes: Mapping[Key, Any] | None,
    ) -> Any:
        attempt = self._witness.attempt(writes or {})
        shown = f"user{caller.session} {verb} {' '.join(map(str, args))}"
        try:
            answer = await self._send(caller, full_name(verb), args, kwargs, lambda: self._witness.replied(attempt))
        except NoAnswer:
            self._world.note(f"{shown}: no answer")
            return None
        except InternalError as problem:
            self._world.broken.append(f"{shown}: {problem}")
            return None
        except ControlPlaneError as problem:
            self._witness.refused(attempt)
            self._world.note(f"{shown}: {problem}")
            return None
        self._witness.acknowledged(attempt)
        self._world.note(f"{shown}: done")
        return answer

    def _send(
        self, caller: Caller, uri: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], replied: Callable[[], None]
    ) -> Deferred[Any]:
        network = self._world.network
        answer: Deferred[Any] = Deferred(lambda _: None)
        wire = encode([args, kwargs])

        def arrive() -> None:
            given, named = decode(wire)
            network.invoke(caller, uri, tuple(given), named, reply)

        def reply(value: Any) -> None:
            if not isinstance(value, Failure):
                replied()
            sent = value if isinstance(value, Failure) else encode(value)
            network.later(lambda: settle(sent))

        def settle(sent: Any) -> None:
            if not answer.called:
                if isinstance(sent, Failure):
                    answer.errback(sent.value)
                else:
                    answer.callback(decode(sent))

        network.later(arrive)
        return limit(self._world.clock, answer, ANSWER_WITHIN_S, uri)
