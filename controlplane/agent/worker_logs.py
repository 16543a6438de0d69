"""What the master is told that wants to see what a worker has written."""

from typing import Any

from controlplane.drivers.driver import Operates
from controlplane.drivers.following import Follows
from controlplane.records.workers import LookAtLogs


async def read_logs(driver: Operates, look: LookAtLogs) -> dict[str, Any]:
    """Return what was asked for, with where it ends if the driver can say that."""
    if not isinstance(driver, Follows):
        return {"text": await driver.logs(look.worker_oid, look.lines, look.length)}
    part = await driver.follow(look.worker_oid, look.after, look.lines, look.length)
    return {"text": part.text, "next": part.position, "gap": part.gap}
