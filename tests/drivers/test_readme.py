"""The driver that `controlplane/README.rst` shows is written down, installed, found and used."""

import re
import textwrap
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol

from controlplane.agent.process import _load_drivers
from controlplane.drivers.driver import Surroundings
from controlplane.errors import InvalidConfiguration, WorkerFailed
from controlplane.records.workers import WorkerSpec
from tests.drivers.benches import Losses
from tests.e2e.test_router_driver import free_ports

README = Path(__file__).parent.parent.parent / "controlplane" / "README.rst"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The packages of the text, as installing them would leave them behind."""
    text = README.read_text().split("How to add a driver", 1)[1]
    program, settings = (textwrap.dedent(block) for block in re.findall(r"::\n\n((?:    .*\n|\n)+)", text)[:2])
    (tmp_path / "greeting.py").write_text(program)
    entries = textwrap.dedent(settings.split("controlplane.drivers =\n", 1)[1])
    information = tmp_path / "greeting-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[controlplane.drivers]\n{entries}")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


async def heard(url):
    """What is said to whoever connects."""
    over, said = Deferred(), []

    class Listener(Protocol):
        def dataReceived(self, data):  # noqa: N802
            said.append(data.decode())

        def connectionLost(self, reason):  # noqa: N802
            over.callback(None)

    host, port = re.fullmatch(r"tcp://(.*):(\d+)", url).groups()
    await TCP4ClientEndpoint(reactor, host, int(port)).connect(Factory.forProtocol(Listener))
    await over
    return "".join(said)


@pytest_twisted.ensureDeferred
async def test_the_driver_that_is_shown_works(installed, tmp_path):
    surroundings = Surroundings(
        directory=tmp_path / "state", sockets=tmp_path / "s", address="127.0.0.1", ports=free_ports(5), cores=1
    )
    (driver,) = _load_drivers(["greeting"], surroundings, reactor).values()
    assert (driver.name, await driver.open(Losses())) == ("greeting", {})
    try:
        oid = uuid4()
        unit = await driver.start(WorkerSpec(oid=oid, digest="one", config={"properties": {"text": "hello"}}))
        assert await heard(unit.addresses[0].url) == "hello"
        unit = await driver.start(WorkerSpec(oid=oid, digest="two", config={"properties": {"text": "bye"}}))
        assert driver.find(oid) == unit
        assert await heard(unit.addresses[0].url) == "bye"
        assert await driver.statistics(oid) == {"greeted": 1}
        with pytest.raises(WorkerFailed, match=r"\$.properties.text is no text"):
            await driver.start(WorkerSpec(oid=uuid4(), digest="one", config={"properties": {}}))
        await driver.stop(oid)
        assert driver.find(oid) is None
    finally:
        await driver.close(keep=False)


def test_a_driver_that_nobody_has_installed_is_said(tmp_path):
    surroundings = Surroundings(directory=tmp_path, sockets=tmp_path, address="127.0.0.1", ports=(1, 2), cores=1)
    with pytest.raises(InvalidConfiguration, match=r"there is no driver 'greeting'; installed are container, process"):
        _load_drivers(["greeting"], surroundings, reactor)
