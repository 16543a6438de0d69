"""What the conformance suite needs of each driver: workers that run, fail, or are slow; their death and remains."""

import os
import shutil
import signal
import sys
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from uuid import UUID, uuid4

import psutil
from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import deferLater

from controlplane.drivers.container.driver import ContainerDriver
from controlplane.drivers.driver import Surroundings, Unit
from controlplane.drivers.process.driver import ProcessDriver
from controlplane.drivers.router.driver import RouterDriver
from controlplane.records.workers import WorkerSpec
from tests.alive import is_alive
from tests.drivers.engines import IMAGE

PAGE = str(Path(__file__).parent / "page.py")
PYTHON = os.path.realpath(sys.executable)
SCHEME = {"scheme": "http"}


def sleep(seconds):
    return deferLater(reactor, seconds)


async def until(reached, within=20.0, what="it"):
    """Ask until something is so."""
    end = reactor.seconds() + within
    while not (found := reached()):
        assert reactor.seconds() < end, f"{what} did not happen within {within} s"
        await sleep(0.02)
    return found


class Losses:
    """What a driver said was lost."""

    def __init__(self):
        self.seen: list[tuple[UUID, str]] = []
        self._waiting: dict[UUID, Deferred] = {}

    def __call__(self, oid, reason):
        self.seen.append((oid, reason))
        if oid in self._waiting:
            self._waiting.pop(oid).callback(reason)

    async def of(self, oid, within):
        for each, reason in self.seen:
            if each == oid:
                return reason
        waiting = self._waiting[oid] = Deferred()
        waiting.addTimeout(within, reactor)
        return await waiting


class Bench(ABC):
    """One driver in a directory of its own."""

    name: str
    many = 10
    loss_within_s = 10.0
    hang_within_s = 20.0
    keeps_while_away = True
    """Whether it knows afterwards how a worker ended while no agent was there."""

    def __init__(self, home: Path, ports: tuple[int, int]):
        self.home = home
        self.surroundings = Surroundings(
            directory=home / "drivers" / self.name, sockets=home / "s", address="127.0.0.1", ports=ports, cores=2
        )
        self.losses = Losses()
        self.driver = None
        self.adopted: dict[UUID, Unit] = {}

    @abstractmethod
    def make(self):
        """Return a driver that was not opened yet."""

    async def open(self):
        self.losses = Losses()
        self.driver = self.make()
        self.adopted = dict(await self.driver.open(self.losses))

    async def close(self, keep):
        driver, self.driver = self.driver, None
        if driver is not None:
            await driver.close(keep)

    async def reopen(self):
        await self.close(keep=True)
        await self.open()

    async def end(self):
        """Leave nothing, whatever the test has done."""
        if self.driver is None:
            await self.open()
        await self.close(keep=False)

    async def start(self, spec, within=60.0):
        late = []
        starting = ensureDeferred(self.driver.start(spec))
        timer = reactor.callLater(within, lambda: (late.append(True), starting.cancel()))
        try:
            return await starting
        finally:
            # Whatever it says when it is given up, it has not come to its end by itself.
            assert not late
            timer.cancel()


class ProcessBench(Bench):
    """Processes that serve a page."""

    name = "process"
    many = 40

    def make(self):
        return ProcessDriver(self.surroundings, reactor)

    def config(self, **properties):
        return {"name": "page-1", "index": 1, "generation": 0, "properties": properties}

    def page(self, **properties):
        served = {
            "command": [PYTHON, "-I", "-S", PAGE, "{port:web}", "{address}"],
            "ports": {"web": SCHEME},
            "ready": {"check": {"kind": "tcp", "port": "web"}, "timeout": 20, "interval": 0.05},
            "stop": {"grace": 5},
        }
        return self.config(**{**served, **properties})

    def spec(self, oid=None, digest="one", **properties):
        return WorkerSpec(oid=oid or uuid4(), digest=digest, config=self.page(**properties))

    def changed_spec(self, oid, digest):
        """What a worker that runs can be given."""
        return self.spec(oid, digest, stop={"signal": "SIGINT", "grace": 4})

    def hanging_spec(self):
        check = {"kind": "http", "port": "web"}
        return self.spec(health={"check": check, "interval": 0.2, "timeout": 1.0, "failures": 2})

    def broken_spec(self, oid=None):
        script = "import sys; print('no luck today', flush=True); sys.exit(3)"
        # Nobody waits for a process that has ended.
        patient = {"check": {"kind": "tcp", "port": "web"}, "timeout": 600}
        config = self.page(command=[PYTHON, "-I", "-S", "-c", script], ready=patient)
        return WorkerSpec(oid=oid or uuid4(), digest="broken", config=config), "exited with code 3.*no luck today"

    def slow_spec(self, oid=None):
        config = self.page(command=["sleep", "600"])
        return WorkerSpec(oid=oid or uuid4(), digest="slow", config=config)

    def under_way(self, oid):
        return bool(self.remains(oid))

    def die(self, unit):
        os.kill(unit.pid, signal.SIGKILL)

    def hang(self, unit):
        os.kill(unit.pid, signal.SIGSTOP)

    def remains(self, oid):
        """Processes, files and notes of a worker."""
        sought = f"/workers/{oid.hex}"
        found = [process.pid for process in psutil.process_iter() if sought in _mark(process)]
        found += [str(file) for file in self.surroundings.directory.rglob(f"{oid.hex}*")]
        return found

    def alive(self, unit):
        return is_alive(unit.pid)


class ContainerBench(Bench):
    """Containers that serve a page, in the network of the machine."""

    name = "container"
    many = 8
    engine = None

    def __init__(self, home, ports):
        super().__init__(home, ports)
        self.surroundings = self.surroundings._replace(engine=self.engine.url)

    def make(self):
        return ContainerDriver(self.surroundings, reactor)

    def config(self, **properties):
        given = {"image": IMAGE, "pull": "never", "network": "host", "stop": {"signal": "SIGKILL"}}
        return {"name": "page-1", "index": 1, "generation": 0, "properties": {**given, **properties}}

    def page(self, **properties):
        served = {
            "command": ["httpd", "-f", "-p", "{address}:{port:web}", "-h", "/www"],
            "ports": {"web": SCHEME},
            "ready": {"check": {"kind": "tcp", "port": "web"}, "timeout": 20, "interval": 0.05},
        }
        return self.config(**{**served, **properties})

    def spec(self, oid=None, digest="one", **properties):
        return WorkerSpec(oid=oid or uuid4(), digest=digest, config=self.page(**properties))

    def changed_spec(self, oid, digest):
        """What a worker that runs can be given."""
        return self.spec(oid, digest, stop={"signal": "SIGKILL", "grace": 4}, limits={"cpus": 1.5})

    def hanging_spec(self):
        check = {"kind": "http", "port": "web"}
        return self.spec(health={"check": check, "interval": 0.2, "timeout": 1.0, "failures": 2})

    def broken_spec(self, oid=None):
        patient = {"check": {"kind": "tcp", "port": "web"}, "timeout": 600}
        config = self.page(command=["sh", "-c", "echo no luck today; exit 3"], ready=patient)
        return WorkerSpec(oid=oid or uuid4(), digest="broken", config=config), "exited with code 3.*no luck today"

    def slow_spec(self, oid=None):
        return WorkerSpec(oid=oid or uuid4(), digest="slow", config=self.page(command=["sleep", "600"]))

    def under_way(self, oid):
        return bool(self.containers(oid))

    def die(self, unit):
        os.kill(unit.pid, signal.SIGKILL)

    def hang(self, unit):
        os.kill(unit.pid, signal.SIGSTOP)

    def containers(self, oid):
        labels = {"label": f"io.controlplane.worker={oid}"}
        return [each["Id"] for each in self.engine.client().containers(all=True, filters=labels)]

    def remains(self, oid):
        """Containers, files and notes of a worker."""
        return self.containers(oid) + [str(file) for file in self.surroundings.directory.rglob(f"{oid.hex}*")]

    def alive(self, unit):
        return is_alive(unit.pid)


class RouterBench(Bench):
    """Router workers of a Crossbar.io node."""

    name = "router"
    many = 3
    hang_within_s = 40.0

    def __init__(self, home, ports):
        super().__init__(home, ports)
        # Paths of unix sockets are short.
        sockets = Path(tempfile.mkdtemp(prefix="cp-"))
        self.surroundings = self.surroundings._replace(sockets=sockets)
        self.asked = None

    def make(self):
        self.surroundings.directory.mkdir(parents=True, exist_ok=True)
        return RouterDriver(self.surroundings, reactor)

    async def end(self):
        await super().end()
        shutil.rmtree(self.surroundings.sockets, ignore_errors=True)

    def config(self, oid, roles):
        return {
            "kind": "router",
            "cluster": str(uuid4()),
            "socket": str(self.surroundings.sockets / f"{oid.hex[:12]}.sock"),
            "realms": [{"name": "realm1", "roles": roles}],
        }

    def spec(self, oid=None, digest="one"):
        oid = oid or uuid4()
        everything = {"uri": "", "match": "prefix", "allow": {"call": True, "register": True}}
        return WorkerSpec(
            oid=oid, digest=digest, config=self.config(oid, [{"name": "anonymous", "permissions": [everything]}])
        )

    hanging_spec = spec

    def broken_spec(self, oid=None):
        oid = oid or uuid4()
        config = self.config(oid, [{"name": "anonymous", "permissions": "none"}])
        return WorkerSpec(oid=oid, digest="broken", config=config), "start_router_realm_role failed"

    def slow_spec(self, oid=None):
        self.asked = reactor.seconds()
        return self.spec(oid, digest="slow")

    def under_way(self, oid):
        return reactor.seconds() > self.asked + 0.5

    def die(self, unit):
        os.kill(unit.pid, signal.SIGKILL)

    def hang(self, unit):
        os.kill(unit.pid, signal.SIGSTOP)

    def remains(self, oid):
        """Notes and sockets of a worker."""
        notes = (self.surroundings.directory / "workers.json").read_text()
        return [oid for _ in range(str(oid) in notes)] + list(self.surroundings.sockets.glob(f"{oid.hex[:12]}*"))

    def alive(self, unit):
        return is_alive(unit.pid)


def _mark(process):
    try:
        return process.environ().get("CONTROLPLANE_RUN", "")
    except psutil.Error:
        return ""
