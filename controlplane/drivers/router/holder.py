"""A process that holds a listening socket, so that its port is never given up while the agent is away.

Whoever listened on the port of a node's uplink in the agent's place would own the node. So the socket outlives the
agent, also one that is killed: this process keeps it, never reads from it, and hands it to the next agent. Connections
of the node meanwhile wait in the socket's queue.

It is run by path with `python -I -S`, imports the standard library only, and is given the descriptors 3, a locked file
that shows that it lives, 4, the socket to hold, and 5, the unix socket on which it is asked for it. One byte is a
request: T to be given the socket, E to end. It ends by itself when its directory has vanished.
"""

import os
import socket
import sys

HELD, ASKED = 4, 5
TAKE, END = b"T", b"E"
LOOK_AT_DIRECTORY_EVERY_S = 2.0
REQUEST_LIMIT_S = 1.0
QUEUE_LENGTH = 8


def hold(directory: str) -> None:
    """Hold the socket until told to end or until the directory is gone."""
    home = _identity(directory)
    os.chdir("/")
    asked = socket.socket(fileno=ASKED)
    asked.settimeout(LOOK_AT_DIRECTORY_EVERY_S)
    asked.listen(QUEUE_LENGTH)
    going_on = True
    while going_on and home is not None and _identity(directory) == home:
        try:
            client, _ = asked.accept()
        except OSError:
            continue  # Nobody asks, or whoever did has gone away.
        with client:
            going_on = _answer(client)


def _answer(client: socket.socket) -> bool:
    """Answer a request and say whether to go on."""
    client.settimeout(REQUEST_LIMIT_S)
    try:
        if _user(client) != os.getuid():
            return True
        request = client.recv(1)
        if request == TAKE:
            socket.send_fds(client, [TAKE], [HELD])
    except OSError:
        return True
    return request != END


def _user(client: socket.socket) -> int:
    """Return who asks: the second of three numbers, after the process and before the group."""
    credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int.from_bytes(credentials[4:8], sys.byteorder)


def _identity(directory: str) -> tuple[int, int] | None:
    try:
        found = os.stat(directory)
    except OSError:
        return None
    return found.st_dev, found.st_ino


if __name__ == "__main__":
    hold(sys.argv[1])
