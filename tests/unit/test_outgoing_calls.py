"""What the master calls over HTTP, on a real socket."""

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol

from controlplane.errors import NoAnswer
from controlplane.master.outgoing import Outgoing


@pytest_twisted.ensureDeferred
async def test_who_takes_a_call_and_never_answers_is_told_to_be_silent():
    silent = reactor.listenTCP(0, Factory.forProtocol(Protocol), interface="127.0.0.1")
    url = f"http://127.0.0.1:{silent.getHost().port}/"
    try:
        with pytest.raises(NoAnswer, match="the web server"):
            await Outgoing(reactor, (url,), within=0.5).post(url, {})
    finally:
        await silent.stopListening()
