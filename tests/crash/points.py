"""The named points at which a process can be killed, laid around the real code from outside.

Nothing in the product knows of them: the entry program of the tests (`doomed.py`) arms one point of its own process
before the real master or agent begins, and the process sends itself SIGKILL the n-th time that it passes there. What
happens inside one commit of LMDB is reached from outside too: strace delivers the signal on the way into a system call
on the store's file.
"""

import functools
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class Point(NamedTuple):
    """A place in the code, and how many times a process of the tests passes it before it dies there."""

    name: str
    passes_max: int = 12


MASTER_POINTS = (
    Point("begin.before", 20),
    Point("begin.after", 20),
    Point("put.before", 150),
    Point("put.after", 150),
    Point("delete.before", 6),
    Point("delete.after", 6),
    Point("nested.before", 20),
    Point("nested.after", 20),
    Point("commit.before", 20),
    Point("commit.after", 20),
    Point("reply.before", 30),
    Point("reply.after", 30),
    Point("publish.before", 30),
    Point("publish.after", 30),
    Point("send.before", 10),
    Point("send.after", 10),
    Point("register.after", 40),
)
COMMIT_POINTS = (
    Point("pages.before", 20),
    Point("sync.before", 20),
    Point("meta.before", 20),
)
"""Inside a commit: before the changed pages are written, before they are synced, and after that, before the one write
that makes the new state the current one. Before the pages of the next commit is after the meta page of the last."""

AGENT_POINTS = (
    Point("spawn.before", 4),
    Point("spawn.after", 4),
    Point("stop.before", 2),
    Point("stop.after", 2),
    Point("note.before", 6),
    Point("note.replace", 6),
    Point("note.after", 6),
    Point("tell.before", 8),
    Point("tell.after", 8),
)

SYSTEM_CALLS = {"pages": "pwrite64,writev,pwritev", "sync": "fdatasync,msync,fsync", "meta": "pwrite64"}


class Fuse:
    """Kills this process the n-th time that the armed point is passed."""

    def __init__(self, point: str, passes: int) -> None:
        self._point = point
        self._left = passes

    def passing(self, point: str, flush: Callable[[], None] | None = None) -> None:
        """Die here if it is time; `flush` first brings about what "after" promises."""
        if point != self._point:
            return
        self._left -= 1
        if self._left <= 0:
            if flush is not None:
                flush()
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, owner: Any, attribute: str, name: str) -> None:
        """Lay the points `name.before` and `name.after` around a function."""
        real = getattr(owner, attribute)

        @functools.wraps(real)
        def doomed(*args: Any, **kwargs: Any) -> Any:
            self.passing(f"{name}.before")
            result = real(*args, **kwargs)
            self.passing(f"{name}.after")
            return result

        setattr(owner, attribute, doomed)

    def around_coroutine(self, owner: Any, attribute: str, name: str) -> None:
        """The same around a coroutine function, "after" being when it has ended."""
        real = getattr(owner, attribute)

        @functools.wraps(real)
        async def doomed(*args: Any, **kwargs: Any) -> Any:
            self.passing(f"{name}.before")
            result = await real(*args, **kwargs)
            self.passing(f"{name}.after")
            return result

        setattr(owner, attribute, doomed)


def arm_store(fuse: Fuse) -> None:
    """Lay the points of transactions."""
    from zlmdb import lmdb as raw

    from controlplane.store import lmdb

    fuse.around(lmdb.LmdbEngine, "write", "begin")
    fuse.around(lmdb._LmdbTransaction, "put", "put")
    fuse.around(lmdb._LmdbTransaction, "delete", "delete")
    commit = raw.Transaction.commit

    def doomed(transaction: Any) -> Any:
        if not transaction._write:
            return commit(transaction)
        name = "nested" if transaction._parent is not None else "commit"
        fuse.passing(f"{name}.before")
        result = commit(transaction)
        fuse.passing(f"{name}.after")
        return result

    raw.Transaction.commit = doomed


def arm_wire(fuse: Fuse) -> None:
    """Lay the points of messages: what is sent, by the kind of message, and "after" is when the system has it."""
    from autobahn.twisted.rawsocket import WampRawSocketProtocol
    from autobahn.wamp import message
    from autobahn.wamp.websocket import WampWebSocketProtocol

    def name_of(sent: Any) -> str:
        match sent:
            case message.Yield() | message.Error():
                return "reply"
            case message.Publish():
                return "send" if sent.eligible else "publish"
            case message.Register():
                return "register"
            case message.Call():
                return "tell"
            case _:
                return "other"

    for protocol in (WampRawSocketProtocol, WampWebSocketProtocol):

        def doomed(self: Any, sent: Any, real: Any = protocol.send) -> None:
            name = name_of(sent)
            fuse.passing(f"{name}.before")
            real(self, sent)
            fuse.passing(f"{name}.after", lambda: self.transport.doWrite())

        protocol.send = doomed


def arm_agent(fuse: Fuse, driver: Any) -> None:
    """Lay the points of an agent's notebook and of its driver."""
    from controlplane.agent import notebook

    fuse.around_coroutine(driver, "start", "spawn")
    fuse.around_coroutine(driver, "stop", "stop")
    fuse.around(notebook.Notebook, "write", "note")
    real = notebook.os.replace

    def replace(fresh: Any, path: Any) -> None:
        if Path(path).name == notebook.FILE_NAME:
            fuse.passing("note.replace")
        real(fresh, path)

    notebook.os.replace = replace


def under_strace(point: str, passes: int, data_file: Path, command: list[str]) -> list[str]:
    """Return the command with strace before it, killing it on the way into a system call on the store's file."""
    calls = SYSTEM_CALLS[point.partition(".")[0]]
    trace = ["-e", f"trace={calls}", "-e", f"inject={calls}:signal=SIGKILL:when={passes}"]
    # The tracer is a grandchild, so that the process that is started is the doomed one itself.
    return ["strace", "-D", "-qq", "-o", "/dev/null", "-P", str(data_file), *trace, *command]
