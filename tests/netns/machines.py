"""Several machines on one: network namespaces that are joined by lines of this process.

A namespace has no name and no bind mount: it is gone with the last process in it, however that ends. Its only way out
is a TUN device, whose packets are read and written here, so every packet between two machines passes a `Line`.
"""

import ctypes
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from tests.netns.lines import CUT, GOOD, Conditions, Line

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN_WITHOUT_HEADER = 0x1001
DEVICE = "line0"
PREFIX = "10.77.0."
PACKET_BYTES_MAX = 65536
PACKETS_PER_TURN_MAX = 64

_libc = ctypes.CDLL(None, use_errno=True)


def why_not() -> str | None:
    """Return why there can be no namespaces here, or None when there can."""
    if shutil.which("ip") is None:
        return "the command 'ip' is not installed; on Debian and Ubuntu: apt-get install iproute2"
    if not Path("/dev/net/tun").exists():
        return "there is no /dev/net/tun"
    try:
        for descriptor in _make_namespace():
            os.close(descriptor)
    except OSError as problem:
        return f"network namespaces are not permitted here, root with CAP_NET_ADMIN is needed: {problem}"
    return None


class Machine:
    """One namespace, its address, and both directions of its line."""

    def __init__(self, network: "Network", name: str, number: int) -> None:
        self.name = name
        self.address = f"{PREFIX}{number}"
        self.outgoing = Line(network.clock, network.random)
        self.incoming = Line(network.clock, network.random)
        self._network = network
        self.namespace, self._tun = _make_namespace()
        self._run("link", "set", "lo", "up")
        self._run("link", "set", DEVICE, "up")
        self._run("addr", "add", f"{self.address}/24", "dev", DEVICE)
        network.clock.addReader(self)

    def move(self, address: str) -> None:
        """Give it another address, as a lease that ended does."""
        self._run("addr", "flush", "dev", DEVICE)
        self.address = address
        self._run("addr", "add", f"{address}/24", "dev", DEVICE)

    def write(self, packet: bytes) -> None:
        """Have a packet arrive."""
        try:
            os.write(self._tun, packet)
        except OSError:
            pass  # The device has no address at this moment, or the queue is full: lost, as on any network.

    def fileno(self) -> int:
        return self._tun

    def logPrefix(self) -> str:  # noqa: N802
        return self.name

    def doRead(self) -> None:  # noqa: N802
        for _ in range(PACKETS_PER_TURN_MAX):
            try:
                packet = os.read(self._tun, PACKET_BYTES_MAX)
            except OSError:
                return
            self._network.forward(self, packet)

    def connectionLost(self, _reason: Any) -> None:  # noqa: N802
        pass

    def close(self) -> None:
        self._network.clock.removeReader(self)
        os.close(self._tun)
        os.close(self.namespace)

    def _run(self, *arguments: str) -> None:
        with _inside(self.namespace):
            subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=10)


class Network:
    """All machines, and who can reach whom how well."""

    def __init__(self, clock: Any, seed: int, unharmed: str) -> None:
        """Make ready; the machine `unharmed` reaches every other one, whatever becomes of their lines."""
        self.clock = clock
        self.unharmed = unharmed
        self.random = Random(seed)
        self.machines: dict[str, Machine] = {}

    def add(self, name: str) -> Machine:
        """Make a machine."""
        self.machines[name] = machine = Machine(self, name, len(self.machines) + 1)
        return machine

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """Have processes and sockets that are made in this block belong to a machine; nothing is awaited in it."""
        with _inside(self.machines[name].namespace):
            yield

    def spoil(self, *names: str, outgoing: Conditions = GOOD, incoming: Conditions = GOOD) -> None:
        """Make the lines of machines bad, each direction for itself."""
        for name in names:
            self.machines[name].outgoing.conditions = outgoing
            self.machines[name].incoming.conditions = incoming

    def spoil_both(self, *names: str, **conditions: Any) -> None:
        """Make the lines of machines bad in both directions."""
        bad = Conditions(**conditions)
        self.spoil(*names, outgoing=bad, incoming=bad)

    def cut(self, *names: str) -> None:
        """Let nothing through."""
        self.spoil(*names, outgoing=CUT, incoming=CUT)

    def heal(self, *names: str) -> None:
        """Make lines good again; all of them when none is named."""
        self.spoil(*(names or self.machines))

    def harm(self) -> int:
        """Return how many packets were treated badly so far."""
        lines = (line for machine in self.machines.values() for line in (machine.outgoing, machine.incoming))
        return sum(sum(line.seen.values()) for line in lines)

    def forward(self, source: Machine, packet: bytes) -> None:
        """Take a packet from one machine to another."""
        if len(packet) < 20 or packet[0] >> 4 != 4:
            return
        address = socket.inet_ntoa(packet[16:20])
        target = next((machine for machine in self.machines.values() if machine.address == address), None)
        if target is None:
            return
        receiver = target
        if self.unharmed in (source.name, receiver.name):
            receiver.write(packet)
            return
        source.outgoing.carry(
            packet, lambda through: receiver.incoming.carry(through, receiver.write, source.write), source.write
        )

    def close(self) -> None:
        """Let go of all; processes are to be stopped before."""
        for machine in self.machines.values():
            machine.close()
        self.machines.clear()


@contextmanager
def _inside(namespace: int) -> Iterator[None]:
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        _enter(namespace)
        try:
            yield
        finally:
            _enter(before)
    finally:
        os.close(before)


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns failed")


def _make_namespace() -> tuple[int, int]:
    """Return descriptors of a new namespace and of the TUN device in it."""
    made: list[int] = []
    problems: list[OSError] = []

    def make() -> None:
        # In a thread of its own: a namespace is left by ending.
        try:
            if _libc.unshare(CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            made.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY))
            made.append(os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK))
            fcntl.ioctl(made[1], TUNSETIFF, struct.pack("16sH", DEVICE.encode(), IFF_TUN_WITHOUT_HEADER))
        except OSError as problem:
            problems.append(problem)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if problems:
        for descriptor in made:
            os.close(descriptor)
        raise problems[0]
    return made[0], made[1]
