"""Many consoles in one process: each hears every event, and what arrived is counted as it is asked for on a line."""

import sys
from pathlib import Path
from typing import Any

from controlplane.quiet import leave_out_bjdata

leave_out_bjdata()

from autobahn.wamp.types import SubscribeOptions  # noqa: E402
from twisted.internet import reactor  # noqa: E402
from twisted.internet.defer import ensureDeferred, gatherResults  # noqa: E402
from twisted.internet.stdio import StandardIO  # noqa: E402
from twisted.protocols.basic import LineReceiver  # noqa: E402
from twisted.python.failure import Failure  # noqa: E402

from controlplane.keys import read_key  # noqa: E402
from controlplane.transports import Login  # noqa: E402
from controlplane.wamp import join_once  # noqa: E402

JOINED_AT_ONCE = 10
"""Of one user; more that have not succeeded yet look like somebody who tries keys, and are held up."""


class Counter:
    """What all consoles heard."""

    heard = 0
    wanted = 0


class Commands(LineReceiver):
    """`wait N`: answers when N more events were heard."""

    delimiter = b"\n"

    def lineReceived(self, line: bytes) -> None:  # noqa: N802
        Counter.wanted += int(line)
        self.look()

    def look(self) -> None:
        if Counter.wanted and Counter.heard >= Counter.wanted:
            Counter.heard = Counter.wanted = 0
            self.sendLine(b"heard")


async def join(login: Login, key: Any, count: int, commands: Commands, stalled: bool) -> None:
    def hear(*_: Any) -> None:
        Counter.heard += 1
        if Counter.heard == Counter.wanted:
            reactor.callLater(0, commands.look)

    async def one() -> None:
        session = await join_once(reactor, login, key)
        # Without the layer of ours that hands over the topic: it would be counted as the router's work.
        await session._inner.subscribe(hear, "controlplane.", options=SubscribeOptions(match="prefix"))
        if stalled:
            session._inner._transport.transport.pauseProducing()

    for first in range(0, count, JOINED_AT_ONCE):
        await gatherResults([ensureDeferred(one()) for _ in range(min(JOINED_AT_ONCE, count - first))])
    commands.sendLine(b"ready")


def give_up(problem: Failure) -> None:
    """End, so that nobody waits for consoles that did not come."""
    sys.stderr.write(f"{problem.getErrorMessage()}\n")
    reactor.stop()


def main(url: str, key_file: str, count: int, stalled: bool) -> None:
    login = Login(url=url, realm="default", authid="admin", authrole="admin")
    commands = Commands()

    def begin() -> None:
        StandardIO(commands)
        joining = ensureDeferred(join(login, read_key(Path(key_file)), count, commands, stalled))
        joining.addErrback(give_up)

    reactor.callWhenRunning(begin)
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:] == ["stalled"])
