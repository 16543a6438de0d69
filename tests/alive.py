"""Whether a process of a test still runs: it may end while it is looked at, and its parent may bury it late."""

import psutil


def is_alive(pid: int) -> bool:
    """Say whether a process runs; one that has ended and was not buried yet does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
