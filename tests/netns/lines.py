"""One direction of a line between machines, which can be made bad: what netem does, for packets that pass through here.

Written out because netem is a module that kernels of small virtual machines leave out, and because it cannot forge the
reset of a connection.
"""

import struct
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

QUEUE_LENGTH_MAX = 20
"""Packets that wait for a slow line; more are lost, as in a router."""

TCP = 6
FIN, SYN, RST, ACK = 1, 2, 4, 16


class Conditions(NamedTuple):
    """How bad one direction is; chances from 0 to 1, times in seconds."""

    loss: float = 0.0
    delay: float = 0.0
    jitter: float = 0.0
    overtake: float = 0.0
    """Chance of a packet not to wait for `delay`, so that it arrives before those that were sent earlier."""

    duplicate: float = 0.0
    corrupt: float = 0.0
    """Chance of one bit to change."""

    bits_per_second: float | None = None
    size_max: int | None = None
    """Larger packets vanish without a word."""

    reset: float = 0.0
    """Chance of a TCP packet to end its connection, for both sides."""


GOOD = Conditions()
CUT = Conditions(loss=1.0)

Deliver = Callable[[bytes], None]


class Line:
    """One direction of the line of one machine."""

    def __init__(self, clock: Any, random: Random) -> None:
        self._clock = clock
        self._random = random
        self._free_at = 0.0
        self._waiting = 0
        self.conditions = GOOD
        self.seen: Counter[str] = Counter()
        """What became of the packets, so that a scenario can show that it did harm."""

    def carry(self, packet: bytes, deliver: Deliver, answer: Deliver) -> None:
        """Take a packet to where it is to go, if the conditions allow it; `answer` reaches the sender."""
        bad = self.conditions
        if bad is GOOD:
            deliver(packet)
            return
        if self._happens(bad.loss) or (bad.size_max is not None and len(packet) > bad.size_max):
            self.seen["lost"] += 1
            return
        if self._happens(bad.reset) and (forged := resets(packet)) is not None:
            self.seen["reset"] += 1
            deliver(forged[0])
            answer(forged[1])
            return
        if self._happens(bad.corrupt):
            self.seen["corrupted"] += 1
            packet = self._corrupted(packet)
        if self._happens(bad.duplicate):
            self.seen["duplicated"] += 1
            self._send(packet, bad, deliver)
        self._send(packet, bad, deliver)

    def _send(self, packet: bytes, bad: Conditions, deliver: Deliver) -> None:
        wait = max(0.0, bad.delay + bad.jitter * (2 * self._random.random() - 1))
        if self._happens(bad.overtake):
            self.seen["overtaking"] += 1
            wait = 0.0
        if bad.bits_per_second is not None:
            if self._waiting >= QUEUE_LENGTH_MAX:
                self.seen["lost"] += 1
                return
            now = self._clock.seconds()
            self._free_at = max(self._free_at, now) + 8 * len(packet) / bad.bits_per_second
            wait += self._free_at - now
        if wait <= 0.0:
            deliver(packet)
            return
        self.seen["delayed"] += 1
        self._waiting += 1
        self._clock.callLater(wait, self._arrive, packet, deliver)

    def _arrive(self, packet: bytes, deliver: Deliver) -> None:
        self._waiting -= 1
        deliver(packet)

    def _happens(self, chance: float) -> bool:
        return chance > 0.0 and self._random.random() < chance

    def _corrupted(self, packet: bytes) -> bytes:
        changed = bytearray(packet)
        changed[self._random.randrange(len(changed))] ^= 1 << self._random.randrange(8)
        return bytes(changed)


def resets(packet: bytes) -> tuple[bytes, bytes] | None:
    """Return what ends the connection of a TCP packet, for its receiver and for its sender; None for other packets."""
    if len(packet) < 40 or packet[9] != TCP:
        return None
    header = 4 * (packet[0] & 15)
    source, target, sequence, acknowledged = struct.unpack_from(">HHII", packet, header)
    offset, flags = packet[header + 12] >> 4, packet[header + 13]
    if flags & RST or not flags & ACK:
        return None
    from_, to = packet[12:16], packet[16:20]
    length = len(packet) - header - 4 * offset + bool(flags & (SYN | FIN))
    forward = _segment(from_, to, source, target, sequence, acknowledged)
    back = _segment(to, from_, target, source, acknowledged, sequence + length)
    return forward, back


def _segment(from_: bytes, to: bytes, source: int, target: int, sequence: int, acknowledged: int) -> bytes:
    tcp = struct.pack(">HHIIBBHHH", source, target, sequence, acknowledged & 0xFFFFFFFF, 5 << 4, RST | ACK, 0, 0, 0)
    pseudo = from_ + to + struct.pack(">BBH", 0, TCP, len(tcp))
    tcp = tcp[:16] + struct.pack(">H", _checksum(pseudo + tcp)) + tcp[18:]
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 0, 0, 64, TCP, 0, from_, to)
    return ip[:10] + struct.pack(">H", _checksum(ip)) + ip[12:] + tcp


def _checksum(data: bytes) -> int:
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
