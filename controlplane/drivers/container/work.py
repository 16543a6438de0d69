"""Looking into a container and working in it: figures, and commands that are run inside."""

import select
import struct
import time
from collections.abc import Iterator, Sequence
from typing import Any

from controlplane.drivers.checks import Look, look_at_all
from controlplane.drivers.container.engine import Engine
from controlplane.drivers.container.running import Running
from controlplane.drivers.processes import State, glance
from controlplane.errors import WorkerFailed
from controlplane.records.operations import Execute, Executed, SendSignal
from controlplane.records.profiles import Part
from controlplane.records.types import NANOSECONDS, Seconds, to_wire

OUTPUT_MAX = 65_536
FRAME = struct.Struct(">4xL")
TOO_LONG = "the command did not end within {:g} s, and runs on"


async def figures(engine: Engine, container: str) -> dict[str, Any]:
    """Return what a container uses."""
    found = await engine.call(lambda client: client.stats(container, stream=False, one_shot=True))
    cpu, memory = found.get("cpu_stats", {}), found.get("memory_stats", {})
    return {
        "cpu_seconds": cpu.get("cpu_usage", {}).get("total_usage", 0) / NANOSECONDS,
        "memory": memory.get("usage", 0),
        "threads": found.get("pids_stats", {}).get("current", 0),
    }


async def carry_out(engine: Engine, running: Running, operation: str, order: Part) -> dict[str, Any]:
    """Carry out an operation that leaves the container what it is."""
    container = running.container
    match order:
        case Execute():
            return await execute(engine, container, order)
        case SendSignal(signal=number):
            await engine.call(lambda client: client.kill(container, signal=number))
        case _ if operation == "pause":
            await engine.call(lambda client: client.pause(container))
            running.told("pause")
        case _:
            await engine.call(lambda client: client.unpause(container))
            running.told("unpause")
    return {}


async def execute(engine: Engine, container: str | None, order: Execute) -> dict[str, Any]:
    """Run a command inside a container and return what came of it; raises `WorkerFailed` when it takes too long.

    An engine cannot end what it was told to run; a command that takes too long runs on.
    """

    def work(client: Any) -> Executed:
        made = client.exec_create(container, list(order.command), user=order.user or "")
        kept, length = b"", 0
        for chunk in _output(client.exec_start(made["Id"], socket=True), order.timeout):
            kept, length = (kept + chunk)[-OUTPUT_MAX:], length + len(chunk)
        code = client.exec_inspect(made["Id"])["ExitCode"]
        return Executed(code=int(code or 0), output=kept.decode(errors="replace"), length=length)

    answer: dict[str, Any] = to_wire(await engine.call(work))
    return answer


def _output(connection: Any, within: Seconds) -> Iterator[bytes]:
    """Yield what comes over the connection of a command, which the SDK itself would wait for without end.

    It comes in frames: a byte for the stream, three of nothing, four for the length, and the rest.
    """
    end = time.monotonic() + within
    raw, buffer = getattr(connection, "_sock", connection), b""
    try:
        while True:
            if not select.select([raw], [], [], max(0.0, end - time.monotonic()))[0]:
                raise WorkerFailed(TOO_LONG.format(within))
            data = raw.recv(OUTPUT_MAX)
            if not data:
                return
            buffer += data
            while len(buffer) >= FRAME.size:
                (length,) = FRAME.unpack_from(buffer)
                if len(buffer) < FRAME.size + length:
                    break
                yield buffer[FRAME.size : FRAME.size + length]
                buffer = buffer[FRAME.size + length :]
    finally:
        connection.close()


async def look(engine: Engine, container: str, looks: Sequence[Look]) -> None:
    """Return when a container runs and all is well; raises `WorkerFailed` with what is not."""
    state = (await engine.call(lambda client: client.inspect_container(container)))["State"]
    if state.get("Paused"):
        raise WorkerFailed("its container is paused")
    if not state.get("Running"):
        raise WorkerFailed(f"its container is {state.get('Status', 'gone')}")
    if state.get("Pid") and glance(state["Pid"]).state is State.HELD:
        raise WorkerFailed("its process is stopped by a signal or a debugger")
    await look_at_all(looks)
