"""Raw bytes on each listener: handshakes, frames and messages that are none."""

import base64
import os
import socket
import struct
import zlib
from collections import Counter
from pathlib import Path
from random import Random

import cbor2

from tests.fuzz.bench import Found

READ_WITHIN_S = 0.25
SHOWN_LENGTH = 300
RAW_HEADER = b"\x7f\xf3\x00\x00"
"""RawSocket: messages up to 16 MiB, serializer 3, CBOR."""

SUBPROTOCOLS = ("wamp.2.cbor", "wamp.2.msgpack")
BOMB = zlib.compress(b"\0" * 10_000_000, 9)


class Run:
    """Connections from one seed, one after the other."""

    def __init__(self, port: int, unix: Path, seed: int) -> None:
        self.port = port
        self.unix = unix
        self.seed = seed
        self.outcomes: Counter[str] = Counter()
        self.inputs = 0
        self._show = False

    def connection(self, number: int, *, show: bool = False) -> None:
        """Open one connection, misbehave, and see how it ends; raises `Found` that says how to repeat it."""
        random = Random(f"{self.seed}/{number}")
        self.inputs += 1
        self._show = show
        kind = random.choice((self._http, self._handshake, self._frames, self._frames, self._messages, self._rawsocket))
        try:
            kind(random)
        except (ConnectionError, TimeoutError):
            self.outcomes["the link is closed"] += 1
        except Found as problem:
            raise Found(
                f"connection {number} of seed {self.seed}: {problem}\n"
                f"again: scripts/fuzz --part frames --seed {self.seed} --batch {number}"
            ) from problem

    def _tcp(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=READ_WITHIN_S * 20)

    def _send(self, line: socket.socket, data: bytes) -> None:
        if self._show:
            print(f"{len(data)} bytes: {data[:SHOWN_LENGTH]!r}", flush=True)
        line.sendall(data)

    def _end(self, line: socket.socket, random: Random) -> bytes:
        """Read what comes until the other side is silent or closes, and hang up in one of several ways."""
        line.settimeout(READ_WITHIN_S if random.random() < 0.1 else 0.02)
        said = b""
        try:
            while len(said) < 100_000:
                part = line.recv(65_536)
                if not part:
                    self.outcomes["closed by the router"] += 1
                    break
                said += part
        except TimeoutError:
            self.outcomes["silence"] += 1
        if random.random() < 0.3:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        line.close()
        if b"Traceback" in said or b"File &quot;" in said:
            raise Found(f"a traceback is sent: {said[:2_000]!r}")
        return said

    def _http(self, random: Random) -> None:
        line = self._tcp()
        self._send(
            line,
            random.choice(
                (
                    lambda: random.randbytes(random.choice((1, 20, 5_000))),
                    lambda: b"GET " + b"/" * random.choice((1, 20_000)) + b" HTTP/1.1\r\n\r\n",
                    lambda: b"GET / HTTP/9.9\r\nHost: \xff\xfe\r\n\r\n",
                    lambda: b"GET /ws HTTP/1.1\r\n" + b"X: y\r\n" * random.choice((10, 600)) + b"\r\n",
                    lambda: b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\nx",
                    lambda: b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                    lambda: b"POST /ws HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n" + b"x" * 1_000,
                    lambda: b"GET /%00%ff..%2f..%2fetc HTTP/1.1\r\nHost: x\r\n\r\n",
                    lambda: b"G",
                    lambda: b"\r\n" * 100,
                )
            )(),
        )
        self._end(line, random)

    def _handshake(self, random: Random) -> None:
        line = self._tcp()
        headers = {
            "Host": "127.0.0.1",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": base64.b64encode(random.randbytes(16)).decode(),
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Protocol": "wamp.2.cbor",
            "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits, permessage-brotli",
        }
        for _ in range(random.randrange(3)):
            name = random.choice(list(headers))
            headers[name] = random.choice(("", "x" * 5_000, "\u00ff", "-1", "wamp.2.json,wamp.2.ubjson", "*, *"))
        if random.random() < 0.3:
            del headers[random.choice(list(headers))]
        text = "GET /ws HTTP/1.1\r\n" + "".join(f"{name}: {held}\r\n" for name, held in headers.items()) + "\r\n"
        data = text.encode("latin-1")
        if random.random() < 0.2:
            data = data[: random.randrange(len(data))]
        self._send(line, data)
        said = self._end(line, random)
        if b"wamp.2.json" in said and b" 101 " in said:
            raise Found("JSON is agreed to")
        if b"sec-websocket-extensions" in said.lower():
            raise Found(f"compression is agreed to: {said[:500]!r}")

    def _open(self, random: Random) -> tuple[socket.socket, str]:
        line = self._tcp()
        subprotocol = random.choice(SUBPROTOCOLS)
        key = base64.b64encode(random.randbytes(16)).decode()
        headers = (
            "GET /ws HTTP/1.1",
            "Host: 127.0.0.1",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Protocol: {subprotocol}",
        )
        self._send(line, "".join(f"{header}\r\n" for header in (*headers, "")).encode())
        said = b""
        while b"\r\n\r\n" not in said:
            part = line.recv(4_096)
            if not part:
                raise ConnectionError("closed")
            said += part
        if b" 101 " not in said:
            raise Found(f"a right handshake is refused: {said[:300]!r}")
        return line, subprotocol

    def _frames(self, random: Random) -> None:
        line, _ = self._open(random)
        for _ in range(random.choice((1, 1, 2, 5))):
            self._send(
                line,
                random.choice(
                    (
                        lambda: random.randbytes(random.choice((1, 2, 14, 300))),
                        lambda: frame(random, 1, b"\xff\xfe\xc0"),
                        lambda: frame(random, 2, BOMB, bits=0x40),
                        lambda: frame(random, random.choice((3, 7, 11, 15)), b"x"),
                        lambda: frame(random, 2, b"x", bits=random.choice((0x10, 0x20, 0x70))),
                        lambda: frame(random, 9, b"p" * 126),
                        lambda: frame(random, 9, b"p" * 125) * 50,
                        lambda: frame(random, 10, b"unasked"),
                        lambda: frame(random, 8, random.choice((b"", b"\x03", b"\x03\xe8\xff", b"\x00\x05x"))),
                        lambda: frame(random, 2, b"abc", mask=False),
                        lambda: frame(random, 2, b"x" * 100, length=random.choice((2**63 - 1, 2**63, 2**32, 101))),
                        lambda: frame(random, 2, b"x" * 1_000, length=2**24 + 1),
                        lambda: frame(random, 2, b"x" * 1_000, length=8_912_897),
                        lambda: frame(random, 2, b"a", final=False) + frame(random, 0, b"b", final=False) * 200,
                        lambda: frame(random, 0, b"nothing to go on with"),
                        lambda: frame(random, 2, b"a", final=False) + frame(random, 2, b"b"),
                        lambda: frame(random, 2, b"x" * 50)[: random.randrange(40)],
                    )
                )(),
            )
        self._end(line, random)

    def _messages(self, random: Random) -> None:
        line, subprotocol = self._open(random)
        messages = [
            [1, "default", {"roles": {}}],
            [1, "default", {}],
            [1, "nowhere", {"roles": {"caller": {}}}],
            [1, "x" * 70_000, {"roles": {"caller": {}}}],
            [1, None, {"roles": {"caller": {}}, "authmethods": ["anonymous"]}],
            [1, "default", {"roles": {"caller": {}}, "authmethods": ["cryptosign"], "authextra": {"pubkey": 5}}],
            [
                1,
                "default",
                {"roles": {"caller": {}}, "authmethods": ["cryptosign"], "authextra": {"pubkey": "ab" * 32}},
            ],
            [1, "default", {"roles": {"caller": {}}, "authmethods": ["cryptosign"], "authid": "admin"}],
            [1, "default", {"roles": {"caller": {}}, "authmethods": ["x"] * 1_000}],
            [5, "signature", {}],
            [6, {}, "wamp.close.normal"],
            [48, 1, {}, "controlplane.node.list_nodes"],
            [64, 1, {}, "controlplane.node.list_nodes"],
            [16, 1, {}, "controlplane.agent.on_tick", []],
            [2, 5, {}],
            [],
            {},
            "x",
            2**70,
        ]
        for _ in range(random.choice((1, 1, 2))):
            message = random.choice(messages)
            data = {
                "wamp.2.cbor": lambda m: cbor2.dumps(m),
                "wamp.2.msgpack": _msgpack,
            }[subprotocol](message)
            kind = random.random()
            if kind < 0.1:
                data = random.choice((b"\x81", b"\x91", b"\xa1\x60")) * 50_000
            elif kind < 0.2:
                data = data[: random.randrange(len(data) + 1)] + random.randbytes(2)
            elif kind < 0.25:
                # Lengths that are announced and never come.
                data = random.choice((b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff", b"\x5f" * 500))
            elif kind < 0.3:
                data = data * 2
            elif kind < 0.33 and subprotocol == "wamp.2.cbor":
                data = hello_with(shared(6, 10))
            self._send(line, frame(random, 1 if random.random() < 0.05 else 2, data))
        self._end(line, random)

    def _rawsocket(self, random: Random) -> None:
        line = socket.socket(socket.AF_UNIX)
        line.settimeout(READ_WITHIN_S * 20)
        line.connect(os.fspath(self.unix))
        if random.random() < 0.4:
            self._send(
                line,
                random.choice(
                    (
                        b"\x7f",
                        b"\x7f\xff\x00\x00",
                        b"\x7f\xf3\x00\x01",
                        b"\x00\x00\x00\x00",
                        b"GET / HTTP/1.1\r\n\r\n",
                        random.randbytes(30),
                    )
                ),
            )
        else:
            self._send(line, RAW_HEADER)
            self._send(
                line,
                random.choice(
                    (
                        random.randbytes(random.choice((1, 3, 4, 60))),
                        b"\x00\xff\xff\xff" + b"x" * 500,
                        b"\x01\xff\xff\xff" + b"x" * 500,
                        b"\x07\x00\x00\x01x",
                        b"\x08\x00\x00\x01x",
                        b"\x01\x00\x00\x02hi" * 20,
                        b"\x02\x00\x00\x02hi",
                        prefixed(b"\x81" * 50_000),
                        prefixed(b"\xff"),
                        prefixed(b""),
                        prefixed(cbor2.dumps([48, 1, {}, "controlplane.node.list_nodes"])),
                        prefixed(cbor2.dumps([1, "nowhere", {"roles": {"caller": {}}}])),
                        prefixed(cbor2.dumps([1, "default", {"roles": 5}])),
                        prefixed(cbor2.dumps([1])),
                        prefixed(hello_with(shared(6, 10))),
                        prefixed(cbor2.dumps([])),
                        prefixed(cbor2.dumps({"a": 1})),
                    )
                ),
            )
        self._end(line, random)


def frame(
    random: Random,
    opcode: int,
    data: bytes,
    *,
    final: bool = True,
    bits: int = 0,
    mask: bool = True,
    length: int | None = None,
) -> bytes:
    """Return a WebSocket frame, right or wrong."""
    size = len(data) if length is None else length
    head = bytes([(0x80 if final else 0) | bits | opcode])
    flag = 0x80 if mask else 0
    if size < 126:
        head += bytes([flag | size])
    elif size < 2**16:
        head += bytes([flag | 126]) + struct.pack("!H", size)
    else:
        head += bytes([flag | 127]) + struct.pack("!Q", size)
    # Masked with zeros: the bytes stay as they are.
    return head + (bytes(4) if mask else b"") + data


def shared(levels: int, width: int) -> bytes:
    """Return a value in CBOR that mentions parts of itself: written out it is `width` times larger with every level."""

    def level(number: int) -> bytes:
        if number == levels:
            return b"\xd8\x1c\x81\x61a"
        mention = b"\xd8\x1d" + cbor2.dumps(number + 1)
        return b"\xd8\x1c" + bytes([0x80 | width]) + level(number + 1) + mention * (width - 1)

    return level(0)


def hello_with(extra: bytes) -> bytes:
    """Return the first message of a login, with something in what is passed on to the master."""
    marker = "\N{SNOWMAN}" * 7
    login = {"pubkey": "ab" * 32, "channel_binding": None, "more": marker}
    message = [1, "default", {"roles": {"caller": {}}, "authmethods": ["cryptosign"], "authextra": login}]
    return cbor2.dumps(message).replace(cbor2.dumps(marker), extra)


def prefixed(data: bytes) -> bytes:
    return struct.pack("!I", len(data)) + data


def _msgpack(message: object) -> bytes:
    import msgpack

    try:
        return bytes(msgpack.packb(message))
    except OverflowError:
        return b"\xc1"
