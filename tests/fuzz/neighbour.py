"""A client that behaves: calls again and again beside the hostile ones, and says how long its calls took.

A line on its input ends a phase: it answers with a line of JSON for the phase, and begins the next one.
"""

import json
import sys
from typing import Any

from controlplane.quiet import leave_out_bjdata

leave_out_bjdata()

from twisted.internet import reactor, stdio  # noqa: E402
from twisted.internet.defer import ensureDeferred  # noqa: E402
from twisted.internet.task import react  # noqa: E402
from twisted.protocols.basic import LineReceiver  # noqa: E402

from controlplane.clock import sleep  # noqa: E402
from controlplane.saved_login import read_connection  # noqa: E402
from controlplane.wamp import join_once  # noqa: E402

PAUSE_S = 0.01
CALL_WITHIN_S = 60.0


class Phases(LineReceiver):
    """Says on demand how the calls of a phase went."""

    delimiter = b"\n"
    MAX_LENGTH = 2**24

    def __init__(self) -> None:
        self.times: list[float] = []
        self.failures = 0
        self.over = False

    def lineReceived(self, _line: bytes) -> None:  # noqa: N802
        said = {"times": self.times, "failures": self.failures}
        self.times, self.failures = [], 0
        self.sendLine(json.dumps(said).encode())

    def connectionLost(self, reason: Any = None) -> None:  # noqa: N802
        self.over = True


async def run(_reactor: Any) -> None:
    phases = Phases()
    stdio.StandardIO(phases)
    session = await join_once(reactor, *read_connection(sys.argv[1]))
    while not phases.over:
        begun = reactor.seconds()
        try:
            await session.call("controlplane.node.get_node_by_name", CALL_WITHIN_S, "edge1")
            phases.times.append(reactor.seconds() - begun)
        except Exception:
            phases.failures += 1
        await sleep(reactor, PAUSE_S)


if __name__ == "__main__":
    react(lambda reactor: ensureDeferred(run(reactor)))
