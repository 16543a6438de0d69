"""A procedure that returns its argument, offered by a process of its own: the floor of every call."""

import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred

from controlplane.quiet import leave_out_bjdata

leave_out_bjdata()

from controlplane.keys import read_key  # noqa: E402
from controlplane.transports import Login  # noqa: E402
from controlplane.wamp import join_once  # noqa: E402

ECHO = "controlplane.event.echo"
"""Below a name that administrators may call."""


async def offer(url: str, key: str) -> None:
    from autobahn.wamp.types import RegisterOptions

    session = await join_once(reactor, Login(url=url, realm="default", authid="master"), read_key(Path(key)))
    await session._inner.register(lambda value, details=None: value, ECHO, RegisterOptions(details_arg="details"))
    sys.stdout.write("ready\n")
    sys.stdout.flush()


if __name__ == "__main__":
    reactor.callWhenRunning(lambda: ensureDeferred(offer(*sys.argv[1:])))
    reactor.run()
