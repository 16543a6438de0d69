"""What workers have written, for `logs`."""

from controlplane.wamp import Session

WITHIN_S = 30.0
LENGTH = 1_048_576


async def read_logs(session: Session, worker: str, lines: int) -> str:
    """Return the last lines that a worker has written, with an end of line after the last one."""
    said = await session.call("controlplane.worker.get_worker_logs", WITHIN_S, worker, lines, LENGTH)
    text: str = said["text"]
    return text if not text or text.endswith("\n") else text + "\n"
